"""MBR (DOS) partition tables: bytes of a disk <-> `Table` and `Partition` values.

Logical partitions hang on a chain of extended boot records (EBRs). The container and the
EBRs are not kept as values: they follow from where the logical partitions are.
Source: UEFI 2.10 section 5.2.1 (legacy MBR); Linux block/partitions/msdos.c (chain, numbers);
util-linux libfdisk/src/dos.c (container, CHS).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from recovery.errors import DamagedData
from recovery.model.layout import Partition, Table, partition_id, table_id
from recovery.model.size import MiB

Read = Callable[[int, int], bytes]
"""Gives `length` bytes from `start` of the disk, fewer only at its end."""

SECTOR = 512
"""The record is 512 bytes long whatever the sectors of the disk are."""
BOOT_CODE = 440
ENTRIES_AT = 446
MARK = b"\x55\xaa"
ENTRY = struct.Struct("<B3sB3sII")
ACTIVE = 0x80
EXTENDED = frozenset({0x05, 0x0F, 0x85})
FIRST_LOGICAL = 5
LOGICALS_AT_MOST = 255
"""Linux gives a disk 256 minor numbers; a longer chain is a loop or an attack."""
SECTORS_AT_MOST = 1 << 32
"""No partition reaches farther: 2 TiB on disks with 512-byte sectors."""
HEADS, TRACK = 255, 63
CYLINDERS = 1024

REPAIR = "the disk may be truncated or damaged; look at it with fdisk or gdisk"

FILESYSTEM_MARKS = (
    (3, b"NTFS    "),
    (3, b"EXFAT   "),
    (54, b"FAT"),
    (82, b"FAT32"),
    (0x438, b"\x53\xef"),
    (0x10040, b"_BHRfS_M"),
)
"""Filesystems whose first sector may end in 55 AA like a partition table: offset and magic
(libblkid's superblock probes for NTFS, exFAT, FAT16, FAT32, ext2/3/4, btrfs)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One of four slots of a record; `start` and `size` in sectors, relative in an EBR."""

    active: bool
    type: int
    start: int
    size: int


def read_table(
    read: Read, disk_size: int, sector_size: int, disk_node_id: str
) -> tuple[Table, tuple[Partition, ...]] | None:
    """The table of a disk, `None` where it has none; ask `gpt.read_table` first.

    Sizes in bytes. Primary partitions keep their slot as number, logical ones count from 5
    in the order of their chain, as Linux does. Raises `DamagedData` for a table with
    impossible entries.
    """
    sector = read(0, SECTOR)
    if not sector.endswith(MARK) or len(sector) < SECTOR:
        return None
    slots = entries_of(sector)
    if not slots or (not has_partitions(sector) and _holds_filesystem(read)):
        return None
    signature = struct.unpack_from("<I", sector, BOOT_CODE)[0]
    table = Table(
        id=table_id(disk_node_id),
        on=disk_node_id,
        scheme="dos",
        identifier=f"{signature:08x}",
        boot_code=boot_code_of(sector),
        entries=4,
    )
    try:
        found = _walk(read, slots, sector_size)
        partitions = tuple(_partition(table, *numbered, sector_size) for numbered in found)
        require_sane(partitions, disk_size)
    except DamagedData:
        # Boot code of a filesystem can look like entries; those are never possible ones.
        if _holds_filesystem(read):
            return None
        raise
    return table, partitions


def encode_table(
    table: Table, partitions: tuple[Partition, ...], disk_size: int, sector_size: int
) -> tuple[tuple[int, bytes], ...]:
    """What to write where: the MBR, and an EBR before each logical partition.

    Offsets and sizes in bytes, sorted by offset. Raises `ValueError` for a table that cannot
    stand on such a disk.
    """
    _require_encodable(partitions, disk_size, sector_size)
    primary = {
        partition.number: _entry(partition, sector_size)
        for partition in partitions
        if partition.number < FIRST_LOGICAL
    }
    logical = sorted(
        (partition for partition in partitions if partition.number >= FIRST_LOGICAL),
        key=lambda partition: partition.number,
    )
    records = _records_before(logical, partitions, sector_size)
    if logical:
        begin = min(records)
        end = max(partition.start + partition.size for partition in logical) // sector_size
        free = [slot for slot in range(1, 5) if slot not in primary]
        if not free:
            raise ValueError("no slot is left for the extended partition")
        if any(
            begin < entry.start + entry.size and entry.start < end for entry in primary.values()
        ):
            raise ValueError("a primary partition stands between logical ones")
        primary[free[0]] = Entry(False, _container_type(end), begin, end - begin)
    chain = _encode_chain(logical, records, sector_size)
    first = encode_sector(table.boot_code, int(table.identifier, 16), primary)
    return tuple(sorted(((0, first), *chain)))


def entries_of(sector: bytes) -> tuple[Entry, ...]:
    """The four slots, none where the sector is no partition table at all."""
    if len(sector) < SECTOR or sector[SECTOR - 2 : SECTOR] != MARK:
        return ()
    raw = [ENTRY.unpack_from(sector, ENTRIES_AT + slot * ENTRY.size) for slot in range(4)]
    if any(flag not in (0, ACTIVE) for flag, *_ in raw):
        return ()
    return tuple(
        Entry(flag == ACTIVE, type_, start, size) for flag, _, type_, _, start, size in raw
    )


def has_partitions(sector: bytes) -> bool:
    """Whether the record lists a partition that is not a GPT's protection, which begins at 1."""
    return any(
        entry.type not in (0, 0xEE) and entry.size > 0 and entry.start > 1
        for entry in entries_of(sector)
    )


def boot_code_of(sector: bytes) -> bytes:
    """The boot code of a first sector, empty where there is none."""
    code = sector[:BOOT_CODE]
    return code if any(code) else b""


def encode_sector(boot_code: bytes, signature: int, slots: Mapping[int, Entry]) -> bytes:
    """512 bytes of a record with the entries of `slots` (1 to 4)."""
    if len(boot_code) > BOOT_CODE:
        raise ValueError("more boot code than fits")
    sector = bytearray(SECTOR)
    sector[: len(boot_code)] = boot_code
    struct.pack_into("<I", sector, BOOT_CODE, signature)
    for slot, entry in slots.items():
        ENTRY.pack_into(
            sector,
            ENTRIES_AT + (slot - 1) * ENTRY.size,
            ACTIVE if entry.active else 0,
            _chs(entry.start),
            entry.type,
            _chs(entry.start + entry.size - 1),
            entry.start,
            entry.size,
        )
    sector[-2:] = MARK
    return bytes(sector)


def require_sane(partitions: tuple[Partition, ...], disk_size: int) -> None:
    """Raise `DamagedData` unless all partitions are inside the disk and apart from each other."""
    before: Partition | None = None
    for partition in sorted(partitions, key=lambda partition: partition.start):
        if partition.start <= 0 or partition.start + partition.size > disk_size:
            raise DamagedData(
                f"partition {partition.number} of the partition table is not inside the disk",
                hint=REPAIR,
            )
        if before is not None and before.start + before.size > partition.start:
            raise DamagedData(
                f"partitions {before.number} and {partition.number} of the partition table overlap",
                hint=REPAIR,
            )
        before = partition


def _holds_filesystem(read: Read) -> bool:
    return any(read(offset, len(magic)) == magic for offset, magic in FILESYSTEM_MARKS)


def _walk(read: Read, slots: tuple[Entry, ...], sector_size: int) -> tuple[tuple[int, Entry], ...]:
    """Every partition with its number, and with its start counted from the disk's beginning."""
    found = [
        (number, entry)
        for number, entry in enumerate(slots, 1)
        if entry.type and entry.size and entry.type not in EXTENDED
    ]
    number = FIRST_LOGICAL
    for container in slots:
        if container.type in EXTENDED and container.size:
            for entry in _logicals(read, container, sector_size):
                found.append((number, entry))
                number += 1
    return tuple(found)


def _logicals(read: Read, container: Entry, sector_size: int) -> tuple[Entry, ...]:
    found: list[Entry] = []
    seen: set[int] = set()
    here = container.start
    while here not in seen:
        seen.add(here)
        slots = entries_of(read(here * sector_size, SECTOR))
        if not slots or len(seen) > LOGICALS_AT_MOST:
            raise DamagedData(
                f"the chain of logical partitions is broken at sector {here}",
                hint=REPAIR,
            )
        used = [entry for entry in slots[:2] if entry.size and entry.type]
        found += [
            replace(entry, start=here + entry.start) for entry in used if entry.type not in EXTENDED
        ]
        links = [entry for entry in used if entry.type in EXTENDED]
        if not links:
            return tuple(found)
        here = container.start + links[0].start
    raise DamagedData(
        f"the chain of logical partitions comes back to sector {here}",
        hint=REPAIR,
    )


def _partition(table: Table, number: int, entry: Entry, sector_size: int) -> Partition:
    return Partition(
        id=partition_id(table.on, number),
        on=table.id,
        number=number,
        start=entry.start * sector_size,
        size=entry.size * sector_size,
        type=f"{entry.type:02x}",
        identifier=f"{table.identifier}-{number:02x}",
        attributes=int(entry.active),
    )


def _entry(partition: Partition, sector_size: int) -> Entry:
    return Entry(
        active=bool(partition.attributes & 1),
        type=int(partition.type, 16),
        start=partition.start // sector_size,
        size=partition.size // sector_size,
    )


def _require_encodable(partitions: tuple[Partition, ...], disk_size: int, sector_size: int) -> None:
    numbers = sorted(partition.number for partition in partitions)
    logical = [number for number in numbers if number >= FIRST_LOGICAL]
    if len(set(numbers)) < len(numbers) or any(number < 1 for number in numbers):
        raise ValueError(f"impossible numbers: {numbers}")
    if logical != list(range(FIRST_LOGICAL, FIRST_LOGICAL + len(logical))):
        raise ValueError(f"logical partitions count from {FIRST_LOGICAL} without gaps: {numbers}")
    for partition in partitions:
        if partition.start % sector_size or partition.size % sector_size:
            raise ValueError(f"{partition.id} does not begin and end on a sector")
        end = (partition.start + partition.size) // sector_size
        if partition.size <= 0 or end > SECTORS_AT_MOST or end * sector_size > disk_size:
            raise ValueError(f"{partition.id} reaches beyond what an MBR or the disk can hold")
        if int(partition.type, 16) in EXTENDED | {0} or len(partition.type) != 2:
            raise ValueError(f"{partition.id} has type {partition.type}")


def _records_before(
    logical: list[Partition], partitions: tuple[Partition, ...], sector_size: int
) -> tuple[int, ...]:
    """Sectors for the EBRs, in the order of `logical`; the first is also first on the disk."""
    taken = tuple(partition.start + partition.size for partition in partitions)
    records = [_room_before(partition.start, taken, sector_size) for partition in logical]
    if records and records[0] > min(records):
        # The container begins with the head of the chain, wherever its partition is.
        records[0] = _room_before(min(records), taken, sector_size)
    return tuple(record // sector_size for record in records)


def _room_before(start: int, taken: tuple[int, ...], sector_size: int) -> int:
    """Where the EBR for `start` goes: 1 MiB ahead, or as near as need be.

    `taken` are ends of partitions. The first MiB or at least the first track is left alone
    where possible: boot loaders live there.
    """
    distances = (MiB, TRACK * sector_size, sector_size)
    for floor in distances:
        lowest = max([floor, *(end for end in taken if end <= start)])
        for distance in distances:
            if start - distance >= lowest:
                return start - distance
    raise ValueError(f"no room for the record of a logical partition before byte {start}")


def _encode_chain(
    logical: list[Partition], records: tuple[int, ...], sector_size: int
) -> tuple[tuple[int, bytes], ...]:
    """One EBR per logical partition; each links to the next, counted from the container."""
    begin = min(records, default=0)
    chain: list[tuple[int, bytes]] = []
    for index, (partition, record) in enumerate(zip(logical, records, strict=True)):
        own = _entry(partition, sector_size)
        slots = {1: replace(own, start=own.start - record)}
        if index + 1 < len(logical):
            next_end = (logical[index + 1].start + logical[index + 1].size) // sector_size
            following = records[index + 1]
            slots[2] = Entry(False, 0x05, following - begin, next_end - following)
        chain.append((record * sector_size, encode_sector(b"", 0, slots)))
    return tuple(chain)


def _container_type(end: int) -> int:
    """05, or 0F (extended, LBA) where cylinders, heads and sectors cannot address the end."""
    return 0x0F if end > CYLINDERS * HEADS * TRACK else 0x05


def _chs(sector: int) -> bytes:
    """Cylinder, head, sector as a BIOS counts them with 255 heads and 63 sectors."""
    cylinder, rest = divmod(sector, HEADS * TRACK)
    if cylinder >= CYLINDERS:
        return b"\xfe\xff\xff"
    head, place = divmod(rest, TRACK)
    return bytes((head, (place + 1) | (cylinder >> 2) & 0xC0, cylinder & 0xFF))
