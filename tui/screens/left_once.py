"""A screen that is left exactly once, whatever happens at the same moment."""

from __future__ import annotations

from typing import TypeVar

from textual.await_complete import AwaitComplete
from textual.screen import Screen

T = TypeVar("T")


class LeftOnce(Screen[T]):
    """Textual pops whatever is on top at each `dismiss`; this pops itself, and only once.

    Keys come faster than a screen goes (two Enters), and work ends while help lies over it.
    """

    _left = False

    def dismiss(self, result: T | None = None) -> AwaitComplete:
        """Return `result`, together with closing what lies over this screen."""
        if self._left or self not in self.app.screen_stack:
            return AwaitComplete()
        self._left = True
        while self.app.screen is not self:
            self.app.pop_screen()
        return super().dismiss(result)
