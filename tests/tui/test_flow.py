"""The way from start to outcome, forwards and backwards."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from recovery.errors import DeviceFailed, NoRepository, PlanStale, Refused
from tests.tui.conftest import CHOSEN, screens
from tests.tui.simulation import (
    NO_SERIAL,
    PASSPHRASE,
    PASSPORT,
    PROTECTED,
    RECOVERY_CODE,
    SMALL,
    SSD,
    SimulatedVerbs,
    make_disk,
    make_probe,
    make_snapshot,
)
from tui.widgets.choice_list import ChoiceList

TOKEN = SSD.id.token


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_restore_from_start_to_reboot(verbs: SimulatedVerbs, size: tuple[int, int]) -> None:
    async with screens(verbs, size) as eyes:
        await eyes.see("Welcome", "ThinkCentre M70q", "UEFI, Secure Boot on", "16 GiB", TOKEN)
        await eyes.see("enp2s0", "> Restore this machine", "Nothing has been changed yet.")
        await eyes.press("enter")
        await eyes.see("Choose the repository", "> WD My Passport", "Nothing has been changed yet.")
        await eyes.press("enter")
        await eyes.see("Choose the snapshot", "> ws-042", "2 days ago", "51.6 GB", "/boot/efi")
        await eyes.see("Nothing has been changed yet.")
        await eyes.press("enter")
        await eyes.see("Choose the target disk", "> Samsung SSD 980", TOKEN)
        await eyes.see("cannot be chosen: it holds the repository", "Nothing has been changed yet.")
        await eyes.press("enter")
        await eyes.see("Confirm the plan", "THIS DISK WILL BE ERASED", f"serial {TOKEN}")
        await eyes.see("!!  2  ERASE", "on it now: 2 partitions: vfat, ext4")
        await eyes.see("Nothing has been changed yet.")
        assert "perform_restore" not in verbs.calls
        await eyes.type(TOKEN)
        await eyes.press("enter")
        await eyes.see("Restore complete", "read back", "e2fsck", "> Reboot", "fallback path")
        assert verbs.confirmations == [TOKEN]
        assert "reboot" not in verbs.calls
        await eyes.press("r")
        await eyes.see("Welcome", "> Restore this machine")
        assert verbs.calls.count("reboot") == 1


async def test_the_outcome_tells_where_the_report_is(verbs: SimulatedVerbs) -> None:
    async with screens(verbs, (120, 40)) as eyes:
        await eyes.go_to_plan()
        await eyes.type(TOKEN)
        await eyes.press("enter")
        await eyes.see("Restore complete", "Report and log:", verbs.session_folder.name)


async def test_a_wrong_serial_does_nothing_and_says_so(verbs: SimulatedVerbs) -> None:
    async with screens(verbs) as eyes:
        await eyes.go_to_plan()
        await eyes.type("WX21A3")
        await eyes.press("enter")
        await eyes.see('"WX21A3" is not the serial', "Nothing has been changed yet.")
        await eyes.press("backspace")
        assert "is not the serial" not in eyes.text
        for _ in range(5):
            await eyes.press("backspace")
        await eyes.press("enter")
        await eyes.see("Nothing was typed")
        assert verbs.confirmations == []
        await eyes.type(TOKEN.lower())
        await eyes.press("enter")
        await eyes.see("Restore complete")
        assert verbs.confirmations == [TOKEN]


async def test_going_back_keeps_what_was_chosen(verbs: SimulatedVerbs) -> None:
    async with screens(verbs) as eyes:
        await eyes.take("Restore this machine")
        await eyes.take("Choose the repository")
        await eyes.see("Choose the snapshot", CHOSEN)
        await eyes.press("down", "enter")
        await eyes.see("Choose the target disk", CHOSEN)
        await eyes.press("down", "enter")
        await eyes.see("Confirm the plan", NO_SERIAL.id.token)
        await eyes.press("escape")
        await eyes.see("Choose the target disk", "> QEMU HARDDISK")
        await eyes.press("escape")
        await eyes.see("Choose the snapshot", "20261113T021500Z-19c2")
        await eyes.press("escape")
        await eyes.see("Choose the repository", "> WD My Passport")
        await eyes.press("enter")
        await eyes.see("Choose the snapshot", "20261113T021500Z-19c2")
        await eyes.press("escape")
        await eyes.see("Choose the repository")
        await eyes.press("escape")
        await eyes.see("Welcome", "> Restore this machine")
        assert verbs.calls.count("find_repositories") == 1
        assert "perform_restore" not in verbs.calls


async def test_a_typed_path_is_kept_when_it_was_wrong(verbs: SimulatedVerbs) -> None:
    async with screens(verbs) as eyes:
        await eyes.take("Restore this machine")
        await eyes.see("Choose the repository", CHOSEN)
        await eyes.press("tab")
        await eyes.type("/mnt/nowhere")
        await eyes.press("enter")
        await eyes.see("there is no repository at /mnt/nowhere", "check the path")
        await eyes.press("enter")
        await eyes.see("Choose the repository", "/mnt/nowhere")
        for _ in "/mnt/nowhere":
            await eyes.press("backspace")
        await eyes.type(PROTECTED.url)
        await eyes.press("enter")
        await eyes.see("Passphrase", PROTECTED.url)


async def test_no_repository_found_leaves_the_line_to_type_in(verbs: SimulatedVerbs) -> None:
    verbs.locations = ()
    async with screens(verbs) as eyes:
        await eyes.take("Restore this machine")
        await eyes.see("Choose the repository", "No repository was found")
        verbs.locations = (PROTECTED,)
        await eyes.press("ctrl+l")
        await eyes.see("> SanDisk Ultra", "protected by a passphrase")
        assert verbs.calls.count("find_repositories") == 2


@pytest.mark.parametrize("secret", [PASSPHRASE, RECOVERY_CODE])
async def test_a_wrong_passphrase_is_told_and_asked_for_again(
    verbs: SimulatedVerbs, secret: str
) -> None:
    async with screens(verbs) as eyes:
        await eyes.take("Restore this machine")
        await eyes.see("Choose the repository", CHOSEN)
        await eyes.press("down", "enter")
        await eyes.see("Passphrase", "SanDisk Ultra")
        await eyes.type("wrong")
        assert "wrong" not in eyes.text
        await eyes.press("enter")
        await eyes.see("does not open this repository. Please try")
        await eyes.type(secret)
        assert secret not in eyes.text
        await eyes.press("ctrl+t")
        assert secret in eyes.text
        await eyes.press("enter")
        await eyes.see("Choose the snapshot")


async def test_back_from_the_passphrase_is_the_repository(verbs: SimulatedVerbs) -> None:
    async with screens(verbs) as eyes:
        await eyes.take("Restore this machine")
        await eyes.see("Choose the repository", CHOSEN)
        await eyes.press("down", "enter")
        await eyes.see("Passphrase")
        await eyes.press("escape")
        await eyes.see("Choose the repository", "> SanDisk Ultra")


async def test_an_empty_repository_is_said_to_be_empty(verbs: SimulatedVerbs) -> None:
    verbs.stored = ()
    async with screens(verbs) as eyes:
        await eyes.take("Restore this machine")
        await eyes.take("Choose the repository")
        await eyes.see("There is no snapshot in this repository yet.")
        await eyes.press("enter")
        await eyes.see("Choose the repository")


async def test_a_disk_that_is_too_small_is_told_with_what_would_do(verbs: SimulatedVerbs) -> None:
    verbs.machine = make_probe((SMALL, SSD))
    async with screens(verbs) as eyes:
        await eyes.take("Restore this machine")
        await eyes.take("Choose the repository")
        await eyes.take("Choose the snapshot")
        await eyes.take("Choose the target disk")
        await eyes.see("does not fit", "choose a larger disk")
        await eyes.press("enter")
        await eyes.see("Choose the target disk", "> Kingston")


@pytest.mark.parametrize(
    "error",
    [
        PlanStale("the target is not the disk that the plan was made for", hint="choose it again"),
        Refused("another restore is running on this machine", hint="it is on another console"),
    ],
)
async def test_a_refusal_before_the_first_step_leads_back_to_the_disks(
    verbs: SimulatedVerbs, error: Exception
) -> None:
    verbs.failures["perform_restore"] = [error]
    async with screens(verbs) as eyes:
        await eyes.go_to_plan()
        await eyes.type(TOKEN)
        await eyes.press("enter")
        await eyes.see(str(error).split(" that ")[0])
        await eyes.press("enter")
        await eyes.see("Choose the target disk", "> Samsung", "Nothing has been changed yet.")
        assert verbs.calls.count("targets") == 2


async def test_a_failing_target_is_an_outcome_that_warns_of_the_disk(
    verbs: SimulatedVerbs,
) -> None:
    verbs.fail_in_step = (4, DeviceFailed("could not write to the disk", hint="I/O error"))
    async with screens(verbs) as eyes:
        await eyes.go_to_plan()
        await eyes.type(TOKEN)
        await eyes.press("enter")
        text = await eyes.see("Restore failed", "could not write to the disk", "I/O error")
        assert "The target disk is incomplete: do not start from it." in text
        assert "Nothing has been changed" not in text
        assert "> Back to the start" in text


async def test_stopping_asks_first_and_ends_cleanly(verbs: SimulatedVerbs) -> None:
    verbs.hold = threading.Event()
    async with screens(verbs) as eyes:
        await eyes.go_to_plan()
        await eyes.type(TOKEN)
        await eyes.press("enter")
        await eyes.see("Restoring", "now >   8")
        await eyes.press("escape")
        await eyes.see("Stop the restore?", "> Go on with the restore")
        await eyes.press("enter")
        await eyes.see("Restoring", "now >   8")
        await eyes.press("escape")
        await eyes.see("> Go on with the restore")
        await eyes.press("down", "enter")
        await eyes.see("Stopping")
        verbs.hold.set()
        await eyes.see("Restore stopped", "the restore was stopped", "disk is incomplete")


async def test_ctrl_q_never_ends_the_program_during_a_restore(verbs: SimulatedVerbs) -> None:
    verbs.hold = threading.Event()
    async with screens(verbs) as eyes:
        await eyes.go_to_plan()
        await eyes.type(TOKEN)
        await eyes.press("enter")
        await eyes.see("Restoring", "now >   8")
        await eyes.press("ctrl+q")
        await eyes.see("Stop the restore?")
        await eyes.press("ctrl+q")
        assert eyes.pilot.app.is_running
        verbs.hold.set()
        await eyes.see("Restore complete")


async def test_the_end_of_a_restore_closes_what_lies_over_it(verbs: SimulatedVerbs) -> None:
    verbs.hold = threading.Event()
    async with screens(verbs) as eyes:
        await eyes.go_to_plan()
        await eyes.type(TOKEN)
        await eyes.press("enter")
        await eyes.see("Restoring", "now >   8")
        await eyes.press("f1")
        await eyes.see("Help: Restoring")
        verbs.hold.set()
        await eyes.see("Restore complete")


@pytest.mark.parametrize(
    ("verb", "keys"),
    [
        ("find_repositories", 1),
        ("open_repository", 2),
        ("snapshots", 2),
        ("targets", 3),
        ("plan_restore", 4),
    ],
)
async def test_a_bug_is_told_and_the_start_screen_works_again(
    verbs: SimulatedVerbs, verb: str, keys: int
) -> None:
    verbs.failures[verb] = [ZeroDivisionError("a bug")]
    titles = ("Restore this machine", "Choose the repository", "the snapshot", "the target disk")
    async with screens(verbs) as eyes:
        for title in titles[:keys]:
            await eyes.take(title)
        await eyes.see("Internal error", "ZeroDivisionError: a bug", "session folder")
        await eyes.press("enter")
        await eyes.go_to_plan()


async def test_a_bug_in_the_restore_is_a_failed_restore(verbs: SimulatedVerbs) -> None:
    verbs.fail_in_step = (3, ZeroDivisionError("a bug"))
    async with screens(verbs) as eyes:
        await eyes.go_to_plan()
        await eyes.type(TOKEN)
        await eyes.press("enter")
        await eyes.see("Restore failed", "Internal error", "ZeroDivisionError", "incomplete")
        await eyes.press("enter")
        await eyes.see("Welcome", "> Restore this machine")


async def test_an_error_while_listing_snapshots_leads_back(verbs: SimulatedVerbs) -> None:
    verbs.failures["snapshots"] = [NoRepository("the repository is gone", hint="connect it")]
    async with screens(verbs) as eyes:
        await eyes.take("Restore this machine")
        await eyes.take("Choose the repository")
        await eyes.see("the repository is gone", "connect it")
        await eyes.press("escape")
        await eyes.see("Choose the repository", "> WD My Passport")


async def test_one_need_not_wait_for_slow_media(verbs: SimulatedVerbs) -> None:
    verbs.delays["find_repositories"] = 3
    async with screens(verbs) as eyes:
        await eyes.take("Restore this machine")
        await eyes.see("Looking for repositories")
        await eyes.press("escape")
        await eyes.see("Choose the repository", "type where it is")


async def test_no_disk_is_said_on_both_screens(verbs: SimulatedVerbs) -> None:
    verbs.machine = make_probe(())
    async with screens(verbs) as eyes:
        await eyes.see("Disks: none found", "> Restore this machine")
        await eyes.press("enter")
        await eyes.take("Choose the repository")
        await eyes.take("Choose the snapshot")
        await eyes.see("Choose the target disk", "No disk was found")
        await eyes.press("enter", "escape")
        await eyes.see("Choose the snapshot")


async def test_refused_disks_cannot_be_chosen(verbs: SimulatedVerbs) -> None:
    verbs.machine = make_probe((SSD, PASSPORT))
    verbs.refusals[SSD.id.token] = "it is mounted on /"
    async with screens(verbs) as eyes:
        await eyes.take("Restore this machine")
        await eyes.take("Choose the repository")
        await eyes.take("Choose the snapshot")
        await eyes.see("None of the disks can be used", "it is mounted on /")
        await eyes.press("enter", "down", "enter")
        assert "plan_restore" not in verbs.calls


async def test_a_disk_without_serial_is_confirmed_by_its_code(verbs: SimulatedVerbs) -> None:
    verbs.machine = make_probe((make_disk("QEMU HARDDISK", "", SSD.id.size, "virtio", "pci-1"),))
    token = verbs.machine.machine.disks[0].id.token
    async with screens(verbs) as eyes:
        await eyes.go_to_plan()
        await eyes.see(f"no serial, code {token}", "type its code")
        await eyes.type(token)
        await eyes.press("enter")
        await eyes.see("Restore complete")
        assert verbs.confirmations == [token]


async def test_sixty_disks_scroll(verbs: SimulatedVerbs) -> None:
    disks = tuple(make_disk(serial=f"SER{number:04}") for number in range(60))
    verbs.machine = make_probe(disks)
    async with screens(verbs) as eyes:
        await eyes.see("SER0000", "more, see Hardware details", "> Power off"[2:])
        await eyes.press("enter")
        await eyes.take("Choose the repository")
        await eyes.take("Choose the snapshot")
        await eyes.see("Choose the target disk", "60 of 60 disks")
        await eyes.press("end")
        await eyes.see("SER0059")
        await eyes.press("enter")
        await eyes.see("serial SER0059")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_very_long_names_never_hide_the_serial(
    verbs: SimulatedVerbs, size: tuple[int, int]
) -> None:
    serial = "0123456789ABCDEFGHIJ0123456789ABCDEFGHIJ"
    verbs.machine = make_probe((make_disk("[bold]Model " + "of a very long name " * 4, serial),))
    verbs.stored = (make_snapshot(host="a-host-name." * 8, note="a note that is long " * 9),)
    async with screens(verbs, size) as eyes:
        await eyes.see("[bold]Model of", "> Restore this machine")
        await eyes.go_to_plan()
        await eyes.see(f"serial {serial}", "Nothing has been changed yet.")
        assert all(len(line) <= size[0] for line in eyes.text.splitlines())


async def test_many_snapshots_and_a_wrong_clock(verbs: SimulatedVerbs) -> None:
    verbs.stored = tuple(
        replace(make_snapshot(f"id-{number}", age=timedelta(days=number - 1)), host=f"m{number}")
        for number in range(500)
    )
    async with screens(verbs) as eyes:
        await eyes.take("Restore this machine")
        await eyes.take("Choose the repository")
        await eyes.see("500 snapshots", "in the future?")
        await eyes.press("end")
        await eyes.see("> m499", "id-499", "16 months ago")


async def test_keys_may_come_faster_than_screens(verbs: SimulatedVerbs) -> None:
    async with screens(verbs) as eyes:
        await eyes.see("> Restore this machine")
        menu = eyes.pilot.app.screen.query_one("#menu", ChoiceList)
        menu.action_select()
        menu.action_select()
        await eyes.see("Choose the repository", CHOSEN)
        repositories = eyes.pilot.app.screen.query_one("#repositories", ChoiceList)
        repositories.action_select()
        repositories.action_select()
        await eyes.see("Choose the snapshot")
        await eyes.press("escape")
        await eyes.see("Choose the repository")


async def test_work_may_end_while_help_is_read(verbs: SimulatedVerbs) -> None:
    verbs.delays["find_repositories"] = 3
    async with screens(verbs) as eyes:
        await eyes.take("Restore this machine")
        await eyes.see("Looking for repositories")
        await eyes.press("f1")
        await eyes.see("Help: Choose the repository")
        await eyes.see("> WD My Passport")
        await eyes.press("escape")
        await eyes.see("> Restore this machine")
