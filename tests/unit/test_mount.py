"""Mounts are taken down in reverse, whatever happened; what is busy is detached and named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from recovery.errors import CommandFailed
from recovery.system import mount
from recovery.system.command import Command, Output
from recovery.system.mount import PrivateMounts


class Runner:
    """Keeps the calls; `busy` maps a folder's name to how often it refuses to be unmounted."""

    def __init__(self, **busy: int) -> None:
        self.busy = busy
        self.calls: list[tuple[str, ...]] = []

    def run(self, command: Command) -> Output:
        self.calls.append(command.argv)
        name = Path(command.argv[-1]).name
        if command.argv[0] == "umount" and self.busy.get(name, 0):
            self.busy[name] -= 1
            raise CommandFailed("could not unmount", hint="target is busy")
        if command.argv[0] == "mount" and "/dev/broken" in command.argv:
            raise CommandFailed("could not mount")
        return Output(0, b"", "")

    def stream(self, command: Command) -> Iterator[str]:
        raise NotImplementedError

    @property
    def unmounted(self) -> list[str]:
        return [Path(argv[-1]).name for argv in self.calls if argv[0] == "umount"]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mount, "BUSY_WAIT", 0)


def test_the_place_is_private_before_anything_is_mounted(tmp_path: Path) -> None:
    runner = Runner()
    with PrivateMounts(runner, tmp_path) as mounts:
        root = mounts.make_folder("root")
        mounts.mount("/dev/sda2", root, "ro", kind="ext4")
        mounts.remount_writable(root)
        folder = str(mounts.folder)
    assert runner.calls == [
        ("mount", "--bind", folder, folder),
        ("mount", "--make-private", folder),
        ("mount", "--types", "ext4", "--options", "ro", "--", "/dev/sda2", str(root)),
        ("mount", "--options", "remount,rw", "--", str(root)),
        ("umount", "--", str(root)),
        ("umount", "--", folder),
    ]
    assert list(tmp_path.iterdir()) == []


def test_after_a_failure_everything_is_unmounted_in_reverse(tmp_path: Path) -> None:
    runner = Runner()
    mounts = PrivateMounts(runner, tmp_path)

    def work() -> None:
        with mounts:
            for name in ("a", "b"):
                mounts.mount("/dev/sda1", mounts.make_folder(name))
            mounts.mount("/dev/broken", mounts.make_folder("c"))

    with pytest.raises(CommandFailed):
        work()
    assert runner.unmounted == ["b", "a", mounts.folder.name]
    assert list(tmp_path.iterdir()) == []


def test_what_is_busy_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    runner = Runner(a=3)
    with PrivateMounts(runner, tmp_path) as mounts:
        mounts.mount("/dev/sda1", mounts.make_folder("a"))
    assert runner.unmounted == ["a"] * 4 + [mounts.folder.name]
    assert mounts.left == ()


@pytest.mark.parametrize("times", [mount.BUSY_TRIES, mount.BUSY_TRIES + 1])
def test_what_stays_busy_is_detached_and_named(tmp_path: Path, times: int) -> None:
    runner = Runner(a=times)
    with PrivateMounts(runner, tmp_path) as mounts:
        folder = mounts.make_folder("a")
        mounts.mount("/dev/sda1", folder)
    assert ("umount", "--lazy", "--", str(folder)) in runner.calls
    assert runner.unmounted[-1] == mounts.folder.name
    assert mounts.left == (folder,)
    assert folder.exists()
