"""Examining a repository: is everything there that its snapshots need, and is it whole?"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from blake3 import blake3

from recovery.errors import DamagedData, DeviceFailed, Interrupted, NoRepository
from recovery.format.description import Description, decode_description
from recovery.format.index import Location, decode_index
from recovery.format.map import decode_page
from recovery.format.pack import FOOTER_SIZE, FrameEntry, PackOpener, decode_footer
from recovery.format.seal import HEADER_SIZE, Kind, open_document
from recovery.model.event import BytesMoved, Listener, StepDone, StepStarted
from recovery.model.snapshot import Snapshot, Volume
from recovery.repository.chunk_reader import ChunkReader
from recovery.repository.index import DAMAGED_FOLDER, PACK_FOLDER, read_pack_table
from recovery.repository.index import FOLDER as INDEX_FOLDER
from recovery.repository.keys import FOLDER as KEY_FOLDER
from recovery.repository.keys import read_slot
from recovery.repository.repository import (
    DESCRIPTION,
    DESCRIPTION_COPY,
    Repository,
)
from recovery.repository.store import ObjectMissing, digest_in, named_by_digest

STEPS = 3


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found: `damage` are sentences, `affected` the snapshots that cannot be whole."""

    packs: int
    bytes: int
    snapshots: int
    damage: tuple[str, ...]
    affected: tuple[str, ...]


def check_repository(
    repository: Repository,
    listener: Listener,
    cancelled: threading.Event,
    *,
    read_data: bool,
) -> Checked:
    """Check descriptions, indexes, packs (every byte with `read_data`) and what snapshots need."""
    return _Check(repository, listener, cancelled).run(read_data=read_data)


class _Check:
    def __init__(
        self, repository: Repository, listener: Listener, cancelled: threading.Event
    ) -> None:
        self._repository = repository
        self._store = repository.store
        self._listener = listener
        self._cancelled = cancelled
        self._damage: list[str] = []
        self._bad_packs: set[bytes] = set()

    def run(self, *, read_data: bool) -> Checked:
        self._check_descriptions()
        self._check_keys()
        self._listener(StepStarted(1, STEPS, "check indexes"))
        self._check_indexes()
        self._listener(StepDone(1))
        packs = [*named_by_digest(self._store, PACK_FOLDER)]
        total = sum(size for _, size in packs)
        self._check_packs(packs, total, read_data)
        affected, snapshots = self._check_snapshots()
        return Checked(len(packs), total, snapshots, tuple(self._damage), affected)

    def _check_descriptions(self) -> None:
        whole = []
        for name in (DESCRIPTION, DESCRIPTION_COPY):
            try:
                data = self._store.get(name)
                if not isinstance(decode_description(data), Description):
                    raise DamagedData("another version than its twin")
                whole.append(data)
            except (DamagedData, ObjectMissing):
                self._damage.append(f"{name} is damaged or missing; its twin serves meanwhile")
        if len(set(whole)) > 1:
            self._damage.append(f"{DESCRIPTION} and {DESCRIPTION_COPY} differ: one is damaged")

    def _check_keys(self) -> None:
        for name, _ in named_by_digest(self._store, KEY_FOLDER):
            try:
                read_slot(self._store, name)
            except (DamagedData, ObjectMissing) as error:
                self._damage.append(f"{name}: {error}; its passphrase or code opens nothing")

    def _check_indexes(self) -> None:
        keys = self._repository.keys
        for name, _ in named_by_digest(self._store, INDEX_FOLDER):
            try:
                data = self._store.get(name)
                decode_index(open_document(keys.master, self._repository.id, Kind.INDEX, data))
            except (DamagedData, NoRepository) as error:
                self._damage.append(f"{name}: {error}; packs are listed by themselves meanwhile")

    def _check_packs(self, packs: list[tuple[str, int]], total: int, read_data: bool) -> None:
        title = "read and open every pack" if read_data else "check the tables of packs"
        self._listener(StepStarted(2, STEPS, title, total))
        done = 0
        for name, size in packs:
            if self._cancelled.is_set():
                raise Interrupted("the check was stopped", hint="nothing was changed")
            try:
                if read_data:
                    self._read_pack(name)
                    self._store.delete(_mark(name))
                else:
                    master, id = self._repository.keys.master, self._repository.id
                    read_pack_table(self._store, master, id, name, size)
            except (DamagedData, ObjectMissing, NoRepository) as error:
                self._damage.append(f"{name}: {error}")
                self._bad_packs.add(digest_in(name))
                self._note_damage(name, str(error))
            done += size
            self._listener(BytesMoved(done))
        self._listener(StepDone(2, f"{len(packs)} packs"))

    def _note_damage(self, name: str, reason: str) -> None:
        """Let the next capture store the pack's chunks again; a read-only store does without."""
        with suppress(DeviceFailed):
            self._store.put(_mark(name), reason.encode())
        self._repository.forget_index()

    def _read_pack(self, name: str) -> None:
        """Every byte of a pack: its hash, its table, and each chunk in it."""
        data = self._store.get(name)
        if blake3(data).digest() != digest_in(name):
            raise DamagedData("its content is not what was written")
        keys = self._repository.keys
        opener = PackOpener(keys.master, self._repository.id, data[:HEADER_SIZE])
        footer = decode_footer(data[-FOOTER_SIZE:], len(data))
        sealed = data[footer.offset : footer.offset + footer.length]
        for frame in opener.trailer(sealed, footer):
            plain = opener.frame(data[frame.offset : frame.offset + frame.stored])
            self._check_frame(frame, plain)

    def _check_frame(self, frame: FrameEntry, plain: bytes) -> None:
        for chunk, start in zip(frame.chunks, frame.starts, strict=True):
            if self._repository.chunk_id(plain[start : start + chunk.length]) != chunk.id:
                raise DamagedData("one of its chunks is not what was stored")

    def _check_snapshots(self) -> tuple[tuple[str, ...], int]:
        self._listener(StepStarted(3, STEPS, "check what snapshots need"))
        affected = []
        count = 0
        for snapshot in self._repository.snapshots():
            count += 1
            if isinstance(snapshot, DamagedData):
                self._damage.append(str(snapshot))
                continue
            lost = [text for volume in snapshot.volumes if (text := self._lost(snapshot, volume))]
            if lost:
                affected.append(snapshot.id)
                self._damage += lost
        self._listener(StepDone(3, f"{count} snapshots"))
        return tuple(affected), count

    def _lost(self, snapshot: Snapshot, volume: Volume) -> str:
        """What of a volume cannot be restored, in words."""
        reader = ChunkReader(self._repository)
        missing = 0
        for stream in volume.map:
            try:
                page = decode_page(reader.read_document(stream))
            except (DamagedData, ObjectMissing) as error:
                return f"snapshot {snapshot.id}, {volume.id}: its map cannot be read ({error})"
            missing += self._missing(page.ids)
        if not missing:
            return ""
        return f"snapshot {snapshot.id}, {volume.id}: {missing} chunks are lost"

    def _missing(self, ids: Sequence[bytes]) -> int:
        found: list[Location | None] = self._repository.index.locate(ids) if ids else []
        return sum(place is None or place.pack in self._bad_packs for place in found)


def _mark(pack: str) -> str:
    return f"{DAMAGED_FOLDER}/{pack.rpartition('/')[2]}"
