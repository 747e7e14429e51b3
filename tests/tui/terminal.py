"""A program on a pseudo terminal, and the screen that a person would see there."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyte

COLUMNS, LINES = 80, 24

QUIET = 0.15
"""Seconds without output after which the screen is at rest; longer than the 0.1 s that a lone
Escape needs to be told from the start of a sequence."""


@dataclass
class Terminal:
    """Reads what the program draws; types keys as bytes."""

    process: int
    descriptor: int
    screen: pyte.Screen
    stream: pyte.ByteStream

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def type(self, keys: bytes) -> None:
        """Send bytes as a keyboard would."""
        os.write(self.descriptor, keys)

    def see(self, *words: str, patience: float = 30) -> str:
        """Draw until all `words` are on a screen at rest; `patience` in seconds."""
        deadline = time.monotonic() + patience
        while self._draw() or (missing := [word for word in words if word not in self.text]):
            assert time.monotonic() < deadline, f"{words} not on the screen:\n{self.text}"
        assert not missing
        return self.text

    def _draw(self) -> bool:
        """Draw what has come; whether anything did within `QUIET`."""
        ready, _, _ = select.select([self.descriptor], [], [], QUIET)
        if not ready:
            return False
        try:
            self.stream.feed(os.read(self.descriptor, 65536))
        except OSError as error:  # how Linux tells that the other end is gone
            raise AssertionError(f"the program ended:\n{self.text}") from error
        return True


@contextmanager
def terminal(argv: Sequence[str], environment: Mapping[str, str]) -> Iterator[Terminal]:
    """Start a program on a terminal of 80x24; it is ended with the block."""
    process, descriptor = pty.fork()
    if process == 0:
        try:
            os.execve(argv[0], list(argv), {**os.environ, **environment})
        finally:
            os._exit(127)
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    screen = pyte.Screen(COLUMNS, LINES)
    try:
        yield Terminal(process, descriptor, screen, pyte.ByteStream(screen))
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(descriptor)
