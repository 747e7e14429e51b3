"""How disks are divided and stacked: a flat tuple of nodes with ids and `on` references.

All starts and sizes are bytes. An id is unique in its layout and says where the node sits
(`disk0`, `disk0p2`); it is not a device path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recovery.model.machine import DiskId

Scheme = Literal["gpt", "dos"]


@dataclass(frozen=True, slots=True)
class DiskNode:
    """A whole disk, the bottom of every stack."""

    id: str
    disk: DiskId
    logical_sector: int
    physical_sector: int


@dataclass(frozen=True, slots=True)
class Table:
    """A partition table on `on` (a disk).

    `identifier` is the GPT disk GUID or the MBR signature as eight hex digits; `boot_code`
    the first 440 bytes of the disk; `entries` the number of slots in a GPT.
    """

    id: str
    on: str
    scheme: Scheme
    identifier: str
    boot_code: bytes = b""
    entries: int = 128


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition of table `on`; `start` is counted from the beginning of the disk.

    `type` is a GUID (GPT) or two hex digits (MBR), both lower case; `identifier` the
    partition GUID, or for MBR `<signature>-<number>`; `attributes` the GPT attribute bits,
    for MBR 1 where the partition is active. MBR extended containers are not listed: they
    follow from the logical partitions, which have numbers from 5 on.
    """

    id: str
    on: str
    number: int
    start: int
    size: int
    type: str
    identifier: str
    name: str = ""
    attributes: int = 0


@dataclass(frozen=True, slots=True)
class Filesystem:
    """A filesystem that fills `on`; `kind` as blkid names it (`ext4`, `vfat`, `ntfs`)."""

    id: str
    on: str
    kind: str
    uuid: str
    label: str = ""
    mounts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Swap:
    """Swap space that fills `on`."""

    id: str
    on: str
    uuid: str
    label: str = ""
    active: bool = False


@dataclass(frozen=True, slots=True)
class Luks:
    """An encrypted container; `opened` is its name in /dev/mapper, if it is open now.

    What is inside sits on the container itself.
    """

    id: str
    on: str
    uuid: str
    version: int
    opened: str = ""


@dataclass(frozen=True, slots=True)
class Raid:
    """An md array over its members, of which some may be missing."""

    id: str
    on: tuple[str, ...]
    uuid: str
    name: str
    level: str
    size: int


@dataclass(frozen=True, slots=True)
class VolumeGroup:
    """An LVM volume group over its physical volumes."""

    id: str
    on: tuple[str, ...]
    uuid: str
    name: str


@dataclass(frozen=True, slots=True)
class LogicalVolume:
    """One logical volume of the group `on`."""

    id: str
    on: str
    uuid: str
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class RawArea:
    """Bytes of a disk that no partition owns but that are worth keeping."""

    id: str
    on: str
    start: int
    size: int
    purpose: str


Node = (
    DiskNode
    | Table
    | Partition
    | Filesystem
    | Swap
    | Luks
    | Raid
    | VolumeGroup
    | LogicalVolume
    | RawArea
)


def table_id(disk: str) -> str:
    """The id of the partition table of a disk: `disk0.table`."""
    return f"{disk}.table"


def partition_id(disk: str, number: int) -> str:
    """The id of a partition of a disk: `disk0p2`."""
    return f"{disk}p{number}"


def parents(node: Node) -> tuple[str, ...]:
    """Ids of the nodes that `node` sits on, none for a disk."""
    match node:
        case DiskNode():
            return ()
        case Raid() | VolumeGroup():
            return node.on
        case _:
            return (node.on,)


@dataclass(frozen=True, slots=True)
class Layout:
    """Nodes in such an order that every node comes after those it sits on."""

    nodes: tuple[Node, ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for node in self.nodes:
            missing = [parent for parent in parents(node) if parent not in seen]
            if node.id in seen or missing:
                raise ValueError(f"{node.id}: not unique, or before {missing}")
            seen.add(node.id)

    @property
    def disks(self) -> tuple[DiskNode, ...]:
        """All disks."""
        return tuple(node for node in self.nodes if isinstance(node, DiskNode))

    def on(self, id: str) -> tuple[Node, ...]:
        """The nodes that sit directly on `id`."""
        return tuple(node for node in self.nodes if id in parents(node))

    def table(self, disk: str) -> Table | None:
        """The partition table of the disk, if it has one."""
        found = (node for node in self.on(disk) if isinstance(node, Table))
        return next(found, None)

    def partitions(self, disk: str) -> tuple[Partition, ...]:
        """The partitions of the disk by their place on it."""
        table = self.table(disk)
        nodes = self.on(table.id) if table else ()
        found = (node for node in nodes if isinstance(node, Partition))
        return tuple(sorted(found, key=lambda partition: partition.start))

    def filesystem(self, id: str) -> Filesystem | None:
        """The filesystem that fills the node, if there is one."""
        found = (node for node in self.on(id) if isinstance(node, Filesystem))
        return next(found, None)

    def disk_of(self, id: str) -> tuple[DiskNode, ...]:
        """The disks below a node: one for a partition, several for an array."""
        by_id = {node.id: node for node in self.nodes}
        found: dict[str, DiskNode] = {}
        waiting = [id]
        while waiting:
            node = by_id[waiting.pop()]
            if isinstance(node, DiskNode):
                found[node.id] = node
            waiting.extend(parents(node))
        return tuple(found.values())
