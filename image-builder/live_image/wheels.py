"""Python packages that Debian does not have, as the lock file names them: wheels with hashes."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from packaging.markers import Marker

from recovery.errors import CommandFailed, DamagedData, UsageError
from recovery.system.command import Command, Runner

PYTHON = "3.13"
"""Version of Python in Debian 13."""

_PLATFORMS = (
    *(f"manylinux_2_{minor}_x86_64" for minor in range(41, 4, -1)),
    "manylinux2014_x86_64",
)
_TARGET = {
    "python_version": PYTHON,
    "python_full_version": f"{PYTHON}.0",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "os_name": "posix",
}
_START = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)\s*(?:;(?P<marker>[^\\]*))?\\?$"
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One locked package; `hashes` are those of all its files, as `sha256:...`."""

    name: str
    version: str
    hashes: tuple[str, ...]


def read_lock(text: str, skipped: Iterable[str]) -> tuple[Requirement, ...]:
    """What of a `requirements.lock` the live system needs, by its own Python and platform.

    Raises `UsageError` for a line that is neither a locked requirement nor a comment.
    """
    left_out = {name.lower() for name in skipped}
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    found: list[Requirement] = []
    for block in re.split(r"\n(?=\S)", "\n".join(lines).strip()):
        start = _START.match(block.splitlines()[0])
        if start is None:
            raise UsageError(
                f"the lock file has a line that is no locked requirement: {block.splitlines()[0]}",
                hint="make it again as its first lines say",
            )
        marker = (start["marker"] or "").strip()
        if start["name"].lower() in left_out or (marker and not Marker(marker).evaluate(_TARGET)):
            continue
        hashes = tuple(sorted(re.findall(r"--hash=(sha256:[0-9a-f]{64})", block)))
        found.append(Requirement(start["name"], start["version"], hashes))
    return tuple(found)


def render_lock(requirements: tuple[Requirement, ...]) -> str:
    """A requirements file of exactly these, for pip."""
    return "".join(
        " \\\n    ".join(
            (f"{one.name}=={one.version}", *(f"--hash={value}" for value in one.hashes))
        )
        + "\n"
        for one in requirements
    )


def fetch_wheels(
    requirements: tuple[Requirement, ...], folder: Path, runner: Runner
) -> tuple[Path, ...]:
    """One wheel per requirement in `folder`; those that are there already are not fetched.

    Raises `CommandFailed` if a wheel cannot be had, `DamagedData` if one is not what is locked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = tuple(one for one in requirements if _find(one, folder) is None)
    if missing:
        lock = folder / "missing.txt"
        lock.write_text(render_lock(missing))
        try:
            runner.run(_download(lock, folder))
        except CommandFailed as error:
            raise CommandFailed(
                error.message,
                hint=f"is the package index within reach and the disk not full? {error.hint}",
            ) from error
        finally:
            lock.unlink()
    wheels: list[Path] = []
    for one in requirements:
        wheel = _find(one, folder)
        if wheel is None:
            raise DamagedData(
                f"no wheel of {one.name} {one.version} has a hash that the lock file names",
                hint=f"remove {folder} and build again",
            )
        wheels.append(wheel)
    return tuple(wheels)


def unpack_wheel(wheel: Path, site: Path) -> None:
    """Put a wheel's modules into `site`; its scripts are left out."""
    with zipfile.ZipFile(wheel) as archive:
        for member in sorted(archive.infolist(), key=lambda item: item.filename):
            place = _place(member.filename)
            if place is None or member.is_dir():
                continue
            target = site / place
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(member))


def _place(name: str) -> PurePosixPath | None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DamagedData(f"a wheel holds the unsafe path {name}")
    if not path.parts[0].endswith(".data"):
        return path
    if path.parts[1] in {"purelib", "platlib"}:
        return PurePosixPath(*path.parts[2:])
    return None


def _find(one: Requirement, folder: Path) -> Path | None:
    stem = re.sub(r"[-_.]+", "_", one.name)
    for wheel in sorted(folder.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        if re.sub(r"[-_.]+", "_", name).lower() != stem.lower() or version != one.version:
            continue
        if f"sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}" in one.hashes:
            return wheel
    return None


def _download(lock: Path, folder: Path) -> Command:
    passed_on = tuple(
        (name, value)
        for name, value in sorted(os.environ.items())
        if name.startswith("PIP_") or name in {"http_proxy", "https_proxy"}
    )
    return Command(
        argv=(
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--require-hashes",
            "--only-binary=:all:",
            f"--python-version={PYTHON}",
            "--implementation=cp",
            *(f"--platform={name}" for name in _PLATFORMS),
            f"--dest={folder}",
            f"--requirement={lock}",
        ),
        purpose="fetch the Python packages of the live system",
        package="python3-venv",
        environment=passed_on,
    )
