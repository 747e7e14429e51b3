"""The GRUB fixup: for which machine and disk it installs what, and the calls of grub-install."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recovery.adapt.efi_entry import fix_boot_entry
from recovery.adapt.grub import (
    UPDATE_MENU,
    fix_grub,
    grub_install_arguments,
    is_efi_program,
    is_grub_boot_code,
    menu_starts,
)
from recovery.format.partition_types import BIOS_BOOT, ESP
from recovery.model.adaptation import InstallBootLoader, RunInSystem
from recovery.model.layout import Layout
from recovery.model.machine import Firmware, SecureBoot
from tests.builders import (
    make_disk_node,
    make_filesystem,
    make_layout,
    make_machine,
    make_mbr_partition,
    make_partition,
    make_table,
)
from tests.unit.adapt.phony import EFI_PROGRAM, GRUB_SECTOR
from tests.unit.adapt.test_initramfs_debian import make_system

UEFI = make_machine(firmware=Firmware.UEFI)
BIOS = make_machine(firmware=Firmware.BIOS, secure_boot=SecureBoot.ABSENT)
LINK = "/dev/disk/by-id/nvme-X"
SYSTEM = replace(make_system(), efi_loaders=("/EFI/debian/grubx64.efi",))


def make_both(boot_code: bytes = GRUB_SECTOR[:440]) -> Layout:
    """A disk for both kinds of firmware."""
    parts = (make_partition(1, type=BIOS_BOOT), make_partition(2, type=ESP), make_partition(3))
    filesystem = make_filesystem("disk0p2", kind="vfat", uuid="ABCD-1234")
    return make_layout(make_disk_node(), make_table(boot_code=boot_code), *parts, filesystem)


def efi(removable: bool = True, live: bool = False, signed: bool = False, needed: bool = True):  # type: ignore[no-untyped-def]
    return InstallBootLoader("x86_64-efi", removable, live, signed, needed)


def bios(live: bool = False, needed: bool = True):  # type: ignore[no-untyped-def]
    return InstallBootLoader("i386-pc", False, live, False, needed)


def test_a_disk_for_both_is_served_for_both_this_machine_first() -> None:
    expected = (efi(), bios(needed=False), UPDATE_MENU)
    assert fix_grub(SYSTEM, make_both(), UEFI, LINK).changes == expected
    expected = (bios(), efi(needed=False), UPDATE_MENU)
    assert fix_grub(SYSTEM, make_both(), BIOS, LINK).changes == expected


def test_boot_code_of_others_is_left_where_this_machine_does_not_need_it() -> None:
    assert fix_grub(SYSTEM, make_both(b""), UEFI, LINK).changes == (efi(), UPDATE_MENU)


def test_a_system_that_never_started_by_uefi_gets_its_own_folder_too() -> None:
    system = replace(SYSTEM, efi_loaders=("/EFI/BOOT/BOOTX64.EFI", "/EFI/Microsoft/Boot.efi"))
    changes = fix_grub(system, make_layout(), UEFI, LINK).changes
    assert changes == (efi(), efi(removable=False), UPDATE_MENU)


def test_the_live_systems_grub_serves_where_the_system_has_none_for_this_firmware() -> None:
    only_bios = replace(SYSTEM, grub_platforms=("i386-pc",), signed_boot_loader=True)
    changes = fix_grub(only_bios, make_layout(), UEFI, LINK).changes
    assert changes == (efi(live=True), UPDATE_MENU)
    only_uefi = replace(SYSTEM, grub_platforms=("x86_64-efi",))
    assert fix_grub(only_uefi, make_both(), BIOS, LINK).changes[0] == bios(live=True)


def test_a_signed_system_stays_signed() -> None:
    system = replace(SYSTEM, signed_boot_loader=True)
    assert fix_grub(system, make_layout(), UEFI, LINK).changes[0] == efi(signed=True)


@pytest.mark.parametrize(
    ("machine", "layout", "words"),
    [
        (UEFI, make_layout(make_disk_node(), make_table()), "no EFI system partition"),
        (BIOS, make_layout(), "no BIOS boot partition"),
        (BIOS, make_layout(make_disk_node(logical_sector=4096)), "sectors of 4096 bytes"),
        (replace(UEFI, secure_boot=SecureBoot.ON), make_layout(), "Secure Boot is on"),
    ],
)
def test_what_cannot_be_mended_is_said(machine, layout, words) -> None:  # type: ignore[no-untyped-def]
    (obstacle,) = fix_grub(SYSTEM, layout, machine, LINK).obstacles
    assert words in obstacle


def test_an_mbr_disk_needs_no_bios_boot_partition() -> None:
    layout = make_layout(make_disk_node(), make_table(scheme="dos"), make_mbr_partition(1))
    findings = fix_grub(SYSTEM, layout, BIOS, LINK)
    assert findings.changes == (bios(), UPDATE_MENU) and not findings.obstacles


def test_the_next_upgrade_is_told_the_disk() -> None:
    system = replace(SYSTEM, debconf_grub=True)
    last = fix_grub(system, make_both(), BIOS, LINK).changes[-1]
    assert isinstance(last, RunInSystem) and last.argv == ("debconf-set-selections",)
    assert last.stdin == f"grub-pc grub-pc/install_devices multiselect {LINK}\n"


def test_other_distributions_keep_their_boot_loader() -> None:
    system = replace(SYSTEM, families=("rocky", "rhel"))
    assert fix_grub(system, make_layout(), UEFI, LINK).changes == ()


ESP_ARGUMENTS = ("--efi-directory=/boot/efi", "--no-nvram", "--removable")


@pytest.mark.parametrize(
    ("change", "root", "argv"),
    [
        (bios(), "", ("--target=i386-pc", "--recheck", "/dev/sda")),
        (
            bios(live=True),
            "/run/t",
            ("--target=i386-pc", "--recheck", "--boot-directory=/run/t/boot", "/dev/sda"),
        ),
        (efi(), "", ("--target=x86_64-efi", "--recheck", *ESP_ARGUMENTS)),
        (efi(removable=False), "", ("--target=x86_64-efi", "--recheck", *ESP_ARGUMENTS[:2])),
        (
            efi(signed=True),
            "",
            ("--target=x86_64-efi", "--recheck", *ESP_ARGUMENTS, "--uefi-secure-boot"),
        ),
        (
            efi(live=True),
            "/run/t",
            (
                *("--target=x86_64-efi", "--recheck", "--boot-directory=/run/t/boot"),
                *("--efi-directory=/run/t/boot/efi", "--no-nvram", "--removable"),
            ),
        ),
    ],
)
def test_calls_of_grub_install(change: InstallBootLoader, root: str, argv: tuple[str, ...]) -> None:
    assert grub_install_arguments(change, "/dev/sda", root, "/boot/efi") == ("grub-install", *argv)


@pytest.mark.parametrize(
    ("loaders", "chosen"),
    [
        ((), r"\EFI\BOOT\BOOTX64.EFI"),
        (("/EFI/BOOT/BOOTX64.EFI", "/EFI/BOOT/grubx64.efi"), r"\EFI\BOOT\BOOTX64.EFI"),
        (("/EFI/debian/grubx64.efi", "/EFI/debian/shimx64.efi"), r"\EFI\debian\shimx64.efi"),
        (("/EFI/arch/grubx64.efi", "/EFI/debian/grubx64.efi"), r"\EFI\debian\grubx64.efi"),
        (("/EFI/systemd/systemd-bootx64.efi",), r"\EFI\systemd\systemd-bootx64.efi"),
    ],
)
def test_the_best_loader_is_entered(loaders: tuple[str, ...], chosen: str) -> None:
    (entry,) = fix_boot_entry(replace(SYSTEM, efi_loaders=loaders), make_layout(), UEFI)
    assert (entry.loader, entry.partition, entry.label) == (chosen, 1, "debian")


def test_bios_has_no_boot_entries() -> None:
    assert fix_boot_entry(SYSTEM, make_layout(), BIOS) == ()


def test_boot_code_and_programs_are_recognized() -> None:
    assert is_grub_boot_code(GRUB_SECTOR)
    assert not is_grub_boot_code(bytes(510) + b"\x55\xaa")
    assert not is_grub_boot_code(GRUB_SECTOR[:440])
    assert is_efi_program(EFI_PROGRAM)
    assert not is_efi_program(EFI_PROGRAM.replace(b"\x64\x86", b"\x4c\x01"))
    assert not is_efi_program(b"")


def test_a_menu_is_searched_for_whole_releases() -> None:
    menu = "\tlinux\t/boot/vmlinuz-6.1.0-10-amd64 root=x\n# linux /boot/vmlinuz-5.10 x\n"
    assert menu_starts(menu, "6.1.0-10-amd64")
    assert not menu_starts(menu, "6.1.0-10")
    assert not menu_starts(menu, "5.10")
