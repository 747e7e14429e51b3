"""What a probe finds: the machine and how its storage is stacked."""

from __future__ import annotations

from dataclasses import dataclass

from recovery.model.layout import DiskNode, Layout
from recovery.model.machine import Disk, Machine


@dataclass(frozen=True, slots=True)
class Probe:
    """A machine with the layout of its disks; what `recovery probe --record` writes."""

    machine: Machine
    layout: Layout

    def node_of(self, disk: Disk) -> DiskNode | None:
        """The layout's node of a disk."""
        found = (node for node in self.layout.disks if node.disk == disk.id)
        return next(found, None)
