"""Names that udev gives to disks and volumes, now, and those to show to the restored system."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from recovery.adapt.names import tag_of
from recovery.model.adaptation import TargetSystem
from recovery.model.layout import Filesystem, Partition, Swap

DISK_LINKS = Path("/dev/disk")


def device_links(target: TargetSystem) -> Mapping[str, str]:
    """Names below /dev by which the restored system's tools may look for its volumes -> node."""
    links: dict[str, str] = {}
    for node in target.layout.nodes:
        match node:
            case Filesystem() | Swap() if node.on in target.partition_nodes and node.uuid:
                links[f"disk/by-uuid/{node.uuid}"] = target.partition_nodes[node.on]
            case Partition() if node.id in target.partition_nodes:
                links[f"disk/by-partuuid/{node.identifier}"] = target.partition_nodes[node.id]
            case _:
                pass
    shown = {os.path.realpath(each) for each in shown_nodes(target)}
    for link in _links("by-id"):
        place = os.path.realpath(link)
        if place in shown:
            links[f"disk/by-id/{link.name}"] = place
    return links


def shown_nodes(target: TargetSystem) -> tuple[str, ...]:
    """The device nodes that the restored system may see."""
    return (target.disk_node, *target.partition_nodes.values())


def lasting_link(disk_node: str) -> str:
    """The disk's name by model and serial, if udev has one, else its node."""
    node = os.path.realpath(disk_node)
    names = sorted(link.name for link in _links("by-id") if os.path.realpath(link) == node)
    readable = [name for name in names if not name.startswith(("wwn-", "nvme-eui.", "nvme-nvme."))]
    return f"/dev/disk/by-id/{(readable or names)[0]}" if names else node


def attached_tags() -> frozenset[str]:
    """The tags (as `names.tag_of`) of all filesystems and partitions that udev knows now."""
    folders = ("by-uuid", "by-label", "by-partuuid", "by-partlabel")
    tags = (tag_of(str(link)) for folder in folders for link in _links(folder))
    return frozenset(tag for tag in tags if tag is not None)


def _links(folder: str) -> tuple[Path, ...]:
    place = DISK_LINKS / folder
    return tuple(sorted(place.iterdir())) if place.is_dir() else ()
