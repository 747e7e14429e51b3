"""`recovery restore` and `recovery verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recovery.application.disks import is_image
from recovery.application.operations import RestoreOptions
from recovery.application.start import look_only, start_session
from recovery.cli.options import (
    JsonOption,
    PassphraseFdOption,
    PassphraseFileOption,
    RepositoryOption,
)
from recovery.cli.talk import Access, ProgressLine, interruptible, say
from recovery.errors import Refused, UsageError
from recovery.format.document import encode_document
from recovery.model.machine import Disk
from recovery.model.plan import Plan, render_plan
from recovery.model.size import parse_size

LARGEST = 1 << 62
"""No file can be larger than this, in bytes."""
SnapshotArgument = Annotated[str, typer.Argument(help="Id, its beginning, or latest.")]
DiskOption = Annotated[
    str, typer.Option("--disk", help="Which disk of the snapshot, where it has several.")
]


def restore_command(
    snapshot: SnapshotArgument,
    to: Annotated[str, typer.Option("--to", help="Disk or raw image file to restore to.")],
    disk: DiskOption = "",
    size: Annotated[
        str, typer.Option("--size", help="Size of a new image file; default: the source's.")
    ] = "",
    erase: Annotated[
        str,
        typer.Option("--erase", help="Serial of the target: confirms that it is erased."),
    ] = "",
    keep_sizes: Annotated[
        bool, typer.Option("--keep-sizes", help="Do not grow the last partition.")
    ] = False,
    no_adapt: Annotated[
        bool, typer.Option("--no-adapt", help="Leave the restored system as it was.")
    ] = False,
    repository: RepositoryOption = "",
    passphrase_file: PassphraseFileOption = "",
    passphrase_fd: PassphraseFdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a snapshot's disk. Without --erase: print the plan and stop."""
    operations = start_session()
    opened = Access(repository, passphrase_file, passphrase_fd).open(operations)
    found = operations.snapshot(opened, snapshot)
    target = operations.target(to, _size(size), found, disk)
    options = RestoreOptions(disk, "none" if keep_sizes else "last", not no_adapt)
    plan = operations.plan_restore(opened, found, target, options)
    if as_json and not erase:
        typer.echo(encode_document(plan).decode())
    else:
        say(render_plan(plan))
    confirmation = erase or _unneeded(target)
    if not confirmation:
        raise _not_confirmed(plan)
    with interruptible() as cancelled:
        outcome = operations.perform_restore(opened, plan, confirmation, ProgressLine(), cancelled)
    say("restored and verified" if outcome.verified else "restored, but see the warnings")
    if as_json:
        typer.echo(encode_document(outcome).decode())


def _size(text: str) -> int | None:
    if not text:
        return None
    try:
        size = parse_size(text)
    except ValueError:
        size = 0
    if not 0 < size <= LARGEST:
        raise UsageError(f"{text} is not a size", hint="write it as 20G or 500GB")
    return size


def _unneeded(target: Disk) -> str:
    """The confirmation of a target that is not there yet: nothing is erased by making it."""
    new = is_image(target) and not Path(target.node).exists()
    return target.id.token if new else ""


def _not_confirmed(plan: Plan) -> Refused:
    (disk,) = plan.made_for
    return Refused(
        "nothing has been changed yet: the target was not confirmed",
        hint=f"to perform the plan, confirm what is erased: --erase {disk.token}",
    )


def verify_command(
    snapshot: SnapshotArgument,
    against: Annotated[
        str, typer.Option("--against", help="Disk or raw image file to compare with.")
    ],
    disk: DiskOption = "",
    repository: RepositoryOption = "",
    passphrase_file: PassphraseFileOption = "",
    passphrase_fd: PassphraseFdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare every used block of a disk or image file with the snapshot."""
    operations = look_only()
    opened = Access(repository, passphrase_file, passphrase_fd).open(operations)
    found = operations.snapshot(opened, snapshot)
    with interruptible() as cancelled:
        outcome = operations.verify(opened, found, against, disk, ProgressLine(), cancelled)
    typer.echo(encode_document(outcome).decode() if as_json else "all used blocks are as captured")
