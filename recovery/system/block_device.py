"""Disks and image files by system calls: sizes, protection, zeroing, opening. Starts no process.

Everything takes block devices and plain image files alike, so callers need not ask what they have.
Functions that take a path raise `RecoveryError`s; those that take a descriptor raise
`OSError`, as reading and writing it would.

Source of the request numbers: linux/fs.h, include/uapi/asm-generic/ioctl.h.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from recovery.errors import DeviceFailed, Refused, UsageError
from recovery.model.size import BLOCK, GiB, MiB, align_down, align_up

BLKROSET = 0x125D
BLKROGET = 0x125E
BLKFLSBUF = 0x1261
BLKSSZGET = 0x1268
BLKPBSZGET = 0x127B
BLKZEROOUT = 0x127F
BLKGETSIZE64 = 0x80081272

FALLOC_FL_KEEP_SIZE = 0x01
FALLOC_FL_PUNCH_HOLE = 0x02

FILE_SECTOR = 512
"""Sector size that image files are taken to have."""

RELEASED = Path("/run/recovery/released")
"""One file per disk that may be written; the live system's udev rule protects all others."""

_ZERO_STEP = GiB
"""BLKZEROOUT can't be interrupted, so it gets this much at a time."""


def size_of(path: str | Path) -> int:
    """Bytes of a disk or an image file."""
    with _opened(path) as fd:
        return _size(fd)


def loop_devices_of(path: str | Path, sysfs: Path = Path("/sys")) -> tuple[str, ...]:
    """Loop devices that an image file is attached to; what they hold may be mounted."""
    real = str(Path(path).resolve())
    marks = sorted((sysfs / "block").glob("loop*/loop/backing_file"))
    return tuple(f"/dev/{mark.parents[1].name}" for mark in marks if _first_line(mark) == real)


def _first_line(path: Path) -> str:
    try:
        return path.read_text().rstrip("\n")
    except OSError:  # detached meanwhile
        return ""


def sector_sizes_of(path: str | Path) -> tuple[int, int]:
    """Logical and physical sector size in bytes; an image file has 512 for both."""
    with _opened(path) as fd:
        if not _is_block_device(fd):
            return FILE_SECTOR, FILE_SECTOR
        return _integer(fd, BLKSSZGET), _integer(fd, BLKPBSZGET)


def is_read_only(path: str | Path) -> bool:
    """Whether the kernel refuses writes to the disk; never true for an image file."""
    with _opened(path) as fd:
        return _is_block_device(fd) and _integer(fd, BLKROGET) != 0


def is_claimed(node: str | Path) -> bool:
    """Whether the block device is mounted or claimed by something else in the kernel."""
    try:
        os.close(os.open(node, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


@contextmanager
def claimed(paths: Iterable[str]) -> Iterator[None]:
    """Keep the block devices among `paths` from being mounted or restored to meanwhile.

    Raises `Refused` where one is in use already.
    """
    held: list[int] = []
    try:
        for path in paths:
            if _is_block_node(path):
                held.append(_open(path, os.O_RDONLY | os.O_EXCL))
        yield
    finally:
        for file in held:
            os.close(file)


def open_source(path: str | Path) -> int:
    """A descriptor for reading. Raises `UsageError` or `DeviceFailed`."""
    return _open(path, os.O_RDONLY)


def open_target(path: str | Path) -> int:
    """A descriptor for reading and writing, with which nobody else can mount or claim a disk.

    As long as it is open, tools that claim the disk or a partition of it (mkfs, resize2fs)
    fail as well. Raises `Refused` for a disk that is in use or protected, `UsageError`,
    `DeviceFailed`.
    """
    # O_EXCL without O_CREAT is defined for block devices only: open(2).
    exclusive = os.O_EXCL if _is_block_node(path) else 0
    fd = _open(path, os.O_RDWR | exclusive)
    if _is_block_device(fd) and _integer(fd, BLKROGET):
        os.close(fd)
        raise _protected(path)
    return fd


def release(node: str | Path) -> None:
    """Make a disk and its partitions writable; nothing to do for an image file.

    The mark comes first, since a re-read of the partition table starts the udev rule again.
    Raises `Refused` if the disk itself (a switch, the host) says that it is write-protected.
    """
    if not _is_block_node(node):
        return
    RELEASED.mkdir(parents=True, exist_ok=True)
    (RELEASED / _kernel_name(node)).touch()
    for member in (node, *_partition_nodes(node)):
        _set_read_only(member, False)
        if is_read_only(member):
            raise Refused(
                f"{member} is write-protected by the hardware",
                hint="look for a switch on the disk, or a read-only setting of the host",
            )


def protect(node: str | Path) -> None:
    """Make a disk and its partitions read-only; nothing to do for an image file."""
    if not _is_block_node(node):
        return
    (RELEASED / _kernel_name(node)).unlink(missing_ok=True)
    for member in (*_partition_nodes(node), node):
        _set_read_only(member, True)


def partition_node(node: str, number: int) -> str:
    """The node of a disk's partition; the kernel puts a `p` behind a name that ends in a digit.

    >>> partition_node("/dev/sda", 2), partition_node("/dev/nvme0n1", 2)
    ('/dev/sda2', '/dev/nvme0n1p2')
    >>> partition_node("/dev/disk/by-id/ata-X1", 2)
    '/dev/disk/by-id/ata-X1-part2'
    """
    if node.startswith("/dev/disk/"):
        return f"{node}-part{number}"
    separator = "p" if re.search(r"\d$", node) else ""
    return f"{node}{separator}{number}"


def zero_range(fd: int, start: int, length: int) -> None:
    """Make these bytes read as zeros, the quickest way the device or filesystem knows."""
    if length <= 0:
        return
    if not _is_block_device(fd):
        _zero_file(fd, start, length)
        return
    sector = _integer(fd, BLKSSZGET)
    first = min(align_up(start, sector), start + length)
    last = max(align_down(start + length, sector), first)
    _write_zeros(fd, start, first - start)
    for position in range(first, last, _ZERO_STEP):
        part = array.array("Q", [position, min(_ZERO_STEP, last - position)])
        fcntl.ioctl(fd, BLKZEROOUT, part)
    _write_zeros(fd, last, start + length - last)


def drop_caches(fd: int, start: int, length: int) -> None:
    """Write these bytes out and forget them, so that the next read comes from the device."""
    os.fdatasync(fd)
    # The kernel keeps pages that are only partly named, so name them wholly.
    first = align_down(start, BLOCK)
    last = align_up(start + length, BLOCK)
    if last > first:
        os.posix_fadvise(fd, first, last - first, os.POSIX_FADV_DONTNEED)


def flush_buffers(fd: int) -> None:
    """Write out and forget the whole device, including what its partitions' nodes have cached.

    A partition has a page cache of its own: without this, bytes written through the disk's node
    may not be seen through the partition's.
    """
    os.fdatasync(fd)
    if _is_block_device(fd):
        fcntl.ioctl(fd, BLKFLSBUF, 0)
    else:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def _size(fd: int) -> int:
    if not _is_block_device(fd):
        return os.fstat(fd).st_size
    value = array.array("Q", [0])
    fcntl.ioctl(fd, BLKGETSIZE64, value)
    return value[0]


def _integer(fd: int, request: int) -> int:
    value = array.array("i", [0])
    fcntl.ioctl(fd, request, value)
    return value[0]


def _set_read_only(node: str | Path, value: bool) -> None:
    with _opened(node) as fd:
        if (_integer(fd, BLKROGET) != 0) != value:
            fcntl.ioctl(fd, BLKROSET, array.array("i", [int(value)]))


def _zero_file(fd: int, start: int, length: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    mode = ctypes.c_int(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
    if libc.fallocate64(fd, mode, ctypes.c_int64(start), ctypes.c_int64(length)) == 0:
        if os.fstat(fd).st_size < start + length:
            os.ftruncate(fd, start + length)
        return
    number = ctypes.get_errno()
    if number not in {errno.EOPNOTSUPP, errno.ENOSYS}:
        raise OSError(number, os.strerror(number))
    _write_zeros(fd, start, length)


def _write_zeros(fd: int, start: int, length: int) -> None:
    zeros = memoryview(bytes(min(length, MiB)))
    position, end = start, start + length
    while position < end:
        position += os.pwrite(fd, zeros[: end - position], position)


def _is_block_device(fd: int) -> bool:
    return stat.S_ISBLK(os.fstat(fd).st_mode)


def _is_block_node(path: str | Path) -> bool:
    try:
        return stat.S_ISBLK(Path(path).stat().st_mode)
    except OSError:
        return False


def _sysfs_folder(node: str | Path) -> Path:
    number = Path(node).stat().st_rdev
    return Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()


def _kernel_name(node: str | Path) -> str:
    return _sysfs_folder(node).name


def _partition_nodes(node: str | Path) -> tuple[str, ...]:
    """The nodes of the disk's partitions as the kernel names them now."""
    folder = _sysfs_folder(node)
    names = sorted(path.parent.name for path in folder.glob("*/partition"))
    return tuple("/dev/" + name.replace("!", "/") for name in names)


@contextmanager
def _opened(path: str | Path) -> Iterator[int]:
    # Without O_NONBLOCK a drive would be asked to load a medium.
    fd = _open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield fd
    except OSError as error:
        raise DeviceFailed(f"{path} does not answer", hint=str(error)) from error
    finally:
        os.close(fd)


def _open(path: str | Path, flags: int) -> int:
    try:
        mode = Path(path).stat().st_mode
        if not (stat.S_ISBLK(mode) or stat.S_ISREG(mode)):
            raise UsageError(
                f"{path} is neither a disk nor an image file", hint="see `recovery probe`"
            )
        return os.open(path, flags | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise UsageError(f"there is no {path}", hint="`recovery probe` lists the disks") from error
    except PermissionError as error:
        raise Refused(f"{path} may not be opened", hint="run this as root") from error
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise Refused(
                f"{path} is in use",
                hint="unmount its filesystems and stop the swap, LVM or RAID on it",
            ) from error
        if error.errno == errno.EROFS:
            raise _protected(path) from error
        raise DeviceFailed(
            f"{path} can not be opened", hint=os.strerror(error.errno or 0)
        ) from error


def _protected(path: str | Path) -> Refused:
    return Refused(
        f"{path} is protected against writing",
        hint="only the target of a confirmed plan is released",
    )
