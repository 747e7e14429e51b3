"""What was captured: the content of a manifest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from recovery.model.layout import Layout
from recovery.model.machine import Machine

Consistency = Literal["offline", "snapshot"]


@dataclass(frozen=True, slots=True)
class Stream:
    """`length` bytes that are stored as chunks, in order; the last chunk may carry padding."""

    length: int
    chunks: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Volume:
    """One captured device: a partition, a raw area or a whole disk.

    `id` is the id of the layout node it fills; `start` its place on `disk` (a layout id),
    `size` its length, `used` how many bytes of it the image holds (zeros included), `stored`
    how many bytes of new chunks this capture had to add for it. `coverage` is `used` where
    free blocks were left out, else `all`, and then `reason` says why. `map` has one stream
    per GiB of the volume.
    """

    id: str
    disk: str
    start: int
    size: int
    used: int
    stored: int
    coverage: Literal["used", "all"]
    reason: str
    map: tuple[Stream, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One captured state of one machine; immutable."""

    id: str
    host: str
    taken_at: datetime
    machine: Machine
    layout: Layout
    volumes: tuple[Volume, ...]
    parent: str
    consistency: Consistency
    tool_version: str
    note: str = ""

    @property
    def used(self) -> int:
        """Bytes that the image holds, zeros included."""
        return sum(volume.used for volume in self.volumes)

    @property
    def size(self) -> int:
        """Bytes of the captured disks."""
        return sum(node.disk.size for node in self.layout.disks)
