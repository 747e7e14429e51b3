"""GUID partition tables: bytes of a disk <-> `Table` and `Partition` values.

A table stands twice on its disk, and either copy is enough to read it; what is written is
always both, anew, in the standard places. Source: UEFI 2.10 section 5.3 (header, entries),
5.2.3 (protective MBR).
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from recovery.errors import DamagedData
from recovery.format import mbr
from recovery.model.layout import Partition, Table, partition_id, table_id
from recovery.model.size import align_up

Read = Callable[[int, int], bytes]
"""Gives `length` bytes from `start` of the disk, fewer only at its end."""

SIGNATURE = b"EFI PART"
REVISION = 0x00010000
HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
ENTRY = struct.Struct("<16s16sQQQ72s")
NAME_BYTES = 72
ARRAY_AT_LEAST = 16384
"""Bytes that UEFI 2.10 section 5.3.2 wants to be reserved for the entries of one copy."""
ARRAY_AT_MOST = 1 << 22
"""Linux refuses more (block/partitions/efi.c), and no tool writes nearly as much."""
ENTRY_SIZES = frozenset({128, 256, 512, 1024, 2048, 4096})
"""128 times a power of two (UEFI 2.10 table 5.5); every tool writes 128."""
UNUSED = bytes(16)
PROTECTIVE = 0xEE
SECTOR_SIZES = (512, 4096)


@dataclass(frozen=True, slots=True)
class _Copy:
    """One readable copy of a table: its disk GUID, entry slots, and those entries in use."""

    identifier: str
    entries: int
    used: tuple[tuple[int, bytes], ...]


def read_table(
    read: Read, disk_size: int, sector_size: int, disk_node_id: str
) -> tuple[Table, tuple[Partition, ...]] | None:
    """The table of a disk, `None` where it has no GPT; from the backup where the first is damaged.

    Sizes in bytes. Partitions come by their number, of which some may be left out. A hybrid
    MBR counts as protective: the GPT is what is kept.

    Raises `DamagedData` where the disk is marked as GPT and neither copy can be used.
    """
    sectors = disk_size // sector_size
    sector = read(0, mbr.SECTOR)
    claimed = _is_protective(sector)
    if sectors < 3 or (not claimed and mbr.has_partitions(sector)):
        return None
    copy = _read_copy(read, 1, sectors, sector_size)
    if copy is None and claimed:
        copy = _read_copy(read, sectors - 1, sectors, sector_size)
    if copy is not None:
        table = Table(
            id=table_id(disk_node_id),
            on=disk_node_id,
            scheme="gpt",
            identifier=copy.identifier,
            boot_code=mbr.boot_code_of(sector),
            entries=copy.entries,
        )
        partitions = tuple(
            _decode_entry(entry, number, disk_node_id, sector_size) for number, entry in copy.used
        )
        mbr.require_sane(partitions, disk_size)
        return table, partitions
    if claimed:
        raise DamagedData(
            "the disk is marked as GPT, but neither copy of its partition table can be read",
            hint=_hint_for_unreadable(read, sector_size),
        )
    return None


def encode_table(
    table: Table, partitions: tuple[Partition, ...], disk_size: int, sector_size: int
) -> tuple[tuple[int, bytes], ...]:
    """What to write where: protective MBR, first header, first entries, backup entries and header.

    Offsets and sizes in bytes, sorted by offset. Raises `ValueError` for a table that cannot
    stand on such a disk.
    """
    sectors = disk_size // sector_size
    array = _encode_entries(table, partitions, sector_size)
    array_sectors = len(array) // sector_size
    first_usable, last_usable = _usable(partitions, array_sectors, sectors, sector_size)
    header = _Header(
        disk=uuid.UUID(table.identifier).bytes_le,
        entries=table.entries,
        first_usable=first_usable,
        last_usable=last_usable,
        checksum=zlib.crc32(array[: table.entries * ENTRY.size]),
        sector_size=sector_size,
    )
    last = sectors - 1
    backup_array = last - array_sectors
    return (
        (0, _protective_mbr(table.boot_code, sectors)),
        (sector_size, header.encode(at=1, other=last, array=2)),
        (2 * sector_size, array),
        (backup_array * sector_size, array),
        (last * sector_size, header.encode(at=last, other=1, array=backup_array)),
    )


def reserved(entries: int, sector_size: int) -> int:
    """Bytes at the end of a disk that are kept free for the backup copy."""
    return max(_array_size(entries, sector_size), ARRAY_AT_LEAST) + sector_size


def back(entries: int, sector_size: int) -> int:
    """Bytes at the end of a disk that the backup copy cannot do without."""
    return _array_size(entries, sector_size) + sector_size


def smallest_disk(entries: int, sector_size: int) -> int:
    """Bytes of a disk that holds both copies, the protective MBR and one sector more."""
    return 2 * reserved(entries, sector_size) + 2 * sector_size


def find_sector_size(read: Read) -> int | None:
    """The logical sector size that a GPT was written for, told by where its header stands."""
    for sector_size in SECTOR_SIZES:
        if read(sector_size, len(SIGNATURE)) == SIGNATURE:
            return sector_size
    return None


def _is_protective(sector: bytes) -> bool:
    """Whether the first sector says "this is a GPT disk", as the kernel asks it (efi.c)."""
    return any(entry.type == PROTECTIVE and entry.start == 1 for entry in mbr.entries_of(sector))


def _hint_for_unreadable(read: Read, sector_size: int) -> str:
    written_for = find_sector_size(read)
    if written_for not in (None, sector_size):
        return (
            f"the table was written for sectors of {written_for} bytes, this disk has {sector_size}"
        )
    return mbr.REPAIR


def _read_copy(read: Read, lba: int, sectors: int, sector_size: int) -> _Copy | None:
    """The copy whose header is in sector `lba`, `None` if anything about it is wrong."""
    sector = read(lba * sector_size, sector_size)
    if not _is_header(sector, lba):
        return None
    *_, disk, array, entries, entry_size, checksum = HEADER.unpack_from(sector)
    length = entries * entry_size
    if not 0 < length <= ARRAY_AT_MOST or not 1 < array < sectors or entry_size not in ENTRY_SIZES:
        return None
    data = read(array * sector_size, length)
    if len(data) != length or zlib.crc32(data) != checksum:
        return None
    slots = (data[at : at + ENTRY.size] for at in range(0, length, entry_size))
    used = ((number, slot) for number, slot in enumerate(slots, 1) if slot[:16] != UNUSED)
    return _Copy(str(uuid.UUID(bytes_le=disk)), entries, tuple(used))


def _is_header(sector: bytes, lba: int) -> bool:
    """Whether the sector is an undamaged GPT header that belongs in sector `lba`."""
    if len(sector) < HEADER.size:
        return False
    signature, _, size, checksum, _, own, *_ = HEADER.unpack_from(sector)
    if signature != SIGNATURE or own != lba or not HEADER.size <= size <= len(sector):
        return False
    return bool(zlib.crc32(sector[:16] + bytes(4) + sector[20:size]) == checksum)


def _decode_entry(entry: bytes, number: int, disk: str, sector_size: int) -> Partition:
    type_, identifier, first, last, attributes, name = ENTRY.unpack(entry)
    if last < first:
        raise DamagedData(
            f"partition {number} of the partition table ends before it begins",
            hint=mbr.REPAIR,
        )
    return Partition(
        id=partition_id(disk, number),
        on=table_id(disk),
        number=number,
        start=first * sector_size,
        size=(last - first + 1) * sector_size,
        type=str(uuid.UUID(bytes_le=type_)),
        identifier=str(uuid.UUID(bytes_le=identifier)),
        name=name.decode("utf-16-le", errors="replace").split("\0", 1)[0],
        attributes=attributes,
    )


def _encode_entries(table: Table, partitions: tuple[Partition, ...], sector_size: int) -> bytes:
    data = bytearray(_array_size(table.entries, sector_size))
    for partition in partitions:
        if not 1 <= partition.number <= table.entries:
            raise ValueError(f"no slot {partition.number} among {table.entries}")
        if partition.start % sector_size or partition.size % sector_size:
            raise ValueError(f"{partition.id} does not begin and end on a sector")
        name = partition.name.encode("utf-16-le")
        if len(name) > NAME_BYTES:
            raise ValueError(f"{partition.id}: the name is too long")
        first = partition.start // sector_size
        ENTRY.pack_into(
            data,
            (partition.number - 1) * ENTRY.size,
            uuid.UUID(partition.type).bytes_le,
            uuid.UUID(partition.identifier).bytes_le,
            first,
            first + partition.size // sector_size - 1,
            partition.attributes,
            name,
        )
    return bytes(data)


def _array_size(entries: int, sector_size: int) -> int:
    return align_up(entries * ENTRY.size, sector_size)


def _usable(
    partitions: tuple[Partition, ...], array_sectors: int, sectors: int, sector_size: int
) -> tuple[int, int]:
    """First and last sector for partitions.

    16 KiB are left for the entries as the standard wants, unless the table has fewer of them
    and a partition already stands closer.
    """
    room = max(array_sectors, ARRAY_AT_LEAST // sector_size)
    starts = [partition.start // sector_size for partition in partitions]
    ends = [(partition.start + partition.size) // sector_size for partition in partitions]
    first = max(2 + array_sectors, min([2 + room, *starts]))
    end = min(sectors - 1 - array_sectors, max([sectors - 1 - room, *ends]))
    collides = bool(starts) and (min(starts) < first or max(ends) > end)
    if collides or first >= end:
        raise ValueError("a partition stands where the table has to be, or the disk is too small")
    return first, end - 1


@dataclass(frozen=True, slots=True)
class _Header:
    """What both copies of a header share; positions are sectors."""

    disk: bytes
    entries: int
    first_usable: int
    last_usable: int
    checksum: int
    sector_size: int

    def encode(self, at: int, other: int, array: int) -> bytes:
        """One sector: the header that stands in sector `at`."""

        def packed(checksum: int) -> bytes:
            return HEADER.pack(
                SIGNATURE,
                REVISION,
                HEADER.size,
                checksum,
                0,
                at,
                other,
                self.first_usable,
                self.last_usable,
                self.disk,
                array,
                self.entries,
                ENTRY.size,
                self.checksum,
            )

        return packed(zlib.crc32(packed(0))).ljust(self.sector_size, b"\0")


def _protective_mbr(boot_code: bytes, sectors: int) -> bytes:
    """One entry over the whole disk, or as far as 32 bits reach (UEFI 2.10 table 5.4)."""
    size = min(sectors - 1, 0xFFFFFFFF)
    entry = mbr.Entry(active=False, type=PROTECTIVE, start=1, size=size)
    return mbr.encode_sector(boot_code, 0, {1: entry})
