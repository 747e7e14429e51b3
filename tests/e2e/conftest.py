"""What several end-to-end tests need and is made once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e import bare_metal
from tests.e2e.bare_metal import BUILD
from tests.e2e.guest import GuestDisk, make_guest_disk

if TYPE_CHECKING:
    from live_image.build import BuiltImage


@pytest.fixture(scope="session")
def guest_disk() -> GuestDisk:
    """The original machine's disk; tests start copies of it only."""
    if os.geteuid() != 0:
        pytest.skip("making a machine's disk needs root")
    return make_guest_disk(BUILD / "guests")


@pytest.fixture(scope="session")
def live_medium() -> BuiltImage:
    """The live image, the same as the demo's."""
    return bare_metal.build_live_image(print)


@pytest.fixture(scope="session")
def backup_disk(guest_disk: GuestDisk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk with a repository that holds one snapshot of the original machine."""
    return bare_metal.capture_machine(guest_disk, tmp_path_factory.mktemp("backup"))
