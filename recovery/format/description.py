"""`repo.json`: what a repository is, readable without a key."""

from __future__ import annotations

import json
from dataclasses import dataclass

from blake3 import blake3

from recovery.errors import DamagedData
from recovery.format.seal import ID_SIZE

MAGIC = "recovery repository"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Description:
    """The identity of a repository and the features that a program must know to use it."""

    id: bytes
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    collect: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnreadableVersion:
    """`repo.json` of a version that this program does not know."""

    version: int


def encode_description(description: Description) -> bytes:
    """The description as JSON."""
    document = {
        "magic": MAGIC,
        "version": VERSION,
        "id": description.id.hex(),
        "check": _check(description.id),
        "features": {
            "read": list(description.read),
            "write": list(description.write),
            "collect": list(description.collect),
        },
    }
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"


def decode_description(data: bytes) -> Description | UnreadableVersion:
    """The description in `data`. Raises `DamagedData` if it is none."""
    try:
        document = json.loads(data)
        if document["magic"] != MAGIC or type(document["version"]) is not int:
            raise ValueError("no description")
        if document["version"] != VERSION:
            return UnreadableVersion(document["version"])
        features = document["features"]
        id = bytes.fromhex(document["id"])
        if len(id) != ID_SIZE or document["check"] != _check(id):
            raise ValueError("no id")
        read, write, collect = (tuple(features[name]) for name in ("read", "write", "collect"))
        if not all(isinstance(name, str) for name in (*read, *write, *collect)):
            raise ValueError("features are names")
        return Description(id, read, write, collect)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedData("repo.json is damaged") from error


def _check(id: bytes) -> str:
    """What tells a damaged id from another one: a wrong id looks like a wrong passphrase."""
    return blake3(id).hexdigest()[:16]
