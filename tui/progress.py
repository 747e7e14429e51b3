"""How far a restore is: events in, one value out. Pure; the clock's readings are handed in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import assert_never

from recovery.model.event import BytesMoved, Event, PartStarted, StepDone, StepStarted, Warned
from recovery.model.plan import (
    AdaptSystem,
    GrowFilesystem,
    Plan,
    SaveOldTable,
    Step,
    VerifyVolume,
    WriteTable,
    WriteVolume,
    work_of,
)
from recovery.model.size import MiB

RATE_WINDOW = 10.0
"""Seconds over which the speed of a step is averaged."""

ETA_AFTER = 5.0
"""Seconds of work before a remaining time is worth showing."""


def weight_of(step: Step) -> int:
    """Share of the whole job, in bytes moved.

    Steps that move no bytes worth counting get about as much as a disk writes in the time
    that they take.
    """
    match step:
        case SaveOldTable():
            return 16 * MiB
        case WriteTable():
            return 64 * MiB
        case GrowFilesystem():
            return 256 * MiB
        case AdaptSystem():
            return 4096 * MiB
        case WriteVolume() | VerifyVolume():
            return work_of(step) + MiB
        case _:
            assert_never(step)


@dataclass
class Progress:
    """The state of a running restore; times are seconds of one monotonic clock."""

    weights: tuple[int, ...]
    began: float
    current: int = 0
    total: int = 0
    moved: int = 0
    part: PartStarted | None = None
    finished: dict[int, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    @classmethod
    def of(cls, plan: Plan, now: float) -> Progress:
        """Nothing of the plan is done yet."""
        return cls(tuple(weight_of(step) for step in plan.steps), now)

    def take(self, event: Event, now: float) -> None:
        """Learn from one event. Step numbers are those of the plan, from 1."""
        match event:
            case StepStarted():
                self.current, self.total, self.moved = event.number, event.total, 0
                self.part = None
                self._samples = deque([(now, 0)])
            case BytesMoved():
                self.moved = event.done
                self._samples.append((now, event.done))
                while now - self._samples[0][0] > RATE_WINDOW and len(self._samples) > 2:
                    self._samples.popleft()
            case PartStarted():
                self.part = event
            case Warned():
                self.warnings.append(event.message)
            case StepDone():
                self.finished[event.number] = event.detail
            case _:
                assert_never(event)

    @property
    def fraction(self) -> float:
        """Share of the whole job that is done, 0 to 1."""
        done = sum(
            weight for number, weight in enumerate(self.weights, 1) if number in self.finished
        )
        if self.current not in self.finished and 0 < self.current <= len(self.weights):
            done += int(self.weights[self.current - 1] * self._within())
        return done / max(1, sum(self.weights))

    def _within(self) -> float:
        """Share of the running step that is done, 0 to 1."""
        if self.total:
            return min(1.0, self.moved / self.total)
        part = self.part
        return 0.0 if part is None else min(1.0, max(0, part.number - 1) / max(1, part.count))

    @property
    def rate(self) -> float:
        """Bytes per second of the running step, 0 while unknown."""
        if len(self._samples) < 2:
            return 0.0
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        return (after - before) / (last - first) if last > first else 0.0

    def remaining(self, now: float) -> float | None:
        """Seconds that the whole job will still take, `None` while nobody knows."""
        elapsed, fraction = now - self.began, self.fraction
        if elapsed < ETA_AFTER or fraction < 0.01:
            return None
        return elapsed * (1 - fraction) / fraction
