"""Writing volumes of a snapshot to a target, and comparing a target with a snapshot.

Frames are fetched, opened and checked in a pool, each once for all that a GiB of the volume
wants of it, and written from there. Free blocks of the volume are left as they are.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from blake3 import blake3

from recovery.errors import DamagedData, DeviceFailed, Interrupted, OutOfSpace
from recovery.format.index import Location
from recovery.format.map import FREE, PAGE_SIZE, SEGMENT_SIZE, ZERO, MapPage, decode_page
from recovery.model.event import BytesMoved, Listener
from recovery.model.extent import Extent, ExtentMap, between
from recovery.model.size import BLOCK
from recovery.model.snapshot import Volume
from recovery.repository.chunk_reader import ChunkReader
from recovery.system.block_device import zero_range

WORKERS = max(2, min(8, os.cpu_count() or 2))
IN_FLIGHT = 2 * WORKERS
REPORT_INTERVAL = 0.2
"""Seconds between two progress events."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a volume goes: an open descriptor, and the first byte of the volume on it.

    `blank` tells that the target reads as zeros where nothing was written yet.
    """

    file: int
    name: str
    start: int
    blank: bool = False


@dataclass(frozen=True, slots=True)
class _Piece:
    """Blocks of a frame for the volume: from `source` (in the frame) to `start`, in bytes."""

    start: int
    source: int
    length: int

    @property
    def ends(self) -> tuple[int, int]:
        """First byte behind the piece in the volume, and in the frame."""
        return self.start + self.length, self.source + self.length


class Progress:
    """Counts bytes over threads and reports now and then."""

    def __init__(self, listener: Listener, cancelled: threading.Event) -> None:
        self._listener = listener
        self._cancelled = cancelled
        self._done = 0
        self._reported = 0.0

    def moved(self, count: int) -> None:
        """Add to what is done. Raises `Interrupted` after a cancel."""
        if self._cancelled.is_set():
            raise Interrupted(
                "the restore was stopped; the target is not complete",
                hint="start the restore again to complete it; the snapshot is not affected",
            )
        self._done += count
        now = time.monotonic()
        if now - self._reported >= REPORT_INTERVAL:
            self._reported = now
            self._listener(BytesMoved(self._done))


def read_pages(reader: ChunkReader, volume: Volume) -> Iterator[tuple[int, MapPage]]:
    """Start (bytes of the volume) and content of each map page. Raises `DamagedData`."""
    if len(volume.map) != -(-volume.size // PAGE_SIZE):
        raise DamagedData(f"the map of {volume.id} does not cover it")
    for number, stream in enumerate(volume.map):
        page = decode_page(reader.read_document(stream))
        expected = min(PAGE_SIZE, volume.size - number * PAGE_SIZE)
        if page.blocks != -(-expected // BLOCK):
            raise DamagedData(f"the map of {volume.id} does not cover it")
        yield number * PAGE_SIZE, page


def write_volume(reader: ChunkReader, volume: Volume, target: Target, progress: Progress) -> None:
    """Write every used block of the volume. Raises `DamagedData`, `DeviceFailed`, `Interrupted`."""
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="restore") as executor:
        jobs = _jobs(reader, volume, target)
        for count in run_ahead(executor, jobs):
            progress.moved(count)


def run_ahead(executor: ThreadPoolExecutor, jobs: Iterable[Callable[[], int]]) -> Iterator[int]:
    """Results of the jobs in order, some of them running ahead; the first failure ends it."""
    waiting: deque[Future[int]] = deque()
    try:
        for job in jobs:
            waiting.append(executor.submit(job))
            if len(waiting) >= IN_FLIGHT:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _jobs(reader: ChunkReader, volume: Volume, target: Target) -> Iterator[Callable[[], int]]:
    for start, page in read_pages(reader, volume):
        locations = reader.locate(page.ids) if page.ids else []
        frames: dict[tuple[bytes, int], list[tuple[int, _Piece]]] = {}
        position = start
        for run in page.runs:
            length = run.blocks * BLOCK
            if run.source == ZERO:
                yield _zero_job(target, volume, Extent(position, length))
            elif run.source != FREE:
                location = locations[run.source]
                piece = _piece(position, run.offset * BLOCK, length, location)
                frame = (location.pack, location.frame_offset)
                frames.setdefault(frame, []).append((run.source, piece))
            position += length
        for pieces in frames.values():
            yield _frame_job(reader, page, locations, pieces, volume, target)


def _piece(position: int, offset: int, length: int, location: Location) -> _Piece:
    if offset + length > location.length:
        raise DamagedData("a map refers to bytes that its chunk does not have")
    return _Piece(position, location.offset + offset, length)


def _zero_job(target: Target, volume: Volume, extent: Extent) -> Callable[[], int]:
    def zero() -> int:
        if not target.blank:
            with told(target.name):
                length = min(extent.end, volume.size) - extent.start
                zero_range(target.file, target.start + extent.start, length)
        return extent.length

    return zero


def _frame_job(
    reader: ChunkReader,
    page: MapPage,
    locations: list[Location],
    pieces: list[tuple[int, _Piece]],
    volume: Volume,
    target: Target,
) -> Callable[[], int]:
    def write() -> int:
        first = locations[pieces[0][0]]
        frame = memoryview(reader.read_frame(first))
        for number in {number for number, _ in pieces}:
            place = locations[number]
            data = frame[place.offset : place.offset + place.length]
            reader.check(page.ids[number], data)
        with told(target.name):
            for piece in _joined(piece for _, piece in pieces):
                end = piece.source + min(piece.length, volume.size - piece.start)
                write_all(target.file, frame[piece.source : end], target.start + piece.start)
        return sum(piece.length for _, piece in pieces)

    return write


def _joined(pieces: Iterable[_Piece]) -> Iterator[_Piece]:
    """The same pieces, neighbours in frame and volume joined to larger writes."""
    last: _Piece | None = None
    for piece in sorted(pieces, key=lambda piece: piece.start):
        if last and last.ends == (piece.start, piece.source):
            last = _Piece(last.start, last.source, last.length + piece.length)
            continue
        if last:
            yield last
        last = piece
    if last:
        yield last


def write_all(file: int, data: memoryview, position: int) -> None:
    """Write all of `data` at `position`, in as many pieces as the system takes."""
    while data:
        count = os.pwrite(file, data, position)
        data = data[count:]
        position += count


@contextmanager
def told(name: str) -> Iterator[None]:
    """Turns the system's error into a sentence about the target `name`."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OutOfSpace(
                f"{name} is full; the restore is not complete",
                hint="make room, or choose another target; the snapshot is not affected",
            ) from error
        raise DeviceFailed(
            f"could not write to {name}: {error.strerror}; the restore is not complete",
            hint="check the disk and its cable, or choose another target",
        ) from error


def verify_volume(
    reader: ChunkReader,
    volume: Volume,
    target: Target,
    progress: Progress,
) -> tuple[Extent, ...]:
    """Read the target back; returns the segments of 4 MiB whose used blocks are not as captured."""
    wrong: list[Extent] = []
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="verify") as executor:
        jobs = _verify_jobs(reader, volume, target, wrong)
        for count in run_ahead(executor, jobs):
            progress.moved(count)
    return tuple(sorted(wrong))


def _verify_jobs(
    reader: ChunkReader, volume: Volume, target: Target, wrong: list[Extent]
) -> Iterator[Callable[[], int]]:
    for start, page in read_pages(reader, volume):
        used = page.used()
        for number, digest in enumerate(page.digests):
            window = Extent(number * SEGMENT_SIZE, SEGMENT_SIZE)
            extents = used.within(window)
            if extents.extents:
                yield _verify_job(volume, target, start, extents, digest, wrong)


def _verify_job(
    volume: Volume,
    target: Target,
    start: int,
    extents: ExtentMap,
    digest: bytes,
    wrong: list[Extent],
) -> Callable[[], int]:
    def verify() -> int:
        hasher = blake3()
        # A target that ends early must not pass for one that ends in zeros.
        short = False
        for extent in extents:
            begin = start + extent.start
            length = min(extent.length, volume.size - begin)
            data = _read(target, begin, length)
            short = short or len(data) < length
            hasher.update(data.ljust(extent.length, b"\0"))
        if short or hasher.digest() != digest:
            first, last = extents.extents[0], extents.extents[-1]
            wrong.append(between(start + first.start, start + last.end))
        return extents.total

    return verify


def _read(target: Target, start: int, length: int) -> bytes:
    parts = []
    while length > 0:
        try:
            part = os.pread(target.file, length, target.start + start)
        except OSError as error:
            raise DeviceFailed(
                f"could not read back from {target.name}: {error.strerror}",
                hint="the disk does not keep what is written to it; use another one",
            ) from error
        if not part:
            break
        parts.append(part)
        start += len(part)
        length -= len(part)
    return b"".join(parts)
