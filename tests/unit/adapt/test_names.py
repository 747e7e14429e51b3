"""Names of devices: which restored volume is meant."""

from __future__ import annotations

import pytest

from recovery.adapt.names import device_names, parse_entries, split_hardware_name
from recovery.model.layout import Swap
from tests.builders import (
    make_disk_id,
    make_disk_node,
    make_filesystem,
    make_layout,
    make_partition,
    make_table,
)

ROOT_UUID = "UUID=99999999-8888-4777-8666-555555555555"


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("/dev/sda2", ("/dev/sda", 2)),
        ("/dev/sdab12", ("/dev/sdab", 12)),
        ("/dev/nvme0n1p3", ("/dev/nvme0n1", 3)),
        ("/dev/mmcblk0p1", ("/dev/mmcblk0", 1)),
        ("/dev/cciss/c0d0p2", ("/dev/cciss/c0d0", 2)),
        ("/dev/disk/by-path/pci-0:1f.2-ata-1-part1", ("/dev/disk/by-path/pci-0:1f.2-ata-1", 1)),
        ("/dev/disk/by-id/ata-X_Y-part11", ("/dev/disk/by-id/ata-X_Y", 11)),
        ("/dev/sda", None),
        ("/dev/sr0", None),
        ("/dev/nvme0n1", None),
        ("/dev/mapper/vg-root", None),
        ("/dev/disk/by-uuid/1234-part1", None),
        ("UUID=1234", None),
        ("tmpfs", None),
    ],
)
def test_a_hardware_name_is_split_into_disk_and_number(
    spec: str, name: tuple[str, int] | None
) -> None:
    assert split_hardware_name(spec) == name


def test_the_root_entry_tells_what_the_only_disk_was_called() -> None:
    names = device_names(make_layout(), {}, "/dev/sda2 / ext4 defaults 0 1\n")
    assert names.stable("/dev/sda2") == ROOT_UUID
    assert names.stable("/dev/sda1") == "UUID=ABCD-1234"
    assert names.stable("/dev/sdb2") is None
    assert names.is_missing("/dev/sdb2")


def test_a_root_of_another_kind_or_number_tells_nothing() -> None:
    layout = make_layout(
        make_disk_node(), make_table(), make_partition(2), make_filesystem("disk0p2")
    )
    for fstab in ("/dev/sda2 / xfs defaults 0 1\n", "/dev/sda3 / ext4 defaults 0 1\n"):
        assert device_names(layout, {}, fstab).disks == {}


def test_a_part_of_the_system_tells_the_name_too_a_data_filesystem_does_not() -> None:
    disk = "/dev/disk/by-path/pci-0"
    known = device_names(make_layout(), {}, f"{disk}-part1 /boot/efi vfat defaults 0 1\n")
    assert known.stable(f"{disk}-part1") == "UUID=ABCD-1234"
    unknown = device_names(make_layout(), {}, f"{disk}-part2 /srv ext4 defaults 0 2\n")
    assert unknown.is_missing(f"{disk}-part2")


def test_exchanged_disks_are_kept_apart() -> None:
    first = make_disk_node()
    second = make_disk_node(id="disk1", disk=make_disk_id(serial="SERIAL2"))
    parts = [
        make_partition(1, id=f"{disk}p1", on=f"{disk}.table", identifier=f"{number}" * 36)
        for number, disk in enumerate(("disk0", "disk1"))
    ]
    layout = make_layout(
        first,
        second,
        make_table(id="disk0.table", on="disk0"),
        make_table(id="disk1.table", on="disk1"),
        *parts,
        make_filesystem("disk0p1", uuid="aaaa"),
        make_filesystem("disk1p1", uuid="bbbb"),
    )
    names = device_names(layout, {"disk0": "/dev/sdb", "disk1": "/dev/sda"}, "")
    assert names.stable("/dev/sdb1") == "UUID=aaaa"
    assert names.stable("/dev/sda1") == "UUID=bbbb"


def test_a_partition_without_filesystem_is_named_by_its_guid() -> None:
    part = make_partition(2)
    layout = make_layout(make_disk_node(), make_table(), part)
    names = device_names(layout, {"disk0": "/dev/sda"}, "")
    assert names.stable("/dev/sda2") == f"PARTUUID={part.identifier}"


@pytest.mark.parametrize(
    "spec",
    [
        "UUID=99999999-8888-4777-8666-555555555555",
        'UUID="99999999-8888-4777-8666-555555555555"',
        "uuid=99999999-8888-4777-8666-555555555555",
        "/dev/disk/by-uuid/99999999-8888-4777-8666-555555555555",
        "LABEL=root",
        "/dev/disk/by-label/root",
        "PARTUUID=aaaaaaaa-bbbb-4ccc-8ddd-000000000002",
    ],
)
def test_a_tag_finds_its_volume(spec: str) -> None:
    names = device_names(make_layout(), {}, "")
    assert names.volume(spec) == "disk0p2"
    assert names.stable(spec) is None
    assert not names.is_missing(spec)


def test_what_another_attached_disk_has_is_not_missing() -> None:
    names = device_names(make_layout(), {}, "", frozenset({"uuid=feed"}))
    assert not names.is_missing("UUID=FEED")
    assert names.is_missing("UUID=BEEF")


def test_swap_is_known_by_its_uuid() -> None:
    part = make_partition(3)
    layout = make_layout(make_disk_node(), make_table(), part, Swap("s", part.id, "5aaa"))
    names = device_names(layout, {"disk0": "/dev/vda"}, "")
    assert names.stable("/dev/vda3") == "UUID=5aaa"


def test_comments_and_stumps_are_no_entries() -> None:
    entries = parse_entries("# a b c\n\nUUID=1 /\n  LABEL=x /my\\040disk ext4\n")
    assert [entry.mount_point for entry in entries] == ["/my disk"]
