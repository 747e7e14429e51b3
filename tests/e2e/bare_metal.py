"""The way of a machine from its old disk to a new one, stage by stage.

The demo shows these stages and the end-to-end tests assert on them.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from recovery.errors import RecoveryError
from tests.e2e.guest import (
    FACTS_OF_ATTRIBUTES,
    FACTS_OF_FILES,
    HOST_NAME,
    MIB,
    ROOT_PASSWORD,
    SECTOR,
    GuestDisk,
    mount_part,
    run,
)
from tests.e2e.terminal import Terminal
from tests.e2e.vm import Bus, DiskDrive, Firmware, Machine, MachineFailed, blank_disk

PROJECT = Path(__file__).resolve().parents[2]
BUILD = PROJECT / "build"
sys.path.append(str(PROJECT / "image-builder"))

from live_image.build import BuiltImage, build  # noqa: E402

PASSPHRASE = "seven quiet otters"
BACKUP_SERIAL = "BACKUP-1905"
TARGET_SERIAL = "NEWNVME-0042"
BACKUP_SIZE = 4 << 30
TARGET_SIZE = 12 << 30
BACKUP_PART = (MIB, BACKUP_SIZE - 2 * MIB)

# Seconds. Without KVM, on two busy cores, everything takes its time.
START = 600
SCREEN = 240
RESTORE = 1200
COMMAND = 600

SESSIONS = "/run/recovery/session"

Look = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the technician saw on the way to the restored disk, as text."""

    plan: str
    outcome: str
    screens: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Restored:
    """What the restored machine says of itself. `root_size` in bytes."""

    state: str
    failed_units: str
    sums: str
    wrong_files: str
    listing: str
    attributes: str
    root_size: int
    root_device: str
    host: str

    def differences(self, guest: GuestDisk) -> tuple[str, ...]:
        """Everything that is not as it was, or not as it should be; empty if all is well."""
        wrong = []
        if self.state != "running" or self.failed_units:
            wrong.append(f"the system is {self.state}: {self.failed_units}")
        if self.sums != guest.sums or self.wrong_files:
            wrong.append(f"files differ: {self.wrong_files or 'their list itself'}")
        if self.listing != guest.listing:
            wrong.append("names, owners, modes, links or times of files differ")
        if self.attributes != guest.attributes:
            wrong.append("extended attributes differ")
        if self.root_size <= guest.path.stat().st_size:
            wrong.append(f"the root filesystem has {self.root_size} bytes: it did not grow")
        if self.host != HOST_NAME:
            wrong.append(f"the host calls itself {self.host}")
        return tuple(wrong)


def capture_machine(guest: GuestDisk, folder: Path) -> Path:
    """Capture the guest's disk into a repository on a new backup disk; returns that disk."""
    disk = blank_disk(folder / "backup.raw", BACKUP_SIZE)
    start, size = (value // SECTOR for value in BACKUP_PART)
    table = f"label: gpt\nunit: sectors\nstart={start}, size={size}, type=linux\n"
    run("divide the backup disk", "sfdisk", "-q", str(disk), stdin=table.encode())
    options = f"offset={BACKUP_PART[0]},lazy_itable_init=1,lazy_journal_init=1"
    argv = ("mke2fs", "-q", "-F", "-t", "ext4", "-L", "backup", "-E", options)
    run("make the backup disk's filesystem", *argv, str(disk), f"{BACKUP_PART[1] // 1024}k")
    secret = folder / "passphrase"
    secret.write_text(f"{PASSPHRASE}\n")
    with mount_part(disk, BACKUP_PART, folder / "backup") as backup:
        repository = ("--repository", str(backup / "machines"), "--passphrase-file", str(secret))
        code = ("--recovery-code-file", str(folder / "recovery-code"))
        recovery("init", *repository, *code)
        recovery("capture", str(guest.path), *repository, "--host", HOST_NAME)
    return disk


def recovery(verb: str, *arguments: str) -> str:
    """Output of the project's own command line."""
    program = (sys.executable, "-m", "recovery.cli.main")
    return run(f"do recovery {verb}", *program, verb, *arguments)


def build_live_image(look: Look) -> BuiltImage:
    """The live image, built if it is not there or not up to date."""
    return build(BUILD, fast=True, listener=look)


@contextmanager
def recovery_machine(
    live: BuiltImage,
    backup: Path,
    target: Path,
    folder: Path,
    *,
    firmware: Firmware = "uefi",
    bus: Bus = "nvme",
) -> Iterator[Machine]:
    """The machine with its new disk, started from the medium, the backup disk plugged in."""
    disks = (
        DiskDrive(target, bus=bus, serial=TARGET_SERIAL),
        DiskDrive(backup, bus="usb", serial=BACKUP_SERIAL),
    )
    with Machine(folder, disks, firmware=firmware, cdrom=live.iso, with_shell=True) as machine:
        yield machine


def restore_by_screen(machine: Machine, look: Look) -> Seen:
    """Go through the screens on the serial console as a technician does, up to the outcome."""
    terminal = machine.terminal
    screens: list[tuple[str, str]] = []

    def keep(name: str) -> str:
        text = terminal.settled_text()
        screens.append((name, text))
        machine.screen_dump(f"{len(screens)}-{name}")
        look(name)
        return text

    terminal.wait_for("Restore this machine", timeout=START)
    keep("welcome")
    terminal.send("enter")
    terminal.wait_for("folder machines", timeout=SCREEN)
    keep("repository")
    terminal.send("enter")
    terminal.wait_for("passphrase or its recovery code", timeout=SCREEN)
    terminal.send(PASSPHRASE)
    keep("passphrase")
    terminal.send("enter")
    terminal.wait_for("The highlighted snapshot", "Please try again", timeout=SCREEN)
    keep("snapshot")
    terminal.send("enter")
    terminal.wait_for(f"serial {TARGET_SERIAL}", timeout=SCREEN)
    keep("target")
    terminal.send("enter")
    terminal.wait_for("THIS DISK WILL BE ERASED", timeout=SCREEN)
    plan = keep("plan")
    assert TARGET_SERIAL in plan, f"the plan is for another disk:\n{plan}"
    terminal.send(TARGET_SERIAL)
    terminal.send("enter")
    _follow(terminal, keep)
    outcome = keep("outcome")
    if "Restore complete" not in outcome:
        raise MachineFailed(f"the restore did not complete:\n{outcome}")
    return Seen(plan, outcome, tuple(screens))


def _follow(terminal: Terminal, keep: Callable[[str], str]) -> None:
    """Watch the restore; keeps a screen of each fifth of the way."""
    deadline = time.monotonic() + RESTORE
    reached = -1
    terminal.wait_for("Restoring", "Restore complete", timeout=SCREEN)
    while True:
        text = terminal.text()
        if any(verdict in text for verdict in ("complete", "Restore failed", "Restore stopped")):
            return
        percent = re.search(r"(\d+) %", text)
        if percent and int(percent[1]) // 20 > reached:
            reached = int(percent[1]) // 20
            keep(f"restoring-{percent[1]}")
        if time.monotonic() > deadline:
            raise MachineFailed(f"the restore did not end within {RESTORE} s:\n{text}")
        time.sleep(1)


def fetch_session(machine: Machine, folder: Path) -> None:
    """Copy the texts of the live system's session folders, such as plan and log, to `folder`."""
    shell = machine.shell
    shell.wait_until_ready(60)
    found = shell.succeed(f"find {SESSIONS} -type f -size -512k -name '*.*'")
    for line in found.splitlines():
        place = folder / Path(line.strip()).relative_to(SESSIONS)
        status, text = shell.run(f"cat '{line.strip()}'", timeout=SCREEN)
        if status == 0:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)


def leave_by_reboot(machine: Machine) -> None:
    """Choose "Reboot", the first line of the outcome's menu, and wait for the restart."""
    machine.terminal.send("enter")
    machine.wait_for_exit(SCREEN)


@contextmanager
def restored_machine(
    target: Path,
    folder: Path,
    *,
    firmware: Firmware = "uefi",
    bus: Bus = "nvme",
    variables: Path | None = None,
) -> Iterator[Machine]:
    """The machine with its new disk alone."""
    disks = (DiskDrive(target, bus=bus, serial=TARGET_SERIAL),)
    with Machine(folder, disks, firmware=firmware, variables=variables) as machine:
        yield machine


def wait_for_login(machine: Machine) -> None:
    """Wait for the restored system's login prompt."""
    failures = ("(initramfs)", "emergency mode", "grub>", "No bootable", "Kernel panic")
    seen = machine.terminal.wait_for_received(f"{HOST_NAME} login:", *failures, timeout=START)
    if seen in failures:
        raise MachineFailed(f"the restored machine ends at {seen!r}:\n{machine.terminal.text()}")


def ask_restored(machine: Machine) -> Restored:
    """Log in and let the restored system examine itself."""
    terminal = machine.terminal
    terminal.log_in("root", ROOT_PASSWORD, SCREEN)

    def ask(command: str) -> str:
        return terminal.run(command, COMMAND)[1].strip()

    return Restored(
        state=ask("systemctl is-system-running --wait"),
        failed_units=ask("systemctl --failed --no-legend --plain"),
        sums=ask("sha256sum /root/SHA256SUMS").split()[0],
        wrong_files=ask("sha256sum --quiet -c /root/SHA256SUMS 2>&1"),
        listing=ask(FACTS_OF_FILES).split()[0],
        attributes=ask(FACTS_OF_ATTRIBUTES).split()[0],
        root_size=int(ask("df -B1 --output=size / | tail -1")),
        root_device=ask("findmnt -no SOURCE /"),
        host=ask("hostname"),
    )


def sentence_of(error: BaseException) -> str:
    """A failure in words, with its hint."""
    if isinstance(error, RecoveryError):
        return f"{error.message}\n{error.hint}".strip()
    return str(error) or type(error).__name__
