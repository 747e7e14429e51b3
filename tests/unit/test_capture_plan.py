"""What a capture will read: volumes, boot areas, gaps; every byte at most once."""

from __future__ import annotations

import pytest

from recovery.capture.plan import CapturePlan, UsedBlocks, plan_capture, render_capture
from recovery.model.extent import Extent, ExtentMap
from recovery.model.layout import Layout, Node
from recovery.model.size import BLOCK, GiB, KiB, MiB
from tests.builders import (
    SIGNATURE,
    make_disk_id,
    make_disk_node,
    make_filesystem,
    make_layout,
    make_mbr_partition,
    make_partition,
    make_table,
)

SOME = UsedBlocks(ExtentMap((Extent(0, 10_000),)))
DISK = make_disk_node()
MBR = make_table(scheme="dos", identifier=SIGNATURE)


def plan(*nodes: Node, used: UsedBlocks = SOME, all_blocks: bool = False) -> CapturePlan:
    layout = Layout(nodes)
    return plan_capture(layout, {node.id: used for node in layout.nodes}, all_blocks=all_blocks)


def covered(made: CapturePlan) -> ExtentMap:
    """All bytes of the disk that are read; fails where one is read twice."""
    found = [Extent(volume.start, volume.size) for volume in made.volumes]
    cover = ExtentMap.of(found)
    assert cover.total == sum(extent.length for extent in found), "bytes are read twice"
    return cover


def test_partitions_of_a_gpt_and_no_gaps() -> None:
    nodes = make_layout().nodes
    made = plan(*nodes)
    assert [volume.id for volume in made.volumes] == ["disk0p1", "disk0p2"]
    for volume in made.volumes:
        assert volume.coverage == "used"
        assert volume.used == ExtentMap((Extent(0, 3 * BLOCK),)), "whole blocks"
    assert made.used == 6 * BLOCK
    assert made.layout.nodes == nodes


def test_the_boot_loader_behind_an_mbr() -> None:
    made = plan(DISK, MBR, make_mbr_partition(start=MiB))
    area = made.volumes[0]
    assert (area.start, area.size) == (512, MiB - 512)
    assert area.coverage == "all"
    assert any(node.id == area.id for node in made.layout.nodes)
    made = plan(DISK, MBR, make_mbr_partition(start=63 * 512))
    assert (made.volumes[0].start, made.volumes[0].size) == (512, 62 * 512)
    assert covered(plan(DISK, MBR, make_mbr_partition(start=512)))


def test_a_far_first_partition_keeps_one_mib_before_it() -> None:
    made = plan(DISK, MBR, make_mbr_partition(start=GiB))
    assert made.volumes[0].start + made.volumes[0].size <= 2 * MiB


@pytest.mark.parametrize("table", [MBR, make_table()], ids=["dos", "gpt"])
def test_all_blocks_leave_out_nothing_but_the_table(table: Node) -> None:
    first = make_partition(1, start=MiB, size=GiB)
    second = make_partition(2, start=3 * GiB, size=GiB)
    made = plan(DISK, table, first, second, all_blocks=True)
    holes = covered(made).holes(Extent(0, DISK.disk.size))
    assert holes.total <= 64 * KiB, "only where the table itself is"
    assert all(volume.reason for volume in made.volumes)


def test_a_disk_without_a_table_is_one_volume() -> None:
    size = 5 * MiB + 700
    disk = make_disk_node(disk=make_disk_id(size=size))
    made = plan(disk, make_filesystem("disk0"), used=UsedBlocks(None, "because"))
    (volume,) = made.volumes
    assert (volume.start, volume.size, volume.coverage) == (0, size, "all")
    assert volume.reason == "because"
    # The last block is padded.
    assert volume.used.total % BLOCK == 0 and 0 <= volume.used.total - size < BLOCK


def test_used_blocks_never_reach_behind_the_padded_end() -> None:
    part = make_partition(size=10 * BLOCK + 512)
    many = UsedBlocks(ExtentMap((Extent(9 * BLOCK, 100 * BLOCK),)))
    (volume,) = plan(DISK, make_table(), part, used=many).volumes
    assert volume.used == ExtentMap((Extent(9 * BLOCK, 2 * BLOCK),))


def test_two_disks_keep_apart() -> None:
    other = make_disk_node(id="disk1", disk=make_disk_id(serial="SERIAL2"))
    made = plan(DISK, make_table(), make_partition(), other)
    assert [volume.disk for volume in made.volumes] == ["disk0", "disk1"]


def test_the_plan_in_words() -> None:
    part = make_partition(name="root")
    made = plan(DISK, make_table(), part, make_filesystem(part.id), used=UsedBlocks(None, "why"))
    (line,) = render_capture(made).splitlines()
    assert "partition 1" in line and "ext4" in line and "all blocks: why" in line
