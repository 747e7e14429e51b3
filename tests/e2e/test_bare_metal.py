"""A machine comes back onto another disk and starts there: through the real medium and screens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e import bare_metal
from tests.e2e.bare_metal import TARGET_SERIAL, TARGET_SIZE, restored_machine
from tests.e2e.guest import DISK_SERIAL, HOST_NAME, GuestDisk, copy_disk, startup_medium
from tests.e2e.vm import Bus, DiskDrive, Firmware, Machine, blank_disk

if TYPE_CHECKING:
    from live_image.build import BuiltImage


pytestmark = [pytest.mark.vm, pytest.mark.programs, pytest.mark.root, pytest.mark.timeout(3000)]


def bring_back(
    guest: GuestDisk, live: BuiltImage, backup: Path, folder: Path, firmware: Firmware, bus: Bus
) -> None:
    target = blank_disk(folder / "target.raw", TARGET_SIZE)
    before = backup.stat().st_mtime_ns
    medium = bare_metal.recovery_machine(
        live, backup, target, folder / "recovery", firmware=firmware, bus=bus
    )
    with medium as machine:
        seen = bare_metal.restore_by_screen(machine, print)
        bare_metal.leave_by_reboot(machine)
    assert "ERASE" in seen.plan and TARGET_SERIAL in seen.plan
    assert "equals the snapshot" in seen.outcome
    assert backup.stat().st_mtime_ns == before, "the backup disk was written to"
    # A fresh NVRAM: the disk must start on a board that has never seen it.
    with restored_machine(target, folder / "restored", firmware=firmware, bus=bus) as machine:
        bare_metal.wait_for_login(machine)
        restored = bare_metal.ask_restored(machine)
    assert restored.differences(guest) == ()
    target.unlink()


def test_machine_comes_back_on_a_larger_nvme_disk(
    guest_disk: GuestDisk, live_medium: BuiltImage, backup_disk: Path, tmp_path: Path
) -> None:
    bring_back(guest_disk, live_medium, backup_disk, tmp_path, "uefi", "nvme")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("firmware", "bus"), [("bios", "sata"), ("bios", "virtio"), ("uefi-secure", "scsi")]
)
def test_machine_comes_back_elsewhere(
    guest_disk: GuestDisk,
    live_medium: BuiltImage,
    backup_disk: Path,
    tmp_path: Path,
    firmware: Firmware,
    bus: Bus,
) -> None:
    bring_back(guest_disk, live_medium, backup_disk, tmp_path, firmware, bus)


@pytest.mark.slow
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_original_machine_starts(guest_disk: GuestDisk, tmp_path: Path, firmware: Firmware) -> None:
    copy = copy_disk(guest_disk.path, tmp_path / "disk.raw")
    disks: tuple[DiskDrive, ...] = (DiskDrive(copy, serial=DISK_SERIAL),)
    if firmware == "uefi":
        disks += (DiskDrive(startup_medium(tmp_path / "startup.img"), bus="virtio"),)
    with Machine(tmp_path, disks, firmware=firmware) as machine:
        bare_metal.wait_for_login(machine)
        restored = bare_metal.ask_restored(machine)
    assert (restored.state, restored.host) == ("running", HOST_NAME)
    assert (restored.sums, restored.listing) == (guest_disk.sums, guest_disk.listing)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("firmware", "end"), [("bios", "Dropping to a shell!"), ("uefi", "UEFI Interactive Shell")]
)
def test_original_disk_does_not_start_elsewhere(
    guest_disk: GuestDisk, tmp_path: Path, firmware: Firmware, end: str
) -> None:
    """Without adapting it, which proves that the tests above can fail."""
    copy = copy_disk(guest_disk.path, tmp_path / "disk.raw")
    with Machine(tmp_path, (DiskDrive(copy, bus="nvme"),), firmware=firmware) as machine:
        seen = machine.terminal.wait_for_received(end, "login:", timeout=bare_metal.START)
    assert seen == end
