"""Fits and plans as a technician meets them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from recovery.errors import DoesNotFit
from recovery.format.partition_types import ESP
from recovery.format.titles import title_of
from recovery.model.layout import (
    DiskNode,
    Filesystem,
    LogicalVolume,
    Partition,
    RawArea,
    Table,
    VolumeGroup,
)
from recovery.model.machine import Disk, DiskId
from recovery.model.plan import AdaptSystem, GrowFilesystem, SaveOldTable, WriteTable, render_plan
from recovery.model.size import GiB, KiB, MiB, TiB
from recovery.restore.fit import TargetDisk, fit
from recovery.restore.plan import plan_restore, refusals
from tests.builders import (
    SIGNATURE,
    make_disk,
    make_disk_id,
    make_disk_node,
    make_filesystem,
    make_layout,
    make_mbr_partition,
    make_partition,
    make_snapshot,
    make_table,
    make_volume,
)


def target(size: int, logical: int = 512) -> TargetDisk:
    disk = make_disk_id(model="Model B", serial="TARGET1", size=size)
    return TargetDisk(disk, size, logical, logical)


def partition(layout_nodes: object, id: str) -> Partition:
    assert isinstance(layout_nodes, tuple)
    return next(node for node in layout_nodes if isinstance(node, Partition) and node.id == id)


def test_same_size_changes_nothing_but_the_disk() -> None:
    snapshot = make_snapshot()
    found = fit(snapshot, "disk0", target(8 * GiB), "none")
    assert found.layout.nodes[1:] == snapshot.layout.nodes[1:]
    assert found.layout.disks[0].disk.serial == "TARGET1"
    assert found.grown == ()
    assert [(place.volume, place.start) for place in found.placements] == [
        ("disk0p1", MiB),
        ("disk0p2", 513 * MiB),
    ]


def test_last_ext4_grows_to_the_last_whole_mib() -> None:
    found = fit(make_snapshot(), "disk0", target(20 * GiB), "last")
    root = partition(found.layout.nodes, "disk0p2")
    assert found.grown == ("disk0p2",)
    assert root.start + root.size == 20 * GiB - MiB
    assert found.placements[1].size == 4 * GiB
    assert found.notes == ()


def test_without_growth_the_free_space_is_named() -> None:
    found = fit(make_snapshot(), "disk0", target(20 * GiB), "none")
    assert found.notes == ("16.6 GB stay free behind partition 2",)


@pytest.mark.parametrize(
    "change",
    [{"kind": "xfs"}, {"kind": "ntfs"}, {"kind": "swap"}],
    ids=lambda change: str(change["kind"]),
)
def test_what_cannot_grow_keeps_its_size(change: dict[str, str]) -> None:
    root = make_partition(1)
    layout = make_layout(make_disk_node(), make_table(), root, make_filesystem(root.id, **change))
    found = fit(make_snapshot(layout=layout), "disk0", target(20 * GiB), "last")
    assert found.grown == ()
    assert partition(found.layout.nodes, "disk0p1") == root


def test_an_esp_at_the_end_keeps_its_size_even_with_ext4() -> None:
    esp = make_partition(1, type=ESP)
    layout = make_layout(make_disk_node(), make_table(), esp, make_filesystem(esp.id))
    assert fit(make_snapshot(layout=layout), "disk0", target(20 * GiB), "last").grown == ()


def test_a_raw_area_behind_the_last_partition_stops_growth() -> None:
    root = make_partition(1)
    area = RawArea("disk0.raw1", "disk0", root.start + root.size, MiB, "boot blocks")
    layout = make_layout(make_disk_node(), make_table(), root, make_filesystem(root.id), area)
    found = fit(make_snapshot(layout=layout), "disk0", target(20 * GiB), "last")
    assert found.grown == ()


def test_a_smaller_disk_is_enough_while_every_partition_ends_inside() -> None:
    smallest = (513 * MiB + 4 * GiB) + 33 * 512
    fit(make_snapshot(), "disk0", target(smallest), "last")
    with pytest.raises(DoesNotFit) as refusal:
        fit(make_snapshot(), "disk0", target(smallest - 512), "last")
    assert str(refusal.value) == "Model B TARGET1 (4.83 GB) is too small: 4.83 GB are needed"
    assert refusal.value.hint == (
        f"use a disk of at least 4.83 GB ({smallest} bytes); partition 2 ends at 4.83 GB"
    )
    assert refusal.value.exit_code == 31


def test_another_sector_size_is_refused_with_a_way_out() -> None:
    with pytest.raises(DoesNotFit, match=r"sectors of 512 bytes, .* has 4096") as refusal:
        fit(make_snapshot(), "disk0", target(20 * GiB, logical=4096), "last")
    assert "nvme format" in refusal.value.hint


def test_a_volume_on_the_whole_disk_goes_anywhere_it_fits() -> None:
    disk = make_disk_node(disk=make_disk_id(size=GiB))
    layout = make_layout(disk, make_filesystem("disk0"))
    volume = make_volume("disk0", start=0, size=GiB)
    snapshot = make_snapshot(layout=layout, volumes=(volume,))
    found = fit(snapshot, "disk0", target(GiB, logical=4096), "last")
    assert (found.placements[0].start, found.placements[0].size, found.grown) == (0, GiB, ())
    with pytest.raises(DoesNotFit, match="are needed"):
        fit(snapshot, "disk0", target(GiB - 4096, logical=4096), "last")
    plan = plan_restore(snapshot, "disk0", found, target(GiB).id)
    assert not any(isinstance(step, WriteTable) for step in plan.steps)


def test_an_mbr_stops_at_2_tib_and_says_so() -> None:
    root = make_mbr_partition(1)
    table = make_table(scheme="dos", identifier=SIGNATURE)
    layout = make_layout(make_disk_node(), table, root, make_filesystem(root.id))
    found = fit(make_snapshot(layout=layout), "disk0", target(3 * TiB), "last")
    grown = partition(found.layout.nodes, "disk0p1")
    assert grown.start + grown.size == 2 * TiB
    assert found.notes == ("an MBR reaches only 2.20 TB far: 1100 GB of the disk cannot be used",)


def test_what_spans_another_disk_is_left_out_and_named() -> None:
    one = make_partition(1)
    other = DiskNode("disk1", make_disk_id(serial="SERIAL2"), 512, 512)
    group = VolumeGroup("vg0", ("disk0p1", "disk1"), "uuid", "vg0")
    volume = LogicalVolume("vg0-root", "vg0", "uuid", "root", GiB)
    layout = make_layout(make_disk_node(), other, make_table(), one, group, volume)
    found = fit(make_snapshot(layout=layout, volumes=()), "disk0", target(8 * GiB), "none")
    assert [node.id for node in found.layout.nodes] == ["disk0", "disk0.table", "disk0p1"]
    assert found.notes[:2] == (
        "vg0 also needs disk1 of the source, which is not restored",
        "vg0-root also needs disk1 of the source, which is not restored",
    )


@pytest.mark.parametrize(
    ("table", "parts"),
    [
        (make_table(), (make_partition(1, start=17 * KiB - 512, size=MiB),)),
        (
            make_table(scheme="dos", identifier=SIGNATURE),
            (
                make_mbr_partition(1, start=6 * MiB, size=MiB),
                make_mbr_partition(5, start=4 * MiB, size=MiB),
                make_mbr_partition(6, start=8 * MiB, size=MiB),
            ),
        ),
    ],
    ids=["in-the-way-of-a-gpt", "primary-between-logical"],
)
def test_a_table_that_we_cannot_write_is_refused_before_anything_is(
    table: Table, parts: tuple[Partition, ...]
) -> None:
    layout = make_layout(make_disk_node(), table, *parts)
    with pytest.raises(DoesNotFit, match="cannot be made anew"):
        fit(make_snapshot(layout=layout), "disk0", target(8 * GiB), "none")


def test_a_disk_that_the_snapshot_lacks() -> None:
    with pytest.raises(DoesNotFit, match="no disk disk7"):
        fit(make_snapshot(), "disk7", target(8 * GiB), "none")


def test_the_plan_as_the_technician_signs_it() -> None:
    snapshot = make_snapshot()
    disk = target(20 * GiB)
    plan = plan_restore(snapshot, "disk0", fit(snapshot, "disk0", disk, "last"), disk.id)
    assert render_plan(plan) == (
        "Restore ws-042 of 2026-01-02 03:04 UTC to Model B TARGET1 (21.5 GB)\n"
        "   1  save   first and last MiB of Model B TARGET1 (21.5 GB), for undo\n"
        "   2  ERASE  Model B TARGET1 (21.5 GB): new GPT partition table, 2 partitions\n"
        '   3  write  partition 1, EFI system partition (vfat "ESP"): 268 MB used of 537 MB\n'
        '   4  write  partition 2, root (ext4 "root"): 2.15 GB used of 4.29 GB\n'
        '   5  verify partition 1, EFI system partition (vfat "ESP"): read back 268 MB\n'
        '   6  verify partition 2, root (ext4 "root"): read back 2.15 GB\n'
        '   7  grow   partition 2, root (ext4 "root"): ext4 to 20.9 GB\n'
        "   8  adapt  make the restored system start on this machine"
    )


def test_an_image_file_is_neither_saved_grown_nor_adapted() -> None:
    snapshot = make_snapshot()
    disk = target(20 * GiB)
    found = fit(snapshot, "disk0", disk, "none")
    plan = plan_restore(snapshot, "disk0", found, disk.id, image_file=True)
    left_out = SaveOldTable | GrowFilesystem | AdaptSystem
    assert not any(isinstance(step, left_out) for step in plan.steps)
    assert len(plan.steps) == 5


def test_nothing_to_adapt_without_a_linux_filesystem() -> None:
    windows = make_partition(1)
    layout = make_layout(
        make_disk_node(), make_table(), windows, make_filesystem(windows.id, kind="ntfs")
    )
    snapshot = make_snapshot(layout=layout)
    disk = target(20 * GiB)
    plan = plan_restore(snapshot, "disk0", fit(snapshot, "disk0", disk, "last"), disk.id)
    assert not any(isinstance(step, AdaptSystem) for step in plan.steps)


@pytest.mark.parametrize(
    ("filesystem", "name", "title"),
    [
        ({"mounts": ("/home",)}, "", "partition 1, /home (ext4)"),
        ({"mounts": ("/home", "/")}, "", "partition 1, root (ext4)"),
        ({"label": "data"}, "store", 'partition 1, store (ext4 "data")'),
        ({}, "", "partition 1 (ext4)"),
        (None, "", "partition 1, Linux filesystem"),
    ],
)
def test_titles(filesystem: dict[str, object] | None, name: str, title: str) -> None:
    part = make_partition(1, name=name)
    inside: tuple[Filesystem, ...] = (
        () if filesystem is None else (make_filesystem(part.id, **filesystem),)
    )
    layout = make_layout(make_disk_node(), make_table(), part, *inside)
    assert title_of(layout, part.id) == title


DISK = make_disk()


@pytest.mark.parametrize(
    ("disk", "protected", "reason"),
    [
        (DISK, {}, ""),
        (DISK, {make_disk_id(serial="OTHER"): "holds the repository"}, ""),
        (DISK, {DISK.id: "holds the repository"}, "holds the repository"),
        (replace(DISK, uses=("mounted on /",)), {}, "mounted on /"),
        (
            replace(DISK, uses=("mounted on /", "live medium")),
            {DISK.id: "live medium"},
            "live medium; mounted on /",
        ),
        (replace(DISK, problem="does not answer"), {}, "does not answer"),
        (replace(DISK, read_only=True), {}, ""),
    ],
)
def test_refusals(disk: Disk, protected: Mapping[DiskId, str], reason: str) -> None:
    assert refusals(disk, protected) == reason
