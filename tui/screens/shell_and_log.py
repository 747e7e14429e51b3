"""Where the log is, its last lines, and the way to a shell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from tui.screens.page import Page

LOG = "log.txt"

LAST_BYTES = 16 * 1024
"""How much of the log's end is read; it is shown to look at, the whole is on the medium."""


class ShellAndLogScreen(Page[bool]):
    """Returns whether a shell is wanted."""

    HEADING = "Shell and log"
    HELP_TEXT = (
        "The session folder keeps the log, the plan and what was found out about the hardware. "
        "Copy it to a stick to report a problem.\n\n"
        "A shell replaces this program on this console; when you leave it with exit, the program "
        "starts again."
    )
    ASSURANCE: ClassVar[str] = "A shell can change disks: mind what you type there."
    BINDINGS: ClassVar[list[BindingType]] = [Binding("s", "shell", "Open a shell", key_display="S")]

    def __init__(self, session_folder: Path, log: str) -> None:
        super().__init__()
        self._folder = session_folder
        self._log = log

    def compose_body(self) -> Iterator[Widget]:
        """Folder, keys, the log's end."""
        yield Static(
            f"Session folder: {self._folder}\n\nPress s for a root shell on this console; "
            "exit comes back here.",
            id="intro",
            markup=False,
        )
        box = VerticalScroll(Static(self._log or "The log is empty.", markup=False), id="text")
        box.border_title = "End of the log"
        yield box

    def on_mount(self) -> None:
        """Show the newest lines."""
        box = self.query_one("#text", VerticalScroll)
        box.focus()
        box.scroll_end(animate=False)

    def action_shell(self) -> None:
        """Leave for a shell."""
        self.dismiss(True)


def read_end_of_log(folder: Path) -> str:
    """The last lines of the session's log, or why there are none."""
    try:
        return (folder / LOG).read_bytes()[-LAST_BYTES:].decode(errors="replace")
    except OSError as error:
        return f"The log could not be read: {error.strerror}"
