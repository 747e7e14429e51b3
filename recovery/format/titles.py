"""What the parts of a layout are called in plans, listings and on screens."""

from __future__ import annotations

from recovery.format.partition_types import UNKNOWN, partition_type
from recovery.model.layout import (
    Filesystem,
    Layout,
    Luks,
    Node,
    Partition,
    Raid,
    RawArea,
    Swap,
    VolumeGroup,
)


def title_of(layout: Layout, id: str) -> str:
    """What a volume is, in a few plain words: `partition 2, root (ext4 "debian")`."""
    node = next((node for node in layout.nodes if node.id == id), None)
    content = content_of(layout, id)
    behind = f" ({content})" if content else ""
    match node:
        case Partition():
            role = _role(node, layout.on(id))
            return f"partition {node.number}{f', {role}' if role else ''}{behind}"
        case RawArea():
            return f"area ({node.purpose})"
        case _:
            return f"whole disk{behind}"


def content_of(layout: Layout, id: str) -> str:
    """What fills a partition or disk: `ext4 "debian"`, `swap`, `LVM`; empty where unknown."""
    for above in layout.on(id):
        match above:
            case Filesystem():
                return _labelled(above.kind, above.label)
            case Swap():
                return _labelled("swap", above.label)
            case Luks():
                return "LUKS"
            case Raid():
                return "RAID"
            case VolumeGroup():
                return "LVM"
            case _:
                continue
    return ""


def _labelled(kind: str, label: str) -> str:
    return f'{kind} "{label}"' if label else kind


def _role(partition: Partition, content: tuple[Node, ...]) -> str:
    """What a partition is for: where it was mounted, else what its type or its name says."""
    mounts = next((above.mounts for above in content if isinstance(above, Filesystem)), ())
    known = partition_type(partition.type)
    if known.fixed and known is not UNKNOWN:
        return known.name
    if mounts:
        return "root" if "/" in mounts else mounts[0]
    return partition.name or ("" if content or known is UNKNOWN else known.name)
