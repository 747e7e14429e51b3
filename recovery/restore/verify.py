"""Comparing a disk or image file with what a snapshot says was captured."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import replace

from recovery.errors import DamagedData
from recovery.format.titles import title_of
from recovery.model.event import Listener, Outcome, StepDone, StepStarted
from recovery.model.layout import DiskNode, Partition
from recovery.model.size import format_size
from recovery.model.snapshot import Snapshot
from recovery.repository.chunk_reader import ChunkReader
from recovery.repository.repository import Repository
from recovery.restore.write import Progress, Target, verify_volume
from recovery.system import block_device, partition_table


def verify_target(
    repository: Repository,
    snapshot: Snapshot,
    source: DiskNode,
    target: str,
    listener: Listener,
    cancelled: threading.Event,
) -> Outcome:
    """Compare the partitions, and every used block. Raises `DamagedData` with what differs."""
    volumes = [volume for volume in snapshot.volumes if volume.disk == source.id]
    reader = ChunkReader(repository)
    wrong = _compare_table(snapshot, source, target)
    facts: list[str] = []
    file = block_device.open_source(target)
    try:
        # What was written a moment ago is to be read from the disk, not from memory.
        block_device.drop_caches(file, 0, block_device.size_of(target))
        for number, volume in enumerate(volumes, 1):
            name = title_of(snapshot.layout, volume.id)
            listener(StepStarted(number, len(volumes), f"verify {name}", volume.used))
            place = Target(file, target, volume.start)
            bad = verify_volume(reader, volume, place, Progress(listener, cancelled))
            facts.append(f"{name}: {format_size(volume.used)} compared")
            if bad:
                first = volume.start + bad[0].start
                wrong.append(f"{name} differs in {len(bad)} places, the first at byte {first}")
            listener(StepDone(number, facts[-1]))
    finally:
        os.close(file)
    if wrong:
        raise DamagedData(
            f"{target} is not as captured: {'; '.join(wrong)}",
            hint="a system that was started or adapted since differs; else restore again",
        )
    return Outcome(True, True, tuple(facts))


def _compare_table(snapshot: Snapshot, source: DiskNode, target: str) -> list[str]:
    wanted = snapshot.layout.partitions(source.id)
    if not wanted:
        return []
    size = block_device.size_of(target)
    disk = replace(source, disk=replace(source.disk, size=size))
    try:
        nodes = partition_table.read_layout(target, disk)
    except DamagedData as error:
        return [error.message]
    return differing_partitions(wanted, (node for node in nodes if isinstance(node, Partition)))


def differing_partitions(wanted: Iterable[Partition], found: Iterable[Partition]) -> list[str]:
    """What is wrong with the partitions of a target, in words; they may have grown."""
    there = {partition.number: partition for partition in found}
    expected = {partition.number: partition for partition in wanted}
    wrong = [f"partition {number} is not in the snapshot" for number in there.keys() - expected]
    for number, partition in expected.items():
        match there.get(number):
            case None:
                wrong.append(f"partition {number} is missing")
            case other if other.size < partition.size:
                wrong.append(f"partition {number} is smaller")
            case other if replace(other, size=partition.size) != partition:
                wrong.append(f"partition {number} has another place, type, name or identifier")
            case _:
                pass
    return wrong
