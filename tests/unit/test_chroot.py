"""The call by which programs of a mounted system are run, word for word."""

from __future__ import annotations

from pathlib import Path

from recovery.system.chroot import Chroot
from recovery.system.command import Command, SystemRunner


def test_a_program_gets_its_own_namespaces_a_time_limit_and_fixed_surroundings() -> None:
    chroot = Chroot(Path("/run/recovery/target-x/root"), SystemRunner())
    assert chroot.command(("update-grub",), "make the boot menu", 900, "y\n") == Command(
        (
            *("unshare", "--mount", "--propagation", "private", "--pid", "--fork"),
            *("--kill-child", "--ipc", "--", "chroot", "/run/recovery/target-x/root"),
            "update-grub",
        ),
        "make the boot menu",
        stdin=b"y\n",
        timeout=900,
        package="util-linux",
        environment=(
            ("HOME", "/root"),
            ("TMPDIR", "/var/tmp"),
            ("TERM", "dumb"),
            ("LC_ALL", "C"),
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("GRUB_DISABLE_OS_PROBER", "true"),
        ),
    )
