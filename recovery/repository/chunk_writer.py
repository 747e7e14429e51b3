"""Storing new chunks: gathered into frames, compressed in parallel, sealed into packs in order.

Memory is bounded: at most `IN_FLIGHT` frames wait, and one pack is being built. A writer that
is cut off leaves whole packs, and no more than the one being built has to be sent again.
"""

from __future__ import annotations

import queue
import secrets
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future

import numpy as np
import numpy.typing as npt

from recovery.format.pack import (
    FRAME_SIZE,
    PACK_SIZE,
    CompressedFrame,
    PackBuilder,
    compress_frame,
)
from recovery.format.seal import SALT_SIZE
from recovery.model.snapshot import Stream
from recovery.repository.index import pack_name
from recovery.repository.repository import Repository, pieces

IN_FLIGHT = 8


class ChunkWriter:
    """Adds chunks to a repository; used from one thread, as a context manager.

    On leaving without an error everything is in packs and the index is written. On leaving
    with one, what is complete stays, and the rest is dropped.
    """

    def __init__(self, repository: Repository, executor: Executor) -> None:
        repository.require_writable()
        self._repository = repository
        self._index = repository.index
        self._executor = executor
        self._frame: list[tuple[bytes, bytes]] = []
        self._frame_size = 0
        self._queue: queue.Queue[Future[CompressedFrame] | None] = queue.Queue(IN_FLIGHT)
        self._failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write_packs, name="packs", daemon=True)
        self.chunk_bytes = 0
        """Plain bytes of the chunks added."""
        self.pack_bytes = 0
        """Bytes of the packs written."""

    def __enter__(self) -> ChunkWriter:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._close_frame()
            else:
                self._stop.set()
            self._send(None)
        except BaseException:
            self._stop.set()
            raise
        finally:
            self._thread.join()
            # What is in no pack by now never will be: it must not count as known.
            self._index.forget_expected()
        if kind is None:
            self._raise_failure()
            self._index.save()

    def known(self, ids: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        """Which of the chunks need not be added."""
        return self._index.contains(ids)

    def add(self, id: bytes, data: bytes | memoryview) -> None:
        """Store a chunk that was not known when last asked. Waits while too much is in flight.

        Raises what the store raised for an earlier pack.
        """
        if not self._index.expect(id):
            return
        # A copy, so that a few new chunks do not keep whole windows in memory.
        self._frame.append((id, bytes(data)))
        self._frame_size += len(data)
        self.chunk_bytes += len(data)
        if self._frame_size >= FRAME_SIZE:
            self._close_frame()

    def add_document(self, data: bytes) -> Stream:
        """Store bytes of any length as chunks."""
        ids = []
        for piece in pieces(data):
            id = self._repository.chunk_id(piece)
            if not self.known([id])[0]:
                self.add(id, piece)
            ids.append(id)
        return Stream(len(data), tuple(ids))

    def _close_frame(self) -> None:
        if self._frame:
            self._send(self._executor.submit(compress_frame, self._frame))
        self._frame = []
        self._frame_size = 0

    def _send(self, item: Future[CompressedFrame] | None) -> None:
        while self._thread.is_alive():
            try:
                self._queue.put(item, timeout=0.1)
                return
            except queue.Full:
                continue
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _write_packs(self) -> None:
        try:
            builder = self._new_pack()
            for frame in self._frames():
                builder.add(frame)
                if builder.size >= PACK_SIZE:
                    self._put(builder)
                    builder = self._new_pack()
            if builder.frames:
                self._put(builder)
        except BaseException as error:
            self._failure = error

    def _frames(self) -> Iterator[CompressedFrame]:
        while not self._stop.is_set():
            try:
                item = self._queue.get(timeout=0.1)
            except queue.Empty:
                continue
            if item is None:
                return
            yield item.result()

    def _new_pack(self) -> PackBuilder:
        keys = self._repository.keys
        return PackBuilder(keys.master, self._repository.id, secrets.token_bytes(SALT_SIZE))

    def _put(self, builder: PackBuilder) -> None:
        digest, data = builder.finish()
        self._repository.store.put(pack_name(digest), data)
        self.pack_bytes += len(data)
        self._index.add_pack(digest, builder.frames)
