"""The outside world: devices, programs, kernel interfaces."""
