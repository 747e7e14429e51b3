"""What must not pass for success: planted keys, forgotten chunks, short maps and targets."""

from __future__ import annotations

import os
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from blake3 import blake3

from recovery.errors import DamagedData, DeviceFailed, OutOfSpace, WrongPassphrase
from recovery.format.keyslot import OPEN, Hardness, KeySlot, encode_slot
from recovery.model.extent import Extent
from recovery.repository.chunk_reader import ChunkReader
from recovery.repository.chunk_writer import ChunkWriter
from recovery.repository.directory_store import DirectoryStore
from recovery.repository.index import ChunkIndex
from recovery.repository.repository import (
    Repository,
    init_repository,
    needs_secret,
    open_repository,
)
from recovery.restore.write import Progress, Target, verify_volume, write_volume
from tests.engine import SOFT, capture_bytes, ignore, new_repository


class FullStore(DirectoryStore):
    """Has no room for packs while `full`."""

    full = True

    def put(self, name: str, data: bytes) -> None:
        if self.full and name.startswith("packs/"):
            raise OutOfSpace("full")
        super().put(name, data)


def plant_open_slot(store: DirectoryStore) -> bytes:
    master = secrets.token_bytes(32)
    data = encode_slot(KeySlot(OPEN, secrets.token_bytes(16), Hardness(), master))
    store.put(f"keys/{blake3(data).hexdigest()}", data)
    return master


def test_a_planted_open_slot_is_not_used(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    repository, code = init_repository(store, "secret", SOFT)
    planted = plant_open_slot(store)
    assert needs_secret(store)
    for secret in ("secret", code):
        assert open_repository(store, secret).keys == repository.keys
    with pytest.raises(WrongPassphrase):
        open_repository(store, None)
    for path in (tmp_path / "keys").iterdir():
        if planted.hex() not in path.read_text():
            path.unlink()
    with pytest.raises(WrongPassphrase):
        open_repository(store, "secret")


def test_chunks_that_a_full_store_refused_are_sent_again(tmp_path: Path) -> None:
    store = FullStore(tmp_path)
    repository = new_repository(store)
    data = os.urandom(100_000)

    def write() -> object:
        with ThreadPoolExecutor(1) as executor, ChunkWriter(repository, executor) as writer:
            return writer.add_document(data)

    with pytest.raises(OutOfSpace):
        write()
    store.full = False
    stream = write()
    assert ChunkReader(repository).read_document(stream) == data  # type: ignore[arg-type]


def test_an_index_that_could_not_be_read_is_not_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = captured(tmp_path, b"x" * 8192)
    again = open_repository(repository.store, None)
    (volume,) = again.read_snapshot(again.snapshot_ids()[0]).volumes
    with monkeypatch.context() as patch:
        patch.setattr(ChunkIndex, "load", pulled)
        with pytest.raises(DeviceFailed):
            ChunkReader(again).locate(volume.map[0].chunks)
    assert again.index.contains(volume.map[0].chunks).all()


def pulled(_: ChunkIndex) -> None:
    raise DeviceFailed("pulled")


def captured(tmp_path: Path, content: bytes) -> Repository:
    repository = new_repository(DirectoryStore(tmp_path / "repository"))
    capture_bytes(repository, content, tmp_path)
    return repository


def target(path: Path) -> Target:
    return Target(os.open(path, os.O_RDWR | os.O_CREAT), "target", 0)


def test_a_map_that_lacks_pages_is_damage(tmp_path: Path) -> None:
    repository = captured(tmp_path, b"x" * 8192)
    (volume,) = repository.read_snapshot(repository.snapshot_ids()[0]).volumes
    short = replace(volume, map=())
    progress = Progress(ignore, threading.Event())
    place = target(tmp_path / "target")
    with pytest.raises(DamagedData):
        write_volume(ChunkReader(repository), short, place, progress)
    with pytest.raises(DamagedData):
        verify_volume(ChunkReader(repository), short, place, progress)


def test_a_target_that_ends_early_is_not_as_captured(tmp_path: Path) -> None:
    repository = captured(tmp_path, b"x" * 4096 + bytes(8192))
    (volume,) = repository.read_snapshot(repository.snapshot_ids()[0]).volumes
    (tmp_path / "target").write_bytes(b"x" * 4096)
    progress = Progress(ignore, threading.Event())
    wrong = verify_volume(ChunkReader(repository), volume, target(tmp_path / "target"), progress)
    assert wrong == (Extent(0, 12288),)


def test_a_cut_off_pack_is_stored_again(tmp_path: Path) -> None:
    content = os.urandom(400_000 // 4096 * 4096)
    repository = captured(tmp_path, content)
    for path in (tmp_path / "repository").glob("packs/??/*"):
        path.write_bytes(path.read_bytes()[:1000])
    again = open_repository(repository.store, None)
    id = "20260103T030405Z-00000002"
    snapshot = capture_bytes(again, content, tmp_path, id=id).snapshot
    fresh = open_repository(repository.store, None)
    place = target(tmp_path / "target")
    progress = Progress(ignore, threading.Event())
    write_volume(ChunkReader(fresh), snapshot.volumes[0], place, progress)
    assert (tmp_path / "target").read_bytes() == content
