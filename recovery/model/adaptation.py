"""What makes a restored system start on another machine, as data: the target and the changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, assert_never

from recovery.model.layout import Layout
from recovery.model.machine import Machine

Platform = Literal["i386-pc", "x86_64-efi"]


@dataclass(frozen=True, slots=True)
class TargetSystem:
    """A restored disk and the machine that its system must start on.

    `layout` is what the disk holds now; `partition_nodes` maps ids of its partitions (and of
    whatever else can be mounted, such as logical volumes) to device nodes. `former_disks` maps
    ids of the layout's disks to the nodes they had on the captured machine, where known.
    """

    disk_node: str
    layout: Layout
    machine: Machine
    partition_nodes: Mapping[str, str]
    former_disks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EditFile:
    """Replace the text of a file of the system; `before` is `None` where it does not exist yet."""

    path: str
    before: str | None
    after: str
    purpose: str


@dataclass(frozen=True, slots=True)
class RunInSystem:
    """Run a program of the restored system inside it; `timeout` in seconds.

    `purpose` completes "could not ..."; `stdin` is for settings, never for secrets.
    """

    argv: tuple[str, ...]
    purpose: str
    timeout: float
    stdin: str = ""


@dataclass(frozen=True, slots=True)
class InstallBootLoader:
    """Install GRUB for a platform.

    `removable` is the path that every UEFI firmware tries, `\\EFI\\BOOT`; otherwise the vendor's
    folder. `from_live_system` where the restored system has no GRUB of that platform itself.
    `signed` asks for shim and the signed GRUB. `needed` tells that this machine starts by it;
    else it only keeps the disk fit for machines of the other kind.
    """

    platform: Platform
    removable: bool
    from_live_system: bool
    signed: bool
    needed: bool


@dataclass(frozen=True, slots=True)
class SetBootEntry:
    """Enter the loader first into the firmware's own boot menu (NVRAM).

    `partition` is the number of the EFI system partition and `partition_guid` its identifier;
    `loader` is a path as EFI writes it, `\\EFI\\debian\\shimx64.efi`.
    """

    label: str
    partition: int
    partition_guid: str
    loader: str


Change = EditFile | RunInSystem | InstallBootLoader | SetBootEntry


def describe(change: Change) -> str:
    """One line for the technician."""
    match change:
        case EditFile():
            return (
                f"{'write' if change.before is None else 'edit '}  {change.path}: {change.purpose}"
            )
        case RunInSystem():
            return f"run    {' '.join(change.argv)}: {change.purpose}"
        case InstallBootLoader():
            return f"boot   install GRUB for {_place(change)}"
        case SetBootEntry():
            return f"boot   enter {change.label} ({change.loader}) into the firmware's boot menu"
        case _:
            assert_never(change)


def _place(change: InstallBootLoader) -> str:
    firmware = "BIOS"
    if change.platform == "x86_64-efi":
        firmware = f"UEFI in {'the fallback path' if change.removable else 'its own folder'}"
    signed = ", signed" if change.signed else ""
    tools = "the live system's" if change.from_live_system else "its own"
    return f"{firmware}{signed}, with {tools} tools"


def render_changes(title: str, changes: tuple[Change, ...]) -> str:
    """The changes in order, as text for the session folder."""
    lines = [f"  {number:>2}  {describe(change)}" for number, change in enumerate(changes, 1)]
    return "\n".join([title, *lines, ""])
