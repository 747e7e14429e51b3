"""Wiring of `adapt` into a restore."""

from __future__ import annotations

from collections.abc import Callable

from recovery.adapt.perform import adapt_disk
from recovery.application.world import World
from recovery.model.adaptation import TargetSystem
from recovery.model.event import Listener, Outcome
from recovery.model.plan import Plan
from recovery.model.probe import Probe
from recovery.model.snapshot import Snapshot
from recovery.system import block_device

ProbeNow = Callable[[], Probe]


class AdaptWith:
    """Adapts the system on a restored disk to the machine as it is then."""

    def __init__(self, world: World, probe: ProbeNow, snapshot: Snapshot) -> None:
        self._world = world
        self._probe = probe
        self._snapshot = snapshot

    def __call__(self, plan: Plan, node: str, listener: Listener) -> Outcome:
        """As `recovery.restore.perform.Adapt`."""
        (disk,) = plan.layout.disks
        partitions = {
            partition.id: block_device.partition_node(node, partition.number)
            for partition in plan.layout.partitions(disk.id)
        }
        former = {
            source.id: known.node
            for source in self._snapshot.layout.disks
            for known in self._snapshot.machine.disks
            if known.id == source.disk
        }
        target = TargetSystem(node, plan.layout, self._probe().machine, partitions, former)
        return adapt_disk(target, self._world.runner, listener, self._world.session)
