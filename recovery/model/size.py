"""Sizes are `int` bytes; this module rounds, reads and prints them."""

from __future__ import annotations

import re

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB
TiB = 1024 * GiB

BLOCK = 4 * KiB
"""Smallest unit of a chunk, and the border on which chunks are cut."""

_UNITS = {
    "": 1,
    "K": KiB,
    "M": MiB,
    "G": GiB,
    "T": TiB,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
}
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]?(?:I?B)?)", re.IGNORECASE)


def align_down(value: int, step: int) -> int:
    """The largest multiple of `step` that is not above `value`.

    >>> align_down(4097, 4096)
    4096
    """
    return value - value % step


def align_up(value: int, step: int) -> int:
    """The smallest multiple of `step` that is not below `value`.

    >>> align_up(4097, 4096)
    8192
    """
    return -(-value // step) * step


def parse_size(text: str) -> int:
    """Bytes for `20G`, `20GiB` (both binary), `20GB` (decimal) or a plain number.

    Raises `ValueError` for anything else.

    >>> parse_size("1.5G"), parse_size("2GB"), parse_size("512")
    (1610612736, 2000000000, 512)
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a size: {text!r}")
    unit = match["unit"].upper()
    unit = unit.replace("IB", "") if unit.endswith("IB") else unit
    unit = "" if unit == "B" else unit
    return int(float(match["number"]) * _UNITS[unit])


def format_size(size: int) -> str:
    """Decimal, as disk makers print it: three significant digits below 1000.

    >>> format_size(1000204886016), format_size(8589934592), format_size(512)
    ('1000 GB', '8.59 GB', '512 B')
    """
    if size < 1000:
        return f"{size} B"
    value = float(size)
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        value /= 1000
        if value < 999.5 or unit == "PB" or (unit in {"GB"} and value < 1999.5):
            break
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {unit}"
