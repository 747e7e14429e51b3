"""A damaged pack costs what it holds until the next capture of the same content."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from recovery.errors import DamagedData, NoRepository
from recovery.format.description import Description, encode_description
from recovery.repository.check import Checked, check_repository
from recovery.repository.directory_store import DirectoryStore
from recovery.repository.repository import DESCRIPTION, Repository, open_repository
from tests.engine import capture_bytes, ignore, new_repository, restore_bytes

CONTENT = os.urandom(100 * 4096)


def check(repository: Repository) -> Checked:
    return check_repository(repository, ignore, threading.Event(), read_data=True)


def test_the_next_capture_heals_what_a_check_found(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "repository")
    old = capture_bytes(new_repository(store), CONTENT, tmp_path).snapshot
    (pack,) = (tmp_path / "repository/packs").glob("??/*")
    data = bytearray(pack.read_bytes())
    data[5000] ^= 1
    pack.write_bytes(data)

    with pytest.raises(DamagedData):
        restore_bytes(open_repository(store, None), old, tmp_path)
    checked = check(open_repository(store, None))
    assert checked.affected == (old.id,)

    id = "20260103T030405Z-00000002"
    new = capture_bytes(open_repository(store, None), CONTENT, tmp_path, id=id).snapshot
    healed = open_repository(store, None)
    assert restore_bytes(healed, new, tmp_path) == CONTENT
    assert restore_bytes(healed, old, tmp_path) == CONTENT
    assert check(healed).affected == ()


def test_a_pack_that_reads_well_again_is_trusted_again(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "repository")
    capture_bytes(new_repository(store), CONTENT, tmp_path)
    (pack,) = (tmp_path / "repository/packs").glob("??/*")
    whole = pack.read_bytes()
    pack.write_bytes(whole[:-1] + b"?")
    assert check(open_repository(store, None)).damage
    pack.write_bytes(whole)
    assert not check(open_repository(store, None)).damage
    id = "20260103T030405Z-00000002"
    again = capture_bytes(open_repository(store, None), CONTENT, tmp_path, id=id)
    assert again.new_bytes == 0


def test_an_unknown_write_feature_forbids_writing_only(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "repository")
    repository = new_repository(store)
    snapshot = capture_bytes(repository, CONTENT, tmp_path).snapshot
    description = replace(Description(repository.id), write=("parity",))
    store.put(DESCRIPTION, encode_description(description))
    opened = open_repository(store, None)
    assert restore_bytes(opened, snapshot, tmp_path) == CONTENT
    with pytest.raises(NoRepository, match="parity"):
        capture_bytes(opened, CONTENT, tmp_path, id="20260103T030405Z-00000002")
