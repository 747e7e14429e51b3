"""Look whether the system can start here, from what is on the disk after the changes.

No exit status counts: what was written is read again and judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from recovery.adapt.drivers import (
    KernelModules,
    Wanted,
    missing_drivers,
    modules_in,
    wanted_drivers,
)
from recovery.adapt.find_system import MountedSystem
from recovery.adapt.grub import is_efi_program, is_grub_boot_code, menu_starts
from recovery.errors import RecoveryError
from recovery.model.adaptation import (
    Change,
    EditFile,
    InstallBootLoader,
    RunInSystem,
    SetBootEntry,
    TargetSystem,
)
from recovery.model.installed_system import InstalledSystem, Kernel
from recovery.system.chroot import Chroot

LIST_TIMEOUT = 300.0
PE_HEADERS = 4096
DEBCONF = "/var/cache/debconf/config.dat"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `problem` is "" where it is as it should be."""

    fact: str
    problem: str = ""


def verify_initramfs(
    kernel: Kernel, mounted: MountedSystem, target: TargetSystem, chroot: Chroot
) -> Check:
    """Whether the kernel finds this machine's root filesystem with what its initramfs holds."""
    image = f"/boot/initrd.img-{kernel.release}"
    wanted = wanted_drivers(target.machine, target.disk_node, mounted.filesystem.kind)
    modules = _kernel_modules(mounted, kernel.release)
    try:
        purpose = f"list the initramfs of kernel {kernel.release}"
        listing = chroot.run(("lsinitramfs", image), purpose, LIST_TIMEOUT).text.splitlines()
    except RecoveryError as error:
        return Check("", f"{error.message}: it may not start on this machine")
    missing = missing_drivers(wanted, modules, modules_in(listing))
    if missing:
        reasons = "; ".join(missing)
        return Check("", f"kernel {kernel.release} may not start on this machine: {reasons}")
    return Check(f"initramfs of kernel {kernel.release} has {_names(wanted)}")


def verify_boot_loader(
    change: InstallBootLoader, mounted: MountedSystem, target: TargetSystem
) -> Check:
    """Whether GRUB is where the firmware looks for it."""
    if change.platform == "i386-pc":
        with open(target.disk_node, "rb") as disk:  # noqa: PTH123
            sector = disk.read(512)
        if is_grub_boot_code(sector):
            return Check("boot code of GRUB for BIOS is in the first sector")
        return Check("", "the first sector of the disk has no boot code of GRUB")
    if not change.removable:
        return Check("GRUB for UEFI is in the system's own folder")
    folder = f"{mounted.efi_folder}/EFI/BOOT"
    names = ("BOOTX64.EFI", "grubx64.efi") if change.signed else ("BOOTX64.EFI",)
    for name in names:
        if not is_efi_program(mounted.root.read_bytes(f"{folder}/{name}", PE_HEADERS) or b""):
            return Check("", f"\\EFI\\BOOT\\{name} is not a program for UEFI")
    return Check(f"UEFI finds the fallback path: {', '.join(names)} in \\EFI\\BOOT")


def verify_menu(system: InstalledSystem, mounted: MountedSystem) -> Check:
    """Whether the boot menu has an entry for every kernel."""
    menu = mounted.root.read_text(system.boot_menu) or ""
    kernels = [kernel.release for kernel in system.kernels if kernel.image]
    missing = [release for release in kernels if not menu_starts(menu, release)]
    if missing or not kernels:
        return Check("", f"the boot menu has no entry for kernel {', '.join(missing) or 'any'}")
    return Check(f"boot menu has {len(kernels)} kernel{'s' if len(kernels) > 1 else ''}")


def verify_run(
    change: RunInSystem,
    system: InstalledSystem,
    mounted: MountedSystem,
    target: TargetSystem,
    chroot: Chroot,
) -> Check:
    """Judge what a program of the system was run for."""
    match change.argv[0]:
        case "update-initramfs":
            kernel = next(each for each in system.kernels if each.release == change.argv[-1])
            return verify_initramfs(kernel, mounted, target, chroot)
        case "update-grub":
            return verify_menu(system, mounted)
        case "debconf-set-selections":
            disk = change.stdin.split()[-1]
            stored = mounted.root.read_text(DEBCONF) or ""
            if f"Value: {disk}\n" in stored:
                return Check(f"the next upgrade of GRUB will use {disk}")
            return Check("", "the next upgrade of GRUB will ask for its disk")
        case program:
            raise ValueError(f"no check for {program}")


def verify_change(
    change: Change,
    system: InstalledSystem,
    mounted: MountedSystem,
    target: TargetSystem,
    chroot: Chroot,
) -> Check:
    """Judge a change by what is on the disk now."""
    match change:
        case InstallBootLoader():
            return verify_boot_loader(change, mounted, target)
        case RunInSystem():
            return verify_run(change, system, mounted, target, chroot)
        case EditFile():
            written = mounted.root.read_text(change.path) == change.after
            return (
                Check(f"{change.path} corrected")
                if written
                else Check("", f"{change.path} is not what was written")
            )
        case SetBootEntry():
            # `put_first` has read the firmware's menu again.
            return Check(f"the firmware's boot menu starts {change.loader} first")
        case _:
            assert_never(change)


def _kernel_modules(mounted: MountedSystem, release: str) -> KernelModules:
    folder = f"/lib/modules/{release}"
    names = ("modules.dep", "modules.builtin", "modules.alias")
    dependencies, builtin, aliases = (
        mounted.root.read_text(f"{folder}/{name}") or "" for name in names
    )
    return KernelModules(dependencies, builtin, aliases)


def _names(wanted: tuple[Wanted, ...]) -> str:
    return ", ".join(each.driver for each in wanted)
