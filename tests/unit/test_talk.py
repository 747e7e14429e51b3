"""Secrets from files and descriptors, and what progress looks like."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from recovery.cli import talk
from recovery.cli.talk import Access, ProgressLine, duration, interruptible, new_passphrase
from recovery.errors import UsageError
from recovery.model.event import BytesMoved, StepDone, StepStarted, Warned
from recovery.model.size import GiB


@pytest.mark.parametrize(
    ("content", "secret"),
    [(b"word", "word"), (b"word\nmore\n", "word"), (b"word\r\n", "word"), (b" a b \n", " a b ")],
)
def test_the_first_line_is_the_passphrase(tmp_path: Path, content: bytes, secret: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    assert Access("x", str(file), None).secret() == secret
    descriptor = os.open(file, os.O_RDONLY)
    assert Access("x", "", descriptor).secret() == secret


def test_a_variable_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(talk.PASSPHRASE_VARIABLE, raising=False)
    assert Access("x", "", None).secret() is None
    file = tmp_path / "secret"
    file.write_text("word")
    monkeypatch.setenv(talk.PASSPHRASE_VARIABLE, str(file))
    assert Access("x", "", None).secret() == "word"


def test_a_new_passphrase_is_typed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(talk.PASSPHRASE_VARIABLE, raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    typed = iter(("one", "one", "one", "two", "", ""))
    monkeypatch.setattr("getpass.getpass", lambda _: next(typed))
    assert new_passphrase(Access("x", "", None)) == "one"
    with pytest.raises(UsageError, match="differ"):
        new_passphrase(Access("x", "", None))
    with pytest.raises(UsageError, match="empty"):
        new_passphrase(Access("x", "", None))


def test_progress_in_a_file_is_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    line = ProgressLine(is_terminal=False)
    line(StepStarted(1, 2, "read root", 10 * GiB))
    now = 1.0
    line(BytesMoved(GiB))
    now = 20.0
    line(BytesMoved(5 * GiB))
    line(Warned("slow"))
    line(StepDone(1, "all read"))
    captured = capsys.readouterr()
    assert captured.out == "", "stdout is for data"
    assert captured.err.splitlines() == [
        "[1/2] read root",
        "       50 %, 5.37 GB at 268 MB/s, 20 s left",
        "warning: slow",
        "       all read",
    ]


def test_progress_on_a_terminal_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    line = ProgressLine(is_terminal=True)
    line(StepStarted(1, 1, "read"))
    for second in range(1, 4):
        now = float(second)
        line(BytesMoved(0))
    line(StepDone(1))
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and text.count("\r") == 5


def test_ctrl_c_asks_once_and_insists_the_second_time() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as cancelled:
        signal.raise_signal(signal.SIGINT)
        assert cancelled.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599.6, "1 h 00 min"),
        (90061, "25 h 01 min"),
    ],
)
def test_a_time_span(seconds: float, text: str) -> None:
    assert duration(seconds) == text
