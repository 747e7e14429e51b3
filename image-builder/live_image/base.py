"""The base root filesystem: Debian packages and nothing of ours, kept as a tarball."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from live_image.mirror import Mirror
from live_image.profile import Profile
from recovery.errors import CommandFailed
from recovery.system.command import Command, Runner

LAYOUT = 1
"""Raised when this module makes the base in another way, so that older tarballs are not used."""


@dataclass(frozen=True, slots=True)
class BaseRecipe:
    """Everything the base depends on."""

    profile: Profile
    packages: tuple[str, ...]
    epoch: int

    @property
    def inputs(self) -> tuple[str, ...]:
        """Texts that name the base: equal texts, equal recipe."""
        profile = self.profile
        return (
            f"layout {LAYOUT}",
            profile.suite,
            *profile.components,
            *self.packages,
            "excluded",
            *profile.excluded_paths,
            "included",
            *profile.included_paths,
            str(self.epoch),
        )


def make_base_command(
    recipe: BaseRecipe, mirror: Mirror, package_cache: Path, tarball: Path
) -> Command:
    """The command that makes the base; `tarball` ends in `.tar.zst`.

    The kernel's initramfs is left out (`INITRD`, read by initramfs-tools' kernel hook): it is made
    later, with our hooks in it.
    """
    profile = recipe.profile
    argv = [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--format=tar",
        "--architectures=amd64",
        f"--components={','.join(profile.components)}",
        f"--include={','.join(recipe.packages)}",
        '--aptopt=APT::Install-Recommends "false"',
        '--aptopt=Acquire::Languages "none"',
        "--skip=download/empty,essential/unlink",
        f"--setup-hook=mkdir -p '{package_cache}' \"$1/var/cache/apt/archives\"",
        f"--setup-hook=sync-in '{package_cache}' /var/cache/apt/archives/",
        f"--customize-hook=sync-out /var/cache/apt/archives/ '{package_cache}'",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in profile.excluded_paths),
        *(f"--dpkgopt=path-include={pattern}" for pattern in profile.included_paths),
        profile.suite,
        str(tarball),
        *mirror.sources(profile.suite, profile.components),
    ]
    environment = (
        ("SOURCE_DATE_EPOCH", str(recipe.epoch)),
        ("TZ", "UTC"),
        ("INITRD", "No"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("TMPDIR", str(tarball.parent)),
        *((name, os.environ[name]) for name in ("http_proxy", "https_proxy") if name in os.environ),
    )
    return Command(
        argv=tuple(argv),
        purpose=f"make the base system from {mirror.packages}",
        package="mmdebstrap",
        environment=environment,
    )


def make_base(
    recipe: BaseRecipe,
    mirror: Mirror,
    package_cache: Path,
    tarball: Path,
    runner: Runner,
    listener: Callable[[str], None],
) -> None:
    """Make `tarball`, in a folder that is also used as scratch.

    Raises `CommandFailed` with a hint about the mirror.
    """
    command = make_base_command(recipe, mirror, package_cache, tarball)
    complaints: list[str] = []
    try:
        for line in runner.stream(command):
            if line.startswith("E:"):
                complaints.append(line.removeprefix("E:").strip())
            elif line.startswith(("W:", "I: installing", "I: downloading")):
                listener(f"  {line}")
    except CommandFailed as error:
        first = complaints[0] if complaints else error.hint
        raise CommandFailed(
            error.message,
            hint=f"is the mirror within reach and the disk not full? mmdebstrap said: {first}",
        ) from error
