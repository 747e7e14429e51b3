"""Cutting covers every used block once, names it rightly, and cuts the same wherever it lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recovery.capture.chunking import LONGEST_BLOCKS, Cutter, Piece, Segment, segment_extents
from recovery.format.map import SEGMENT_BLOCKS, SEGMENT_SIZE
from recovery.model.extent import Extent, ExtentMap
from recovery.model.size import BLOCK
from tests.engine import capture_bytes, check, expected, new_repository, restore_bytes
from tests.stores import MemoryStore

CHUNK_KEY = bytes(range(32))
CUT_KEY = bytes(range(32, 64))
CUTTER = Cutter(CHUNK_KEY, CUT_KEY)

NOISE = [blake3(number.to_bytes(4, "big")).digest(length=BLOCK) for number in range(256)]
ZERO_BLOCK = bytes(BLOCK)


def block(number: int) -> bytes:
    """Block 0 is zero, others are noise; 1 differs from zero in its last byte only."""
    if number == 1:
        return bytes(BLOCK - 1) + b"\1"
    return NOISE[number % 256] if number else ZERO_BLOCK


# Runs, since zeros and equal blocks come in runs.
contents = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 90), st.booleans()), min_size=1, max_size=8
).map(
    lambda runs: b"".join(
        block(first + place if grows and first > 1 else first)
        for first, count, grows in runs
        for place in range(count)
    )[:SEGMENT_SIZE]
)


@st.composite
def used_maps(draw: st.DrawFn, blocks: int) -> ExtentMap:
    """Any block-aligned extents below `blocks`."""
    starts = st.integers(0, blocks - 1)
    pairs = draw(st.lists(st.tuples(starts, st.integers(1, blocks)), max_size=6))
    return ExtentMap.of(
        Extent(start * BLOCK, min(count, blocks - start) * BLOCK) for start, count in pairs
    )


def segment_of(content: bytes, used: ExtentMap, at: int = 0) -> Segment:
    """As the reader makes it: from the first used block to the last, noise in between."""
    if not used.extents:
        return Segment(at, bytearray(), used)
    start, end = used.extents[0].start, used.extents[-1].end
    data = bytearray(b"\x77" * (end - start))
    for extent in used:
        data[extent.start - start : extent.end - start] = content[extent.start : extent.end]
    moved = ExtentMap(tuple(Extent(at + extent.start, extent.length) for extent in used))
    return Segment(at + start, data, moved)


@given(st.data(), contents, st.integers(0, 1000))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_pieces_cover_the_used_blocks_once(data: st.DataObject, content: bytes, at: int) -> None:
    used = data.draw(used_maps(len(content) // BLOCK))
    base = at * SEGMENT_SIZE
    cut = CUTTER.cut(segment_of(content, used, base))
    position = 0
    found = []
    for piece in cut.pieces:
        start = piece.start - base
        assert start >= position, "pieces overlap or are unsorted"
        assert start % BLOCK == piece.length % BLOCK == 0 < piece.length
        position = start + piece.length
        found.append(Extent(start, piece.length))
        expect = content[start:position]
        assert bytes(piece.data) == expect
        if piece.id:
            assert piece.length <= LONGEST_BLOCKS * BLOCK
            assert piece.id == blake3(expect, key=CHUNK_KEY).digest()
            blocks = (expect[at : at + BLOCK] for at in range(0, len(expect), BLOCK))
            assert ZERO_BLOCK not in blocks, "a zero block in a chunk"
        else:
            assert not any(expect), "what is called zero is not"
    assert ExtentMap.of(found) == used
    hasher = blake3()
    for extent in used:
        hasher.update(content[extent.start : extent.end])
    assert cut.digest == hasher.digest()


def ids_of(pieces: tuple[Piece, ...]) -> list[bytes]:
    return [piece.id for piece in pieces if piece.id]


@given(contents, st.integers(1, 200), st.integers(2, 250))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_the_same_content_gives_the_same_chunks_elsewhere(
    content: bytes, shift: int, before: int
) -> None:
    """Behind other blocks, but for what lies before its first cut of its own."""
    whole = ExtentMap((Extent(0, len(content)),))
    moved = b"".join(block(before) for _ in range(shift)) + content
    if len(moved) > SEGMENT_SIZE:
        return
    alone = CUTTER.cut(segment_of(content, whole)).pieces
    behind = CUTTER.cut(segment_of(moved, ExtentMap((Extent(0, len(moved)),)))).pieces
    starts = {piece.start - shift * BLOCK for piece in behind}
    common = next((piece.start for piece in alone if piece.start in starts), len(content))
    rest = tuple(piece for piece in alone if piece.start >= common)
    rest_behind = tuple(piece for piece in behind if piece.start - shift * BLOCK >= common)
    # From the first common border on everything is equal.
    assert ids_of(rest) == ids_of(rest_behind)


def test_borders_meet_soon() -> None:
    """Content behind something else has its own cuts again after a few chunks."""
    content = b"".join(NOISE)
    alone = CUTTER.cut(segment_of(content, ExtentMap((Extent(0, len(content)),)))).pieces
    moved = NOISE[7] * 5 + content
    behind = CUTTER.cut(segment_of(moved, ExtentMap((Extent(0, len(moved)),)))).pieces
    shared = set(ids_of(alone)) & set(ids_of(behind))
    assert len(shared) >= 0.7 * len(alone)
    mean = len(content) / len(alone) / BLOCK
    assert 6 <= mean <= 32, "chunks are 64 KiB on average"


def test_free_blocks_between_do_not_leak_into_chunks() -> None:
    content = b"".join(NOISE[:64])
    used = ExtentMap((Extent(0, 8 * BLOCK), Extent(20 * BLOCK, 8 * BLOCK)))
    one = CUTTER.cut(segment_of(content, used))
    segment = segment_of(content, used)
    segment.data[8 * BLOCK : 20 * BLOCK] = os.urandom(12 * BLOCK)
    assert [piece.id for piece in CUTTER.cut(segment).pieces] == [p.id for p in one.pieces]
    assert CUTTER.cut(segment).digest == one.digest


def test_another_key_gives_other_names_and_other_cuts() -> None:
    content = b"".join(NOISE)
    segment = segment_of(content, ExtentMap((Extent(0, len(content)),)))
    ours = CUTTER.cut(segment).pieces
    renamed = Cutter(CUT_KEY, CUT_KEY).cut(segment).pieces
    assert not {piece.id for piece in ours} & {piece.id for piece in renamed}
    assert [piece.start for piece in ours] == [piece.start for piece in renamed]
    recut = Cutter(CHUNK_KEY, CHUNK_KEY).cut(segment).pieces
    assert [piece.start for piece in ours] != [piece.start for piece in recut]


@given(st.data())
def test_segments_share_out_the_used_blocks(data: st.DataObject) -> None:
    blocks = 3 * SEGMENT_BLOCKS
    used = data.draw(used_maps(blocks))
    parts = [segment_extents(used, first) for first in range(0, blocks, SEGMENT_BLOCKS)]
    assert ExtentMap.of(extent for part in parts for extent in part) == used


# From used extents and content to the restored bytes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("round")


@given(st.data(), st.lists(contents, min_size=1, max_size=3), st.integers(0, BLOCK - 1))
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_any_used_blocks_with_any_content_come_back(
    folder: Path, data: st.DataObject, parts: list[bytes], odd: int
) -> None:
    """Over segment borders, with an end that is no whole block; free blocks stay untouched."""
    content = b"".join(parts) + block(9)[:odd]
    used = data.draw(st.none() | used_bytes(len(content)))
    if used is not None and not used.extents:
        used = None
    repository = new_repository(MemoryStore())
    done = capture_bytes(repository, content, folder, used=used)
    assert restore_bytes(repository, done.snapshot, folder) == expected(content, used)
    assert check(repository).damage == ()


@st.composite
def used_bytes(draw: st.DrawFn, size: int) -> ExtentMap:
    """Extents in bytes, as a filesystem with small blocks may have them."""
    pairs = draw(st.lists(st.tuples(st.integers(0, size - 1), st.integers(1, size)), max_size=5))
    return ExtentMap.of(Extent(start, min(length, size - start)) for start, length in pairs)
