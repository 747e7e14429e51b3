"""The live image: a Debian system from locked parts, our own code in it, as a hybrid ISO."""
