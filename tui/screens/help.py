"""Help for the screen below."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.screens.left_once import LeftOnce

KEYS = """Keys that work everywhere
  arrows, Page Up/Down   move and scroll
  Enter                  choose, go on
  Tab                    go to the next part of the screen
  Esc                    back to the screen before
  ? or F1 or Ctrl+G      this help (Ctrl+G also while typing)"""


class HelpScreen(ModalScreen[None], LeftOnce[None]):
    """A text over the screen that it explains."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,f1,ctrl+g,question_mark,q", "dismiss", "Close", key_display="Esc"),
    ]

    def __init__(self, heading: str, text: str) -> None:
        super().__init__()
        self._heading = heading
        self._text = text

    def compose(self) -> ComposeResult:
        """A box that scrolls where the text is long."""
        box = Vertical(classes="box")
        box.border_title = f"Help: {self._heading}"
        with box:
            with VerticalScroll():
                yield Static(f"{self._text}\n\n{KEYS}", markup=False)
            yield Static("Up/Down: scroll   Esc or Enter: close", classes="keys", markup=False)
