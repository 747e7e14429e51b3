"""Finding things by what they are: repositories on attached media, the disk below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from recovery.application.verbs import RepositoryLocation
from recovery.application.world import World
from recovery.errors import RecoveryError
from recovery.model.layout import Filesystem, Layout, Partition
from recovery.model.machine import DiskId
from recovery.repository.directory_store import DirectoryStore
from recovery.repository.repository import DESCRIPTION, needs_secret
from recovery.system.command import Command
from recovery.system.probe import Sighting

DEPTH = 2
"""Folders below a medium's root in which repositories are looked for."""
# Only these are mounted to look for repositories: others might replay a journal even so.
MOUNTED = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "exfat", "ntfs", "iso9660"})
# Without these a dirty journal on a read-only disk keeps the medium from being mounted.
WITHOUT_JOURNAL = {"ext3": "noload", "ext4": "noload", "xfs": "norecovery", "btrfs": "nologreplay"}
DRIVERS = {"ntfs": "ntfs3"}


def disks_below(path: Path, sighting: Sighting) -> tuple[DiskId, ...]:
    """The disks that hold `path`, none for what is not on a disk."""
    place = _existing(path)
    layout = sighting.probe.layout
    holding = _by_device(place, sighting) or _by_mount(place, layout)
    found = (disk.disk for id in holding for disk in layout.disk_of(id))
    return tuple(dict.fromkeys(found))


def _by_device(place: Path, sighting: Sighting) -> list[str]:
    device = place.stat().st_dev
    found = []
    for id, node in sighting.nodes.items():
        with suppress(OSError):
            if Path(node).stat().st_rdev == device:
                found.append(id)
    return found


def _by_mount(place: Path, layout: Layout) -> list[str]:
    """btrfs has a device number of its own, but its mount points are known."""
    while not place.is_mount():
        place = place.parent
    nodes = (node for node in layout.nodes if isinstance(node, Filesystem))
    return [node.id for node in nodes if str(place) in node.mounts]


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def find_repositories(world: World, sighting: Sighting) -> tuple[RepositoryLocation, ...]:
    """Repositories on every filesystem that is attached, by where they are."""
    found: dict[str, RepositoryLocation] = {}
    layout = sighting.probe.layout
    for filesystem in layout.nodes:
        if isinstance(filesystem, Filesystem):
            for location in _look_into(world, filesystem, layout, sighting.nodes):
                found.setdefault(location.url, location)
    return tuple(found.values())


def _look_into(
    world: World, filesystem: Filesystem, layout: Layout, nodes: Mapping[str, str]
) -> tuple[RepositoryLocation, ...]:
    """The repositories on a filesystem; it stays mounted only where there are any."""
    where = place_in_words(layout, filesystem.on)
    for mount in filesystem.mounts:
        if Path(mount).is_dir():
            return tuple(_locations(Path(mount), where))
    node = nodes.get(filesystem.on)
    if node is None or os.geteuid() != 0 or filesystem.kind not in MOUNTED:
        return ()
    # A folder of this session's own: two screens may look at the same time.
    folder = world.media / world.session.name / Path(node).name
    with suppress(RecoveryError, OSError):
        folder.mkdir(parents=True, exist_ok=True)
        world.runner.run(_mount(filesystem, node, folder))
        locations = tuple(_locations(folder, where))
        if not locations:
            world.runner.run(_unmount(folder))
        return locations
    return ()


def _locations(folder: Path, where: str) -> Iterator[RepositoryLocation]:
    for repository in _repositories_in(folder):
        inside = repository.relative_to(folder)
        name = where if inside == Path() else f"{where}, folder {inside}"
        with suppress(RecoveryError):
            protected = needs_secret(DirectoryStore(repository))
            yield RepositoryLocation(str(repository), name, protected)


def _unmount(folder: Path) -> Command:
    return Command(("umount", "--", str(folder)), purpose=f"let go of {folder}", timeout=60)


def place_in_words(layout: Layout, id: str) -> str:
    """Where a node is: its disk, and the partition where it is one."""
    disks = ", ".join(str(disk.disk) for disk in layout.disk_of(id))
    node = next(node for node in layout.nodes if node.id == id)
    return f"{disks}, partition {node.number}" if isinstance(node, Partition) else disks


def _mount(filesystem: Filesystem, node: str, folder: Path) -> Command:
    options = ["ro", "nosuid", "nodev", "noexec"]
    if filesystem.kind in WITHOUT_JOURNAL:
        options.append(WITHOUT_JOURNAL[filesystem.kind])
    kind = DRIVERS.get(filesystem.kind, filesystem.kind)
    return Command(
        ("mount", "-t", kind, "-o", ",".join(options), "--", node, str(folder)),
        purpose=f"look at {node}",
        timeout=60,
        package="mount",
    )


def _repositories_in(folder: Path) -> Iterator[Path]:
    waiting = [(folder, 0)]
    while waiting:
        place, depth = waiting.pop()
        with suppress(OSError):
            if (place / DESCRIPTION).is_file():
                yield place
                continue
            if depth < DEPTH:
                inner = sorted(path for path in place.iterdir() if path.is_dir())
                waiting += [(path, depth + 1) for path in inner if not path.is_symlink()]
