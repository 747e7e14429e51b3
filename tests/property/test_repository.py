"""What a repository survives: damage of every byte, lost objects, captures that break off."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from recovery.errors import DamagedData, RecoveryError
from recovery.model.size import BLOCK
from recovery.model.snapshot import Snapshot
from recovery.repository.repository import Repository, open_repository
from tests.engine import (
    capture_bytes,
    check,
    distinct_blocks,
    expected,
    extents,
    new_repository,
    reopened,
    restore_bytes,
    small_packs,
)
from tests.stores import Fault, FaultyStore, MemoryStore, Order, StoreBroke

FIRST = "20260102T030405Z-00000001"
SECOND = "20260103T030405Z-00000002"

FIRST_CONTENT = distinct_blocks(0, 24) + bytes(2 * BLOCK) + distinct_blocks(0, 6)
SECOND_CONTENT = distinct_blocks(0, 12) + distinct_blocks(100, 20) + b"odd end"
FIRST_USED = extents((0, 20 * BLOCK), (22 * BLOCK, 8 * BLOCK))


class Sample(NamedTuple):
    """A repository with two snapshots, and what their restore gives."""

    objects: dict[str, bytes]
    restored: dict[str, bytes]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    folder = tmp_path_factory.mktemp("sample")
    store = MemoryStore()
    with small_packs():
        repository = new_repository(store)
        capture_bytes(repository, FIRST_CONTENT, folder, id=FIRST, used=FIRST_USED)
        capture_bytes(repository, SECOND_CONTENT, folder, id=SECOND)
    restored = {
        FIRST: expected(FIRST_CONTENT, FIRST_USED),
        SECOND: expected(SECOND_CONTENT, None),
    }
    assert check(repository).damage == ()
    return Sample(store.objects, restored)


def restore_all(repository: Repository, folder: Path) -> dict[str, bytes]:
    """Every snapshot that restores; the others are left out."""
    restored = {}
    for snapshot in repository.snapshots():
        if isinstance(snapshot, Snapshot):
            with suppress(RecoveryError):
                restored[snapshot.id] = restore_bytes(repository, snapshot, folder)
    return restored


def findings(repository: Repository) -> tuple[str, ...]:
    """What a full check says; a repository that cannot be opened says it by an error."""
    try:
        return check(repository).damage
    except RecoveryError as error:
        return (error.message,)


def open_or_refusal(store: MemoryStore) -> Repository | RecoveryError:
    try:
        return open_repository(store, None)
    except RecoveryError as error:
        return error


def kind_of(name: str) -> str:
    return name.partition("/")[0]


def is_spare(objects: dict[str, bytes], name: str) -> bool:
    """Whether the loss of the object must cost nothing at all."""
    return name in {"repo.json", "repo.copy.json"} or name.startswith("index/")


def test_the_sample_has_something_of_everything(sample: Sample) -> None:
    kinds = [kind_of(name) for name in sample.objects]
    assert kinds.count("packs") >= 4
    assert kinds.count("index") == kinds.count("snapshots") == kinds.count("keys") == 2
    assert sum(map(len, sample.objects.values())) < 32 * 1024


def bits(name: str, data: bytes, stride: int) -> Iterator[tuple[int, int]]:
    """Which bits to flip: one of each byte, or of each `stride`th, another one every time.

    The first and last 64 bytes, headers and footers, are always taken whole.
    """
    edges = {*range(min(64, len(data))), *range(max(0, len(data) - 64), len(data))}
    for position in sorted(edges | {*range(0, len(data), stride)}):
        digest = hashlib.sha256(f"{len(name)} {position}".encode()).digest()
        yield position, 1 << digest[0] % 8


EVERY_BYTE = [pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]


@pytest.mark.parametrize("stride", [29, *EVERY_BYTE])
def test_any_flipped_byte_is_detected_or_harmless(
    sample: Sample, tmp_path: Path, stride: int
) -> None:
    """Restored bytes are never wrong, a check finds the flip, and it costs no more than it must."""
    for number, (name, data) in enumerate(sample.objects.items()):
        # One pack and one of each other kind tell the most; all packs when there is time.
        if stride > 1 and kind_of(name) in {kind_of(seen) for seen in [*sample.objects][:number]}:
            continue
        for position, bit in bits(name, data, stride):
            damaged = bytearray(data)
            damaged[position] ^= bit
            store = MemoryStore({**sample.objects, name: bytes(damaged)})
            place = f"{name}, byte {position} ^ {bit}"
            repository = open_or_refusal(store)
            if isinstance(repository, RecoveryError):
                assert kind_of(name) == "keys" and repository.exit_code in {12, 40}, place
                continue
            assert findings(repository), f"{place} is not found"
            if position % 5 and kind_of(name) == "packs":
                continue  # Restores are slow, and the same code guards all of a frame.
            restored = restore_all(repository, tmp_path)
            assert restored.items() <= sample.restored.items(), f"{place}: wrong bytes"
            if is_spare(sample.objects, name):
                assert restored == sample.restored, f"{place} costs a snapshot"
            if kind_of(name) == "snapshots":
                assert restored.keys() == sample.restored.keys() - {name.rpartition("/")[2]}, place


@pytest.mark.parametrize("stride", [41, *EVERY_BYTE])
def test_any_truncation_is_detected(sample: Sample, tmp_path: Path, stride: int) -> None:
    for number, (name, data) in enumerate(sample.objects.items()):
        if stride > 1 and kind_of(name) in {kind_of(seen) for seen in [*sample.objects][:number]}:
            continue
        ends = {0, 1, 63, 64, 65, 127, 128, 129, len(data) - 65, len(data) - 64, len(data) - 1}
        lengths = {*range(0, len(data), stride), *(end for end in ends if 0 <= end < len(data))}
        for length in sorted(lengths):
            store = MemoryStore({**sample.objects, name: data[:length]})
            place = f"{name} cut to {length}"
            repository = open_or_refusal(store)
            if isinstance(repository, RecoveryError):
                assert kind_of(name) == "keys" and repository.exit_code in {12, 40}, place
                continue
            assert findings(repository), f"{place} is not found"
            if length % 7:
                continue
            restored = restore_all(repository, tmp_path)
            assert restored.items() <= sample.restored.items(), f"{place}: wrong bytes"
            if is_spare(sample.objects, name):
                assert restored == sample.restored, f"{place} costs a snapshot"


def test_what_is_lost_costs_only_what_it_held(sample: Sample, tmp_path: Path) -> None:
    """Any one, two or three objects are deleted."""
    for count in (1, 2, 3):
        for gone in combinations(sorted(sample.objects), count):
            store = MemoryStore({k: v for k, v in sample.objects.items() if k not in gone})
            descriptions = {"repo.json", "repo.copy.json"} - set(gone)
            repository = open_or_refusal(store)
            if isinstance(repository, RecoveryError):
                keys = [name for name in gone if kind_of(name) == "keys"]
                assert keys or not descriptions, gone
                assert repository.exit_code in {10, 12, 40}
                continue
            assert descriptions, gone
            kinds = {kind_of(name) for name in gone}
            if count == 3 and "packs" in kinds:
                continue
            restored = restore_all(repository, tmp_path)
            assert restored.items() <= sample.restored.items(), gone
            lost = {name.rpartition("/")[2] for name in gone if kind_of(name) == "snapshots"}
            if "packs" not in kinds:
                assert restored.keys() == sample.restored.keys() - lost, gone
            elif not lost:
                found = check(repository)
                assert set(found.affected) == sample.restored.keys() - restored.keys(), gone


def test_a_lost_pack_is_healed_by_the_next_capture(sample: Sample, tmp_path: Path) -> None:
    for name in sample.objects:
        if kind_of(name) != "packs":
            continue
        store = MemoryStore(sample.objects)
        store.delete(name)
        with small_packs():
            for content, used in ((FIRST_CONTENT, FIRST_USED), (SECOND_CONTENT, None)):
                id = f"20260104T030405Z-{len(content):08x}"
                capture_bytes(open_repository(store, None), content, tmp_path, id=id, used=used)
        healed = open_repository(store, None)
        restored = restore_all(healed, tmp_path)
        assert sample.restored.items() <= restored.items(), f"{name} stays lost"


# Captures that break off


def broken_off(
    sample: Sample, order: Order, folder: Path, content: bytes
) -> tuple[MemoryStore, FaultyStore]:
    """The sample's objects after a third capture met `order`."""
    inner = MemoryStore(sample.objects)
    faulty = FaultyStore(inner, order)
    with small_packs(), suppress(StoreBroke):
        capture_bytes(open_repository(faulty, None), content, folder, id=THIRD)
        assert order.fault == "twice", "the ordered failure was not told"
    return inner, faulty


THIRD = "20260105T030405Z-00000003"
THIRD_CONTENT = distinct_blocks(200, 24) + distinct_blocks(0, 10)


def calls_of_a_capture(sample: Sample, folder: Path) -> list[tuple[str, str]]:
    store = FaultyStore(MemoryStore(sample.objects))
    with small_packs():
        capture_bytes(open_repository(store, None), THIRD_CONTENT, folder, id=THIRD)
    return store.calls


FAULTS: list[tuple[Fault, float]] = [
    ("before", 0),
    ("after", 0),
    ("torn", 0),
    ("torn", 1e-2),
    ("torn", 0.5),
    ("torn", 0.999),
]


@pytest.mark.parametrize(("fault", "share"), FAULTS)
def test_a_capture_that_breaks_off_at_any_call_harms_nothing(
    sample: Sample, tmp_path: Path, fault: Fault, share: float
) -> None:
    calls = calls_of_a_capture(sample, tmp_path)
    puts = [name for verb, name in calls if verb == "put"]
    assert [kind_of(name) for name in puts[-2:]] == ["index", "snapshots"]
    packs = sum(kind_of(name) == "packs" for name in puts)
    assert packs >= 3
    verbs = frozenset({"put"}) if fault == "torn" else Order(0).verbs
    for number in range(len(puts) if fault == "torn" else len(calls)):
        order = Order(number, fault, share, verbs)
        inner, faulty = broken_off(sample, order, tmp_path, THIRD_CONTENT)
        hit = faulty.calls[number] if number < len(faulty.calls) else ("", "")
        _require_unharmed(sample, inner, hit, order, tmp_path)
        _require_goes_on(sample, inner, hit, order, packs, tmp_path)


def _require_unharmed(
    sample: Sample, inner: MemoryStore, hit: tuple[str, str], order: Order, folder: Path
) -> None:
    assert sample.objects.items() <= inner.objects.items(), "an older object was touched"
    repository = open_repository(inner, None)
    torn = order.fault == "torn"
    committed = order.fault == "after" and hit[0] == "put" and kind_of(hit[1]) == "snapshots"
    readable = [found for found in repository.snapshots() if isinstance(found, Snapshot)]
    assert len(readable) == 2 + committed, f"{order}: a snapshot appeared"
    restored = restore_all(repository, folder)
    assert sample.restored.items() <= restored.items(), f"{order} cost an older snapshot"
    if committed:
        assert restored[THIRD] == THIRD_CONTENT
    found = check(open_repository(inner, None))
    assert found.affected == (), order
    assert len(found.damage) == int(torn), (order, found.damage)


def _require_goes_on(
    sample: Sample,
    inner: MemoryStore,
    hit: tuple[str, str],
    order: Order,
    wanted: int,
    folder: Path,
) -> None:
    """The next capture sends no more again than the one pack that was not finished."""
    added = inner.objects.keys() - sample.objects.keys()
    stored = sum(kind_of(name) == "packs" for name in added)
    if order.fault == "torn" and kind_of(hit[1]) == "packs":
        stored -= 1
    again = FaultyStore(inner)
    id = "20260106T030405Z-00000004"
    with small_packs():
        capture_bytes(open_repository(again, None), THIRD_CONTENT, folder, id=id)
    sent = sum(verb == "put" and kind_of(name) == "packs" for verb, name in again.calls)
    assert sent <= max(0, wanted - stored) + 1, f"{order}: {sent} packs sent, {stored} were there"
    repository = open_repository(inner, None)
    restored = restore_all(repository, folder)
    assert restored[id] == THIRD_CONTENT
    assert sample.restored.items() <= restored.items()


def test_puts_that_are_sent_twice_change_nothing(sample: Sample, tmp_path: Path) -> None:
    for number in range(len(calls_of_a_capture(sample, tmp_path))):
        inner, _ = broken_off(sample, Order(number, "twice"), tmp_path, THIRD_CONTENT)
        repository = open_repository(inner, None)
        assert check(repository).damage == ()
        assert restore_all(repository, tmp_path)[THIRD] == THIRD_CONTENT


@pytest.mark.parametrize("fault", ["before", "after"])
def test_a_restore_from_a_store_that_dies_fails_and_changes_no_object(
    sample: Sample, tmp_path: Path, fault: Fault
) -> None:
    healthy = FaultyStore(MemoryStore(sample.objects))
    opened = open_repository(healthy, None)
    restore_bytes(opened, opened.read_snapshot(SECOND), tmp_path)
    assert {verb for verb, _ in healthy.calls} <= {"get", "get_range", "list"}
    for number in range(len(healthy.calls)):
        inner = MemoryStore(sample.objects)
        dying = FaultyStore(inner, Order(number, fault))
        with pytest.raises(StoreBroke):
            _restore_second(dying, tmp_path)
        assert inner.objects == sample.objects


def _restore_second(store: FaultyStore, folder: Path) -> None:
    repository = open_repository(store, None)
    restore_bytes(repository, repository.read_snapshot(SECOND), folder)


def test_litter_of_file_managers_is_no_snapshot_and_no_damage(
    sample: Sample, tmp_path: Path
) -> None:
    """What Windows and macOS leave in folders on shares and sticks."""
    litter = ("Thumbs.db", ".DS_Store", "._x")
    folders = ("", "snapshots/", "packs/", "packs/ab/", "index/", "keys/")
    names = {f"{folder}{name}": b"litter" for folder in folders for name in litter}
    repository = open_repository(MemoryStore({**sample.objects, **names}), None)
    assert repository.snapshot_ids() == (FIRST, SECOND)
    assert check(repository).affected == ()
    assert restore_all(repository, tmp_path) == sample.restored


# Any sequence of what a repository goes through


class RepositoryLife(RuleBasedStateMachine):
    """A repository against a dictionary of what its snapshots must restore to."""

    @initialize()
    def make(self) -> None:
        self.folder = self.new_folder()
        self.store = MemoryStore()
        self.repository = new_repository(self.store)
        self.model: dict[str, bytes] = {}
        self.number = 0

    @staticmethod
    def new_folder() -> Path:
        raise NotImplementedError

    def _next_id(self) -> str:
        self.number += 1
        return f"20260102T{self.number:06}Z-{self.number:08x}"

    @rule(parts=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), max_size=5))
    def capture(self, parts: list[tuple[int, int]]) -> None:
        content = b"".join(distinct_blocks(first, count) for first, count in parts) + b"end"
        id = self._next_id()
        with small_packs():
            capture_bytes(self.repository, content, self.folder, id=id)
        self.model[id] = content

    @rule(first=st.integers(0, 40), count=st.integers(1, 20), call=st.integers(0, 12))
    def capture_on_a_dying_store(self, first: int, count: int, call: int) -> None:
        id = self._next_id()
        content = distinct_blocks(first, count)
        with small_packs():
            try:
                dying = FaultyStore(self.store, Order(call))
                capture_bytes(open_repository(dying, None), content, self.folder, id=id)
            except StoreBroke:
                return
        self.model[id] = content

    @rule()
    def reopen(self) -> None:
        self.repository = reopened(self.repository)

    @rule(which=st.integers(0, 10))
    def lose_an_index(self, which: int) -> None:
        names = [name for name, _ in self.store.list("index")]
        if names:
            self.store.delete(names[which % len(names)])
            self.repository = reopened(self.repository)

    @rule()
    def lose_the_description(self) -> None:
        self.store.delete("repo.json")
        self.repository = reopened(self.repository)
        self.store.put("repo.json", self.store.get("repo.copy.json"))

    @invariant()
    def every_snapshot_restores(self) -> None:
        if hasattr(self, "repository"):
            assert restore_all(self.repository, self.folder) == self.model
            assert check(self.repository).damage == ()


def test_the_life_of_a_repository(tmp_path_factory: pytest.TempPathFactory) -> None:
    class Life(RepositoryLife):
        @staticmethod
        def new_folder() -> Path:
            return tmp_path_factory.mktemp("life")

    case = Life.TestCase
    case.settings = settings(
        max_examples=12,
        stateful_step_count=10,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    case().runTest()


def test_a_snapshot_under_another_name_is_refused(sample: Sample) -> None:
    objects = dict(sample.objects)
    objects[f"snapshots/{FIRST}"] = objects[f"snapshots/{SECOND}"]
    with pytest.raises(DamagedData, match="another snapshot"):
        open_repository(MemoryStore(objects), None).read_snapshot(FIRST)
