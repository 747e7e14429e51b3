"""The way from the start screen to a restored machine, to be read from top to bottom.

Every choice is a loop: as long as a value is chosen, the way goes on with it; when a later screen
is left by "back", the loop shows its own screen again, with the earlier choice highlighted.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime

from recovery.application.verbs import OpenRepository, RepositoryLocation, TargetChoice, Verbs
from recovery.errors import PassphraseNeeded, PlanStale, Refused, WrongPassphrase
from recovery.model.event import Listener, Outcome
from recovery.model.plan import Plan
from recovery.model.snapshot import Snapshot
from tui.screens.confirm import ConfirmScreen
from tui.screens.outcome import Next, OutcomeScreen
from tui.screens.passphrase import PassphraseScreen
from tui.screens.repository import LookAgain, RepositoryScreen
from tui.screens.restoring import Ending, RestoringScreen
from tui.screens.shell_and_log import ShellAndLogScreen, read_end_of_log
from tui.screens.snapshot import SnapshotScreen
from tui.screens.target import TargetScreen
from tui.stage import Stage


@dataclass
class Choices:
    """What was chosen so far, so that going back and forth keeps it."""

    found: tuple[RepositoryLocation, ...] | None = None
    url: str = ""
    snapshot: str = ""
    token: str = ""


class RestoreWizard:
    """Asks for repository, snapshot, target and confirmation; restores; tells the outcome."""

    def __init__(self, stage: Stage, verbs: Verbs) -> None:
        self._stage = stage
        self._verbs = verbs
        self._choices = Choices()

    async def run(self) -> Next:
        """All of it; returns what to do afterwards."""
        while (location := await self._choose_repository()) is not None:
            repository = await self._stage.attempt(self._open(location))
            if repository is None:
                continue
            after = await self._stage.attempt(self._choose_snapshot(repository))
            if after is not None:
                return after
        return Next.START

    async def _choose_repository(self) -> RepositoryLocation | None:
        choices = self._choices
        while True:
            if choices.found is None:
                choices.found = await self._stage.attempt(self._find_repositories()) or ()
            answer = await self._stage.ask(RepositoryScreen(choices.found, choices.url))
            if isinstance(answer, LookAgain):
                choices.found, choices.url = None, answer.typed or choices.url
            else:
                choices.url = answer.url if answer else choices.url
                return answer

    async def _find_repositories(self) -> tuple[RepositoryLocation, ...]:
        return await self._stage.wait(
            RepositoryScreen.HEADING,
            "Looking for repositories on the attached disks ...\n"
            "Esc: do not wait, type where it is",
            self._verbs.find_repositories,
        )

    async def _open(self, location: RepositoryLocation) -> OpenRepository | None:
        """The open repository, `None` if the technician went back from the passphrase."""
        if not location.protected:
            try:
                return await self._unlock(location, None)
            except PassphraseNeeded:
                pass
        problem = ""
        while (
            secret := await self._stage.ask(PassphraseScreen(location.where, problem))
        ) is not None:
            try:
                return await self._unlock(location, secret)
            except WrongPassphrase as error:
                problem = f"{error.message}. Please try again."
        return None

    async def _unlock(self, location: RepositoryLocation, secret: str | None) -> OpenRepository:
        return await self._stage.wait(
            RepositoryScreen.HEADING,
            "Opening the repository ...",
            lambda: self._verbs.open_repository(location.url, secret),
        )

    async def _choose_snapshot(self, repository: OpenRepository) -> Next | None:
        snapshots = await self._stage.wait(
            SnapshotScreen.HEADING,
            "Reading the snapshots ...",
            lambda: self._verbs.snapshots(repository),
        )
        if not snapshots:
            await self._stage.inform(
                "No snapshots",
                "There is no snapshot in this repository yet.\n\nChoose another repository.",
            )
            return None
        while True:
            snapshot = await self._stage.ask(
                SnapshotScreen(snapshots, datetime.now(UTC), self._choices.snapshot)
            )
            if snapshot is None:
                return None
            self._choices.snapshot = snapshot.id
            after = await self._stage.attempt(self._choose_target(repository, snapshot))
            if after is not None:
                return after

    async def _choose_target(self, repository: OpenRepository, snapshot: Snapshot) -> Next | None:
        targets = await self._find_targets(repository, snapshot)
        while True:
            disk = await self._stage.ask(TargetScreen(targets, self._choices.token))
            if disk is None:
                return None
            self._choices.token = disk.id.token
            target = next(target for target in targets if target.disk == disk)
            plan = await self._stage.attempt(self._plan(repository, snapshot, target))
            if plan is None:
                continue
            token = await self._stage.ask(ConfirmScreen(plan, target))
            if token is None:
                continue
            ending = await self._perform(repository, plan, token)
            if isinstance(ending.error, PlanStale | Refused) and not ending.step:
                await self._stage.tell(ending.error)
                targets = await self._find_targets(repository, snapshot)
                continue
            return await self._tell_outcome(plan, ending)

    async def _find_targets(
        self, repository: OpenRepository, snapshot: Snapshot
    ) -> tuple[TargetChoice, ...]:
        return await self._stage.wait(
            TargetScreen.HEADING,
            "Looking at the disks ...",
            lambda: self._verbs.targets(repository, snapshot),
        )

    async def _plan(
        self, repository: OpenRepository, snapshot: Snapshot, target: TargetChoice
    ) -> Plan:
        return await self._stage.wait(
            ConfirmScreen.HEADING,
            "Working out the plan ...",
            lambda: self._verbs.plan_restore(repository, snapshot, target.disk),
        )

    async def _perform(self, repository: OpenRepository, plan: Plan, token: str) -> Ending:
        def perform(listener: Listener, cancelled: threading.Event) -> Outcome:
            return self._verbs.perform_restore(repository, plan, token, listener, cancelled)

        ending = await self._stage.ask(RestoringScreen(plan, perform))
        assert ending is not None  # the screen has no other way out
        return ending

    async def _tell_outcome(self, plan: Plan, ending: Ending) -> Next:
        folder = self._verbs.session_folder
        while True:
            chosen = await self._stage.ask(OutcomeScreen(plan, ending, folder))
            if chosen is not Next.SHELL:
                return chosen or Next.START
            if await self._stage.ask(ShellAndLogScreen(folder, read_end_of_log(folder))):
                return Next.SHELL
