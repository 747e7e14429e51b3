"""Shows screens to a coroutine: ask, wait, tell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from textual.app import App
from textual.screen import Screen

from recovery.errors import RecoveryError
from tui.screens.message import MessageScreen, error_screen
from tui.screens.wait import Answer, WaitScreen

T = TypeVar("T")

BETWEEN_SCREENS = 0.1
"""Seconds in which nothing is drawn after a screen is left: the blank screen below, half-made
screens and waits that end at once would cost a serial line a second each."""


class GivenUp(Exception):
    """The technician did not wait for the end of some work."""


class Stage:
    """The screens of an app; usable in its worker coroutines only."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app

    async def ask(self, screen: Screen[T]) -> T | None:
        """What the screen returns, `None` for "back"."""
        answer = await self._app.push_screen_wait(screen)
        self._app.delay_update(BETWEEN_SCREENS)
        return answer

    async def wait(
        self, heading: str, sentence: str, work: Callable[[], T], *, can_leave: bool = True
    ) -> T:
        """The answer of `work`, done on a thread; raises what it raises, or `GivenUp`."""
        ended = await self.ask(WaitScreen(heading, sentence, work, can_leave=can_leave))
        match ended:
            case Answer():
                return ended.value
            case BaseException():
                raise ended
            case _:
                raise GivenUp

    async def tell(self, error: RecoveryError) -> None:
        """One sentence and one hint, to be acknowledged."""
        await self.ask(error_screen(error))

    async def inform(self, heading: str, text: str) -> None:
        """A message that is no error, to be acknowledged."""
        await self.ask(MessageScreen(heading, text))

    async def attempt(self, work: Awaitable[T]) -> T | None:
        """The value of `work`; `None` once its error was told or it was given up."""
        try:
            return await work
        except GivenUp:
            return None
        except RecoveryError as error:
            await self.tell(error)
            return None
