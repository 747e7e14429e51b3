"""Fixup: the firmware's boot menu has no entry for the restored system.

Pure, and best effort: the fallback path starts the disk without it.
"""

from __future__ import annotations

from recovery.adapt.grub import efi_partition
from recovery.model.adaptation import SetBootEntry
from recovery.model.installed_system import InstalledSystem
from recovery.model.layout import Layout
from recovery.model.machine import Firmware, Machine

FALLBACK = "/EFI/BOOT/BOOTX64.EFI"
_LOADERS = ("shimx64.efi", "grubx64.efi", "systemd-bootx64.efi")


def fix_boot_entry(
    system: InstalledSystem, layout: Layout, machine: Machine
) -> tuple[SetBootEntry, ...]:
    """The entry for the system's best loader: shim before GRUB, its own before the fallback."""
    partition = efi_partition(layout)
    if machine.firmware is not Firmware.UEFI or partition is None or not system.efi_folder:
        return ()
    if len(partition.identifier) != 36:  # efibootmgr knows MBR partitions by other means
        return ()
    loader = best_loader(system).replace("/", "\\")
    label = system.families[0] if system.families else "Linux"
    return (SetBootEntry(label, partition.number, partition.identifier, loader),)


def best_loader(system: InstalledSystem) -> str:
    """The loader to enter, as a path on the EFI system partition."""
    for name in _LOADERS:
        found = [each for each in system.efi_loaders if _is_own(each, name)]
        own = [each for each in found if each.lower().split("/")[2] in system.families]
        if found:
            return (own or found)[0]
    return FALLBACK


def _is_own(loader: str, name: str) -> bool:
    folder, _, file = loader.lower().rpartition("/")
    return file == name and folder not in ("/efi/boot", "/efi/microsoft/boot")
