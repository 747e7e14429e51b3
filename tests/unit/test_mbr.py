"""MBR: chains of logical partitions, what is no table, what cannot be written."""

from __future__ import annotations

import pytest

from recovery.errors import DamagedData
from recovery.format import mbr
from recovery.format.mbr import Entry, encode_sector
from recovery.model.layout import Partition, Table
from recovery.model.size import KiB, MiB
from tests.builders import SIGNATURE, make_mbr_partition, make_table

SIZE = 64 * MiB
TABLE = make_table(scheme="dos", identifier=SIGNATURE, entries=4)


def part(number: int, start: int, size: int = MiB, **changes: object) -> Partition:
    return make_mbr_partition(number, start=start, size=size, **changes)


def disk_with(*partitions: Partition, table: Table = TABLE) -> bytearray:
    data = bytearray(SIZE)
    for offset, sector in mbr.encode_table(table, partitions, SIZE, 512):
        data[offset : offset + len(sector)] = sector
    return data


def read(data: bytes | bytearray) -> tuple[Table, tuple[Partition, ...]] | None:
    return mbr.read_table(lambda at, n: bytes(data[at : at + n]), len(data), 512, "disk0")


LOGICALS = (
    part(1, MiB, attributes=1),
    part(3, 50 * MiB, type="07"),
    part(5, 4 * MiB),
    part(6, 8 * MiB, type="82"),
)


def test_primary_and_logical_come_back() -> None:
    assert read(disk_with(*LOGICALS)) == (TABLE, LOGICALS)


def test_the_container_takes_a_free_slot_and_spans_the_logical_ones() -> None:
    slots = mbr.entries_of(bytes(disk_with(*LOGICALS)[:512]))
    assert slots[1] == Entry(active=False, type=5, start=3 * 2048, size=6 * 2048)


def test_logical_partitions_out_of_order_on_the_disk() -> None:
    swapped = (part(5, 8 * MiB), part(6, 4 * MiB))
    assert read(disk_with(*swapped)) == (TABLE, swapped)


def test_close_logical_partitions_need_one_sector_between() -> None:
    near = (part(5, 4 * MiB), part(6, 5 * MiB + 512))
    assert read(disk_with(*near)) == (TABLE, near)
    with pytest.raises(ValueError, match="no room"):
        mbr.encode_table(TABLE, (part(5, 4 * MiB), part(6, 5 * MiB)), SIZE, 512)


def test_the_first_track_stays_free_for_boot_loaders() -> None:
    offsets = [offset for offset, _ in mbr.encode_table(TABLE, (part(5, 63 * KiB),), SIZE, 512)]
    assert offsets == [0, 63 * KiB - 63 * 512]


def test_boot_code_and_signature_stay() -> None:
    code = bytes(range(1, 221)) * 2
    table = make_table(scheme="dos", identifier="deadbeef", entries=4, boot_code=code)
    data = disk_with(part(1, MiB, identifier="deadbeef-01"), table=table)
    assert data[440:444] == bytes.fromhex("efbeadde")
    found = read(data)
    assert found is not None
    assert (found[0].boot_code, found[1][0].identifier) == (code, "deadbeef-01")


def test_a_chain_that_bites_its_tail_is_refused() -> None:
    data = disk_with(part(5, 4 * MiB))
    record = 3 * MiB
    loop = {
        1: Entry(active=False, type=0x83, start=2048, size=2048),
        2: Entry(active=False, type=5, start=0, size=4096),
    }
    data[record : record + 512] = encode_sector(b"", 0, loop)
    with pytest.raises(DamagedData, match="comes back to sector 6144"):
        read(data)


def test_a_broken_chain_is_refused() -> None:
    data = disk_with(part(5, 4 * MiB))
    data[3 * MiB + 510] = 0
    with pytest.raises(DamagedData, match="broken at sector 6144"):
        read(data)


def test_a_partition_beyond_the_end_is_refused() -> None:
    with pytest.raises(DamagedData, match=r"partition 1 .* not inside the disk"):
        read(disk_with(part(1, MiB))[: MiB + 512])


@pytest.mark.parametrize("number", [1, 5])
def test_overlap_is_refused(number: int) -> None:
    data = disk_with(part(number, 4 * MiB))
    slots = dict(enumerate(mbr.entries_of(bytes(data[:512])), 1))
    slots[4] = Entry(active=False, type=0x83, start=4 * 2048 + 1, size=10)
    data[:512] = encode_sector(b"", 1, slots)
    with pytest.raises(DamagedData, match="overlap"):
        read(data)


def test_an_empty_table_is_a_table() -> None:
    assert read(disk_with()) == (TABLE, ())


@pytest.mark.parametrize(("offset", "magic"), mbr.FILESYSTEM_MARKS)
def test_a_filesystem_with_boot_code_is_no_table(offset: int, magic: bytes) -> None:
    data = disk_with()
    data[offset : offset + len(magic)] = magic
    assert read(data) is None


def test_a_filesystem_whose_boot_code_looks_like_entries_is_no_table() -> None:
    data = disk_with()
    data[446:462] = encode_sector(b"", 0, {1: Entry(False, 0x72, 10**6, 10**9)})[446:462]
    data[3:11] = b"NTFS    "
    assert read(data) is None


def test_a_table_wins_over_leftovers_of_a_filesystem() -> None:
    data = disk_with(part(1, MiB))
    data[82:87] = b"FAT32"
    found = read(data)
    assert found is not None
    assert found[1] == (part(1, MiB),)


@pytest.mark.parametrize(
    "partitions",
    [
        (part(1, MiB), part(1, 3 * MiB)),
        (part(6, 4 * MiB),),
        (part(1, MiB + 1),),
        (part(1, SIZE),),
        (part(1, MiB, type="05"),),
        (part(1, 6 * MiB), part(5, 4 * MiB), part(6, 8 * MiB)),
        tuple(part(number, number * 2 * MiB) for number in range(1, 6)),
    ],
    ids=["twice", "gap", "sector", "end", "type", "between", "slots"],
)
def test_what_cannot_stand_is_not_written(partitions: tuple[Partition, ...]) -> None:
    with pytest.raises(ValueError, match=r"."):
        mbr.encode_table(TABLE, partitions, SIZE, 512)


def test_2_tib_are_the_end() -> None:
    huge = 3 << 40
    last = part(1, MiB, size=(2 << 40) - MiB)
    assert mbr.encode_table(TABLE, (last,), huge, 512)
    with pytest.raises(ValueError, match="beyond"):
        mbr.encode_table(TABLE, (part(1, MiB, size=2 << 40),), huge, 512)
