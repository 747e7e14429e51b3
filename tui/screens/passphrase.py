"""The secret that opens a protected repository."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import getters
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input, Static

from tui.screens.page import HELP_KEYS, Page


class PassphraseScreen(Page[str]):
    """Returns what was typed; `problem` tells why it is asked for again."""

    HEADING = "Passphrase"
    PLACE = "step 1 of 5"
    HELP_TEXT = (
        "The repository is encrypted. Type its passphrase, or the recovery code that was shown "
        "when the repository was made; both open it. What you type is not shown and not kept.\n\n"
        "Mind the keyboard layout: if the passphrase is refused, letters and signs may be in "
        "other places. Ctrl+T shows what you type."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(HELP_KEYS, "help", "Help", key_display="F1 ^G"),
        Binding("ctrl+t", "toggle_hidden", "Show or hide", key_display="^T"),
    ]

    secret = getters.query_one("#secret", Input)

    def __init__(self, where: str, problem: str = "") -> None:
        super().__init__()
        self._where = where
        self._problem = problem

    def compose_body(self) -> Iterator[Widget]:
        """Which repository, the line to type in, what was wrong."""
        yield Static(f"The repository is protected:\n  {self._where}", id="intro", markup=False)
        yield Static("Type its passphrase or its recovery code:", id="label", markup=False)
        yield Input(password=True, id="secret")
        yield Static(self._problem and f"! {self._problem}", id="problem", markup=False)

    def on_mount(self) -> None:
        """Type at once."""
        self.secret.cursor_blink = False
        self.secret.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Return the secret."""
        if event.value:
            self.dismiss(event.value)

    def action_toggle_hidden(self) -> None:
        """Show what is typed, for strange keyboards, or hide it."""
        self.secret.password = not self.secret.password
