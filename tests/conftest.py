"""What every test lives with: no process that it did not ask for, no trace outside its folder."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# A machine that is busy with other things is no failure.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

ASKS = ("programs", "root", "vm")


@pytest.fixture(autouse=True)
def no_process_without_asking(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starting a program fails in a test that is not marked `programs`, `root` or `vm`."""
    if any(request.node.get_closest_marker(mark) for mark in ASKS):
        return

    def refuse(argv: Any, *_: Any, **__: Any) -> None:
        line = argv if isinstance(argv, str) else shlex.join(map(str, argv))
        pytest.fail(f"this test starts a program without the mark `programs`: {line}")

    monkeypatch.setattr(subprocess, "Popen", refuse)


@pytest.fixture(autouse=True)
def sessions_in_a_folder_of_the_test(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Logs and plans of sessions do not end up in the home of who runs the tests."""
    folder = tmp_path_factory.getbasetemp() / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder
