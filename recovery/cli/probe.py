"""`recovery probe`: the hardware and its storage stack, for people or as a document."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from recovery.errors import UsageError
from recovery.format.document import encode_document
from recovery.format.partition_types import UNKNOWN, partition_type
from recovery.model.layout import (
    DiskNode,
    Filesystem,
    Layout,
    LogicalVolume,
    Luks,
    Node,
    Partition,
    Raid,
    RawArea,
    Swap,
    Table,
    VolumeGroup,
)
from recovery.model.machine import Disk, Firmware, Machine, SecureBoot
from recovery.model.probe import Probe
from recovery.model.size import GiB, MiB, format_size
from recovery.system.command import SystemRunner
from recovery.system.probe import probe

WIDTH = 80
INDENT = "  "


def probe_command(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a document instead of text for people.")
    ] = False,
    record: Annotated[
        Path | None, typer.Option("--record", help="Write the document to this file.")
    ] = None,
) -> None:
    """Show the hardware and how its storage is stacked; changes nothing."""
    found = probe(SystemRunner())
    document = encode_document(found).decode() + "\n"
    if record is not None:
        _write(record, document)
        typer.echo(f"recorded in {record}", err=True)
        return
    typer.echo(document if as_json else render_probe(found), nl=False)
    if os.geteuid() != 0:
        typer.echo("Run this as root to see what is on the disks.", err=True)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise UsageError(f"could not write {path}", hint=error.strerror or "") from error


def render_probe(probe: Probe) -> str:
    """The probe in lines of at most 80 columns, each ended by a newline."""
    sections = (
        _machine_lines(probe.machine),
        *(_disk_lines(probe, disk) for disk in probe.machine.disks),
        _stacked_lines(probe),
        _controller_lines(probe.machine),
        _card_lines(probe.machine),
    )
    return "\n".join("".join(f"{_cut(line)}\n" for line in lines) for lines in sections if lines)


def _cut(line: str) -> str:
    """Labels and names come from disks: what a terminal would obey is not printed."""
    line = "".join(char if char.isprintable() else "?" for char in line.rstrip())
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."


def _machine_lines(machine: Machine) -> list[str]:
    secure_boot = {
        SecureBoot.ON: ", Secure Boot on",
        SecureBoot.OFF: ", Secure Boot off",
        SecureBoot.ABSENT: "",
    }
    firmware = "UEFI" if machine.firmware is Firmware.UEFI else "BIOS"
    memory = machine.memory
    amount = f"{memory / GiB:.1f} GiB" if memory >= GiB else f"{memory // MiB} MiB"
    rows = (
        ("Machine", machine.product or "unknown"),
        ("Firmware", firmware + secure_boot[machine.secure_boot]),
        ("Memory", amount),
        ("Processors", str(machine.processors)),
    )
    lines = [f"{name:<12}{value}" for name, value in rows]
    return lines if machine.disks else [*lines, f"{'Disks':<12}none"]


def _disk_lines(probe: Probe, disk: Disk) -> list[str]:
    kind = "rotating" if disk.rotational else "solid state"
    sectors = f"sectors {disk.logical_sector}/{disk.physical_sector}"
    facts = [disk.transport, kind, sectors]
    facts += ["removable"] if disk.removable else []
    facts += ["read-only"] if disk.read_only else []
    name = disk.id.model or "disk"
    serial = f"serial {disk.id.serial}" if disk.id.serial else f"no serial, code {disk.id.token}"
    lines = [
        f"{disk.node}  {name}, {format_size(disk.id.size)}",
        f"{INDENT}{serial}",
        f"{INDENT}{', '.join(facts)}",
    ]
    lines += [f"{INDENT}PROBLEM  {disk.problem}"] if disk.problem else []
    lines += [f"{INDENT}IN USE   {use}" for use in disk.uses]
    node = probe.node_of(disk)
    return lines if node is None else [*lines, *_content_lines(probe.layout, node, 1)]


def _stacked_lines(probe: Probe) -> list[str]:
    """Arrays and groups, which belong to no single disk."""
    lines: list[str] = []
    for node in probe.layout.nodes:
        if isinstance(node, Raid | VolumeGroup):
            members = ", ".join(_place(probe, member) for member in node.on)
            lines += [_line(node, 0), f"{INDENT}on {members}"]
            lines += _content_lines(probe.layout, node, 1)
    return lines


def _place(probe: Probe, id: str) -> str:
    """Where a member is in words, such as `/dev/sda partition 1`."""
    node = next(node for node in probe.layout.nodes if node.id == id)
    match node:
        case DiskNode():
            disks = (disk.node for disk in probe.machine.disks if disk.id == node.disk)
            return next(disks, id)
        case Partition():
            disk = probe.layout.disk_of(id)[0]
            return f"{_place(probe, disk.id)} partition {node.number}"
        case Luks():
            return _place(probe, node.on)
        case _:
            return id


def _content_lines(layout: Layout, node: Node, depth: int) -> list[str]:
    lines: list[str] = []
    for on in layout.on(node.id):
        if isinstance(on, Raid | VolumeGroup):
            lines.append(f"{INDENT * depth}member of {on.id}")
        else:
            lines += [_line(on, depth), *_content_lines(layout, on, depth + 1)]
    return lines


def _line(node: Node, depth: int) -> str:
    """One node as name, size and description in columns."""
    name, size, words = _columns(node)
    amount = format_size(size) if size else ""
    return f"{INDENT * depth + name:<20}{amount:>9}  {words}"


def _columns(node: Node) -> tuple[str, int, str]:
    size = 0
    match node:
        case DiskNode():
            name, size, words = node.id, node.disk.size, str(node.disk)
        case Table():
            name, words = {"gpt": "GPT", "dos": "MBR"}[node.scheme], node.identifier
        case Partition():
            active = " (active)" if len(node.type) == 2 and node.attributes & 1 else ""
            words = (node.name or _type_words(node.type)) + active
            name, size = f"partition {node.number}", node.size
        case Filesystem():
            mounted = f"on {', '.join(node.mounts)}" if node.mounts else ""
            name, words = node.kind, _joined(node.label, mounted, node.uuid)
        case Swap():
            name, words = "swap", _joined(node.label, "in use" if node.active else "", node.uuid)
        case Luks():
            state = f"open as {node.opened}" if node.opened else "locked"
            name, words = f"LUKS{node.version}", _joined(state, node.uuid)
        case Raid():
            name, size, words = f"{node.id}  {node.name}", node.size, _joined(node.level, node.uuid)
        case VolumeGroup():
            name, words = f"{node.id}  {node.name}", node.uuid
        case LogicalVolume():
            name, size, words = node.name, node.size, node.uuid
        case RawArea():
            name, size, words = node.purpose, node.size, ""
    return name, size, words


def _type_words(type: str) -> str:
    """What a partition is for by its type; an unknown type as it stands in the table."""
    known = partition_type(type)
    return type if known is UNKNOWN else known.name


def _joined(*parts: str) -> str:
    return "  ".join(part for part in parts if part)


def _controller_lines(machine: Machine) -> list[str]:
    if not machine.controllers:
        return []
    return [
        "Storage controllers",
        *(
            f"{INDENT}{controller.address:<14}{controller.driver or 'no driver':<14}"
            f"{controller.model}"
            for controller in machine.controllers
        ),
    ]


def _card_lines(machine: Machine) -> list[str]:
    if not machine.network_cards:
        return []
    return [
        "Network cards",
        *(
            f"{INDENT}{card.name:<14}{card.driver or 'no driver':<14}{card.mac}  "
            f"{'connected' if card.connected else 'no cable'}  {card.model}"
            for card in machine.network_cards
        ),
    ]
