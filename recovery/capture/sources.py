"""What a source holds: its layout, and which of its blocks are in use. Reads only."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from recovery.capture.plan import UsedBlocks
from recovery.errors import CommandFailed, DamagedData, DeviceFailed, MissingTool
from recovery.model.extent import Extent
from recovery.model.layout import DiskNode, Filesystem, Luks, Node, Partition, Swap, Table
from recovery.system import filesystem, partition_table
from recovery.system.block_device import open_source, partition_node
from recovery.system.command import Runner
from recovery.system.filesystem import Content

log = logging.getLogger(__name__)

WHOLE = {
    "crypto_LUKS": "it is encrypted and not opened",
    "LVM2_member": "LVM is stored as it lies on the disk",
    "linux_raid_member": "a RAID member is stored as it lies on the disk",
    "BitLocker": "it is encrypted by BitLocker",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A disk or image file to capture, as the layout node that it becomes."""

    path: str
    disk: DiskNode
    is_image: bool


@dataclass(frozen=True, slots=True)
class InspectedSource:
    """The layout nodes of a source from the disk up, and the used blocks of its volumes by id."""

    nodes: tuple[Node, ...]
    used: tuple[tuple[str, UsedBlocks], ...]


def inspect_source(runner: Runner, source: Source) -> InspectedSource:
    """Look at the partition table, at each partition's content, and at its allocation data."""
    table = _read_table(source)
    nodes: list[Node] = [source.disk, *table]
    used: list[tuple[str, UsedBlocks]] = []
    partitions = [node for node in table if isinstance(node, Partition)]
    volumes = [(part.id, Extent(part.start, part.size), part.number) for part in partitions]
    if not table:
        volumes = [(source.disk.id, Extent(0, source.disk.disk.size), 0)]
    for id, extent, number in volumes:
        content = filesystem.identify(runner, source.path, extent)
        node = content.node(id)
        if node is not None:
            nodes.append(node)
        used.append((id, _used_blocks(runner, source, extent, number, content, node)))
    return InspectedSource(tuple(nodes), tuple(used))


def _read_table(source: Source) -> tuple[Table | Partition, ...]:
    """The table, nothing where there is none or a damaged one: then the disk is one volume.

    The boot sector of something unknown looks like an MBR without partitions, so that counts
    as no table.
    """
    try:
        nodes = partition_table.read_layout(source.path, source.disk)
        match nodes:
            case (Table(scheme="dos"),):
                return ()
        return nodes
    except DamagedData as error:
        log.warning("%s is captured as one volume: %s", source.path, error)
        return ()


def _used_blocks(
    runner: Runner,
    source: Source,
    extent: Extent,
    number: int,
    content: Content,
    node: Node | None,
) -> UsedBlocks:
    with _reading(source, extent) as read:
        match node:
            case Swap():
                found = filesystem.swap_blocks(read, extent.length)
                return UsedBlocks(found, "" if found else "it holds a hibernated system")
            case Filesystem():
                reason = filesystem.reason_not_to_trust(node.kind, read)
                if reason:
                    return UsedBlocks(None, reason)
                return _ask_partclone(runner, source, extent, number, node.kind)
            case Luks() | _:
                default = "no filesystem is recognised on it"
                return UsedBlocks(None, WHOLE.get(content.kind, default))


def _ask_partclone(
    runner: Runner, source: Source, extent: Extent, number: int, kind: str
) -> UsedBlocks:
    try:
        with _node(runner, source, extent, number) as node:
            if kind == "xfs" and (reason := filesystem.xfs_reason(runner, node)):
                return UsedBlocks(None, reason)
            return UsedBlocks(filesystem.used_blocks(runner, kind, node, extent.length))
    except MissingTool as error:
        return UsedBlocks(None, error.message)
    except CommandFailed as error:
        last = (error.hint.splitlines() or [error.message])[-1]
        return UsedBlocks(None, f"its allocation data cannot be read ({last.strip()})")


@contextmanager
def _node(runner: Runner, source: Source, extent: Extent, number: int) -> Iterator[str]:
    """A device or file that begins with the volume; a file is never opened for writing."""
    if not source.is_image:
        yield partition_node(source.path, number) if number else source.path
    else:
        with filesystem.volume_node(runner, source.path, extent) as node:
            yield node


@contextmanager
def _reading(source: Source, extent: Extent) -> Iterator[Callable[[int, int], bytes]]:
    file = open_source(source.path)

    def read(start: int, length: int) -> bytes:
        length = max(0, min(length, extent.length - start))
        try:
            data = os.pread(file, length, extent.start + start) if length else b""
        except OSError as error:
            raise DeviceFailed(
                f"could not read {source.path} at byte {extent.start + start}: {error.strerror}",
                hint="check the disk and its cable",
            ) from error
        # Fields that a short volume does not have read as zeros.
        return data.ljust(max(length, 4096), b"\0")

    try:
        yield read
    finally:
        os.close(file)
