"""What can go wrong, in the words a technician reads.

A `RecoveryError` is one sentence, one hint and one exit code, the same in the command line
and on the screen. Anything else that is raised is a bug of ours.
"""

from __future__ import annotations


class RecoveryError(Exception):
    """Something failed that the technician can understand and act on."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(RecoveryError):
    """The words of the call are off."""

    exit_code = 2


class NoRepository(RecoveryError):
    """No repository is there, or it is none that this version can read."""

    exit_code = 10


class WrongPassphrase(RecoveryError):
    """No key slot opens with the given secret."""

    exit_code = 12


class PassphraseNeeded(WrongPassphrase):
    """The repository is protected and no secret was given."""


class MissingTool(RecoveryError):
    """A program that this step needs is not installed."""

    exit_code = 20


class CommandFailed(RecoveryError):
    """An external program ended with a status that means failure."""

    exit_code = 21


class DeviceFailed(RecoveryError):
    """A source, a target or a store could not be read or written any more."""

    exit_code = 21


class OutOfSpace(DeviceFailed):
    """The place that is written to is full."""


class PlanStale(RecoveryError):
    """The machine is no longer what the plan was made for."""

    exit_code = 30


class DoesNotFit(RecoveryError):
    """The snapshot does not fit on the target."""

    exit_code = 31


class Refused(RecoveryError):
    """The disk is protected, or was not named by the technician."""

    exit_code = 32


class DamagedData(RecoveryError):
    """Stored or restored bytes are not what was written."""

    exit_code = 40


class Interrupted(RecoveryError):
    """The technician stopped the work."""

    exit_code = 130
