"""The restore while it runs: the engine on a thread, its events drawn here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from textual import events, getters, work
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static
from textual.worker import Worker, WorkerState

from recovery.model.event import BytesMoved, Event, Listener, Outcome
from recovery.model.plan import Plan, describe
from recovery.model.size import format_size
from tui.progress import Progress
from tui.screens.page import HELP_KEYS, Page
from tui.screens.question import QuestionScreen
from tui.widgets.progress_line import render_bar
from tui.words import count, duration_words, hanging, rate_words, shorten

BETWEEN_MOVES = 0.2
"""Seconds at least between two messages about moved bytes; the engine tells far more often."""

NOW = "now >"
"""Marks the running step."""

Perform = Callable[[Listener, threading.Event], Outcome]


@dataclass(frozen=True, slots=True)
class Ending:
    """How the run ended: an outcome or an error; `step` is the last that had begun, 0 if none."""

    outcome: Outcome | None
    error: BaseException | None
    step: int
    warnings: tuple[str, ...]
    seconds: float


class Told(Message):
    """The engine told something."""

    def __init__(self, event: Event) -> None:
        super().__init__()
        self.event = event


class RestoringScreen(Page[Ending]):
    """Performs a plan and returns how it ended."""

    HEADING = "Restoring"
    PLACE = "step 5 of 5"
    HELP_TEXT = (
        "The plan is being carried out. The percentage and the remaining time are for the whole "
        "job, checking included.\n\n"
        "Esc asks whether to stop. A stopped restore leaves an incomplete target disk; the "
        "snapshot in the repository is not touched, and the restore can be started again."
    )
    ASSURANCE = "The target disk is being written. Please leave it connected."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Stop ...", key_display="Esc"),
        Binding(HELP_KEYS, "help", "Help", key_display="? F1"),
    ]

    overall = getters.query_one("#overall", Static)
    steps = getters.query_one("#steps", VerticalScroll)
    step_text = getters.query_one("#step-text", Static)
    warnings = getters.query_one("#warnings", Static)

    def __init__(self, plan: Plan, perform: Perform) -> None:
        super().__init__()
        self._plan = plan
        self._perform = perform
        self._cancelled = threading.Event()
        self._progress = Progress.of(plan, time.monotonic())

    def compose_body(self) -> Iterator[Widget]:
        """The whole job, its steps, its warnings."""
        yield Static(self._plan.title, id="intro", markup=False)
        yield Static(id="overall", markup=False)
        box = VerticalScroll(Static(id="step-text", markup=False), id="steps")
        box.border_title = "Steps"
        yield box
        warnings = Static(id="warnings", markup=False)
        warnings.display = False
        yield warnings

    def on_mount(self) -> None:
        """Begin."""
        self.steps.focus()
        self.run_worker(self._run, thread=True, exit_on_error=False)
        self.set_interval(1, self._draw)

    def _run(self) -> Outcome:
        last = 0.0

        def listen(event: Event) -> None:
            nonlocal last
            now = time.monotonic()
            if isinstance(event, BytesMoved):
                if now - last < BETWEEN_MOVES:
                    return
                last = now
            self.post_message(Told(event))

        return self._perform(listen, self._cancelled)

    def on_told(self, message: Told) -> None:
        """Draw what the engine told; moved bytes wait for the next tick of the clock."""
        self._progress.take(message.event, time.monotonic())
        if not isinstance(message.event, BytesMoved):
            self._draw()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Return the outcome, or the error, whatever it was."""
        if event.worker.group != "default" or event.state not in {
            WorkerState.SUCCESS,
            WorkerState.ERROR,
        }:
            return
        ending = Ending(
            outcome=event.worker.result if event.state is WorkerState.SUCCESS else None,
            error=event.worker.error,
            step=self._progress.current,
            warnings=tuple(self._progress.warnings),
            seconds=time.monotonic() - self._progress.began,
        )
        self.dismiss(ending)

    def on_resize(self, event: events.Resize) -> None:
        """Fit everything to the width."""
        self._draw()

    def _draw(self) -> None:
        now, width = time.monotonic(), self.size.width - 8
        self.overall.update(render_overall(self._progress, now, width))
        lines, current = render_steps(self._plan, self._progress, width)
        self.step_text.update(
            Content("\n").join(
                Content.styled(line, "bold") if line.startswith(NOW) else Content(line)
                for line in lines
            )
        )
        self.steps.scroll_to(y=max(0, current - self.steps.size.height // 2), animate=False)
        told = self._progress.warnings
        self.warnings.display = bool(told)
        if told:
            self.warnings.update(shorten(f"! {count(len(told), 'warning')}: {told[-1]}", width * 2))

    def action_back(self) -> None:
        """Ask whether to stop."""
        if not self._cancelled.is_set():
            self._ask_to_stop()

    @work(group="question", exit_on_error=False)
    async def _ask_to_stop(self) -> None:
        stop = await self.app.push_screen_wait(
            QuestionScreen(
                "Stop the restore?",
                "The target disk would be left incomplete and would not start. The repository "
                "is not touched; you can restore again.",
                no="Go on with the restore",
                yes="Stop the restore",
            )
        )
        if stop:
            self._cancelled.set()
            self.assurance.update("Stopping ... the running step is being brought to a safe end.")


def render_overall(progress: Progress, now: float, width: int) -> str:
    """The whole job as bar, percentage and remaining time."""
    remaining = progress.remaining(now)
    left = "" if remaining is None else f"about {duration_words(remaining)} left, "
    spent = f"{duration_words(now - progress.began)} so far"
    bar = render_bar(progress.fraction, max(10, width - 8))
    return f"{bar}  {int(progress.fraction * 100):>3} %\n{left}{spent}"


def render_steps(plan: Plan, progress: Progress, width: int) -> tuple[list[str], int]:
    """All steps with their state, and the line of the running one."""
    lines: list[str] = []
    current = 0
    for number, step in enumerate(plan.steps, 1):
        if number in progress.finished:
            state, detail = "done", progress.finished[number]
        elif number == progress.current:
            state, detail = NOW, _movement(progress)
            current = len(lines)
        else:
            state, detail = "", ""
        lines += hanging(describe(step), width, indent=18, first=f"{state:<6} {number:>2}  ")
        if detail:
            lines += hanging(detail, width, indent=18)
    return lines, current


def _movement(progress: Progress) -> str:
    if not progress.total:
        part = progress.part
        return f"{part.number} of {part.count}: {part.title}" if part else "working ..."
    moved = f"{format_size(progress.moved)} of {format_size(progress.total)}"
    return f"{moved}, {rate_words(progress.rate)}" if progress.rate else moved
