"""What is recognized in the phony guests."""

from __future__ import annotations

import pytest

from recovery.adapt.inspect import architecture_of, inspect_system, is_system, parse_os_release
from recovery.model.installed_system import Kernel
from recovery.system.system_root import SystemRoot
from tests.unit.adapt.phony import GUESTS

NEW = "6.12.107+deb13-amd64"
OLD = "6.12.95+deb13-amd64"


def test_debian() -> None:
    system = inspect_system(SystemRoot(GUESTS / "debian-13"), "/boot/efi")
    assert system.name == "Debian GNU/Linux 13 (trixie)"
    assert system.families == ("debian",)
    assert system.architecture == "x86_64"
    assert system.kernels == (
        Kernel(NEW, f"/boot/vmlinuz-{NEW}", f"/boot/initrd.img-{NEW}"),
        Kernel(OLD, f"/boot/vmlinuz-{OLD}"),
    )
    assert system.initramfs_tool == "initramfs-tools"
    assert system.grub_platforms == ("i386-pc", "x86_64-efi")
    assert system.signed_boot_loader
    assert system.boot_menu == "/boot/grub/grub.cfg"
    assert not system.debconf_grub
    assert system.text("/etc/initramfs-tools/conf.d/driver-policy") == "MODULES=dep\n"
    assert system.text("/etc/kernel/cmdline") is None


def test_ubuntu_whose_os_release_is_a_link() -> None:
    system = inspect_system(SystemRoot(GUESTS / "ubuntu-20.04-bios"), "")
    assert system.families == ("ubuntu", "debian") and system.is_debian_like
    assert system.grub_platforms == ("i386-pc",)
    assert system.debconf_grub
    assert not system.signed_boot_loader


def test_rocky() -> None:
    system = inspect_system(SystemRoot(GUESTS / "rocky-9"), "")
    assert not system.is_debian_like
    assert system.initramfs_tool == "dracut"
    assert system.boot_menu == "/boot/grub2/grub.cfg"
    assert system.kernels[0].initramfs == "/boot/initramfs-5.14.0-427.el9.x86_64.img"


def test_loaders_of_an_esp() -> None:
    system = inspect_system(SystemRoot(GUESTS / "esp-debian"), "/")
    assert system.efi_loaders == ("/EFI/debian/grubx64.efi", "/EFI/debian/shimx64.efi")


@pytest.mark.parametrize("guest", ["debian-13", "ubuntu-20.04-bios", "rocky-9"])
def test_every_guest_is_a_system(guest: str) -> None:
    assert is_system(SystemRoot(GUESTS / guest))


def test_an_esp_is_no_system() -> None:
    assert not is_system(SystemRoot(GUESTS / "esp-debian"))


def test_odd_lines_of_os_release_are_left_out() -> None:
    assert parse_os_release("ID=x\nNAME='open\n# y\nVERSION_ID=3") == {"ID": "x", "VERSION_ID": "3"}


@pytest.mark.parametrize("program", [b"", b"#!/bin/sh", b"\x7fELF", b"\x7fELF" + bytes(16)])
def test_what_is_no_program_has_no_architecture(program: bytes) -> None:
    assert architecture_of(program) == ""
