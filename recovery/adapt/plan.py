"""The changes that make an installed system start on this machine, in the order to make them.

Pure: configuration first, since the tools that run later read it; then the initramfs, which the
boot menu lists; then boot loader and menu; the firmware's own menu last, since it is best effort.
"""

from __future__ import annotations

from dataclasses import dataclass

from recovery.adapt.efi_entry import fix_boot_entry
from recovery.adapt.fstab import PATH as FSTAB
from recovery.adapt.fstab import absent_entries, fix_fstab
from recovery.adapt.grub import Findings, fix_grub
from recovery.adapt.initramfs_debian import fix_initramfs
from recovery.adapt.kernel_command_line import GRUB_DEFAULTS, KERNEL_INSTALL, fix_command_line
from recovery.adapt.names import DeviceNames
from recovery.model.adaptation import Change
from recovery.model.installed_system import InstalledSystem
from recovery.model.layout import Layout
from recovery.model.machine import Machine

MiB = 1 << 20
ROOM = 100 * MiB
BOOT_ROOM = 50 * MiB
INODES = 100


@dataclass(frozen=True, slots=True)
class Room:
    """Free bytes and inodes on the filesystems of `/` and `/boot`."""

    root: tuple[int, int]
    boot: tuple[int, int]

    @property
    def shortage(self) -> str:
        """What is too small to work in, "" if nothing. Source of the limits: virt-v2v."""
        if self.root[0] < ROOM or self.root[1] < INODES:
            return "/"
        return "/boot" if self.boot[0] < BOOT_ROOM or self.boot[1] < INODES else ""


def plan_adaptation(
    system: InstalledSystem,
    layout: Layout,
    machine: Machine,
    names: DeviceNames,
    room: Room,
    disk_link: str,
    runs_here: bool,
) -> Findings:
    """All changes in order, with what they cannot mend.

    `runs_here` tells whether this machine's processor can run the system's programs.
    """
    edits = _edits(system, names)
    warnings = _absences(system, names)
    if room.shortage:
        problem = f"{room.shortage} of the restored system is full: it has not been adapted"
        return Findings((), warnings, (problem,))
    entry = fix_boot_entry(system, layout, machine)
    if not runs_here:
        kind = system.architecture or "another kind of processor"
        problem = f"the programs of the restored system are for {kind}: initramfs and boot loader "
        return Findings((*edits, *entry), warnings, (f"{problem}have not been renewed",))
    initramfs = _initramfs(system, names)
    grub = fix_grub(system, layout, machine, disk_link)
    boot_loader = _boot_loader_warnings(system)
    return Findings(
        (*edits, *initramfs.changes, *grub.changes, *entry),
        (*warnings, *initramfs.warnings, *boot_loader),
        grub.obstacles,
    )


def _edits(system: InstalledSystem, names: DeviceNames) -> tuple[Change, ...]:
    found: list[Change] = [*fix_fstab(system.text(FSTAB) or "", names)]
    for path in (GRUB_DEFAULTS, KERNEL_INSTALL):
        found += fix_command_line(path, system.text(path) or "", names)
    return tuple(found)


def _absences(system: InstalledSystem, names: DeviceNames) -> tuple[str, ...]:
    absent = absent_entries(system.text(FSTAB) or "", names)
    return tuple(
        f"the filesystem for {place} is not on this machine: the system starts without it"
        for place in absent
    )


def _initramfs(system: InstalledSystem, names: DeviceNames) -> Findings:
    if system.initramfs_tool == "initramfs-tools" and system.is_debian_like:
        return Findings(fix_initramfs(system, names))
    return Findings(
        (),
        (
            f"the initramfs of {system.name} has not been renewed: if the system does not find its "
            "disk, start its rescue entry and make the initramfs again",
        ),
    )


def _boot_loader_warnings(system: InstalledSystem) -> tuple[str, ...]:
    if system.boot_menu and system.is_debian_like:
        return ()
    return (f"the boot loader of {system.name} has been restored as it was, not installed again",)
