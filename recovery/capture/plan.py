"""What a capture will read: pure data, made from the layout and the used-block maps."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from recovery.format.tables import table_extents
from recovery.format.titles import title_of
from recovery.model.extent import Extent, ExtentMap
from recovery.model.layout import DiskNode, Layout, Partition, RawArea, Table
from recovery.model.size import BLOCK, MiB, align_up, format_size

DYNAMIC_DISK = "42"
"""MBR type of Windows' dynamic disks, whose own table is in the last MiB, outside partitions."""
GAP_LIMIT = 1 * MiB
"""Between an MBR and the first partition boot loaders keep at most this much."""


@dataclass(frozen=True, slots=True)
class UsedBlocks:
    """What is known about the blocks of a volume; `extents` is `None` if all must be read.

    `reason` then says why, in words for the technician. Extents are bytes of the volume.
    """

    extents: ExtentMap | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class VolumeSource:
    """A volume to capture: `size` bytes at `start` of the layout's disk `disk`.

    `used` are block-aligned extents, the last of which may end past `size`.
    """

    id: str
    title: str
    disk: str
    start: int
    size: int
    used: ExtentMap
    coverage: Literal["used", "all"]
    reason: str


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """Volumes in the order in which they will be read."""

    layout: Layout
    volumes: tuple[VolumeSource, ...]

    @property
    def used(self) -> int:
        """Bytes to read."""
        return sum(volume.used.total for volume in self.volumes)


def plan_capture(
    layout: Layout, used: Mapping[str, UsedBlocks], *, all_blocks: bool
) -> CapturePlan:
    """Cover each disk of `layout`: its partitions, and what between them is worth keeping.

    `used` has an entry for each partition, and for each disk without a table. With
    `all_blocks` everything is covered, deleted files and gaps included.
    """
    areas: list[RawArea] = []
    volumes: list[VolumeSource] = []
    for disk in layout.disks:
        table = layout.table(disk.id)
        if table is None:
            volumes.append(_volume(layout, disk.id, disk, 0, disk.disk.size, used, all_blocks))
            continue
        partitions = layout.partitions(disk.id)
        areas += _areas(disk, table, partitions, all_blocks)
        volumes += (
            _volume(layout, part.id, disk, part.start, part.size, used, all_blocks)
            for part in partitions
        )
    raw = (_raw_volume(area) for area in areas)
    nodes = (*layout.nodes, *areas)
    return CapturePlan(Layout(nodes), (*raw, *volumes))


def _volume(
    layout: Layout,
    id: str,
    disk: DiskNode,
    start: int,
    size: int,
    used: Mapping[str, UsedBlocks],
    all_blocks: bool,
) -> VolumeSource:
    known = used[id]
    title = title_of(layout, id)
    whole = ExtentMap((Extent(0, align_up(size, BLOCK)),))
    if all_blocks:
        return VolumeSource(id, title, disk.id, start, size, whole, "all", "asked for")
    if known.extents is None:
        return VolumeSource(id, title, disk.id, start, size, whole, "all", known.reason)
    blocks = known.extents.widened(BLOCK, align_up(size, BLOCK))
    return VolumeSource(id, title, disk.id, start, size, blocks, "used", "")


def _areas(
    disk: DiskNode, table: Table, partitions: tuple[Partition, ...], all_blocks: bool
) -> tuple[RawArea, ...]:
    size = disk.disk.size
    covered = ExtentMap.of(Extent(part.start, part.size) for part in partitions)
    # The table itself is made anew at restore; whoever else wrote there would break it.
    # One that cannot be made anew is refused by the fit, not here.
    with suppress(ValueError):
        covered = covered.union(table_extents(table, partitions, size, disk.logical_sector))
    gaps = covered.holes(Extent(0, size))
    if all_blocks or any(part.type == DYNAMIC_DISK for part in partitions):
        return tuple(
            RawArea(f"{disk.id}gap{gap.start}", disk.id, gap.start, gap.length, "unpartitioned")
            for gap in gaps
        )
    if table.scheme == "gpt" or not gaps.extents or gaps.extents[0].start > disk.logical_sector:
        return ()
    # Boot loaders for BIOS keep their second stage right behind the MBR.
    start = gaps.extents[0].start
    length = min(gaps.extents[0].length, GAP_LIMIT - start)
    return (RawArea(f"{disk.id}gap", disk.id, start, length, "behind the MBR"),)


def _raw_volume(area: RawArea) -> VolumeSource:
    whole = ExtentMap((Extent(0, align_up(area.size, BLOCK)),))
    title = f"area ({area.purpose})"
    return VolumeSource(
        area.id, title, area.on, area.start, area.size, whole, "all", "no filesystem"
    )


def render_capture(plan: CapturePlan) -> str:
    """The plan as text."""
    lines = []
    for volume in plan.volumes:
        amount = f"{format_size(volume.used.total)} of {format_size(volume.size)}"
        why = f" (all blocks: {volume.reason})" if volume.coverage == "all" else ""
        lines.append(f"  read {volume.title}: {amount}{why}")
    return "\n".join(lines)
