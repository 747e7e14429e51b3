"""Which disk will be overwritten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual.widget import Widget
from textual.widgets import OptionList, Static

from recovery.application.verbs import TargetChoice
from recovery.model.machine import Disk
from recovery.model.size import format_size
from tui.screens.page import Page
from tui.widgets.choice_list import ChoiceList, Row
from tui.words import cell, count, hanging, serial_words, shorten, transport_words


class TargetScreen(Page[Disk]):
    """Returns the disk to restore to. It is not touched by choosing it."""

    HEADING = "Choose the target disk"
    PLACE = "step 3 of 5"
    HELP_TEXT = (
        "The snapshot will be written to this disk, and what is on it now will be lost. Choosing "
        "it here does nothing yet: the next screen shows the plan and asks for the disk's "
        "serial.\n\n"
        "Disks that are in use cannot be chosen, such as the medium this program runs from and "
        "the one with the repository; the reason stands below each.\n\n"
        "The serial is printed on the disk's label. A disk that reports none has a short code, "
        "made from its model, size and connection."
    )

    def __init__(self, targets: Sequence[TargetChoice], chosen: str = "") -> None:
        super().__init__()
        self._targets = tuple(targets)
        self._chosen = chosen

    def compose_body(self) -> Iterator[Widget]:
        """The disks."""
        tokens = [target.disk.id.token for target in self._targets]
        offered = sum(1 for target in self._targets if not target.refusal)
        yield Static(self._intro(offered), id="intro", markup=False)
        disks = ChoiceList(
            self._rows,
            highlighted=tokens.index(self._chosen) if self._chosen in tokens else None,
            id="disks",
        )
        disks.display = bool(self._targets)
        yield disks

    def _intro(self, offered: int) -> str:
        if not self._targets:
            return (
                "No disk was found in this machine. Check cables and the firmware's settings for "
                "storage (such as RAID or VMD), then go back and choose again."
            )
        if not offered:
            return "None of the disks can be used; the reason stands below each."
        return (
            f"Onto which disk? What is on it will be lost. "
            f"{offered} of {count(len(self._targets), 'disk')} can be chosen."
        )

    def on_mount(self) -> None:
        """Arrows move in the list at once."""
        self.query_one("#disks").focus()

    def _rows(self, width: int) -> list[Row]:
        return [target_row(target, width) for target in self._targets]

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Return the disk."""
        self.dismiss(self._targets[event.option_index].disk)


def target_row(target: TargetChoice, width: int) -> Row:
    """A disk in two lines, or more with the reason why it cannot be chosen."""
    disk = target.disk
    lines = [
        f"{cell(disk.id.model or 'disk', max(20, width - 34))} "
        f"{format_size(disk.id.size):>8}  {transport_words(disk)}"
    ]
    lines[0] = shorten(lines[0], width)
    lines += hanging(f"{serial_words(disk.id)}; on it: {target.holds}", width, indent=4)
    if target.refusal:
        lines += hanging(target.refusal, width, indent=4, first="    cannot be chosen: ")
    return Row(tuple(lines), offered=not target.refusal)
