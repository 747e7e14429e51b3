"""Which kernel modules a machine needs to find its root, and whether an initramfs has them.

Pure. Source: modules.dep(5), modules.builtin and modules.alias of kmod; a module's name is its
file's name with `-` as `_`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from recovery.model.machine import Machine

_MODULE = re.compile(r"([^/]+?)\.ko(?:\.(?:xz|zst|gz))?$")
_DISK_DRIVERS = {"nvme": "nvme", "sd": "sd_mod", "vd": "virtio_blk", "mmcblk": "mmc_block"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A driver by the name that the live system has for it, and what it is for."""

    driver: str
    modalias: str
    device: str


@dataclass(frozen=True, slots=True)
class KernelModules:
    """What a kernel of the installed system has: texts of its modules.dep, .builtin and .alias."""

    dependencies: str
    builtin: str
    aliases: str


def wanted_drivers(machine: Machine, disk_node: str, root_kind: str) -> tuple[Wanted, ...]:
    """The drivers from this machine's storage controllers up to its root filesystem."""
    wanted = [
        Wanted(module_name(each.driver), each.modalias, each.model or each.address)
        for each in machine.controllers
        if each.driver
    ]
    kernel_name = disk_node.rpartition("/")[2]
    for prefix, driver in _DISK_DRIVERS.items():
        if kernel_name.startswith(prefix):
            wanted.append(Wanted(driver, "", disk_node))
    wanted.append(Wanted(module_name(root_kind), "", f"the {root_kind} filesystem"))
    return tuple({each.driver: each for each in reversed(wanted)}.values())[::-1]


def module_name(text: str) -> str:
    """A module's name from a driver's name or a module's path.

    >>> module_name("kernel/drivers/scsi/3w-9xxx.ko.xz"), module_name("virtio-pci")
    ('3w_9xxx', 'virtio_pci')
    """
    match = _MODULE.search(text.strip())
    return (match[1] if match else text.strip()).replace("-", "_")


def modules_in(listing: Iterable[str]) -> frozenset[str]:
    """The modules among the paths of an initramfs."""
    return frozenset(module_name(path) for path in listing if _MODULE.search(path))


def missing_drivers(
    wanted: tuple[Wanted, ...], kernel: KernelModules, present: frozenset[str]
) -> tuple[str, ...]:
    """What is not there: one phrase each, none if the kernel finds its root filesystem.

    `present` are the modules in the initramfs. A driver counts only with all modules that it needs.
    """
    builtin = modules_in(kernel.builtin.splitlines())
    needs = dict(_dependencies(kernel.dependencies))
    found: list[str] = []
    for each in wanted:
        choices = _choices(each, needs, builtin, kernel.aliases)
        if not choices:
            found.append(f"the kernel has no driver {each.driver} (for {each.device})")
        elif not any({name, *needs.get(name, ())} <= present | builtin for name in choices):
            found.append(f"its initramfs lacks {each.driver} (for {each.device})")
    return tuple(found)


def _choices(
    wanted: Wanted, needs: dict[str, tuple[str, ...]], builtin: frozenset[str], aliases: str
) -> tuple[str, ...]:
    """The modules of this kernel that can serve: of that name, else for that device."""
    if wanted.driver in needs or wanted.driver in builtin:
        return (wanted.driver,)
    rows = (line.split() for line in aliases.splitlines() if wanted.modalias)
    return tuple(
        module_name(row[2])
        for row in rows
        if len(row) == 3 and row[0] == "alias" and fnmatchcase(wanted.modalias, row[1])
    )


def _dependencies(text: str) -> Iterable[tuple[str, tuple[str, ...]]]:
    for line in text.splitlines():
        path, _, others = line.partition(":")
        yield module_name(path), tuple(module_name(other) for other in others.split())
