"""Sorting and searching more index rows than should be in memory, in a temporary file.

Rows are written as they come, apart by the first byte of their id, then sorted byte by byte.
What is searched afterwards is mapped, and given back to the kernel now and then, so that the
resident size stays small however many chunks a repository has.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np
import numpy.typing as npt

from recovery.errors import OutOfSpace
from recovery.format.index import ROW, IndexSegment, sorted_rows

BUCKETS = 256
BLOCK_ROWS = 1 << 20
_STARTS = np.arange(BUCKETS, dtype=np.uint64) << np.uint64(56)
_HIGH = np.dtype("<u8")


@contextmanager
def told() -> Iterator[None]:
    """Says which place is full."""
    try:
        yield
    except OSError as error:
        raise OutOfSpace(
            f"the index of the repository does not fit into {tempfile.gettempdir()}",
            hint="set TMPDIR to a folder with more room",
        ) from error


class SpooledSegment(IndexSegment):
    """A segment whose rows are in a mapped temporary file, which goes when the segment goes."""

    def __init__(
        self,
        packs: tuple[bytes, ...],
        frames: npt.NDArray[np.void],
        count: int,
        file: IO[bytes],
    ) -> None:
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._map.madvise(mmap.MADV_RANDOM)
        high = np.frombuffer(self._map, dtype=_HIGH, count=count)
        rows = np.frombuffer(self._map, dtype=ROW, count=count, offset=count * _HIGH.itemsize)
        super().__init__(packs, frames, rows, high)

    def forget(self) -> None:
        """Give mapped pages back; the next search reads them again from the page cache."""
        self._map.madvise(mmap.MADV_DONTNEED)


class IndexSpool:
    """Collects segments and joins them into one."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="recovery-index-")  # noqa: SIM115
        self._slices: list[list[tuple[int, int]]] = [[] for _ in range(BUCKETS)]
        self._packs: list[bytes] = []
        self._frames: list[npt.NDArray[np.void]] = []
        self._frame_count = 0
        self._row_count = 0

    def add(self, segment: IndexSegment) -> None:
        """Take the rows of a segment."""
        for start in range(0, len(segment), BLOCK_ROWS):
            rows = segment.rows[start : start + BLOCK_ROWS].copy()
            rows["frame"] += self._frame_count
            self._write(rows)
            segment.forget()
        frames = segment.frames.copy()
        frames["pack"] += len(self._packs)
        self._frames.append(frames)
        self._frame_count += len(frames)
        self._packs.extend(segment.packs)

    def _write(self, rows: npt.NDArray[np.void]) -> None:
        position = self._file.tell()
        bounds = [*np.searchsorted(rows["high"], _STARTS).tolist(), len(rows)]
        for bucket in range(BUCKETS):
            count = bounds[bucket + 1] - bounds[bucket]
            if count:
                place = position + bounds[bucket] * ROW.itemsize
                self._slices[bucket].append((place, count))
        with told():
            self._file.write(rows.tobytes())
        self._row_count += len(rows)

    def finish(self) -> IndexSegment:
        """All rows as one segment."""
        packs = tuple(self._packs)
        if not self._row_count:
            return IndexSegment(packs, self._all_frames(), np.zeros(0, dtype=ROW))
        file = tempfile.TemporaryFile(prefix="recovery-index-")  # noqa: SIM115
        with told():
            high_end = 0
            row_end = self._row_count * _HIGH.itemsize
            for bucket in range(BUCKETS):
                rows = sorted_rows(self._read(bucket))
                file.seek(high_end)
                high_end += file.write(np.ascontiguousarray(rows["high"]).tobytes())
                file.seek(row_end)
                row_end += file.write(rows.tobytes())
            file.flush()
        self._file.close()
        with file:
            return SpooledSegment(packs, self._all_frames(), self._row_count, file)

    def _read(self, bucket: int) -> npt.NDArray[np.void]:
        parts = [np.zeros(0, dtype=ROW)]
        for place, count in self._slices[bucket]:
            self._file.seek(place)
            parts.append(np.frombuffer(self._file.read(count * ROW.itemsize), dtype=ROW))
        return np.concatenate(parts)

    def _all_frames(self) -> npt.NDArray[np.void]:
        return np.concatenate(self._frames) if self._frames else IndexSegment.of(()).frames
