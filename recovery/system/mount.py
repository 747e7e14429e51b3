"""Mounts that nothing else sees and that are gone afterwards.

Everything is mounted below one fresh folder that is a private mount of its own, so that no mount
event reaches other mount namespaces and none comes in (a service of the live system that starts
later would otherwise keep a copy and hold the disk busy). They are taken down in reverse order,
also after a failure. Source: mount_namespaces(7).
"""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path
from types import TracebackType

from recovery.errors import CommandFailed
from recovery.system.command import Command, Runner

log = logging.getLogger(__name__)

PLACE = Path("/run/recovery")
BUSY_TRIES = 10
BUSY_WAIT = 0.5


class PrivateMounts:
    """A context in which things are mounted below `folder`; unmounts all of them at its end.

    `left` names what could only be detached, since something still used it.
    """

    def __init__(self, runner: Runner, place: Path = PLACE) -> None:
        self._runner = runner
        self._place = place
        self._mounted: list[Path] = []
        self._folders: list[Path] = []
        self.folder = place
        self.left: tuple[Path, ...] = ()

    def __enter__(self) -> PrivateMounts:
        self._place.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="target-", dir=self._place))
        self._folders.append(self.folder)
        try:
            self._mount("--bind", str(self.folder), str(self.folder))
            self._mounted.append(self.folder)
            self._run("mount", "--make-private", str(self.folder))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._mounted:
            self._unmount(self._mounted.pop())
        while self._folders and not self.left:
            self._folders.pop().rmdir()

    def make_folder(self, name: str) -> Path:
        """A new folder to mount something at; removed at the end."""
        folder = self.folder / name
        folder.mkdir()
        self._folders.append(folder)
        return folder

    def mount(self, node: str, folder: Path, *options: str, kind: str = "") -> None:
        """Mount a device or, with its `kind`, a kernel filesystem such as `tmpfs`.

        Raises `CommandFailed`.
        """
        chosen = ("--types", kind) if kind else ()
        joined = ("--options", ",".join(options)) if options else ()
        self._mount(*chosen, *joined, "--", node, str(folder))
        self._mounted.append(folder)

    def bind(self, source: Path, target: Path) -> None:
        """Show `source` at `target` too, which can be a file or a folder."""
        self._mount("--bind", "--", str(source), str(target))
        self._mounted.append(target)

    def unmount(self, folder: Path) -> None:
        """Unmount the last thing that was mounted, which is at `folder`."""
        assert self._mounted[-1] == folder
        self._unmount(self._mounted.pop())

    def remount_writable(self, folder: Path) -> None:
        """Let a filesystem that was mounted read-only be written."""
        self._mount("--options", "remount,rw", "--", str(folder))

    def _mount(self, *argv: str) -> None:
        self._run("mount", *argv)

    def _run(self, *argv: str) -> None:
        self._runner.run(Command(argv, f"mount {argv[-1]}", package="mount", timeout=120))

    def _unmount(self, folder: Path) -> None:
        """Unmount; what stays busy (a program that ends slowly) is detached in the end."""
        command = Command(("umount", "--", str(folder)), f"unmount {folder}", package="mount")
        for _ in range(BUSY_TRIES):
            try:
                self._runner.run(command)
                return
            except CommandFailed as error:
                log.warning("%s: %s", error.message, error.hint)
                time.sleep(BUSY_WAIT)
        self.left = (*self.left, folder)
        lazily = Command(("umount", "--lazy", "--", str(folder)), f"detach {folder}")
        try:
            self._runner.run(lazily)
        except CommandFailed as error:
            log.warning("%s: %s", error.message, error.hint)
