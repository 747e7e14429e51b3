"""Capturing and restoring plain bytes through the real engine, without tables and programs."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recovery.capture import chunking
from recovery.capture.perform import Captured, perform_capture
from recovery.capture.plan import UsedBlocks, VolumeSource, plan_capture
from recovery.capture.sources import InspectedSource
from recovery.format.keyslot import Hardness
from recovery.model.event import Event
from recovery.model.extent import Extent, ExtentMap
from recovery.model.layout import Layout
from recovery.model.size import BLOCK
from recovery.model.snapshot import Snapshot
from recovery.repository import chunk_writer
from recovery.repository.check import Checked, check_repository
from recovery.repository.chunk_reader import ChunkReader
from recovery.repository.repository import Repository, init_repository, open_repository
from recovery.repository.store import Store
from recovery.restore.write import Progress, Target, verify_volume, write_volume
from tests.builders import make_disk_id, make_disk_node, make_snapshot

SOFT = Hardness(memory=64, iterations=1, lanes=1)
"""Argon2id parameters that take no time."""
POISON = 0xA5
"""What a target holds where nothing was restored."""
DISK = "disk0"


def ignore(_: Event) -> None:
    """A listener that does not listen."""


def new_repository(store: Store, passphrase: str | None = None) -> Repository:
    return init_repository(store, passphrase, SOFT)[0]


def capture_bytes(
    repository: Repository,
    content: bytes,
    folder: Path,
    *,
    id: str = "20260102T030405Z-00000001",
    used: ExtentMap | None = None,
) -> Captured:
    """Capture `content` as a disk without a table, of which `used` (or all) bytes are in use."""
    file = folder / "source.raw"
    file.write_bytes(content)
    disk = make_disk_node(disk=make_disk_id(size=len(content)))
    plan = plan_capture(Layout((disk,)), {DISK: UsedBlocks(used)}, all_blocks=False)
    draft = make_snapshot(id=id, layout=plan.layout, volumes=())
    return perform_capture(repository, plan, {DISK: str(file)}, draft, ignore, threading.Event())


def capture_source(
    repository: Repository, inspected: InspectedSource, image: Path
) -> tuple[Captured, VolumeSource]:
    """Capture an image with one volume as it was inspected; also returns how it was planned."""
    plan = plan_capture(Layout(inspected.nodes), dict(inspected.used), all_blocks=False)
    (volume,) = plan.volumes
    draft = make_snapshot(layout=plan.layout, volumes=())
    event = threading.Event()
    done = perform_capture(repository, plan, {DISK: str(image)}, draft, ignore, event)
    return done, volume


def restore_bytes(repository: Repository, snapshot: Snapshot, folder: Path) -> bytes:
    """What a poisoned disk holds after the restore; also verifies it."""
    (volume,) = snapshot.volumes
    file = os.open(folder / "target.raw", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        os.pwrite(file, bytes([POISON]) * volume.size, 0)
        reader = ChunkReader(repository)
        target = Target(file, "target", 0)
        write_volume(reader, volume, target, Progress(ignore, threading.Event()))
        assert verify_volume(reader, volume, target, Progress(ignore, threading.Event())) == ()
        return os.pread(file, volume.size + 1, 0)
    finally:
        os.close(file)


def expected(content: bytes, used: ExtentMap | None) -> bytes:
    """What `restore_bytes` must give: used blocks as captured, poison elsewhere."""
    if used is None:
        return content
    result = bytearray([POISON]) * len(content)
    for extent in used.widened(BLOCK, -(-len(content) // BLOCK) * BLOCK):
        result[extent.start : extent.end] = content[extent.start : extent.end]
    return bytes(result)


def check(repository: Repository) -> Checked:
    """Examine every byte."""
    return check_repository(repository, ignore, threading.Event(), read_data=True)


def reopened(repository: Repository, secret: str | None = None) -> Repository:
    """The same repository as another process would see it."""
    return open_repository(repository.store, secret)


def distinct_blocks(first: int, count: int) -> bytes:
    """Blocks of 4 KiB that compress well and are all different."""
    return b"".join(f"block {first + number}.".encode().ljust(64) * 64 for number in range(count))


def extents(*pairs: tuple[int, int]) -> ExtentMap:
    """An extent map of (start, length) pairs."""
    return ExtentMap.of(Extent(start, length) for start, length in pairs)


@contextmanager
def small_packs(frame: int = BLOCK, pack: int = 384) -> Iterator[None]:
    """Chunks, frames and packs so small that a few blocks make several of each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunking, "MEAN_BLOCKS", 2)
        patch.setattr(chunking, "LONGEST_BLOCKS", 4)
        patch.setattr(chunk_writer, "FRAME_SIZE", frame)
        patch.setattr(chunk_writer, "PACK_SIZE", pack)
        yield
