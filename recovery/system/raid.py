"""md arrays: what mdadm reads from a member.

Source: mdadm(8). It takes no `--` before devices; `--examine` prints `Array Size` in KiB for
metadata 1.x and 0.90 alike.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from recovery.errors import RecoveryError
from recovery.model.size import KiB
from recovery.system.command import Command, Runner

log = logging.getLogger(__name__)

TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Array:
    """An array as one of its members describes it; `size` in bytes, 0 if unknown."""

    uuid: str
    name: str
    level: str
    size: int


def probe_array(runner: Runner, node: str) -> Array | None:
    """The array that the device is a member of; `None` if mdadm is missing or sees none."""
    command = Command(
        ("mdadm", "--examine", node),
        f"read the RAID metadata of {node}",
        timeout=TIMEOUT,
        package="mdadm",
    )
    try:
        return parse_examine(runner.run(command).text)
    except RecoveryError as error:
        log.warning("%s: %s", error.message, error.hint)
        return None


def parse_examine(text: str) -> Array | None:
    """The array in mdadm's words; the host in front of the name is left out."""
    lines = (line.partition(" : ") for line in text.splitlines())
    facts = {key.strip(): value.strip() for key, separator, value in lines if separator}
    uuid = facts.get("Array UUID") or facts.get("UUID", "").partition(" ")[0]
    if not uuid:
        return None
    size = re.match(r"\d+", facts.get("Array Size", ""))
    return Array(
        uuid=uuid,
        name=facts.get("Name", "").partition(" ")[0].rpartition(":")[2],
        level=facts.get("Raid Level", ""),
        size=int(size[0]) * KiB if size else 0,
    )


def array_uuid(text: str) -> str:
    """An array's UUID as mdadm.conf has it, from blkid's way of writing it.

    >>> array_uuid("3c5a4bd1-86c1-6b1f-0d2e-5a4e2c1f0b9a")
    '3c5a4bd1:86c16b1f:0d2e5a4e:2c1f0b9a'
    """
    digits = re.sub(r"[^0-9a-f]", "", text.lower())
    return ":".join(digits[at : at + 8] for at in range(0, len(digits), 8))
