"""What every store promises; a new kind of store joins by one more line in `STORES`."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recovery.errors import DeviceFailed, OutOfSpace, RecoveryError
from recovery.model.size import MiB
from recovery.repository.directory_store import TEMPORARY, DirectoryStore
from recovery.repository.store import ObjectMissing, Store
from tests.stores import FaultyStore, MemoryStore, Order, StoreBroke

STORES: dict[str, Callable[[Path], Store]] = {
    "directory": lambda folder: DirectoryStore(folder / "store"),
    "memory": lambda folder: MemoryStore(),
    "faulty over directory": lambda folder: FaultyStore(DirectoryStore(folder / "store")),
    "every put twice": lambda folder: FaultyStore(MemoryStore(), Order(0, "twice")),
}


@pytest.fixture(params=STORES, ids=str)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return STORES[request.param](tmp_path)


@pytest.mark.parametrize("size", [0, 1, 4096, 3 * MiB + 17])
def test_what_was_put_is_got(store: Store, size: int) -> None:
    data = os.urandom(size)
    store.put("packs/ab/abc", data)
    assert store.get("packs/ab/abc") == data


def test_a_range_is_cut_at_the_end(store: Store) -> None:
    store.put("a", bytes(range(100)))
    assert store.get_range("a", 10, 20) == bytes(range(10, 30))
    assert store.get_range("a", 90, 20) == bytes(range(90, 100))
    assert store.get_range("a", 0, 0) == b""
    assert store.get_range("a", 100, 5) == b""
    assert store.get_range("a", 500, 5) == b""


def test_what_is_not_there_is_missing(store: Store) -> None:
    store.put("folder/a", b"x")
    for name in ("b", "folder/b", "other/a", "folder", "folder/a/b"):
        with pytest.raises(ObjectMissing, match=name):
            store.get(name)
        with pytest.raises(ObjectMissing, match=name):
            store.get_range(name, 0, 1)


def test_a_put_replaces(store: Store) -> None:
    store.put("a", b"first, and longer")
    store.put("a", b"second")
    assert store.get("a") == b"second"
    assert list(store.list("")) == [("a", 6)]


def test_a_list_has_names_and_sizes_of_a_folder(store: Store) -> None:
    for name, size in (("packs/ab/1", 1), ("packs/cd/2", 2), ("pack", 3), ("packs2/x", 4)):
        store.put(name, bytes(size))
    assert sorted(store.list("packs")) == [("packs/ab/1", 1), ("packs/cd/2", 2)]
    assert sorted(store.list("packs/ab")) == [("packs/ab/1", 1)]
    assert len(list(store.list(""))) == 4
    assert list(store.list("nothing")) == []


def test_an_empty_store_lists_nothing(store: Store) -> None:
    assert list(store.list("")) == []
    assert list(store.list("packs")) == []


def test_what_is_deleted_is_gone_and_may_be_deleted_again(store: Store) -> None:
    store.put("folder/a", b"x")
    store.delete("folder/a")
    store.delete("folder/a")
    store.delete("never/was")
    assert list(store.list("")) == []
    with pytest.raises(ObjectMissing):
        store.get("folder/a")


def test_threads_do_not_disturb_each_other(store: Store) -> None:
    def work(number: int) -> bool:
        data = bytes([number]) * (1000 + number)
        store.put(f"packs/{number % 4}/{number}", data)
        listed = dict(store.list("packs"))
        size = listed[f"packs/{number % 4}/{number}"]
        return store.get(f"packs/{number % 4}/{number}") == data and size == len(data)

    with ThreadPoolExecutor(8) as executor:
        assert all(executor.map(work, range(64)))
    assert len(list(store.list("packs"))) == 64


@pytest.mark.parametrize("share", [0, 1e-9, 0.5])
def test_the_faulty_store_fails_as_ordered_and_stays_dead(share: float) -> None:
    inner = MemoryStore()
    store = FaultyStore(inner, Order(1, "torn", share))
    store.put("a", b"12345678")
    with pytest.raises(StoreBroke):
        store.put("b", b"12345678")
    assert inner.objects == {"a": b"12345678", "b": b"12345678"[: int(8 * share)]}
    with pytest.raises(StoreBroke):
        store.get("a")


# What only a folder can meet


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("failing", ["write", "fsync", "rename"])
def test_a_put_that_fails_leaves_nothing_and_keeps_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    store = DirectoryStore(tmp_path)
    store.put("a", b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    owner = Path if failing == "rename" else os
    with monkeypatch.context() as patch:
        patch.setattr(owner, failing, fail)
        for name in ("a", "folder/b"):
            with pytest.raises(OutOfSpace, match="is full"):
                store.put(name, b"new")
    assert files_below(tmp_path) == ["a"]
    assert store.get("a") == b"old"


def test_a_put_lasts_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is synced before it gets its name, each new folder entry after."""
    done: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(descriptor: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def noted_rename(self: Path, target: Path) -> Path:
        done.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    root = tmp_path / "root"
    root.mkdir()
    DirectoryStore(root).put("packs/ab/name", b"x")
    at = done.index("rename")
    file = [entry for entry in done[:at] if TEMPORARY in entry]
    assert len(file) == 1, done
    assert "sync ab" in done[at:]
    # The entries of the new folders themselves.
    assert "sync packs" in done and "sync root" in done


def test_unfinished_files_are_no_objects(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.put("packs/ab/1", b"x")
    (tmp_path / "packs/ab" / f"{TEMPORARY}00").write_bytes(b"half")
    assert list(store.list("packs")) == [("packs/ab/1", 1)]


def test_a_folder_that_vanished_is_told_and_not_made_again(tmp_path: Path) -> None:
    """An unplugged medium leaves an empty mount point, which must not be filled."""
    folder = tmp_path / "medium"
    folder.mkdir()
    store = DirectoryStore(folder)
    store.put("packs/ab/1", b"x")
    folder.rename(tmp_path / "gone")
    for is_there in (False, True):
        if is_there:
            folder.mkdir()
        with pytest.raises(DeviceFailed, match="is gone"):
            store.put("packs/ab/2", b"x")
        with pytest.raises(RecoveryError):
            store.get("packs/ab/1")
    assert not list(folder.rglob("*"))
    assert files_below(tmp_path / "gone") == ["packs/ab/1"]


def test_a_file_is_no_folder_for_a_store(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    store = DirectoryStore(file)
    with pytest.raises(ObjectMissing):
        store.get("a")
    for call in (lambda: store.put("a", b"x"), lambda: list(store.list(""))):
        with pytest.raises(RecoveryError, match=r"file"):
            call()
    assert file.read_bytes() == b"x"


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def small_place(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.root
@needs_root
def test_a_full_place(small_place: Path) -> None:
    store = DirectoryStore(small_place)
    store.put("packs/ab/1", bytes(600_000))
    with pytest.raises(OutOfSpace) as caught:
        store.put("packs/ab/2", bytes(600_000))
    assert caught.value.exit_code == 21 and caught.value.hint
    assert files_below(small_place) == ["packs/ab/1"]
    assert store.get("packs/ab/1") == bytes(600_000)
    store.delete("packs/ab/1")
    store.put("packs/ab/2", bytes(600_000))


@pytest.mark.root
@needs_root
def test_a_read_only_place(small_place: Path) -> None:
    store = DirectoryStore(small_place)
    store.put("a", b"x")
    subprocess.run(["mount", "-o", "remount,ro", small_place], check=True)
    with pytest.raises(DeviceFailed, match="Read-only") as caught:
        store.put("b", b"x")
    assert caught.value.hint
    with pytest.raises(DeviceFailed, match="Read-only"):
        store.delete("a")
    assert store.get("a") == b"x"
    assert list(store.list("")) == [("a", 1)]


@pytest.mark.root
@needs_root
def test_an_unmounted_place(small_place: Path) -> None:
    """What a pulled stick is: the mount point is still there, as an empty folder."""
    store = DirectoryStore(small_place)
    store.put("a", b"x")
    subprocess.run(["umount", small_place], check=True)
    try:
        with pytest.raises(DeviceFailed, match="is gone"):
            store.put("packs/ab/1", b"x")
        assert list(small_place.iterdir()) == []
    finally:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", small_place], check=True)
