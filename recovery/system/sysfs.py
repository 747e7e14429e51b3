"""Small files of sysfs and procfs; one that is missing or refuses to be read counts as empty."""

from __future__ import annotations

from pathlib import Path


def read_bytes(path: Path) -> bytes:
    """The bytes of a small file, empty if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def read_text(path: Path) -> str:
    """The text of a small file without blanks and zero bytes around it."""
    return read_bytes(path).decode(errors="replace").strip(" \t\r\n\0")


def read_int(path: Path) -> int:
    """The number in a small file, 0 if there is none."""
    text = read_text(path)
    try:
        return int(text, 0)
    except ValueError:
        return 0


def link_name(path: Path) -> str:
    """The last part of where a link leads, such as the driver of a device; empty if none."""
    return path.resolve().name if path.is_symlink() else ""


def device_path(sysfs: Path, folder: Path) -> str:
    """A device's path as udev's `DEVPATH` has it: `/devices/...`."""
    return "/" + str(folder.resolve().relative_to(sysfs.resolve()))
