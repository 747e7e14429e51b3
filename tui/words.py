"""Values in the words of the screens. Pure: text in the space given, no widget."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime, timedelta

from recovery.model.layout import (
    Filesystem,
    Layout,
    LogicalVolume,
    Luks,
    Node,
    Raid,
    Swap,
    VolumeGroup,
)
from recovery.model.machine import Disk, DiskId, Firmware, Machine, SecureBoot
from recovery.model.probe import Probe
from recovery.model.size import format_size

NOTHING_CHANGED = "Nothing has been changed yet."
ELLIPSIS = "..."


def shorten(text: str, width: int) -> str:
    """`text` in at most `width` columns, the end given up first.

    >>> shorten("Samsung SSD 980 PRO with Heatsink", 20)
    'Samsung SSD 980 P...'
    """
    return text if len(text) <= width else text[: max(0, width - len(ELLIPSIS))] + ELLIPSIS


def cell(text: str, width: int) -> str:
    """`text` in exactly `width` columns."""
    return shorten(text, width).ljust(width)


def hanging(text: str, width: int, *, indent: int = 0, first: str | None = None) -> list[str]:
    """`text` broken into lines of `width` columns; `first` opens the first one."""
    return textwrap.wrap(
        text,
        max(width, indent + 20),
        initial_indent=" " * indent if first is None else first,
        subsequent_indent=" " * indent,
    )


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun.

    >>> count(1, "disk"), count(3, "disk")
    ('1 disk', '3 disks')
    """
    return f"{number} {one if number == 1 else many or one + 's'}"


def firmware_words(machine: Machine) -> str:
    """How the machine starts, such as `UEFI, Secure Boot off`."""
    if machine.firmware is Firmware.BIOS:
        return "BIOS"
    secure_boot = {
        SecureBoot.ON: "Secure Boot on",
        SecureBoot.OFF: "Secure Boot off",
        SecureBoot.ABSENT: "no Secure Boot",
    }
    return f"UEFI, {secure_boot[machine.secure_boot]}"


def memory_words(size: int) -> str:
    """Memory in binary units, as it is sold."""
    gibibytes = size / 1024**3
    return f"{gibibytes:.0f} GiB memory" if gibibytes >= 1.5 else f"{size >> 20} MiB memory"


def machine_words(machine: Machine) -> str:
    """The machine in one line, the product name left out."""
    processors = count(machine.processors, "processor")
    return f"{firmware_words(machine)}, {memory_words(machine.memory)}, {processors}"


def serial_words(disk: DiskId) -> str:
    """How a disk is named when its erasing is confirmed."""
    return f"serial {disk.serial}" if disk.serial else f"no serial, code {disk.token}"


def transport_words(disk: Disk) -> str:
    """How the disk is attached, such as `nvme` or `usb, removable`."""
    return f"{disk.transport}, removable" if disk.removable else disk.transport


def content_words(layout: Layout, id: str) -> str:
    """What fills a node of the layout, in a word: `ext4`, `swap`, `encrypted (LUKS)`."""
    words = [word for node in layout.on(id) if (word := _content_word(layout, node))]
    return " + ".join(words)


def _content_word(layout: Layout, node: Node) -> str:
    match node:
        case Filesystem():
            return node.kind
        case Swap():
            return "swap"
        case Luks():
            return "encrypted (LUKS)"
        case Raid():
            return f"RAID {node.name}".strip()
        case VolumeGroup():
            volumes = [on for on in layout.on(node.id) if isinstance(on, LogicalVolume)]
            return f"LVM {node.name} ({count(len(volumes), 'volume')})"
        case _:
            return ""


def holds_words(probe: Probe, disk: Disk) -> str:
    """What is on a disk, such as `2 partitions: vfat, ext4` or `nothing recognised`."""
    node = probe.node_of(disk)
    if disk.problem:
        return disk.problem
    if node is None:
        return ""
    partitions = probe.layout.partitions(node.id)
    if not partitions:
        return content_words(probe.layout, node.id) or (
            "empty partition table" if probe.layout.table(node.id) else "nothing recognised"
        )
    contents = [content_words(probe.layout, partition.id) or "?" for partition in partitions]
    return f"{count(len(partitions), 'partition')}: {', '.join(contents)}"


def local_time(moment: datetime) -> str:
    """Date and time on this machine's clock."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def utc_time(moment: datetime) -> str:
    """Date and time in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def age_words(moment: datetime, now: datetime) -> str:
    """How long ago, roughly; a moment in the future means that a clock is wrong."""
    age = now - moment
    if age < timedelta(minutes=-5):
        return "in the future?"
    minutes = max(0, int(age.total_seconds() // 60))
    if not minutes:
        return "just now"
    for limit, size, noun in (
        (60, 1, "minute"),
        (48 * 60, 60, "hour"),
        (60 * 24 * 60, 24 * 60, "day"),
        (730 * 24 * 60, 30 * 24 * 60, "month"),
    ):
        if minutes < limit:
            return f"{count(minutes // size, noun)} ago"
    return f"{count(minutes // (365 * 24 * 60), 'year')} ago"


def duration_words(seconds: float) -> str:
    """A stretch of time, such as `40 s`, `12 min` or `1 h 05 min`.

    >>> duration_words(40), duration_words(725), duration_words(3900)
    ('40 s', '12 min', '1 h 05 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def rate_words(rate: float) -> str:
    """Bytes per second in words."""
    return f"{format_size(int(rate))}/s"
