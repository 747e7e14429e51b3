"""Carry out a restore's plan, step by step, on one disk or image file.

The target is opened for writing here and nowhere else, after the caller has made sure that
the technician named it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import assert_never

from recovery.errors import CommandFailed, DamagedData, DeviceFailed, PlanStale, RecoveryError
from recovery.format import tables
from recovery.format.document import encode_document
from recovery.model.event import Listener, Outcome, StepDone, StepStarted, Warned
from recovery.model.layout import DiskNode, Partition, Table
from recovery.model.machine import DiskId
from recovery.model.plan import (
    AdaptSystem,
    GrowFilesystem,
    Plan,
    SaveOldTable,
    Step,
    VerifyVolume,
    WriteTable,
    WriteVolume,
    describe,
    render_plan,
    work_of,
)
from recovery.model.size import MiB, format_size
from recovery.model.snapshot import Snapshot, Volume
from recovery.repository.chunk_reader import ChunkReader
from recovery.repository.repository import Repository
from recovery.restore.write import Progress, Target, told, verify_volume, write_all, write_volume
from recovery.system import block_device, partition_table
from recovery.system.command import Command, Runner

log = logging.getLogger(__name__)

EDGE = MiB
"""Old signatures lie in the first and last MiB of a disk and of a partition."""

Adapt = Callable[[Plan, str, Listener], Outcome]
"""Makes the system on a disk (by node) start on this machine; wired by the application."""


def perform_restore(
    repository: Repository,
    snapshot: Snapshot,
    plan: Plan,
    node: str,
    runner: Runner,
    adapt: Adapt,
    session: Path,
    listener: Listener,
    cancelled: threading.Event,
) -> Outcome:
    """Carry out `plan` on the disk or image file `node`, which the technician has confirmed.

    Raises `DeviceFailed`, `OutOfSpace`, `DamagedData` or `Interrupted`; the target is then
    not complete, and the message says so.
    """
    save_text(session / "plan.txt", render_plan(plan) + "\n")
    save_text(session / "plan.json", encode_document(plan).decode())
    work = _Restore(repository, snapshot, plan, node, runner, adapt, session, listener, cancelled)
    with _released(node), work:
        for number, step in enumerate(plan.steps, 1):
            listener(StepStarted(number, len(plan.steps), describe(step), work_of(step)))
            listener(StepDone(number, work.carry_out(step)))
    outcome = Outcome(True, work.verified, tuple(work.facts), tuple(work.warnings))
    save_text(session / "outcome.json", encode_document(outcome).decode())
    return outcome


@contextmanager
def _released(node: str) -> Iterator[None]:
    """Make the disk writable for the restore, and as it was afterwards.

    A release holds by kernel name: left behind, it would free the next disk of that name.
    """
    guarded = Path(node).is_block_device() and block_device.is_read_only(node)
    try:
        block_device.release(node)
        yield
    finally:
        if guarded:
            with suppress(OSError, RecoveryError):
                block_device.protect(node)


def save_text(path: Path, text: str) -> None:
    """Keep a document of the session."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class _Restore:
    """One restore in progress: the open target, and what was found on the way."""

    def __init__(
        self,
        repository: Repository,
        snapshot: Snapshot,
        plan: Plan,
        node: str,
        runner: Runner,
        adapt: Adapt,
        session: Path,
        listener: Listener,
        cancelled: threading.Event,
    ) -> None:
        self._reader = ChunkReader(repository)
        self._volumes = {volume.id: volume for volume in snapshot.volumes}
        self._plan = plan
        self._disk = _disk_of(plan)
        self._node = node
        self._runner = runner
        self._adapt = adapt
        self._session = session
        self._listener = listener
        self._cancelled = cancelled
        self._blank = False
        self._file: int | None = None
        self.verified = True
        self.facts: list[str] = []
        self.warnings: list[str] = []

    def __enter__(self) -> _Restore:
        if not Path(self._node).exists():
            if not self._is_image:
                raise PlanStale(
                    f"{self._disk.disk} is not attached any more", hint="make the plan again"
                )
            make_image(Path(self._node), self._disk.disk.size)
            self._blank = True
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _open(self) -> int:
        if self._file is None:
            self._file = block_device.open_target(self._node)
            size = block_device.size_of(self._node)
            if size != self._disk.disk.size:
                raise PlanStale(
                    f"{self._disk.disk} has {format_size(size)} now",
                    hint="make the plan again",
                )
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @property
    def _is_image(self) -> bool:
        return self._disk.disk.serial == self._node

    @property
    def _name(self) -> str:
        return str(self._disk.disk)

    def carry_out(self, step: Step) -> str:
        """Do one step; returns what was checked."""
        match step:
            case SaveOldTable():
                return self._save_edges(step.disk)
            case WriteTable():
                return self._write_table()
            case WriteVolume():
                return self._write_volume(step)
            case VerifyVolume():
                return self._verify_volume(step)
            case GrowFilesystem():
                return self._grow(step)
            case AdaptSystem():
                return self._adapt_system()
            case _:
                assert_never(step)

    def _save_edges(self, disk: DiskId) -> str:
        file = self._open()
        folder = self._session / "undo"
        folder.mkdir(parents=True, exist_ok=True)
        last = max(0, disk.size - EDGE)
        for name, start in (("first.bin", 0), ("last.bin", last)):
            (folder / name).write_bytes(self._read_edge(file, start))
        save_text(folder / "disk.json", encode_document(disk).decode())
        return f"kept in {folder}"

    def _read_edge(self, file: int, start: int) -> bytes:
        try:
            return os.pread(file, EDGE, start)
        except OSError as error:
            # What cannot be read cannot be lost either.
            self.warnings.append(f"could not keep {EDGE} bytes at {start}: {error.strerror}")
            return b""

    def _write_table(self) -> str:
        file = self._open()
        table, partitions = self._table()
        size, sector = self._disk.disk.size, self._disk.logical_sector
        writes = tables.encode_table(table, partitions, size, sector)
        with told(self._name):
            if not self._blank:
                self._wipe_signatures(file, partitions)
            for start, data in writes:
                write_all(file, memoryview(data), start)
            os.fsync(file)
            block_device.drop_caches(file, 0, size)
        if any(os.pread(file, len(data), start) != data for start, data in writes):
            raise self._not_kept()
        wanted = tuple(sorted((part.number, part.start, part.size) for part in partitions))
        # parted takes the sectors of an image file to be 512 bytes.
        comparable = self._disk.logical_sector == block_device.sector_sizes_of(self._node)[0]
        if comparable and partition_table.partitions_seen_by_parted(self._node) != wanted:
            raise self._not_kept()
        return f"{len(wanted)} partitions, read back by parted"

    def _not_kept(self) -> DeviceFailed:
        return DeviceFailed(
            f"the partition table of {self._name} does not read back as written",
            hint="the disk does not keep what is written to it; use another one",
        )

    def _table(self) -> tuple[Table, tuple[Partition, ...]]:
        table = self._plan.layout.table(self._disk.id)
        assert table is not None, "a plan that writes a table has one"
        return table, self._plan.layout.partitions(self._disk.id)

    def _wipe_signatures(self, file: int, partitions: tuple[Partition, ...]) -> None:
        """Forget what was on the disk, also where the image has free blocks."""
        size = self._disk.disk.size
        for start, length in ((0, size), *((part.start, part.size) for part in partitions)):
            edge = min(EDGE, length)
            block_device.zero_range(file, start, edge)
            block_device.zero_range(file, start + length - edge, edge)

    def _target(self, start: int) -> Target:
        return Target(self._open(), self._name, start, self._blank)

    def _write_volume(self, step: WriteVolume) -> str:
        progress = Progress(self._listener, self._cancelled)
        if not self._blank and self._plan.layout.table(self._disk.id) is None:
            with told(self._name):
                self._wipe_signatures(self._open(), ())
        write_volume(self._reader, self._volume(step.volume), self._target(step.start), progress)
        with told(self._name):
            os.fsync(self._open())
        return f"{format_size(step.used)} written"

    def _verify_volume(self, step: VerifyVolume) -> str:
        volume = self._volume(step.volume)
        with told(self._name):
            block_device.drop_caches(self._open(), step.start, volume.size)
        progress = Progress(self._listener, self._cancelled)
        wrong = verify_volume(self._reader, volume, self._target(step.start), progress)
        if wrong:
            raise DamagedData(
                f"{step.title} does not read back as written: {len(wrong)} places differ, "
                f"the first at byte {step.start + wrong[0].start} of {self._name}",
                hint="the disk or its cable is bad, or something else writes to it",
            )
        fact = f"{step.title}: {format_size(step.used)} read back, all as captured"
        self.facts.append(fact)
        return fact

    def _volume(self, id: str) -> Volume:
        return self._volumes[id]

    def _reread(self) -> None:
        """Let the kernel see the new partitions; the target must not be held for that."""
        if self._file is not None:
            block_device.flush_buffers(self._file)
        self._close()
        partition_table.inform_kernel(self._node, self._disk, self._runner)
        block_device.release(self._node)

    def _grow(self, step: GrowFilesystem) -> str:
        self._reread()
        node = block_device.partition_node(self._node, step.number)
        check, *grow = grow_commands(node)
        try:
            self._runner.run(check)
        except CommandFailed as error:
            # As captured it may have errors that want a decision: it is left at its size.
            log.warning("%s", error.hint)
            warning = f"{step.title} has errors and was not grown: run e2fsck and resize2fs on it"
            self.verified = False
            self.warnings.append(warning)
            self._listener(Warned(warning))
            return warning
        for command in grow:
            self._runner.run(command)
        fact = f"{step.title}: {step.kind} grown to {format_size(step.size)}, checked by e2fsck"
        self.facts.append(fact)
        return fact

    def _adapt_system(self) -> str:
        self._reread()
        outcome = self._adapt(self._plan, self._node, self._listener)
        self.verified = self.verified and outcome.verified
        self.facts += outcome.facts
        self.warnings += outcome.warnings
        return f"{len(outcome.facts)} things checked"


def grow_commands(node: str) -> tuple[Command, ...]:
    """Grow the ext filesystem on `node` to its partition, checked before and after."""
    check = Command(
        ("e2fsck", "-f", "-p", node),
        purpose=f"check the filesystem on {node}",
        # 1: errors were corrected (e2fsck(8)).
        accepted=frozenset({0, 1}),
        package="e2fsprogs",
    )
    grow = Command(
        ("resize2fs", node), purpose=f"grow the filesystem on {node}", package="e2fsprogs"
    )
    control = Command(
        ("e2fsck", "-f", "-n", node),
        purpose=f"find the grown filesystem on {node} sound",
        package="e2fsprogs",
    )
    return check, grow, control


def _disk_of(plan: Plan) -> DiskNode:
    (disk,) = plan.layout.disks
    return disk


def make_image(path: Path, size: int) -> None:
    """A new sparse image file of `size` bytes. Raises `DeviceFailed`."""
    try:
        with path.open("xb") as file:
            file.truncate(size)
    except OSError as error:
        raise DeviceFailed(
            f"could not make the image file {path}: {error.strerror}",
            hint="name a file in a folder that exists and has room",
        ) from error
