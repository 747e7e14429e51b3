"""Image-based backup and bare-metal recovery of whole machines."""

__version__ = "0.1.0"
