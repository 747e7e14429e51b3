"""Index segments: where chunks are, as sorted arrays that are searched, not parsed.

A row is 20 bytes: the first 12 of the chunk id, its frame, and offset and length in the
frame's plain bytes counted in blocks of 4 KiB. Twelve bytes of a keyed hash keep a false match
among 16 million chunks below 1 in 10^14; what is read is checked against the whole id anyway.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recovery.errors import DamagedData
from recovery.format.pack import FrameEntry
from recovery.model.size import BLOCK

Ids = npt.NDArray[np.uint8]
"""Chunk ids as an array of shape (n, 32)."""

ROW = np.dtype(
    [("high", "<u8"), ("low", "<u4"), ("frame", "<u4"), ("offset", "<u2"), ("length", "<u2")]
)
FRAME = np.dtype([("offset", "<u8"), ("pack", "<u4"), ("stored", "<u4"), ("plain", "<u4")])
_COUNTS = struct.Struct("<III")


@dataclass(frozen=True, slots=True)
class Location:
    """Where a chunk is: pack name, stored frame (offset, length, plain length), place in it."""

    pack: bytes
    frame_offset: int
    frame_stored: int
    frame_plain: int
    offset: int
    length: int


def ids_array(ids: Sequence[bytes]) -> Ids:
    """Ids of 32 bytes each as an array."""
    return np.frombuffer(b"".join(ids), dtype=np.uint8).reshape(-1, 32)


def _keys(ids: Ids) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
    # Big-endian, so that numbers sort as the ids do.
    high = np.ascontiguousarray(ids[:, :8]).view(">u8").reshape(-1).astype(np.uint64)
    low = np.ascontiguousarray(ids[:, 8:12]).view(">u4").reshape(-1).astype(np.uint32)
    return high, low


class IndexSegment:
    """Rows of some packs. Immutable."""

    def __init__(
        self,
        packs: tuple[bytes, ...],
        frames: npt.NDArray[np.void],
        rows: npt.NDArray[np.void],
        high: npt.NDArray[np.uint64] | None = None,
    ) -> None:
        self.packs = packs
        self.frames = frames
        self.rows = rows
        # Searched much faster than the same column among the rows.
        self._high = np.ascontiguousarray(rows["high"]) if high is None else high

    def forget(self) -> None:
        """Give back memory that can be had again; nothing here."""

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, packs: Iterable[tuple[bytes, Sequence[FrameEntry]]]) -> IndexSegment:
        """A segment for `(pack name, its frames)` pairs."""
        names: list[bytes] = []
        frames: list[tuple[int, int, int, int]] = []
        ids: list[bytes] = []
        places: list[tuple[int, int, int]] = []
        for name, entries in packs:
            for entry in entries:
                for chunk, start in zip(entry.chunks, entry.starts, strict=True):
                    ids.append(chunk.id)
                    places.append((len(frames), start // BLOCK, chunk.length // BLOCK))
                frames.append((entry.offset, len(names), entry.stored, entry.plain))
            names.append(name)
        rows = np.zeros(len(ids), dtype=ROW)
        if ids:
            rows["high"], rows["low"] = _keys(ids_array(ids))
            rows["frame"], rows["offset"], rows["length"] = np.array(places).T
        return cls(tuple(names), np.array(frames, dtype=FRAME), sorted_rows(rows))

    def encode(self) -> bytes:
        """The plain bytes of the segment."""
        counts = _COUNTS.pack(len(self.packs), len(self.frames), len(self.rows))
        parts = (counts, *self.packs, self.frames.tobytes(), self.rows.tobytes())
        return b"".join(parts)

    def _find(self, ids: Ids) -> npt.NDArray[np.int64]:
        """Row of each id, -1 where there is none."""
        high, low = _keys(ids)
        found = np.full(len(high), -1, dtype=np.int64)
        if not len(self.rows):
            return found
        first = np.searchsorted(self._high, high)
        for step in range(_longest_run(self._high, high, first)):
            row = np.minimum(first + step, len(self.rows) - 1)
            same = (self._high[row] == high) & (self.rows["low"][row] == low) & (found < 0)
            found[same] = row[same]
        return found

    def contains(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """Which of the ids are in the segment."""
        return self._find(ids) >= 0

    def locate(self, ids: Ids) -> list[Location | None]:
        """Where each id is, if it is here."""
        return [None if row < 0 else self._location(int(row)) for row in self._find(ids)]

    def _location(self, number: int) -> Location:
        row = self.rows[number]
        frame = self.frames[row["frame"]]
        return Location(
            self.packs[int(frame["pack"])],
            int(frame["offset"]),
            int(frame["stored"]),
            int(frame["plain"]),
            int(row["offset"]) * BLOCK,
            int(row["length"]) * BLOCK,
        )

    def only(self, frames: npt.NDArray[np.bool_]) -> IndexSegment:
        """The segment less the rows of frames that cannot be had any more; one flag per frame."""
        if frames.all():
            return self
        return IndexSegment(self.packs, self.frames, self.rows[frames[self.rows["frame"]]])


def sorted_rows(rows: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """The rows in the order of their ids."""
    return rows[np.lexsort((rows["low"], rows["high"]))]


def _longest_run(
    rows: npt.NDArray[np.uint64], wanted: npt.NDArray[np.uint64], first: npt.NDArray[np.intp]
) -> int:
    last = np.searchsorted(rows, wanted, side="right")
    return int(np.max(last - first)) if len(wanted) else 0


def decode_index(data: bytes) -> IndexSegment:
    """The segment in `data`. Raises `DamagedData`."""
    if len(data) < _COUNTS.size:
        raise DamagedData("an index is cut off")
    packs, frames, rows = _COUNTS.unpack_from(data)
    names_end = _COUNTS.size + packs * 32
    frames_end = names_end + frames * FRAME.itemsize
    if len(data) != frames_end + rows * ROW.itemsize:
        raise DamagedData("an index has the wrong length")
    names = tuple(data[start : start + 32] for start in range(_COUNTS.size, names_end, 32))
    frame_table = np.frombuffer(data[names_end:frames_end], dtype=FRAME)
    row_table = np.frombuffer(data[frames_end:], dtype=ROW)
    if (frame_table["pack"] >= packs).any() or (row_table["frame"] >= frames).any():
        raise DamagedData("an index contradicts itself")
    if (row_table["high"][1:] < row_table["high"][:-1]).any():
        raise DamagedData("an index is not sorted")
    return IndexSegment(names, frame_table, row_table)
