"""A part of an image file as a file of its own, by FUSE: for who may not make loop devices.

Run as a program it mounts a folder with the one read-only file `volume` and goes to the
background; it ends when the folder is unmounted.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

import mfusepy

from recovery.system.filesystem import VIEW


class VolumeView(mfusepy.Operations):  # type: ignore[misc]
    """`length` bytes at `start` of the open file, as the file `/volume`."""

    use_ns = True

    def __init__(self, file: int, start: int, length: int) -> None:
        self._file = file
        self._start = start
        self._length = length

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        """Attributes of the root folder and of the file."""
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o500, "st_nlink": 2, "st_uid": os.getuid()}
        if path == f"/{VIEW}":
            # xfs_logprint opens for writing what it only reads; writing fails all the same.
            mode = stat.S_IFREG | 0o600
            size = {"st_size": self._length, "st_uid": os.getuid()}
            return {"st_mode": mode, "st_nlink": 1, **size}
        raise mfusepy.FuseOSError(errno.ENOENT)

    def readdir(self, path: str, fh: int) -> list[str]:
        """The one file."""
        return [".", "..", VIEW]

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """Bytes of the volume."""
        wanted = max(0, min(size, self._length - offset))
        return os.pread(self._file, wanted, self._start + offset)


def main() -> None:
    """`python -m recovery.system.volume_view IMAGE START LENGTH FOLDER`."""
    image, start, length, folder = sys.argv[1:]
    file = os.open(image, os.O_RDONLY)
    mfusepy.FUSE(
        VolumeView(file, int(start), int(length)), folder, foreground=False, nothreads=True
    )


if __name__ == "__main__":
    main()
