"""What the live image is made of, as `profile.toml` says it."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, get_type_hints

from recovery.errors import UsageError


@dataclass(frozen=True, slots=True)
class BootMenu:
    """How the medium starts: `timeout` in seconds, `arguments` of the kernel."""

    timeout: int
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """The contents of the live image.

    `excluded_paths` and `included_paths` are dpkg patterns; `removed_paths` are relative to
    the root; `from_debian` names locked requirements that Debian packages stand for.
    """

    label: str
    suite: str
    components: tuple[str, ...]
    package_list: str
    source_date: datetime
    hostname: str
    excluded_paths: tuple[str, ...]
    included_paths: tuple[str, ...]
    removed_paths: tuple[str, ...]
    masked_units: tuple[str, ...]
    enabled_units: tuple[str, ...]
    from_debian: tuple[str, ...]
    boot: BootMenu


def read_profile(path: Path) -> Profile:
    """Read `profile.toml`. Raises `UsageError` that names the line or the key."""
    try:
        document = tomllib.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"could not read {path}", hint=str(error.strerror)) from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML", hint=str(error)) from error
    return parse_profile(document, str(path))


def parse_profile(document: Mapping[str, Any], origin: str) -> Profile:
    """Judge every key. Raises `UsageError` for one that is unknown, missing or of a wrong kind."""
    values = _values(document, Profile, origin, "")
    boot = BootMenu(**_values(values.pop("boot"), BootMenu, origin, "boot."))
    profile = Profile(**values, boot=boot)
    if not profile.label or len(profile.label) > 16 or set(profile.label) - _LABEL_LETTERS:
        raise UsageError(
            f"{origin}: label {profile.label!r} is no volume label",
            hint="at most 16 of A-Z, 0-9 and _",
        )
    if profile.source_date.tzinfo is None:
        raise UsageError(
            f"{origin}: source_date has no time zone", hint="write it as 2026-01-31T00:00:00Z"
        )
    return profile


def read_packages(path: Path) -> tuple[str, ...]:
    """Package names of a list, sorted; `#` starts a comment. Raises `UsageError`."""
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise UsageError(f"could not read {path}", hint=str(error.strerror)) from error
    return tuple(sorted({name for line in lines if (name := line.partition("#")[0].strip())}))


_LABEL_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_KINDS: dict[object, tuple[type, str]] = {
    str: (str, "a text"),
    int: (int, "a number"),
    datetime: (datetime, "a date and time"),
    tuple[str, ...]: (list, "a list of texts"),
    BootMenu: (dict, "a table"),
}


def _values(
    document: Mapping[str, Any], kind: type[Profile | BootMenu], origin: str, prefix: str
) -> dict[str, Any]:
    hints = get_type_hints(kind)
    wanted = [field.name for field in fields(kind)]
    for key in document:
        if key not in wanted:
            nearest = difflib.get_close_matches(key, wanted, n=1, cutoff=0.0)
            raise UsageError(
                f"{origin}: the key {prefix}{key} is not known",
                hint=f"did you mean {prefix}{nearest[0]}?",
            )
    values: dict[str, Any] = {}
    for key in wanted:
        if key not in document:
            raise UsageError(f"{origin}: the key {prefix}{key} is missing", hint="add it")
        accepted, called = _KINDS[hints[key]]
        value = document[key]
        is_right = isinstance(value, accepted) and not isinstance(value, bool)
        if is_right and isinstance(value, list):
            is_right = all(isinstance(item, str) for item in value)
        if not is_right:
            raise UsageError(f"{origin}: {prefix}{key} must be {called}", hint=f"it is {value!r}")
        values[key] = tuple(value) if isinstance(value, list) else value
    return values
