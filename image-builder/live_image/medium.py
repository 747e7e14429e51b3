"""The medium: squashfs, boot files and the hybrid ISO around them.

One ISO starts from CD and from a stick, under BIOS, UEFI and UEFI with Secure Boot.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from live_image.boot_menu import render_grub_config
from live_image.profile import Profile
from live_image.tree import in_root
from recovery.system.command import Command, Runner

SQUASHFS = "live/filesystem.squashfs"
BIOS_CORE = "boot/grub/i386-pc/eltorito.img"
CORE_MODULES = (
    "biosdisk",
    "iso9660",
    "part_msdos",
    "part_gpt",
    "fat",
    "search",
    "search_fs_file",
    "normal",
)
EFI_FILES = {
    "usr/lib/shim/shimx64.efi.signed": "BOOTX64.EFI",
    "usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed": "grubx64.efi",
    "usr/lib/shim/mmx64.efi.signed": "mmx64.efi",
}
"""From the root to the EFI folder: the shim that firmware trusts, and what shim trusts."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to compress: levels of zstd, and squashfs's block size in bytes."""

    squashfs_level: int
    initramfs_level: int
    block_size: int = 256 * 1024


FAST = Effort(squashfs_level=1, initramfs_level=3)
SMALL = Effort(squashfs_level=19, initramfs_level=19)


def make_squashfs(root: Path, image: Path, effort: Effort, epoch: int, runner: Runner) -> None:
    """Pack the live system's root."""
    argv: tuple[str, ...] = ("mksquashfs", str(root), str(image), "-comp", "zstd")
    argv += ("-Xcompression-level", str(effort.squashfs_level), "-b", str(effort.block_size))
    argv += ("-no-exports", "-xattrs", "-noappend", "-no-progress", "-quiet")
    runner.run(
        Command(
            argv,
            purpose="pack the live system's files",
            package="squashfs-tools",
            environment=_fixed(epoch),
        )
    )


def add_boot_files(
    root: Path, tree: Path, embedded: Path, profile: Profile, medium_id: str, runner: Runner
) -> None:
    """Put GRUB for BIOS and UEFI, its menu and the marks of the medium into `tree`.

    GRUB's files come from the live system itself, so the host's version does not matter;
    `embedded` is the configuration inside the BIOS core. Needs `root` unclean, with its `dev`.
    """
    grub = tree / "boot/grub"
    modules = grub / "i386-pc"
    modules.mkdir(parents=True)
    for path in sorted((root / "usr/lib/grub/i386-pc").iterdir()):
        if path.suffix in {".mod", ".lst"}:
            shutil.copyfile(path, modules / path.name)
    shutil.copyfile(embedded, root / "tmp/embed.cfg")
    options = ("-O", "i386-pc-eltorito", "-p", "/boot/grub", "-c", "/tmp/embed.cfg")
    argv = ("grub-mkimage", *options, "-o", "/tmp/core.img", *CORE_MODULES)
    runner.run(in_root(root, argv, "make the boot loader for BIOS"))
    shutil.move(root / "tmp/core.img", tree / BIOS_CORE)
    (grub / "grub.cfg").write_text(render_grub_config(profile.boot))

    efi = tree / "EFI/BOOT"
    efi.mkdir(parents=True)
    for source, name in EFI_FILES.items():
        shutil.copyfile(root / source, efi / name)

    marks = tree / ".disk"
    marks.mkdir()
    (marks / "info").write_text(f"{profile.label} {medium_id}\n")
    (marks / "live-uuid").write_text(f"{medium_id}\n")


def make_iso(
    tree: Path, hybrid_record: Path, iso: Path, profile: Profile, epoch: int, runner: Runner
) -> None:
    """Make the ISO from the files in `tree`; `hybrid_record` is GRUB's boot_hybrid.img."""
    _write_checksums(tree)
    for path in (*tree.rglob("*"), tree):
        os.utime(path, (epoch, epoch))
    partition = iso.with_name("efi-partition.img")
    _make_efi_partition(tree / "EFI", partition, epoch, runner)
    moment = datetime.fromtimestamp(epoch, UTC).strftime("%Y%m%d%H%M%S00")
    argv: tuple[str, ...] = (
        "xorriso",
        "-as",
        "mkisofs",
        "-r",
        "-V",
        profile.label,
        "-J",
        "-joliet-long",
    )
    argv += ("-iso-level", "3", f"--modification-date={moment}", "-partition_offset", "16")
    argv += ("--grub2-mbr", str(hybrid_record), "--protective-msdos-label")
    argv += ("-c", "boot/boot.cat", "-b", BIOS_CORE, "-no-emul-boot", "-boot-load-size", "4")
    argv += ("-boot-info-table", "--grub2-boot-info", "-eltorito-alt-boot")
    argv += ("-append_partition", "2", "0xef", str(partition), "-appended_part_as_gpt")
    argv += ("-e", "--interval:appended_partition_2:all::", "-no-emul-boot")
    argv += ("-o", str(iso), str(tree))
    try:
        runner.run(
            Command(argv, purpose="make the ISO", package="xorriso", environment=_fixed(epoch))
        )
    finally:
        partition.unlink(missing_ok=True)


def _make_efi_partition(efi: Path, image: Path, epoch: int, runner: Runner) -> None:
    used = sum(path.stat().st_size for path in efi.rglob("*") if path.is_file())
    kibibytes = (used // (1 << 20) + 2) * 1024
    image.unlink(missing_ok=True)
    fat = ("mkfs.fat", "-F", "12", "-n", "EFIBOOT", "--invariant", "-C", str(image))
    copy = ("mcopy", "-s", "-m", "-i", str(image), str(efi), "::/")
    for argv, package in (((*fat, str(kibibytes)), "dosfstools"), (copy, "mtools")):
        runner.run(
            Command(
                argv,
                purpose="make the EFI system partition",
                package=package,
                environment=_fixed(epoch),
            )
        )


def _write_checksums(tree: Path) -> None:
    """`sha256sum --check` reads this on the medium."""
    # The BIOS core is patched while the ISO is made.
    left_out = {tree / "sha256sums", tree / BIOS_CORE}
    files = sorted(path for path in tree.rglob("*") if path.is_file() and path not in left_out)
    lines = (f"{sha256_of(path)}  {path.relative_to(tree)}\n" for path in files)
    (tree / "sha256sums").write_text("".join(lines))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fixed(epoch: int) -> tuple[tuple[str, str], ...]:
    return (("SOURCE_DATE_EPOCH", str(epoch)), ("TZ", "UTC"), ("MTOOLS_SKIP_CHECK", "1"))
