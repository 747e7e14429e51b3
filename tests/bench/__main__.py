"""Whole-process times of capture and restore against partclone and zstd, in pairs.

    ./dev bench [--folder FOLDER] [--pairs N] [--small]

Ours and the peer take turns on the same disk image, with the page cache dropped before each, so
that a ratio holds where the machine's speed drifts. Restores go to a new file on the same
filesystem; the peer, which wants a device, writes to a loop device over one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from recovery.model.size import GiB
from recovery.system.command import Command, SystemRunner
from tests.bench.disk import DISK_SIZE, USED, make_disk

RECOVERY = str(Path(sys.executable).parent / "recovery")
SMALL = (2 * GiB, 500 * 1000**2)


@dataclass(frozen=True, slots=True)
class Run:
    """One whole process tree: wall and processor seconds, largest resident process in bytes."""

    wall: float
    processor: float
    resident: int


def main() -> None:
    """Measure, print, and write the figures beside the disk."""
    parser = argparse.ArgumentParser(prog="./dev bench")
    parser.add_argument("--folder", type=Path, default=Path("build/bench"))
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="2 GiB disk, to try the script out")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    size, used = SMALL if arguments.small else (DISK_SIZE, USED)
    disk = make_disk(SystemRunner(), folder, size, used)
    bench = Bench(folder, disk)
    figures = {
        "capture": _pairs(arguments.pairs, bench.capture_ours, bench.capture_peer),
        "restore": _pairs(arguments.pairs, bench.restore_ours, bench.restore_peer),
    }
    report = {name: _summary(name, ours, peer) for name, (ours, peer) in figures.items()}
    stored: dict[str, object] = {**bench.stored()}
    report["stored bytes"] = stored
    (folder / "figures.json").write_text(json.dumps(report, indent=1) + "\n")
    bench.clean()


def _pairs(
    count: int, ours: Callable[[], Run], peer: Callable[[], Run]
) -> tuple[list[Run], list[Run]]:
    both = [(ours(), peer()) for _ in range(count)]
    return [run for run, _ in both], [run for _, run in both]


def _summary(name: str, ours: Sequence[Run], peer: Sequence[Run]) -> dict[str, object]:
    ratios = [mine.wall / other.wall for mine, other in zip(ours, peer, strict=True)]
    work = [mine.processor / other.processor for mine, other in zip(ours, peer, strict=True)]
    resident = max(run.resident for run in ours)
    print(
        f"{name}: {statistics.median(run.wall for run in ours):.1f} s against "
        f"{statistics.median(run.wall for run in peer):.1f} s of partclone and zstd; "
        f"ratio median {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} pairs), "
        f"processor time {statistics.median(work):.2f}, "
        f"largest resident size {resident / 2**20:.0f} MiB"
    )
    return {
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "processor ratios": work,
        "ours": [asdict(run) for run in ours],
        "peer": [asdict(run) for run in peer],
    }


class Bench:
    """The four things that are timed."""

    def __init__(self, folder: Path, disk: Path) -> None:
        self._disk = disk
        self._repository = folder / "repository"
        self._image = folder / "peer.zst"
        self._target = folder / "target.img"

    def capture_ours(self) -> Run:
        """Capture into a new repository."""
        shutil.rmtree(self._repository, ignore_errors=True)
        where = ("--repository", str(self._repository))
        subprocess.run(
            (RECOVERY, "init", *where, "--no-passphrase"), check=True, capture_output=True
        )
        return _timed((RECOVERY, "capture", *where, str(self._disk)))

    def capture_peer(self) -> Run:
        """partclone piped into zstd."""
        self._image.unlink(missing_ok=True)
        program = (
            'partclone.ext4 --clone --source "$1" --output - --logfile /dev/null --quiet '
            '2>/dev/null | zstd -3 -T0 -q -o "$2" && sync "$2"'
        )
        return _timed(("sh", "-c", program, "sh", str(self._disk), str(self._image)))

    def restore_ours(self) -> Run:
        """Restore to a new file, the read-back included: it cannot be left out."""
        self._target.unlink(missing_ok=True)
        where = ("--repository", str(self._repository))
        return _timed((RECOVERY, "restore", "latest", *where, "--to", str(self._target)))

    def restore_peer(self) -> Run:
        """zstd piped into partclone, without reading back."""
        self._target.unlink(missing_ok=True)
        with self._target.open("wb") as file:
            file.truncate(self._disk.stat().st_size)
        loop = _output("losetup", "--find", "--show", str(self._target))
        program = (
            'zstd -dcq "$1" | partclone.ext4 --restore --source - --output "$2" '
            '--logfile /dev/null --quiet >/dev/null 2>&1 && sync "$2"'
        )
        try:
            return _timed(("sh", "-c", program, "sh", str(self._image), loop))
        finally:
            _output("losetup", "--detach", loop)

    def stored(self) -> dict[str, int]:
        """Sizes of what both made of the disk."""
        files = [path for path in self._repository.rglob("*") if path.is_file()]
        sizes = {"ours": sum(path.stat().st_size for path in files)}
        sizes["peer"] = self._image.stat().st_size
        print(f"stored: {sizes['ours']} bytes against {sizes['peer']}")
        return sizes

    def clean(self) -> None:
        """Remove all but the measured disk."""
        shutil.rmtree(self._repository)
        self._image.unlink()
        self._target.unlink()


def _timed(argv: Sequence[str]) -> Run:
    os.sync()
    with contextlib.suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("3")
    started = time.monotonic()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    talk = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{argv} ended with {process.returncode}: {talk.decode()}")
    return Run(wall, usage.ru_utime + usage.ru_stime, _resident(usage))


def _resident(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss * 1024


def _output(*argv: str) -> str:
    return SystemRunner().run(Command(argv, purpose=f"measure by {argv[0]}")).text.strip()


if __name__ == "__main__":
    main()
