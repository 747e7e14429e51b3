"""One sentence and one hint, over the screen where they arose."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from recovery.errors import RecoveryError
from tui.screens.left_once import LeftOnce


class MessageScreen(ModalScreen[None], LeftOnce[None]):
    """A box with a heading and text; Enter or Esc closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter", "dismiss", "Close", key_display="Enter"),
    ]

    def __init__(self, heading: str, text: str) -> None:
        super().__init__()
        self.heading = heading
        self.text = text

    def compose(self) -> ComposeResult:
        """A box that scrolls where the text is long."""
        box = Vertical(classes="box message")
        box.border_title = self.heading
        with box:
            with VerticalScroll():
                yield Static(self.text, markup=False)
            yield Static("Enter: go on", classes="keys", markup=False)


def error_screen(error: RecoveryError, *, heading: str = "That did not work") -> MessageScreen:
    """What went wrong, in the words of the error."""
    return MessageScreen(heading, "\n\n".join(part for part in (error.message, error.hint) if part))


def internal_error_words(error: BaseException, session_folder: Path | None) -> str:
    """What to tell about a bug of ours."""
    kept = session_folder or "the system log"
    return (
        "Internal error: the program made a mistake of its own.\n\n"
        f"{type(error).__name__}: {error}\n\n"
        f"Please save the session folder and report this: {kept}"
    )


def internal_error_screen(error: BaseException, session_folder: Path | None) -> MessageScreen:
    """A bug of ours; the start screen is usable afterwards."""
    return MessageScreen("Internal error", internal_error_words(error, session_folder))
