"""Make a golden repository: a small known disk, captured twice, with keys that anyone may know.

    python -m tests.repositories.make_golden FOLDER

What is committed was made once by the program of its day and is not made again: later programs
must still read it. A change of the format adds a `golden-2` beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from recovery.application.operations import Operations
from recovery.application.world import make_world
from recovery.format.keyslot import Hardness
from recovery.model.size import KiB, MiB
from recovery.repository.directory_store import DirectoryStore
from recovery.repository.repository import Repository, init_repository
from tests import independent_reader

PASSPHRASE = "golden"
WEAK = Hardness(memory=64, iterations=1, lanes=1)
SIZE = 16 * MiB
TABLE = """label: gpt
label-id: 6D61C0DE-0000-4000-8000-000000000001
unit: sectors
start=2048, size=20480, type=linux, uuid=6D61C0DE-0000-4000-8000-000000000002, name="root"
start=22528, size=4096, type=swap, uuid=6D61C0DE-0000-4000-8000-000000000003, name="swap"
start=26624, size=99, type=linux, uuid=6D61C0DE-0000-4000-8000-000000000004, name="unknown \u00e9"
"""
ROOT = (1 * MiB, 10 * MiB)
SWAP = (11 * MiB, 2 * MiB)
ODD = (13 * MiB, 99 * 512)
"""No filesystem, and no whole number of 4 KiB blocks."""
PARTITIONS = (ROOT, SWAP, ODD)


def make_disk(path: Path, generator: random.Random) -> None:
    """A disk image with a GPT, ext4, swap and a partition of no known content."""
    with path.open("xb") as file:
        file.truncate(SIZE)
    subprocess.run(["sfdisk", "--quiet", path], input=TABLE.encode(), check=True)
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder)
        (files / "text").write_text("".join(f"line {line}\n" for line in range(20000)))
        (files / "random").write_bytes(generator.randbytes(50 * KiB + 7))
        (files / "copy of random").write_bytes((files / "random").read_bytes())
        (files / "zeros").write_bytes(bytes(300 * KiB))
        uuid = "6d61c0de-0000-4000-8000-000000000005"
        ext4 = ("mkfs.ext4", "-q", "-b", "4096", "-U", uuid, "-E", f"hash_seed={uuid}")
        _make(path, ROOT, (*ext4, "-L", "golden", "-d", folder))
    _make(path, SWAP, ("mkswap", "-q", "-L", "golden swap"))
    write_at(path, ODD[0], generator.randbytes(20 * KiB).ljust(40 * KiB, b"\0") + b"end")


def _make(path: Path, place: tuple[int, int], command: tuple[str, ...]) -> None:
    """Run a mkfs on a file of its own and put the result in its place, holes left out."""
    with tempfile.NamedTemporaryFile() as volume:
        volume.truncate(place[1])
        subprocess.run([*command, volume.name], check=True, stderr=subprocess.DEVNULL)
        for start in range(0, place[1], 4096):
            data = os.pread(volume.fileno(), 4096, start)
            if any(data):
                write_at(path, place[0] + start, data)


def write_at(path: Path, start: int, data: bytes) -> None:
    """Overwrite some bytes of the image."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)


def capture(repository: Repository, path: Path, note: str) -> str:
    """Capture the image; returns the snapshot's id."""
    with tempfile.TemporaryDirectory() as session:
        operations = Operations(make_world(Path(session)), WEAK)
        plan, machine, paths = operations.plan_capture(repository, (str(path),), all_blocks=False)
        made = operations.perform_capture(
            repository,
            plan,
            machine,
            paths,
            "golden",
            note,
            lambda _: None,
            threading.Event(),
        )
    return made.snapshot.id


def digests(image: Path) -> dict[str, str | list[str]]:
    """SHA-256 of the whole image and of each partition's bytes."""
    data = image.read_bytes()
    parts = [data[start : start + size] for start, size in PARTITIONS]
    return {
        "image": hashlib.sha256(data).hexdigest(),
        "partitions": [hashlib.sha256(part).hexdigest() for part in parts],
    }


def main(folder: Path) -> None:
    """Make the repository in `folder`, and `golden.json` that says what is in it.

    Partitions are to come back as they were in the source, whose free blocks are zeros. The
    table is made anew on restoring, so the image as a whole is what the independent reader gets.
    """
    generator = random.Random(1)
    repository, code = init_repository(DirectoryStore(folder / "repository"), PASSPHRASE, WEAK)
    snapshots: dict[str, dict[str, str | list[str]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch, "golden.img")
        make_disk(image, generator)
        for note in ("first", "second"):
            id = capture(repository, image, note)
            restored = Path(scratch, f"{note}.img")
            where = str(folder / "repository")
            independent_reader.main([where, PASSPHRASE, str(restored), "--snapshot", id])
            snapshots[id] = digests(restored)
            assert snapshots[id]["partitions"] == digests(image)["partitions"]
            write_at(image, ODD[0] + 8 * KiB, generator.randbytes(5 * KiB))
    known = {"passphrase": PASSPHRASE, "recovery_code": code, "snapshots": snapshots}
    (folder / "golden.json").write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
