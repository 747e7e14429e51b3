"""The terminal at the other end of a serial line: a screen to read and keys to press.

Threads take in what comes and keep the screen up to date, so the guest never waits for a
reader; queries that programs send to a terminal are answered.
"""

from __future__ import annotations

import re
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyte

KEYS = {
    "enter": "\r",
    "escape": "\x1b",
    "tab": "\t",
    "backspace": "\x7f",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
}
# The start of a sequence whose end has not come yet, and sequences that pyte takes for text.
CUT_OFF = re.compile(rb"\x1b(\[[<=>?]?[0-9;:]*[$!]?)?$")
UNKNOWN = re.compile(rb"\x1b\[([<=>][0-9;]*|\?[0-9;]*\$|[0-9;]*:[0-9;:]*|!)[A-Za-z]")


PAINTED_AT_ONCE = 4096
"""Bytes."""


class ScreenTimeout(TimeoutError):
    """The text did not appear in time."""


class _Screen(pyte.Screen):  # type: ignore[misc]
    """pyte's screen, which answers queries and is not upset by private sequences."""

    def __init__(self, columns: int, lines: int, answer: Callable[[bytes], None]) -> None:
        super().__init__(columns, lines)
        self._answer = answer

    def write_process_input(self, data: str) -> None:
        self._answer(data.encode())

    def select_graphic_rendition(self, *attributes: int, private: bool = False) -> None:
        if not private:
            super().select_graphic_rendition(*attributes)

    def report_device_status(self, mode: int, private: bool = False) -> None:
        if not private:
            super().report_device_status(mode)


class Terminal:
    """A screen of `columns` by `lines` on a connected socket; `log` gets all that comes."""

    def __init__(self, line: socket.socket, columns: int, lines: int, log: Path) -> None:
        self._log = log.open("wb", buffering=0)
        self._line = line
        self._screen = _Screen(columns, lines, self._answer)
        self._stream = pyte.ByteStream(self._screen)
        self._received = bytearray()
        self._changed = threading.Condition()
        self._watcher: Callable[[bytes], None] | None = None
        self._is_connected = True
        self._painted = 0
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._read, self._paint)
        ]
        for thread in self._threads:
            thread.start()

    def text(self) -> str:
        """What the screen shows, without blanks at the ends of lines."""
        with self._changed:
            return "\n".join(line.rstrip() for line in self._screen.display)

    def received(self, start: int = 0) -> str:
        """Everything that came over the line, from byte `start` on."""
        with self._changed:
            return bytes(self._received[start:]).decode(errors="replace")

    def received_bytes(self) -> int:
        """How many bytes came over the line so far."""
        with self._changed:
            return len(self._received)

    def send(self, *keys: str) -> None:
        """Press keys: names of `KEYS`, or else text to type."""
        for key in keys:
            self.send_bytes(KEYS.get(key, key).encode())
            time.sleep(0.1)

    def send_bytes(self, data: bytes) -> None:
        """Send as is; a line that is gone swallows it."""
        with suppress(OSError):
            self._line.sendall(data)

    def join(self, watcher: Callable[[bytes], None] | None) -> None:
        """Pass on everything received, from the start, to another terminal; `None` ends it.

        Meanwhile that terminal answers the guest's queries.
        """
        with self._changed:
            self._watcher = watcher
            if watcher is not None:
                watcher(bytes(self._received))

    @property
    def is_connected(self) -> bool:
        """Whether the other side still holds the line."""
        return self._is_connected

    def wait_for(self, *texts: str, timeout: float) -> str:
        """Wait until the screen shows one of `texts` and return that; `timeout` in seconds."""
        return self._wait(texts, self.text, timeout)

    def wait_for_received(self, *texts: str, timeout: float, start: int = 0) -> str:
        """Wait until one of `texts` came over the line after byte `start`, shown or scrolled by."""
        return self._wait(texts, lambda: self.received(start), timeout)

    def settled_text(self, quiet: float = 0.7, timeout: float = 10) -> str:
        """The screen once nothing came for `quiet` seconds, at the latest after `timeout`."""
        deadline = time.monotonic() + timeout
        before = -1
        while before != self.received_bytes() and time.monotonic() < deadline:
            before = self.received_bytes()
            time.sleep(quiet)
        return self.text()

    def log_in(self, user: str, password: str, timeout: float) -> None:
        """Answer the login prompt that is on the screen and wait for a root prompt."""
        self.send(user, "enter")
        self.wait_for_received("Password:", timeout=timeout, start=self.received_bytes())
        start = self.received_bytes()
        self.send(password, "enter")
        self.wait_for_received("# ", timeout=timeout, start=start)

    def run(self, command: str, timeout: float) -> tuple[int, str]:
        """Exit status and output of a command typed at a shell prompt; `timeout` in seconds."""
        mark = secrets.token_hex(6)
        start = self.received_bytes()
        # Written in two parts, the echo of the typed line is not taken for the end.
        ending = f"printf '\\n%s%s %d\\n' {mark[:6]} {mark[6:]} $?"
        self.send_bytes(f" printf '%s%s\\n' {mark[6:]} {mark[:6]}; {command}; {ending}\r".encode())
        end = re.compile(rf"{mark} (\d+)")
        self._wait((), lambda: self.received(start), timeout, end)
        talk = self.received(start).replace("\r", "")
        found = end.search(talk)
        assert found is not None
        output = talk[: found.start()].split(f"{mark[6:]}{mark[:6]}\n", 1)[-1]
        return int(found.group(1)), output.strip("\n")

    def close(self) -> None:
        """Let go of the line; what was received stays readable."""
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._log.close()
        self._line.close()

    def _wait(
        self,
        texts: tuple[str, ...],
        source: Callable[[], str],
        timeout: float,
        pattern: re.Pattern[str] | None = None,
    ) -> str:
        pattern = pattern or re.compile("|".join(re.escape(text) for text in texts))
        deadline = time.monotonic() + timeout
        while True:
            with self._changed:
                found = pattern.search(source())
                left = deadline - time.monotonic()
                if found:
                    return found.group()
                ended = not self._is_connected and self._painted == len(self._received)
                if left <= 0 or ended:
                    break
                self._changed.wait(min(left, 1.0))
        reason = f"within {timeout:.0f} s" if left <= 0 else "before the line was closed"
        wanted = " or ".join(repr(text) for text in texts) or "the end of the command"
        raise ScreenTimeout(f"{wanted} did not appear {reason}; the screen shows:\n{self.text()}")

    def _answer(self, data: bytes) -> None:
        if self._watcher is None:
            self.send_bytes(data)

    def _read(self) -> None:
        """Take bytes off the line at once: a guest that has to wait for long loses some."""
        while True:
            try:
                data = self._line.recv(65536)
            except OSError:
                data = b""
            with self._changed:
                self._received += data
                self._log.write(data)
                self._is_connected = bool(data)
                if self._watcher is not None:
                    self._watcher(data)
                self._changed.notify_all()
            if not data:
                return

    def _paint(self) -> None:
        pending, done = b"", 0
        while True:
            with self._changed:
                while done == len(self._received):
                    if not self._is_connected:
                        return
                    self._changed.wait(1)
                data = bytes(self._received[done : done + PAINTED_AT_ONCE])
                done += len(data)
                pending = self._draw(pending + data)
                self._painted = done
                self._changed.notify_all()

    def _draw(self, data: bytes) -> bytes:
        """Bring bytes to the screen; returns those whose sequence is not complete."""
        cut = CUT_OFF.search(data)
        whole = data[: cut.start()] if cut else data
        for part in re.split(rb"(?=\x1b)", UNKNOWN.sub(b"", whole)):
            # pyte refuses sequences with more numbers than it knows; the rest goes on.
            with suppress(TypeError):
                self._stream.feed(part)
        return data[len(whole) :]


def strip_controls(talk: str) -> str:
    """Console output as readable text, without control sequences."""
    plain = re.sub(
        r"\x1b(\[[0-9;?<=>$]*[A-Za-z]|\][^\x07\x1b]*(\x07|\x1b\\)|[()][A-Z0-9]|.)", "", talk
    )
    return re.sub(r"[^\n\t -~\u00a0-\uffff]", "", plain)
