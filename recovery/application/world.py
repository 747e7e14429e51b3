"""Wiring: which outside world the verbs work with. No decisions here."""

from __future__ import annotations

import logging
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from recovery.system.command import Runner, SystemRunner

LIVE_MARK = Path("/run/live/medium")
LIVE_SESSIONS = Path("/run/recovery/session")
MEDIA = Path("/run/recovery/media")
LOCK = Path("/run/recovery/restore.lock")


@dataclass(frozen=True, slots=True)
class World:
    """What the verbs need from outside: programs, a place for the session, a place for mounts."""

    runner: Runner
    session: Path
    media: Path
    lock: Path

    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.now(UTC)


def sessions_folder() -> Path:
    """Where sessions are kept: on the live system in memory, else in the user's state folder."""
    if LIVE_MARK.exists():
        return LIVE_SESSIONS
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
    return Path(state, "recovery/sessions")


def make_world(session: Path | None = None) -> World:
    """The real world, with a session folder of its own."""
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    folder = session or sessions_folder() / name
    lock = LOCK if os.geteuid() == 0 else folder / "restore.lock"
    return World(SystemRunner(), folder, MEDIA, lock)


def keep_log(session: Path) -> None:
    """Write the log to the session folder from now on."""
    session.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(session / "log.txt")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("recovery")
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    root.propagate = False
