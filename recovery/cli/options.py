"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

from recovery.cli.talk import REPOSITORY_VARIABLE

RepositoryOption = Annotated[
    str,
    typer.Option(
        "--repository",
        "-r",
        envvar=REPOSITORY_VARIABLE,
        help="Where the repository is.",
        metavar="URL",
    ),
]
PassphraseFileOption = Annotated[
    str,
    typer.Option(
        "--passphrase-file",
        help="File with the passphrase or recovery code in its first line; - is standard input.",
        metavar="FILE",
    ),
]
PassphraseFdOption = Annotated[
    int | None,
    typer.Option("--passphrase-fd", help="Read the passphrase from this descriptor.", metavar="N"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print a document.")]
