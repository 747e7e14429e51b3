"""Packs: the stored objects that hold chunks.

    header (64)  frame*  trailer  footer (64)

A frame is the new chunks of one stretch, compressed and sealed together. The sealed trailer
lists frames and chunks; the footer says where the trailer is. A pack can be listed from its
trailer alone. Where that is lost, each frame still opens by its own header, but where its chunks
begin is then known from an index only.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from blake3 import blake3

from recovery.errors import DamagedData
from recovery.format.seal import (
    HEADER_SIZE,
    TAG_SIZE,
    Header,
    Kind,
    ObjectCipher,
    compress,
    decode_header,
    decompress,
)
from recovery.model.size import BLOCK, MiB

PACK_SIZE = 32 * MiB
"""A pack is closed when it has reached this many bytes."""
FRAME_SIZE = 1 * MiB
"""A frame is closed when its chunks have reached this many plain bytes."""
CHUNK_LIMIT = 1 * MiB
"""Largest chunk, in bytes."""
FRAME_LIMIT = FRAME_SIZE + CHUNK_LIMIT
ID_SIZE = 32

_FRAME = struct.Struct("<4sIIIII")
_FRAME_MAGIC = b"FRAM"
_STORED = 1
"""Flag of a frame that zstd could not make smaller."""

_TABLE = struct.Struct("<I")
_TABLE_FRAME = struct.Struct("<QIIII")
_TABLE_CHUNK = struct.Struct("<32sI")
_TRAILER_PART = 0xFFFFFFFF
_FOOTER = struct.Struct("<8sQII32s8x")
_FOOTER_MAGIC = b"PACKTAIL"
FOOTER_SIZE = _FOOTER.size
TRAILER_LIMIT = 256 * MiB


@dataclass(frozen=True, slots=True)
class ChunkEntry:
    """A chunk in a frame: its id (32 bytes) and plain length, a multiple of 4 KiB."""

    id: bytes
    length: int


@dataclass(frozen=True, slots=True)
class FrameEntry:
    """A frame in a pack: where its header starts, its whole stored and its plain length."""

    offset: int
    stored: int
    plain: int
    number: int
    chunks: tuple[ChunkEntry, ...]

    @property
    def starts(self) -> tuple[int, ...]:
        """Where each chunk starts in the plain frame."""
        return tuple(accumulate((chunk.length for chunk in self.chunks[:-1]), initial=0))


@dataclass(frozen=True, slots=True)
class CompressedFrame:
    """A frame before sealing: `data` is one zstd frame, or the plain bytes where `stored`."""

    data: bytes
    plain: int
    stored: bool
    chunks: tuple[ChunkEntry, ...]


def compress_frame(chunks: Sequence[tuple[bytes, bytes | memoryview]]) -> CompressedFrame:
    """Compress `(id, plain bytes)` pairs into one frame."""
    plain = b"".join(data for _, data in chunks)
    entries = tuple(ChunkEntry(id, len(data)) for id, data in chunks)
    packed = compress(plain)
    if len(packed) >= len(plain):
        return CompressedFrame(plain, len(plain), True, entries)
    return CompressedFrame(packed, len(plain), False, entries)


class PackBuilder:
    """Collects frames into the bytes of one pack."""

    def __init__(self, master: bytes, repository: bytes, salt: bytes) -> None:
        self._header = Header(Kind.PACK, repository, salt)
        self._cipher = ObjectCipher(master, self._header)
        self._parts = [self._header.encode()]
        self.size = HEADER_SIZE
        self.frames: list[FrameEntry] = []

    def add(self, frame: CompressedFrame) -> None:
        """Seal the frame into the pack."""
        number = len(self.frames)
        stored = _FRAME.size + len(frame.data) + TAG_SIZE
        flags = _STORED if frame.stored else 0
        head = _FRAME.pack(_FRAME_MAGIC, number, stored, frame.plain, flags, 0)
        self._parts += (head, self._cipher.seal(number, frame.data, head))
        self.frames.append(FrameEntry(self.size, stored, frame.plain, number, frame.chunks))
        self.size += stored

    def finish(self) -> tuple[bytes, bytes]:
        """Name (32 bytes, BLAKE3 of all bytes) and bytes of the pack."""
        table = encode_table(self.frames)
        packed = self._cipher.seal(_TRAILER_PART, compress(table))
        digest = blake3(packed).digest()
        footer = _FOOTER.pack(_FOOTER_MAGIC, self.size, len(packed), len(table), digest)
        data = b"".join((*self._parts, packed, footer))
        return blake3(data).digest(), data


def encode_table(frames: Sequence[FrameEntry]) -> bytes:
    """The plain trailer."""
    parts = [_TABLE.pack(len(frames))]
    for frame in frames:
        parts.append(
            _TABLE_FRAME.pack(
                frame.offset, frame.stored, frame.plain, frame.number, len(frame.chunks)
            )
        )
        parts += (_TABLE_CHUNK.pack(chunk.id, chunk.length) for chunk in frame.chunks)
    return b"".join(parts)


def decode_table(data: bytes) -> tuple[FrameEntry, ...]:
    """The frames in a plain trailer. Raises `DamagedData`."""
    try:
        (count,) = _TABLE.unpack_from(data)
        position = _TABLE.size
        frames = []
        for _ in range(count):
            offset, stored, plain, number, chunk_count = _TABLE_FRAME.unpack_from(data, position)
            position += _TABLE_FRAME.size
            end = position + chunk_count * _TABLE_CHUNK.size
            rows = _TABLE_CHUNK.iter_unpack(data[position:end])
            chunks = tuple(ChunkEntry(id, length) for id, length in rows)
            position = end
            frame = FrameEntry(offset, stored, plain, number, chunks)
            _check_frame(frame, chunk_count)
            frames.append(frame)
    except struct.error as error:
        raise DamagedData("the table of a pack is cut off") from error
    if position != len(data):
        raise DamagedData("the table of a pack has the wrong length")
    return tuple(frames)


def _check_frame(frame: FrameEntry, chunk_count: int) -> None:
    lengths = [chunk.length for chunk in frame.chunks]
    sound = (
        0 < len(lengths) == chunk_count
        and sum(lengths) == frame.plain <= FRAME_LIMIT
        and all(0 < length <= CHUNK_LIMIT and length % BLOCK == 0 for length in lengths)
    )
    if not sound:
        raise DamagedData("the table of a pack contradicts itself")


@dataclass(frozen=True, slots=True)
class Footer:
    """Where the trailer of a pack is."""

    offset: int
    length: int
    plain: int
    digest: bytes


def decode_footer(data: bytes, pack_size: int) -> Footer:
    """The footer in the last 64 bytes of a pack of `pack_size` bytes. Raises `DamagedData`."""
    if len(data) != FOOTER_SIZE:
        raise DamagedData("a pack is cut off")
    magic, offset, length, plain, digest = _FOOTER.unpack(data)
    end = offset + length + FOOTER_SIZE
    if magic != _FOOTER_MAGIC or end != pack_size or plain > TRAILER_LIMIT:
        raise DamagedData("a pack is cut off or damaged at its end")
    return Footer(offset, length, plain, digest)


class PackOpener:
    """Opens parts of the pack that starts with `head` (its first 64 bytes)."""

    def __init__(self, master: bytes, repository: bytes, head: bytes) -> None:
        self._cipher = ObjectCipher(master, decode_header(head, Kind.PACK, repository))

    def trailer(self, sealed: bytes, footer: Footer) -> tuple[FrameEntry, ...]:
        """The table of the pack. Raises `DamagedData`."""
        if blake3(sealed).digest() != footer.digest:
            raise DamagedData("the table of a pack is damaged")
        return decode_table(decompress(self._cipher.open(_TRAILER_PART, sealed), footer.plain))

    def frame(self, data: bytes) -> bytes:
        """The plain bytes of the stored frame `data`, header included. Raises `DamagedData`."""
        if len(data) < _FRAME.size + TAG_SIZE:
            raise DamagedData("a frame is cut off")
        magic, number, stored, plain, flags, _ = _FRAME.unpack_from(data)
        if magic != _FRAME_MAGIC or stored != len(data) or plain > FRAME_LIMIT:
            raise DamagedData("a frame is damaged")
        body = self._cipher.open(number, data[_FRAME.size :], data[: _FRAME.size])
        if not flags & _STORED:
            return decompress(body, plain)
        if len(body) != plain:
            raise DamagedData("a frame has another length than it says")
        return body
