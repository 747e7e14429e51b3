"""The files of a mounted system, by the paths that they have inside it.

A link such as `/boot/grub -> /efi/grub` is followed as the system itself would follow it: an
absolute target begins at the system's root, and `..` never leads out of it.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

MAX_LINKS = 40  # as Linux, path_resolution(7)


class SystemRoot:
    """A system whose root is mounted at `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resolve(self, path: str) -> Path:
        """Where `path` really is; its last parts need not exist. Raises `OSError` for a loop."""
        waiting = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        place = self.folder
        links = 0
        while waiting:
            part = waiting.pop()
            if part == "..":
                place = place if place == self.folder else place.parent
                continue
            if not (place / part).is_symlink():
                place = place / part
                continue
            links += 1
            if links > MAX_LINKS:
                raise OSError(f"too many links in {path}")
            target = (place / part).readlink()
            if target.is_absolute():
                place = self.folder
            waiting.extend(part for part in reversed(target.parts) if part != "/")
        return place

    def exists(self, path: str) -> bool:
        """Whether there is anything at `path`."""
        return self.resolve(path).exists()

    def is_folder(self, path: str) -> bool:
        """Whether `path` is a folder."""
        return self.resolve(path).is_dir()

    def names(self, path: str) -> tuple[str, ...]:
        """The sorted names in a folder, none if it does not exist."""
        folder = self.resolve(path)
        return tuple(sorted(each.name for each in folder.iterdir())) if folder.is_dir() else ()

    def read_bytes(self, path: str, limit: int = -1) -> bytes | None:
        """The first `limit` bytes of a regular file, `None` if it is not one."""
        place = self.resolve(path)
        if not place.is_file():
            return None
        with place.open("rb") as file:
            return file.read(limit)

    def read_text(self, path: str) -> str | None:
        """The text of a file, `None` if there is none; odd bytes are kept as surrogates."""
        data = self.read_bytes(path)
        return None if data is None else data.decode(errors="surrogateescape")

    def write_text(self, path: str, text: str) -> None:
        """Replace a file in one step, keeping its owner, mode and attributes; else make it."""
        place = self.resolve(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".recovery-", dir=place.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode(errors="surrogateescape"))
                file.flush()
                _copy_ownership(place, Path(name))
                os.fsync(file.fileno())
            Path(name).replace(place)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_folder(place.parent)

    def free(self, path: str) -> tuple[int, int]:
        """Free bytes and free inodes of the filesystem at `path`.

        Filesystems that make inodes as they need them (btrfs, vfat) count as having plenty.
        """
        found = os.statvfs(self.resolve(path))
        inodes = found.f_favail if found.f_files else 1 << 30
        return found.f_bavail * found.f_frsize, inodes


def _copy_ownership(original: Path, copy: Path) -> None:
    try:
        status = original.stat()
    except FileNotFoundError:
        copy.chmod(0o644)
        return
    os.chown(copy, status.st_uid, status.st_gid)
    shutil.copystat(original, copy)
    copy.chmod(stat.S_IMODE(status.st_mode))
    os.utime(copy)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
