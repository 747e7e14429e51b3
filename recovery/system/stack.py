"""How the machine's storage is stacked, as a layout: from what was read, without reading. Pure.

Devices are visited from the disks upwards. An array or a volume group is put down when all of
its members that are attached have been.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from recovery.format.mbr import boot_code_of
from recovery.model.layout import (
    DiskNode,
    Filesystem,
    Layout,
    LogicalVolume,
    Luks,
    Node,
    Partition,
    Raid,
    Scheme,
    Swap,
    Table,
    VolumeGroup,
    partition_id,
    table_id,
)
from recovery.model.machine import DiskId
from recovery.system.block_tree import BlockDevice, Tree, by_node
from recovery.system.disk_identity import decode_name
from recovery.system.in_use import Usage
from recovery.system.lvm import Group, Volume, map_uuid
from recovery.system.raid import Array, array_uuid

SCHEMES: Mapping[str, Scheme] = {"gpt": "gpt", "dos": "dos"}
EXTENDED_TYPES = frozenset({"05", "0f", "85"})
GPT_SIGNATURE = b"EFI PART"
GPT_ENTRIES_AT = 80
"""Offset of the number of entries in a GPT header: UEFI 2.10 table 5.5."""
ACTIVE = 0x80
"""Flag of the partition that a BIOS starts from, in the MBR's first byte of an entry."""


@dataclass(frozen=True, slots=True)
class Found:
    """All that a layout is made from.

    `heads` are the first bytes of disks by name, `arrays` by UUID those that are not assembled.
    """

    tree: Tree
    identities: Mapping[str, DiskId]
    heads: Mapping[str, bytes]
    groups: tuple[Group, ...]
    arrays: Mapping[str, Array]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Stack:
    """A layout, and the device node at which each of its nodes can be read now.

    For a LUKS container that is the opened volume. What is locked, not assembled, not active
    has no entry.
    """

    layout: Layout
    nodes: Mapping[str, str]


def stack_up(found: Found) -> Stack:
    """The layout of everything found; disks are numbered in the order of their names."""
    building = _Building(found)
    for number, (name, identity) in enumerate(found.identities.items()):
        device = found.tree[name]
        disk = DiskNode(f"disk{number}", identity, device.logical_sector, device.physical_sector)
        building.put(disk, device)
        building.fill(disk.id, device)
    building.join()
    return Stack(Layout(tuple(building.nodes)), building.places)


def array_of(device: BlockDevice) -> str:
    """The UUID of the array that the device is a member of, empty if of none."""
    member = device.content == "linux_raid_member"
    return array_uuid(device.properties.get("ID_FS_UUID", "")) if member else ""


def assembled(tree: Tree, member: str) -> BlockDevice | None:
    """The running array on top of a member."""
    arrays = (
        device
        for device in tree.values()
        if device.name.startswith("md") and member in device.slaves
    )
    return next(arrays, None)


@dataclass(slots=True)
class _Building:
    """A layout in the making. `visited` has the ids of devices by their kernel name."""

    found: Found
    nodes: list[Node] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)
    visited: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, list[str]] = field(default_factory=dict)
    by_node: Mapping[str, BlockDevice] = field(init=False)
    groups: dict[str, Group] = field(init=False)

    def __post_init__(self) -> None:
        self.by_node = by_node(self.found.tree)
        self.groups = {group.uuid: group for group in self.found.groups}

    def put(self, node: Node, device: BlockDevice | None) -> None:
        self.nodes.append(node)
        if device is not None:
            self.places[node.id] = device.node

    def fill(self, id: str, device: BlockDevice) -> None:
        """Put down what is on the device, whose own node has the id."""
        self.visited[device.name] = id
        # The kernel makes no partitions of partitions or of device-mapper devices.
        divisible = not device.disk and not device.map_name
        table = self._table(id, device) if divisible else None
        if table is None:
            self._fill_whole(id, device)
            return
        self.put(table, None)
        for part in self.found.tree.values():
            if part.disk == device.name:
                self._fill_partition(id, table, part)

    def join(self) -> None:
        """Put down arrays and groups, lowest first; what never gets complete comes last."""
        while (one := self._next()) is not None:
            if isinstance(one, Group):
                self._put_group(one)
            else:
                self._put_array(one)

    def _table(self, id: str, device: BlockDevice) -> Table | None:
        scheme = SCHEMES.get(device.properties.get("ID_PART_TABLE_TYPE", ""))
        # A hybrid ISO image has both, and its partitions only repeat the filesystem.
        if scheme is None or device.content == "iso9660":
            return None
        head = self.found.heads.get(device.name, b"")
        return Table(
            id=table_id(id),
            on=id,
            scheme=scheme,
            identifier=device.properties.get("ID_PART_TABLE_UUID", "").lower(),
            boot_code=boot_code_of(head),
            entries=4 if scheme == "dos" else _gpt_entries(head, device.logical_sector),
        )

    def _fill_partition(self, disk: str, table: Table, part: BlockDevice) -> None:
        told = part.properties
        type = told.get("ID_PART_ENTRY_TYPE", "").lower()
        flags = int(told.get("ID_PART_ENTRY_FLAGS", "0"), 0)
        if table.scheme == "dos":
            type = f"{int(type, 0):02x}" if type else ""
            flags = int(bool(flags & ACTIVE))
            if type in EXTENDED_TYPES:
                return
        partition = Partition(
            id=partition_id(disk, part.partition),
            on=table.id,
            number=part.partition,
            start=part.start,
            size=part.size,
            type=type,
            identifier=told.get("ID_PART_ENTRY_UUID", "").lower(),
            name=decode_name(told.get("ID_PART_ENTRY_NAME", "")),
            attributes=flags,
        )
        self.put(partition, part)
        self.fill(partition.id, part)

    def _fill_whole(self, id: str, device: BlockDevice) -> None:
        uuid = decode_name(device.properties.get("ID_FS_UUID_ENC", ""))
        uuid = uuid or device.properties.get("ID_FS_UUID", "")
        label = decode_name(device.properties.get("ID_FS_LABEL_ENC", ""))
        label = label or device.properties.get("ID_FS_LABEL", "")
        match device.content:
            case "" | "mpath_member":
                return
            case "swap" | "swsuspend":
                active = device.name in self.found.usage.swaps
                self.put(Swap(f"{id}.swap", id, uuid, label, active), device)
            case "crypto_LUKS":
                self._fill_luks(id, device, uuid)
            case "linux_raid_member":
                self.arrays.setdefault(array_of(device), []).append(device.name)
            case "LVM2_member" if self._is_member(device):
                return
            case kind:
                mounts = self.found.usage.mounts.get(device.name, ())
                self.put(Filesystem(f"{id}.filesystem", id, kind, uuid, label, mounts), device)

    def _fill_luks(self, id: str, device: BlockDevice, uuid: str) -> None:
        opened = next(
            (
                above
                for above in self.found.tree.values()
                if device.name in above.slaves and above.map_kind == "CRYPT"
            ),
            None,
        )
        version = device.properties.get("ID_FS_VERSION", "")
        luks = Luks(
            id=f"{id}.luks",
            on=id,
            uuid=uuid,
            version=int(version) if version.isdecimal() else 1,
            opened=opened.map_name if opened else "",
        )
        self.put(luks, opened)
        if opened:
            self.fill(luks.id, opened)

    def _is_member(self, device: BlockDevice) -> bool:
        return any(device in self._members(group) for group in self.found.groups)

    def _members(self, group: Group) -> tuple[BlockDevice, ...]:
        """The physical volumes that are attached."""
        return tuple(self.by_node[node] for node in group.members if node in self.by_node)

    def _next(self) -> str | Group | None:
        """An array's UUID or a group to put down now; none when all are."""
        arrays = sorted(self.arrays)
        groups = [group for group in self.groups.values() if self._begun(group)]
        running = [uuid for uuid in arrays if self._runs_on_visited(uuid)]
        whole = [group for group in groups if len(self._begun(group)) == len(self._members(group))]
        waiting: tuple[str | Group, ...] = (*running, *whole, *arrays, *groups)
        return waiting[0] if waiting else None

    def _runs_on_visited(self, uuid: str) -> bool:
        array = assembled(self.found.tree, self.arrays[uuid][0])
        return array is not None and all(slave in self.visited for slave in array.slaves)

    def _begun(self, group: Group) -> tuple[str, ...]:
        """The ids of the physical volumes that have been visited."""
        members = (member.name for member in self._members(group))
        return tuple(self.visited[name] for name in members if name in self.visited)

    def _put_array(self, uuid: str) -> None:
        members = self.arrays.pop(uuid)
        array = assembled(self.found.tree, members[0])
        examined = self.found.arrays.get(uuid, Array(uuid, "", "", 0))
        label = self.found.tree[members[0]].properties.get("ID_FS_LABEL", "")
        raid = Raid(
            id=f"raid{sum(isinstance(node, Raid) for node in self.nodes)}",
            on=tuple(self.visited[name] for name in members),
            uuid=uuid,
            name=examined.name or label.rpartition(":")[2],
            level=array.attributes.get("md/level", "") if array else examined.level,
            size=array.size if array else examined.size,
        )
        self.put(raid, array)
        if array:
            self.fill(raid.id, array)

    def _put_group(self, group: Group) -> None:
        del self.groups[group.uuid]
        number = sum(isinstance(node, VolumeGroup) for node in self.nodes)
        node = VolumeGroup(f"vg{number}", self._begun(group), group.uuid, group.name)
        self.put(node, None)
        for volume in group.volumes:
            id = f"{node.id}.{volume.name}"
            device = self._active(group, volume)
            self.put(LogicalVolume(id, node.id, volume.uuid, volume.name, volume.size), device)
            if device:
                self.fill(id, device)

    def _active(self, group: Group, volume: Volume) -> BlockDevice | None:
        """The volume's device, if it is active; by identity, since names may be there twice."""
        told = map_uuid(group, volume)
        devices = self.found.tree.values()
        return next((d for d in devices if d.attributes.get("dm/uuid") == told), None)


def _gpt_entries(head: bytes, sector: int) -> int:
    header = head[sector : sector + GPT_ENTRIES_AT + 4]
    if not header.startswith(GPT_SIGNATURE):
        return 128
    return int.from_bytes(header[GPT_ENTRIES_AT:], "little")
