"""The firmware's own boot menu: UEFI's boot entries, through efibootmgr.

Firmware may refuse, forget or rewrite entries, so that an entry counts only if it is there when
the menu is read again. Source: efibootmgr(8), UEFI 2.10 chapter 3. Version 17 and older print a
loader as `File(\\EFI\\...)`, version 18 bare.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from recovery.errors import DeviceFailed
from recovery.system.command import Command, Runner

TIMEOUT = 60.0
_ENTRY = re.compile(
    r"Boot(?P<number>[0-9A-Fa-f]{4})(?P<active>\*?)\s(?P<label>[^\t]*)\t(?P<path>.*)"
)
_PARTITION = re.compile(r"HD\(\d+,GPT,(?P<guid>[0-9A-Fa-f-]{36}),[^)]*\)/?(?P<rest>.*)")
_LOADER = re.compile(r"(?:File\()?(?P<loader>\\[^)]*?\.efi)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class BootEntry:
    """One entry; GUID (lower case) and loader are "" where it does not start a file of a disk."""

    number: str
    active: bool
    label: str
    partition_guid: str = ""
    loader: str = ""

    def starts(self, partition_guid: str, loader: str) -> bool:
        """Whether the entry starts this file of this partition."""
        same_partition = self.partition_guid == partition_guid.lower()
        return same_partition and self.loader.lower() == loader.lower()


@dataclass(frozen=True, slots=True)
class BootMenu:
    """The entries, and the numbers of those the firmware tries, in order."""

    order: tuple[str, ...]
    entries: tuple[BootEntry, ...]

    def matching(self, partition_guid: str, loader: str) -> tuple[BootEntry, ...]:
        """The entries that start this file of this partition."""
        return tuple(each for each in self.entries if each.starts(partition_guid, loader))


def parse_boot_menu(text: str) -> BootMenu:
    """The answer of `efibootmgr --verbose`."""
    order: tuple[str, ...] = ()
    entries: list[BootEntry] = []
    for line in text.splitlines():
        if line.startswith("BootOrder:"):
            order = tuple(line.partition(":")[2].strip().upper().split(","))
        match = _ENTRY.match(line)
        if match is not None:
            entries.append(_entry(match))
    return BootMenu(order, tuple(entries))


def _entry(match: re.Match[str]) -> BootEntry:
    plain = BootEntry(match["number"].upper(), match["active"] == "*", match["label"].strip())
    partition = _PARTITION.search(match["path"])
    loader = _LOADER.match(partition["rest"]) if partition else None
    if partition is None or loader is None:
        return plain
    guid = partition["guid"].lower()
    return BootEntry(plain.number, plain.active, plain.label, guid, loader["loader"])


def read_boot_menu(runner: Runner) -> BootMenu:
    """The boot menu now. Raises `MissingTool`, or `CommandFailed` where there is none."""
    return parse_boot_menu(_run(runner, "read the firmware's boot menu", "--verbose"))


def put_first(
    runner: Runner, disk_node: str, partition: int, partition_guid: str, label: str, loader: str
) -> BootEntry:
    """Let the firmware try `loader` first; an equal entry is used again, never doubled.

    Raises `CommandFailed`, `MissingTool`, or `DeviceFailed` if the firmware did not keep it.
    """
    menu = read_boot_menu(runner)
    equal = menu.matching(partition_guid, loader)
    if equal:
        kept, *doubles = equal
        for double in doubles:
            purpose = "delete a double boot entry"
            _run(runner, purpose, "--bootnum", double.number, "--delete-bootnum")
        gone = {entry.number for entry in equal}
        order = (kept.number, *(number for number in menu.order if number and number not in gone))
        _run(runner, "put the boot entry first", "--bootorder", ",".join(order))
        if not kept.active:
            _run(runner, "activate the boot entry", "--bootnum", kept.number, "--active")
    else:
        place = ("--disk", disk_node, "--part", str(partition))
        name = ("--label", label, "--loader", loader)
        _run(runner, "write a boot entry", "--create", *place, *name)
    return _confirm(read_boot_menu(runner), partition_guid, loader)


def _confirm(menu: BootMenu, partition_guid: str, loader: str) -> BootEntry:
    for entry in menu.matching(partition_guid, loader):
        if entry.active and menu.order[:1] == (entry.number,):
            return entry
    raise DeviceFailed(
        "the firmware did not keep the boot entry",
        hint="choose the disk in the firmware's own boot menu",
    )


def _run(runner: Runner, purpose: str, *arguments: str) -> str:
    argv = ("efibootmgr", *arguments)
    return runner.run(Command(argv, purpose, timeout=TIMEOUT, package="efibootmgr")).text
