"""A list to choose one row from, by arrows and Enter, that works without colour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

MARKER = "> "
NO_MARKER = "  "


@dataclass(frozen=True, slots=True)
class Row:
    """One row; its lines fit the width that the renderer was given."""

    lines: tuple[str, ...]
    offered: bool = True


Renderer = Callable[[int], Sequence[Row]]
"""The rows for a width in columns; always the same number of rows."""


def plain_rows(lines: Sequence[str]) -> Renderer:
    """Short lines that fit any width."""
    rows = [Row((line,)) for line in lines]
    return lambda _: rows


class ChoiceList(OptionList):
    """Rows of one or more lines; the highlighted one has a marker, others may not be chosen."""

    def __init__(self, render: Renderer, *, highlighted: int | None = None, id: str) -> None:
        super().__init__(id=id, markup=False)
        self._render_rows = render
        self._rows: Sequence[Row] = ()
        self._wanted = highlighted
        self._width = 0
        self._marked: int | None = None

    def on_resize(self, event: events.Resize) -> None:
        """Fit the rows to a new width."""
        width = self.scrollable_content_region.width
        if width != self._width:
            self._width = width
            self.show_rows(self._render_rows)

    def show_rows(self, render: Renderer) -> None:
        """Show other rows, with the highlight where it was as far as that is possible."""
        self._render_rows = render
        if not self._width:
            return
        wanted = self._wanted if self.highlighted is None else self.highlighted
        self._rows = render(self._width - len(MARKER))
        self._marked = None
        self.set_options(
            Option(self._prompt(index), disabled=not row.offered)
            for index, row in enumerate(self._rows)
        )
        offered = [index for index, row in enumerate(self._rows) if row.offered]
        if offered:
            self.highlighted = wanted if wanted in offered else offered[0]

    def watch_highlighted(self, highlighted: int | None) -> None:
        """Move the marker with the highlight."""
        before, self._marked = self._marked, highlighted
        for index in {before, highlighted} - {None}:
            assert index is not None
            if index < self.option_count:
                self.replace_option_prompt_at_index(index, self._prompt(index))
        super().watch_highlighted(highlighted)

    def _prompt(self, index: int) -> Content:
        first, *rest = self._rows[index].lines
        marker = MARKER if index == self._marked else NO_MARKER
        return Content("\n".join([marker + first, *(NO_MARKER + line for line in rest)]))
