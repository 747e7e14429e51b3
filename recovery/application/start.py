"""The verbs of this machine, ready to use."""

from __future__ import annotations

from recovery.application.operations import Operations
from recovery.application.world import keep_log, make_world


def start_session() -> Operations:
    """For verbs that do more than look: with a session folder and a log."""
    world = make_world()
    keep_log(world.session)
    return Operations(world)


def look_only() -> Operations:
    """For verbs that leave no trace."""
    return Operations(make_world())
