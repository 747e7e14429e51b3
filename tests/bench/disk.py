"""The disk that is measured: 12 GiB ext4 with about 5 GB of real files.

The files are this machine's own programs and libraries, copied until there are enough. Each
copy is changed by a byte-wise XOR, which keeps sizes and compressibility about as they are but
leaves nothing to deduplicate, so that no peer is at a disadvantage.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recovery.model.size import GiB
from recovery.system.command import Command, Runner

DISK_SIZE = 12 * GiB
USED = 5 * 1000**3
LARGEST_FILE = 256 * 1000**2


def make_disk(runner: Runner, folder: Path, size: int = DISK_SIZE, used: int = USED) -> Path:
    """The image file of the filesystem in `folder`, made once."""
    image = folder / f"disk-{size}-{used}.img"
    if image.exists():
        return image
    partial = image.with_suffix(".partial")
    mount = folder / "mount"
    mount.mkdir(parents=True, exist_ok=True)
    with partial.open("wb") as file:
        file.truncate(size)
    _run(runner, "mkfs.ext4", "-q", "-F", str(partial))
    _run(runner, "mount", "-o", "loop", str(partial), str(mount))
    try:
        _fill(mount, used)
    finally:
        _run(runner, "umount", str(mount))
    partial.rename(image)
    return image


def _fill(mount: Path, used: int) -> None:
    done = 0
    change = 0
    while done < used:
        change += 1
        for number, path in enumerate(_sources()):
            data = np.fromfile(path, dtype=np.uint8) ^ np.uint8(change % 256)
            target = mount / str(change) / str(number // 500) / str(number)
            target.parent.mkdir(parents=True, exist_ok=True)
            data.tofile(target)
            done += len(data)
            if done >= used:
                return


def _sources() -> Iterator[Path]:
    for parent, folders, files in os.walk("/usr"):
        folders.sort()
        for name in sorted(files):
            path = Path(parent, name)
            if not path.is_symlink() and path.is_file() and path.stat().st_size < LARGEST_FILE:
                yield path


def _run(runner: Runner, *argv: str) -> None:
    runner.run(Command(argv, purpose=f"prepare the measured disk by {argv[0]}"))
