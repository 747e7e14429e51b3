"""Maps: where each run of a volume's blocks is, one page per GiB of the volume.

A page covers every block of its GiB exactly once, in order, by runs that are free, zero or a
piece of a chunk. It also carries a BLAKE3 of every 4 MiB of the volume (its used blocks in
order, zero blocks included), by which a restored device is verified without the chunks.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from recovery.errors import DamagedData
from recovery.model.extent import Extent, ExtentMap
from recovery.model.size import BLOCK, GiB, MiB

PAGE_SIZE = 1 * GiB
PAGE_BLOCKS = PAGE_SIZE // BLOCK
SEGMENT_SIZE = 4 * MiB
SEGMENT_BLOCKS = SEGMENT_SIZE // BLOCK

FREE = 0xFFFFFFFF
ZERO = 0xFFFFFFFE

_HEADER = struct.Struct("<4sIIII")
_MAGIC = b"MAP1"
RUN = np.dtype([("source", "<u4"), ("blocks", "<u4"), ("offset", "<u4")])
Runs = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Run:
    """`blocks` blocks that are free, zero, or block `offset` onwards of chunk number `source`."""

    source: int
    blocks: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class MapPage:
    """One page: chunk ids, runs that refer to them, digests of its 4 MiB segments.

    The digest of a segment without used blocks is that of no bytes.
    """

    ids: tuple[bytes, ...]
    runs: tuple[Run, ...]
    digests: tuple[bytes, ...]

    @property
    def blocks(self) -> int:
        """Number of blocks that the page covers."""
        return sum(run.blocks for run in self.runs)

    def used(self) -> ExtentMap:
        """The bytes of the page that are not free, counted from the page's start."""
        extents = []
        position = 0
        for run in self.runs:
            if run.source != FREE:
                extents.append(Extent(position * BLOCK, run.blocks * BLOCK))
            position += run.blocks
        return ExtentMap.of(extents)


def encode_page(page: MapPage) -> bytes:
    """The bytes of a page."""
    runs = np.array([(run.source, run.blocks, run.offset) for run in page.runs], dtype=RUN)
    counts = (page.blocks, len(page.ids), len(runs), len(page.digests))
    head = _HEADER.pack(_MAGIC, *counts)
    return b"".join((head, *page.ids, runs.tobytes(), *page.digests))


def decode_page(data: bytes) -> MapPage:
    """The page in `data`. Raises `DamagedData` if it does not cover each block just once."""
    if len(data) < _HEADER.size:
        raise DamagedData("a map page is cut off")
    magic, blocks, id_count, run_count, digest_count = _HEADER.unpack_from(data)
    ends = _ends(_HEADER.size, id_count * 32, run_count * RUN.itemsize, digest_count * 32)
    if magic != _MAGIC or len(data) != ends[-1] or blocks > PAGE_BLOCKS:
        raise DamagedData("a map page is damaged")
    table = np.frombuffer(data[ends[0] : ends[1]], dtype=RUN)
    page = MapPage(
        _split(data[_HEADER.size : ends[0]]),
        tuple(Run(*row) for row in table.tolist()),
        _split(data[ends[1] :]),
    )
    _check_page(page, table, blocks)
    return page


def _ends(start: int, *lengths: int) -> list[int]:
    ends = []
    for length in lengths:
        start += length
        ends.append(start)
    return ends


def _split(data: bytes) -> tuple[bytes, ...]:
    return tuple(data[start : start + 32] for start in range(0, len(data), 32))


def _check_page(page: MapPage, table: Runs, blocks: int) -> None:
    source = table["source"]
    sound = (
        int(table["blocks"].sum(dtype=np.uint64)) == blocks
        and bool((table["blocks"] > 0).all())
        and bool(((source < len(page.ids)) | (source >= ZERO)).all())
        and len(page.digests) == -(-blocks // SEGMENT_BLOCKS)
    )
    if not sound:
        raise DamagedData("a map page contradicts itself")


def merge_runs(runs: Sequence[Run]) -> tuple[Run, ...]:
    """The same cover with neighbouring free, and neighbouring zero, runs joined."""
    if not runs:
        return ()
    merged = [runs[0]]
    for before, after in pairwise(runs):
        if after.source == before.source and after.source >= ZERO:
            merged[-1] = Run(after.source, merged[-1].blocks + after.blocks)
        else:
            merged.append(after)
    return tuple(merged)
