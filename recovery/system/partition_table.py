"""Partition tables of devices and image files; the only module that knows parted.

Tables are read by our own codecs. parted is the second opinion: it reads what was written,
and tells the kernel where the kernel's own way is blocked.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

import parted

from recovery.errors import DeviceFailed, MissingTool, RecoveryError
from recovery.format import gpt, mbr, tables
from recovery.model.layout import DiskNode, Partition, Table
from recovery.system.command import Command, Runner

BLKRRPART = 0x125F
"""Re-read the partition table (linux/fs.h)."""
BUSY_TRIES = 10
BUSY_PAUSE = 0.5
SYSFS = Path("/sys")
SYSFS_UNIT = 512
"""sysfs counts in 512 bytes, whatever the sectors of the disk are."""

PARTED_ERRORS = (
    parted.DeviceException,
    parted.DiskException,
    parted.DiskLabelException,
    parted.IOException,
    parted.PartitionException,
)

Seen = tuple[tuple[int, int, int], ...]
"""Partitions as (number, start, size), in bytes, by number."""


def read_layout(path: str, disk: DiskNode) -> tuple[Table | Partition, ...]:
    """The table and the partitions on a disk or image file, nothing where it has no table.

    `disk` itself is not among the nodes. Raises `DamagedData` for a table that cannot be
    used and `DeviceFailed` where the disk cannot be read.
    """
    try:
        with Path(path).open("rb", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            read = _reader(file.fileno())
            found = tables.read_table(read, size, disk.logical_sector, disk.id)
    except OSError as error:
        raise DeviceFailed(
            f"could not read the partition table of {path}", hint=error.strerror or str(error)
        ) from error
    return () if found is None else (found[0], *found[1])


def sector_size_of_image(path: str) -> int:
    """The logical sector size that the GPT of an image file was written for, else 512."""
    try:
        with Path(path).open("rb", buffering=0) as file:
            return gpt.find_sector_size(_reader(file.fileno())) or mbr.SECTOR
    except OSError as error:
        raise DeviceFailed(f"could not read {path}", hint=error.strerror or str(error)) from error


def partitions_seen_by_parted(path: str) -> Seen:
    """What parted reads from a disk or image file: the judge of what we wrote.

    parted opens a disk for writing even to read it, so this is for targets only; an image
    file has sectors of 512 bytes for it. Raises `DeviceFailed` where parted finds no table
    that it can use.
    """
    try:
        device = parted.getDevice(path)
        # parted remembers the size of a path for ever.
        device.removeFromCache()
        table = parted.newDisk(device)
    except PARTED_ERRORS as error:
        raise DeviceFailed(
            f"parted does not accept the partition table of {path}", hint=str(error)
        ) from error
    unit = int(device.sectorSize)
    found = (
        (int(part.number), int(part.geometry.start) * unit, int(part.geometry.length) * unit)
        for part in table.partitions
        if part.type != parted.PARTITION_EXTENDED
    )
    return tuple(sorted(found))


def partitions_seen_by_kernel(node: str, sysfs: Path = SYSFS) -> Seen:
    """The partitions of a disk that have device nodes now, an extended container among them."""
    disk = sysfs / "class/block" / Path(node).resolve().name

    def number(folder: Path, name: str) -> int:
        return int((folder / name).read_text())

    return tuple(
        sorted(
            (
                number(mark.parent, "partition"),
                number(mark.parent, "start") * SYSFS_UNIT,
                number(mark.parent, "size") * SYSFS_UNIT,
            )
            for mark in disk.glob("*/partition")
        )
    )


def inform_kernel(node: str, disk: DiskNode, runner: Runner) -> None:
    """Let the kernel see the table that is on the disk now, and wait for the partition nodes.

    Nobody may hold the disk exclusively meanwhile, the caller included. Raises `DeviceFailed`
    if the kernel still sees other partitions afterwards.
    """
    nodes = read_layout(node, disk)
    parts = (part for part in nodes if isinstance(part, Partition))
    wanted = tuple(sorted((part.number, part.start, part.size) for part in parts))
    for tell_kernel in (_reread, _commit_by_parted):
        tell_kernel(node)
        _settle(runner)
        if _agree(partitions_seen_by_kernel(node), wanted):
            return
    raise DeviceFailed(
        f"the kernel does not see the new partitions of {disk.disk}",
        hint="something still uses the disk: unmount it, stop LVM and RAID on it, try again",
    )


def _reader(descriptor: int) -> gpt.Read:
    def read(start: int, length: int) -> bytes:
        return os.pread(descriptor, length, start)

    return read


def _agree(seen: Seen, wanted: Seen) -> bool:
    """Whether the kernel sees what is wanted, and besides at most the extended container."""
    extra = [number for number, _, _ in set(seen) - set(wanted)]
    logical = any(number >= mbr.FIRST_LOGICAL for number, _, _ in wanted)
    allowed = not extra or (logical and len(extra) == 1 and extra[0] < mbr.FIRST_LOGICAL)
    return set(wanted) <= set(seen) and allowed


def _reread(node: str) -> None:
    """Let the kernel read the table by itself; whoever looks at the disk makes it busy briefly."""
    for attempt in range(BUSY_TRIES):
        if attempt:
            time.sleep(BUSY_PAUSE)
        try:
            with Path(node).open("rb", buffering=0) as file:
                fcntl.ioctl(file, BLKRRPART)
                return
        except OSError as error:
            if error.errno == errno.EINVAL:  # a loop device without partition scan
                return
            if error.errno != errno.EBUSY:
                raise DeviceFailed(
                    f"could not show the kernel the partitions of {node}",
                    hint=error.strerror or str(error),
                ) from error


def _commit_by_parted(node: str) -> None:
    """Partition by partition (BLKPG), which works while others of the disk are in use."""
    try:
        parted.newDisk(parted.getDevice(node)).commitToOS()
    except PARTED_ERRORS as error:
        raise DeviceFailed(
            f"could not show the kernel the partitions of {node}", hint=str(error)
        ) from error


def _settle(runner: Runner) -> None:
    """Wait until udev has made the nodes; where udev does not run there is nothing to wait for."""
    settle = Command(
        ("udevadm", "settle", "--timeout=30"), "wait for device nodes", timeout=60, package="udev"
    )
    try:
        runner.run(settle)
    except MissingTool:
        return
    except RecoveryError as error:
        raise DeviceFailed("device nodes did not appear", hint=error.hint) from error
