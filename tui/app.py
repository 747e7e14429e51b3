"""The application: the start screen, and what to do when something of ours breaks.

Screens take values and return one; engine work runs on threads (`WaitScreen`, `RestoringScreen`);
a `RecoveryError` becomes a sentence and a hint, anything else "internal error".
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.worker import Worker, WorkerState

from recovery.application.verbs import Verbs
from recovery.errors import RecoveryError
from recovery.model.probe import Probe
from tui.screens.hardware import HardwareScreen
from tui.screens.message import internal_error_screen
from tui.screens.outcome import Next
from tui.screens.question import QuestionScreen
from tui.screens.restoring import RestoringScreen
from tui.screens.shell_and_log import ShellAndLogScreen, read_end_of_log
from tui.screens.welcome import Start, WelcomeScreen
from tui.stage import Stage
from tui.wizard import RestoreWizard

log = logging.getLogger("recovery.tui")  # the log of a session takes what is below "recovery"

UNTIL_THE_END = 60.0
"""Seconds that a machine may take to stop this program after it was told to end."""

SHELL = "shell"
"""What `RecoveryApp.run` returns when the technician wants a shell on this console."""


class RecoveryApp(App[str]):
    """The technician's screen over `Verbs`, which `make_verbs` builds on a thread."""

    TITLE = "Recovery"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "leave", show=False, priority=True),
        Binding("ctrl+c", "leave", show=False),
    ]

    def __init__(self, make_verbs: Callable[[], Verbs]) -> None:
        super().__init__()
        self.animation_level = "none"
        self._make_verbs = make_verbs
        self._verbs: Verbs | None = None
        self._probe: Probe | None = None
        self._problem = ""
        self._stage = Stage(self)

    def on_mount(self) -> None:
        """Begin to guide."""
        self._begin()

    def _begin(self) -> None:
        self.run_worker(self._guide(), exit_on_error=False)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A bug of ours: say so and begin again, never leave the screen waiting for ever."""
        error = event.worker.error
        if event.state is not WorkerState.ERROR or error is None:
            return
        log.error("internal error", exc_info=error)
        while len(self.screen_stack) > 1:
            self.pop_screen()
        folder = self._verbs.session_folder if self._verbs else None
        self.push_screen(internal_error_screen(error, folder), lambda _: self._begin())

    def action_leave(self) -> None:
        """End the program, but never in the middle of a restore."""
        running = [screen for screen in self.screen_stack if isinstance(screen, RestoringScreen)]
        if not running:
            self.exit()
        elif running[0].is_current:
            running[0].action_back()

    async def _guide(self) -> None:
        """The start screen, again and again."""
        if self._probe is None:
            await self._look_at_the_hardware()
        chosen = Start.RESTORE
        while True:
            screen = WelcomeScreen(self._probe, self._problem, chosen)
            chosen = await self._stage.ask(screen) or chosen
            if await self._stage.attempt(self._do(chosen)) == SHELL:
                self.exit(SHELL)
                return

    async def _do(self, chosen: Start) -> str | None:
        """What the technician chose; returns `SHELL` if the program is to end for one."""
        verbs = self._verbs
        if chosen is Start.LOOK_AGAIN or verbs is None:
            await self._look_at_the_hardware()
        elif chosen is Start.RESTORE:
            return await self._restore(verbs)
        elif chosen is Start.HARDWARE:
            if self._probe is not None:
                await self._stage.ask(HardwareScreen(self._probe))
        elif chosen is Start.SHELL:
            folder = verbs.session_folder
            if await self._stage.ask(ShellAndLogScreen(folder, read_end_of_log(folder))):
                return SHELL
        elif chosen is Start.REBOOT:
            if await self._stage.ask(_end_question("Restart the machine?", "Restart now")):
                await self._end("Restarting the machine ...", verbs.reboot)
        elif await self._stage.ask(_end_question("Switch the machine off?", "Switch off now")):
            await self._end("Switching the machine off ...", verbs.power_off)
        return None

    async def _look_at_the_hardware(self) -> None:
        self._probe, self._problem = None, ""
        try:
            self._probe = await self._stage.wait(
                WelcomeScreen.HEADING,
                "Looking at the hardware ...",
                self._probe_with_new_verbs,
                can_leave=False,
            )
        except RecoveryError as error:
            self._problem = f"{error.message}\n{error.hint}".strip()

    def _probe_with_new_verbs(self) -> Probe:
        if self._verbs is None:
            self._verbs = self._make_verbs()
        return self._verbs.probe()

    async def _restore(self, verbs: Verbs) -> str | None:
        after = await RestoreWizard(self._stage, verbs).run()
        if after is Next.REBOOT:
            await self._end("Restarting the machine ...", verbs.reboot)
        return SHELL if after is Next.SHELL else None

    async def _end(self, sentence: str, verb: Callable[[], None]) -> None:
        """Tell the machine to end, and show nothing else until it does."""

        def end() -> None:
            verb()
            time.sleep(UNTIL_THE_END)

        await self._stage.wait("Goodbye", sentence, end, can_leave=False)


def _end_question(heading: str, yes: str) -> QuestionScreen:
    return QuestionScreen(
        heading,
        "Nothing is running; no disk is being written.",
        no="Stay here",
        yes=yes,
        prefer_yes=True,
    )
