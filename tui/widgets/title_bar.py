"""The first line of every screen: where one is."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static


class TitleBar(Horizontal):
    """The screen's title at the left, `place` (such as `step 2 of 5`) at the right."""

    def __init__(self, title: str, place: str = "") -> None:
        super().__init__()
        self._title = title
        self._place = place

    def compose(self) -> ComposeResult:
        """Two texts on one line."""
        yield Static(self._title, id="title", markup=False)
        yield Static(self._place, id="place", markup=False)
