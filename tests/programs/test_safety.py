"""Nothing moves under a capture or a restore, and no disk stays open to writing after it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from recovery.capture.perform import perform_capture
from recovery.capture.plan import UsedBlocks, plan_capture
from recovery.cli.main import run as run_command
from recovery.errors import DeviceFailed, PlanStale, Refused
from recovery.model.event import Event
from recovery.model.layout import Layout
from recovery.model.size import MiB
from recovery.repository.directory_store import DirectoryStore
from recovery.restore.fit import TargetDisk, fit
from recovery.restore.perform import perform_restore
from recovery.restore.plan import plan_restore
from recovery.system import block_device
from recovery.system.command import SystemRunner
from tests.builders import make_disk_id, make_disk_node, make_snapshot
from tests.engine import DISK, capture_bytes, ignore, new_repository
from tests.images import run

pytestmark = [pytest.mark.programs]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root")

SIZE = 8 * MiB


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[str]:
    image = tmp_path / "disk.img"
    image.write_bytes(os.urandom(SIZE))
    node = run("losetup", "--find", "--show", image).strip()
    try:
        yield node
    finally:
        run("blockdev", "--setrw", node)
        run("losetup", "--detach", node)


@needs_root
def test_a_disk_is_as_locked_after_a_restore_as_before(
    loop: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, where = tmp_path / "source.img", ("-r", str(tmp_path / "repository"))
    source.write_bytes(os.urandom(SIZE))
    assert run_command(["init", *where, "--no-passphrase"]) == 0
    assert run_command(["capture", str(source), *where]) == 0
    run("blockdev", "--setro", loop)
    words = ["restore", "latest", "--to", loop, "--no-adapt", *where]
    assert run_command(words) == Refused.exit_code
    token = capsys.readouterr().err.rpartition("--erase ")[2].split()[0]
    assert run_command([*words, "--erase", token]) == 0, capsys.readouterr().err
    assert run_command(["verify", "latest", "--against", loop, *where]) == 0
    assert block_device.is_read_only(loop)
    assert not (block_device.RELEASED / Path(loop).name).exists()


@needs_root
def test_an_image_that_is_attached_is_no_source(loop: str, tmp_path: Path) -> None:
    where = ("-r", str(tmp_path / "repository"))
    assert run_command(["init", *where, "--no-passphrase"]) == 0
    assert run_command(["capture", str(tmp_path / "disk.img"), *where]) == Refused.exit_code


@needs_root
def test_a_source_is_claimed_while_it_is_read(loop: str) -> None:
    with block_device.claimed((loop,)):
        assert block_device.is_claimed(loop)
        with pytest.raises(Refused):
            block_device.open_target(loop)
    os.close(block_device.open_target(loop))


def test_an_image_that_changes_while_it_is_captured_makes_no_snapshot(tmp_path: Path) -> None:
    image = tmp_path / "image.raw"
    image.write_bytes(os.urandom(SIZE))
    disk = make_disk_node(disk=make_disk_id(size=SIZE))
    plan = plan_capture(Layout((disk,)), {DISK: UsedBlocks(None)}, all_blocks=False)
    repository = new_repository(DirectoryStore(tmp_path / "repository"))
    draft = make_snapshot(layout=plan.layout, volumes=())

    def touch(_: Event) -> None:
        os.utime(image, ns=(1, 1))

    with pytest.raises(DeviceFailed, match="changed while"):
        perform_capture(repository, plan, {DISK: str(image)}, draft, touch, threading.Event())
    assert repository.snapshot_ids() == ()


def test_a_disk_that_vanished_is_not_made_up(tmp_path: Path) -> None:
    repository = new_repository(DirectoryStore(tmp_path / "repository"))
    snapshot = capture_bytes(repository, os.urandom(SIZE), tmp_path).snapshot
    target = make_disk_id(serial="GONE", size=SIZE)
    fitted = fit(snapshot, DISK, TargetDisk(target, SIZE, 512, 512), "none")
    plan = plan_restore(snapshot, DISK, fitted, target, adapt=False)
    node = tmp_path / "sdx"
    with pytest.raises(PlanStale):
        perform_restore(
            repository,
            snapshot,
            plan,
            str(node),
            SystemRunner(),
            lambda *_: pytest.fail("nothing to adapt"),
            tmp_path / "session",
            ignore,
            threading.Event(),
        )
    assert not node.exists()
