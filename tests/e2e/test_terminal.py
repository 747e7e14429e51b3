"""The terminal at a serial line, without a machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.terminal import ScreenTimeout, Terminal, strip_controls


@pytest.fixture
def line(tmp_path: Path) -> Iterator[tuple[Terminal, socket.socket]]:
    near, far = socket.socketpair()
    far.settimeout(10)
    terminal = Terminal(near, 40, 5, tmp_path / "log")
    yield terminal, far
    far.close()
    terminal.close()


def test_text_is_where_the_cursor_was_put(line: tuple[Terminal, socket.socket]) -> None:
    terminal, far = line
    far.sendall(b"\x1b[2J\x1b[3;5HPl\xc3\xa4ne \x1b[1mtarget\x1b[0m")
    terminal.wait_for("Pläne target", timeout=10)
    assert terminal.text().splitlines()[2] == "    Pläne target"


def test_query_is_answered_even_if_it_comes_in_pieces(
    line: tuple[Terminal, socket.socket],
) -> None:
    terminal, far = line
    far.sendall(b"ab\x1b[")
    terminal.wait_for("ab", timeout=10)
    far.sendall(b"6n")
    assert far.recv(100) == b"\x1b[1;3R"


@pytest.mark.parametrize(
    "unknown",
    [b"\x1b[<u", b"\x1b[>4;1m", b"\x1b[?2026$p", b"\x1b[!p", b"\x1b[38:5:185m", b"\x1b[1;2;3H"],
)
def test_sequences_beyond_pyte_leave_no_trace(
    line: tuple[Terminal, socket.socket], unknown: bytes
) -> None:
    terminal, far = line
    far.sendall(b"before ")
    terminal.wait_for("before", timeout=10)
    far.sendall(unknown)
    far.sendall(b"\x1b[5n")
    assert far.recv(100) == b"\x1b[0n"
    far.sendall(b"after")
    terminal.wait_for("before after", timeout=10)


def test_waiting_ends_with_what_the_screen_shows(line: tuple[Terminal, socket.socket]) -> None:
    terminal, far = line
    far.sendall(b"something else")
    terminal.wait_for("else", timeout=10)
    with pytest.raises(ScreenTimeout, match=r"within 0 s.*\nsomething else"):
        terminal.wait_for("login:", timeout=0)
    far.close()
    with pytest.raises(ScreenTimeout, match="before the line was closed"):
        terminal.wait_for("login:", timeout=60)


def test_settled_text_is_the_whole_screen(line: tuple[Terminal, socket.socket]) -> None:
    terminal, far = line
    later = threading.Timer(0.2, far.sendall, (b"the rest",))
    far.sendall(b"the first part, ")
    terminal.wait_for("first", timeout=10)
    later.start()
    assert terminal.settled_text().splitlines()[0] == "the first part, the rest"


def test_controls_are_stripped() -> None:
    assert strip_controls("\x1b[1;32mdone\x1b[0m\x1b]0;title\x07 ok\r\n") == "done ok\n"
