"""Cutting what no file order is known for: by content, on block borders.

A segment is 4 MiB of a volume. Each 4 KiB block gets a keyed 64-bit digest; AES of the digest
decides whether a chunk ends after the block, so that cut points show nothing about the content
to who lacks the key. Zero blocks are set apart. Chunks end at segment borders, which makes
segments independent of each other and costs about one cut in sixty-four.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from recovery.format.map import SEGMENT_BLOCKS
from recovery.model.extent import Extent, ExtentMap
from recovery.model.size import BLOCK

MEAN_BLOCKS = 16
"""A chunk ends after a block with probability 1 in 16: 64 KiB on average."""
LONGEST_BLOCKS = 64

_WORDS = BLOCK // 8
_FREE, _ZERO, _DATA = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Segment:
    """The used part of one segment as read: `data` is the volume's bytes from `start` on.

    `used` are the block-aligned extents of the volume that `data` holds; between them
    `data` means nothing. A last block that the volume does not fill is padded with zeros.
    """

    start: int
    data: bytearray
    used: ExtentMap


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of blocks of the volume; `id` is its chunk, empty for zeros."""

    start: int
    length: int
    id: bytes
    data: memoryview = field(repr=False)


@dataclass(frozen=True, slots=True)
class CutSegment:
    """A segment's pieces in order, and the digest of its used blocks."""

    pieces: tuple[Piece, ...]
    digest: bytes


class Cutter:
    """Cuts segments under one repository's keys. May be used from several threads."""

    def __init__(self, chunk_key: bytes, cut_key: bytes) -> None:
        self._chunk_key = chunk_key
        expanded = blake3(b"multipliers", key=cut_key).digest(length=BLOCK)
        # Odd multipliers let every bit of a word reach the top of the sum.
        self._multipliers = np.frombuffer(expanded, dtype="<u8").astype(np.uint64) | np.uint64(1)
        self._cipher = Cipher(algorithms.AES(cut_key), modes.ECB())

    def cut(self, segment: Segment) -> CutSegment:
        """The pieces of the segment, each with its chunk id."""
        if not segment.used.extents:
            return CutSegment((), used_digest(segment))
        view = memoryview(segment.data)
        pieces = tuple(
            self._piece(segment, view, first, count, is_zero)
            for first, count, is_zero in self._runs(segment)
        )
        return CutSegment(pieces, used_digest(segment))

    def _piece(
        self, segment: Segment, view: memoryview, first: int, count: int, is_zero: bool
    ) -> Piece:
        data = view[first * BLOCK : (first + count) * BLOCK]
        id = b"" if is_zero else blake3(data, key=self._chunk_key).digest()
        return Piece(segment.start + first * BLOCK, count * BLOCK, id, data)

    def _runs(self, segment: Segment) -> Iterator[tuple[int, int, bool]]:
        """First block (in `data`), number of blocks, whether zero; free blocks left out."""
        words = np.frombuffer(segment.data, dtype="<u8").reshape(-1, _WORDS)
        digests: npt.NDArray[np.uint64] = np.einsum("ij,j->i", words, self._multipliers)
        states = _states(segment, words, digests)
        begins = np.empty(len(words), dtype=bool)
        begins[0] = True
        begins[1:] = (states[1:] != states[:-1]) | (
            self._ends(digests)[:-1] & (states[:-1] == _DATA)
        )
        firsts = np.flatnonzero(begins)
        counts = np.diff(firsts, append=len(words))
        for first, count, state in zip(
            firsts.tolist(), counts.tolist(), states[firsts].tolist(), strict=True
        ):
            if state == _ZERO:
                yield first, count, True
            elif state == _DATA:
                for step in range(0, count, LONGEST_BLOCKS):
                    yield first + step, min(LONGEST_BLOCKS, count - step), False

    def _ends(self, digests: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        padded = np.zeros((len(digests), 2), dtype="<u8")
        padded[:, 0] = digests
        encrypted = self._cipher.encryptor().update(padded.tobytes())
        lowest = np.frombuffer(encrypted, dtype="<u8").reshape(-1, 2)[:, 0]
        ends: npt.NDArray[np.bool_] = lowest % np.uint64(MEAN_BLOCKS) == 0
        return ends


def _states(
    segment: Segment, words: npt.NDArray[np.uint64], digests: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint8]:
    states = np.full(len(words), _FREE, dtype=np.uint8)
    for extent in segment.used:
        first, last = extent.start - segment.start, extent.end - segment.start
        states[first // BLOCK : last // BLOCK] = _DATA
    # A zero block has digest zero; the few others that might have it are told apart here.
    candidates = np.flatnonzero((digests == 0) & (states == _DATA))
    zeros = candidates[~words[candidates].any(axis=1)]
    states[zeros] = _ZERO
    return states


def used_digest(segment: Segment) -> bytes:
    """BLAKE3 of the used blocks in order, as a map page keeps it."""
    hasher = blake3()
    view = memoryview(segment.data)
    for extent in segment.used:
        hasher.update(view[extent.start - segment.start : extent.end - segment.start])
    return hasher.digest()


def segment_extents(used: ExtentMap, first_block: int) -> ExtentMap:
    """The used extents in the segment that starts at block `first_block`."""
    return used.within(Extent(first_block * BLOCK, SEGMENT_BLOCKS * BLOCK))
