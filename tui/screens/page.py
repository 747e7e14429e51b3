"""What all screens of the way have in common: a title, help, one way back, a quiet assurance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, TypeVar

from textual import getters
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Footer, Static

from tui.screens.help import HelpScreen
from tui.screens.left_once import LeftOnce
from tui.widgets.title_bar import TitleBar
from tui.words import NOTHING_CHANGED

T = TypeVar("T")

HELP_KEYS = "f1,ctrl+g,question_mark"


class Page(LeftOnce[T]):
    """A full screen that returns one value, or `None` for "back"."""

    HEADING: ClassVar[str] = ""
    PLACE: ClassVar[str] = ""
    HELP_TEXT: ClassVar[str]
    ASSURANCE: ClassVar[str] = NOTHING_CHANGED
    AUTO_FOCUS = None
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", key_display="Esc"),
        Binding(HELP_KEYS, "help", "Help", key_display="? F1"),
    ]

    assurance = getters.query_one("#assurance", Static)

    @property
    def heading(self) -> str:
        """The title."""
        return self.HEADING

    def compose(self) -> ComposeResult:
        """Title, body, assurance, keys."""
        yield TitleBar(self.heading, self.PLACE)
        with Vertical(id="body"):
            yield from self.compose_body()
        yield Static(self.ASSURANCE, id="assurance", markup=False)
        yield Footer(show_command_palette=False)

    def compose_body(self) -> Iterator[Widget]:
        """The widgets between title and assurance."""
        raise NotImplementedError

    def action_back(self) -> None:
        """Give no value: the screen before comes up again."""
        self.dismiss(None)

    def action_help(self) -> None:
        """Explain this screen."""
        self.app.push_screen(HelpScreen(self.heading, self.HELP_TEXT))
