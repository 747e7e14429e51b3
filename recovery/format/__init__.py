"""Bytes to values and back; opens nothing."""
