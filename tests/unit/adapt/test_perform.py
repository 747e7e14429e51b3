"""The whole of adapting on phony machines: what is run, what is kept, what is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from recovery.adapt.perform import adapt_disk
from recovery.errors import Interrupted
from recovery.model.adaptation import TargetSystem
from recovery.model.event import Event, Outcome, PartStarted
from recovery.model.layout import DiskNode, Layout, Luks
from recovery.model.machine import Firmware
from tests.builders import (
    make_disk_node,
    make_filesystem,
    make_layout,
    make_machine,
    make_mbr_partition,
    make_partition,
    make_table,
)
from tests.unit.adapt.phony import (
    AHCI,
    GENERIC,
    GUESTS,
    NVME,
    PhonyRunner,
    make_target,
    write_fallback,
)

NEW, OLD = "6.12.107+deb13-amd64", "6.12.95+deb13-amd64"
ROOT_UUID = "99999999-8888-4777-8666-555555555555"
BOOT_MENU = (
    "BootOrder: 0003\n"
    "Boot0003* debian\tHD(1,GPT,aaaaaaaa-bbbb-4ccc-8ddd-000000000001,0x800,0x1000)"
    "/\\EFI\\debian\\shimx64.efi\n"
)


def make_runner(target: TargetSystem, folder: Path, guest: str = "debian-13") -> PhonyRunner:
    guests = {
        target.partition_nodes["disk0p1"]: GUESTS / "esp-debian",
        target.partition_nodes["disk0p2"]: GUESTS / guest,
    }
    answers = {"lsinitramfs": "\n".join(GENERIC), "efibootmgr": BOOT_MENU}
    return PhonyRunner(guests, folder / "after", answers)


def adapt(target: TargetSystem, runner: PhonyRunner, folder: Path) -> tuple[Outcome, list[Event]]:
    events: list[Event] = []
    outcome = adapt_disk(target, runner, events.append, folder / "session", folder / "place")
    assert not runner.mounted, "something is still mounted"
    assert not list((folder / "place").iterdir()), "something was left behind"
    return outcome, events


def test_debian_is_made_to_start_by_uefi(tmp_path: Path) -> None:
    target = make_target(tmp_path)
    runner = make_runner(target, tmp_path)
    runner.effects["grub-install"] = write_fallback
    outcome, events = adapt(target, runner, tmp_path)
    assert runner.inside == [
        ("update-initramfs", "-u", "-k", NEW),
        ("update-initramfs", "-c", "-k", OLD),
        (
            *("grub-install", "--target=x86_64-efi", "--recheck", "--efi-directory=/boot/efi"),
            *("--no-nvram", "--removable", "--uefi-secure-boot"),
        ),
        ("update-grub",),
        ("lsinitramfs", f"/boot/initrd.img-{NEW}"),
        ("lsinitramfs", f"/boot/initrd.img-{OLD}"),
    ]
    assert outcome == Outcome(
        True,
        True,
        (
            f"found Debian GNU/Linux 13 (trixie) on {target.partition_nodes['disk0p2']}",
            "/etc/initramfs-tools/conf.d/zz-recovery.conf corrected",
            f"initramfs of kernel {NEW} has ahci, nvme, ext4",
            f"initramfs of kernel {OLD} has ahci, nvme, ext4",
            r"UEFI finds the fallback path: BOOTX64.EFI, grubx64.efi in \EFI\BOOT",
            "boot menu has 2 kernels",
            r"the firmware's boot menu starts \EFI\debian\shimx64.efi first",
        ),
    )
    parts = [event for event in events if isinstance(event, PartStarted)]
    assert events == parts
    assert [(part.number, part.count) for part in parts] == [(n, 7) for n in range(1, 8)]
    assert parts[-1].title == "check what was done"
    after = tmp_path / "after" / "nvme0n1p2"
    assert "MODULES=most" in (after / "etc/initramfs-tools/conf.d/zz-recovery.conf").read_text()
    plan = (tmp_path / "session/adapt/plan.txt").read_text()
    assert plan.startswith(
        "Adapt Debian GNU/Linux 13 (trixie) to Machine A\n   1  write  /etc/init"
    )


def test_everything_runs_with_the_systems_own_command_line_and_its_own_disk(tmp_path: Path) -> None:
    target = make_target(tmp_path)
    runner = make_runner(target, tmp_path)
    seen: list[str] = []

    def look(root: Path) -> None:
        seen.append((root / "run/recovery-command-line").read_text())
        links = (root / "dev/disk").rglob("*-*")
        seen.extend(str(link.relative_to(root / "dev")) for link in links)

    runner.effects["update-grub"] = look
    adapt(target, runner, tmp_path)
    command_line, *links = seen
    assert command_line == f"root=UUID={ROOT_UUID} ro quiet\n"
    assert f"disk/by-uuid/{ROOT_UUID}" in links and "disk/by-uuid/ABCD-1234" in links
    (copy,) = [each.argv for each in runner.commands if each.argv[0] == "cp"]
    disk = target.disk_node
    characters = ("null", "zero", "full", "random", "urandom", "tty")
    shown = (*(f"/dev/{name}" for name in characters), disk, f"{disk}p1", f"{disk}p2")
    assert copy[copy.index("--") + 1 :] == shown
    for command in runner.commands:
        if command.argv[0] == "unshare":
            assert ("GRUB_DISABLE_OS_PROBER", "true") in command.environment
            assert command.timeout is not None


def test_ubuntu_on_a_bios_disk_with_names_by_hardware(tmp_path: Path) -> None:
    layout = make_layout(
        make_disk_node(),
        make_table(scheme="dos"),
        make_mbr_partition(1, id="disk0p2"),
        make_filesystem("disk0p2"),
    )
    machine = make_machine(firmware=Firmware.BIOS, controllers=(NVME,))
    target = make_target(tmp_path, machine, layout)
    runner = make_runner(target, tmp_path, "ubuntu-20.04-bios")
    outcome, events = adapt(target, runner, tmp_path)
    assert runner.inside[1:4] == [
        ("grub-install", "--target=i386-pc", "--recheck", target.disk_node),
        ("update-grub",),
        ("debconf-set-selections",),
    ]
    after = tmp_path / "after" / "nvme0n1p2"
    assert (after / "etc/fstab").read_text() == (
        f"UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\n"
        "/dev/sdb1 /srv ext4 defaults,nofail 0 2\n"
        "/swapfile none swap sw 0 0\n"
    )
    before = tmp_path / "session/adapt/before"
    assert (before / "etc/fstab").read_bytes() == (
        GUESTS / "ubuntu-20.04-bios/etc/fstab"
    ).read_bytes()
    assert "resume" not in (after / "etc/default/grub").read_text()
    assert outcome.warnings == (
        "the filesystem for /srv is not on this machine: the system starts without it",
        "the next upgrade of GRUB will ask for its disk",
        "the boot menu may list fewer systems: run update-grub on the restored system",
    )
    assert [event.message for event in events if hasattr(event, "message")] == list(
        outcome.warnings
    )


def test_a_second_run_edits_nothing(tmp_path: Path) -> None:
    target = make_target(tmp_path, make_machine(firmware=Firmware.BIOS, controllers=(NVME,)))
    adapt(target, make_runner(target, tmp_path, "ubuntu-20.04-bios"), tmp_path)
    again = make_runner(target, tmp_path)
    again.guests[target.partition_nodes["disk0p2"]] = (tmp_path / "after/nvme0n1p2").rename(
        tmp_path / "first"
    )
    adapt(target, again, tmp_path)
    plan = (tmp_path / "session/adapt/plan.txt").read_text()
    assert "edit " not in plan and "write " not in plan


@pytest.mark.parametrize(
    ("failing", "verified", "words"),
    [
        ("update-initramfs", False, "could not make the initramfs of kernel"),
        ("grub-install", False, "could not install GRUB for UEFI: it said no"),
        ("update-grub", False, "could not make the boot menu: it said no"),
        ("lsinitramfs", False, "it may not start on this machine"),
        ("efibootmgr", True, "the machine starts the disk by its fallback path"),
    ],
)
def test_a_program_that_fails_keeps_nothing_else_from_being_done(
    tmp_path: Path, failing: str, verified: bool, words: str
) -> None:
    target = make_target(tmp_path)
    runner = make_runner(target, tmp_path)
    runner.effects["grub-install"] = write_fallback
    runner.failing = frozenset({failing})
    outcome, _ = adapt(target, runner, tmp_path)
    assert outcome.performed and outcome.verified is verified
    assert any(words in warning for warning in outcome.warnings)
    programs = [argv[0] for argv in runner.inside]
    assert {"update-initramfs", "grub-install", "update-grub"} <= set(programs)


@pytest.mark.parametrize(
    ("listing", "words"),
    [
        ("", "its initramfs lacks ahci (for SATA controller); its initramfs lacks nvme"),
        ("\n".join(GENERIC[:3]), "its initramfs lacks nvme (for NVMe controller)"),
    ],
)
def test_exit_statuses_are_not_believed(tmp_path: Path, listing: str, words: str) -> None:
    target = make_target(tmp_path, make_machine(controllers=(AHCI, NVME)))
    runner = make_runner(target, tmp_path)
    runner.answers["lsinitramfs"] = listing
    outcome, _ = adapt(target, runner, tmp_path)
    assert not outcome.verified
    assert any(words in warning for warning in outcome.warnings)
    assert r"\EFI\BOOT\BOOTX64.EFI is not a program for UEFI" in outcome.warnings


def test_a_system_of_another_family_is_left_with_warnings(tmp_path: Path) -> None:
    layout = replace(make_layout())
    target = make_target(tmp_path, layout=layout)
    runner = make_runner(target, tmp_path, "rocky-9")
    outcome, _ = adapt(target, runner, tmp_path)
    assert runner.inside == []
    assert outcome.performed
    assert [warning.split(":")[0] for warning in outcome.warnings] == [
        "the initramfs of Rocky Linux 9.4 (Blue Onyx) has not been renewed",
        "the boot loader of Rocky Linux 9.4 (Blue Onyx) has been restored as it was, "
        "not installed again",
    ]


DISK: tuple[DiskNode] = (make_disk_node(),)


@pytest.mark.parametrize(
    ("layout", "warning"),
    [
        (
            make_layout(
                *DISK, make_table(), make_partition(2), make_filesystem("disk0p2", kind="ntfs")
            ),
            "the restored Windows was not adapted",
        ),
        (
            make_layout(*DISK, make_table(), make_partition(2), Luks("l", "disk0p2", "u", 2)),
            "the restored system is in encrypted, RAID or LVM volumes and was not adapted",
        ),
        (make_layout(*DISK), ""),
    ],
)
def test_without_a_linux_system_nothing_fails(tmp_path: Path, layout: Layout, warning: str) -> None:
    target = make_target(tmp_path, layout=layout)
    outcome, _ = adapt(target, make_runner(target, tmp_path), tmp_path)
    assert outcome.performed and outcome.verified
    assert [each.split(":")[0] for each in outcome.warnings] == ([warning] if warning else [])


def test_a_disk_that_cannot_be_read_again_is_not_verified(tmp_path: Path) -> None:
    layout = make_layout(make_disk_node(), make_table(scheme="dos"), make_mbr_partition(1))
    system = make_filesystem("disk0p1")
    machine = make_machine(firmware=Firmware.BIOS, controllers=(NVME,))
    layout = make_layout(*layout.nodes, system)
    target = make_target(tmp_path, machine, layout)
    runner = make_runner(target, tmp_path)
    runner.guests[target.partition_nodes["disk0p1"]] = GUESTS / "ubuntu-20.04-bios"
    runner.effects["grub-install"] = lambda _: Path(target.disk_node).unlink()
    outcome, _ = adapt(target, runner, tmp_path)
    assert not outcome.verified
    assert any("could not check what was done" in warning for warning in outcome.warnings)
    assert any("boot menu has" in fact for fact in outcome.facts)


def test_stopping_stops_and_leaves_nothing_mounted(tmp_path: Path) -> None:
    target = make_target(tmp_path)
    runner = make_runner(target, tmp_path)

    def stop(_: Path) -> None:
        raise Interrupted("stopped")

    runner.effects["update-initramfs"] = stop
    with pytest.raises(Interrupted):
        adapt(target, runner, tmp_path)
    assert not runner.mounted
    assert runner.inside[-1][0] == "update-initramfs"


def test_a_data_disk_is_left_alone(tmp_path: Path) -> None:
    target = make_target(tmp_path)
    runner = make_runner(target, tmp_path, "esp-debian")
    outcome, _ = adapt(target, runner, tmp_path)
    assert outcome.facts == ("no installed system was found on the disk: nothing to adapt",)
    assert not any("remount,rw" in each.argv for each in runner.commands)


def test_a_failing_mount_is_only_a_warning(tmp_path: Path) -> None:
    target = make_target(tmp_path)
    runner = make_runner(target, tmp_path)
    runner.failing = frozenset({"cp"})
    outcome, _ = adapt(target, runner, tmp_path)
    assert outcome.performed and not outcome.verified
    (warning,) = outcome.warnings
    assert "was not adapted to this machine" in warning
