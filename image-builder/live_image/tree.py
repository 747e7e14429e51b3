"""The root filesystem of the live system: the base, our code and overlay in it, then cleaned."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from live_image.inputs import list_files
from live_image.profile import Profile
from live_image.wheels import PYTHON
from recovery.system.command import Command, Runner

SITE = Path(f"usr/local/lib/python{PYTHON}/dist-packages")
"""Where Debian's Python looks before its own packages."""

EMPTY_IN_IMAGE = ("dev", "proc", "sys", "run", "tmp", "var/tmp", "var/log", "var/lib/apt/lists")
"""Folders that a start fills anew, or that hold traces of the build."""

_BACKUPS = ("etc/*-", "var/lib/dpkg/*-old", "var/cache/debconf/*-old")
_UNITS = Path("etc/systemd/system")
_EXECUTABLE, _PLAIN, _FOLDER = 0o755, 0o644, 0o755


def in_root(
    root: Path, argv: tuple[str, ...], purpose: str, environment: Iterable[tuple[str, str]] = ()
) -> Command:
    """A command that runs inside `root`."""
    return Command(
        argv=("chroot", str(root), *argv),
        purpose=purpose,
        package="coreutils",
        environment=(("TMPDIR", "/tmp"), ("HOME", "/root"), *environment),
    )


def unpack(tarball: Path, root: Path, runner: Runner) -> None:
    """Unpack with owners, capabilities and device nodes."""
    root.mkdir(parents=True, exist_ok=True)
    attributes = ("--xattrs", "--xattrs-include=*", "--numeric-owner", "--same-permissions")
    argv = ("tar", *attributes, f"--directory={root}", "--extract", f"--file={tarball}")
    runner.run(Command(argv, purpose=f"unpack {tarball.name}", package="tar"))


def pack(folder: Path, tarball: Path, runner: Runner) -> None:
    """Pack a folder, compressed."""
    options = ("--zstd", "--numeric-owner", "--sort=name", f"--directory={folder}")
    argv = ("tar", *options, "--create", f"--file={tarball}", ".")
    runner.run(Command(argv, purpose=f"pack {tarball.name}", package="zstd"))


def compile_python(root: Path, folder: Path, runner: Runner) -> None:
    """Compile the modules in `root`/`folder` by the live system's Python.

    The hash of each source stands in the compiled file and is not looked at again, so neither
    times nor a read of every source matter at start.
    """
    argv = ("python3", "-m", "compileall", "-q", "-f", "--invalidation-mode=unchecked-hash")
    # Wheels carry templates and old tests that are no Python of today: status 1, and no harm.
    command = in_root(root, (*argv, f"/{folder}"), "compile the Python packages")
    runner.run(Command(command.argv, command.purpose, accepted=frozenset({0, 1})))


def copy_sources(source: Path, target: Path) -> None:
    """Copy a tree with plain owners and modes, whatever the umask of the checkout was."""
    for path in list_files(source):
        place = target / path.relative_to(source)
        _make_folder(place.parent)
        place.unlink(missing_ok=True)
        if path.is_symlink():
            place.symlink_to(path.readlink())
            continue
        shutil.copyfile(path, place)
        place.chmod(_EXECUTABLE if os.access(path, os.X_OK) else _PLAIN)


def settle_units(root: Path, profile: Profile) -> None:
    """Mask and enable units by their symlinks, as systemctl would."""
    units = root / _UNITS
    for name in profile.masked_units:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
    wants = units / "multi-user.target.wants"
    _make_folder(wants)
    for name in profile.enabled_units:
        template = f"{name.partition('@')[0]}@.service" if "@" in name else name
        (wants / name).unlink(missing_ok=True)
        (wants / name).symlink_to(f"/usr/lib/systemd/system/{template}")


def name_system(root: Path, profile: Profile, medium_id: str) -> None:
    """Host name, and which medium the initramfs is to look for."""
    (root / "etc/hostname").write_text(f"{profile.hostname}\n")
    (root / "etc/hosts").write_text(f"127.0.0.1\tlocalhost {profile.hostname}\n::1\tlocalhost\n")
    _make_folder(root / "etc/recovery")
    (root / "etc/recovery/medium-id").write_text(f"{medium_id}\n")


def make_initramfs(root: Path, level: int, epoch: int, runner: Runner) -> Path:
    """Make the initramfs for the kernel on board; returns where it is.

    `level` is that of zstd.
    """
    release = kernel_release(root)
    settings = root / "etc/initramfs-tools/conf.d/compression"
    settings.write_text(f"COMPRESS=zstd\nCOMPRESSLEVEL={level}\n")
    argv = ("mkinitramfs", "-o", "/boot/initrd.img", release)
    epoch_variable = (("SOURCE_DATE_EPOCH", str(epoch)),)
    runner.run(in_root(root, argv, "make the initramfs", epoch_variable))
    return root / "boot/initrd.img"


def kernel_release(root: Path) -> str:
    """The release of the newest kernel on board, such as `6.12.48+deb13-amd64`."""
    return kernel_image(root).name.removeprefix("vmlinuz-")


def kernel_image(root: Path) -> Path:
    """The newest kernel on board."""
    return sorted((root / "boot").glob("vmlinuz-*"))[-1]


def remove_paths(root: Path, profile: Profile) -> None:
    """Remove what the profile names; before the initramfs is made, since its hooks are among it."""
    for removed in profile.removed_paths:
        place = root / removed
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)


def clean(root: Path) -> None:
    """Remove what differs from build to build, and what no live system reads."""
    for folder in EMPTY_IN_IMAGE:
        for entry in sorted((root / folder).iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    for pattern in _BACKUPS:
        for path in root.glob(pattern):
            path.unlink()
    (root / "etc/machine-id").write_text("")
    for entry in sorted((root / "boot").iterdir()):
        if entry.is_file():
            entry.unlink()


def touch_all(root: Path, epoch: int) -> None:
    """Give what the build made or changed the time of the release; older times stay.

    Compiled files of Debian's Python packages hold the times of their sources.
    """
    for folder, folders, files in os.walk(root, topdown=False):
        for name in (*files, *folders):
            _cap_time(Path(folder) / name, epoch)
    _cap_time(root, epoch)


def _cap_time(path: Path, epoch: int) -> None:
    if path.lstat().st_mtime > epoch:
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def _make_folder(folder: Path) -> None:
    for parent in (*reversed(folder.parents), folder):
        if not parent.exists():
            parent.mkdir()
            parent.chmod(_FOLDER)
