"""`python -m tui`: the screen of the live image, on this console."""

from __future__ import annotations

import os
import sys

from recovery.application.verbs import Verbs
from tui.app import SHELL, RecoveryApp

SHELL_PROGRAM = "/bin/bash"


def _make_verbs() -> Verbs:
    """The real verbs; imported on the worker thread, so that the first screen comes at once."""
    from recovery.application.start import start_session  # noqa: PLC0415

    return start_session()


def main() -> None:
    """Run until the technician leaves; become a shell if one is wanted.

    In the live image the service starts this program again when the shell ends.
    """
    app = RecoveryApp(_make_verbs)
    # Without mouse reports a terminal's own marking and copying keeps working.
    wanted = app.run(mouse=False)
    if wanted == SHELL:
        os.execv(SHELL_PROGRAM, (SHELL_PROGRAM, "--login"))
    sys.exit(app.return_code or 0)


if __name__ == "__main__":
    main()
