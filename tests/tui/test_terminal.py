"""The program on a real (pseudo) terminal: the bytes of a vt220; only the verbs are simulated."""

from __future__ import annotations

import re
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.tui.simulation import SSD
from tests.tui.terminal import COLUMNS, Terminal, terminal

ROOT = Path(__file__).parents[2]
UP, DOWN, ENTER, ESCAPE = b"\x1b[A", b"\x1b[B", b"\r", b"\x1b"
PRINTABLE_ON_OUR_FONT = re.compile(r"[\x20-\x7e─━│┃┌┐└┘┏┓┗┛═║╔╗╚╝░█▁▂▃▄▅▆▇\n]*")


def simulation(*arguments: str, **environment: str) -> AbstractContextManager[Terminal]:
    """The simulated program on a terminal."""
    return terminal(
        (sys.executable, "-m", "tests.tui.run_simulation", *arguments),
        {
            "TERM": "vt220",
            "TEXTUAL_COLOR_SYSTEM": "256",
            "PYTHONPATH": str(ROOT),
            **environment,
        },
    )


def press(console: Terminal, keys: bytes, *expected: str) -> None:
    """Type and wait for what comes of it; every screen uses only glyphs that our font has."""
    console.type(keys)
    text = console.see(*expected)
    assert PRINTABLE_ON_OUR_FONT.fullmatch(text), text
    assert all(len(line) <= COLUMNS for line in text.splitlines())


@pytest.mark.programs
@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}, {"TERM": "linux"}])
def test_a_restore_by_keys_alone(environment: dict[str, str]) -> None:
    with simulation("plain", "0.1", **environment) as console:
        console.see("Welcome", "> Restore this machine", "Nothing has been changed yet.")
        press(console, b"?", "Help: Welcome")
        press(console, ESCAPE, "> Restore this machine")
        press(console, ENTER, "Choose the repository", "> WD My Passport")
        press(console, ENTER, "Choose the snapshot", "> ws-042")
        press(console, DOWN, "> ws-042", "20261113T021500Z-19c2")
        press(console, ENTER, "Choose the target disk", "> Samsung SSD 980")
        press(console, ENTER, "Confirm the plan", "THIS DISK WILL BE ERASED", SSD.id.token)
        press(console, b"wrong" + ENTER, '"wrong" is not the serial', "Nothing has been changed")
        press(console, b"\x7f" * 5, "Nothing has been changed yet.")
        press(console, SSD.id.token.encode() + ENTER, "Restore complete", "> Reboot")
        press(console, b"r", "Restarting the machine ...")


@pytest.mark.programs
def test_the_first_screen_comes_soon() -> None:
    began = time.monotonic()
    with simulation() as console:
        console.see("Welcome")
        # On an idle machine 0.6 s; the rest is for a busy one.
        assert time.monotonic() - began < 5


@pytest.mark.programs
@pytest.mark.parametrize("f1", [b"\x1bOP", b"\x1b[11~", b"\x1b[[A"])
def test_function_keys_of_several_terminals(f1: bytes) -> None:
    with simulation() as console:
        console.see("> Restore this machine")
        press(console, f1, "Help: Welcome")
