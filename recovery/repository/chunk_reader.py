"""Reading chunks: whole frames, each fetched and opened once for all that is wanted of it.

Every chunk is checked against its id, so what comes out is what was captured.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from recovery.errors import DamagedData
from recovery.format.index import Location
from recovery.format.pack import PackOpener
from recovery.format.seal import HEADER_SIZE
from recovery.model.snapshot import Stream
from recovery.repository.index import pack_name
from recovery.repository.repository import Repository

OPENERS_KEPT = 64
LOST = "run `recovery check --read-data` to see what is affected"


class ChunkReader:
    """Reads chunks of one repository; may be used from several threads."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._openers: OrderedDict[bytes, PackOpener] = OrderedDict()
        self._lock = threading.Lock()
        self._looked_again = False

    def locate(self, ids: Sequence[bytes]) -> list[Location]:
        """Where the chunks are. Raises `DamagedData` if one is nowhere."""
        places = self._repository.index.locate(ids)
        if None in places and not self._looked_again:
            # Another process may have added a snapshot since the index was read.
            self._looked_again = True
            self._repository.forget_index()
            places = self._repository.index.locate(ids)
        found: list[Location] = []
        for id, location in zip(ids, places, strict=True):
            if location is None:
                raise DamagedData(
                    f"the repository has lost chunk {id.hex()[:16]}, which the snapshot needs",
                    hint=LOST,
                )
            found.append(location)
        return found

    def read_frame(self, location: Location) -> bytes:
        """The plain bytes of the frame in which a chunk is. Raises `DamagedData`."""
        name = pack_name(location.pack)
        data = self._repository.store.get_range(name, location.frame_offset, location.frame_stored)
        try:
            return self._opener(location.pack).frame(data)
        except DamagedData as error:
            raise DamagedData(f"{name} is damaged: {error}", hint=LOST) from error

    def check(self, id: bytes, data: bytes | memoryview) -> None:
        """Raise `DamagedData` unless `data` is the chunk called `id`."""
        if self._repository.chunk_id(data) != id:
            raise DamagedData(f"chunk {id.hex()[:16]} is not what was stored", hint=LOST)

    def read_chunk(self, id: bytes, location: Location) -> bytes:
        """One chunk."""
        frame = self.read_frame(location)
        data = frame[location.offset : location.offset + location.length]
        self.check(id, data)
        return data

    def read_document(self, stream: Stream) -> bytes:
        """The bytes that were stored by `ChunkWriter.add_document`."""
        locations = self.locate(stream.chunks)
        chunks = map(self.read_chunk, stream.chunks, locations)
        data = b"".join(chunks)
        if len(data) < stream.length:
            raise DamagedData("a stored document is shorter than the snapshot says", hint=LOST)
        return data[: stream.length]

    def _opener(self, pack: bytes) -> PackOpener:
        with self._lock:
            if pack in self._openers:
                self._openers.move_to_end(pack)
                return self._openers[pack]
        head = self._repository.store.get_range(pack_name(pack), 0, HEADER_SIZE)
        opener = PackOpener(self._repository.keys.master, self._repository.id, head)
        with self._lock:
            self._openers[pack] = opener
            while len(self._openers) > OPENERS_KEPT:
                self._openers.popitem(last=False)
        return opener
