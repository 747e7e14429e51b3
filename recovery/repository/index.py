"""Finding chunks: all index segments of a repository as one, plus what this session adds.

An index only saves work: packs that no readable segment names are listed by their own
trailers, and rows of packs that are gone are dropped.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from recovery.errors import DamagedData
from recovery.format.index import IndexSegment, Location, decode_index, ids_array
from recovery.format.pack import (
    FOOTER_SIZE,
    FrameEntry,
    PackOpener,
    decode_footer,
)
from recovery.format.seal import HEADER_SIZE, SALT_SIZE, Header, Kind, open_document, seal_document
from recovery.repository.index_spool import IndexSpool
from recovery.repository.store import ObjectMissing, Store, digest_in, named_by_digest

log = logging.getLogger(__name__)

FOLDER = "index"
PACK_FOLDER = "packs"
DAMAGED_FOLDER = "damaged"
"""Has an object with the name of each pack that a check found damaged."""
ROWS_PER_SEGMENT = 128 * 1024
SEGMENTS_UNJOINED = 16
"""Segments that are searched one by one before they are joined."""
SEARCHES_UNTIL_FORGOTTEN = 16


def pack_name(digest: bytes) -> str:
    """The object name of a pack."""
    text = digest.hex()
    return f"{PACK_FOLDER}/{text[:2]}/{text}"


def read_pack_table(
    store: Store, master: bytes, repository: bytes, name: str, size: int
) -> tuple[FrameEntry, ...]:
    """The frames of a pack by its trailer. Raises `DamagedData`."""
    if size < HEADER_SIZE + FOOTER_SIZE:
        raise DamagedData("a pack is cut off")
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
        self._doubtful: list[IndexSegment] = []
        self._unsaved: list[tuple[bytes, Sequence[FrameEntry]]] = []
        self._unsaved_rows = 0
        self._unwritten: list[IndexSegment] = []
        self._recent: set[bytes] = set()
        self._searches = 0

    def load(self) -> None:
        """Read all segments, then the trailers of packs that none of them names.

        What is in damaged packs counts as unknown, so that the next capture stores it again, and
        is only looked for where there is nothing better.
        """
        sizes = {
            digest_in(name): (name, size)
            for name, size in named_by_digest(self._store, PACK_FOLDER)
        }
        marks = named_by_digest(self._store, DAMAGED_FOLDER)
        damaged = {digest_in(name) for name, _ in marks}
        named: set[bytes] = set()
        good, doubtful = IndexSpool(), IndexSpool()
        for segment in self._read_segments():
            named.update(segment.packs)
            usable = segment.only(_usable_frames(segment, sizes))
            doubt = _frames_in(segment, damaged)
            good.add(usable.only(~doubt))
            doubtful.add(usable.only(doubt))
        self._segments = [good.finish()]
        self._doubtful = [doubtful.finish()]
        for digest in sorted(sizes.keys() - named - damaged):
            frames = self._list_pack(*sizes[digest])
            if frames is not None:
                self._unsaved.append((digest, frames))
                self._unsaved_rows += sum(len(frame.chunks) for frame in frames)
            if self._unsaved_rows >= ROWS_PER_SEGMENT:
                self._close_segment()
        self._close_segment()

    def _list_pack(self, name: str, size: int) -> tuple[FrameEntry, ...] | None:
        try:
            return read_pack_table(self._store, self._master, self._repository, name, size)
        except (DamagedData, ObjectMissing) as error:
            log.warning("%s cannot be listed and is left out: %s", name, error)
            return None

    def _read_segments(self) -> Iterable[IndexSegment]:
        for name, _ in named_by_digest(self._store, FOLDER):
            try:
                data = self._store.get(name)
                plain = open_document(self._master, self._repository, Kind.INDEX, data)
                yield decode_index(plain)
            except (DamagedData, ObjectMissing) as error:
                log.warning("%s is not readable, its packs list themselves: %s", name, error)

    def _join_segments(self) -> None:
        spool = IndexSpool()
        for segment in self._segments:
            spool.add(segment)
        self._segments = [spool.finish()]

    def _searched(self) -> None:
        self._searches += 1
        if self._searches % SEARCHES_UNTIL_FORGOTTEN == 0:
            for segment in self._segments:
                segment.forget()

    def contains(self, ids: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        """Which of the ids are stored already, or about to be by this session."""
        table = ids_array(ids)
        known = np.fromiter((id in self._recent for id in ids), dtype=bool, count=len(ids))
        for segment in self._segments:
            known |= segment.contains(table)
        self._searched()
        return known

    def locate(self, ids: Sequence[bytes]) -> list[Location | None]:
        """Where each id is stored."""
        table = ids_array(ids)
        found: list[Location | None] = [None] * len(table)
        for segment in (*self._segments, *self._doubtful):
            missing = [number for number, location in enumerate(found) if location is None]
            if not missing:
                break
            for number, location in zip(missing, segment.locate(table[missing]), strict=True):
                found[number] = location
        self._searched()
        return found

    def expect(self, id: bytes) -> bool:
        """Note a chunk that goes into a pack now; false if it is on its way already."""
        if id in self._recent:
            return False
        self._recent.add(id)
        return True

    def forget_expected(self) -> None:
        """Chunks that were expected and are in no pack are not on their way any more."""
        self._recent = {
            chunk.id for _, entries in self._unsaved for frame in entries for chunk in frame.chunks
        }

    def add_pack(self, digest: bytes, frames: Sequence[FrameEntry]) -> None:
        """Note a pack that is in the store."""
        self._unsaved.append((digest, frames))
        self._unsaved_rows += sum(len(frame.chunks) for frame in frames)
        if self._unsaved_rows >= ROWS_PER_SEGMENT:
            self.save()

    def save(self) -> None:
        """Write what no stored segment names yet."""
        self._close_segment()
        for segment in self._unwritten:
            header = Header(Kind.INDEX, self._repository, secrets.token_bytes(SALT_SIZE))
            data = seal_document(self._master, header, segment.encode())
            self._store.put(f"{FOLDER}/{blake3(data).hexdigest()}", data)
        self._unwritten = []
        if len(self._segments) > SEGMENTS_UNJOINED:
            self._join_segments()

    def _close_segment(self) -> None:
        """Make what was added searchable as a segment."""
        if not self._unsaved:
            return
        segment = IndexSegment.of(self._unsaved)
        self._unwritten.append(segment)
        self._segments.append(segment)
        # Only now, so that a chunk is found in one place or the other at any time.
        for _, entries in self._unsaved:
            self._recent.difference_update(chunk.id for frame in entries for chunk in frame.chunks)
        self._unsaved = []
        self._unsaved_rows = 0


def _usable_frames(
    segment: IndexSegment, sizes: Mapping[bytes, tuple[str, int]]
) -> npt.NDArray[np.bool_]:
    """Which frames of the segment lie inside a pack that is there; a pack may be cut off."""
    ends = np.array([sizes.get(name, ("", 0))[1] for name in segment.packs], dtype=np.uint64)
    frames = segment.frames
    usable: npt.NDArray[np.bool_] = frames["offset"] + frames["stored"] <= ends[frames["pack"]]
    return usable


def _frames_in(segment: IndexSegment, packs: Collection[bytes]) -> npt.NDArray[np.bool_]:
    """Which frames of the segment lie in one of the packs."""
    inside = np.array([name in packs for name in segment.packs], dtype=bool)
    found: npt.NDArray[np.bool_] = inside[segment.frames["pack"]]
    return found
