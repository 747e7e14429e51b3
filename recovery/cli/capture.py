"""`recovery capture`."""

from __future__ import annotations

from typing import Annotated

import typer

from recovery.application.start import start_session
from recovery.capture.plan import render_capture
from recovery.cli.options import (
    JsonOption,
    PassphraseFdOption,
    PassphraseFileOption,
    RepositoryOption,
)
from recovery.cli.repository import summary
from recovery.cli.talk import Access, ProgressLine, interruptible, say
from recovery.format.document import encode_document
from recovery.model.size import format_size


def capture_command(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Disks or raw image files; default: every disk of this machine."),
    ] = None,
    repository: RepositoryOption = "",
    passphrase_file: PassphraseFileOption = "",
    passphrase_fd: PassphraseFdOption = None,
    all_blocks: Annotated[
        bool,
        typer.Option("--all-blocks", help="Also free blocks, deleted files and gaps."),
    ] = False,
    host: Annotated[
        str, typer.Option("--host", help="Name of the machine; default: this one's, or the file's.")
    ] = "",
    note: Annotated[str, typer.Option("--note", help="Kept with the snapshot.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Capture disks into a new snapshot, and print its id."""
    operations = start_session()
    opened = Access(repository, passphrase_file, passphrase_fd).open(operations)
    plan, machine, paths = operations.plan_capture(
        opened, tuple(sources or ()), all_blocks=all_blocks
    )
    say(render_capture(plan))
    with interruptible() as cancelled:
        captured = operations.perform_capture(
            opened, plan, machine, paths, host, note, ProgressLine(), cancelled
        )
    say(
        f"captured {format_size(captured.read_bytes)}: {format_size(captured.new_bytes)} were new, "
        f"stored as {format_size(captured.pack_bytes)}"
    )
    if as_json:
        typer.echo(encode_document(summary(captured.snapshot)).decode())
    else:
        typer.echo(captured.snapshot.id)
