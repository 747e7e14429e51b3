"""How the restore ended, what was checked, and where the report is."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import ClassVar

from textual import events, getters
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import OptionList, Static

from recovery.errors import Interrupted, RecoveryError
from recovery.model.plan import Plan, describe
from tui.screens.message import internal_error_words
from tui.screens.page import Page
from tui.screens.restoring import Ending
from tui.widgets.choice_list import ChoiceList, plain_rows
from tui.words import NOTHING_CHANGED, duration_words, hanging


class Next(Enum):
    """What to do after a restore; the value is the line of the menu."""

    REBOOT = "Reboot"
    START = "Back to the start"
    SHELL = "Shell and log"


AFTER_SUCCESS = (Next.REBOOT, Next.START, Next.SHELL)
AFTER_FAILURE = (Next.START, Next.SHELL, Next.REBOOT)


class OutcomeScreen(Page[Next]):
    """Shows the ending and returns what to do next."""

    HELP_TEXT = (
        "The report names every check that was made. Plan, log and report are in the session "
        "folder, which is lost when the machine restarts unless it is on a disk or stick: copy "
        "it before, if you need it.\n\n"
        "To start the restored machine, remove the recovery medium and reboot."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Start screen", key_display="Esc"),
        Binding("r", "reboot", "Reboot", key_display="R"),
        Binding("pageup", "scroll(-1)", "Scroll", key_display="PgUp/PgDn", priority=True),
        Binding("pagedown", "scroll(1)", show=False, priority=True),
    ]

    report = getters.query_one("#report", Static)

    def __init__(self, plan: Plan, ending: Ending, session_folder: Path) -> None:
        super().__init__()
        self._plan = plan
        self._ending = ending
        self._folder = session_folder
        self._menu = AFTER_SUCCESS if is_complete(ending) else AFTER_FAILURE

    @property
    def heading(self) -> str:
        """The verdict."""
        if is_complete(self._ending):
            return "Restore complete"
        stopped = isinstance(self._ending.error, Interrupted)
        return "Restore stopped" if stopped else "Restore failed"

    def compose_body(self) -> Iterator[Widget]:
        """The report above the menu."""
        yield VerticalScroll(Static(id="report", markup=False), id="text")
        yield ChoiceList(plain_rows([item.value for item in self._menu]), id="menu")

    def on_mount(self) -> None:
        """The most likely next thing is one Enter away."""
        self.assurance.update(assurance_words(self._ending))
        self.query_one("#menu").focus()
        self.set_class(not is_complete(self._ending), "failed")

    def on_resize(self, event: events.Resize) -> None:
        """Fit the report to the width."""
        width = event.size.width - 8
        lines = render_ending(self._plan, self._ending, self._folder)
        self.report.update("\n".join("\n".join(_wrapped(line, width)) for line in lines))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Return the chosen line."""
        self.dismiss(self._menu[event.option_index])

    def action_back(self) -> None:
        """Nothing of this run can be gone back to: the start screen."""
        self.dismiss(Next.START)

    def action_scroll(self, direction: int) -> None:
        """Scroll the report while the focus stays in the menu."""
        text = self.query_one("#text", VerticalScroll)
        text.scroll_relative(y=direction * max(1, text.size.height - 2), animate=False)

    def action_reboot(self) -> None:
        """Restart the machine."""
        self.dismiss(Next.REBOOT)


def _wrapped(line: str, width: int) -> list[str]:
    items = line.startswith("  ")
    return hanging(line.strip(), width, indent=4, first="  ") if items else hanging(line, width)


def is_complete(ending: Ending) -> bool:
    """Whether the plan was carried out to its end."""
    return ending.outcome is not None and ending.outcome.performed


def assurance_words(ending: Ending) -> str:
    """What state the target disk is in."""
    if is_complete(ending):
        return "Remove the recovery medium before the machine starts again."
    if not ending.step:
        return NOTHING_CHANGED
    return "The target disk is incomplete: do not start from it."


def render_ending(plan: Plan, ending: Ending, session_folder: Path) -> list[str]:
    """The report in lines of any length."""
    lines = [plan.title, f"It took {duration_words(ending.seconds)}.", ""]
    if ending.error is not None:
        lines += [*_error_lines(ending.error, session_folder), "", *_where_it_ended(plan, ending)]
    outcome = ending.outcome
    if outcome is not None:
        verdict = (
            "What was written was read back and compared: it equals the snapshot."
            if outcome.verified
            else "! What was written was not fully checked; see the warnings."
        )
        lines += [verdict, *(f"  - {fact}" for fact in outcome.facts), ""]
    told = ending.warnings + (outcome.warnings if outcome else ())
    warnings = tuple(dict.fromkeys(told))
    if warnings:
        lines += ["Warnings", *(f"  ! {warning}" for warning in warnings), ""]
    return [*lines, f"Report and log: {session_folder}"]


def _where_it_ended(plan: Plan, ending: Ending) -> list[str]:
    if not 0 < ending.step <= len(plan.steps):
        return []
    where = f"It ended in step {ending.step} of {len(plan.steps)}:"
    step = " ".join(describe(plan.steps[ending.step - 1]).split())
    return [f"{where} {step}.", "The repository was not touched; you can restore again.", ""]


def _error_lines(error: BaseException, session_folder: Path) -> list[str]:
    if isinstance(error, RecoveryError):
        return [f"! {error.message}", *error.hint.splitlines()]
    return internal_error_words(error, session_folder).splitlines()
