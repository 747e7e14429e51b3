"""The parts of the probe that read other programs' and the kernel's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery.system.block_tree import BlockDevice, in_order
from recovery.system.disk_identity import decode_name, identities_of
from recovery.system.firmware import count_of_list
from recovery.system.in_use import group_of_map, parse_mountinfo, parse_swaps, unescape
from recovery.system.lvm import groups_of
from recovery.system.raid import Array, parse_examine

EXAMINE_090 = """/dev/sda1:
          Magic : a92b4efc
        Version : 0.90.00
           UUID : a1b2c3d4:00000000:11111111:22222222 (local to host old)
     Raid Level : raid1
  Used Dev Size : 1046528 (1022.00 MiB 1071.64 MB)
     Array Size : 1046528 (1022.00 MiB 1071.64 MB)
"""


def test_kernel_names_in_the_order_people_expect() -> None:
    names = ["sdaa", "nvme10n1", "sdb", "sda", "nvme2n1", "sda10", "sda2"]
    assert sorted(names, key=in_order) == [
        *("sda", "sda2", "sda10", "sdb", "sdaa"),
        *("nvme2n1", "nvme10n1"),
    ]


@given(st.text(st.characters(min_codepoint=32, exclude_characters="\0", codec="utf-8")))
def test_mount_points_are_unescaped(point: str) -> None:
    escaped = "".join(f"\\{ord(c):03o}" if c in " \t\n\\" else c for c in point)
    assert unescape(escaped) == point


@given(st.binary(max_size=40))
def test_udev_names_are_decoded(raw: bytes) -> None:
    encoded = "".join(f"\\x{byte:02x}" for byte in raw)
    assert decode_name(encoded) == raw.decode(errors="replace").strip(" \0")


def test_mountinfo_with_and_without_optional_fields() -> None:
    text = (
        "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:7 - ext3 /dev/root rw\n"
        "37 35 8:1 / /mnt/my\\040disk rw - vfat /dev/sda1 rw\n"
        "nonsense\n"
    )
    first, second = parse_mountinfo(text)
    assert (first.number, first.root, first.point, first.kind) == ("98:0", "/mnt1", "/mnt2", "ext3")
    assert (second.point, second.source) == ("/mnt/my disk", "/dev/sda1")


def test_swap_files_are_left_out() -> None:
    text = (
        "Filename\tType\tSize\tUsed\tPriority\n"
        "/dev/dm-2 partition\t999\t0\t-2\n"
        "/swap\\040file file\t999\t0\t-3\n"
    )
    assert parse_swaps(text) == ("/dev/dm-2",)


NAMES = st.from_regex(r"[a-z0-9_.+]([a-z0-9_.+-]*[a-z0-9_.+])?", fullmatch=True)


@given(NAMES, NAMES)
def test_group_is_found_again_in_the_map_name_of_its_volume(group: str, volume: str) -> None:
    mapped = "-".join(name.replace("-", "--") for name in (group, volume))
    assert group_of_map(mapped) == group


def test_groups_of_the_same_name_stay_apart() -> None:
    members = [
        {"vg_name": "vg", "vg_uuid": "A", "pv_name": "/dev/sdb"},
        {"vg_name": "vg", "vg_uuid": "A", "pv_name": "/dev/sda"},
        {"vg_name": "vg", "vg_uuid": "B", "pv_name": "/dev/sdc"},
        {"vg_name": "", "vg_uuid": "", "pv_name": "/dev/sdd"},
    ]
    volume = {"lv_name": "root", "lv_uuid": "R", "lv_size": "4194304", "lv_attr": "-wi-a-----"}
    snapshot = {**volume, "lv_name": "snap", "lv_attr": "swi-a-s---", "vg_uuid": "A"}
    first, second = groups_of(members, [{**volume, "vg_uuid": "B"}, snapshot])
    assert (first.members, first.volumes) == (("/dev/sda", "/dev/sdb"), ())
    assert [volume.size for volume in second.volumes] == [4 << 20]


def test_old_raid_metadata() -> None:
    uuid = "a1b2c3d4:00000000:11111111:22222222"
    assert parse_examine(EXAMINE_090) == Array(uuid, "", "raid1", 1046528 * 1024)
    assert parse_examine("mdadm: No md superblock detected on /dev/sda.\n") is None


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("0", 1), ("0-7", 8), ("0,2-3", 3), ("0-3,8,10-11", 7)]
)
def test_processors_are_counted(text: str, count: int) -> None:
    assert count_of_list(text) == count


def disk(name: str, serial: str, size: int) -> BlockDevice:
    return BlockDevice(
        name=name,
        node=f"/dev/{name}",
        number="8:0",
        path=f"/devices/pci0000:00/0000:00:1f.2/{name}/block/{name}",
        disk="",
        partition=0,
        start=0,
        size=size,
        logical_sector=512,
        physical_sector=512,
        rotational=False,
        removable=False,
        read_only=False,
        slaves=(),
        attributes={"device/model": "Dock"},
        properties={"ID_SERIAL_SHORT": serial, "ID_PATH": f"usb-{name}"},
    )


def test_a_serial_that_two_disks_share_names_neither() -> None:
    disks = (disk("sda", "ABC", 10**12), disk("sdb", "abc", 2 * 10**12), disk("sdc", "X", 10**12))
    first, second, third = identities_of(disks)
    assert (first.serial, first.path, second.serial, second.path) == ("", "usb-sda", "", "usb-sdb")
    assert first.token != second.token
    assert third.token == "X"
