"""Programs of a mounted system, run inside it, with nothing in sight but its own disk.

The contract, where most repairs of this kind fail:

* `/dev` is a small one of our own: the nodes of the target disk and the usual characters, and
  links by UUID to its filesystems. No other disk can be opened, so that neither a second copy of
  the system nor the source of the restore is mistaken for the target, and none is written.
* `/run` is empty but for udev's database, so that no tool talks to the live system's services
  or waits for udev in vain; `/sys` is fresh and read-only and has no efivarfs: firmware variables
  are written by the live system alone.
* `/proc/cmdline` is the installed system's own command line, since tools copy it into boot menus.
* Programs get a fixed search path, no login shell, a mount and a process namespace of their own: a
  time-out ends all their children, and what they mount themselves goes with them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from recovery.system.command import Command, Output, Runner
from recovery.system.mount import PrivateMounts

CHARACTERS = ("null", "zero", "full", "random", "urandom", "tty")
DESCRIPTORS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
INSIDE = (
    *("unshare", "--mount", "--propagation", "private"),
    *("--pid", "--fork", "--kill-child", "--ipc", "--", "chroot"),
)
ENVIRONMENT = (
    ("HOME", "/root"),
    ("TMPDIR", "/var/tmp"),
    ("TERM", "dumb"),
    ("LC_ALL", "C"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("GRUB_DISABLE_OS_PROBER", "true"),
)


@dataclass(frozen=True, slots=True)
class Chroot:
    """A mounted system that is ready to run its own programs."""

    root: Path
    runner: Runner

    def run(self, argv: tuple[str, ...], purpose: str, timeout: float, stdin: str = "") -> Output:
        """Run a program of the system to its end. Raises `CommandFailed`."""
        return self.runner.run(self.command(argv, purpose, timeout, stdin))

    def command(
        self, argv: tuple[str, ...], purpose: str, timeout: float, stdin: str = ""
    ) -> Command:
        """What `run` runs."""
        return Command(
            (*INSIDE, str(self.root), *argv),
            purpose,
            stdin=stdin.encode(),
            timeout=timeout,
            package="util-linux",
            environment=ENVIRONMENT,
        )


def prepare_chroot(
    mounts: PrivateMounts,
    root: Path,
    runner: Runner,
    nodes: tuple[str, ...],
    links: Mapping[str, str],
    command_line: str,
) -> Chroot:
    """Make `root`, a mounted system, ready to run programs; `mounts` takes it down again.

    `nodes` are the device nodes to show, `links` further names below /dev for them, such as
    `disk/by-uuid/ABCD-1234` -> `/dev/sda1`.
    """
    mounts.mount("proc", root / "proc", "nosuid", "nodev", "noexec", kind="proc")
    mounts.mount("sysfs", root / "sys", "ro", "nosuid", "nodev", "noexec", kind="sysfs")
    mounts.mount("tmpfs", root / "dev", "mode=755", "nosuid", kind="tmpfs")
    mounts.mount("tmpfs", root / "run", "mode=755", "nosuid", "nodev", kind="tmpfs")
    _fill_devices(root / "dev", runner, nodes, links)
    _show_udev(mounts, root / "run")
    _mask_command_line(mounts, root, command_line)
    return Chroot(root, runner)


def _fill_devices(
    folder: Path, runner: Runner, nodes: tuple[str, ...], links: Mapping[str, str]
) -> None:
    """Copies of the nodes: `cp` keeps kind, number and mode; links are followed."""
    characters = tuple(f"/dev/{name}" for name in CHARACTERS)
    copy = ("cp", "--archive", "--dereference", f"--target-directory={folder}", "--")
    real = tuple(dict.fromkeys(os.path.realpath(node) for node in nodes))
    runner.run(Command((*copy, *characters, *real), "show the disk to the restored system"))
    for name, target in DESCRIPTORS.items():
        (folder / name).symlink_to(target)
    for name, node in links.items():
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(f"/dev/{Path(os.path.realpath(node)).name}")


def _show_udev(mounts: PrivateMounts, run: Path) -> None:
    database = Path("/run/udev")
    if database.is_dir():
        (run / "udev").mkdir()
        mounts.bind(database, run / "udev")


def _mask_command_line(mounts: PrivateMounts, root: Path, command_line: str) -> None:
    own = root / "run" / "recovery-command-line"
    own.write_text(f"{command_line}\n", errors="surrogateescape")
    mounts.bind(own, root / "proc" / "cmdline")
