"""One piece of engine work, waited for on a screen of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar, cast

from textual import getters
from textual.containers import Container
from textual.widget import Widget
from textual.widgets import Static
from textual.worker import Worker, WorkerState

from tui.screens.page import Page
from tui.words import duration_words

T = TypeVar("T")

SLOW = 3
"""Seconds after which it is worth saying how long it has taken."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What the work returned."""

    value: T


class WaitScreen(Page[Answer[T] | BaseException], Generic[T]):
    """Runs `work` on a thread; returns its answer or what it raised, `None` if given up."""

    HELP_TEXT: ClassVar[str] = (
        "The program is reading from disks or from the network. Nothing is written.\n"
        "Esc stops waiting and goes back."
    )

    def __init__(self, heading: str, sentence: str, work: Callable[[], T], *, can_leave: bool):
        super().__init__()
        self._heading = heading
        self._sentence = sentence
        self._work = work
        self._can_leave = can_leave
        self._began = time.monotonic()

    text = getters.query_one("#sentence", Static)

    def compose_body(self) -> Iterator[Widget]:
        """One sentence in the middle."""
        yield Container(Static(self._sentence, id="sentence", markup=False), id="waiting")

    @property
    def heading(self) -> str:
        """The title of the screen that is being waited for."""
        return self._heading

    def on_mount(self) -> None:
        """Begin the work."""
        self._began = time.monotonic()
        self.run_worker(self._work, thread=True, exit_on_error=False)
        self.set_interval(1, self._tell_time)

    def _tell_time(self) -> None:
        seconds = time.monotonic() - self._began
        if seconds >= SLOW:
            self.text.update(f"{self._sentence}\n{duration_words(seconds)}")

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Return what came of it."""
        if event.state is WorkerState.SUCCESS:
            self.dismiss(Answer(cast(T, event.worker.result)))
        elif event.state is WorkerState.ERROR:
            self.dismiss(event.worker.error)

    def action_back(self) -> None:
        """Stop waiting; the thread ends on its own and nobody listens to it."""
        if self._can_leave:
            self.dismiss(None)
