"""Partition tables of either scheme, for those who do not care which one it is."""

from __future__ import annotations

from recovery.format import gpt, mbr
from recovery.model.extent import Extent, ExtentMap
from recovery.model.layout import Partition, Table


def read_table(
    read: gpt.Read, disk_size: int, sector_size: int, disk_node_id: str
) -> tuple[Table, tuple[Partition, ...]] | None:
    """The table of a disk, `None` where it has none. Raises `DamagedData`."""
    found = gpt.read_table(read, disk_size, sector_size, disk_node_id)
    if found is None:
        found = mbr.read_table(read, disk_size, sector_size, disk_node_id)
    return found


def encode_table(
    table: Table, partitions: tuple[Partition, ...], disk_size: int, sector_size: int
) -> tuple[tuple[int, bytes], ...]:
    """What to write where, as (offset, bytes). Raises `ValueError` if it cannot stand there."""
    if table.scheme == "gpt":
        return gpt.encode_table(table, partitions, disk_size, sector_size)
    return mbr.encode_table(table, partitions, disk_size, sector_size)


def table_extents(
    table: Table, partitions: tuple[Partition, ...], disk_size: int, sector_size: int
) -> ExtentMap:
    """The bytes of the disk that the table itself takes, which are nobody else's to write."""
    parts = encode_table(table, partitions, disk_size, sector_size)
    return ExtentMap.of(Extent(offset, len(data)) for offset, data in parts)
