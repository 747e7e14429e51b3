"""LVM: what its tools report about volume groups, read without touching anything.

Source: lvmreport(7). `--readonly` reads the metadata without locks and changes nothing;
`--devices` keeps LVM from looking at, and being confused by, any other device.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from recovery.errors import RecoveryError
from recovery.system.command import Command, Runner

log = logging.getLogger(__name__)

TIMEOUT = 60.0
HIDDEN_KINDS = frozenset("tsS")
"""First letter of lv_attr: thin pools have no content of their own, snapshots are of another."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A logical volume, `size` in bytes."""

    name: str
    uuid: str
    size: int


@dataclass(frozen=True, slots=True)
class Group:
    """A volume group with the nodes of its physical volumes, as LVM names them."""

    name: str
    uuid: str
    members: tuple[str, ...]
    volumes: tuple[Volume, ...]


def probe_groups(runner: Runner, nodes: Iterable[str]) -> tuple[Group, ...]:
    """The groups on the given physical volumes; none where LVM's tools are missing or fail."""
    named = ",".join(nodes)
    if not named:
        return ()
    try:
        members = _report(runner, "pvs", "vg_name,vg_uuid,pv_name", named)
        volumes = _report(runner, "lvs", "vg_uuid,lv_name,lv_uuid,lv_size,lv_attr", named)
    except RecoveryError as error:
        log.warning("volume groups stay unknown: %s (%s)", error.message, error.hint)
        return ()
    return groups_of(members, volumes)


def groups_of(
    members: Iterable[dict[str, str]], volumes: Iterable[dict[str, str]]
) -> tuple[Group, ...]:
    """The rows of pvs and lvs put together, by name of the group."""
    nodes: dict[tuple[str, str], list[str]] = {}
    for row in members:
        if row.get("vg_uuid"):
            nodes.setdefault((row["vg_name"], row["vg_uuid"]), []).append(row["pv_name"])
    inside: dict[str, list[Volume]] = {}
    for row in volumes:
        if row["lv_attr"][:1] not in HIDDEN_KINDS:
            volume = Volume(row["lv_name"], row["lv_uuid"], int(row["lv_size"]))
            inside.setdefault(row["vg_uuid"], []).append(volume)
    return tuple(
        Group(name, uuid, tuple(sorted(nodes[name, uuid])), tuple(inside.get(uuid, ())))
        for name, uuid in sorted(nodes)
    )


def map_uuid(group: Group, volume: Volume) -> str:
    """What device-mapper calls the active volume: both UUIDs without their hyphens."""
    return "LVM-" + (group.uuid + volume.uuid).replace("-", "")


def _report(runner: Runner, program: str, fields: str, nodes: str) -> list[dict[str, str]]:
    command = Command(
        (
            *(program, "--readonly", "--reportformat", "json", "--units", "b", "--nosuffix"),
            *("--devices", nodes, "--options", fields),
        ),
        "read the LVM volume groups",
        timeout=TIMEOUT,
        package="lvm2",
    )
    kind = program.removesuffix("s")
    answer: Any = json.loads(runner.run(command).stdout)
    return [row for report in answer["report"] for row in report.get(kind, ())]
