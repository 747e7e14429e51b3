"""How the command line talks: data on stdout, talk on stderr, secrets from where argv is not."""

from __future__ import annotations

import getpass
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import assert_never

import typer

from recovery.application.operations import Operations
from recovery.errors import PassphraseNeeded, UsageError
from recovery.model.event import BytesMoved, Event, PartStarted, StepDone, StepStarted, Warned
from recovery.model.size import format_size
from recovery.repository.repository import Repository

REPOSITORY_VARIABLE = "RECOVERY_REPOSITORY"
PASSPHRASE_VARIABLE = "RECOVERY_PASSPHRASE_FILE"
DRAW_INTERVAL = 0.5
"""Seconds between two drawings of the progress line on a terminal."""
TELL_INTERVAL = 15.0
"""The same where stderr is a file."""


def say(text: str) -> None:
    """Talk to the person."""
    typer.echo(text, err=True)


@dataclass(frozen=True, slots=True)
class Access:
    """How to get at a repository, as the options say."""

    url: str
    passphrase_file: str
    passphrase_fd: int | None

    def secret(self) -> str | None:
        """The passphrase from file, descriptor or standard input, `None` if none was named."""
        if self.passphrase_fd is not None:
            return _read_descriptor(self.passphrase_fd)
        name = self.passphrase_file or os.environ.get(PASSPHRASE_VARIABLE, "")
        if not name:
            return None
        if name == "-":
            return _first_line(sys.stdin.buffer.read())
        try:
            return _first_line(Path(name).read_bytes())
        except OSError as error:
            raise UsageError(
                f"could not read the passphrase from {name}: {error.strerror}",
                hint="name a file that holds the passphrase in its first line",
            ) from error

    def open(self, operations: Operations) -> Repository:
        """Open the repository; asks at the terminal where a passphrase is needed and missing."""
        if not self.url:
            raise UsageError(
                "no repository is named", hint=f"give --repository, or set {REPOSITORY_VARIABLE}"
            )
        secret = self.secret()
        try:
            return operations.open_repository(self.url, secret)
        except PassphraseNeeded:
            if not sys.stdin.isatty():
                raise
        return operations.open_repository(self.url, getpass.getpass("Passphrase: "))


def new_passphrase(access: Access) -> str:
    """A passphrase for a new repository, typed twice where it is not given by file."""
    secret = access.secret()
    if secret is None:
        if not sys.stdin.isatty():
            raise UsageError(
                "a new repository needs a passphrase",
                hint="give --passphrase-file FILE, or --no-passphrase to leave it unprotected",
            )
        secret = getpass.getpass("New passphrase: ")
        if getpass.getpass("The same again: ") != secret:
            raise UsageError("the two passphrases differ", hint="nothing was made; try again")
    if not secret:
        raise UsageError("the passphrase is empty", hint="use --no-passphrase if that is meant")
    return secret


def _read_descriptor(number: int) -> str:
    try:
        with os.fdopen(number, "rb") as file:
            return _first_line(file.read())
    except OSError as error:
        raise UsageError(
            f"descriptor {number} cannot be read: {error.strerror}",
            hint="open it for the program, as with 3<FILE in a shell",
        ) from error


def _first_line(data: bytes) -> str:
    return data.decode(errors="surrogateescape").split("\n", 1)[0].removesuffix("\r")


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that is set by Ctrl-C or SIGTERM; a second Ctrl-C ends the program at once."""
    cancelled = threading.Event()

    def stop(_number: int, _: FrameType | None) -> None:
        if cancelled.is_set():
            raise KeyboardInterrupt
        cancelled.set()
        say("\nstopping ... (press again to end at once)")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancelled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class ProgressLine:
    """Draws events on stderr: one changing line on a terminal, else a line now and then."""

    is_terminal: bool = field(default_factory=sys.stderr.isatty)
    _step: StepStarted | None = None
    _started: float = 0.0
    _drawn: float = 0.0

    def __call__(self, event: Event) -> None:
        """Draw one event."""
        match event:
            case StepStarted():
                self._step = event
                self._started = time.monotonic()
                self._drawn = self._started
                if self.is_terminal:
                    self._line(self._head())
                else:
                    say(self._head())
            case BytesMoved():
                self._moved(event.done)
            case PartStarted():
                text = f"{event.number} of {event.count}: {event.title}"
                if self.is_terminal:
                    self._line(f"{self._head()}: {text}")
                else:
                    say(f"       {text}")
            case Warned():
                self._line("")
                say(f"warning: {event.message}")
            case StepDone():
                detail = f": {event.detail}" if event.detail else ""
                if self.is_terminal:
                    self._line("")
                    say(f"{self._head()}{detail}")
                elif detail:
                    say(f"       {event.detail}")
            case _:
                assert_never(event)

    def _head(self) -> str:
        return f"[{self._step.number}/{self._step.count}] {self._step.title}" if self._step else ""

    def _moved(self, done: int) -> None:
        now = time.monotonic()
        interval = DRAW_INTERVAL if self.is_terminal else TELL_INTERVAL
        if now - self._drawn < interval or self._step is None:
            return
        self._drawn = now
        rate = done / max(now - self._started, 0.001)
        text = f"{format_size(done)} at {format_size(int(rate))}/s"
        total = self._step.total
        if total:
            left = duration(max(0, total - done) / max(rate, 1))
            text = f"{100 * done // total} %, {text}, {left} left"
        if self.is_terminal:
            self._line(f"{self._head()}: {text}")
        else:
            say(f"       {text}")

    def _line(self, text: str) -> None:
        if self.is_terminal:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()


def duration(seconds: float) -> str:
    """A time span for people.

    >>> duration(42), duration(150), duration(7500)
    ('42 s', '2 min 30 s', '2 h 05 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
