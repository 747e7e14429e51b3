"""GPT: which disks have one, what is kept, which copy is used."""

from __future__ import annotations

import struct

import pytest

from recovery.errors import DamagedData
from recovery.format import gpt, mbr
from recovery.format.tables import read_table, table_extents
from recovery.model.layout import Partition, Table
from recovery.model.size import MiB
from tests.builders import make_partition, make_table

SIZE = 8 * MiB
TABLE = make_table()
TWO = (make_partition(1, start=MiB, size=MiB), make_partition(3, start=3 * MiB, size=MiB, name="é"))


def disk_with(
    table: Table = TABLE, partitions: tuple[Partition, ...] = TWO, size: int = SIZE
) -> bytearray:
    data = bytearray(size)
    for offset, part in gpt.encode_table(table, partitions, size, 512):
        data[offset : offset + len(part)] = part
    return data


def read(data: bytes | bytearray, sector: int = 512) -> tuple[Table, tuple[Partition, ...]] | None:
    return gpt.read_table(lambda at, n: bytes(data[at : at + n]), len(data), sector, "disk0")


def test_numbers_with_gaps_come_back() -> None:
    assert read(disk_with()) == (TABLE, TWO)


def test_header_fields_are_where_the_standard_puts_them() -> None:
    data = disk_with()
    assert data[512:520] == b"EFI PART"
    assert struct.unpack_from("<II", data, 520) == (0x00010000, 92)
    last = SIZE // 512 - 1
    assert struct.unpack_from("<QQQQ", data, 536) == (1, last, 34, last - 33)
    assert struct.unpack_from("<QII", data, 584) == (2, 128, 128)


def test_guids_are_stored_with_their_first_three_fields_turned() -> None:
    data = disk_with(make_table(identifier="01234567-89ab-4cde-8f01-23456789abcd"))
    assert data[568:584].hex() == "67452301ab89de4c8f0123456789abcd"


def test_protective_mbr_covers_the_disk() -> None:
    entry = mbr.entries_of(bytes(disk_with()[:512]))[0]
    assert (entry.type, entry.start, entry.size) == (0xEE, 1, SIZE // 512 - 1)


@pytest.mark.parametrize("damaged", [512, 512 + 60, 1024, 1024 + 200, 1024 + 16383])
def test_the_backup_stands_in(damaged: int) -> None:
    data = disk_with()
    data[damaged] ^= 0xFF
    assert read(data) == (TABLE, TWO)


def test_two_damaged_copies_are_refused() -> None:
    data = disk_with()
    data[512] ^= 1
    data[SIZE - 512] ^= 1
    with pytest.raises(DamagedData, match="neither copy"):
        read(data)


def test_a_table_for_other_sectors_is_named() -> None:
    data = bytearray(SIZE)
    for offset, part in gpt.encode_table(TABLE, TWO, SIZE, 4096):
        data[offset : offset + len(part)] = part
    assert read(data, 4096) == (TABLE, TWO)
    with pytest.raises(DamagedData) as refusal:
        read(data)
    assert "sectors of 4096 bytes" in refusal.value.hint


def test_a_truncated_disk_is_refused() -> None:
    with pytest.raises(DamagedData, match=r"partition 3 .* not inside the disk"):
        read(disk_with()[: 3 * MiB + 512])


def test_a_disk_that_was_enlarged_is_read() -> None:
    found = read(disk_with() + bytes(MiB))
    assert found == (TABLE, TWO)


def test_overlapping_partitions_are_refused() -> None:
    twice = (make_partition(1, start=MiB, size=2 * MiB), make_partition(2, start=2 * MiB, size=MiB))
    with pytest.raises(DamagedData, match=r"1 and 2 .* overlap"):
        read(disk_with(partitions=twice))


def test_leftovers_of_a_gpt_below_an_mbr_do_not_count() -> None:
    data = disk_with()
    one = {1: mbr.Entry(active=False, type=0x83, start=2048, size=2048)}
    data[:512] = mbr.encode_sector(b"", 0x1234, one)
    assert read(data) is None
    found = read_table(lambda at, n: bytes(data[at : at + n]), SIZE, 512, "disk0")
    assert found is not None
    assert found[0].scheme == "dos"


def test_a_filesystem_over_the_whole_disk_hides_an_old_backup() -> None:
    data = disk_with()
    data[: 2 * MiB] = bytes(2 * MiB)
    assert read(data) is None


@pytest.mark.parametrize("size", [0, 100, 512, 1024, 40 * 512])
def test_empty_disks_have_none(size: int) -> None:
    assert read(bytes(size)) is None


@pytest.mark.parametrize(
    ("partitions", "size"),
    [
        ((make_partition(129),), SIZE),
        ((make_partition(1, start=33 * 512, size=512),), SIZE),
        ((make_partition(1, start=MiB, size=SIZE - MiB - 32 * 512),), SIZE),
        ((make_partition(1, start=MiB + 1, size=MiB),), SIZE),
        ((make_partition(1, start=MiB, size=MiB, name="x" * 37),), SIZE),
        ((), 66 * 512),
    ],
    ids=["number", "front", "back", "sector", "name", "disk"],
)
def test_what_cannot_stand_is_not_written(partitions: tuple[Partition, ...], size: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        gpt.encode_table(TABLE, partitions, size, 512)


def test_the_smallest_disk() -> None:
    size = gpt.smallest_disk(128, 512)
    assert read(disk_with(partitions=(), size=size)) == (TABLE, ())
    with pytest.raises(ValueError, match="too small"):
        gpt.encode_table(TABLE, (), size - 512, 512)


def test_table_extents_are_both_ends() -> None:
    found = table_extents(TABLE, TWO, SIZE, 512)
    assert [(part.start, part.end) for part in found] == [
        (0, 34 * 512),
        (SIZE - 33 * 512, SIZE),
    ]


def test_a_size_that_is_no_multiple_of_the_sector() -> None:
    size = SIZE + 100
    found = gpt.encode_table(TABLE, TWO, size, 512)
    assert max(offset + len(part) for offset, part in found) == SIZE
