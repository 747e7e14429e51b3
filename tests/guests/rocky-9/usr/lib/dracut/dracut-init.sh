# phony
