"""Everything that the probe found, to read."""

from __future__ import annotations

from collections.abc import Iterator

from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from recovery.model.layout import Filesystem, Partition
from recovery.model.machine import Disk
from recovery.model.probe import Probe
from recovery.model.size import format_size
from tui.screens.page import Page
from tui.words import content_words, holds_words, machine_words, serial_words, transport_words


class HardwareScreen(Page[None]):
    """A text that scrolls."""

    HEADING = "Hardware details"
    HELP_TEXT = (
        "What was found in this machine: disks with their partitions, network cards and storage "
        "controllers with the drivers in use. Names such as /dev/sda can change at every start; "
        "model and serial do not."
    )

    def __init__(self, probe: Probe) -> None:
        super().__init__()
        self._probe = probe

    def compose_body(self) -> Iterator[Widget]:
        """The text."""
        yield VerticalScroll(
            Static("\n".join(render_details(self._probe)), markup=False), id="text"
        )

    def on_mount(self) -> None:
        """Arrows scroll at once."""
        self.query_one("#text").focus()


def render_details(probe: Probe) -> list[str]:
    """The probe as text, a paragraph for each kind of thing."""
    machine = probe.machine
    lines = [machine.product or "Unknown machine", machine_words(machine), ""]
    for disk in machine.disks:
        lines += [*_disk_lines(probe, disk), ""]
    if not machine.disks:
        lines += ["No disk was found.", ""]
    lines.append("Network cards" if machine.network_cards else "No network card was found.")
    for card in machine.network_cards:
        lines.append(f"  {card.name}: {card.model}")
        state = "connected" if card.connected else "no cable"
        lines.append(f"    address {card.mac}, driver {card.driver or 'none'}, {state}")
    lines += ["", "Storage controllers" if machine.controllers else "No storage controller found."]
    for controller in machine.controllers:
        lines.append(f"  {controller.model or 'unknown'}")
        lines.append(f"    at {controller.address}, driver {controller.driver or 'none'}")
    return lines


def _disk_lines(probe: Probe, disk: Disk) -> list[str]:
    sectors = f"{disk.logical_sector}/{disk.physical_sector} byte sectors"
    kind = "rotating" if disk.rotational else "solid state"
    lines = [
        f"Disk {disk.id.model or 'without a model name'}, {format_size(disk.id.size)}",
        f"  {serial_words(disk.id)}",
        f"  {transport_words(disk)}, {kind}, {sectors}, now {disk.node}",
    ]
    lines += [f"  in use: {use}" for use in disk.uses]
    node = probe.node_of(disk)
    partitions = probe.layout.partitions(node.id) if node else ()
    if not partitions:
        return [*lines, f"  on it: {holds_words(probe, disk) or 'unknown'}"]
    return lines + [_partition_line(probe, partition) for partition in partitions]


def _partition_line(probe: Probe, partition: Partition) -> str:
    content = content_words(probe.layout, partition.id) or "unknown"
    filesystem: Filesystem | None = probe.layout.filesystem(partition.id)
    label = f' "{filesystem.label}"' if filesystem and filesystem.label else ""
    name = f"  {partition.name}" if partition.name else ""
    return f"  {partition.number:>3}  {format_size(partition.size):>8}  {content}{label}{name}"
