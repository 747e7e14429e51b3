"""What the tests of the screens share: an app over the simulation, and eyes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from tests.tui.simulation import SimulatedVerbs
from tui.app import RecoveryApp

PATIENCE = 30.0
"""Seconds after which something that should be on the screen is missing."""


CHOSEN = "┃ > "
"""The highlighted row of a list that has the focus; a title alone may be of a screen that waits."""


@dataclass
class Eyes:
    """Sees and types as a technician would."""

    pilot: Pilot[str]

    @property
    def text(self) -> str:
        """What is on the screen now, line by line."""
        size = self.pilot.app.size
        strips = self.pilot.app.screen._compositor.render_strips(size)
        return "\n".join(strip.text.rstrip() for strip in strips)

    async def see(self, *words: str) -> str:
        """Wait until all `words` are on the screen; returns its text."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while missing := [word for word in words if word not in self.text]:
            assert asyncio.get_running_loop().time() < deadline, f"{missing} not in\n{self.text}"
            await self.pilot.pause(0.05)
        return self.text

    async def press(self, *keys: str) -> None:
        for key in keys:
            self.pilot.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await self.pilot.pause()

    async def take(self, title: str) -> None:
        """Take the highlighted row of a screen, once it is there."""
        await self.see(title, CHOSEN)
        await self.press("enter")

    async def type(self, text: str) -> None:
        """As when somebody pastes; single keys are typed in the pty test."""
        self.pilot.app.post_message(events.Paste(text))
        await self.pilot.pause()

    async def go_to_plan(self) -> str:
        """From the start screen to the plan, taking what is highlighted."""
        for title in (
            "Restore this machine",
            "Choose the repository",
            "Choose the snapshot",
            "Choose the target disk",
        ):
            await self.take(title)
        return await self.see("Confirm the plan", "type its")


@asynccontextmanager
async def screens(
    verbs: SimulatedVerbs | Callable[[], SimulatedVerbs], size: tuple[int, int] = (80, 24)
) -> AsyncIterator[Eyes]:
    """The app over `verbs`, running without a terminal."""
    make = verbs if callable(verbs) else lambda: verbs
    app = RecoveryApp(make)
    async with app.run_test(size=size) as pilot:
        yield Eyes(pilot)


@pytest.fixture(autouse=True)
def _draw_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause between screens is for slow lines; here it would only take time."""
    monkeypatch.setattr("tui.stage.BETWEEN_SCREENS", 0.001)
    monkeypatch.setattr("tui.app.UNTIL_THE_END", 0.0)


@pytest.fixture
def verbs(tmp_path: Path) -> SimulatedVerbs:
    (tmp_path / "log.txt").write_text("12:00:01 probe: 3 disks\n")
    return SimulatedVerbs(tmp_path)
