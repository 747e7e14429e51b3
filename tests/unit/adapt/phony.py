"""A machine without hardware: its devices hold phony guests, its programs leave marks only."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from recovery.errors import CommandFailed
from recovery.model.adaptation import TargetSystem
from recovery.model.layout import Layout
from recovery.model.machine import Controller, Machine
from recovery.system.chroot import INSIDE
from recovery.system.command import Command, Output
from tests.builders import make_layout, make_machine

GUESTS = Path(__file__).parents[2] / "guests"
EFI_PROGRAM = b"MZ" + bytes(0x3A) + (0x40).to_bytes(4, "little") + b"PE\0\0\x64\x86"
GRUB_SECTOR = b"\xeb\x63" + bytes(0x17E) + b"GRUB \0" + bytes(510 - 0x186) + b"\x55\xaa"
AHCI = Controller("0000:00:1f.2", "SATA controller", "ahci", "pci:v1d1sv1sd1bc01sc06i01")
NVME = Controller("0000:01:00.0", "NVMe controller", "nvme", "pci:v1d2sv1sd1bc01sc08i02")
GENERIC = tuple(
    f"usr/lib/modules/x/kernel/{name}.ko.xz"
    for name in ("ahci", "libahci", "libata", "nvme", "nvme-core", "ext4", "jbd2")
)
Effect = Callable[[Path], None]


@dataclass
class PhonyRunner:
    """Answers commands; mounting a node of `guests` copies that guest to the folder.

    `answers` maps the name of a program to its output, `failing` are programs that end badly,
    `effects` what a program does to the mounted system. What was mounted is in `after`, by node.
    """

    guests: dict[str, Path]
    after: Path
    answers: dict[str, str] = field(default_factory=dict)
    failing: frozenset[str] = frozenset()
    effects: dict[str, Effect] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)
    mounted: dict[str, str] = field(default_factory=dict)

    def run(self, command: Command) -> Output:
        self.commands.append(command)
        argv = command.argv
        if argv[: len(INSIDE)] == INSIDE:
            argv = argv[len(INSIDE) + 1 :]
        if argv[0] in self.failing:
            raise CommandFailed(f"could not {command.purpose}", hint="first line\nit said no")
        if argv[0] == "mount":
            self._mount(argv)
        elif argv[0] == "umount":
            self._unmount(argv[-1])
        elif argv[0] in self.effects:
            root = next(folder for folder in self.mounted if folder.endswith("/root"))
            self.effects[argv[0]](Path(root))
        return Output(0, self.answers.get(argv[0], "").encode(), "")

    def stream(self, command: Command) -> Iterator[str]:
        yield self.run(command).text

    @property
    def inside(self) -> list[tuple[str, ...]]:
        """What was run inside the system: argv without the wrapper."""
        start = len(INSIDE)
        found = [each.argv for each in self.commands if each.argv[:start] == INSIDE]
        return [argv[start + 1 :] for argv in found]

    def _mount(self, argv: tuple[str, ...]) -> None:
        node, folder = argv[-2], argv[-1]
        if "--make-private" in argv or any("remount" in word for word in argv):
            return
        if node in self.guests:
            shutil.copytree(self.guests[node], folder, symlinks=True, dirs_exist_ok=True)
            for name in ("proc", "sys", "dev", "run", "boot/efi"):
                (Path(folder) / name).mkdir(parents=True, exist_ok=True)
        self.mounted[folder] = node

    def _unmount(self, folder: str) -> None:
        node = self.mounted.pop(folder)
        if node in self.guests:
            shutil.rmtree(self.after / Path(node).name, ignore_errors=True)
            shutil.copytree(folder, self.after / Path(node).name, symlinks=True)
            for each in Path(folder).iterdir():
                each.unlink() if each.is_symlink() or each.is_file() else shutil.rmtree(each)


def make_target(
    folder: Path, machine: Machine | None = None, layout: Layout | None = None
) -> TargetSystem:
    """A disk with an ESP and a root, whose first sector is GRUB's."""
    disk = folder / "nvme0n1"
    disk.write_bytes(GRUB_SECTOR)
    nodes = {"disk0p1": str(folder / "nvme0n1p1"), "disk0p2": str(folder / "nvme0n1p2")}
    return TargetSystem(
        os.fspath(disk),
        layout or make_layout(),
        machine or make_machine(controllers=(AHCI, NVME)),
        nodes,
    )


def write_fallback(root: Path) -> None:
    """What grub-install leaves in the fallback path."""
    folder = root / "boot/efi/EFI/BOOT"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("BOOTX64.EFI", "grubx64.efi"):
        (folder / name).write_bytes(EFI_PROGRAM)
