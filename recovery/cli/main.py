"""The command `recovery`: its verbs, and how their failures are told."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import typer

from recovery import __version__
from recovery.cli.capture import capture_command
from recovery.cli.probe import probe_command
from recovery.cli.repository import (
    check_command,
    init_command,
    show_command,
    snapshots_command,
)
from recovery.cli.restore import restore_command, verify_command
from recovery.cli.talk import say
from recovery.errors import Interrupted, RecoveryError, UsageError

log = logging.getLogger(__name__)

MISUSED: Any = typer.BadParameter.__mro__[2]
"""`ClickException` of the click that typer carries within itself, which `import click` is not."""

app = typer.Typer(
    name="recovery",
    help="Capture whole machines as images, and bring them back to bare metal.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
COMMANDS: dict[str, Callable[..., None]] = {
    "probe": probe_command,
    "init": init_command,
    "capture": capture_command,
    "snapshots": snapshots_command,
    "show": show_command,
    "restore": restore_command,
    "verify": verify_command,
    "check": check_command,
}
for name, command in COMMANDS.items():
    app.command(name)(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"recovery {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_version, help="Print the version."),
) -> None:
    """Capture whole machines as images, and bring them back to bare metal."""


def main() -> None:
    """Run the command line and end the process with the exit code of what happened."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; returns its exit code."""
    try:
        status = app(arguments, standalone_mode=False)
    except RecoveryError as error:
        tell(error)
        return error.exit_code
    except typer.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        say("stopped")
        return Interrupted.exit_code
    except Exception as error:
        if isinstance(error, MISUSED):
            tell(UsageError(error.format_message(), hint="see `recovery --help`"))
            return UsageError.exit_code
        log.exception("internal error")
        say(f"internal error: {type(error).__name__}: {error}")
        say("  this is a bug of this program; please report it with the session's log")
        return 1
    return status if isinstance(status, int) else 0


def tell(error: RecoveryError) -> None:
    """One sentence, and an indented hint."""
    say(error.message)
    for line in error.hint.splitlines():
        say(f"  {line}")


if __name__ == "__main__":
    main()
