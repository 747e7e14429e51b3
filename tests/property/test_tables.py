"""Partition tables: what is written is read, damage is noticed, anything else is refused."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from recovery.errors import DamagedData
from recovery.format import gpt, mbr
from recovery.model.layout import Partition, Table
from recovery.model.size import MiB
from tests.builders import make_mbr_partition, make_partition, make_table

Written = tuple[tuple[int, bytes], ...]
SECTORS = st.sampled_from([512, 4096])


def image(parts: Written, size: int) -> bytearray:
    data = bytearray(size)
    for offset, part in parts:
        data[offset : offset + len(part)] = part
    return data


def reader(data: bytes | bytearray) -> gpt.Read:
    return lambda start, length: bytes(data[start : start + length])


def spans(draw: st.DrawFn, first: int, end: int, most: int) -> list[tuple[int, int]]:
    """Up to `most` pairs (start, length) of sectors in order, two sectors or more ahead of each."""
    step = max((end - first) // most - 2, 1)
    pairs = st.lists(st.tuples(st.integers(2, 2 + step // 2), st.integers(1, step // 2 + 1)))
    found: list[tuple[int, int]] = []
    position = first
    for gap, length in draw(pairs)[:most]:
        if position + gap + length <= end:
            found.append((position + gap, length))
            position += gap + length
    return found


def names() -> st.SearchStrategy[str]:
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    return st.text(letters, max_size=36).filter(lambda name: len(name.encode("utf-16-le")) <= 72)


@st.composite
def gpt_tables(draw: st.DrawFn) -> tuple[Table, tuple[Partition, ...], int, int]:
    sector = draw(SECTORS)
    sectors = draw(st.integers(200, 100000))
    entries = draw(st.sampled_from([4, 56, 60, 128, 129, 256]))
    array = max(-(-entries * 128 // sector), 16384 // sector)
    found = spans(draw, 2 + array, sectors - 1 - array, most=min(entries, 6))
    numbers = draw(
        st.lists(
            st.integers(1, entries), min_size=len(found), max_size=len(found), unique=True
        ).map(sorted)
    )
    places = draw(st.permutations(found))
    partitions = tuple(
        make_partition(
            number,
            start=start * sector,
            size=length * sector,
            type=str(draw(st.uuids())),
            identifier=str(draw(st.uuids())),
            name=draw(names()),
            attributes=draw(st.integers(0, 2**64 - 1)),
        )
        for number, (start, length) in zip(numbers, places, strict=True)
    )
    code = draw(st.one_of(st.just(b""), st.binary(min_size=440, max_size=440).filter(any)))
    table = make_table(identifier=str(draw(st.uuids())), boot_code=code, entries=entries)
    return table, partitions, sectors * sector, sector


@st.composite
def mbr_tables(draw: st.DrawFn) -> tuple[Table, tuple[Partition, ...], int, int]:
    sector = draw(SECTORS)
    sectors = draw(st.integers(5000, 2**33))
    top = min(sectors, 2**32)
    found = spans(draw, 64, top, most=7)
    # Logical partitions stand together, somewhere among at most three primary ones.
    logical = draw(st.integers(max(len(found) - 3, 0), len(found))) if len(found) > 3 else 0
    before = draw(st.integers(0, len(found) - logical))
    inside = found[before : before + logical]
    outside = found[:before] + found[before + logical :]
    numbered = [
        *zip(draw(st.permutations(range(1, 5))), outside, strict=False),
        *enumerate(draw(st.permutations(inside)), 5),
    ]
    signature = f"{draw(st.integers(0, 2**32 - 1)):08x}"
    types = st.integers(1, 255).filter(lambda type_: type_ not in {5, 0x0F, 0x85, 0xEE})
    partitions = tuple(
        make_mbr_partition(
            number,
            start=start * sector,
            size=length * sector,
            type=f"{draw(types):02x}",
            identifier=f"{signature}-{number:02x}",
            attributes=draw(st.integers(0, 1)),
        )
        for number, (start, length) in sorted(numbered)
    )
    code = draw(st.one_of(st.just(b""), st.binary(min_size=440, max_size=440).filter(any)))
    table = make_table(scheme="dos", identifier=signature, boot_code=code, entries=4)
    return table, partitions, sectors * sector, sector


class Sparse:
    """A disk that has only what was written to it."""

    def __init__(self, parts: Iterable[tuple[int, bytes]]) -> None:
        self.parts = tuple(parts)

    def __call__(self, start: int, length: int) -> bytes:
        data = bytearray(length)
        for offset, part in self.parts:
            low, high = max(offset, start), min(offset + len(part), start + length)
            if low < high:
                data[low - start : high - start] = part[low - offset : high - offset]
        return bytes(data)


@given(gpt_tables())
def test_gpt_comes_back(case: tuple[Table, tuple[Partition, ...], int, int]) -> None:
    table, partitions, size, sector = case
    parts = gpt.encode_table(table, partitions, size, sector)
    assert gpt.read_table(Sparse(parts), size, sector, "disk0") == (table, partitions)


@given(mbr_tables())
def test_mbr_comes_back(case: tuple[Table, tuple[Partition, ...], int, int]) -> None:
    table, partitions, size, sector = case
    parts = mbr.encode_table(table, partitions, size, sector)
    assert gpt.read_table(Sparse(parts), size, sector, "disk0") is None
    assert mbr.read_table(Sparse(parts), size, sector, "disk0") == (table, partitions)


TWO = (make_partition(1, start=MiB, size=MiB), make_partition(3, start=3 * MiB, size=MiB, name="x"))
SIZE = 5 * MiB
TABLE = make_table(boot_code=b"x".rjust(mbr.BOOT_CODE, b"\0"))
PARTS = gpt.encode_table(TABLE, TWO, SIZE, 512)
BYTES = sum(len(part) for _, part in PARTS)


@given(st.integers(0, BYTES - 1), st.integers(1, 255))
@example(450, 0xEE ^ 0x83)
@example(510, 0x55)
@example(446, 1)
def test_a_changed_byte_of_a_gpt_changes_nothing_we_keep(place: int, change: int) -> None:
    data = image(PARTS, SIZE)
    positions = [offset + index for offset, part in PARTS for index in range(len(part))]
    data[positions[place]] ^= change
    found = gpt.read_table(reader(data), SIZE, 512, "disk0")
    assert found is not None
    table = TABLE if place >= mbr.BOOT_CODE else replace(TABLE, boot_code=found[0].boot_code)
    assert found == (table, TWO)


@given(st.binary(max_size=3000), st.sampled_from([512, 4096]))
def test_any_bytes_are_a_table_or_refused(data: bytes, sector: int) -> None:
    for codec in (gpt, mbr):
        with suppress(DamagedData):
            codec.read_table(reader(data), len(data), sector, "disk0")


ENTRIES = st.tuples(
    st.sampled_from([0, 0x80]),
    st.binary(min_size=3, max_size=3),
    st.sampled_from([0, 5, 0x0F, 0x83, 0xEE]),
    st.binary(min_size=3, max_size=3),
    st.integers(0, 40),
    st.integers(0, 40),
).map(lambda fields: mbr.ENTRY.pack(*fields))
RECORDS = st.tuples(ENTRIES, ENTRIES, ENTRIES, ENTRIES).map(
    lambda entries: bytes(446) + b"".join(entries) + mbr.MARK
)


@given(st.lists(RECORDS, min_size=1, max_size=40))
def test_any_chain_of_records_ends(records: list[bytes]) -> None:
    data = b"".join(records)
    with suppress(DamagedData):
        found = mbr.read_table(reader(data), len(data), 512, "disk0")
        if found is not None:
            mbr.require_sane(found[1], len(data))


@given(st.data())
def test_a_gpt_with_any_fields_and_right_checksums_is_a_table_or_refused(
    data: st.DataObject,
) -> None:
    """Hostile rather than damaged: checksums do not protect here."""
    disk = image(PARTS, SIZE)
    for _ in range(data.draw(st.integers(1, 4))):
        field = data.draw(
            st.sampled_from([(72, "<Q"), (80, "<I"), (84, "<I"), (12, "<I"), (40, "<Q")])
        )
        limit = 2 ** (64 if field[1] == "<Q" else 32) - 1
        value = data.draw(st.one_of(st.integers(0, 300), st.integers(0, limit)))
        struct.pack_into(field[1], disk, 512 + field[0], value)
    offset = data.draw(st.integers(0, 127)) + 1024
    disk[offset] ^= data.draw(st.integers(0, 255))
    array, count, size = struct.unpack_from("<QII", disk, 512 + 72)
    if array * 512 < SIZE and count * size < SIZE:
        sum_ = zlib.crc32(disk[array * 512 : array * 512 + count * size])
        struct.pack_into("<I", disk, 512 + 88, sum_)
    struct.pack_into("<I", disk, 512 + 16, 0)
    struct.pack_into("<I", disk, 512 + 16, zlib.crc32(disk[512 : 512 + 92]))
    with suppress(DamagedData):
        found = gpt.read_table(reader(disk), SIZE, 512, "disk0")
        assert found is not None
        mbr.require_sane(found[1], SIZE)
