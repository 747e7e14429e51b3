"""What will be done to the target, in order: pure data, shown before it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from recovery.model.layout import Layout
from recovery.model.machine import DiskId
from recovery.model.size import format_size


@dataclass(frozen=True, slots=True)
class SaveOldTable:
    """Keep the target's first and last MiB in the session folder, so that erasing can be undone."""

    disk: DiskId


@dataclass(frozen=True, slots=True)
class WriteTable:
    """Erase the disk and write the table that `layout` of the plan has for it."""

    disk: DiskId
    partitions: int
    scheme: str


@dataclass(frozen=True, slots=True)
class WriteVolume:
    """Write the blocks of a captured volume to `start` of the disk, `used` bytes of them."""

    volume: str
    title: str
    disk: DiskId
    start: int
    size: int
    used: int


@dataclass(frozen=True, slots=True)
class VerifyVolume:
    """Read back what was written and compare it with the snapshot."""

    volume: str
    title: str
    disk: DiskId
    start: int
    used: int


@dataclass(frozen=True, slots=True)
class GrowFilesystem:
    """Let the filesystem of partition `number` fill its partition, now `size` bytes."""

    volume: str
    title: str
    kind: str
    disk: DiskId
    number: int
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class AdaptSystem:
    """Make the restored system start on this machine."""

    disk: DiskId
    title: str


Step = SaveOldTable | WriteTable | WriteVolume | VerifyVolume | GrowFilesystem | AdaptSystem


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps to bring `snapshot` onto the disks in `made_for`, whose new layout is `layout`."""

    title: str
    snapshot: str
    steps: tuple[Step, ...]
    made_for: tuple[DiskId, ...]
    layout: Layout
    notes: tuple[str, ...] = ()

    @property
    def erased_disks(self) -> tuple[DiskId, ...]:
        """Disks that lose what they hold."""
        return tuple(dict.fromkeys(step.disk for step in self.steps if destroys(step)))


def destroys(step: Step) -> bool:
    """Whether the step overwrites what was on its disk before."""
    match step:
        case WriteTable() | WriteVolume():
            return True
        case SaveOldTable() | VerifyVolume() | GrowFilesystem() | AdaptSystem():
            return False
        case _:
            assert_never(step)


def describe(step: Step) -> str:
    """One line for the technician."""
    match step:
        case SaveOldTable():
            return f"save   first and last MiB of {step.disk}, for undo"
        case WriteTable():
            return (
                f"ERASE  {step.disk}: new {step.scheme.upper()} partition table, "
                f"{step.partitions} partitions"
            )
        case WriteVolume():
            return f"write  {step.title}: {format_size(step.used)} used of {format_size(step.size)}"
        case VerifyVolume():
            return f"verify {step.title}: read back {format_size(step.used)}"
        case GrowFilesystem():
            return f"grow   {step.title}: {step.kind} to {format_size(step.size)}"
        case AdaptSystem():
            return f"adapt  {step.title}"
        case _:
            assert_never(step)


def work_of(step: Step) -> int:
    """Bytes that the step moves, 0 where it moves none worth counting."""
    match step:
        case WriteVolume() | VerifyVolume():
            return step.used
        case SaveOldTable() | WriteTable() | GrowFilesystem() | AdaptSystem():
            return 0
        case _:
            assert_never(step)


def render_plan(plan: Plan) -> str:
    """The plan as text, as the technician signs it."""
    lines = [plan.title]
    lines += [f"  {number:>2}  {describe(step)}" for number, step in enumerate(plan.steps, 1)]
    lines += [f"  note: {note}" for note in plan.notes]
    return "\n".join(lines)
