"""A store in a folder: local disk, USB stick, or a mounted share.

Written as temporary name, fsync, rename, fsync of the folder, so that a power cut leaves
either the whole object or none.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recovery.errors import DeviceFailed, OutOfSpace
from recovery.repository.store import ObjectMissing

TEMPORARY = ".partial-"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class DirectoryStore:
    """Objects are files below `root`, which is made with the first of them if need be.

    The folder is known by device and inode: where a medium was pulled, its empty mount point
    must not be taken for it and filled.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._identity = _identity(root)

    @property
    def url(self) -> str:
        """The folder."""
        return str(self.root)

    def get(self, name: str) -> bytes:
        """The whole object."""
        with self._told("read", name):
            return (self.root / name).read_bytes()

    def get_range(self, name: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`; fewer where the object ends before."""
        with self._told("read", name):
            file = os.open(self.root / name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return _read_range(file, start, length)
            finally:
                os.close(file)

    def put(self, name: str, data: bytes) -> None:
        """Write the object; afterwards it is there whole and lasts, or it is not there."""
        path = self.root / name
        partial = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
        with self._told("write", name):
            self._make_folder(path.parent)
            try:
                _write_lasting(partial, data)
                partial.rename(path)
            except BaseException:
                with suppress(OSError):
                    partial.unlink()
                raise
            _sync_folder(path.parent)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Name and size of every object whose name starts with the folder `prefix`."""
        folder = self.root / prefix
        with self._told("list", prefix or "the objects"):
            self._require_place()
            for parent, folders, files in os.walk(folder, onerror=_raise_unless_missing):
                folders.sort()
                for file in sorted(files):
                    if file.startswith(TEMPORARY):
                        continue
                    path = Path(parent, file)
                    yield str(path.relative_to(self.root)), path.stat().st_size

    def delete(self, name: str) -> None:
        """Remove the object; none being there is no error."""
        with self._told("delete", name), suppress(FileNotFoundError):
            (self.root / name).unlink()

    def _require_place(self) -> None:
        """Raise `DeviceFailed` where the folder is not the one that it was."""
        if self._identity is None or self._identity == _identity(self.root):
            return
        raise DeviceFailed(
            f"the repository at {self.root} is gone",
            hint="attach its medium or share again; snapshots that were there are whole",
        )

    def _make_folder(self, folder: Path) -> None:
        """Make a folder and those above it so that they last."""
        self._require_place()
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            _sync_folder(path.parent)
        self._identity = self._identity or _identity(self.root)

    @contextmanager
    def _told(self, verb: str, name: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            self._require_place()
            if verb != "read" and self.root.is_file():
                raise DeviceFailed(
                    f"{self.root} is a file, so it holds no repository",
                    hint="name a folder",
                ) from error
            raise ObjectMissing(name) from error
        except OSError as error:
            if error.errno in _FULL:
                raise OutOfSpace(
                    f"the repository at {self.root} is full",
                    hint="free space there or use another repository; its snapshots are whole",
                ) from error
            raise DeviceFailed(
                f"could not {verb} {name} in the repository at {self.root}: {error.strerror}",
                hint="check the medium, its connection and its permissions",
            ) from error


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _read_range(file: int, start: int, length: int) -> bytes:
    parts = []
    while length > 0:
        part = os.pread(file, length, start)
        if not part:
            break
        parts.append(part)
        start += len(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _write_lasting(path: Path, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
        os.fsync(file)
    finally:
        os.close(file)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        # FUSE and SMB mounts may not know fsync on folders.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
