"""The smallest valid value of each kind; a test overrides by keyword what it is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from recovery.format.partition_types import ESP, LINUX_DATA
from recovery.model.layout import (
    DiskNode,
    Filesystem,
    Layout,
    Node,
    Partition,
    Table,
    partition_id,
    table_id,
)
from recovery.model.machine import Disk, DiskId, Firmware, Machine, SecureBoot
from recovery.model.size import GiB, MiB
from recovery.model.snapshot import Snapshot, Volume

DISK_GUID = "11111111-2222-4333-8444-555555555555"
SIGNATURE = "1a2b3c4d"
TAKEN_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def make_disk_id(**changes: Any) -> DiskId:
    """A disk of 8 GiB with a serial number."""
    return replace(DiskId("Model A", "SERIAL1", 8 * GiB), **changes)


def make_disk(**changes: Any) -> Disk:
    """An attached SATA disk that nothing uses."""
    disk = Disk(
        id=make_disk_id(),
        node="/dev/sda",
        logical_sector=512,
        physical_sector=512,
        rotational=False,
        removable=False,
        transport="sata",
        read_only=False,
    )
    return replace(disk, **changes)


def make_machine(**changes: Any) -> Machine:
    """A UEFI machine with one disk."""
    machine = Machine(
        product="Machine A",
        firmware=Firmware.UEFI,
        secure_boot=SecureBoot.OFF,
        memory=4 * GiB,
        processors=2,
        disks=(make_disk(),),
        network_cards=(),
        controllers=(),
    )
    return replace(machine, **changes)


def make_disk_node(**changes: Any) -> DiskNode:
    """The layout's node of `make_disk()`, called `disk0`."""
    return replace(DiskNode("disk0", make_disk_id(), 512, 512), **changes)


def make_table(**changes: Any) -> Table:
    """An empty GPT on `disk0`."""
    return replace(Table(table_id("disk0"), "disk0", "gpt", DISK_GUID), **changes)


def make_partition(number: int = 1, **changes: Any) -> Partition:
    """A Linux partition of 1 GiB on `disk0`, the first one from 1 MiB on, others right behind."""
    partition = Partition(
        id=partition_id("disk0", number),
        on=table_id("disk0"),
        number=number,
        start=MiB + (number - 1) * GiB,
        size=GiB,
        type=LINUX_DATA,
        identifier=f"aaaaaaaa-bbbb-4ccc-8ddd-{number:012x}",
    )
    return replace(partition, **changes)


def make_mbr_partition(number: int = 1, **changes: Any) -> Partition:
    """The same with an MBR's type and identifier."""
    identity = {"type": "83", "identifier": f"{SIGNATURE}-{number:02x}"}
    return make_partition(number, **{**identity, **changes})


def make_filesystem(on: str, **changes: Any) -> Filesystem:
    """An ext4 that fills `on`."""
    uuid = "99999999-8888-4777-8666-555555555555"
    return replace(Filesystem(f"{on}.filesystem", on, "ext4", uuid), **changes)


def make_layout(*nodes: Node) -> Layout:
    """The given nodes; by default a GPT disk with an ESP of 512 MiB and an ext4 root of 4 GiB."""
    if nodes:
        return Layout(nodes)
    esp = make_partition(1, type=ESP, size=512 * MiB)
    root = make_partition(2, start=513 * MiB, size=4 * GiB)
    return Layout(
        (
            make_disk_node(),
            make_table(),
            esp,
            root,
            make_filesystem(esp.id, kind="vfat", uuid="ABCD-1234", label="ESP"),
            make_filesystem(root.id, label="root", mounts=("/",)),
        )
    )


def make_volume(id: str = "disk0p2", **changes: Any) -> Volume:
    """The root of `make_layout()`, with half of its blocks used and an empty map."""
    volume = Volume(
        id=id,
        disk="disk0",
        start=513 * MiB,
        size=4 * GiB,
        used=2 * GiB,
        stored=GiB,
        coverage="used",
        reason="",
        map=(),
    )
    return replace(volume, **changes)


def make_volumes(layout: Layout, disk: str = "disk0") -> tuple[Volume, ...]:
    """One volume per partition of the disk."""
    return tuple(
        make_volume(part.id, disk=disk, start=part.start, size=part.size, used=part.size // 2)
        for part in layout.partitions(disk)
    )


def make_snapshot(**changes: Any) -> Snapshot:
    """`make_machine()` with `make_layout()`, every partition captured."""
    layout = changes.get("layout", make_layout())
    snapshot = Snapshot(
        id="20260102T030405Z-0001",
        host="ws-042",
        taken_at=TAKEN_AT,
        machine=make_machine(),
        layout=layout,
        volumes=make_volumes(layout),
        parent="",
        consistency="offline",
        tool_version="0.1",
    )
    return replace(snapshot, **changes)
