"""The initramfs fixup of Debian: what it writes and what it runs."""

from __future__ import annotations

import pytest

from recovery.adapt.initramfs_debian import DROP_IN, fix_initramfs
from recovery.adapt.names import device_names
from recovery.model.adaptation import EditFile, RunInSystem
from recovery.model.installed_system import InstalledSystem, Kernel, SystemFile
from tests.builders import make_layout

NAMES = device_names(make_layout(), {"disk0": "/dev/sda"}, "")
GENERIC = (
    "# This system was restored to other hardware: take the drivers of any machine.\nMODULES=most\n"
)


def make_system(*files: tuple[str, str], kernels: tuple[Kernel, ...] = ()) -> InstalledSystem:
    return InstalledSystem(
        name="Debian",
        families=("debian",),
        architecture="x86_64",
        kernels=kernels,
        initramfs_tool="initramfs-tools",
        grub_platforms=("i386-pc", "x86_64-efi"),
        signed_boot_loader=False,
        boot_menu="/boot/grub/grub.cfg",
        efi_folder="/boot/efi",
        efi_loaders=(),
        debconf_grub=False,
        files=tuple(SystemFile(path, text) for path, text in files),
    )


def drop_in(system: InstalledSystem) -> str:
    (change,) = fix_initramfs(system, NAMES)
    assert isinstance(change, EditFile) and change.path == DROP_IN
    return change.after


def test_every_kernel_gets_its_image_updated_or_created() -> None:
    kernels = (
        Kernel("6.12.1-amd64", "/boot/vmlinuz-6.12.1-amd64", "/boot/initrd.img-6.12.1-amd64"),
        Kernel("6.1.0-9-amd64", "/boot/vmlinuz-6.1.0-9-amd64"),
        Kernel("5.10.0-left-over", ""),
    )
    _, *runs = fix_initramfs(make_system(kernels=kernels), NAMES)
    assert [run.argv for run in runs if isinstance(run, RunInSystem)] == [
        ("update-initramfs", "-u", "-k", "6.12.1-amd64"),
        ("update-initramfs", "-c", "-k", "6.1.0-9-amd64"),
    ]


def test_the_drop_in_is_not_written_twice() -> None:
    assert fix_initramfs(make_system((DROP_IN, GENERIC)), NAMES) == ()


@pytest.mark.parametrize(
    ("resume", "line"),
    [
        ("", ""),
        ("RESUME=none\n", ""),
        ("RESUME=auto\n", ""),
        ("RESUME=UUID=ABCD-1234\n", ""),
        ("RESUME=/dev/mapper/vg-swap\n", ""),
        ("RESUME=UUID=dead\n", "RESUME=none\n"),
        ('RESUME="/dev/sdb5"\n', "RESUME=none\n"),
        ("RESUME=/dev/sda1\n", "RESUME=UUID=ABCD-1234\n"),
        ("#RESUME=UUID=dead\n", ""),
    ],
)
def test_a_resume_device_holds_or_there_is_none(resume: str, line: str) -> None:
    system = make_system(("/etc/initramfs-tools/conf.d/resume", resume))
    assert drop_in(system) == GENERIC + line


def test_the_last_resume_setting_counts() -> None:
    system = make_system(
        ("/etc/initramfs-tools/initramfs.conf", "RESUME=UUID=dead\n"),
        ("/etc/initramfs-tools/conf.d/resume", "RESUME=none\n"),
    )
    assert drop_in(system) == GENERIC
