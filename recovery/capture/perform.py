"""Carry out a capture: read in disk order, cut, store what is new, commit the snapshot.

A reader thread keeps a few segments ahead; cutting, hashing and compressing run in a pool;
packs are sealed and written in a thread of their own. All queues are bounded, so memory does
not grow with the disk. Nothing becomes visible before the manifest is written, at the end.
"""

from __future__ import annotations

import errno
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from recovery.capture.chunking import CutSegment, Cutter, Segment, segment_extents
from recovery.capture.plan import CapturePlan, VolumeSource
from recovery.errors import DeviceFailed, Interrupted
from recovery.format.map import (
    FREE,
    PAGE_BLOCKS,
    SEGMENT_BLOCKS,
    ZERO,
    MapPage,
    Run,
    encode_page,
    merge_runs,
)
from recovery.model.event import BytesMoved, Listener, StepDone, StepStarted
from recovery.model.size import BLOCK, align_up, format_size
from recovery.model.snapshot import Snapshot, Stream, Volume
from recovery.repository.chunk_writer import ChunkWriter
from recovery.repository.repository import Repository
from recovery.system.block_device import claimed, open_source

T = TypeVar("T")

WORKERS = max(2, min(8, os.cpu_count() or 2))
READ_AHEAD = 4
"""Segments of 4 MiB that wait between reading and cutting, at most."""
CUT_AHEAD = WORKERS + 2
"""Segments that wait between cutting and storing, at most."""
REPORT_INTERVAL = 0.2
"""Seconds between two progress events."""


@dataclass(frozen=True, slots=True)
class Captured:
    """What a capture did: `new_bytes` of chunks were not stored yet, `pack_bytes` were written."""

    snapshot: Snapshot
    read_bytes: int
    new_bytes: int
    pack_bytes: int


def perform_capture(
    repository: Repository,
    plan: CapturePlan,
    paths: Mapping[str, str],
    draft: Snapshot,
    listener: Listener,
    cancelled: threading.Event,
) -> Captured:
    """Read what `plan` says from `paths` (layout disk id to device or file) and commit `draft`.

    Raises `DeviceFailed` where a source cannot be read, `OutOfSpace`, `Interrupted`; then no
    snapshot appears, and what was stored so far is found again by the next capture.
    """
    volumes: list[Volume] = []
    before = _stamps(paths)
    with (
        claimed(paths.values()),
        ThreadPoolExecutor(WORKERS, thread_name_prefix="capture") as executor,
    ):
        with ChunkWriter(repository, executor) as writer:
            for number, source in enumerate(plan.volumes, 1):
                title = f"read {source.title}"
                total = source.used.total
                listener(StepStarted(number, len(plan.volumes), title, total))
                capture = _VolumeCapture(repository, writer, executor, listener, cancelled)
                volume = capture.run(source, paths[source.disk])
                volumes.append(volume)
                listener(StepDone(number, f"{format_size(volume.stored)} new"))
        if cancelled.is_set():
            raise _interrupted()
        _require_unchanged(before, _stamps(paths))
        snapshot = replace(draft, volumes=tuple(volumes))
        repository.write_snapshot(snapshot)
    return Captured(snapshot, plan.used, writer.chunk_bytes, writer.pack_bytes)


def _stamps(paths: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """Size and time of the last change of each image file; a device has none."""
    found = {path: Path(path).stat() for path in paths.values() if Path(path).is_file()}
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}


def _require_unchanged(
    before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]
) -> None:
    changed = [path for path, stamp in before.items() if after.get(path) != stamp]
    if changed:
        raise DeviceFailed(
            f"{changed[0]} was changed while it was captured",
            hint="no snapshot was made; stop what writes to it (a virtual machine?) and try again",
        )


def _interrupted() -> Interrupted:
    return Interrupted(
        "the capture was stopped; no snapshot was made",
        hint="older snapshots are whole, and the next capture reuses what was stored",
    )


class _VolumeCapture:
    """Captures one volume."""

    def __init__(
        self,
        repository: Repository,
        writer: ChunkWriter,
        executor: ThreadPoolExecutor,
        listener: Listener,
        cancelled: threading.Event,
    ) -> None:
        self._writer = writer
        self._executor = executor
        self._listener = listener
        self._cancelled = cancelled
        self._cutter = Cutter(repository.keys.chunk_id, repository.keys.cut)
        self._reported = 0.0

    def run(self, source: VolumeSource, path: str) -> Volume:
        """Store the volume's chunks and map."""
        before = self._writer.chunk_bytes
        blocks = align_up(source.size, BLOCK) // BLOCK
        pages = []
        done = 0
        # The generator ends its reader thread before the source is closed.
        with (
            closing(_SegmentReader(source, path)) as reader,
            closing(self._cut(reader)) as segments,
        ):
            for first in range(0, blocks, PAGE_BLOCKS):
                builder = _PageBuilder(first, min(PAGE_BLOCKS, blocks - first))
                for start in range(first, first + builder.blocks, SEGMENT_BLOCKS):
                    cut = next(segments)
                    self._store(cut)
                    builder.add(start, cut)
                    done += sum(piece.length for piece in cut.pieces)
                    self._report(done)
                pages.append(self._writer.add_document(encode_page(builder.page())))
        return self._volume(source, tuple(pages), self._writer.chunk_bytes - before)

    def _volume(self, source: VolumeSource, pages: tuple[Stream, ...], stored: int) -> Volume:
        return Volume(
            id=source.id,
            disk=source.disk,
            start=source.start,
            size=source.size,
            used=source.used.total,
            stored=stored,
            coverage=source.coverage,
            reason=source.reason,
            map=pages,
        )

    def _cut(self, reader: _SegmentReader) -> Generator[CutSegment, None, None]:
        """Cut segments in order while the reader and the pool work ahead."""
        waiting: deque[Future[CutSegment]] = deque()
        with closing(read_ahead(iter(reader), READ_AHEAD)) as segments:
            for segment in segments:
                if self._cancelled.is_set():
                    raise _interrupted()
                waiting.append(self._executor.submit(self._cutter.cut, segment))
                if len(waiting) >= CUT_AHEAD:
                    yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _store(self, cut: CutSegment) -> None:
        chunks = [piece for piece in cut.pieces if piece.id]
        if not chunks:
            return
        for piece, known in zip(
            chunks, self._writer.known([piece.id for piece in chunks]).tolist(), strict=True
        ):
            if not known:
                self._writer.add(piece.id, piece.data)

    def _report(self, done: int) -> None:
        now = time.monotonic()
        if now - self._reported >= REPORT_INTERVAL:
            self._reported = now
            self._listener(BytesMoved(done))


def read_ahead(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """The same items, taken by a thread of their own, at most `depth` before they are wanted."""
    taken: queue.Queue[T | _End] = queue.Queue(depth)
    stop = threading.Event()

    def offer(item: T | _End) -> None:
        while not stop.is_set():
            try:
                taken.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def take() -> None:
        try:
            for item in items:
                offer(item)
                if stop.is_set():
                    return
            offer(_End(None))
        except BaseException as error:
            offer(_End(error))

    thread = threading.Thread(target=take, name="reader", daemon=True)
    thread.start()
    try:
        while not isinstance(item := taken.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        thread.join()


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


class _PageBuilder:
    """Collects the runs of one map page."""

    def __init__(self, first: int, blocks: int) -> None:
        self.blocks = blocks
        self._position = first
        self._end = first + blocks
        self._runs: list[Run] = []
        self._numbers: dict[bytes, int] = {}
        self._digests: list[bytes] = []

    def add(self, start: int, cut: CutSegment) -> None:
        """Add the segment that starts at block `start`."""
        for piece in cut.pieces:
            self._fill(piece.start // BLOCK)
            source = ZERO
            if piece.id:
                source = self._numbers.setdefault(piece.id, len(self._numbers))
            self._runs.append(Run(source, piece.length // BLOCK))
            self._position += piece.length // BLOCK
        self._fill(min(start + SEGMENT_BLOCKS, self._end))
        self._digests.append(cut.digest)

    def _fill(self, position: int) -> None:
        if position > self._position:
            self._runs.append(Run(FREE, position - self._position))
            self._position = position

    def page(self) -> MapPage:
        """The finished page."""
        return MapPage(tuple(self._numbers), merge_runs(self._runs), tuple(self._digests))


class _SegmentReader:
    """Reads the used parts of a volume, segment by segment."""

    def __init__(self, source: VolumeSource, path: str) -> None:
        self._source = source
        self._path = path
        self._file = open_source(path)
        os.posix_fadvise(self._file, source.start, source.size, os.POSIX_FADV_SEQUENTIAL)

    def close(self) -> None:
        """Let go of the source."""
        os.close(self._file)

    def __iter__(self) -> Iterator[Segment]:
        blocks = align_up(self._source.size, BLOCK) // BLOCK
        for first in range(0, blocks, SEGMENT_BLOCKS):
            yield self._read(first)

    def _read(self, first: int) -> Segment:
        used = segment_extents(self._source.used, first)
        if not used.extents:
            return Segment(first * BLOCK, bytearray(), used)
        start, end = used.extents[0].start, used.extents[-1].end
        data = bytearray(end - start)
        view = memoryview(data)
        if 2 * used.total >= end - start:
            self._fill(view, start)
        else:
            for extent in used:
                self._fill(view[extent.start - start : extent.end - start], extent.start)
        place = self._source.start + start
        os.posix_fadvise(self._file, place, end - start, os.POSIX_FADV_DONTNEED)
        return Segment(start, data, used)

    def _fill(self, view: memoryview, start: int) -> None:
        """Read the volume's bytes from `start`; what is behind its end stays zero."""
        wanted = min(len(view), self._source.size - start)
        done = 0
        while done < wanted:
            place = self._source.start + start + done
            try:
                count = os.preadv(self._file, [view[done:wanted]], place)
            except OSError as error:
                raise self._failure(place, error) from error
            if count == 0:
                raise self._failure(place, OSError(errno.EIO, "the device ends here"))
            done += count

    def _failure(self, place: int, error: OSError) -> DeviceFailed:
        return DeviceFailed(
            f"could not read {self._path} at byte {place}: {error.strerror}",
            hint="no snapshot was made, older ones are whole; check the disk and its cable",
        )
