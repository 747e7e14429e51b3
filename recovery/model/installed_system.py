"""What is known about an installed system after looking at its files, changing nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

InitramfsTool = Literal["initramfs-tools", "dracut", "mkinitcpio", "none"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """An installed kernel; `image` and `initramfs` are paths in the system, "" where missing."""

    release: str
    image: str
    initramfs: str = ""


@dataclass(frozen=True, slots=True)
class SystemFile:
    """The text of one file of the system; bytes that are not UTF-8 are kept as surrogates."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class InstalledSystem:
    """An installed Linux.

    `families` are the ids of os-release(5), own first (`ubuntu`, `debian`); `architecture` as
    `uname -m` says it. `grub_platforms` are the GRUB targets that the system itself has
    (`i386-pc`, `x86_64-efi`); `signed_boot_loader` tells that it has shim and a signed GRUB.
    `boot_menu` is the path of grub.cfg, "" without GRUB. `efi_folder` is where its EFI system
    partition is mounted, "" if it has none; `efi_loaders` are the loaders on it, as
    `/EFI/debian/shimx64.efi`. `debconf_grub` tells that the package grub-pc has settings.
    """

    name: str
    families: tuple[str, ...]
    architecture: str
    kernels: tuple[Kernel, ...]
    initramfs_tool: InitramfsTool
    grub_platforms: tuple[str, ...]
    signed_boot_loader: bool
    boot_menu: str
    efi_folder: str
    efi_loaders: tuple[str, ...]
    debconf_grub: bool
    files: tuple[SystemFile, ...]

    def text(self, path: str) -> str | None:
        """The collected text of a file, `None` if it does not exist."""
        found = (file.text for file in self.files if file.path == path)
        return next(found, None)

    @property
    def is_debian_like(self) -> bool:
        """Whether the system is Debian or descends from it."""
        return bool({"debian", "ubuntu"} & set(self.families))
