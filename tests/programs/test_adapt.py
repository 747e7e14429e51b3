"""Adapting a real Debian on an ext4 image: its own tools run, and what they made is read again.

The EFI system partition and the boot code need a real disk: that is shown in virtual machines.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recovery.adapt.perform import adapt_disk
from recovery.errors import CommandFailed
from recovery.format.partition_types import BIOS_BOOT
from recovery.model.adaptation import TargetSystem
from recovery.model.event import Event
from recovery.model.machine import Controller, Firmware
from recovery.system.chroot import Chroot, prepare_chroot
from recovery.system.command import Command, SystemRunner
from recovery.system.mount import PrivateMounts
from tests.builders import (
    make_disk_node,
    make_filesystem,
    make_layout,
    make_machine,
    make_partition,
    make_table,
)

pytestmark = [pytest.mark.programs, pytest.mark.root]

CACHE = Path(__file__).parents[2] / "build" / "guests"
MIB = 1 << 20
SIZE = 1400 * MIB
# The root begins here, as on a disk: GRUB takes a whole loop device for a file of the host.
OFFSET = MIB
ROOT_UUID = "99999999-8888-4777-8666-555555555555"
PACKAGES = ("linux-image-cloud-amd64", "initramfs-tools", "systemd-sysv", "zstd", "grub2-common")
LEFT_OUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*")
FSTAB = f"/dev/sda2 / ext4 errors=remount-ro 0 1\nUUID={ROOT_UUID[::-1]} /data ext4 defaults 0 2\n"
# A hook of the guest that writes down what a program in the chroot can see.
LOOK = """#!/bin/sh
[ "$1" = prereqs ] && exit 0
{ ls -1 /dev /run; cat /proc/cmdline; } > /root/seen
! [ -e /sys/firmware/efi/efivars/BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c ]
"""
RUNNER = SystemRunner()


def run(*argv: str) -> str:
    return RUNNER.run(Command(argv, f"run {argv[0]}")).text


@pytest.fixture(scope="session")
def guest_archive() -> Path:
    """A small Debian 13 as a tar archive, made once."""
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    argv += ['--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"']
    argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    digest = hashlib.sha256("\n".join(argv).encode()).hexdigest()[:12]
    archive = CACHE / f"adapt-{digest}.tar"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        unfinished = archive.with_suffix(".new.tar")
        run(*argv, "trixie", str(unfinished))
        unfinished.rename(archive)
    return archive


@pytest.fixture(scope="module")
def node(guest_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The guest's root filesystem as a device, with a lean initramfs and names by hardware."""
    folder = tmp_path_factory.mktemp("guest")
    image = folder / "disk.raw"
    with image.open("wb") as file:
        file.truncate(SIZE + OFFSET)
    options = f"offset={OFFSET},lazy_itable_init=1,lazy_journal_init=1"
    argv = ("mke2fs", "-q", "-F", "-t", "ext4", "-U", ROOT_UUID, "-E", options)
    run(*argv, str(image), f"{SIZE // 1024}k")
    loop = run("losetup", "--find", "--show", f"--offset={OFFSET}", str(image)).strip()
    name = f"/dev/recovery-test-{os.getpid()}"
    os.mknod(name, stat.S_IFBLK | 0o660, Path(loop).stat().st_rdev)
    try:
        with PrivateMounts(RUNNER, folder / "mounts") as mounts:
            root = mounts.make_folder("root")
            mounts.mount(name, root)
            run("tar", "--extract", f"--file={guest_archive}", f"--directory={root}", "--xattrs")
            make_lean(root, prepare_chroot(mounts, root, RUNNER, (name,), {}, "root=x"))
        yield name
    finally:
        Path(name).unlink()
        run("losetup", "--detach", loop)
        image.unlink()


def make_lean(root: Path, chroot: Chroot) -> None:
    """As Debian's installer leaves a machine whose only controller is a virtio disk."""
    (root / "etc/fstab").write_text(FSTAB)
    conf = root / "etc/initramfs-tools"
    (conf / "conf.d/driver-policy").write_text("MODULES=list\n")
    (conf / "conf.d/resume").write_text("RESUME=/dev/sda3\n")
    (conf / "modules").write_text("ext4\nvirtio_blk\n")
    (root / "boot/grub").mkdir()
    (root / "boot/grub/grub.cfg").write_text("# made by an older update-grub\n")
    (root / "etc/default").mkdir(exist_ok=True)
    (root / "etc/default/grub").write_text('GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n')
    (kernel,) = (each.name for each in (root / "lib/modules").iterdir())
    chroot.run(("update-initramfs", "-u", "-k", kernel), "make a lean initramfs", 300)
    look = conf / "hooks/look"
    look.write_text(LOOK)
    look.chmod(0o755)


def make_target(node: str) -> TargetSystem:
    layout = make_layout(
        make_disk_node(),
        make_table(),
        make_partition(1, type=BIOS_BOOT),
        make_partition(2),
        make_filesystem("disk0p2", uuid=ROOT_UUID, mounts=("/",)),
    )
    controller = Controller("0000:00:1f.2", "SATA controller", "ahci", "")
    machine = make_machine(firmware=Firmware.UEFI, controllers=(controller,))
    return TargetSystem(node, layout, machine, {"disk0p2": node})


@contextmanager
def mounted(node: str, folder: Path) -> Iterator[Path]:
    with PrivateMounts(RUNNER, folder) as mounts:
        root = mounts.make_folder("root")
        mounts.mount(node, root, "ro")
        yield root


def modules(root: Path, name: str) -> list[str]:
    (image,) = (root / "boot").glob("initrd.img-*")
    return [line for line in run("lsinitramfs", str(image)).splitlines() if f"/{name}.ko" in line]


def test_a_lean_debian_gets_the_drivers_of_this_machine(node: str, tmp_path: Path) -> None:
    with mounted(node, tmp_path / "before") as root:
        assert modules(root, "virtio_blk") and not modules(root, "ahci")
    events: list[Event] = []
    place = tmp_path / "mounts"
    outcome = adapt_disk(make_target(node), RUNNER, events.append, tmp_path / "session", place)
    assert outcome.performed
    assert outcome.warnings == (
        "the filesystem for /data is not on this machine: the system starts without it",
        "this machine starts by UEFI, but the disk has no EFI system partition: "
        "set its firmware to legacy BIOS (CSM), if it has that",
    )
    assert any("has ahci, ext4" in fact for fact in outcome.facts), outcome.facts
    assert "boot menu has 1 kernel" in outcome.facts
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    run("e2fsck", "-fn", node)
    with mounted(node, tmp_path / "after") as root:
        assert modules(root, "ahci") and modules(root, "virtio_blk")
        assert (root / "etc/fstab").read_text() == FSTAB.replace(
            "/dev/sda2", f"UUID={ROOT_UUID}"
        ).replace("defaults", "defaults,nofail")
        drop_in = (root / "etc/initramfs-tools/conf.d/zz-recovery.conf").read_text()
        assert drop_in.endswith("MODULES=most\nRESUME=none\n")
        assert f"root=UUID={ROOT_UUID} ro" in (root / "boot/grub/grub.cfg").read_text()
        assert not list((root / "dev/disk").glob("*"))
        seen = (root / "root/seen").read_text().splitlines()
    expected = {"null", "zero", "full", "random", "urandom", "tty", "fd", "disk"}
    expected |= {"stdin", "stdout", "stderr", Path(node).name, "recovery-command-line"}
    command_line = f"root=UUID={ROOT_UUID} ro quiet"
    assert set(seen) - {"udev", "initramfs", ""} == expected | {command_line, "/dev:", "/run:"}
    assert (tmp_path / "session/adapt/before/etc/fstab").read_text() == FSTAB


def test_a_program_that_hangs_is_ended_with_its_children(node: str, tmp_path: Path) -> None:
    mark = f"29{os.getpid()}"
    script = f"sleep {mark} & (sleep {mark} & sleep {mark}); wait"
    started = time.monotonic()
    with PrivateMounts(RUNNER, tmp_path / "mounts") as mounts:
        root = mounts.make_folder("root")
        mounts.mount(node, root, "ro")
        chroot = prepare_chroot(mounts, root, RUNNER, (node,), {}, "")
        with pytest.raises(CommandFailed, match="could not wait"):
            chroot.run(("sh", "-c", script), "wait", 1)
    assert mounts.left == ()
    assert time.monotonic() - started < 20
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(mark.encode() in line for line in lines)


def test_what_a_program_mounts_goes_with_it(node: str, tmp_path: Path) -> None:
    with PrivateMounts(RUNNER, tmp_path / "mounts") as mounts:
        root = mounts.make_folder("root")
        mounts.mount(node, root, "ro")
        chroot = prepare_chroot(mounts, root, RUNNER, (node,), {}, "")
        chroot.run(("mount", "-t", "tmpfs", "x", "/mnt"), "mount inside", 60)
        assert f"{root}/mnt" not in Path("/proc/self/mountinfo").read_text()
