"""`recovery init`, `snapshots`, `show`, `check`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from recovery.application.operations import Operations
from recovery.application.start import look_only
from recovery.cli.options import (
    JsonOption,
    PassphraseFdOption,
    PassphraseFileOption,
    RepositoryOption,
)
from recovery.cli.talk import Access, ProgressLine, interruptible, new_passphrase, say
from recovery.errors import DamagedData, Refused, UsageError
from recovery.format.document import encode_document, to_plain
from recovery.format.titles import title_of
from recovery.model.size import format_size
from recovery.model.snapshot import Snapshot, Volume
from recovery.repository.check import Checked


def init_command(
    repository: RepositoryOption = "",
    passphrase_file: PassphraseFileOption = "",
    passphrase_fd: PassphraseFdOption = None,
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Leave the key unprotected beside the data.")
    ] = False,
    recovery_code_file: Annotated[
        Path | None,
        typer.Option("--recovery-code-file", help="Write the recovery code here (new file)."),
    ] = None,
) -> None:
    """Make a repository in an empty or new folder, and show its recovery code."""
    way = Access(repository, passphrase_file, passphrase_fd)
    if not way.url:
        raise UsageError("no repository is named", hint="give --repository URL")
    if recovery_code_file is not None and recovery_code_file.exists():
        raise Refused(f"{recovery_code_file} exists", hint="name a new file for the recovery code")
    passphrase = None if no_passphrase else new_passphrase(way)
    with _code_keeper(recovery_code_file) as keep_code:
        made, code = look_only().init(way.url, passphrase)
        keep_code(code)
    say(f"repository made at {made.url}")
    if no_passphrase:
        say("its key lies beside the data: whoever has the repository can read everything")
    if recovery_code_file is not None:
        say(f"recovery code written to {recovery_code_file}")
    else:
        say("Recovery code (opens the repository if the passphrase is lost; keep it elsewhere):")
        typer.echo(code)


@contextmanager
def _code_keeper(path: Path | None) -> Iterator[Callable[[str], None]]:
    """Writes the recovery code to a file that is made before there is a code to lose."""
    if path is None:
        yield lambda _: None
        return
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be made: {error.strerror}",
            hint="name a new file for the recovery code, in a folder that exists",
        ) from error
    try:
        yield lambda code: _keep(file, code)
    except BaseException:
        path.unlink()
        raise
    finally:
        os.close(file)


def _keep(file: int, code: str) -> None:
    os.write(file, code.encode() + b"\n")
    os.fsync(file)


def snapshots_command(
    repository: RepositoryOption = "",
    passphrase_file: PassphraseFileOption = "",
    passphrase_fd: PassphraseFdOption = None,
    as_json: JsonOption = False,
) -> None:
    """List all snapshots, newest first."""
    operations = look_only()
    opened = Access(repository, passphrase_file, passphrase_fd).open(operations)
    found = operations.all_snapshots(opened)
    good = [snapshot for snapshot in found if isinstance(snapshot, Snapshot)]
    bad = [snapshot for snapshot in found if isinstance(snapshot, DamagedData)]
    if as_json:
        typer.echo(encode_document([summary(snapshot) for snapshot in good]).decode())
    else:
        for snapshot in good:
            typer.echo(render_line(snapshot))
        if not found:
            say("no snapshots yet")
    for damaged in bad:
        say(damaged.message)
    if bad:
        raise typer.Exit(DamagedData.exit_code)


def summary(snapshot: Snapshot) -> dict[str, object]:
    """What a listing says of a snapshot."""
    return {
        "id": snapshot.id,
        "host": snapshot.host,
        "taken_at": snapshot.taken_at.isoformat(),
        "size": snapshot.size,
        "used": snapshot.used,
        "stored": sum(volume.stored for volume in snapshot.volumes),
        "disks": [str(node.disk) for node in snapshot.layout.disks],
        "note": snapshot.note,
    }


def render_line(snapshot: Snapshot) -> str:
    """One line of the listing."""
    time = snapshot.taken_at.astimezone()
    used = f"{format_size(snapshot.used)} of {format_size(snapshot.size)}"
    line = f"{snapshot.id}  {time:%Y-%m-%d %H:%M}  {snapshot.host:<16} {used}"
    return f"{line}  {snapshot.note}".rstrip()


def show_command(
    snapshot: Annotated[str, typer.Argument(help="Id, its beginning, or latest.")],
    repository: RepositoryOption = "",
    passphrase_file: PassphraseFileOption = "",
    passphrase_fd: PassphraseFdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a snapshot holds."""
    operations = look_only()
    opened = Access(repository, passphrase_file, passphrase_fd).open(operations)
    found = operations.snapshot(opened, snapshot)
    typer.echo(_document(found) if as_json else render_snapshot(found))


def _document(snapshot: Snapshot) -> str:
    plain = to_plain(snapshot)
    for volume in plain["volumes"]:
        del volume["map"]
    return encode_document(plain).decode()


def render_snapshot(snapshot: Snapshot) -> str:
    """The snapshot for people."""
    lines = [
        f"snapshot   {snapshot.id}",
        f"machine    {snapshot.host} ({snapshot.machine.product})",
        f"taken      {snapshot.taken_at.astimezone():%Y-%m-%d %H:%M:%S %Z}, "
        f"{snapshot.consistency}, by version {snapshot.tool_version}",
        f"parent     {snapshot.parent or 'none'}",
    ]
    if snapshot.note:
        lines.append(f"note       {snapshot.note}")
    for disk in snapshot.layout.disks:
        table = snapshot.layout.table(disk.id)
        kind = "no partition table" if table is None else table.scheme.upper()
        lines.append(f"{disk.id:<10} {disk.disk}, {disk.logical_sector}-byte sectors, {kind}")
        volumes = (volume for volume in snapshot.volumes if volume.disk == disk.id)
        lines += (f"  {_render_volume(snapshot, volume)}" for volume in volumes)
    return "\n".join(lines)


def _render_volume(snapshot: Snapshot, volume: Volume) -> str:
    used = f"{format_size(volume.used)} of {format_size(volume.size)}"
    why = f"  (all blocks: {volume.reason})" if volume.coverage == "all" else ""
    return f"{title_of(snapshot.layout, volume.id)}: {used}{why}"


def check_command(
    repository: RepositoryOption = "",
    passphrase_file: PassphraseFileOption = "",
    passphrase_fd: PassphraseFdOption = None,
    read_data: Annotated[
        bool, typer.Option("--read-data", help="Read and open every byte, not only the tables.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Examine the repository: is all there that its snapshots need, and is it whole?"""
    operations: Operations = look_only()
    opened = Access(repository, passphrase_file, passphrase_fd).open(operations)
    with interruptible() as cancelled:
        checked = operations.check(opened, ProgressLine(), cancelled, read_data=read_data)
    typer.echo(encode_document(checked).decode() if as_json else render_check(checked))
    if checked.damage:
        raise typer.Exit(DamagedData.exit_code)


def render_check(checked: Checked) -> str:
    """The findings for people."""
    lines = [f"damaged: {text}" for text in checked.damage]
    lines += [f"cannot be restored whole: snapshot {id}" for id in checked.affected]
    amount = f"{checked.packs} packs with {format_size(checked.bytes)}"
    verdict = "all is whole" if not checked.damage else f"{len(checked.damage)} findings"
    return "\n".join((*lines, f"{checked.snapshots} snapshots, {amount}: {verdict}"))
