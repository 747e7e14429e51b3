"""Repositories to read, and what makes them."""
