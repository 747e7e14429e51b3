"""A question with two answers."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static

from tui.screens.left_once import LeftOnce
from tui.widgets.choice_list import ChoiceList, plain_rows


class QuestionScreen(ModalScreen[bool], LeftOnce[bool]):
    """Returns whether `yes` was chosen; `no` is first, and also what Esc means."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "no", "No", key_display="Esc")]

    def __init__(self, heading: str, text: str, *, no: str, yes: str, prefer_yes: bool = False):
        super().__init__()
        self._heading = heading
        self._text = text
        self._answers = (no, yes)
        self._highlighted = int(prefer_yes)

    def compose(self) -> ComposeResult:
        """The question over its answers."""
        box = Vertical(classes="box question")
        box.border_title = self._heading
        with box:
            yield Static(self._text, markup=False)
            yield ChoiceList(
                plain_rows(self._answers),
                highlighted=self._highlighted,
                id="answers",
            )

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Return the answer."""
        self.dismiss(event.option_index == 1)

    def action_no(self) -> None:
        """Esc is the answer that changes nothing."""
        self.dismiss(False)
