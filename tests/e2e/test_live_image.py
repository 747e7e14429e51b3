"""The live image starts, and touches no disk on its own."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from live_image.build import PROJECT, BuiltImage, build
from tests.e2e.vm import DirectKernel, DiskDrive, Firmware, Machine

pytestmark = [pytest.mark.vm, pytest.mark.programs, pytest.mark.root, pytest.mark.timeout(1200)]

START = 600
"""Seconds until a shell answers; emulated, on a busy machine."""

MEBIBYTE = 1 << 20
CHANGE = "udevadm trigger --action=change --settle /dev/sda /dev/sda1"


@pytest.fixture(scope="module")
def live_image() -> BuiltImage:
    """The same image as the demo's; up to date at once if that was built."""
    return build(PROJECT / "build", fast=True, listener=print)


def make_tempting_disk(path: Path) -> Path:
    """A disk that an eager system would write to: a journal to replay, and swap."""
    with path.open("wb") as image:
        image.truncate(192 * MEBIBYTE)
    table = "label: gpt\nstart=2048, size=131072, type=L\nstart=133120, size=131072, type=S\n"
    run("sfdisk", "--quiet", str(path), stdin=table)
    run("mkfs.ext4", "-q", "-F", "-E", f"offset={MEBIBYTE}", str(path), "64m")
    # The flag a file system has while it is mounted, and keeps after a power cut.
    run("debugfs", "-w", "-R", "feature needs_recovery", f"{path}?offset={MEBIBYTE}")
    swap = path.with_name("swap")
    swap.write_bytes(bytes(64 * MEBIBYTE))
    run("mkswap", "-q", str(swap))
    with path.open("r+b") as image:
        image.seek(65 * MEBIBYTE)
        image.write(swap.read_bytes())
    swap.unlink()
    return path


def run(*argv: str, stdin: str = "") -> None:
    subprocess.run(argv, input=stdin, text=True, check=True, capture_output=True)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_no_disk_is_written_before_it_is_released(live_image: BuiltImage, tmp_path: Path) -> None:
    disk = make_tempting_disk(tmp_path / "disk.img")
    before = digest(disk)
    with Machine(
        folder=tmp_path / "machine",
        disks=(
            DiskDrive(disk, bus="sata", serial="TEMPTING"),
            DiskDrive(live_image.iso, bus="virtio", read_only=True),
        ),
        firmware="bios",
        direct=DirectKernel(live_image.kernel, live_image.initrd, live_image.kernel_arguments),
        memory=1024,
        with_shell=True,
    ) as machine:
        shell = machine.shell
        shell.wait_until_ready(START)
        shell.succeed("udevadm settle --timeout=300", timeout=START)
        for device in ("sda", "sda1", "sda2"):
            assert shell.succeed(f"blockdev --getro /dev/{device}") == "1", device
        # The search for the medium did come by, and was refused the journal.
        assert "EXT4-fs (sda1): write access unavailable" in shell.succeed("dmesg")
        assert shell.run("dd if=/dev/zero of=/dev/sda bs=512 count=1 conv=fsync")[0] != 0
        assert shell.run("mount -o rw /dev/sda1 /mnt")[0] != 0
        assert "/dev/sda" not in shell.succeed("cat /proc/swaps; cat /proc/mounts")

        wanted = "until pgrep -t tty1 >/dev/null && pgrep -t ttyS0 >/dev/null; do sleep 1; done"
        shell.succeed(wanted, timeout=START)
        assert digest(disk) == before

        shell.succeed("mkdir -p /run/recovery/released && touch /run/recovery/released/sda")
        shell.succeed("blockdev --setrw /dev/sda /dev/sda1 /dev/sda2")
        shell.succeed(CHANGE, timeout=START)
        for device in ("sda", "sda1", "sda2"):
            assert shell.succeed(f"blockdev --getro /dev/{device}") == "0", device
        shell.succeed("mount -o rw /dev/sda1 /mnt && umount /mnt")
        shell.succeed("rm /run/recovery/released/sda")
        shell.succeed(CHANGE, timeout=START)
        assert shell.succeed("blockdev --getro /dev/sda") == "1"
        assert shell.succeed("blockdev --getro /dev/sda1") == "1"


@pytest.mark.slow
@pytest.mark.parametrize("medium", ["cd", "stick"])
@pytest.mark.parametrize("firmware", ["bios", "uefi", "uefi-secure"])
def test_medium_starts(
    live_image: BuiltImage, tmp_path: Path, firmware: Firmware, medium: str
) -> None:
    is_cd = medium == "cd"
    stick = DiskDrive(live_image.iso, bus="usb", serial="STICK", read_only=True)
    with Machine(
        folder=tmp_path / "machine",
        disks=() if is_cd else (stick,),
        cdrom=live_image.iso if is_cd else None,
        firmware=firmware,
        memory=1024,
        with_shell=True,
    ) as machine:
        # GRUB under UEFI reads the shell's serial line too: nothing may be typed before it is gone.
        machine.terminal.wait_for("Nothing has been changed yet", timeout=START)
        machine.shell.wait_until_ready(60)
        mounted = machine.shell.succeed("findmnt --noheadings --output SOURCE /run/live/medium")
        assert mounted.startswith("/dev/sr0" if is_cd else "/dev/sda")
        firmware_seen = machine.shell.run("test -d /sys/firmware/efi")[0] == 0
        assert firmware_seen == (firmware != "bios")
        if firmware == "uefi-secure":
            flag = machine.shell.succeed("od -An -t u1 -j 4 /sys/firmware/efi/efivars/SecureBoot-*")
            assert flag.strip() == "1"
