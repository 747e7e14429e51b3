"""The verbs, for real."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from recovery import __version__
from recovery.application import places
from recovery.application.adapting import AdaptWith
from recovery.application.disks import (
    IMAGE_MODEL,
    confirms,
    contents_of,
    disk_at,
    host_of,
    image_disk,
    is_image,
    machine_of_images,
    require_unused,
    source_of,
)
from recovery.application.verbs import OpenRepository, RepositoryLocation, TargetChoice
from recovery.application.world import World
from recovery.capture.perform import Captured, perform_capture
from recovery.capture.plan import CapturePlan, plan_capture
from recovery.capture.sources import Source, inspect_source
from recovery.errors import DamagedData, PlanStale, Refused, UsageError
from recovery.format.keyslot import STRONG, Hardness
from recovery.model.event import Listener, Outcome
from recovery.model.layout import DiskNode, Layout
from recovery.model.machine import Disk, DiskId, Machine
from recovery.model.plan import Plan
from recovery.model.probe import Probe
from recovery.model.snapshot import Snapshot
from recovery.repository.check import Checked, check_repository
from recovery.repository.directory_store import DirectoryStore
from recovery.repository.repository import (
    Repository,
    init_repository,
    new_snapshot_id,
    open_repository,
)
from recovery.restore.fit import Policy, TargetDisk, fit
from recovery.restore.perform import perform_restore
from recovery.restore.plan import plan_restore, refusals
from recovery.restore.verify import verify_target
from recovery.system import block_device
from recovery.system.command import Command
from recovery.system.probe import Sighting, look


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """What a restore may be told: which source disk, whether to grow and to adapt."""

    source_disk: str = ""
    policy: Policy = "last"
    adapt: bool = True


class Operations:
    """Everything the product does on this machine."""

    def __init__(self, world: World, hardness: Hardness = STRONG) -> None:
        self._world = world
        self._hardness = hardness

    @property
    def session_folder(self) -> Path:
        """Where plan, log and probe of this session are kept."""
        return self._world.session

    def probe(self) -> Probe:
        """The hardware and its storage, now."""
        return self._look().probe

    def _look(self) -> Sighting:
        return look(self._world.runner)

    def find_repositories(self) -> tuple[RepositoryLocation, ...]:
        """Repositories on attached media, mounted read-only if need be."""
        return places.find_repositories(self._world, self._look())

    def init(self, url: str, passphrase: str | None) -> tuple[Repository, str]:
        """Make a repository; also returns its recovery code."""
        return init_repository(store_at(url), passphrase, self._hardness)

    def open_repository(self, url: str, passphrase: str | None) -> Repository:
        """Open by passphrase or recovery code."""
        return open_repository(store_at(url), passphrase)

    def snapshots(self, repository: OpenRepository) -> tuple[Snapshot, ...]:
        """All readable snapshots, newest first."""
        found = self.all_snapshots(_real(repository))
        return tuple(snapshot for snapshot in found if isinstance(snapshot, Snapshot))

    def all_snapshots(self, repository: Repository) -> tuple[Snapshot | DamagedData, ...]:
        """All snapshots, newest first; for a damaged one, what is wrong with it."""
        return tuple(repository.snapshots())[::-1]

    def snapshot(self, repository: Repository, name: str) -> Snapshot:
        """The snapshot with this id or unique prefix, or `latest`. Raises `UsageError`."""
        ids = repository.snapshot_ids()
        if not ids:
            raise UsageError("the repository has no snapshot yet", hint="see `recovery capture`")
        found = ids[-1:] if name == "latest" else [id for id in ids if id.startswith(name)]
        if len(found) != 1:
            problem = "is the beginning of several snapshots" if found else "is no snapshot"
            raise UsageError(f"{name} {problem}", hint=f"the newest is {ids[-1]}")
        return repository.read_snapshot(found[0])

    # Capture

    def plan_capture(
        self, repository: Repository, paths: tuple[str, ...], *, all_blocks: bool
    ) -> tuple[CapturePlan, Machine, Mapping[str, str]]:
        """What would be read, the machine it belongs to, and where each disk is read from."""
        sighting = self._look()
        sources = self._sources(repository, paths, sighting)
        inspected = [inspect_source(self._world.runner, source) for source in sources]
        nodes = tuple(node for part in inspected for node in part.nodes)
        used = {id: blocks for part in inspected for id, blocks in part.used}
        plan = plan_capture(Layout(nodes), used, all_blocks=all_blocks)
        machine = sighting.probe.machine
        if any(source.is_image for source in sources):
            machine = machine_of_images(sources)
        return plan, machine, {source.disk.id: source.path for source in sources}

    def _sources(
        self, repository: Repository, paths: tuple[str, ...], sighting: Sighting
    ) -> tuple[Source, ...]:
        holding = frozenset(places.disks_below(Path(repository.url), sighting))
        disks = {disk.node: disk for disk in sighting.probe.machine.disks}
        if not paths:
            # A disk that does not answer is refused below: it must not be missed at restore.
            paths = tuple(
                node
                for node, disk in disks.items()
                if disk.id not in holding and "live medium" not in disk.uses
            )
        if not paths:
            raise UsageError("this machine has no disk to capture", hint="see `recovery probe`")
        sources = []
        for number, path in enumerate(paths):
            disk = disk_at(path, disks)
            if disk is not None:
                require_unused(disk, holding)
            sources.append(source_of(path, disk, f"disk{number}"))
        return tuple(sources)

    def perform_capture(
        self,
        repository: Repository,
        plan: CapturePlan,
        machine: Machine,
        paths: Mapping[str, str],
        host: str,
        note: str,
        listener: Listener,
        cancelled: threading.Event,
    ) -> Captured:
        """Read, store and commit. Raises `Interrupted`, `DeviceFailed`, `OutOfSpace`."""
        now = self._world.now()
        draft = Snapshot(
            id=new_snapshot_id(now),
            host=host or host_of(paths),
            taken_at=now.replace(microsecond=0),
            machine=machine,
            layout=plan.layout,
            volumes=(),
            parent=self._parent(repository, plan.layout),
            consistency="offline",
            tool_version=__version__,
            note=note,
        )
        return perform_capture(repository, plan, paths, draft, listener, cancelled)

    def _parent(self, repository: Repository, layout: Layout) -> str:
        """The newest snapshot of the same disks."""
        disks = {node.disk for node in layout.disks}
        for snapshot in self.snapshots(repository):
            if {node.disk for node in snapshot.layout.disks} == disks:
                return snapshot.id
        return ""

    # Restore

    def targets(self, repository: OpenRepository, snapshot: Snapshot) -> tuple[TargetChoice, ...]:
        """Every attached disk, those that can be chosen first."""
        sighting = self._look()
        protected = _protected(_real(repository), sighting)
        choices = []
        for disk in sighting.probe.machine.disks:
            refusal = refusals(disk, protected)
            choices.append(TargetChoice(disk, contents_of(sighting.probe, disk), refusal))
        return tuple(sorted(choices, key=lambda choice: bool(choice.refusal)))

    def target(
        self, path: str, size: int | None, snapshot: Snapshot, source_disk: str = ""
    ) -> Disk:
        """The disk at a device path, or a disk standing for an image file, new or old.

        `size` in bytes is that of a new image file, by default the source's. Raises `UsageError`.
        """
        source = _source_disk(snapshot, source_disk)
        disks = {disk.node: disk for disk in self.probe().machine.disks}
        found = disk_at(path, disks)
        if found is not None:
            if size is not None:
                raise UsageError("--size is for image files only", hint=f"{path} is a disk")
            return found
        file = Path(path).absolute()
        if file.exists():
            if not file.is_file():
                raise UsageError(
                    f"{path} is neither a disk nor an image file", hint="see `recovery probe`"
                )
            if size is not None and size != file.stat().st_size:
                raise UsageError(
                    f"{path} exists with another size", hint="remove it, or leave --size out"
                )
            size = file.stat().st_size
        size = source.disk.size if size is None else size
        return image_disk(file, size, source.logical_sector)

    def plan_restore(
        self,
        repository: OpenRepository,
        snapshot: Snapshot,
        target: Disk,
        options: RestoreOptions = RestoreOptions(),
    ) -> Plan:
        """What a restore onto `target` would do. Raises `DoesNotFit` or `Refused`."""
        image = is_image(target)
        if image and _is_below(target.node, _real(repository).url):
            raise Refused(
                f"{target.node} is in the repository", hint="name a file in another folder"
            )
        if image and (loops := block_device.loop_devices_of(target.node)):
            raise Refused(
                f"{target.node} is in use as {loops[0]}",
                hint=f"unmount what is on it, then: losetup --detach {loops[0]}",
            )
        if not image:
            _require_allowed(_real(repository), target, self._look())
        source = _source_disk(snapshot, options.source_disk)
        place = TargetDisk(target.id, target.id.size, target.logical_sector, target.physical_sector)
        fitted = fit(snapshot, source.id, place, "none" if image else options.policy)
        return plan_restore(
            snapshot,
            source.id,
            fitted,
            target.id,
            image_file=image,
            adapt=options.adapt and os.geteuid() == 0,
        )

    def perform_restore(
        self,
        repository: OpenRepository,
        plan: Plan,
        confirmation: str,
        listener: Listener,
        cancelled: threading.Event,
    ) -> Outcome:
        """Carry out the plan if `confirmation` equals the token of the disk it erases."""
        (disk,) = plan.made_for
        if not confirms(confirmation, disk):
            raise Refused(
                f"{confirmation or 'nothing'} does not name the disk to erase",
                hint=f"confirm it with its serial: {disk.token}",
            )
        opened = _real(repository)
        snapshot = opened.read_snapshot(plan.snapshot)
        with self._alone():
            node = self._find_again(opened, disk)
            return perform_restore(
                opened,
                snapshot,
                plan,
                node,
                self._world.runner,
                self._adapt_for(snapshot),
                self._world.session,
                listener,
                cancelled,
            )

    def _find_again(self, repository: Repository, wanted: DiskId) -> str:
        """The node that the disk has now. Raises `PlanStale` or `Refused`."""
        if wanted.model == IMAGE_MODEL:
            return wanted.serial
        sighting = self._look()
        found = [disk for disk in sighting.probe.machine.disks if disk.id == wanted]
        if not found and wanted.path.startswith("/dev/") and Path(wanted.path).exists():
            return wanted.path
        if len(found) != 1:
            problem = "is not attached any more" if not found else "is there more than once"
            raise PlanStale(f"{wanted} {problem}", hint="look at the disks and plan again")
        _require_allowed(repository, found[0], sighting)
        return found[0].node

    def _adapt_for(self, snapshot: Snapshot) -> AdaptWith:
        return AdaptWith(self._world, self.probe, snapshot)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One restore at a time on this machine."""
        self._world.lock.parent.mkdir(parents=True, exist_ok=True)
        with self._world.lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Refused(
                    "another restore is running on this machine",
                    hint="look at the other console, or wait until it is done",
                ) from error
            yield

    # Looking

    def verify(
        self,
        repository: Repository,
        snapshot: Snapshot,
        target: str,
        source_disk: str,
        listener: Listener,
        cancelled: threading.Event,
    ) -> Outcome:
        """Compare a disk or image file with what was captured. Raises `DamagedData`."""
        source = _source_disk(snapshot, source_disk)
        return verify_target(repository, snapshot, source, target, listener, cancelled)

    def check(
        self,
        repository: Repository,
        listener: Listener,
        cancelled: threading.Event,
        *,
        read_data: bool,
    ) -> Checked:
        """Examine the repository; findings are in the answer, not raised."""
        return check_repository(repository, listener, cancelled, read_data=read_data)

    def reboot(self) -> None:
        """Restart the machine."""
        self._world.runner.run(Command(("systemctl", "reboot"), purpose="restart the machine"))

    def power_off(self) -> None:
        """Switch the machine off."""
        self._world.runner.run(Command(("systemctl", "poweroff"), purpose="switch off"))


def store_at(url: str) -> DirectoryStore:
    """The store that a URL or path means. Raises `UsageError` for kinds that are not there yet."""
    scheme, separator, _ = url.partition("://")
    if separator and scheme != "file":
        raise UsageError(
            f"repositories at {scheme}:// are not there yet",
            hint="mount the share and give its folder",
        )
    return DirectoryStore(Path(url.removeprefix("file://")).absolute())


def _is_below(file: str, folder: str) -> bool:
    return Path(file).resolve().is_relative_to(Path(folder).resolve())


def _protected(repository: Repository, sighting: Sighting) -> Mapping[DiskId, str]:
    holding = places.disks_below(Path(repository.url), sighting)
    return dict.fromkeys(holding, "holds the repository")


def _require_allowed(repository: Repository, disk: Disk, sighting: Sighting) -> None:
    """Raise `Refused` if the disk must not be a target."""
    refusal = refusals(disk, _protected(repository, sighting))
    if refusal:
        raise Refused(f"{disk.id} is not touched: {refusal}", hint="choose another disk")


def _real(repository: OpenRepository) -> Repository:
    assert isinstance(repository, Repository)
    return repository


def _source_disk(snapshot: Snapshot, name: str) -> DiskNode:
    disks = snapshot.layout.disks
    found = [node for node in disks if not name or name in (node.id, node.disk.token)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{node.id} = {node.disk}" for node in disks)
    problem = f"the snapshot has no disk {name}" if not found else "the snapshot has several disks"
    raise UsageError(problem, hint=f"choose one by --disk: {names}")
