"""Which restored volume a device name in a configuration file means.

Pure. A restore keeps UUIDs, labels and partition GUIDs, so only names that depend on the
hardware (`/dev/sda2`, `/dev/disk/by-path/...`) must be replaced. Every name is looked up on its own
and never substituted twice, so that exchanged disks (sda is sdb now) come out right.
Source: fstab(5), udev's 60-persistent-storage.rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from recovery.model.layout import Filesystem, Layout, Partition, Swap

# What a system cannot start or be repaired without, and hardly ever has on another disk.
SYSTEM_PARTS = frozenset({"/", "/usr", "/var", "/boot", "/efi", "/boot/efi"})
_BY_HARDWARE = re.compile(
    r"/dev/(?:"
    r"(?P<letters>(?:[shv]d|xvd)[a-z]+)(?P<after_letters>\d+)"
    r"|(?P<digits>(?:nvme\d+n|mmcblk|cciss/c\d+d|md_d)\d+)p(?P<after_digits>\d+)"
    r"|(?P<link>disk/by-(?:id|path)/.+)-part(?P<after_link>\d+)"
    r")"
)
_BY_TAG = re.compile(
    r"(?:/dev/disk/by-(?P<folder>uuid|label|partuuid|partlabel)/(?P<name>.+))"
    r"|(?:(?P<tag>UUID|LABEL|PARTUUID|PARTLABEL)=(?P<quote>\"?)(?P<value>[^\"]+)(?P=quote))",
    re.IGNORECASE,
)
_ESCAPE = re.compile(r"\\x([0-9a-fA-F]{2})|\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Entry:
    """One use of a device: where it is mounted (`none` for swap) and as what kind."""

    spec: str
    mount_point: str
    kind: str


def parse_entries(fstab: str) -> tuple[Entry, ...]:
    """The entries of an fstab text, comments and malformed lines left out."""
    rows = (line.split() for line in fstab.splitlines() if not line.lstrip().startswith("#"))
    return tuple(Entry(row[0], unescape(row[1]), row[2]) for row in rows if len(row) >= 3)


def unescape(text: str) -> str:
    """Octal escapes of fstab(5) and hex escapes of udev's link names as the characters meant.

    >>> unescape(r"my\\040disk")
    'my disk'
    """
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16) if match[1] else int(match[2], 8)), text)


def split_hardware_name(spec: str) -> tuple[str, int] | None:
    """Disk and partition number of a name that depends on the hardware, else `None`.

    >>> split_hardware_name("/dev/nvme0n1p3"), split_hardware_name("/dev/mapper/vg-root")
    (('/dev/nvme0n1', 3), None)
    """
    match = _BY_HARDWARE.fullmatch(spec)
    if match is None:
        return None
    disk = match["letters"] or match["digits"] or match["link"]
    number = match["after_letters"] or match["after_digits"] or match["after_link"]
    return f"/dev/{disk}", int(number)


def tag_of(spec: str) -> str | None:
    """`spec` as `uuid=...`, `label=...` and so on, values in lower case; `None` if it is none.

    >>> tag_of("/dev/disk/by-uuid/ABCD-1234"), tag_of("LABEL=Data"), tag_of("/dev/sda1")
    ('uuid=abcd-1234', 'label=data', None)
    """
    match = _BY_TAG.fullmatch(spec)
    if match is None:
        return None
    return f"{match['folder'] or match['tag']}={unescape(match['name'] or match['value'])}".lower()


def tags_of(layout: Layout) -> Mapping[str, str]:
    """Every tag (see `tag_of`) of the layout's partitions, filesystems and swap -> node id.

    The id is that of the partition, or of whatever else the filesystem fills.
    """
    found: dict[str, str] = {}
    for node in layout.nodes:
        match node:
            case Partition():
                found[f"partuuid={node.identifier}".lower()] = node.id
                if node.name:
                    found[f"partlabel={node.name}".lower()] = node.id
            case Filesystem() | Swap():
                found[f"uuid={node.uuid}".lower()] = node.on
                if node.label:
                    found[f"label={node.label}".lower()] = node.on
            case _:
                pass
    return found


@dataclass(frozen=True, slots=True)
class DeviceNames:
    """The restored volumes by any name that the captured system may have had for them.

    `disks` maps the former device names of whole disks to ids of the layout; `attached` holds
    the tags of all filesystems that this machine sees now, on other disks too.
    """

    layout: Layout
    disks: Mapping[str, str]
    attached: frozenset[str] = frozenset()

    def volume(self, spec: str) -> str | None:
        """The id of the restored partition or volume that `spec` means, `None` if none is."""
        tag = tag_of(spec)
        if tag is not None:
            return tags_of(self.layout).get(tag)
        name = split_hardware_name(spec)
        if name is None or name[0] not in self.disks:
            return None
        partitions = self.layout.partitions(self.disks[name[0]])
        return next((each.id for each in partitions if each.number == name[1]), None)

    def stable(self, spec: str) -> str | None:
        """What to write instead of a name that depends on the hardware, `None` if it can stay."""
        volume = self.volume(spec) if split_hardware_name(spec) else None
        if volume is None:
            return None
        for node in self.layout.on(volume):
            if isinstance(node, Filesystem | Swap) and node.uuid:
                return f"UUID={node.uuid}"
        found = (node for node in self.layout.nodes if node.id == volume)
        partition = next(node for node in found if isinstance(node, Partition))
        return f"PARTUUID={partition.identifier}"

    def is_missing(self, spec: str) -> bool:
        """Whether `spec` names a filesystem by tag or hardware that this machine does not have."""
        tag = tag_of(spec)
        if tag is None and split_hardware_name(spec) is None:
            return False
        return self.volume(spec) is None and tag not in self.attached


def device_names(
    layout: Layout,
    former_disks: Mapping[str, str],
    fstab: str,
    attached: frozenset[str] = frozenset(),
) -> DeviceNames:
    """Find out what the disks of `layout` were called, from `former_disks` or from the fstab.

    Where nobody wrote down the old names, an entry for a mount point that the layout has recorded
    for a partition of the same number, or for a part of the system on a layout of one disk where
    number and kind agree, gives the name.
    """
    names = {node: disk for disk, node in former_disks.items()}
    for entry in parse_entries(fstab):
        name = split_hardware_name(entry.spec)
        if name is None or name[0] in names:
            continue
        owner = _owner(layout, entry, name[1])
        if owner is not None:
            names[name[0]] = owner
    return DeviceNames(layout, names, attached)


def _owner(layout: Layout, entry: Entry, number: int) -> str | None:
    for disk in layout.disks:
        for partition in layout.partitions(disk.id):
            filesystem = layout.filesystem(partition.id)
            if partition.number != number or filesystem is None:
                continue
            if entry.mount_point in filesystem.mounts:
                return disk.id
            only = len(layout.disks) == 1 and entry.mount_point in SYSTEM_PARTS
            if only and entry.kind in (filesystem.kind, "auto"):
                return disk.id
    return None
