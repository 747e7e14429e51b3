"""Real filesystems in image files, made by their own tools, with content, holes and fragments."""

from __future__ import annotations

import hashlib
import random
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from recovery.model.size import KiB, MiB


def run(*argv: str | Path, stdin: str = "", accepted: tuple[int, ...] = (0,)) -> str:
    """Run a program of the tests; the end of its talk is in the failure."""
    done = subprocess.run(
        [str(word) for word in argv], input=stdin, capture_output=True, text=True, check=False
    )
    if done.returncode not in accepted:
        talk = f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        raise AssertionError(f"{argv} gave {done.returncode}\n{talk}")
    return done.stdout


def status(*argv: str | Path) -> int:
    """The exit status of a program whose talk does not matter."""
    return subprocess.run([str(word) for word in argv], capture_output=True, check=False).returncode


@dataclass(frozen=True, slots=True)
class Kind:
    """How to make, mount and examine one kind of filesystem; `{}` stands for the image.

    `size` is that of the filesystem. `mount` is empty where neither kernel nor FUSE has it.
    `check` examines and repairs nothing. `blkid` names it.
    """

    blkid: str
    make: tuple[str, ...]
    check: tuple[str, ...]
    mount: tuple[str, ...] = ("mount", "-o", "loop", "{}")
    size: int = 24 * MiB
    unmount: tuple[str, ...] = ("umount",)


_EXT_CHECK = ("e2fsck", "-f", "-n", "{}")
_FAT_CHECK = ("fsck.vfat", "-n", "{}")


def _ext(kind: str, *options: str, size: int = 24 * MiB) -> Kind:
    return Kind(kind, (f"mkfs.{kind}", "-q", "-F", *options, "{}"), _EXT_CHECK, size=size)


def _xfs(*options: str) -> Kind:
    make = ("mkfs.xfs", "-q", "--unsupported", *options, "{}")
    return Kind("xfs", make, ("xfs_repair", "-n", "{}"), size=64 * MiB)


def _btrfs(*options: str, size: int = 128 * MiB) -> Kind:
    make = ("mkfs.btrfs", "-q", *options, "{}")
    return Kind("btrfs", make, ("btrfs", "check", "--check-data-csum", "{}"), size=size)


def _vfat(*options: str, size: int = 24 * MiB) -> Kind:
    # mtools: the kernel of a test machine need not know FAT.
    return Kind("vfat", ("mkfs.vfat", *options, "{}"), _FAT_CHECK, (), size)


def _ntfs(*options: str) -> Kind:
    make = ("mkntfs", "-q", "-F", "-f", *options, "{}")
    return Kind("ntfs", make, ("ntfsfix", "-n", "{}"), ("ntfs-3g", "{}"))


KINDS: Mapping[str, Kind] = {
    "ext2": _ext("ext2"),
    "ext2 1k": _ext("ext2", "-b", "1024"),
    "ext3": _ext("ext3"),
    "ext4": _ext("ext4"),
    # First superblock at 1 KiB in block 1: block 0 belongs to no group.
    "ext4 1k": _ext("ext4", "-b", "1024"),
    "ext4 2k groups of 1024": _ext("ext4", "-b", "2048", "-g", "1024"),
    "ext4 uninit_bg": _ext("ext4", "-O", "uninit_bg,^metadata_csum", "-g", "1024"),
    "ext4 meta_bg": _ext("ext4", "-O", "meta_bg,^resize_inode,^flex_bg", "-g", "1024"),
    "ext4 sparse_super2": _ext("ext4", "-O", "sparse_super2,^resize_inode", "-g", "2048"),
    "ext4 inline, 64bit": _ext("ext4", "-O", "inline_data,64bit", "-I", "512"),
    "xfs": _xfs(),
    "xfs 1k": _xfs("-b", "size=1024"),
    "xfs 4k sectors": _xfs("-s", "size=4096"),
    "btrfs": _btrfs(),
    "btrfs mixed": _btrfs("--mixed", size=32 * MiB),
    "btrfs single": _btrfs("-m", "single", "-d", "single"),
    "fat16": _vfat("-F", "16"),
    "fat32": _vfat("-F", "32", size=40 * MiB),
    "fat32 reserved": _vfat("-F", "32", "-R", "64", "-s", "1", size=40 * MiB),
    "ntfs": _ntfs(),
    "ntfs 512": _ntfs("-c", "512"),
    "ntfs 64k": _ntfs("-c", "65536"),
    "exfat": Kind(
        "exfat", ("mkfs.exfat", "{}"), ("fsck.exfat", "-n", "{}"), ("mount.exfat-fuse", "{}")
    ),
    "f2fs": Kind(
        "f2fs", ("mkfs.f2fs", "-q", "{}"), ("fsck.f2fs", "--dry-run", "{}"), (), size=128 * MiB
    ),
}


NOT_UNDERSTOOD: Mapping[str, Kind] = {
    # partclone stops with "bitmap error".
    "ext4 bigalloc": _ext("ext4", "-O", "bigalloc", "-C", "16384"),
    # partclone's list of used blocks lacks some that are in use.
    "fat12": _vfat("-F", "12", size=4 * MiB),
}
"""Filesystems that must be captured whole."""


def make_filesystem(kind: Kind, image: Path, label: str = "") -> None:
    """Format the image, which exists."""
    run(*filled(kind.make, image))


def filled(words: tuple[str, ...], image: Path) -> tuple[str, ...]:
    """The words of a command, the image in its place."""
    return tuple(str(image) if word == "{}" else word for word in words)


@contextmanager
def mounted(kind: Kind, image: Path, folder: Path, *options: str) -> Iterator[Path]:
    """The filesystem in `folder`."""
    folder.mkdir(exist_ok=True)
    with _device(kind, image) as device:
        run(*filled(kind.mount, device), *options, folder)
        try:
            yield folder
        finally:
            run("umount", folder)


@contextmanager
def _device(kind: Kind, image: Path) -> Iterator[Path]:
    """The image itself, or a loop device where the program takes nothing else."""
    if kind.blkid != "exfat":
        yield image
        return
    node = Path(run("losetup", "--find", "--show", image).strip())
    try:
        yield node
    finally:
        run("losetup", "--detach", node)


def fill(folder: Path, seed: int, room: int) -> None:
    """Files of many sizes, every third removed again, so that free blocks lie between used ones."""
    noise = random.Random(seed)
    share = room // 3
    files = []
    number = 0
    while share > 0 and number < 300:
        size = noise.choice((0, 1, 100, 511, 4096, 5000, 40_000, 200_000, 700_000))
        place = folder / f"folder {number % 7}"
        place.mkdir(exist_ok=True)
        file = place / f"file-{number} ä.bin"
        file.write_bytes(noise.randbytes(size))
        files.append(file)
        share -= size + 4 * KiB
        number += 1
    for file in files[::3]:
        file.unlink()


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder` by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def fill_image(kind: Kind, image: Path, work: Path, seed: int = 1) -> dict[str, str]:
    """Put files into the filesystem; their digests by path."""
    if kind.mount:
        with mounted(kind, image, work / "mount") as folder:
            fill(folder, seed, kind.size)
            return digests(folder)
    source = work / f"source-{seed}"
    source.mkdir()
    fill(source, seed, kind.size // 4)
    if kind.blkid == "f2fs":
        run("sload.f2fs", "-f", source, image)
    else:
        for path in sorted(source.iterdir()):
            run("mcopy", "-s", "-Q", "-i", image, path, "::/")
        run("mdeltree", "-i", image, "::/folder 3")
    return read_image(kind, image, work, "filled")


def read_image(kind: Kind, image: Path, work: Path, name: str) -> dict[str, str]:
    """The digests of the files in the filesystem, by a program that is not ours."""
    if kind.mount:
        with mounted(kind, image, work / f"read-{name}", "-o", "ro") as folder:
            return digests(folder)
    folder = work / f"copied-{name}"
    folder.mkdir()
    if kind.blkid == "f2fs":
        talk = run("fsck.f2fs", "--dry-run", "-t", image)
        # The last line tells how long it took.
        return {"whole filesystem": talk.partition("\nDone: ")[0]}
    run("mcopy", "-s", "-Q", "-n", "-i", image, "::/*", folder)
    return digests(folder)


def identity(image: Path, offset: int = 0, size: int = 0) -> dict[str, str]:
    """What blkid says of the content: type, UUID, label, version, block size."""
    place = [f"--offset={offset}"] + ([f"--size={size}"] if size else [])
    text = run("blkid", "--probe", "--output=export", *place, image, accepted=(0, 2))
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    found.pop("DEVNAME", None)
    return found


def write_table(image: Path, script: str) -> None:
    """A partition table by sfdisk."""
    run("sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", image, stdin=script)


def partclone_extents(kind: str, image: Path, log: Path) -> list[tuple[int, int]]:
    """Start and length of what partclone lists as used, asked and read without our code."""
    run(f"partclone.{kind}", "-D", "-s", image, "-o", log, "-L", f"{log}.log", "-q")
    found = []
    for line in log.read_text().splitlines():
        words = line.split()
        if len(words) == 3 and words[2] == "+":
            found.append((int(words[0], 16), int(words[1], 16)))
    return found


def place_into(image: Path, part: Path, offset: int) -> None:
    """Copy the file `part` into the image at `offset`, leaving zeros as holes."""
    run(
        "dd", f"if={part}", f"of={image}", "bs=1M", "oflag=seek_bytes", f"seek={offset}",
        "conv=notrunc,sparse", "status=none",
    )  # fmt: skip
