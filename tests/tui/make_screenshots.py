"""Draws every screen of the simulation as SVG: `python -m tests.tui.make_screenshots FOLDER`."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
from pathlib import Path

from tests.tui.conftest import Eyes, screens
from tests.tui.simulation import PASSPHRASE, SSD, SimulatedVerbs

SIZE = (80, 24)


async def draw_all(folder: Path) -> None:
    """From the start screen to the outcome."""
    session = tempfile.mkdtemp(prefix="session-")
    verbs = SimulatedVerbs(Path(session), pace=0.5, hold=threading.Event())

    async with screens(verbs, SIZE) as eyes:

        async def draw(name: str, *words: str) -> None:
            await eyes.see(*words)
            await eyes.pilot.pause(0.3)
            eyes.pilot.app.save_screenshot(f"{name}.svg", path=str(folder))

        await draw("1-welcome", "> Restore this machine")
        await eyes.press("enter")
        await draw("2-repository", "Choose the repository")
        await eyes.press("down", "enter")
        await draw("3-passphrase", "Passphrase")
        await type_in(eyes, PASSPHRASE)
        await draw("4-snapshot", "Choose the snapshot")
        await eyes.press("enter")
        await draw("5-target", "Choose the target disk")
        await eyes.press("enter")
        await draw("6-plan", "Confirm the plan")
        await type_in(eyes, "WX21A3")
        await draw("7-wrong-serial", "is not the serial")
        await eyes.press("ctrl+u")
        await type_in(eyes, SSD.id.token)
        await draw("8-restoring", "Restoring", "now >   6", "GB of 51.5 GB")
        await eyes.press("escape")
        await draw("9-stop", "Stop the restore?")
        await eyes.press("escape")
        assert verbs.hold
        verbs.hold.set()
        await draw("10-complete", "Restore complete")
        await eyes.press("f1")
        await draw("11-help", "Help")


async def type_in(eyes: Eyes, text: str) -> None:
    """Text and Enter."""
    await eyes.type(text)
    await eyes.press("enter")


if __name__ == "__main__":
    asyncio.run(draw_all(Path(sys.argv[1])))
