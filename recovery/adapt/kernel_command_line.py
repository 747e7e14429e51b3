"""Fixup: `root=` and `resume=` of the kernel command line name devices by hardware, or are gone.

Pure. A `resume=` that leads nowhere makes the start wait for a device that never comes; it is
taken out. Source: kernel's admin-guide/kernel-parameters, GRUB manual "Simple configuration".
"""

from __future__ import annotations

import re

from recovery.adapt.names import DeviceNames
from recovery.model.adaptation import EditFile

GRUB_DEFAULTS = "/etc/default/grub"
KERNEL_INSTALL = "/etc/kernel/cmdline"
_GRUB_LINE = re.compile(r"^\s*GRUB_CMDLINE_LINUX\w*=")
_GRUB_VALUE = re.compile(
    r"^\s*(?:export\s+)?GRUB_CMDLINE_LINUX(?:_DEFAULT)?=(?P<quote>[\"']?)(?P<value>.*?)(?P=quote)\s*$",
    re.MULTILINE,
)
_PARAMETER = re.compile(r"(?P<before>\s?)(?<![\w.-])(?P<key>root|resume)=(?P<spec>[^\s\"']+)")


def fix_command_line(path: str, text: str, names: DeviceNames) -> tuple[EditFile, ...]:
    """Correct the parameters in the text of `GRUB_DEFAULTS` or `KERNEL_INSTALL`."""
    lines = text.splitlines(keepends=True)
    fixed = "".join(
        _fix(line, names) if path != GRUB_DEFAULTS or _GRUB_LINE.match(line) else line
        for line in lines
    )
    if fixed == text:
        return ()
    return (EditFile(path, text, fixed, "root and resume devices that hold on this machine"),)


def grub_command_line(grub_defaults: str) -> str:
    """What the GRUB settings of a system append to its kernels.

    >>> grub_command_line('GRUB_CMDLINE_LINUX_DEFAULT="quiet"')
    'quiet'
    """
    return " ".join(match["value"] for match in _GRUB_VALUE.finditer(grub_defaults)).strip()


def _fix(line: str, names: DeviceNames) -> str:
    def replace(match: re.Match[str]) -> str:
        spec = match["spec"]
        stable = names.stable(spec)
        if stable is not None:
            return f"{match['before']}{match['key']}={stable}"
        if match["key"] == "resume" and names.is_missing(spec):
            return ""
        return match[0]

    return _PARAMETER.sub(replace, line)
