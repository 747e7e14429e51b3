"""Find the installed system among the restored filesystems, and mount it with its parts.

Everything is mounted read-only until the plan is made.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recovery.adapt.grub import efi_partition
from recovery.adapt.inspect import is_system
from recovery.adapt.names import SYSTEM_PARTS, DeviceNames, device_names, parse_entries
from recovery.errors import CommandFailed
from recovery.model.adaptation import TargetSystem
from recovery.model.layout import Filesystem
from recovery.system.mount import PrivateMounts
from recovery.system.system_root import SystemRoot

log = logging.getLogger(__name__)

LINUX_FILESYSTEMS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs"})
# Where Debian's and Ubuntu's installers put the root of a btrfs.
SUBVOLUMES = ("subvol=@rootfs", "subvol=@")
EFI_FOLDERS = ("/boot/efi", "/efi")


@dataclass(frozen=True, slots=True)
class MountedSystem:
    """A system that is mounted read-only at `root`: its root filesystem, its other `parts`.

    `efi_folder` is the path inside it of its EFI system partition, "" if that is not mounted.
    """

    root: SystemRoot
    filesystem: Filesystem
    node: str
    names: DeviceNames
    folders: tuple[Path, ...]
    efi_folder: str


def mount_system(
    mounts: PrivateMounts, target: TargetSystem, attached: frozenset[str]
) -> MountedSystem | None:
    """The first Linux system of the target, `None` if there is none that can be reached."""
    folder = mounts.make_folder("root")
    for filesystem, node in _candidates(target):
        if not _mount_root(mounts, filesystem, node, folder):
            continue
        root = SystemRoot(folder)
        text = root.read_text("/etc/fstab") or ""
        names = device_names(target.layout, target.former_disks, text, attached)
        folders, efi_folder = _mount_parts(mounts, root, target, names, text)
        return MountedSystem(root, filesystem, node, names, (folder, *folders), efi_folder)
    return None


def _candidates(target: TargetSystem) -> Iterator[tuple[Filesystem, str]]:
    """Filesystems that may be the root, those first that were mounted there when captured."""
    found = [
        (node, target.partition_nodes[node.on])
        for node in target.layout.nodes
        if isinstance(node, Filesystem)
        and node.kind in LINUX_FILESYSTEMS
        and node.on in target.partition_nodes
    ]
    return iter(sorted(found, key=lambda each: "/" not in each[0].mounts))


def _mount_root(mounts: PrivateMounts, filesystem: Filesystem, node: str, folder: Path) -> bool:
    choices = ("", *SUBVOLUMES) if filesystem.kind == "btrfs" else ("",)
    for choice in choices:
        options = ("ro", choice) if choice else ("ro",)
        try:
            mounts.mount(node, folder, *options, kind=filesystem.kind)
        except CommandFailed as error:
            log.warning("%s: %s", error.message, error.hint)
            continue
        if is_system(SystemRoot(folder)):
            return True
        mounts.unmount(folder)
    return False


def _mount_parts(
    mounts: PrivateMounts, root: SystemRoot, target: TargetSystem, names: DeviceNames, fstab: str
) -> tuple[tuple[Path, ...], str]:
    """Mount what the system keeps on other filesystems, outer folders first."""
    esp = efi_partition(target.layout)
    folders: list[Path] = []
    efi_folder = ""
    wanted = {
        entry.mount_point: names.volume(entry.spec)
        for entry in parse_entries(fstab)
        if entry.mount_point in SYSTEM_PARTS - {"/"}
    }
    if esp is not None and esp.id not in wanted.values():
        free = (each for each in EFI_FOLDERS if not wanted.get(each) and root.is_folder(each))
        place = next(free, "")
        if place:
            wanted[place] = esp.id
    for mount_point in sorted(wanted):
        volume = wanted[mount_point]
        filesystem = target.layout.filesystem(volume) if volume else None
        if volume is None or filesystem is None or volume not in target.partition_nodes:
            continue
        folder = root.resolve(mount_point)
        mounts.mount(target.partition_nodes[volume], folder, "ro", kind=filesystem.kind)
        folders.append(folder)
        if esp is not None and volume == esp.id:
            efi_folder = mount_point
    return tuple(folders), efi_folder
