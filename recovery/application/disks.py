"""Disks and image files by what the technician names: sources, targets, what is on them."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from recovery.capture.sources import Source
from recovery.errors import Refused, UsageError
from recovery.format.titles import content_of
from recovery.model.layout import DiskNode
from recovery.model.machine import Disk, DiskId, Firmware, Machine, SecureBoot
from recovery.model.probe import Probe
from recovery.system import block_device, partition_table

IMAGE_MODEL = "image file"


def disk_at(path: str, disks: Mapping[str, Disk]) -> Disk | None:
    """The disk whose node is `path`, `None` for an image file. Raises `UsageError`.

    Any other block device, such as a partition, counts as a disk without serial.
    """
    real = os.path.realpath(path)
    if real in disks:
        return disks[real]
    if not Path(real).is_block_device():
        if real.startswith("/dev/"):
            raise UsageError(f"there is no disk {path}", hint="see `recovery probe`")
        return None
    logical, physical = block_device.sector_sizes_of(real)
    id = DiskId("block device", "", block_device.size_of(real), real)
    uses = ("it is mounted or claimed",) if block_device.is_claimed(real) else ()
    return Disk(id, real, logical, physical, False, False, "", False, uses)


def image_disk(path: Path, size: int, sector: int) -> Disk:
    """A disk that stands for an image file; its serial is its path."""
    id = DiskId(IMAGE_MODEL, str(path), size)
    return Disk(id, str(path), sector, sector, False, False, "file", False)


def is_image(disk: Disk) -> bool:
    """Whether the disk stands for an image file."""
    return disk.id.model == IMAGE_MODEL


def require_unused(disk: Disk, holding: frozenset[DiskId]) -> None:
    """Raise `Refused` if the disk cannot be captured now; `holding` hold the repository."""
    if disk.id in holding:
        raise Refused(
            f"{disk.id} holds the repository, so it cannot be captured into it",
            hint="use a repository on another disk",
        )
    if disk.problem:
        raise Refused(
            f"{disk.id} {disk.problem}",
            hint="check its cable and health, or name the other disks to capture without it",
        )
    if disk.uses:
        raise Refused(
            f"{disk.id} is in use: {disk.uses[0]}",
            hint="start the live system and capture from there; capturing a running system "
            "through snapshots is not there yet",
        )


def source_of(path: str, disk: Disk | None, id: str) -> Source:
    """The source at `path`, a disk if `disk` is given, else an image file. Raises `UsageError`."""
    if disk is not None:
        node = DiskNode(id, disk.id, disk.logical_sector, disk.physical_sector)
        return Source(disk.node, node, False)
    file = Path(path).absolute()
    if loops := block_device.loop_devices_of(file):
        raise Refused(
            f"{path} is in use as {loops[0]}", hint=f"let go of it: losetup --detach {loops[0]}"
        )
    size = block_device.size_of(file)
    if size == 0:
        raise UsageError(f"{path} is empty", hint="name a disk or a raw disk image")
    sector = partition_table.sector_size_of_image(str(file))
    return Source(str(file), DiskNode(id, image_disk(file, size, sector).id, sector, sector), True)


def machine_of_images(sources: tuple[Source, ...]) -> Machine:
    """What is known of a machine whose disks came as image files: its disks."""
    disks = tuple(
        image_disk(Path(source.path), source.disk.disk.size, source.disk.logical_sector)
        for source in sources
    )
    return Machine("image file", Firmware.BIOS, SecureBoot.ABSENT, 0, 0, disks, (), ())


def host_of(paths: Mapping[str, str]) -> str:
    """The name of the captured machine where none is given: this one's, or the first file's."""
    first = Path(next(iter(paths.values())))
    return platform.node() if first.is_block_device() else first.stem


def confirms(confirmation: str, disk: DiskId) -> bool:
    """Whether what was typed names the disk, an image file by any way to write its path."""
    if disk.model == IMAGE_MODEL:
        return str(Path(confirmation).absolute()) == disk.serial
    return confirmation.strip() == disk.token


def contents_of(probe: Probe, disk: Disk) -> str:
    """What is on a disk in a few words."""
    node = probe.node_of(disk)
    if node is None:
        return "unknown"
    layout = probe.layout
    partitions = layout.partitions(node.id)
    kinds = [content_of(layout, part.id) or "unknown" for part in partitions]
    if partitions:
        return f"{len(partitions)} partitions: {', '.join(kinds)}"
    return content_of(layout, node.id) or "nothing recognised"
