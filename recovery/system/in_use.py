"""What on this machine holds on to disks: mounts, swap, volume groups, arrays, the live medium.

Source: proc_pid_mountinfo(5), proc_swaps(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from recovery.system.block_tree import BlockDevice, Tree, above, by_node
from recovery.system.sysfs import read_text

LIVE_FOLDERS = ("/run/live/", "/lib/live/mount/", "/run/archiso/", "/run/initramfs/live")
"""Where live systems mount the medium they run from."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo; `root` is the folder of the filesystem that is seen at `point`."""

    number: str
    root: str
    point: str
    kind: str
    source: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What is mounted (by kernel name of the device) and which devices are swapped to."""

    mounts: Mapping[str, tuple[str, ...]]
    swaps: frozenset[str]


def read_usage(sysfs: Path, procfs: Path, tree: Tree) -> Usage:
    """The use of the tree's devices, now."""
    nodes = by_node(tree)
    families = _btrfs_families(sysfs)
    points: dict[str, list[Mount]] = {}
    for mount in parse_mountinfo(read_text(procfs / "self/mountinfo")):
        device = _device_of(mount, tree, nodes)
        if device is None:
            continue
        for name in families.get(device.name, frozenset({device.name})):
            points.setdefault(name, []).append(mount)
    swaps = parse_swaps(read_text(procfs / "swaps"))
    return Usage(
        {name: _telling_points(mounts) for name, mounts in points.items()},
        frozenset(nodes[node].name for node in swaps if node in nodes),
    )


def uses_of(tree: Tree, usage: Usage, disk: str) -> tuple[str, ...]:
    """Why the disk must not be overwritten, in plain words; the weightiest reason first."""
    stack = tuple(above(tree, disk))
    points = sorted({point for device in stack for point in usage.mounts.get(device.name, ())})
    live = [point for point in points if f"{point}/".startswith(LIVE_FOLDERS)]
    uses = ["live medium"] if live else []
    uses += [f"mounted on {point}" for point in points if point not in live]
    uses += ["swap in use" for device in stack if device.name in usage.swaps]
    uses += [_stack_use(device) for device in stack[1:]]
    return tuple(dict.fromkeys(use for use in uses if use))


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """The lines of /proc/self/mountinfo."""
    mounts = []
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if separator and len(left) >= 6 and len(right) >= 2:
            root, point, source = (unescape(field) for field in (left[3], left[4], right[1]))
            mounts.append(Mount(left[2], root, point, right[0], source))
    return tuple(mounts)


def parse_swaps(text: str) -> tuple[str, ...]:
    """The nodes in /proc/swaps; swap files are not among them, their filesystem is mounted."""
    rows = (line.split() for line in text.splitlines()[1:])
    return tuple(unescape(row[0]) for row in rows if len(row) > 1 and row[1] == "partition")


def unescape(field: str) -> str:
    """A field of a proc file, where blanks are written as three octal digits.

    >>> unescape("/mnt/my\\\\040disk")
    '/mnt/my disk'
    """
    raw = re.sub(
        rb"\\([0-3][0-7]{2})",
        lambda match: bytes([int(match[1], 8)]),
        field.encode(errors="surrogateescape"),
    )
    return raw.decode(errors="replace")


def group_of_map(map_name: str) -> str:
    """The volume group in LVM's device-mapper name, in which hyphens are doubled.

    >>> group_of_map("my--group-root")
    'my-group'
    """
    return re.split(r"(?<!-)-(?!-)", map_name, maxsplit=1)[0].replace("--", "-")


def _stack_use(device: BlockDevice) -> str:
    match device.map_kind:
        case "LVM":
            return f"part of volume group {group_of_map(device.map_name)} in use"
        case "CRYPT":
            return f"encrypted volume {device.map_name} open"
        case "mpath":
            return f"path of multipath device {device.map_name}"
    if device.name.startswith("md") and not device.disk:
        return f"part of RAID array {device.name} in use"
    if device.name.startswith("bcache"):
        return f"part of cached disk {device.name} in use"
    return ""


def _telling_points(mounts: Iterable[Mount]) -> tuple[str, ...]:
    """Without bind mounts of single folders, unless there is nothing else.

    btrfs mounts subvolumes, which look the same.
    """
    known = tuple(mounts)
    whole = [mount for mount in known if mount.root == "/" or mount.kind == "btrfs"]
    return tuple(sorted({mount.point for mount in whole or known}))


def _device_of(mount: Mount, tree: Tree, nodes: Mapping[str, BlockDevice]) -> BlockDevice | None:
    """btrfs and overlays show a number of their own, so the named source comes second."""
    numbers = (device for device in tree.values() if device.number == mount.number)
    return next(numbers, None) or nodes.get(mount.source)


def _btrfs_families(sysfs: Path) -> Mapping[str, frozenset[str]]:
    """For each device of a mounted btrfs all devices of it."""
    found: dict[str, frozenset[str]] = {}
    for folder in (sysfs / "fs/btrfs").glob("*/devices"):
        names = frozenset(path.name for path in folder.iterdir())
        found |= dict.fromkeys(names, names)
    return found
