"""What long work tells about itself. Command line and screen both draw these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepStarted:
    """Step `number` (from 1) of `count` begins; `total` is its bytes to move, 0 if unknown."""

    number: int
    count: int
    title: str
    total: int = 0


@dataclass(frozen=True, slots=True)
class BytesMoved:
    """`done` bytes of the running step are through."""

    done: int


@dataclass(frozen=True, slots=True)
class PartStarted:
    """Part `number` (from 1) of `count` of a running step that moves no bytes begins."""

    number: int
    count: int
    title: str


@dataclass(frozen=True, slots=True)
class Warned:
    """Something the technician should know; the work goes on."""

    message: str


@dataclass(frozen=True, slots=True)
class StepDone:
    """The running step is done; `detail` says what was checked or counted."""

    number: int
    detail: str = ""


Event = StepStarted | BytesMoved | PartStarted | Warned | StepDone
Listener = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a plan ended; `facts` are lines for the report, `warnings` what was not as wished."""

    performed: bool
    verified: bool
    facts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
