"""Find out what kind of system is mounted, by its files alone; changes nothing.

Source: os-release(5), ELF's e_machine, the file lists of Debian 13's initramfs-tools, grub2-common,
grub-efi-amd64-signed and shim-signed.
"""

from __future__ import annotations

import re
import shlex

from recovery.model.installed_system import InitramfsTool, InstalledSystem, Kernel, SystemFile
from recovery.system.system_root import SystemRoot

_FILES = (
    "/etc/fstab",
    "/etc/default/grub",
    "/etc/kernel/cmdline",
    "/etc/initramfs-tools/initramfs.conf",
)
_DROP_INS = "/etc/initramfs-tools/conf.d"
_MACHINES = {3: "i686", 62: "x86_64", 183: "aarch64"}
_IMAGES = ("/boot/vmlinuz-{}", "/boot/vmlinux-{}")
_INITRAMFS = ("/boot/initrd.img-{}", "/boot/initramfs-{}.img", "/boot/initrd-{}")
_TOOLS: tuple[tuple[InitramfsTool, str], ...] = (
    ("initramfs-tools", "/usr/share/initramfs-tools/hook-functions"),
    ("dracut", "/usr/lib/dracut/dracut-init.sh"),
    ("mkinitcpio", "/usr/lib/initcpio/functions"),
)
_MENUS = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
_PLATFORMS = ("i386-pc", "x86_64-efi")
_SIGNED = ("/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", "/usr/lib/shim/shimx64.efi.signed")
_ASSIGNMENT = re.compile(r"^\s*([A-Z_]+)=(.*)$", re.MULTILINE)


def is_system(root: SystemRoot) -> bool:
    """Whether the mounted filesystem is the root of a Linux system."""
    return _os_release(root) is not None and root.is_folder("/etc")


def inspect_system(root: SystemRoot, efi_folder: str) -> InstalledSystem:
    """What is installed at `root`; `efi_folder` is where its EFI system partition is mounted."""
    release = parse_os_release(_os_release(root) or "")
    family = release.get("ID", "linux")
    return InstalledSystem(
        name=release.get("PRETTY_NAME") or release.get("NAME") or "Linux",
        families=(family, *release.get("ID_LIKE", "").split()),
        architecture=_architecture(root),
        kernels=_kernels(root),
        initramfs_tool=_initramfs_tool(root),
        grub_platforms=_grub_platforms(root),
        signed_boot_loader=all(root.exists(path) for path in _SIGNED),
        boot_menu=_first(root, _MENUS),
        efi_folder=efi_folder,
        efi_loaders=_efi_loaders(root, efi_folder) if efi_folder else (),
        debconf_grub=_has_debconf_grub(root),
        files=_collected(root),
    )


def parse_os_release(text: str) -> dict[str, str]:
    """The assignments of an os-release text; lines that are not quoted properly are left out.

    >>> parse_os_release('ID=debian\\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"')["PRETTY_NAME"]
    'Debian GNU/Linux 13 (trixie)'
    """
    found: dict[str, str] = {}
    for key, quoted in _ASSIGNMENT.findall(text):
        try:
            found[key] = "".join(shlex.split(quoted))
        except ValueError:
            continue
    return found


def architecture_of(program: bytes) -> str:
    """The machine that an ELF program is for, as `uname -m` calls it; "" if it is unknown."""
    if program[:4] != b"\x7fELF" or len(program) < 20:
        return ""
    order = "big" if program[5] == 2 else "little"
    machine = int.from_bytes(program[18:20], "big" if order == "big" else "little")
    return _MACHINES.get(machine, "")


def _os_release(root: SystemRoot) -> str | None:
    return root.read_text("/etc/os-release") or root.read_text("/usr/lib/os-release")


def _architecture(root: SystemRoot) -> str:
    return architecture_of(root.read_bytes("/bin/sh", 20) or b"")


def _kernels(root: SystemRoot) -> tuple[Kernel, ...]:
    return tuple(
        Kernel(name, _named(root, _IMAGES, name), _named(root, _INITRAMFS, name))
        for name in root.names("/lib/modules")
        if root.exists(f"/lib/modules/{name}/modules.dep")
    )


def _named(root: SystemRoot, patterns: tuple[str, ...], release: str) -> str:
    return _first(root, tuple(pattern.format(release) for pattern in patterns))


def _first(root: SystemRoot, paths: tuple[str, ...]) -> str:
    return next((path for path in paths if root.exists(path)), "")


def _initramfs_tool(root: SystemRoot) -> InitramfsTool:
    return next((tool for tool, path in _TOOLS if root.exists(path)), "none")


def _grub_platforms(root: SystemRoot) -> tuple[str, ...]:
    if not root.exists("/usr/sbin/grub-install"):
        return ()
    return tuple(each for each in _PLATFORMS if root.exists(f"/usr/lib/grub/{each}/modinfo.sh"))


def _efi_loaders(root: SystemRoot, folder: str) -> tuple[str, ...]:
    top = next((name for name in root.names(folder) if name.lower() == "efi"), None)
    if top is None:
        return ()
    return tuple(
        f"/{top}/{vendor}/{name}"
        for vendor in root.names(f"{folder}/{top}")
        for name in root.names(f"{folder}/{top}/{vendor}")
        if name.lower().endswith(".efi")
    )


def _has_debconf_grub(root: SystemRoot) -> bool:
    return all(
        root.exists(path)
        for path in ("/var/lib/dpkg/info/grub-pc.postinst", "/usr/bin/debconf-set-selections")
    )


def _collected(root: SystemRoot) -> tuple[SystemFile, ...]:
    drop_ins = tuple(f"{_DROP_INS}/{name}" for name in root.names(_DROP_INS))
    texts = ((path, root.read_text(path)) for path in (*_FILES, *drop_ins))
    return tuple(SystemFile(path, text) for path, text in texts if text is not None)
