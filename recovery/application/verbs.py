"""The verbs that both faces call, as a protocol: the screens are written and tested against this.

`Operations` is the real thing; a simulation has the same methods and harms nothing.
Every method that takes long is called from a worker thread, tells its progress through a
`Listener` and stops soon after `cancelled` is set, raising `Interrupted`.
All raise `RecoveryError` and nothing else, unless there is a bug.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from recovery.model.event import Listener, Outcome
from recovery.model.machine import Disk
from recovery.model.plan import Plan
from recovery.model.probe import Probe
from recovery.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class RepositoryLocation:
    """A place that looks like a repository: its URL or path, and where that is in plain words.

    `where` is for the list on the screen, such as `WD My Passport 5758AB (2000 GB), partition 1,
    folder /backups`. `protected` tells whether a passphrase will be asked for.
    """

    url: str
    where: str
    protected: bool


class OpenRepository(Protocol):
    """A repository whose master key is at hand; made by `Verbs.open_repository`."""

    @property
    def url(self) -> str:
        """Where it is."""
        ...


@dataclass(frozen=True, slots=True)
class TargetChoice:
    """A disk that a snapshot might be restored to; a `refusal` says why it is not offered.

    `holds` tells in a few words what is on it now, such as `empty` or `2 partitions: vfat, ext4`.
    """

    disk: Disk
    holds: str
    refusal: str = ""


class Verbs(Protocol):
    """What the product can do."""

    def probe(self) -> Probe:
        """The hardware and its storage, now."""
        ...

    def find_repositories(self) -> tuple[RepositoryLocation, ...]:
        """Repositories on attached media, mounted read-only if need be."""
        ...

    def open_repository(self, url: str, passphrase: str | None) -> OpenRepository:
        """Open by passphrase or recovery code; `None` where it is not protected.

        Raises `PassphraseNeeded`, `WrongPassphrase`, `NoRepository`, `DamagedData`.
        """
        ...

    def snapshots(self, repository: OpenRepository) -> tuple[Snapshot, ...]:
        """All snapshots, newest first."""
        ...

    def targets(self, repository: OpenRepository, snapshot: Snapshot) -> tuple[TargetChoice, ...]:
        """Every attached disk, those that can be chosen first."""
        ...

    def plan_restore(self, repository: OpenRepository, snapshot: Snapshot, target: Disk) -> Plan:
        """What a restore onto `target` would do. Raises `DoesNotFit` or `Refused`."""
        ...

    def perform_restore(
        self,
        repository: OpenRepository,
        plan: Plan,
        confirmation: str,
        listener: Listener,
        cancelled: threading.Event,
    ) -> Outcome:
        """Carry out the plan if `confirmation` equals the token of the disk it erases.

        Raises `Refused` for another confirmation and `PlanStale` where the world moved.
        """
        ...

    @property
    def session_folder(self) -> Path:
        """Where plan, log and probe of this session are kept."""
        ...

    def reboot(self) -> None:
        """Restart the machine."""
        ...

    def power_off(self) -> None:
        """Switch the machine off."""
        ...
