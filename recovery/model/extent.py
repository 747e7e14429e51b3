"""Half-open byte ranges, and sets of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from recovery.model.size import align_down, align_up


@dataclass(frozen=True, slots=True, order=True)
class Extent:
    """The bytes from `start` up to, not including, `end`; never empty."""

    start: int
    length: int

    def __post_init__(self) -> None:
        if self.start < 0 or self.length <= 0:
            raise ValueError(f"not an extent: start {self.start}, length {self.length}")

    @property
    def end(self) -> int:
        """First byte after the extent."""
        return self.start + self.length


def between(start: int, end: int) -> Extent:
    """The extent from `start` up to `end`."""
    return Extent(start, end - start)


@dataclass(frozen=True, slots=True)
class ExtentMap:
    """A set of bytes: sorted extents that neither overlap nor touch."""

    extents: tuple[Extent, ...] = ()

    def __post_init__(self) -> None:
        for before, after in zip(self.extents, self.extents[1:], strict=False):
            if before.end >= after.start:
                raise ValueError(f"extents overlap, touch or are unsorted: {before}, {after}")

    @classmethod
    def of(cls, extents: Iterable[Extent]) -> ExtentMap:
        """The union of any extents, in any order."""
        merged: list[Extent] = []
        for extent in sorted(extents):
            if merged and extent.start <= merged[-1].end:
                last = merged[-1]
                merged[-1] = between(last.start, max(last.end, extent.end))
            else:
                merged.append(extent)
        return cls(tuple(merged))

    def __iter__(self) -> Iterator[Extent]:
        return iter(self.extents)

    def __len__(self) -> int:
        return len(self.extents)

    @property
    def total(self) -> int:
        """Number of bytes in the set."""
        return sum(extent.length for extent in self.extents)

    def __contains__(self, position: int) -> bool:
        index = bisect_right(self.extents, position, key=lambda extent: extent.start)
        return index > 0 and position < self.extents[index - 1].end

    def union(self, other: ExtentMap) -> ExtentMap:
        """Bytes that are in either set."""
        return ExtentMap.of((*self.extents, *other.extents))

    def within(self, window: Extent) -> ExtentMap:
        """The part of the set that lies in `window`."""
        first = bisect_right(self.extents, window.start, key=lambda extent: extent.end)
        parts: list[Extent] = []
        for extent in self.extents[first:]:
            if extent.start >= window.end:
                break
            parts.append(between(max(extent.start, window.start), min(extent.end, window.end)))
        return ExtentMap(tuple(parts))

    def holes(self, window: Extent) -> ExtentMap:
        """The bytes of `window` that are not in the set."""
        parts: list[Extent] = []
        position = window.start
        for extent in self.within(window):
            if extent.start > position:
                parts.append(between(position, extent.start))
            position = extent.end
        if position < window.end:
            parts.append(between(position, window.end))
        return ExtentMap(tuple(parts))

    def widened(self, step: int, end: int) -> ExtentMap:
        """Every extent rounded outwards to multiples of `step`, but never beyond `end`."""
        return ExtentMap.of(
            between(align_down(extent.start, step), min(align_up(extent.end, step), end))
            for extent in self.extents
            if extent.start < end
        )
