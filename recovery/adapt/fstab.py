"""Fixup: /etc/fstab names devices by hardware, or filesystems that this machine does not have.

Pure: reads the text collected by `inspect`, returns edits, changes nothing. An entry whose
filesystem is not here gets `nofail`: the system starts without it instead of stopping in the
emergency shell after 90 s, and mounts it again as soon as the disk is back.
Source: fstab(5), systemd.mount(5).
"""

from __future__ import annotations

import re

from recovery.adapt.names import DeviceNames, unescape
from recovery.model.adaptation import EditFile

PATH = "/etc/fstab"
_LINE = re.compile(
    r"(?P<spec>[^\s#]\S*)(?P<gap>\s+)(?P<mount_point>\S+)(?P<middle>\s+\S+)"
    r"(?:(?P<space>\s+)(?P<options>\S+))?(?P<rest>\s.*)?$",
    re.DOTALL,
)
_ESSENTIAL = frozenset({"/", "/usr"})
_HARMLESS = frozenset({"nofail", "noauto"})


def fix_fstab(text: str, names: DeviceNames) -> tuple[EditFile, ...]:
    """Point `text` at the filesystems of the target; no edit if nothing changes.

    Lines are otherwise kept byte for byte, comments included.
    """
    fixed = "".join(_fix(line, names) for line in text.splitlines(keepends=True))
    if fixed == text:
        return ()
    return (EditFile(PATH, text, fixed, "names that hold on this machine"),)


def absent_entries(text: str, names: DeviceNames) -> tuple[str, ...]:
    """The mount points (or `swap`) whose filesystem this machine does not have."""
    found: list[str] = []
    for line in text.splitlines():
        match = _LINE.match(line.lstrip())
        if match is not None and names.is_missing(match["spec"]) and not _stays(match):
            found.append(unescape(match["mount_point"]).replace("none", "swap"))
    return tuple(found)


def _stays(match: re.Match[str]) -> bool:
    return "noauto" in (match["options"] or "").split(",")


def _fix(line: str, names: DeviceNames) -> str:
    body = line.lstrip()
    indent = line[: len(line) - len(body)]
    match = _LINE.match(body)
    if match is None:
        return line
    spec, options = match["spec"], match["options"]
    stable = names.stable(spec)
    if stable is not None:
        return f"{indent}{stable}{body[len(spec) :]}"
    if match["mount_point"] in _ESSENTIAL or not names.is_missing(spec):
        return line
    if _HARMLESS & set((options or "").split(",")):
        return line
    start = f"{indent}{spec}{match['gap']}{match['mount_point']}{match['middle']}"
    return f"{start}{match['space'] or ' '}{options or 'defaults'},nofail{match['rest'] or ''}"
