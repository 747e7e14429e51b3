"""A capture or restore that is stopped for real: Ctrl-C, and kill -9 at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recovery.model.size import MiB
from tests.images import run as run_program

pytestmark = [pytest.mark.programs]

SIZE = 144 * MiB


class Recovery:
    """The command line in a process of its own, on a repository of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "repository"
        self.source = folder / "source.img"

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "recovery.cli.main", *map(str, words)],
            env={**os.environ, "RECOVERY_REPOSITORY": str(self.repository)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str | Path, code: int = 0) -> str:
        process = self.start(*words)
        stdout, talk = process.communicate(timeout=240)
        assert process.returncode == code, talk
        return stdout

    def packs(self) -> list[Path]:
        names = self.repository.glob("packs/*/*")
        return [path for path in names if len(path.name) == 64]

    def pack_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.packs())

    def snapshots(self) -> list[str]:
        return [found["id"] for found in json.loads(self.run("snapshots", "--json"))]


@pytest.fixture
def recovery(tmp_path: Path) -> Recovery:
    """A repository with one small snapshot, and a source of 144 MiB that zstd cannot shrink."""
    recovery = Recovery(tmp_path)
    small = tmp_path / "small.img"
    small.write_bytes(os.urandom(MiB))
    recovery.run("init", "--no-passphrase")
    recovery.run("capture", small)
    with recovery.source.open("wb") as file:
        for _ in range(SIZE // MiB):
            file.write(os.urandom(MiB))
    return recovery


def wait_for(condition: object, process: subprocess.Popen[str]) -> None:
    """Until `condition()` or the end of the process."""
    assert callable(condition)
    end = time.monotonic() + 120
    while not condition() and process.poll() is None:
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)


def require_unharmed(recovery: Recovery) -> None:
    """The first snapshot is the only one, whole, and everything that is there is sound."""
    (first,) = recovery.snapshots()
    recovery.run("check", "--read-data")
    restored = recovery.folder / "restored-small.img"
    restored.unlink(missing_ok=True)
    recovery.run("restore", first, "--to", restored)
    assert restored.read_bytes() == (recovery.folder / "small.img").read_bytes()


def require_goes_on(recovery: Recovery, stored: int) -> None:
    """The next capture sends what is missing and at most one pack again."""
    before = recovery.pack_bytes()
    recovery.run("capture", recovery.source)
    sent = recovery.pack_bytes() - before
    assert sent <= SIZE - stored + 34 * MiB
    target = recovery.folder / "whole.img"
    recovery.run("restore", "latest", "--to", target)
    run_program("cmp", target, recovery.source)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_capture_that_is_stopped(recovery: Recovery, number: signal.Signals) -> None:
    process = recovery.start("capture", recovery.source)
    wait_for(lambda: len(recovery.packs()) >= 2, process)
    process.send_signal(number)
    _, talk = process.communicate(timeout=120)
    assert process.returncode == 130, talk
    assert "no snapshot was made" in talk and "reuses" in talk and "Traceback" not in talk
    stored = recovery.pack_bytes() - MiB
    require_unharmed(recovery)
    require_goes_on(recovery, stored)


@pytest.mark.parametrize("packs", [1, 2, 3])
def test_a_capture_that_is_killed(recovery: Recovery, packs: int) -> None:
    """At its start, and with a pack just stored, or another in the making."""
    process = recovery.start("capture", recovery.source)
    partial = recovery.repository.glob

    def moment() -> bool:
        making = packs == 2 and any(partial("packs/*/.partial-*"))
        return making or len(recovery.packs()) >= packs

    wait_for(moment, process)
    if packs == 1:
        time.sleep(0.4)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the capture was done before it was killed"
    stored = recovery.pack_bytes() - MiB
    require_unharmed(recovery)
    require_goes_on(recovery, stored)


def test_a_restore_that_is_stopped_can_be_completed(recovery: Recovery) -> None:
    recovery.run("capture", recovery.source)
    target = recovery.folder / "target.img"
    process = recovery.start("restore", "latest", "--to", target)
    wait_for(lambda: target.exists() and target.stat().st_blocks > 0, process)
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=120)
    assert process.returncode == 130, talk
    assert "not complete" in talk and "Traceback" not in talk
    recovery.run("verify", "latest", "--against", target, code=40)
    recovery.run("restore", "latest", "--to", target, code=32)
    recovery.run("restore", "latest", "--to", target, "--erase", target)
    run_program("cmp", target, recovery.source)
