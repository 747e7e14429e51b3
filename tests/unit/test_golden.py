"""Repositories of earlier days stay readable, and by who knows docs/repository-format.md alone."""

from __future__ import annotations

import ast
import hashlib
import json
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recovery.capture.perform import perform_capture
from recovery.capture.plan import UsedBlocks, plan_capture
from recovery.errors import DamagedData, WrongPassphrase
from recovery.format.description import Description, decode_description
from recovery.format.index import decode_index
from recovery.format.keyslot import PASSPHRASE, RECOVERY_CODE, Hardness, decode_slot
from recovery.format.seal import Kind, open_document
from recovery.model.event import Event, Outcome
from recovery.model.extent import Extent, ExtentMap
from recovery.model.layout import Layout, RawArea
from recovery.model.machine import DiskId
from recovery.model.size import KiB, MiB
from recovery.model.snapshot import Snapshot
from recovery.repository.check import check_repository
from recovery.repository.directory_store import DirectoryStore
from recovery.repository.index import read_pack_table
from recovery.repository.repository import Repository, init_repository, open_repository
from recovery.restore.fit import TargetDisk, fit
from recovery.restore.perform import perform_restore
from recovery.restore.plan import plan_restore
from recovery.system.command import SystemRunner
from tests import independent_reader
from tests.builders import (
    make_disk_id,
    make_disk_node,
    make_mbr_partition,
    make_partition,
    make_snapshot,
    make_table,
)

FOLDER = Path(__file__).parent.parent / "repositories"
READER = Path(independent_reader.__file__)
WAYS: tuple[list[str], ...] = ([], ["--without-index"])


def ignore(_: Event) -> None:
    pass


def no_adapting(*_: Any) -> Outcome:
    raise AssertionError("an image file is not adapted")


def cases() -> Iterator[Any]:
    for folder in sorted(FOLDER.glob("golden-*")):
        known = json.loads((folder / "golden.json").read_text())
        for snapshot, digests in known["snapshots"].items():
            yield pytest.param(folder, known, snapshot, digests, id=f"{folder.name}-{snapshot}")


CASES = tuple(cases())
golden = pytest.mark.parametrize(("folder", "known", "snapshot", "digests"), CASES)


def restore(repository: Repository, snapshot: Snapshot, folder: Path) -> Path:
    """The snapshot's disk as an image file, by the product."""
    path = folder / "ours.img"
    disk = snapshot.layout.disks[0]
    target = DiskId("image file", str(path), disk.disk.size)
    place = TargetDisk(target, target.size, disk.logical_sector, disk.physical_sector)
    fitted = fit(snapshot, disk.id, place, "none")
    plan = plan_restore(snapshot, disk.id, fitted, target, image_file=True)
    perform_restore(
        repository,
        snapshot,
        plan,
        str(path),
        SystemRunner(),
        no_adapting,
        folder / "session",
        ignore,
        threading.Event(),
    )
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest_of_part(path: Path, start: int, size: int) -> str:
    return hashlib.sha256(path.read_bytes()[start : start + size]).hexdigest()


def test_there_is_a_golden_repository() -> None:
    assert CASES


@golden
def test_today_restores_the_recorded_disk(
    folder: Path, known: Any, snapshot: str, digests: Any, tmp_path: Path
) -> None:
    repository = open_repository(DirectoryStore(folder / "repository"), known["passphrase"])
    read = repository.read_snapshot(snapshot)
    path = restore(repository, read, tmp_path)
    parts = [digest_of_part(path, volume.start, volume.size) for volume in read.volumes]
    assert parts == digests["partitions"]
    assert digest(path) == digests["image"]


@golden
@pytest.mark.parametrize("way", WAYS, ids=["by index", "by trailers"])
@pytest.mark.parametrize("secret", ["passphrase", "recovery_code"])
def test_the_document_is_enough(
    folder: Path, known: Any, snapshot: str, digests: Any, way: Any, secret: str, tmp_path: Path
) -> None:
    path = tmp_path / "theirs.img"
    where = str(folder / "repository")
    independent_reader.main([where, known[secret], str(path), "--snapshot", snapshot, *way])
    assert digest(path) == digests["image"]


@pytest.mark.parametrize("folder", sorted(FOLDER.glob("golden-*")), ids=lambda path: path.name)
def test_every_object_decodes(folder: Path) -> None:
    known = json.loads((folder / "golden.json").read_text())
    store = DirectoryStore(folder / "repository")
    for name in ("repo.json", "repo.copy.json"):
        assert isinstance(decode_description(store.get(name)), Description)
    slots = [decode_slot(store.get(name)) for name, _ in store.list("keys")]
    assert {slot.kind for slot in slots} == {PASSPHRASE, RECOVERY_CODE}
    opened = open_repository(store, known["passphrase"])
    by_code = open_repository(store, known["recovery_code"].lower().replace("-", " "))
    assert opened.keys == by_code.keys
    master = opened.keys.master
    listed = {
        chunk.id
        for name, size in store.list("packs")
        for frame in read_pack_table(store, master, opened.id, name, size)
        for chunk in frame.chunks
    }
    segments = [
        decode_index(open_document(master, opened.id, Kind.INDEX, store.get(name)))
        for name, _ in store.list("index")
    ]
    assert sum(len(segment) for segment in segments) == len(listed) > 0
    assert opened.snapshot_ids() == tuple(known["snapshots"])
    checked = check_repository(opened, ignore, threading.Event(), read_data=True)
    assert (checked.damage, checked.affected) == ((), ())
    with pytest.raises(WrongPassphrase):
        open_repository(store, "wrong")


def gpt_layout() -> Layout:
    disk = make_disk_node(disk=make_disk_id(size=24 * MiB))
    first = make_partition(1, start=MiB, size=20 * MiB, name="größe", attributes=1 << 63 | 5)
    # No whole number of 4 KiB blocks.
    fourth = make_partition(4, start=22 * MiB, size=MiB - 512)
    return Layout((disk, make_table(boot_code=bytes(range(200))), first, fourth))


def mbr_layout() -> Layout:
    disk = make_disk_node(disk=make_disk_id(size=24 * MiB))
    table = make_table(scheme="dos", identifier="1a2b3c4d", boot_code=b"\xeb\x63" * 220)
    first = make_mbr_partition(2, start=MiB, size=20 * MiB, attributes=1)
    second = make_mbr_partition(4, start=22 * MiB, size=MiB - 512)
    return Layout((disk, table, first, second))


def bare_layout() -> Layout:
    return Layout((make_disk_node(disk=make_disk_id(size=5 * MiB + 512)),))


def content(size: int, generator: random.Random) -> bytes:
    """Zeros, repeats, what compresses and what does not (so that frames are stored plain)."""
    noise = generator.randbytes(3 * MiB)
    lines = b"".join(b"%d lines of text\n" % number for number in range(80000))
    data = b"".join((lines, bytes(MiB + 5 * KiB), noise, bytes(100 * KiB), lines, noise))
    return (data * (size // len(data) + 1))[:size]


def captured(
    layout: Layout, store: Path, folder: Path, passphrase: str | None
) -> tuple[Repository, Snapshot, str]:
    """A new repository with one snapshot of a new disk; also its recovery code."""
    source = folder / "source.img"
    source.write_bytes(content(layout.disks[0].disk.size, random.Random(7)))
    some = ExtentMap.of((Extent(0, 3 * MiB + 4096), Extent(4 * MiB - 4096, 8 * MiB)))
    ids = [part.id for part in layout.partitions("disk0")] or ["disk0"]
    used = {id: UsedBlocks(some if number == 0 else None) for number, id in enumerate(ids)}
    plan = plan_capture(layout, used, all_blocks=False)
    repository, code = init_repository(DirectoryStore(store), passphrase, Hardness(64, 1, 2))
    draft = make_snapshot(layout=plan.layout, volumes=())
    paths = {"disk0": str(source)}
    done = perform_capture(repository, plan, paths, draft, ignore, threading.Event())
    return repository, done.snapshot, code


@pytest.mark.parametrize("layout", [gpt_layout(), mbr_layout(), bare_layout()])
@pytest.mark.parametrize("way", WAYS, ids=["by index", "by trailers"])
@pytest.mark.parametrize("passphrase", ["päss", None])
def test_both_restore_the_same(
    layout: Layout, way: list[str], passphrase: str | None, tmp_path: Path
) -> None:
    store = tmp_path / "repository"
    repository, snapshot, code = captured(layout, store, tmp_path, passphrase)
    ours = restore(repository, snapshot, tmp_path)
    for number, secret in enumerate((passphrase or "", code)):
        theirs = tmp_path / f"theirs{number}.img"
        independent_reader.main([str(store), secret, str(theirs), *way])
        assert theirs.read_bytes() == ours.read_bytes()


def test_raw_areas_are_read_too(tmp_path: Path) -> None:
    layout = mbr_layout()
    store = tmp_path / "repository"
    _, snapshot, _ = captured(layout, store, tmp_path, None)
    assert any(isinstance(node, RawArea) for node in snapshot.layout.nodes)
    independent_reader.main([str(store), "", str(tmp_path / "theirs.img")])
    source = (tmp_path / "source.img").read_bytes()
    restored = (tmp_path / "theirs.img").read_bytes()
    assert restored[512:MiB] == source[512:MiB]


def test_the_reader_refuses_a_changed_pack(tmp_path: Path) -> None:
    store = tmp_path / "repository"
    captured(bare_layout(), store, tmp_path, None)
    (pack,) = (path for path in store.glob("packs/??/*"))
    data = bytearray(pack.read_bytes())
    data[5000] ^= 1
    pack.write_bytes(data)
    with pytest.raises(independent_reader.Damaged):
        independent_reader.main([str(store), "", str(tmp_path / "theirs.img")])


def test_the_reader_asks_for_every_page(tmp_path: Path) -> None:
    store = tmp_path / "repository"
    repository, snapshot, _ = captured(bare_layout(), store, tmp_path, None)
    short = replace(snapshot, id="20990101T000000Z-00000000", volumes=without_maps(snapshot))
    repository.write_snapshot(short)
    with pytest.raises(independent_reader.Damaged, match="number of pages"):
        independent_reader.main([str(store), "", str(tmp_path / "theirs.img")])


def without_maps(snapshot: Snapshot) -> Any:
    return tuple(replace(volume, map=()) for volume in snapshot.volumes)


def test_one_damaged_description_is_no_loss(tmp_path: Path) -> None:
    """A changed id must not look like a wrong passphrase."""
    store = tmp_path / "repository"
    shutil.copytree(FOLDER / "golden-1" / "repository", store)
    text = (store / "repo.json").read_text()
    id = json.loads(text)["id"]
    changed = ("0" if id[0] != "0" else "1") + id[1:]
    (store / "repo.json").write_text(text.replace(id, changed))
    assert open_repository(DirectoryStore(store), "golden").id.hex() == id
    with pytest.raises(DamagedData):
        decode_description((store / "repo.json").read_bytes())


def test_the_reader_knows_nothing_of_the_product() -> None:
    tree = ast.parse(READER.read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    others = {name for name in imported if name not in sys.stdlib_module_names}
    assert others == {"blake3", "cryptography", "zstandard"}


@pytest.mark.programs
def test_the_reader_runs_as_a_script(tmp_path: Path) -> None:
    known = json.loads((FOLDER / "golden-1" / "golden.json").read_text())
    path = tmp_path / "out.img"
    where = str(FOLDER / "golden-1" / "repository")
    command = [sys.executable, "-I", str(READER), where, "-", str(path)]
    subprocess.run(command, check=True, input=b"golden\n", cwd=tmp_path)
    *_, newest = known["snapshots"].values()
    assert digest(path) == newest["image"]
    listing = subprocess.run(
        [*command[:-1], "--list"], check=True, input=b"golden", capture_output=True
    )
    assert [line.split()[0] for line in listing.stdout.decode().splitlines()] == [
        *known["snapshots"]
    ]
