"""A progress bar made of characters, so that it reads without colour."""

from __future__ import annotations

FULL = "█"
EMPTY = "░"


def render_bar(fraction: float, width: int) -> str:
    """A bar of `width` columns; full only when everything is done.

    >>> render_bar(0.5, 8), render_bar(0.999, 8)
    ('████░░░░', '███████░')
    """
    full = int(min(1.0, max(0.0, fraction)) * width)
    return FULL * full + EMPTY * (width - full)
