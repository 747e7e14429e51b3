"""The whole plan, and the serial typed by hand: the last screen before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import events, getters
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from recovery.application.verbs import TargetChoice
from recovery.model.machine import DiskId
from recovery.model.plan import Plan, describe, destroys
from recovery.model.size import format_size
from tui.screens.page import HELP_KEYS, Page
from tui.words import NOTHING_CHANGED, hanging, serial_words

ERASES = "!!"
"""Marks steps that overwrite what was on the disk, for screens without colour."""


class ConfirmScreen(Page[str]):
    """Returns the token of the disk that the plan erases, once it was typed."""

    HEADING = "Confirm the plan"
    PLACE = "step 4 of 5"
    HELP_TEXT = (
        "These steps will be done, in this order, if you confirm. Lines with !! overwrite what "
        "is on the disk now. Arrows, Page Up and Page Down scroll the steps.\n\n"
        "To confirm, type the serial of the disk exactly as it stands in the frame (capital or "
        "small letters do not matter) and press Enter. Compare it with the label of the disk. "
        "Esc goes back and nothing is done.\n\n"
        "The first and last MiB of the disk are saved to the session folder before it is erased."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back, change nothing", key_display="Esc"),
        Binding(HELP_KEYS, "help", "Help", key_display="F1 ^G"),
        # An input takes these keys for itself, though it is one line high.
        Binding(
            "up,pageup", "scroll_steps(-1)", "Scroll steps", key_display="Up/Down", priority=True
        ),
        Binding("down,pagedown", "scroll_steps(1)", show=False, priority=True),
    ]

    typed = getters.query_one("#token", Input)
    steps = getters.query_one("#steps", VerticalScroll)
    step_text = getters.query_one("#step-text", Static)

    def __init__(self, plan: Plan, target: TargetChoice) -> None:
        super().__init__()
        self._plan = plan
        self._target = target
        self._disk = plan.erased_disks[0] if plan.erased_disks else target.disk.id

    def compose_body(self) -> Iterator[Widget]:
        """Steps, the disk in a frame, the line to type in."""
        yield Static(self._plan.title, id="intro", markup=False)
        with_steps = VerticalScroll(Static(id="step-text", markup=False), id="steps")
        with_steps.border_title = f"{len(self._plan.steps)} steps"
        yield with_steps
        erased = Static(render_erased(self._disk, self._target), id="erased", markup=False)
        erased.border_title = f"{ERASES} THIS DISK WILL BE ERASED {ERASES}"
        yield erased
        what = "serial" if self._disk.serial else "code"
        yield Static(
            f"To erase it and restore, type its {what} and press Enter:", id="label", markup=False
        )
        yield Input(id="token")

    def on_mount(self) -> None:
        """Type at once."""
        self.typed.cursor_blink = False
        self.typed.focus()

    def on_resize(self, event: events.Resize) -> None:
        """Fit the steps to the width."""
        lines = render_steps(self._plan, event.size.width - 8)
        self.step_text.update(
            Content("\n").join(
                Content.styled(line, "bold $text-warning") if erases else Content(line)
                for line, erases in lines
            )
        )

    def on_input_changed(self, event: Input.Changed) -> None:
        """A new attempt: the old complaint goes."""
        self.assurance.update(NOTHING_CHANGED)
        self.assurance.remove_class("problem")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go on only with the right token."""
        typed = event.value.strip()
        if typed.casefold() == self._disk.token.strip().casefold():
            self.dismiss(self._disk.token)
            return
        what = "serial" if self._disk.serial else "code"
        said = f'"{typed}" is not' if typed else "Nothing was typed; please type"
        self.assurance.update(f"! {said} the {what} of this disk. {NOTHING_CHANGED}")
        self.assurance.add_class("problem")

    def action_scroll_steps(self, direction: int) -> None:
        """Scroll half a page, while the focus stays where one types."""
        lines = max(1, self.steps.size.height // 2)
        self.steps.scroll_relative(y=direction * lines, animate=False)


def render_steps(plan: Plan, width: int) -> list[tuple[str, bool]]:
    """The plan's steps and notes in lines of `width` columns, and whether each erases."""
    lines: list[tuple[str, bool]] = []
    for number, step in enumerate(plan.steps, 1):
        mark = ERASES if destroys(step) else ""
        wrapped = hanging(describe(step), width, indent=14, first=f"{mark:<2} {number:>2}  ")
        lines += [(line, destroys(step)) for line in wrapped]
    for note in plan.notes:
        lines += [(line, False) for line in hanging(note, width, indent=9, first="   note: ")]
    return lines


def render_erased(disk: DiskId, target: TargetChoice) -> str:
    """Who the disk is and what it loses; the serial always whole, on a line of its own."""
    return (
        f"{disk.model or 'disk'}, {format_size(disk.size)}, {target.disk.transport}\n"
        f"{serial_words(disk)}\n"
        f"on it now: {target.holds}"
    )
