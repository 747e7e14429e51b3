"""Make a restored system start on other hardware."""
