"""`./dev demo`: a machine is captured, lost and brought back, in virtual machines.

One line per stage; everything seen on the way is kept in a report folder.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from recovery.errors import RecoveryError, Refused, UsageError
from recovery.model.size import format_size
from tests.e2e import bare_metal
from tests.e2e.bare_metal import BUILD, PASSPHRASE, TARGET_SERIAL, TARGET_SIZE
from tests.e2e.guest import DISK_SERIAL, make_guest_disk
from tests.e2e.terminal import ScreenTimeout, strip_controls
from tests.e2e.vm import Machine, MachineFailed, accelerator, blank_disk

STAGES = 7
NEEDED_SPACE = 8 << 30
LEAVE = b"\x1d"  # Ctrl-]

log = logging.getLogger(__name__)


class StageFailed(Exception):
    """A stage did not end as it should; carries its name."""


@dataclass(slots=True)
class Report:
    """The report folder, and the line that each stage leaves on the screen and in it."""

    folder: Path
    began: float = field(default_factory=time.monotonic)
    lines: list[str] = field(default_factory=list)

    @contextmanager
    def stage(self, title: str) -> Iterator[list[str]]:
        """Time a stage; what is put into the yielded list ends its line."""
        number = len(self.lines) + 1
        started = time.monotonic()
        facts: list[str] = []
        log.info("stage %d: %s", number, title)
        _draw(f"{number}/{STAGES}  {title} ...")
        try:
            yield facts
        except (RecoveryError, MachineFailed, ScreenTimeout, AssertionError, OSError) as error:
            log.exception("stage %d failed", number)
            _draw("")
            raise StageFailed(
                f"stage {number} ({title}) failed: {bare_metal.sentence_of(error)}"
            ) from error
        seconds = time.monotonic() - started
        detail = "".join(f"; {fact}" for fact in facts)
        self.lines.append(f"{number}/{STAGES}  {seconds:6.1f} s  {title}{detail}")
        _draw("")
        print(self.lines[-1], flush=True)
        self.write("timings.txt", "\n".join(self.lines) + "\n")

    def write(self, name: str, text: str) -> None:
        """Keep a text in the folder."""
        (self.folder / name).write_text(text)


def main() -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__)
    parser.add_argument(
        "--interactive", action="store_true", help="drive the screens yourself, Ctrl-] leaves"
    )
    parser.add_argument("--keep", action="store_true", help="keep the disks of the run")
    choice = parser.parse_args()
    report = Report(_new_folder(BUILD / "demo"))
    logging.basicConfig(
        filename=report.folder / "demo.log",
        level=logging.INFO,
        format="%(asctime)s %(name)s: %(message)s",
    )
    disks = report.folder / "disks"
    try:
        _require(interactive=choice.interactive)
        _run(report, disks, interactive=choice.interactive)
    except StageFailed as failure:
        print(f"{failure}\nThe log is {report.folder / 'demo.log'}", file=sys.stderr)
        return 1
    except RecoveryError as error:
        print(f"{error.message}\n  {error.hint}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    finally:
        if not choice.keep:
            shutil.rmtree(disks, ignore_errors=True)
    return 0


def _run(report: Report, disks: Path, *, interactive: bool) -> None:
    folder = report.folder
    with report.stage("a machine: Debian 13 on an 8 GiB SATA disk") as facts:
        guest = make_guest_disk(BUILD / "guests")
        facts.append(f"serial {DISK_SERIAL}, {guest.files} files with their SHA-256")
    with report.stage("its disk captured into a repository on a backup disk") as facts:
        backup = bare_metal.capture_machine(guest, disks)
        written = backup.stat()
        facts.append(f"{format_size(written.st_blocks * 512)} on the backup disk")
    with report.stage("the live image built") as facts:
        live = bare_metal.build_live_image(log.info)
        facts.append(f"{format_size(live.iso.stat().st_size)}")
    target = blank_disk(disks / "target.raw", TARGET_SIZE)
    with bare_metal.recovery_machine(live, backup, target, folder / "recovery") as machine:
        with report.stage("a machine with an empty, larger NVMe disk started from it") as facts:
            if interactive:
                print(f"\nThe passphrase is: {PASSPHRASE}\nThe new disk is: {TARGET_SERIAL}")
                _hand_over(machine)
                interactive_end = not machine.is_running
            else:
                machine.terminal.wait_for("Restore this machine", timeout=bare_metal.START)
            facts.append(f"UEFI, {accelerator().name.upper()}")
        if interactive and not interactive_end:
            print("You left before the machine was restarted; the demo ends here.")
            return
        with report.stage("restored by a technician at the serial console") as facts:
            if not interactive:
                _restore(report, machine)
            assert backup.stat().st_mtime_ns == written.st_mtime_ns, "the backup disk was written"
            facts.append("the backup disk was not written to")
    variables = machine.variables
    with bare_metal.restored_machine(target, folder / "restored", variables=variables) as again:
        with report.stage("restarted without medium and backup disk to the login prompt"):
            bare_metal.wait_for_login(again)
            again.screen_dump("login")
        with report.stage("its files compared") as facts:
            restored = bare_metal.ask_restored(again)
            report.write("console-restored.txt", strip_controls(again.terminal.received()))
            report.write("restored.json", json.dumps(asdict(restored), indent=1) + "\n")
            differences = restored.differences(guest)
            assert not differences, "; ".join(differences)
            facts.append(f"all {guest.files} are as they were, no unit failed")
            facts.append(
                f"root on {restored.root_device} grown to {format_size(restored.root_size)}"
            )
    seconds = time.monotonic() - report.began
    line = f"The machine is back, {seconds:.0f} s after the start. Report: {folder}"
    report.write("timings.txt", "\n".join((*report.lines, line)) + "\n")
    print(line)


def _restore(report: Report, machine: Machine) -> None:
    try:
        seen = bare_metal.restore_by_screen(machine, log.info)
        report.write("outcome.txt", seen.outcome + "\n")
        report.write("screens.txt", "".join(f"=== {name}\n{text}\n" for name, text in seen.screens))
    finally:
        report.write("console-recovery.txt", strip_controls(machine.terminal.received()))
        if machine.is_running:
            bare_metal.fetch_session(machine, report.folder / "session")
    for plan in (report.folder / "session").glob("*/plan.txt"):
        report.write("plan.txt", plan.read_text())
    bare_metal.leave_by_reboot(machine)


def _keys(keyboard: int) -> bytes:
    """What was typed within a fifth of a second."""
    ready, _, _ = select.select([keyboard], [], [], 0.2)
    return os.read(keyboard, 1024) if ready else b""


def _hand_over(machine: Machine) -> None:
    """Join this terminal and the machine's serial console until Ctrl-] or the restart."""
    print("This is its serial console now; Ctrl-] leaves.\n", flush=True)
    screen, keyboard = sys.stdout.fileno(), sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)

    def show(data: bytes) -> None:
        os.write(screen, data)

    tty.setraw(keyboard)
    try:
        machine.terminal.join(show)
        while machine.is_running and machine.terminal.is_connected:
            keys = _keys(keyboard)
            if LEAVE in keys:
                break
            machine.terminal.send_bytes(keys)
    finally:
        machine.terminal.join(None)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
        # The far program may have left its own screen, colours and a hidden cursor behind.
        show(b"\x1b[?1049l\x1b[0m\x1b[?25h\r\n")


def _require(*, interactive: bool) -> None:
    if os.geteuid() != 0:
        raise Refused("the demo needs root rights, to make disks", hint="run it with sudo")
    if interactive and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("--interactive needs a terminal", hint="run it in one, or leave it out")
    free = shutil.disk_usage(BUILD).free
    if free < NEEDED_SPACE:
        raise Refused(
            f"the demo needs {format_size(NEEDED_SPACE)}, and {format_size(free)} are free",
            hint=f"make room in {BUILD}",
        )


def _new_folder(parent: Path) -> Path:
    folder = parent / datetime.now().strftime("%Y%m%d-%H%M%S")
    folder.mkdir(parents=True)
    return folder


def _draw(text: str) -> None:
    """What is going on, on a line that the next one replaces."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{text}", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
