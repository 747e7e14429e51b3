"""An `ExtentMap` is a set of bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recovery.model.extent import Extent, ExtentMap, between

EXTENTS = st.lists(st.builds(Extent, st.integers(0, 200), st.integers(1, 30)), max_size=8)
WINDOWS = st.builds(Extent, st.integers(0, 230), st.integers(1, 100))


def as_set(extents: ExtentMap | list[Extent]) -> set[int]:
    return {position for extent in extents for position in range(extent.start, extent.end)}


def is_canonical(extents: ExtentMap) -> bool:
    pairs = zip(extents.extents, extents.extents[1:], strict=False)
    return all(before.end < after.start for before, after in pairs)


@given(EXTENTS)
def test_any_extents_become_the_set_of_their_bytes(extents: list[Extent]) -> None:
    found = ExtentMap.of(extents)
    assert as_set(found) == as_set(extents)
    assert found.total == len(as_set(extents))
    assert is_canonical(found)


@given(EXTENTS, EXTENTS)
def test_union(one: list[Extent], other: list[Extent]) -> None:
    found = ExtentMap.of(one).union(ExtentMap.of(other))
    assert as_set(found) == as_set(one) | as_set(other)
    assert is_canonical(found)


@given(EXTENTS, WINDOWS)
def test_within_and_holes_divide_a_window(extents: list[Extent], window: Extent) -> None:
    known = ExtentMap.of(extents)
    inside, holes = known.within(window), known.holes(window)
    assert as_set(inside) == as_set(extents) & as_set([window])
    assert as_set(holes) == as_set([window]) - as_set(extents)
    assert is_canonical(inside)
    assert is_canonical(holes)


@given(EXTENTS, st.integers(0, 260))
def test_contains(extents: list[Extent], position: int) -> None:
    assert (position in ExtentMap.of(extents)) == (position in as_set(extents))


@given(EXTENTS, st.integers(1, 40), st.integers(1, 260))
def test_widened_covers_whole_blocks(extents: list[Extent], step: int, end: int) -> None:
    found = ExtentMap.of(extents).widened(step, end)
    blocks = {position // step for position in as_set(extents) if position < end}
    starts = [extent for extent in extents if extent.start < end]
    blocks |= {
        block for extent in starts for block in range(extent.start // step, -(-extent.end // step))
    }
    whole = [between(block * step, (block + 1) * step) for block in blocks]
    assert as_set(found) == {position for position in as_set(whole) if position < end}
    assert is_canonical(found)
