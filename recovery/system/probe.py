"""The probe: finds the machine's hardware and how its storage is stacked, changing nothing.

A disk that does not answer costs a while, never the probe. Tools that are missing cost only
what they would have told.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from recovery.errors import CommandFailed, RecoveryError
from recovery.model.machine import Disk, Machine
from recovery.model.probe import Probe
from recovery.system.block_tree import BlockDevice, Tree, read_block_tree, with_contents
from recovery.system.command import Command, Runner
from recovery.system.controllers import probe_controllers
from recovery.system.disk_identity import identities_of, transport_of
from recovery.system.firmware import (
    probe_firmware,
    probe_memory,
    probe_processors,
    probe_product,
    probe_secure_boot,
)
from recovery.system.in_use import read_usage, uses_of
from recovery.system.lvm import probe_groups
from recovery.system.network import probe_network_cards
from recovery.system.raid import Array, probe_array
from recovery.system.stack import Found, array_of, assembled, stack_up
from recovery.system.udev import Database, udev_database

log = logging.getLogger(__name__)

SYSFS = Path("/sys")
PROCFS = Path("/proc")
ANSWER_TIMEOUT = 20.0
"""Seconds: a disk that sleeps needs some ten to spin up."""
SETTLE_TIMEOUT = 10
HEAD_BLOCK = 4096
HEAD_BLOCKS = 2
"""As much as holds the MBR and a GPT header, also with sectors of 4096 bytes."""
DEAD_STATES = frozenset({"offline", "transport-offline", "dead", "deleting"})
SILENT = "does not answer"


@dataclass(frozen=True, slots=True)
class Sighting:
    """A probe with what holds only now: the device nodes at which the layout can be read.

    `nodes` maps layout ids to nodes; a LUKS container to its opened volume. What is locked, not
    assembled or not active is not in it.
    """

    probe: Probe
    nodes: Mapping[str, str]


def probe(
    runner: Runner, sysfs: Path = SYSFS, procfs: Path = PROCFS, database: Database = udev_database
) -> Probe:
    """The machine and its storage, now. Nothing is opened for writing."""
    return look(runner, sysfs, procfs, database).probe


def look(
    runner: Runner, sysfs: Path = SYSFS, procfs: Path = PROCFS, database: Database = udev_database
) -> Sighting:
    """The same with device nodes, for who is going to read or write the disks."""
    _settle(runner)
    tree = read_block_tree(sysfs, database)
    devices = tuple(device for device in tree.values() if device.is_disk)
    heads = _read_heads(runner, devices)
    problems = {name: head.problem for name, head in heads.items() if head.problem}
    tree = with_contents(runner, tree, silent=problems)
    devices = tuple(tree[device.name] for device in devices)
    usage = read_usage(sysfs, procfs, tree)
    identities = dict(zip((device.name for device in devices), identities_of(devices), strict=True))
    answering = {name: id for name, id in identities.items() if tree[name].size}
    volumes = (d.node for d in tree.values() if d.content == "LVM2_member")
    stack = stack_up(
        Found(
            tree=tree,
            identities=answering,
            heads={name: head.data for name, head in heads.items()},
            groups=probe_groups(runner, volumes),
            arrays=_probe_arrays(runner, tree),
            usage=usage,
        )
    )
    disks = tuple(
        Disk(
            id=identities[device.name],
            node=device.node,
            logical_sector=device.logical_sector,
            physical_sector=device.physical_sector,
            rotational=device.rotational,
            removable=device.removable,
            transport=transport_of(device),
            read_only=device.read_only,
            uses=uses_of(tree, usage, device.name),
            problem=problems.get(device.name, ""),
        )
        for device in devices
    )
    machine = _probe_machine(sysfs, procfs, database, disks)
    return Sighting(Probe(machine, stack.layout), stack.nodes)


def _probe_machine(
    sysfs: Path, procfs: Path, database: Database, disks: tuple[Disk, ...]
) -> Machine:
    return Machine(
        product=probe_product(sysfs),
        firmware=probe_firmware(sysfs),
        secure_boot=probe_secure_boot(sysfs),
        memory=probe_memory(procfs),
        processors=probe_processors(sysfs),
        disks=disks,
        network_cards=probe_network_cards(sysfs, database),
        controllers=probe_controllers(sysfs, database),
    )


def _settle(runner: Runner) -> None:
    """Let udev finish with what was plugged in just now; without udev there is nothing to do."""
    command = Command(
        ("udevadm", "settle", f"--timeout={SETTLE_TIMEOUT}"),
        "wait for device nodes",
        timeout=2 * SETTLE_TIMEOUT,
        package="udev",
    )
    with suppress(RecoveryError):
        runner.run(command)


@dataclass(frozen=True, slots=True)
class _Head:
    """The first bytes of a disk, or what is wrong with it; neither where we may not look."""

    data: bytes = b""
    problem: str = ""


def _read_heads(runner: Runner, devices: Iterable[BlockDevice]) -> Mapping[str, _Head]:
    """Ask all disks at once, so that a sick one delays no other.

    Even a killed program ends only when the kernel gives the disk up, which can take minutes:
    hence threads that are left behind.
    """
    heads: dict[str, _Head] = {}
    threads = []
    for device in devices:
        heads[device.name] = _Head(problem=SILENT)
        if device.size and device.attributes.get("device/state", "") not in DEAD_STATES:
            thread = threading.Thread(target=_read_head, args=(runner, device, heads), daemon=True)
            thread.start()
            threads.append(thread)
    deadline = time.monotonic() + ANSWER_TIMEOUT
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(heads)


def _read_head(runner: Runner, device: BlockDevice, heads: dict[str, _Head]) -> None:
    command = Command(
        (
            *("dd", f"if={device.node}", "iflag=direct", "status=none"),
            *(f"bs={HEAD_BLOCK}", f"count={HEAD_BLOCKS}"),
        ),
        f"read the beginning of {device.node}",
        timeout=ANSWER_TIMEOUT,
        package="coreutils",
    )
    try:
        heads[device.name] = _Head(data=runner.run(command).stdout)
    except CommandFailed as error:
        refused = re.search(r"Permission denied|not permitted", error.hint)
        timeout = "did not end" in error.hint
        problem = "" if refused else SILENT if timeout else "can not be read"
        heads[device.name] = _Head(problem=problem)
    except RecoveryError as error:
        log.warning("%s", error.message)
        heads[device.name] = _Head()


def _probe_arrays(runner: Runner, tree: Tree) -> Mapping[str, Array]:
    """The arrays that are not running, by UUID; running ones are told by sysfs."""
    asleep = {
        uuid: device.node
        for device in tree.values()
        if (uuid := array_of(device)) and assembled(tree, device.name) is None
    }
    found = {uuid: probe_array(runner, node) for uuid, node in asleep.items()}
    return {uuid: array for uuid, array in found.items() if array is not None}
