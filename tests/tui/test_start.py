"""The start screen and what hangs on it."""

from __future__ import annotations

import pytest

from recovery.errors import MissingTool
from tests.tui.conftest import screens
from tests.tui.simulation import SimulatedVerbs
from tui.__main__ import main
from tui.app import SHELL, RecoveryApp


async def test_the_first_screen_comes_before_the_hardware_is_known(verbs: SimulatedVerbs) -> None:
    verbs.delays["probe"] = 0.5
    async with screens(verbs) as eyes:
        await eyes.see("Welcome", "Looking at the hardware ...")
        await eyes.press("escape")
        await eyes.see("> Restore this machine")


async def test_a_probe_that_fails_can_be_repeated(verbs: SimulatedVerbs) -> None:
    verbs.failures["probe"] = [MissingTool("could not read disks", hint="install udev")]
    async with screens(verbs) as eyes:
        await eyes.see("could not be read", "could not read disks", "install udev")
        await eyes.press("l")
        await eyes.see("ThinkCentre")


async def test_a_bug_at_the_very_start_is_told(
    verbs: SimulatedVerbs, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> SimulatedVerbs:
        raise ZeroDivisionError("a bug")

    async with screens(broken) as eyes:
        await eyes.see("Internal error", "ZeroDivisionError")
    assert "Traceback" in caplog.text and caplog.records[0].name.startswith("recovery.")


async def test_hardware_details_show_everything(verbs: SimulatedVerbs) -> None:
    async with screens(verbs, (120, 60)) as eyes:
        await eyes.see("> Restore this machine")
        await eyes.press("down", "enter")
        text = await eyes.see("Hardware details", "512/4096 byte sectors", "driver igc")
        assert "Samsung NVMe SM981" in text and "EFI system" in text and "wlp3s0" in text
        await eyes.press("escape")
        await eyes.see("Welcome", "> Hardware details")


async def test_shell_and_log(verbs: SimulatedVerbs) -> None:
    async with screens(verbs, (120, 40)) as eyes:
        await eyes.see("> Restore this machine")
        await eyes.press("down", "down", "enter")
        await eyes.see("Session folder:", "probe: 3 disks")
        await eyes.press("s")
        await eyes.pilot.pause(0.2)
        assert eyes.pilot.app.return_value == SHELL


@pytest.mark.parametrize(("steps", "verb"), [(3, "reboot"), (4, "power_off")])
async def test_ending_asks_first(verbs: SimulatedVerbs, steps: int, verb: str) -> None:
    async with screens(verbs) as eyes:
        await eyes.see("> Restore this machine")
        await eyes.press(*["down"] * steps, "enter")
        await eyes.see("Stay here")
        await eyes.press("escape")
        await eyes.see("Welcome")
        assert verb not in verbs.calls
        await eyes.press("enter")
        await eyes.see("Stay here")
        await eyes.press("enter")
        await eyes.see("Welcome", "> Restore this machine"[2:])
        assert verbs.calls.count(verb) == 1


@pytest.mark.parametrize("key", ["f1", "question_mark", "ctrl+g"])
async def test_help_has_three_keys(verbs: SimulatedVerbs, key: str) -> None:
    async with screens(verbs) as eyes:
        await eyes.see("> Restore this machine")
        await eyes.press(key)
        await eyes.see("Help: Welcome", "Keys that work everywhere")
        await eyes.press("escape")
        await eyes.see("> Restore this machine")


def test_a_wanted_shell_replaces_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    replaced: list[tuple[str, tuple[str, ...]]] = []
    monkeypatch.setattr(RecoveryApp, "run", lambda self, mouse: SHELL)
    monkeypatch.setattr("os.execv", lambda path, argv: replaced.append((path, argv)))
    with pytest.raises(SystemExit):
        main()
    assert replaced == [("/bin/bash", ("/bin/bash", "--login"))]
