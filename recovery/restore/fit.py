"""Where everything of a source disk goes on a target disk, or why it does not fit.

Pure and deterministic. Every byte offset and every identifier is kept, so that nothing
inside the restored system has to be told; only the backup GPT moves to the target's end,
and the last partition may grow into what is free behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from recovery.errors import DoesNotFit
from recovery.format import gpt, mbr
from recovery.format.partition_types import partition_type
from recovery.format.tables import encode_table
from recovery.model.layout import DiskNode, Layout, Node, Partition, RawArea, Table
from recovery.model.machine import DiskId
from recovery.model.size import MiB, align_down, align_up, format_size
from recovery.model.snapshot import Snapshot, Volume

Policy = Literal["none", "last"]

GROWABLE = frozenset({"ext2", "ext3", "ext4"})
"""Filesystems that a later step of the plan can grow."""
WORTH_SAYING = 64 * MiB
"""Less free space than this at the end of a disk needs no remark."""


@dataclass(frozen=True, slots=True)
class TargetDisk:
    """What a fit has to know of a target, a disk or an image file; sizes in bytes."""

    id: DiskId
    size: int
    logical_sector: int
    physical_sector: int


@dataclass(frozen=True, slots=True)
class Placement:
    """The blocks of volume `volume` go to `start` of the target, `size` bytes."""

    volume: str
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Fit:
    """A target's new layout, what goes where, and the ids of the partitions that grow."""

    layout: Layout
    placements: tuple[Placement, ...]
    grown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def fit(snapshot: Snapshot, source_disk: str, target: TargetDisk, policy: Policy) -> Fit:
    """Fit the disk `source_disk` (a layout id) of the snapshot to `target`.

    With policy `last` the last partition of the disk grows to the last whole MiB, if it
    holds a filesystem that can grow. Raises `DoesNotFit` with what would work as the hint.
    """
    layout = snapshot.layout
    volumes = tuple(volume for volume in snapshot.volumes if volume.disk == source_disk)
    source = next((node for node in layout.disks if node.id == source_disk), None)
    if source is None:
        raise DoesNotFit(
            f"the snapshot has no disk {source_disk}",
            hint=f"it has: {', '.join(node.id for node in layout.disks) or 'none'}",
        )
    table = layout.table(source_disk)
    if table is not None:
        _require_same_sectors(source, target)
    _require_room(layout, source, table, volumes, target)
    nodes, left_out = _nodes_of(layout, source, target)
    kept = Layout(nodes)
    growing = _growing(kept, source_disk, target) if policy == "last" else None
    if growing is not None:
        kept = Layout(tuple(growing if node.id == growing.id else node for node in nodes))
    _require_writable_table(kept, source_disk, target)
    return Fit(
        layout=kept,
        placements=tuple(Placement(volume.id, volume.start, volume.size) for volume in volumes),
        grown=(growing.id,) if growing else (),
        notes=(*left_out, *_notes_about_space(kept, source_disk, target)),
    )


def _require_same_sectors(source: DiskNode, target: TargetDisk) -> None:
    if source.logical_sector == target.logical_sector:
        return
    raise DoesNotFit(
        f"the source has sectors of {source.logical_sector} bytes, "
        f"{target.id} has {target.logical_sector}",
        hint=f"use a disk with {source.logical_sector}-byte sectors; an NVMe disk can often be "
        f"switched with `nvme format --lbaf` (it loses what it holds); "
        "converting between sector sizes is not there yet",
    )


def _require_room(
    layout: Layout,
    source: DiskNode,
    table: Table | None,
    volumes: tuple[Volume, ...],
    target: TargetDisk,
) -> None:
    """Raise `DoesNotFit` unless everything that is placed ends inside the target."""
    sector = target.logical_sector
    ends = {0: "the partition table"}
    ends |= {volume.start + volume.size: volume.id for volume in volumes}
    ends |= {node.start + node.size: _name(node) for node in _areas(layout, source.id)}
    last = max(ends)
    if table is None:
        needed = last
    elif table.scheme == "gpt":
        with_backup = align_up(last + gpt.back(table.entries, sector), sector)
        needed = max(with_backup, gpt.smallest_disk(table.entries, sector))
    else:
        needed = align_up(max(last, mbr.SECTOR), sector)
    if needed > target.size:
        raise DoesNotFit(
            f"{target.id} is too small: {format_size(needed)} are needed",
            hint=f"use a disk of at least {format_size(needed)} ({needed} bytes); "
            f"{ends[last]} ends at {format_size(last)}",
        )


def _require_writable_table(layout: Layout, disk: str, target: TargetDisk) -> None:
    """Raise `DoesNotFit` where the table cannot be written, before anything is."""
    table = layout.table(disk)
    if table is None:
        return
    try:
        encode_table(table, layout.partitions(disk), target.size, target.logical_sector)
    except ValueError as error:
        raise DoesNotFit(
            f"the partition table of the source cannot be made anew on {target.id}",
            hint=f"{error}; such disks cannot be restored yet",
        ) from error


def _end_for_partitions(table: Table, target: TargetDisk) -> int:
    """First byte of the target that no partition may use."""
    size = align_down(target.size, target.logical_sector)
    if table.scheme == "gpt":
        return size - gpt.reserved(table.entries, target.logical_sector)
    return min(size, mbr.SECTORS_AT_MOST * target.logical_sector)


def _areas(layout: Layout, disk: str) -> tuple[Partition | RawArea, ...]:
    """Partitions and raw areas of the disk by their place."""
    raw = (node for node in layout.on(disk) if isinstance(node, RawArea))
    found: tuple[Partition | RawArea, ...] = (*layout.partitions(disk), *raw)
    return tuple(sorted(found, key=lambda node: node.start))


def _nodes_of(
    layout: Layout, source: DiskNode, target: TargetDisk
) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    """The nodes that sit on this disk alone, the disk replaced; and a note on each other one."""
    new_disk = DiskNode(source.id, target.id, target.logical_sector, target.physical_sector)
    nodes: list[Node] = []
    notes: list[str] = []
    for node in layout.nodes:
        below = {disk.id for disk in layout.disk_of(node.id)}
        if node == source:
            nodes.append(new_disk)
        elif below == {source.id}:
            nodes.append(node)
        elif source.id in below:
            others = ", ".join(sorted(below - {source.id}))
            notes.append(f"{node.id} also needs {others} of the source, which is not restored")
    return tuple(nodes), tuple(notes)


def _growing(layout: Layout, disk: str, target: TargetDisk) -> Partition | None:
    """The last partition at its new size, `None` if it does not grow."""
    table = layout.table(disk)
    areas = _areas(layout, disk)
    if table is None or not areas or not isinstance(areas[-1], Partition):
        return None
    last = areas[-1]
    filesystem = layout.filesystem(last.id)
    end = align_down(_end_for_partitions(table, target), MiB)
    can = filesystem is not None and filesystem.kind in GROWABLE
    if not can or partition_type(last.type).fixed or end <= last.start + last.size:
        return None
    return replace(last, size=end - last.start)


def _notes_about_space(layout: Layout, disk: str, target: TargetDisk) -> tuple[str, ...]:
    table = layout.table(disk)
    areas = _areas(layout, disk)
    if table is None or not areas:
        return ()
    notes: list[str] = []
    end = _end_for_partitions(table, target)
    free = end - (areas[-1].start + areas[-1].size)
    if free >= WORTH_SAYING:
        notes.append(f"{format_size(free)} stay free behind {_name(areas[-1])}")
    if table.scheme == "dos" and end < align_down(target.size, target.logical_sector):
        notes.append(
            f"an MBR reaches only {format_size(end)} far: "
            f"{format_size(target.size - end)} of the disk cannot be used"
        )
    return tuple(notes)


def _name(node: Partition | RawArea) -> str:
    return f"partition {node.number}" if isinstance(node, Partition) else node.purpose
