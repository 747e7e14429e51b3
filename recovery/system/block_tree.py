"""Every block device that the kernel has, with what sysfs and udev know about it.

Source: Documentation/ABI/stable/sysfs-block of the kernel. `size` and `start` in sysfs count
units of 512 bytes, whatever the sectors of the disk are.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from recovery.errors import RecoveryError
from recovery.system.command import Command, Runner
from recovery.system.sysfs import device_path, read_bytes, read_int, read_text
from recovery.system.udev import Database, Properties

log = logging.getLogger(__name__)

UNIT = 512
DEFAULT_SECTOR = 512
ATTRIBUTES = (
    "serial",
    "hidden",
    "device/model",
    "device/name",
    "device/vendor",
    "device/serial",
    "device/state",
    "dm/name",
    "dm/uuid",
    "dm/suspended",
    "md/level",
    "md/array_state",
)
VIRTUAL = re.compile(r"(loop|ram|zram|sr|fd|dm-|md|mtdblock|bcache|drbd|zd)\d|mmcblk\d+(boot|rpmb)")
PROBE_TIMEOUT = 20.0
"""Seconds: a disk that sleeps needs some ten to spin up."""


@dataclass(frozen=True, slots=True)
class BlockDevice:
    """One block device; `name` is the kernel's, `path` its place in sysfs below /sys.

    `disk` is the name of the disk that it is partition number `partition` of, empty and 0
    for whole devices; `slaves` are the names of the devices it is stacked on.
    """

    name: str
    node: str
    number: str
    path: str
    disk: str
    partition: int
    start: int
    size: int
    logical_sector: int
    physical_sector: int
    rotational: bool
    removable: bool
    read_only: bool
    slaves: tuple[str, ...]
    attributes: Mapping[str, str]
    properties: Properties

    @property
    def is_disk(self) -> bool:
        """Whether this is a piece of hardware, and neither a part nor a stack of others."""
        return not (
            self.disk
            or self.slaves
            or VIRTUAL.match(self.name)
            or self.attributes.get("hidden") == "1"
            or (self.size == 0 and (self.removable or self.name.startswith("nbd")))
        )

    @property
    def map_name(self) -> str:
        """The name of a device-mapper device, empty for others."""
        return self.attributes.get("dm/name", "")

    @property
    def map_kind(self) -> str:
        """Who made a device-mapper device: `LVM`, `CRYPT`, `mpath`, `part1`; empty for others."""
        return self.attributes.get("dm/uuid", "").partition("-")[0]

    @property
    def content(self) -> str:
        """What fills the device, as blkid names it, such as `ext4` or `linux_raid_member`."""
        return self.properties.get("ID_FS_TYPE", "")


Tree = Mapping[str, BlockDevice]
"""Block devices by their kernel name, in the order people expect."""


def read_block_tree(sysfs: Path, database: Database) -> Tree:
    """All block devices, with udev's properties where udev has seen them."""
    known = database("block")
    folder = sysfs / "class/block"
    names = (
        sorted((path.name for path in folder.iterdir()), key=in_order) if folder.is_dir() else ()
    )
    devices = (_read_device(sysfs, folder / name, known) for name in names)
    return {device.name: device for device in devices if device is not None}


def in_order(name: str) -> tuple[tuple[int, str], ...]:
    """Sorting key that puts sdb before sdaa and nvme2n1 before nvme10n1."""
    parts = re.findall(r"^(?:sd|hd|vd|xvd)|\d+|\D+", name)
    return tuple((len(part), part) for part in parts)


def above(tree: Tree, name: str) -> Iterator[BlockDevice]:
    """The device itself, its partitions, and everything that is stacked on them."""
    seen = {name}
    waiting = [name]
    while waiting:
        here = waiting.pop(0)
        yield tree[here]
        for device in tree.values():
            if device.name not in seen and (device.disk == here or here in device.slaves):
                seen.add(device.name)
                waiting.append(device.name)


def by_node(tree: Tree) -> Mapping[str, BlockDevice]:
    """Devices by all their nodes: /dev/mapper/x and /dev/dm-0 alike, and udev's links."""
    found: dict[str, BlockDevice] = {}
    for device in tree.values():
        links = device.properties.get("DEVLINKS", "").split()
        found |= dict.fromkeys((device.node, _plain_node(device.name), *links), device)
    return found


def with_contents(runner: Runner, tree: Tree, silent: Iterable[str]) -> Tree:
    """The tree with blkid's answers where udev has none; disks in `silent` are left alone."""
    left_alone = frozenset(silent)
    return {
        name: replace(device, properties={**device.properties, **_ask_blkid(runner, device)})
        if _needs_blkid(device) and not {name, device.disk, *device.slaves} & left_alone
        else device
        for name, device in tree.items()
    }


def _read_device(sysfs: Path, link: Path, known: Mapping[str, Properties]) -> BlockDevice | None:
    folder = link.resolve()
    number = read_text(folder / "dev")
    if not number:
        return None
    partition = read_int(folder / "partition")
    whole = folder.parent if partition else folder
    attributes = {name: text for name in ATTRIBUTES if (text := read_text(folder / name))}
    # The unit serial number page of SCSI: four bytes of header, then text.
    page = read_bytes(folder / "device/vpd_pg80")[4:]
    if page:
        attributes["device/vpd_pg80"] = page.decode("ascii", errors="replace").strip(" \0")
    mapped = attributes.get("dm/name", "")
    slaves = folder / "slaves"
    path = device_path(sysfs, folder)
    return BlockDevice(
        name=link.name,
        node=f"/dev/mapper/{mapped}" if mapped else _plain_node(link.name),
        number=number,
        path=path,
        disk=whole.name if partition else "",
        partition=partition,
        start=read_int(folder / "start") * UNIT,
        size=read_int(folder / "size") * UNIT,
        logical_sector=read_int(whole / "queue/logical_block_size") or DEFAULT_SECTOR,
        physical_sector=read_int(whole / "queue/physical_block_size") or DEFAULT_SECTOR,
        rotational=read_int(whole / "queue/rotational") == 1,
        removable=read_int(whole / "removable") == 1,
        read_only=read_int(folder / "ro") == 1,
        slaves=tuple(sorted(path.name for path in slaves.iterdir())) if slaves.is_dir() else (),
        attributes=attributes,
        properties=known.get(path, {}),
    )


def _plain_node(name: str) -> str:
    # The kernel writes a slash in a name as an exclamation mark: cciss!c0d0.
    return "/dev/" + name.replace("!", "/")


def _needs_blkid(device: BlockDevice) -> bool:
    """Whether udev has not looked inside; it is told not to for many device-mapper devices."""
    if device.size == 0 or device.attributes.get("dm/suspended") == "1":
        return False
    if device.map_kind in {"LVM", "CRYPT"}:
        return not device.content
    whole = device.is_disk or device.name.startswith("md")
    return (whole or bool(device.disk)) and "USEC_INITIALIZED" not in device.properties


def _ask_blkid(runner: Runner, device: BlockDevice) -> Properties:
    """udev's own property names, from blkid. Status 2: nothing found, 8: several things."""
    command = Command(
        ("blkid", "--probe", "--output", "udev", "--", device.node),
        f"see what is on {device.node}",
        accepted=frozenset({0, 2, 8}),
        timeout=PROBE_TIMEOUT,
        package="util-linux",
    )
    try:
        lines = runner.run(command).text.splitlines()
    except RecoveryError as error:
        log.warning("%s: %s", error.message, error.hint)
        return {}
    pairs = (line.partition("=") for line in lines)
    return {key: value for key, separator, value in pairs if separator}
