"""Fixup: GRUB in the places where this machine's firmware looks for it.

Pure. UEFI firmware that has lost or never had a boot entry starts only the fallback path, so
that is written first. A machine's other kind of firmware is served too where the disk allows it,
with the system's own tools: it costs seconds, and the disk then starts in both.
Source: grub-install(8) of Debian's grub2 2.12 (`--removable`, `--uefi-secure-boot`), UEFI 2.10
§3.5.1.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from recovery.format.partition_types import BIOS_BOOT, ESP
from recovery.model.adaptation import Change, InstallBootLoader, Platform, RunInSystem
from recovery.model.installed_system import InstalledSystem
from recovery.model.layout import DiskNode, Layout, Partition
from recovery.model.machine import Firmware, Machine, SecureBoot

INSTALL_TIMEOUT = 600.0
MENU_TIMEOUT = 900.0
UPDATE_MENU = RunInSystem(("update-grub",), "make the boot menu", MENU_TIMEOUT)
MBR_ESP = "ef"
DEBCONF_QUESTION = "grub-pc/install_devices"


@dataclass(frozen=True, slots=True)
class Findings:
    """Changes in order, and what no change can mend.

    With `obstacles` the system will probably not start on this machine, with `warnings` it will.
    """

    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
    obstacles: tuple[str, ...] = ()


def efi_partition(layout: Layout) -> Partition | None:
    """The EFI system partition of the layout's first disk that has one."""
    return _first(layout, frozenset({ESP, MBR_ESP}))


def fix_grub(system: InstalledSystem, layout: Layout, machine: Machine, disk_link: str) -> Findings:
    """Install GRUB for this machine's firmware, and for the other kind where that is possible.

    `disk_link` is the most lasting name of the disk, for the next upgrade of the package grub-pc.
    """
    uefi = _for_uefi(system, layout, machine)
    bios = _for_bios(system, layout, machine)
    first, second = (uefi, bios) if machine.firmware is Firmware.UEFI else (bios, uefi)
    changes: tuple[Change, ...] = (*first.changes, *second.changes)
    if system.boot_menu and system.is_debian_like:
        changes = (*changes, UPDATE_MENU)
    if system.debconf_grub:
        changes = (*changes, _remember_disk(disk_link))
    return Findings(changes, obstacles=(*first.obstacles, *second.obstacles))


def grub_install_arguments(
    change: InstallBootLoader, disk_node: str, root: str, efi_folder: str
) -> tuple[str, ...]:
    """The call of grub-install.

    `root` is "" for the system's own tool, which runs inside it, else where the system is mounted.
    """
    argv = ["grub-install", f"--target={change.platform}", "--recheck"]
    if change.from_live_system:
        argv.append(f"--boot-directory={root}/boot")
    if change.platform == "i386-pc":
        return (*argv, disk_node)
    argv += [f"--efi-directory={root}{efi_folder}", "--no-nvram"]
    argv += ["--removable"] if change.removable else []
    argv += ["--uefi-secure-boot"] if change.signed else []
    return tuple(argv)


def is_grub_boot_code(sector: bytes) -> bool:
    """Whether the first sector of a disk is GRUB's. Source: GRUB's boot/i386/pc/boot.S."""
    return b"GRUB" in sector[:440] and sector[510:512] == b"\x55\xaa"


def is_efi_program(data: bytes) -> bool:
    """Whether a file begins as an x86-64 EFI program. Source: PE format, machine 0x8664."""
    at = int.from_bytes(data[0x3C:0x40], "little")
    return data[:2] == b"MZ" and data[at : at + 6] == b"PE\0\0\x64\x86"


def menu_starts(menu: str, kernel: str) -> bool:
    """Whether a grub.cfg has an entry for the kernel of that release."""
    return any(
        line.split()[:1] in (["linux"], ["linuxefi"], ["linux16"]) and f"-{kernel} " in f"{line} "
        for line in menu.splitlines()
    )


def menu_lists_other_systems(menu: str) -> bool:
    """Whether os-prober had put other systems of the disks into the menu."""
    return "osprober" in menu


def _for_uefi(system: InstalledSystem, layout: Layout, machine: Machine) -> Findings:
    needed = machine.firmware is Firmware.UEFI
    if efi_partition(layout) is None or not system.efi_folder:
        problem = (
            "this machine starts by UEFI, but the disk has no EFI system partition: "
            "set its firmware to legacy BIOS (CSM), if it has that"
        )
        return Findings(obstacles=(problem,) if needed else ())
    source = _source(system, "x86_64-efi", needed)
    if source is None:
        return Findings()
    obstacles: tuple[str, ...] = ()
    if machine.secure_boot is SecureBoot.ON and not system.signed_boot_loader:
        obstacles = (
            "Secure Boot is on, but the system has no signed boot loader: "
            "switch Secure Boot off in the firmware",
        )
    signed = system.signed_boot_loader and not source
    fallback = InstallBootLoader("x86_64-efi", True, source, signed, needed)
    own = InstallBootLoader("x86_64-efi", False, source, signed, needed)
    has_own = any(not _is_common(loader) for loader in system.efi_loaders)
    return Findings((fallback,) if has_own else (fallback, own), obstacles=obstacles)


def _for_bios(system: InstalledSystem, layout: Layout, machine: Machine) -> Findings:
    needed = machine.firmware is Firmware.BIOS
    problem = _why_not_by_bios(layout)
    if problem:
        return Findings(obstacles=(problem,) if needed else ())
    source = _source(system, "i386-pc", needed)
    if source is None or not (needed or _has_boot_code(layout)):
        return Findings()
    return Findings((InstallBootLoader("i386-pc", False, source, False, needed),))


def _why_not_by_bios(layout: Layout) -> str:
    disk = _system_disk(layout)
    table = layout.table(disk.id)
    if disk.logical_sector != 512:
        return (
            "this machine starts by BIOS, which cannot start from a disk with sectors of "
            f"{disk.logical_sector} bytes: set its firmware to UEFI, if it has that"
        )
    if table is not None and table.scheme == "gpt" and not _first(layout, frozenset({BIOS_BOOT})):
        return (
            "this machine starts by BIOS, but the disk has no BIOS boot partition: "
            "set its firmware to UEFI, if it has that"
        )
    return ""


def _has_boot_code(layout: Layout) -> bool:
    """Whether the disk started by BIOS and GRUB: another boot code is not ours to replace."""
    table = layout.table(_system_disk(layout).id)
    return table is not None and b"GRUB" in table.boot_code


def _source(system: InstalledSystem, platform: Platform, needed: bool) -> bool | None:
    """Whether the live system's GRUB must serve; `None` if GRUB shall not be installed."""
    if not system.boot_menu or not system.is_debian_like:
        return None
    if platform in system.grub_platforms:
        return False
    return True if needed else None


def _remember_disk(disk_link: str) -> RunInSystem:
    answer = f"grub-pc {DEBCONF_QUESTION} multiselect {disk_link}\n"
    purpose = "tell the next upgrade of GRUB its disk"
    return RunInSystem(("debconf-set-selections",), purpose, 120.0, answer)


def _is_common(loader: str) -> bool:
    return loader.lower().startswith(("/efi/boot/", "/efi/microsoft/"))


def _system_disk(layout: Layout) -> DiskNode:
    return layout.disks[0]


def _first(layout: Layout, types: frozenset[str]) -> Partition | None:
    found = (each for disk in layout.disks for each in layout.partitions(disk.id))
    return next((each for each in found if each.type in types), None)
