"""Finding chunks: all index segments of a repository as one, plus what this session adds.

An index only saves work: packs that no readable segment names are listed by their own
trailers, and rows of packs that are gone are dropped.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from recovery.errors import DamagedData
from recovery.format.index import Ids, IndexSegment, Location, decode_index, ids_array
from recovery.format.pack import (
    FOOTER_SIZE,
    FrameEntry,
    PackOpener,
    decode_footer,
)
from recovery.format.seal import HEADER_SIZE, SALT_SIZE, Header, Kind, open_document, seal_document
from recovery.repository.store import ObjectMissing, Store

log = logging.getLogger(__name__)

FOLDER = "index"
PACK_FOLDER = "packs"
ROWS_PER_SEGMENT = 128 * 1024
SEGMENTS_UNMERGED = 8


def pack_name(digest: bytes) -> str:
    """The object name of a pack."""
    text = digest.hex()
    return f"{PACK_FOLDER}/{text[:2]}/{text}"


def read_pack_table(
    store: Store, master: bytes, repository: bytes, name: str, size: int
) -> tuple[FrameEntry, ...]:
    """The frames of a pack by its trailer. Raises `DamagedData`."""
    head = store.get_range(name, 0, HEADER_SIZE)
    opener = PackOpener(master, repository, head)
    footer = decode_footer(store.get_range(name, size - FOOTER_SIZE, FOOTER_SIZE), size)
    return opener.trailer(store.get_range(name, footer.offset, footer.length), footer)


class ChunkIndex:
    """Where every chunk of a repository is."""

    def __init__(self, store: Store, master: bytes, repository: bytes) -> None:
        self._store = store
        self._master = master
        self._repository = repository
        self._segments: list[IndexSegment] = []
        self._unsaved: list[tuple[bytes, Sequence[FrameEntry]]] = []
        self._unwritten: list[IndexSegment] = []
        self._recent: set[bytes] = set()

    def load(self) -> None:
        """Read all segments, then the trailers of packs that none of them names."""
        sizes = {
            bytes.fromhex(name.rpartition("/")[2]): (name, size)
            for name, size in self._store.list(PACK_FOLDER)
            if _is_digest(name)
        }
        segments = [segment for segment in self._read_segments() if len(segment)]
        named = {name for segment in segments for name in segment.packs}
        gone = frozenset(named - sizes.keys())
        self._segments = [segment.without(gone) for segment in segments]
        self._merge(keep=0)
        orphans = [
            (digest, frames)
            for digest in sorted(sizes.keys() - named)
            if (frames := self._list_pack(*sizes[digest])) is not None
        ]
        if orphans:
            self._unwritten.append(IndexSegment.of(orphans))
            self._segments.append(self._unwritten[-1])

    def _list_pack(self, name: str, size: int) -> tuple[FrameEntry, ...] | None:
        try:
            return read_pack_table(self._store, self._master, self._repository, name, size)
        except (DamagedData, ObjectMissing) as error:
            log.warning("%s cannot be listed and is left out: %s", name, error)
            return None

    def _read_segments(self) -> Iterable[IndexSegment]:
        for name, _ in self._store.list(FOLDER):
            try:
                data = self._store.get(name)
                plain = open_document(self._master, self._repository, Kind.INDEX, data)
                yield decode_index(plain)
            except (DamagedData, ObjectMissing) as error:
                log.warning("%s is not readable, its packs list themselves: %s", name, error)

    def _merge(self, keep: int) -> None:
        if len(self._segments) > keep:
            self._segments = [IndexSegment.joined(self._segments)]

    def contains(self, ids: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        """Which of the ids are stored already, or about to be by this session."""
        table = ids_array(ids)
        known = np.fromiter((id in self._recent for id in ids), dtype=bool, count=len(ids))
        for segment in self._segments:
            known |= segment.contains(table)
        return known

    def locate(self, ids: Sequence[bytes]) -> list[Location | None]:
        """Where each id is stored."""
        return self._locate(ids_array(ids))

    def _locate(self, table: Ids) -> list[Location | None]:
        found: list[Location | None] = [None] * len(table)
        for segment in self._segments:
            missing = [number for number, location in enumerate(found) if location is None]
            if not missing:
                break
            for number, location in zip(missing, segment.locate(table[missing]), strict=True):
                found[number] = location
        return found

    def expect(self, id: bytes) -> bool:
        """Note a chunk that goes into a pack now; false if it is on its way already."""
        if id in self._recent:
            return False
        self._recent.add(id)
        return True

    def add_pack(self, digest: bytes, frames: Sequence[FrameEntry]) -> None:
        """Note a pack that is in the store."""
        self._unsaved.append((digest, frames))
        rows = sum(len(frame.chunks) for _, entries in self._unsaved for frame in entries)
        if rows >= ROWS_PER_SEGMENT:
            self.save()

    def save(self) -> None:
        """Write what no stored segment names yet."""
        if self._unsaved:
            self._unwritten.append(IndexSegment.of(self._unsaved))
            self._segments.append(self._unwritten[-1])
            for _, entries in self._unsaved:
                self._recent.difference_update(
                    chunk.id for frame in entries for chunk in frame.chunks
                )
            self._unsaved = []
            self._merge(keep=SEGMENTS_UNMERGED)
        for segment in self._unwritten:
            header = Header(Kind.INDEX, self._repository, secrets.token_bytes(SALT_SIZE))
            data = seal_document(self._master, header, segment.encode())
            self._store.put(f"{FOLDER}/{blake3(data).hexdigest()}", data)
        self._unwritten = []


def _is_digest(name: str) -> bool:
    text = name.rpartition("/")[2]
    return len(text) == 64 and set(text) <= set("0123456789abcdef")
