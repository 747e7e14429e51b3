"""Whole disks through the command line, judged by the tools of others.

sfdisk, sgdisk, blkid, the filesystems' own checkers, cmp and zstd say whether a restored disk
is its source; none of our own code is asked.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from recovery.application import operations
from recovery.cli.main import run as run_command
from recovery.format.index import Location
from recovery.format.seal import Kind as ObjectKind
from recovery.format.seal import ObjectCipher, decode_header
from recovery.model.size import KiB, MiB
from recovery.repository.directory_store import DirectoryStore
from recovery.repository.repository import open_repository
from recovery.system import probe as system_probe
from recovery.system.command import Runner
from tests.images import (
    KINDS,
    Kind,
    fill_image,
    filled,
    identity,
    make_filesystem,
    place_into,
    read_image,
    run,
    status,
    write_table,
)

pytestmark = [
    pytest.mark.programs,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="loop mounts need root"),
]


@pytest.fixture(scope="module", autouse=True)
def look_at_this_machine_once() -> Iterator[None]:
    sighting: system_probe.Sighting | None = None
    look = system_probe.look

    def look_once(runner: Runner) -> system_probe.Sighting:
        nonlocal sighting
        sighting = sighting or look(runner)
        return sighting

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operations, "look", look_once)
        yield


@dataclass(frozen=True, slots=True)
class Part:
    """A partition at `start` with a filesystem (or noise, where `kind` is empty)."""

    start: int
    kind: str
    size: int


@dataclass(frozen=True, slots=True)
class DiskCase:
    """A disk: its size, the script for sfdisk, what is in its partitions."""

    size: int
    script: str
    parts: tuple[Part, ...] = ()
    boot_code: bytes = b""
    gaps: tuple[int, ...] = ()


def _part(start: int, kind: str) -> Part:
    return Part(start, kind, KINDS[kind].size if kind else MiB)


def _line(part: Part, more: str = "") -> str:
    return f"start={part.start // 512}, size={part.size // 512}{more}\n"


ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
_GPT = (_part(MiB, "fat16"), _part(26 * MiB, "ext4"), _part(51 * MiB, "ntfs"), _part(76 * MiB, ""))
_MBR = (_part(63 * 512, "ext4"), _part(26 * MiB, "ntfs"), _part(52 * MiB, "fat16"))
_ODD = (_part(MiB + 512, "ext4"), _part(26 * MiB + 1536, "xfs"))

CASES = {
    "gpt": DiskCase(
        78 * MiB,
        "label: gpt\nlabel-id: 01234567-89AB-4DEF-8123-456789ABCDEF\n"
        + _line(_GPT[0], f', type={ESP}, name="EFI system", bootable')
        + _line(_GPT[1], ', uuid=11111111-2222-4333-8444-555555555555, name="Größe"')
        + _line(_GPT[2], ', type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, attrs="GUID:63"')
        + _line(_GPT[3]),
        _GPT,
    ),
    "mbr with logicals": DiskCase(
        80 * MiB,
        "label: dos\nlabel-id: 0xdeadbeef\n"
        + _line(_MBR[0], ", type=83, bootable")
        + f"start={25 * MiB // 512}, size={54 * MiB // 512}, type=5\n"
        + _line(_MBR[1], ", type=7")
        + _line(_MBR[2], ", type=c"),
        _MBR,
        os.urandom(440),
    ),
    "unaligned, odd size": DiskCase(
        92 * MiB + 3 * 512,
        "label: gpt\n" + "".join(map(_line, _ODD)),
        _ODD,
        gaps=(40 * 512, 25 * MiB + 1000, 91 * MiB),
    ),
    "gpt without partitions": DiskCase(4 * MiB, "label: gpt\n"),
    "mbr without partitions": DiskCase(4 * MiB, "label: dos\n"),
    "empty": DiskCase(3 * MiB, ""),
    "one sector": DiskCase(512, ""),
    "not a whole sector": DiskCase(MiB + 17, ""),
}


@dataclass(frozen=True, slots=True)
class Made:
    """A source disk, its partitions' images, and the files in them."""

    case: DiskCase
    source: Path
    files: tuple[dict[str, str], ...]


def make_disk(case: DiskCase, folder: Path) -> Made:
    source = folder / "source.img"
    source.write_bytes(random.Random(case.size).randbytes(case.size) if not case.script else b"")
    with source.open("r+b") as file:
        file.truncate(case.size)
        for gap in case.gaps:
            file.seek(gap)
            file.write(b"kept in a gap")
    if case.script:
        write_table(source, case.script)
    files = []
    for number, part in enumerate(case.parts):
        image = folder / f"part{number}.img"
        work = folder / f"work{number}"
        work.mkdir()
        if part.kind:
            with image.open("wb") as file:
                file.truncate(part.size)
            make_filesystem(KINDS[part.kind], image)
            files.append(fill_image(KINDS[part.kind], image, work, number))
        else:
            image.write_bytes(os.urandom(part.size))
            files.append({})
        place_into(source, image, part.start)
        image.unlink()
    if case.boot_code:
        with source.open("r+b") as file:
            file.write(case.boot_code)
            file.seek(512)
            file.write(os.urandom(62 * 512))
    return Made(case, source, tuple(files))


def require_same_gaps(made: Made, target: Path) -> None:
    """Every byte that belongs to no table is as it was, in gaps between partitions, too."""
    source, restored = made.source.read_bytes(), target.read_bytes()
    if made.case.script.startswith("label: gpt"):
        end = made.case.size // 512 * 512 - 33 * 512
        assert source[34 * 512 : end] == restored[34 * 512 : end]
    elif not made.case.script or not made.case.parts:
        assert source == restored
    else:
        free = 25 * MiB
        assert source[512:free] == restored[512:free]
        logical = made.case.parts[1].start
        assert source[logical : logical + 25 * MiB] == restored[logical : logical + 25 * MiB]


def cut_out(disk: Path, part: Part, name: str) -> Path:
    image = disk.with_name(f"{disk.stem}-{name}.img")
    run("dd", f"if={disk}", f"of={image}", "bs=1M", "iflag=skip_bytes,count_bytes",
        f"skip={part.start}", f"count={part.size}", "conv=sparse", "status=none")  # fmt: skip
    return image


def table_of(disk: Path) -> dict[str, object]:
    """What sfdisk reads, less the path; empty where it finds no table.

    The table is made anew: its first usable sector, and how far an extended container
    reaches beyond its logical partitions, are free to differ.
    """
    if status("sfdisk", "--json", disk):
        return {}
    text = run("sfdisk", "--json", disk).replace(str(disk), "disk")
    found: dict[str, object] = json.loads(text)["partitiontable"]
    found.pop("firstlba", None)
    partitions = found.pop("partitions", [])
    assert isinstance(partitions, list)
    found["partitions"] = [part for part in partitions if part["type"] != "5"]
    return found


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("all_blocks", [False, True], ids=["used", "all blocks"])
def test_a_disk_comes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str, all_blocks: bool
) -> None:
    made = make_disk(CASES[case], tmp_path)
    target = tmp_path / "target.img"
    # A target full of an old life, signatures and all.
    target.write_bytes(b"\x5a" * made.case.size)
    if made.case.size > 2 * MiB:
        write_table(target, "label: gpt\nsize=1MiB\n")
    access = ("-r", str(tmp_path / "repository"))
    assert run_command(["init", *access, "--no-passphrase"]) == 0
    before = run("sha256sum", made.source)
    words = ("--all-blocks",) if all_blocks else ()
    assert run_command(["capture", str(made.source), *words, *access]) == 0
    assert run("sha256sum", made.source) == before, "the source was written to"
    erase = ("--to", str(target), "--erase", str(target))
    assert run_command(["restore", "latest", *erase, *access]) == 0, capsys.readouterr().err
    assert run_command(["verify", "latest", "--against", str(target), *access]) == 0
    require_same_disk(made, target, tmp_path)
    if all_blocks:
        require_same_gaps(made, target)


def require_same_disk(made: Made, target: Path, folder: Path) -> None:
    assert target.stat().st_size == made.case.size
    assert table_of(target) == table_of(made.source)
    if made.case.script.startswith("label: gpt"):
        assert "No problems found" in run("sgdisk", "--verify", target)
        assert status("sfdisk", "--verify", target) == 0
    if made.case.boot_code:
        # Between the two pieces is the table, where old CHS addresses may differ.
        for start, end in ((0, 446), (510, 63 * 512)):
            piece = made.source.read_bytes()[start:end]
            assert target.read_bytes()[start:end] == piece, "boot loader"
    if not made.case.parts:
        assert identity(target) == identity(made.source)
    for number, (part, files) in enumerate(zip(made.case.parts, made.files, strict=True)):
        image = cut_out(target, part, f"part{number}")
        source = cut_out(made.source, part, f"part{number}")
        assert identity(image) == identity(source)
        if not part.kind:
            run("cmp", image, source)
            continue
        kind: Kind = KINDS[part.kind]
        run(*filled(kind.check, image))
        assert read_image(kind, image, folder, f"part{number}") == files
        image.unlink()
        source.unlink()


def test_a_larger_new_image_and_an_unchanged_second_capture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_disk(CASES["gpt"], tmp_path)
    access = ("-r", str(tmp_path / "repository"))
    assert run_command(["init", *access, "--no-passphrase"]) == 0
    assert run_command(["capture", str(made.source), *access, "--note", "first"]) == 0
    capsys.readouterr()
    assert run_command(["capture", str(made.source), *access, "--json"]) == 0
    stdout, talk = capsys.readouterr()
    assert json.loads(stdout)["stored"] == 0, "an unchanged disk was stored again"
    assert "0 B were new" in talk
    target = tmp_path / "target.img"
    words = ("--to", str(target), "--size", "120M")
    assert run_command(["restore", "latest", *words, *access]) == 0
    assert target.stat().st_size == 120 * MiB
    assert target.stat().st_blocks * 512 < 90 * MiB, "a new image has holes"
    assert "No problems found" in run("sgdisk", "--verify", target)
    source_table, target_table = table_of(made.source), table_of(target)
    assert source_table.pop("lastlba") != target_table.pop("lastlba")
    assert source_table == target_table
    assert run_command(["snapshots", *access]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == 2 and listed[1].endswith("first")


def test_zstd_opens_what_our_frames_hold(tmp_path: Path) -> None:
    """Below the seal a frame is plain zstd: another program reads it."""
    source = tmp_path / "source.img"
    content = b"".join(f"line {number}\n".encode() for number in range(120_000))
    source.write_bytes(content)
    access = ("-r", str(tmp_path / "repository"))
    assert run_command(["init", *access, "--no-passphrase"]) == 0
    assert run_command(["capture", str(source), *access]) == 0
    repository = open_repository(DirectoryStore(tmp_path / "repository"), None)
    (snapshot,) = [repository.read_snapshot(id) for id in repository.snapshot_ids()]
    (pack,) = [path for path in (tmp_path / "repository/packs").rglob("*") if path.is_file()]
    data = pack.read_bytes()
    header = decode_header(data[:64], ObjectKind.PACK, repository.id)
    cipher = ObjectCipher(repository.keys.master, header)
    wanted = [id for volume in snapshot.volumes for stream in volume.map for id in stream.chunks]
    places = {place for place in repository.index.locate(wanted) if isinstance(place, Location)}
    assert places
    plain = b""
    position = 64
    number = 0
    while data[position : position + 4] == b"FRAM":
        stored = int.from_bytes(data[position + 8 : position + 12], "little")
        head, body = data[position : position + 24], data[position + 24 : position + stored]
        frame = tmp_path / f"frame{number}.zst"
        frame.write_bytes(cipher.open(number, body, head))
        run("zstd", "--decompress", "--quiet", frame, "-o", tmp_path / f"frame{number}")
        plain += (tmp_path / f"frame{number}").read_bytes()
        position += stored
        number += 1
    assert number >= 2
    assert all(block in plain for block in (content[:4096], content[-4096:][:1000]))


def test_the_talk_names_what_is_captured_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_disk(CASES["gpt"], tmp_path)
    access = ("-r", str(tmp_path / "repository"))
    assert run_command(["init", *access, "--no-passphrase"]) == 0
    assert run_command(["capture", str(made.source), *access]) == 0
    talk = capsys.readouterr().err
    assert re.search(r"read .*fat.*: .* of 25\.2 MB\n", talk, re.IGNORECASE)
    assert "all blocks: no filesystem is recognised on it" in talk
    assert run_command(["show", "latest", *access]) == 0
    shown = capsys.readouterr().out
    assert shown.count("partition") >= 4 and "no filesystem is recognised" in shown


@pytest.mark.parametrize("kind", ["ext4", "btrfs", "fat32"])
def test_a_filesystem_without_a_table_leaves_no_old_table(tmp_path: Path, kind: str) -> None:
    """The old life of a larger target must not shine through: its table at either end."""
    source = tmp_path / "source.img"
    with source.open("wb") as file:
        file.truncate(KINDS[kind].size)
    make_filesystem(KINDS[kind], source)
    before = fill_image(KINDS[kind], source, tmp_path)
    target = tmp_path / "target.img"
    with target.open("wb") as file:
        file.truncate(KINDS[kind].size + 20 * MiB + 4 * KiB)
    write_table(target, "label: gpt\nsize=10MiB\n")
    access = ("-r", str(tmp_path / "repository"))
    assert run_command(["init", *access, "--no-passphrase"]) == 0
    assert run_command(["capture", str(source), *access]) == 0
    erase = ("--to", str(target), "--erase", str(target))
    assert run_command(["restore", "latest", *erase, *access]) == 0
    assert table_of(target).get("id") == table_of(source).get("id")
    assert identity(target) == identity(source)
    assert b"EFI PART" not in target.read_bytes()
    assert read_image(KINDS[kind], target, tmp_path, "restored") == before
