"""The plan of a restore: its steps in order, and which disks it must never touch. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from recovery.format.titles import title_of
from recovery.model.layout import Layout, Table
from recovery.model.machine import Disk, DiskId
from recovery.model.plan import (
    AdaptSystem,
    GrowFilesystem,
    Plan,
    SaveOldTable,
    Step,
    VerifyVolume,
    WriteTable,
    WriteVolume,
)
from recovery.model.snapshot import Snapshot, Volume
from recovery.restore.fit import Fit, Placement

SYSTEM_FILESYSTEMS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs"})
"""Filesystems that may hold an installed Linux."""


def plan_restore(
    snapshot: Snapshot,
    source_disk: str,
    fit: Fit,
    target: DiskId,
    *,
    image_file: bool = False,
    adapt: bool = True,
) -> Plan:
    """The steps that bring `source_disk` of the snapshot onto `target` as `fit` says.

    For an image file nothing is saved for undo, grown or adapted: fit it with policy `none`.
    """
    volumes = {volume.id: volume for volume in snapshot.volumes if volume.disk == source_disk}
    placed = tuple((volumes[placement.volume], placement) for placement in fit.placements)
    table = fit.layout.table(source_disk)
    steps: list[Step] = []
    if not image_file:
        steps.append(SaveOldTable(target))
    if table is not None:
        steps.append(_write_table(fit.layout, source_disk, table, target))
    steps += [_write(fit.layout, volume, placement, target) for volume, placement in placed]
    steps += [_verify(fit.layout, volume, placement, target) for volume, placement in placed]
    if not image_file:
        steps += _grow_steps(fit, source_disk, target)
        if adapt and _holds_a_system(fit):
            steps.append(AdaptSystem(target, "make the restored system start on this machine"))
    return Plan(
        title=f"Restore {snapshot.host} of {snapshot.taken_at:%Y-%m-%d %H:%M} UTC to {target}",
        snapshot=snapshot.id,
        steps=tuple(steps),
        made_for=(target,),
        layout=fit.layout,
        notes=fit.notes,
    )


def refusals(target: Disk, protected: Mapping[DiskId, str]) -> str:
    """Why the disk must not be a restore's target, empty if it may be.

    `protected` names disks by what they are for, such as `holds the repository`. That a disk
    is read-only is no reason: the live system sets every disk so until it is chosen.
    """
    if target.problem:
        return target.problem
    reasons = (*((protected[target.id],) if target.id in protected else ()), *target.uses)
    return "; ".join(dict.fromkeys(reasons))


def _write_table(layout: Layout, disk: str, table: Table, target: DiskId) -> WriteTable:
    scheme = "mbr" if table.scheme == "dos" else table.scheme
    return WriteTable(target, len(layout.partitions(disk)), scheme)


def _write(layout: Layout, volume: Volume, placement: Placement, target: DiskId) -> WriteVolume:
    return WriteVolume(
        volume=volume.id,
        title=title_of(layout, volume.id),
        disk=target,
        start=placement.start,
        size=placement.size,
        used=volume.used,
    )


def _verify(layout: Layout, volume: Volume, placement: Placement, target: DiskId) -> VerifyVolume:
    return VerifyVolume(
        volume=volume.id,
        title=title_of(layout, volume.id),
        disk=target,
        start=placement.start,
        used=volume.used,
    )


def _grow_steps(fit: Fit, disk: str, target: DiskId) -> tuple[GrowFilesystem, ...]:
    restored = {placement.volume for placement in fit.placements}
    return tuple(
        GrowFilesystem(
            volume=partition.id,
            title=title_of(fit.layout, partition.id),
            kind=filesystem.kind,
            disk=target,
            number=partition.number,
            start=partition.start,
            size=partition.size,
        )
        for partition in fit.layout.partitions(disk)
        if partition.id in fit.grown and partition.id in restored
        for filesystem in (fit.layout.filesystem(partition.id),)
        if filesystem is not None
    )


def _holds_a_system(fit: Fit) -> bool:
    filesystems = (fit.layout.filesystem(placement.volume) for placement in fit.placements)
    return any(found is not None and found.kind in SYSTEM_FILESYSTEMS for found in filesystems)
