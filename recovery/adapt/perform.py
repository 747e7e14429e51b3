"""Make the system on a restored disk start on this machine, as far as that can be done.

A restore never fails because its system could not be adapted: what was not done is a warning. The
session folder keeps the plan, the edited files as they were and what the programs said.
"""

from __future__ import annotations

import logging
import os
import platform
from pathlib import Path
from typing import assert_never

from recovery.adapt.device_links import attached_tags, device_links, lasting_link, shown_nodes
from recovery.adapt.find_system import MountedSystem, mount_system
from recovery.adapt.grub import INSTALL_TIMEOUT, grub_install_arguments, menu_lists_other_systems
from recovery.adapt.inspect import inspect_system
from recovery.adapt.kernel_command_line import GRUB_DEFAULTS, grub_command_line
from recovery.adapt.plan import Room, plan_adaptation
from recovery.adapt.verify import Check, verify_change
from recovery.errors import Interrupted, RecoveryError
from recovery.model.adaptation import (
    Change,
    EditFile,
    InstallBootLoader,
    RunInSystem,
    SetBootEntry,
    TargetSystem,
    describe,
    render_changes,
)
from recovery.model.event import Listener, Outcome, PartStarted, Warned
from recovery.model.installed_system import InstalledSystem
from recovery.model.layout import Filesystem, Layout, LogicalVolume, Luks, Raid
from recovery.system.chroot import Chroot, prepare_chroot
from recovery.system.command import Command, Runner
from recovery.system.efi_boot_manager import put_first
from recovery.system.mount import PLACE, PrivateMounts

log = logging.getLogger(__name__)

# A processor runs what was made for these, besides its own kind.
ALSO_RUNS = {"x86_64": ("i686",)}


class _Report:
    """Collects what the outcome will say; warnings are told at once."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.facts: list[str] = []
        self.warnings: list[str] = []
        self.failed = False

    def part(self, number: int, count: int, title: str) -> None:
        self._listener(PartStarted(number, count, title))

    def warn(self, message: str) -> None:
        self.warnings.append(message)
        self._listener(Warned(message))

    def fail(self, message: str) -> None:
        self.failed = True
        self.warn(message)

    def outcome(self) -> Outcome:
        return Outcome(True, not self.failed, tuple(self.facts), tuple(self.warnings))


def adapt_disk(
    target: TargetSystem,
    runner: Runner,
    listener: Listener,
    session: Path,
    place: Path = PLACE,
) -> Outcome:
    """Adapt the system on the target disk to the target machine.

    The disk must be released for writing, its filesystems grown and not mounted. `session` is the
    session's folder; mounts are made below `place` and are gone at the end.
    Raises `Interrupted` and else nothing that is not a bug: `verified` is false where a check
    failed, and the warnings say what was not done.
    """
    report = _Report(listener)
    mounts = PrivateMounts(runner, place)
    try:
        with mounts:
            _adapt(target, mounts, runner, report, session / "adapt")
    except Interrupted:
        raise
    except (RecoveryError, OSError) as error:
        log.exception("adapting stopped")
        report.fail(f"the restored system was not adapted to this machine: {error}")
    for folder in mounts.left:
        report.fail(
            f"{folder} was still in use and has been detached: restart before the next work"
        )
    return report.outcome()


def _adapt(
    target: TargetSystem, mounts: PrivateMounts, runner: Runner, report: _Report, folder: Path
) -> None:
    mounted = mount_system(mounts, target, attached_tags())
    if mounted is None:
        _say_why_not(target.layout, report)
        return
    system = inspect_system(mounted.root, mounted.efi_folder)
    report.facts.append(f"found {system.name} on {mounted.node}")
    findings = plan_adaptation(
        system,
        target.layout,
        target.machine,
        mounted.names,
        Room(mounted.root.free("/"), mounted.root.free("/boot")),
        lasting_link(target.disk_node),
        _runs_here(system),
    )
    folder.mkdir(parents=True, exist_ok=True)
    plan = render_changes(f"Adapt {system.name} to {target.machine.product}", findings.changes)
    (folder / "plan.txt").write_text(plan)
    for warning in findings.warnings:
        report.warn(warning)
    for obstacle in findings.obstacles:
        report.fail(obstacle)
    if findings.changes:
        _perform(findings.changes, system, mounted, target, mounts, runner, report, folder)


def _perform(
    changes: tuple[Change, ...],
    system: InstalledSystem,
    mounted: MountedSystem,
    target: TargetSystem,
    mounts: PrivateMounts,
    runner: Runner,
    report: _Report,
    folder: Path,
) -> None:
    """Make the changes; one that fails does not keep the others from being made."""
    before = mounted.root.read_text(system.boot_menu) if system.boot_menu else None
    for each in mounted.folders:
        mounts.remount_writable(each)
    nodes, links = shown_nodes(target), device_links(target)
    command_line = _command_line(system, mounted.filesystem)
    chroot = prepare_chroot(mounts, mounted.root.folder, runner, nodes, links, command_line)
    made: list[Change] = []
    for number, change in enumerate(changes, 1):
        report.part(number, len(changes) + 1, describe(change))
        try:
            _make(number, change, mounted, target, chroot, folder)
            made.append(change)
        except Interrupted:
            raise
        except (RecoveryError, OSError) as error:
            log.warning("could not: %s", describe(change), exc_info=True)
            _tell_failure(change, error, report)
    report.part(len(changes) + 1, len(changes) + 1, "check what was done")
    for change in made:
        try:
            check = verify_change(change, system, mounted, target, chroot)
        except OSError as error:
            check = Check("", f"could not check what was done ({describe(change)}): {error}")
        if check.problem:
            _tell_problem(change, check.problem, report)
        else:
            report.facts.append(check.fact)
    if before is not None and menu_lists_other_systems(before):
        report.warn("the boot menu may list fewer systems: run update-grub on the restored system")


def _make(
    number: int,
    change: Change,
    mounted: MountedSystem,
    target: TargetSystem,
    chroot: Chroot,
    folder: Path,
) -> None:
    log.info("adapt: %s", describe(change))
    match change:
        case EditFile():
            _keep(change, folder / "before")
            mounted.root.write_text(change.path, change.after)
        case RunInSystem():
            output = chroot.run(change.argv, change.purpose, change.timeout, change.stdin)
            _keep_output(folder, number, change.argv[0], output.text + output.stderr)
        case InstallBootLoader():
            _install_boot_loader(number, change, mounted, target, chroot, folder)
        case SetBootEntry():
            put_first(
                chroot.runner,
                target.disk_node,
                change.partition,
                change.partition_guid,
                change.label,
                change.loader,
            )
        case _:
            assert_never(change)


def _install_boot_loader(
    number: int,
    change: InstallBootLoader,
    mounted: MountedSystem,
    target: TargetSystem,
    chroot: Chroot,
    folder: Path,
) -> None:
    purpose = f"install GRUB for {'BIOS' if change.platform == 'i386-pc' else 'UEFI'}"
    root = str(mounted.root.folder) if change.from_live_system else ""
    node = os.path.realpath(target.disk_node)
    argv = grub_install_arguments(change, node, root, mounted.efi_folder)
    if change.from_live_system:
        command = Command(argv, purpose, timeout=INSTALL_TIMEOUT, package="grub2-common")
        output = chroot.runner.run(command)
    else:
        output = chroot.run(argv, purpose, INSTALL_TIMEOUT)
    _keep_output(folder, number, argv[0], output.text + output.stderr)


def _keep(change: EditFile, folder: Path) -> None:
    """Keep the text that a file has before it is edited; none where it is new."""
    if change.before is not None:
        image = folder / change.path.lstrip("/")
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(change.before.encode(errors="surrogateescape"))


def _keep_output(folder: Path, number: int, program: str, text: str) -> None:
    (folder / f"{number:02}-{program}.txt").write_text(text, errors="surrogateescape")


def _tell_failure(change: Change, error: RecoveryError | OSError, report: _Report) -> None:
    """Say what was not done, with the last thing that the failed program said."""
    problem, reason = str(error), ""
    if isinstance(error, RecoveryError):
        problem, reason = error.message, error.hint.strip().rpartition("\n")[2]
    match change:
        case SetBootEntry():
            report.warn(f"{problem}: the machine starts the disk by its fallback path")
        case _:
            _tell_problem(change, f"{problem}: {reason}".removesuffix(": "), report)


def _tell_problem(change: Change, problem: str, report: _Report) -> None:
    match change:
        case InstallBootLoader(needed=False):
            report.warn(f"{problem} (this machine does not need it)")
        case _:
            report.fail(problem)


def _say_why_not(layout: Layout, report: _Report) -> None:
    """One sentence about a disk without a Linux system that could be reached."""
    kinds = {node.kind for node in layout.nodes if isinstance(node, Filesystem)}
    stacked = any(isinstance(node, Luks | Raid | LogicalVolume) for node in layout.nodes)
    if stacked:
        report.warn(
            "the restored system is in encrypted, RAID or LVM volumes and was not adapted: "
            "it may not start on other hardware"
        )
    elif kinds & {"ntfs", "BitLocker"}:
        report.warn(
            "the restored Windows was not adapted: if it does not start, use the startup repair "
            "of Windows' own recovery medium"
        )
    else:
        report.facts.append("no installed system was found on the disk: nothing to adapt")


def _runs_here(system: InstalledSystem) -> bool:
    here = platform.machine()
    return system.architecture in (here, *ALSO_RUNS.get(here, ()))


def _command_line(system: InstalledSystem, filesystem: Filesystem) -> str:
    """What the installed system would find in /proc/cmdline had it started by itself."""
    settings = grub_command_line(system.text(GRUB_DEFAULTS) or "")
    return f"root=UUID={filesystem.uuid} ro {settings}".strip()
