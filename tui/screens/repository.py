"""Where the snapshots are: one of the repositories found, or a path or URL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import getters
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static

from recovery.application.verbs import RepositoryLocation
from tui.screens.page import HELP_KEYS, Page
from tui.widgets.choice_list import ChoiceList, Row
from tui.words import shorten


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Search the attached media once more; `typed` is kept."""

    typed: str


class RepositoryScreen(Page[RepositoryLocation | LookAgain]):
    """Returns the repository to open."""

    HEADING = "Choose the repository"
    PLACE = "step 1 of 5"
    HELP_TEXT = (
        "A repository is the place where snapshots are kept. Those on attached disks and sticks "
        "are listed; they are opened for reading only.\n\n"
        "If yours is not there, connect it and look again (F5 or Ctrl+L), or press Tab and type "
        "where it is: a folder such as /mnt/backups, or a URL."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(HELP_KEYS, "help", "Help", key_display="F1 ^G"),
        Binding("ctrl+l,f5", "look_again", "Look again", key_display="^L F5"),
    ]

    path = getters.query_one("#path", Input)

    def __init__(self, found: Sequence[RepositoryLocation], chosen: str = "") -> None:
        super().__init__()
        self._found = tuple(found)
        self._chosen = chosen

    def compose_body(self) -> Iterator[Widget]:
        """What was found, and a line to type in."""
        urls = [location.url for location in self._found]
        listed = self._chosen in urls
        intro = (
            "Where are the snapshots? These repositories were found:"
            if self._found
            else "No repository was found on the attached disks. Connect the disk or stick that "
            "has it and press F5 (or Ctrl+L), or type where it is."
        )
        yield Static(intro, id="intro", markup=False)
        repositories = ChoiceList(
            self._rows, highlighted=urls.index(self._chosen) if listed else None, id="repositories"
        )
        repositories.display = bool(self._found)
        yield repositories
        yield Static("Or type a path or URL (Tab goes there):", id="label", markup=False)
        yield Input("" if listed else self._chosen, id="path")

    def on_mount(self) -> None:
        """Begin where the technician was, else in the list."""
        self.path.cursor_blink = False
        self.query_one("#repositories" if self._found and not self.path.value else "#path").focus()

    def _rows(self, width: int) -> list[Row]:
        return [
            Row(
                (
                    shorten(location.where, width),
                    "    protected by a passphrase" if location.protected else "    not protected",
                )
            )
            for location in self._found
        ]

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Return the chosen one."""
        self.dismiss(self._found[event.option_index])

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Return what was typed; whether it is protected shows when it is opened."""
        typed = event.value.strip()
        if typed:
            self.dismiss(RepositoryLocation(url=typed, where=typed, protected=False))

    def action_look_again(self) -> None:
        """Search once more."""
        self.dismiss(LookAgain(self.path.value.strip()))
