"""Memory does not grow with the disk: a process that captures or restores stays below 512 MiB."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from recovery.model.size import GiB, MiB

pytestmark = [pytest.mark.programs]

LIMIT = 512 * MiB

# A child of its own for each, since the maximum of a process never falls; VmHWM, since
# ru_maxrss is inherited from who started it (proc_pid_status(5), getrusage(2)).
CHILD = """
import json, re, sys
from recovery.cli.main import run
code = run(sys.argv[1:])
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
print(json.dumps({"peak": peak}), file=sys.stderr)
sys.exit(code)
"""


def peak_of(repository: Path, *words: str | Path) -> int:
    """Highest resident size, in bytes, of the process that runs the command."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, words)],
        env={**os.environ, "RECOVERY_REPOSITORY": str(repository)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(json.loads(done.stderr.splitlines()[-1])["peak"])


def make_source(path: Path, size: int, full: int) -> None:
    """A disk of `size` bytes without a table, with `full` bytes of noise at both ends and between.

    Some of the noise is single blocks between holes, which make the longest maps.
    """
    noise = random.Random(1)
    part = full // 3
    with path.open("wb") as file:
        file.truncate(size)
        for start in (0, size // 2, size - part):
            file.seek(start)
            for _ in range(part // MiB):
                file.write(noise.randbytes(MiB))
        for number in range(20_000):
            file.seek(size // 4 + number * 8192)
            file.write(number.to_bytes(8, "big") * 512)


@pytest.mark.parametrize(
    ("size", "full"),
    [
        pytest.param(3 * GiB, 384 * MiB, id="3 GiB"),
        pytest.param(64 * GiB, 4 * GiB, id="64 GiB", marks=pytest.mark.slow),
    ],
)
@pytest.mark.timeout(1800)
def test_memory_stays_bounded(tmp_path: Path, size: int, full: int) -> None:
    source, target = tmp_path / "source.img", tmp_path / "target.img"
    repository = tmp_path / "repository"
    make_source(source, size, full)
    peaks = {
        "init": peak_of(repository, "init", "--no-passphrase"),
        "capture": peak_of(repository, "capture", source),
        "capture again": peak_of(repository, "capture", source),
        "restore": peak_of(repository, "restore", "latest", "--to", target),
        "check": peak_of(repository, "check", "--read-data"),
    }
    target.unlink()
    print({verb: f"{peak / MiB:.0f} MiB" for verb, peak in peaks.items()})
    assert max(peaks.values()) < LIMIT, peaks
