"""The start screen: what machine this is, and what can be done."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import ClassVar

from textual import events, getters
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import OptionList, Static

from recovery.model.machine import Disk
from recovery.model.probe import Probe
from recovery.model.size import format_size
from tui.screens.page import Page
from tui.widgets.choice_list import ChoiceList, plain_rows
from tui.words import (
    cell,
    count,
    holds_words,
    machine_words,
    shorten,
)

OTHER_LINES = 16
"""Lines of the screen that are not about disks or network cards."""

DISKS = "Disks"
NETWORK_CARDS = "Network cards"

MODEL_WIDTH = 20
SERIAL_WIDTH = 20


class Start(Enum):
    """What the technician wants; the value is the line of the menu."""

    RESTORE = "Restore this machine"
    HARDWARE = "Hardware details"
    SHELL = "Shell and log"
    REBOOT = "Reboot"
    POWER_OFF = "Power off"
    LOOK_AGAIN = "Look at the hardware again"


MENU = (Start.RESTORE, Start.HARDWARE, Start.SHELL, Start.REBOOT, Start.POWER_OFF)


class WelcomeScreen(Page[Start]):
    """Shows a probe, or why there is none, and returns what to do."""

    HEADING = "Welcome"
    PLACE = "Recovery environment"
    HELP_TEXT = (
        "This is the recovery environment. It runs from its own medium; the machine's disks "
        "are all write-protected until you confirm a plan.\n\n"
        '"Restore this machine" asks, one screen after the other, for the repository, the '
        "snapshot and the target disk, then shows the whole plan. Only after you have typed the "
        "serial of the target disk is anything written.\n\n"
        "If a disk or network card is missing in the list, it has no driver here, is broken or "
        'is not connected; "l" looks again.'
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", show=False),
        Binding("l,f5", "look_again", "Look again", key_display="L"),
    ]

    hardware = getters.query_one("#hardware", Static)

    def __init__(self, probe: Probe | None, problem: str, chosen: Start) -> None:
        super().__init__()
        self._probe = probe
        self._problem = problem
        self._chosen = chosen

    def compose_body(self) -> Iterator[Widget]:
        """The machine above the menu."""
        yield Static(id="hardware", markup=False)
        highlighted = MENU.index(self._chosen) if self._chosen in MENU else 0
        yield ChoiceList(
            plain_rows([item.value for item in MENU]), highlighted=highlighted, id="menu"
        )

    def on_mount(self) -> None:
        """Enter starts the restore."""
        self.query_one("#menu").focus()

    def on_resize(self, event: events.Resize) -> None:
        """Show as much of the hardware as there is room for."""
        self.hardware.update(self._describe(event.size.width - 4, event.size.height - OTHER_LINES))

    def _describe(self, width: int, room: int) -> Content:
        if self._probe is None:
            return Content(f"The hardware could not be read.\n{self._problem}")
        first, *others = render_hardware(self._probe, width, room)
        return Content("\n").join(
            [Content.styled(first, "bold")]
            + [
                Content.styled(line, "bold") if is_heading(line) else Content(line)
                for line in others
            ]
        )

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Return the chosen line."""
        self.dismiss(MENU[event.option_index])

    def action_back(self) -> None:
        """There is nothing before the start screen."""

    def action_look_again(self) -> None:
        """Probe once more."""
        self.dismiss(Start.LOOK_AGAIN)


def is_heading(line: str) -> bool:
    """Whether a line of the hardware's description stands above others."""
    return line.startswith((DISKS, NETWORK_CARDS))


def render_hardware(probe: Probe, width: int, room: int) -> list[str]:
    """The machine in few lines; at most `room` of them are disks and network cards."""
    machine = probe.machine
    cards = machine.network_cards[: max(1, room - len(machine.disks), room // 3)]
    disks = machine.disks[: max(1, room - max(1, len(cards)))]
    lines = [shorten(machine.product or "Unknown machine", width), machine_words(machine), ""]
    lines.append(DISKS if machine.disks else f"{DISKS}: none found")
    lines += [_disk_line(probe, disk, width) for disk in disks]
    if rest := len(machine.disks) - len(disks):
        lines[-1] = f"  and {rest + 1} more, see Hardware details"
    lines.append(NETWORK_CARDS if cards else f"{NETWORK_CARDS}: none found")
    lines += [
        shorten(
            f"  {card.name}, {card.model or card.driver}, "
            f"{'connected' if card.connected else 'no cable'}",
            width,
        )
        for card in cards
    ]
    if rest := len(machine.network_cards) - len(cards):
        lines[-1] = f"  and {count(rest + 1, 'more card', 'more cards')}, see Hardware details"
    return lines


def _disk_line(probe: Probe, disk: Disk, width: int) -> str:
    model = MODEL_WIDTH + max(0, width - 100) // 2
    known = (
        f"  {cell(disk.id.model or 'disk', model)} "
        f"{cell(disk.id.serial or f'code {disk.id.token}', SERIAL_WIDTH)} "
        f"{format_size(disk.id.size):>7} {cell(disk.transport, 6)} "
    )
    holds = disk.uses[0] if disk.uses else holds_words(probe, disk).rpartition(": ")[2]
    return shorten(known + holds, width)
