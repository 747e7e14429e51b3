"""The build from end to end; every stage is skipped if its inputs have not changed.

base (Debian packages)  ->  site (wheels)  ->  tree (our code, overlay)  ->  squashfs  ->  ISO
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from live_image import tree as live_tree
from live_image.base import BaseRecipe, make_base
from live_image.boot_menu import INITRD, KERNEL
from live_image.console_font import LETTERS_FROM, make_font_file
from live_image.inputs import key_of, key_of_files
from live_image.medium import (
    FAST,
    SMALL,
    SQUASHFS,
    Effort,
    add_boot_files,
    make_iso,
    make_squashfs,
    sha256_of,
)
from live_image.mirror import find_mirror, read_host_sources
from live_image.profile import Profile, read_packages, read_profile
from live_image.wheels import Requirement, fetch_wheels, read_lock, unpack_wheel
from recovery.errors import MissingTool, OutOfSpace, PlanStale, UsageError
from recovery.system.command import SEARCH_PATH, Runner, SystemRunner

Listener = Callable[[str], None]

HERE = Path(__file__).resolve().parent.parent
PROJECT = HERE.parent
OUR_PACKAGES = ("recovery", "tui")
NEEDED_SPACE = 3 << 30
"""Bytes a cold build takes at its widest: package cache, root, squashfs, ISO."""
_MEDIUM_IDS = uuid.UUID("6f6d1c0e-7c58-4d59-9a2e-2b7b0c8a5d11")

TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "mksquashfs": "squashfs-tools",
    "xorriso": "xorriso",
    "mkfs.fat": "dosfstools",
    "mcopy": "mtools",
    "zstd": "zstd",
    "tar": "tar",
    "chroot": "coreutils",
}


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """A finished live image; kernel, initrd and squashfs lie beside the ISO, for direct starts."""

    iso: Path
    kernel: Path
    initrd: Path
    squashfs: Path
    manifest: Path

    @classmethod
    def in_folder(cls, output: Path) -> BuiltImage:
        """Where a build with this output folder puts its files."""
        return cls(
            iso=output / "recovery.iso",
            kernel=output / KERNEL,
            initrd=output / INITRD,
            squashfs=output / SQUASHFS,
            manifest=output / "recovery.manifest.json",
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return (self.iso, self.kernel, self.initrd, self.squashfs, self.manifest)

    @property
    def kernel_arguments(self) -> str:
        """The kernel command line of the menu's first entry."""
        return str(json.loads(self.manifest.read_text())["kernel_arguments"])


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything an image is made from, read before anything is made."""

    profile: Profile
    packages: tuple[str, ...]
    requirements: tuple[Requirement, ...]
    epoch: int
    effort: Effort

    @property
    def recipe(self) -> BaseRecipe:
        """What the base depends on."""
        return BaseRecipe(self.profile, self.packages, self.epoch)

    @property
    def base_key(self) -> str:
        """Names the base."""
        return key_of(self.recipe.inputs)

    @property
    def site_key(self) -> str:
        """Names the unpacked and compiled wheels."""
        return key_of((self.base_key, *(repr(one) for one in self.requirements)))

    @property
    def initramfs_key(self) -> str:
        """Names the initramfs, and so the medium it looks for."""
        return key_of((self.base_key, key_of_files((HERE,)), repr(self.effort)))

    @property
    def key(self) -> str:
        """Names the whole image."""
        ours = key_of_files(PROJECT / name for name in OUR_PACKAGES)
        return key_of((self.initramfs_key, self.site_key, ours))

    @property
    def medium_id(self) -> str:
        """Tells this medium from other live media."""
        return str(uuid.uuid5(_MEDIUM_IDS, self.initramfs_key))


def read_inputs(*, fast: bool) -> Inputs:
    """Read profile, package list and lock. Raises `UsageError`."""
    profile = read_profile(HERE / "profile.toml")
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return Inputs(
        profile=profile,
        packages=read_packages(HERE / profile.package_list),
        requirements=read_lock((PROJECT / "requirements.lock").read_text(), profile.from_debian),
        epoch=int(epoch) if epoch.isdigit() else int(profile.source_date.timestamp()),
        effort=FAST if fast else SMALL,
    )


def build(
    output: Path,
    *,
    fast: bool,
    listener: Listener,
    refresh: bool = False,
    runner: Runner | None = None,
) -> BuiltImage:
    """Build the live image into `output`, or find that it is there and up to date.

    `refresh` fetches Debian's packages anew, to take in updates. Caches lie in `output`/cache.
    Raises `MissingTool`, `CommandFailed`, `OutOfSpace`, `UsageError` (also: no root rights).
    """
    runner = runner or SystemRunner()
    output = output.resolve()
    inputs = read_inputs(fast=fast)
    built = BuiltImage.in_folder(output)
    output.mkdir(parents=True, exist_ok=True)
    with _alone(output, listener):
        # One that was compressed harder serves as well.
        keys = {inputs.key, read_inputs(fast=False).key}
        if not refresh and _is_current(built, keys):
            listener(f"{built.iso} is up to date")
            return built
        _require_tools()
        _require_root()
        cache = output / "cache"
        base = _base(inputs, cache, listener, runner, refresh=refresh)
        site = _site(inputs, base, cache, listener, runner)
        with _scratch(output) as scratch:
            _make_image(inputs, base, site, scratch, built, listener, runner)
        _forget_others(cache, (base, site))
    return built


def check_reproducible(output: Path, *, fast: bool, listener: Listener) -> bool:
    """Build squashfs and ISO twice from the same base; tells whether both are the same bytes."""
    runner = SystemRunner()
    output = output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    inputs = read_inputs(fast=fast)
    sums: list[tuple[str, str]] = []
    with _alone(output, listener):
        _require_tools()
        _require_root()
        base = _base(inputs, output / "cache", listener, runner, refresh=False)
        site = _site(inputs, base, output / "cache", listener, runner)
        for turn in ("first", "second"):
            with _scratch(output) as scratch:
                built = BuiltImage.in_folder(scratch / "out")
                listener(f"the {turn} build")
                _make_image(inputs, base, site, scratch, built, listener, runner)
                sums.append((sha256_of(built.squashfs), sha256_of(built.iso)))
            listener(f"squashfs {sums[-1][0]}  ISO {sums[-1][1]}")
    if read_inputs(fast=fast).key != inputs.key:
        raise PlanStale(
            "could not compare two builds: their sources were changed meanwhile",
            hint="run it again while nobody edits them",
        )
    return sums[0] == sums[1]


def _base(
    inputs: Inputs, cache: Path, listener: Listener, runner: Runner, *, refresh: bool
) -> Path:
    tarball = cache / f"base-{inputs.base_key}.tar.zst"
    if tarball.exists() and not refresh:
        return tarball
    (cache / "packages").mkdir(parents=True, exist_ok=True)
    _require_space(cache)
    mirror = find_mirror(read_host_sources())
    listener(f"base system from {mirror.packages}, {len(inputs.packages)} packages named")
    with _timed("base system", listener), _scratch(cache) as scratch:
        unfinished = scratch / tarball.name
        make_base(inputs.recipe, mirror, cache / "packages", unfinished, runner, listener)
        unfinished.rename(tarball)
    return tarball


def _site(inputs: Inputs, base: Path, cache: Path, listener: Listener, runner: Runner) -> Path:
    """The wheels, unpacked and compiled by the base's own Python, as a tarball."""
    tarball = cache / f"site-{inputs.site_key}.tar.zst"
    if tarball.exists():
        return tarball
    with _timed("Python packages", listener), _scratch(cache) as root:
        wheels = fetch_wheels(inputs.requirements, cache / "wheels", runner)
        live_tree.unpack(base, root, runner)
        for wheel in wheels:
            unpack_wheel(wheel, root / live_tree.SITE)
        live_tree.compile_python(root, live_tree.SITE, runner)
        live_tree.touch_all(root / live_tree.SITE, inputs.epoch)
        unfinished = root / tarball.name
        live_tree.pack(root / live_tree.SITE, unfinished, runner)
        unfinished.rename(tarball)
    return tarball


def _make_image(
    inputs: Inputs,
    base: Path,
    site: Path,
    scratch: Path,
    built: BuiltImage,
    listener: Listener,
    runner: Runner,
) -> None:
    root, medium = scratch / "root", scratch / "medium"
    _require_space(scratch)
    with _timed("root filesystem", listener):
        _make_root(inputs, base, site, root, runner)
    with _timed("initramfs", listener):
        initrd = live_tree.make_initramfs(root, inputs.effort.initramfs_level, inputs.epoch, runner)
        (medium / "live").mkdir(parents=True)
        shutil.move(initrd, medium / INITRD)
        shutil.copyfile(live_tree.kernel_image(root), medium / KERNEL)
        add_boot_files(
            root, medium, HERE / "boot/embed.cfg", inputs.profile, inputs.medium_id, runner
        )
        hybrid = scratch / "boot_hybrid.img"
        shutil.copyfile(root / "usr/lib/grub/i386-pc/boot_hybrid.img", hybrid)
        packages = _installed(root, runner)
        release = live_tree.kernel_release(root)
    with _timed("squashfs", listener):
        live_tree.clean(root)
        live_tree.touch_all(root, inputs.epoch)
        make_squashfs(root, medium / SQUASHFS, inputs.effort, inputs.epoch, runner)
        shutil.rmtree(root)
    with _timed("ISO", listener):
        iso = scratch / "recovery.iso"
        make_iso(medium, hybrid, iso, inputs.profile, inputs.epoch, runner)
    built.manifest.unlink(missing_ok=True)
    built.kernel.parent.mkdir(parents=True, exist_ok=True)
    for name, place in ((KERNEL, built.kernel), (INITRD, built.initrd), (SQUASHFS, built.squashfs)):
        (medium / name).replace(place)
    iso.replace(built.iso)
    manifest = _manifest(inputs, built, packages, release)
    built.manifest.write_text(json.dumps(manifest, indent=1) + "\n")
    listener(f"{built.iso}: {built.iso.stat().st_size / 1e6:.0f} MB")


def _make_root(inputs: Inputs, base: Path, site: Path, root: Path, runner: Runner) -> None:
    live_tree.unpack(base, root, runner)
    (root / live_tree.SITE).mkdir(parents=True, exist_ok=True)
    live_tree.unpack(site, root / live_tree.SITE, runner)
    for name in OUR_PACKAGES:
        live_tree.copy_sources(PROJECT / name, root / live_tree.SITE / name)
        live_tree.compile_python(root, live_tree.SITE / name, runner)
    live_tree.remove_paths(root, inputs.profile)
    live_tree.copy_sources(HERE / "overlay", root)
    fonts = root / "usr/share/consolefonts"
    make_font_file(fonts / LETTERS_FROM, fonts / "recovery.psf.gz")
    live_tree.settle_units(root, inputs.profile)
    live_tree.name_system(root, inputs.profile, inputs.medium_id)


def _installed(root: Path, runner: Runner) -> dict[str, str]:
    argv = ("dpkg-query", "--show", "--showformat=${Package} ${Version}\n")
    output = runner.run(live_tree.in_root(root, argv, "list the packages on board"))
    return dict(line.split(" ", 1) for line in output.text.splitlines())


def _manifest(
    inputs: Inputs, built: BuiltImage, packages: dict[str, str], release: str
) -> dict[str, Any]:
    profile = inputs.profile
    return {
        "inputs": inputs.key,
        "iso": {"sha256": sha256_of(built.iso), "size": built.iso.stat().st_size},
        "label": profile.label,
        "medium_id": inputs.medium_id,
        "source_date_epoch": inputs.epoch,
        "kernel": release,
        "kernel_arguments": " ".join(profile.boot.arguments),
        "profile": {
            "suite": profile.suite,
            "components": list(profile.components),
            "excluded_paths": list(profile.excluded_paths),
            "squashfs_level": inputs.effort.squashfs_level,
        },
        "packages": packages,
        "wheels": {one.name: one.version for one in inputs.requirements},
    }


def _is_current(built: BuiltImage, keys: set[str]) -> bool:
    if not all(path.exists() for path in built.files):
        return False
    try:
        manifest = json.loads(built.manifest.read_text())
    except ValueError:
        return False
    size = built.iso.stat().st_size
    return bool(manifest.get("inputs") in keys and manifest.get("iso", {}).get("size") == size)


def _require_tools() -> None:
    missing = [name for name in TOOLS if shutil.which(name, path=SEARCH_PATH) is None]
    if missing:
        packages = " ".join(sorted({TOOLS[name] for name in missing}))
        raise MissingTool(
            f"could not build the live image: {', '.join(missing)} not installed",
            hint=f"install with: apt-get install {packages}",
        )


def _require_root() -> None:
    if os.geteuid() != 0:
        raise UsageError(
            "could not build the live image: it needs root rights, to make files of other owners",
            hint="run it with sudo",
        )


def _require_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < NEEDED_SPACE:
        raise OutOfSpace(
            f"could not build the live image: {free / 1e9:.1f} GB are free in {folder}",
            hint=f"it takes {NEEDED_SPACE / 1e9:.1f} GB; make room, or name another --output",
        )


@contextlib.contextmanager
def _alone(output: Path, listener: Listener) -> Iterator[None]:
    """One build at a time in a folder; a second one waits for the first and finds it done.

    What a build left behind that was killed is removed.
    """
    with (output / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            listener("another build is running here: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left in (*output.glob("scratch-*"), *output.glob("cache/scratch-*")):
            shutil.rmtree(left)
        yield


@contextlib.contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="scratch-", dir=parent))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _timed(stage: str, listener: Listener) -> Iterator[None]:
    started = time.monotonic()
    yield
    listener(f"{stage}: {time.monotonic() - started:.0f} s")


def _forget_others(cache: Path, kept: tuple[Path, ...]) -> None:
    """Tarballs of older package lists are not needed again."""
    for path in (*cache.glob("base-*"), *cache.glob("site-*")):
        if path not in kept:
            path.unlink()
