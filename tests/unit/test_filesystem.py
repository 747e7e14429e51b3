"""What is believed of a filesystem's own account, and what partclone's log says."""

from __future__ import annotations

import struct

import pytest

from recovery.errors import CommandFailed
from recovery.model.extent import Extent, ExtentMap
from recovery.model.layout import Filesystem, Luks, Swap
from recovery.model.size import KiB, MiB
from recovery.system.filesystem import (
    EDGE,
    SWAP_HEADER,
    Content,
    Read,
    parse_domain,
    reason_not_to_trust,
    swap_blocks,
)

LOG = """\
# Domain logfile created by partclone
# current_pos  current_status
0x00000000     ?
#      pos        size  status
0x00000000  0x00400000  +
0x00400000  0x00800000  ?
0x00C00000  0x00100000  +
0x00D00000  0x01300000  ?
"""


def test_a_domain_log() -> None:
    size = 32 * MiB
    used = parse_domain(LOG, size)
    assert used == ExtentMap.of(
        (Extent(0, 4 * MiB), Extent(12 * MiB, MiB), Extent(size - EDGE, EDGE))
    )


def test_both_ends_of_what_lies_behind_the_filesystem() -> None:
    used = parse_domain(LOG, 64 * MiB)
    assert Extent(31 * MiB + MiB, EDGE) in used.extents
    assert used.extents[-1] == Extent(64 * MiB - EDGE, EDGE)


def test_a_log_of_more_than_the_volume_is_cut() -> None:
    assert parse_domain(LOG, 2 * MiB + 512) == ExtentMap((Extent(0, 2 * MiB + 512),))
    assert parse_domain(LOG, 512) == ExtentMap((Extent(0, 512),))


@pytest.mark.parametrize("text", ["", "rubbish", "0x0 0x0 +", "0x00000000  0x00400000  ?"])
def test_a_log_without_used_blocks_is_a_failure(text: str) -> None:
    with pytest.raises(CommandFailed):
        parse_domain(text, MiB)


def reading(*pieces: tuple[int, bytes]) -> Read:
    """Reads a volume of 64 KiB and more that holds the pieces at their places."""
    data = bytearray(96 * KiB)
    for start, piece in pieces:
        data[start : start + len(piece)] = piece
    return lambda start, length: bytes(data[start : start + length])


def ext(state: int, incompatible: int) -> Read:
    superblock = bytearray(1024)
    struct.pack_into("<H", superblock, 0x3A, state)
    struct.pack_into("<I", superblock, 0x60, incompatible)
    return reading((1024, bytes(superblock)))


@pytest.mark.parametrize(
    ("state", "incompatible", "reason"),
    [
        (1, 0x2C2, ""),
        (1, 0x2C2 | 0x4, "unmounted"),
        (0, 0x2C2, "unmounted"),
        (3, 0x2C2, "errors"),
        (5, 0x2C2, ""),
    ],
)
def test_an_ext(state: int, incompatible: int, reason: str) -> None:
    found = reason_not_to_trust("ext4", ext(state, incompatible))
    assert reason in found if reason else found == ""


def btrfs(log_root: int, devices: int) -> Read:
    superblock = bytearray(4096)
    struct.pack_into("<Q", superblock, 0x60, log_root)
    struct.pack_into("<Q", superblock, 0x88, devices)
    return reading((64 * KiB, bytes(superblock)))


def test_a_btrfs() -> None:
    assert reason_not_to_trust("btrfs", btrfs(0, 1)) == ""
    assert "unmounted" in reason_not_to_trust("btrfs", btrfs(1 << 20, 1))
    assert "2 devices" in reason_not_to_trust("btrfs", btrfs(0, 2))


def fat(sectors: int, per_cluster: int, fat_sectors: int) -> Read:
    boot = bytearray(512)
    struct.pack_into("<HBHBHH", boot, 0x0B, 512, per_cluster, 4, 2, 512, 0)
    struct.pack_into("<H", boot, 0x16, fat_sectors)
    struct.pack_into("<I", boot, 0x20, sectors)
    return reading((0, bytes(boot)))


def test_a_fat12_is_not_believed() -> None:
    assert "FAT12" in reason_not_to_trust("vfat", fat(8192, 4, 6))
    assert reason_not_to_trust("vfat", fat(1 << 16, 4, 64)) == ""
    assert "understood" in reason_not_to_trust("vfat", reading())


@pytest.mark.parametrize("kind", ["ntfs", "f2fs"])
@pytest.mark.parametrize("fill", [b"\0", b"\xff"])
def test_a_superblock_of_nothing(kind: str, fill: bytes) -> None:
    read = reading((0, fill * (96 * KiB)))
    assert "understood" in reason_not_to_trust(kind, read)


def test_swap() -> None:
    for signature, kept in ((b"SWAPSPACE2", SWAP_HEADER), (b"S1SUSPEND\0", None)):
        used = swap_blocks(reading((4086, signature)), MiB)
        assert used == (None if kept is None else ExtentMap((Extent(0, kept),)))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (Content("swap", "other", "u"), Swap),
        (Content("swsuspend", "other"), Swap),
        (Content("crypto_LUKS", "crypto", "u", version="2"), Luks),
        (Content("ext4", "filesystem", "u"), Filesystem),
        (Content("linux_raid_member", "raid"), type(None)),
        (Content(), type(None)),
    ],
)
def test_which_contents_a_layout_lists(content: Content, kind: type) -> None:
    node = content.node("disk0p1")
    assert isinstance(node, kind)
    assert node is None or node.on == "disk0p1"
