"""Fixup: the initramfs of Debian and its kin has only the drivers of the captured machine.

Pure. A drop-in makes all images generic, then each kernel's image is made again.
Source: initramfs.conf(5), update-initramfs(8) and mkinitramfs of initramfs-tools 0.148:
conf.d is read after initramfs.conf, in the order of the names, so that this drop-in also
overrides the installer's `driver-policy`. `MODULES=most` takes all storage drivers, `vmd` included.
"""

from __future__ import annotations

import re

from recovery.adapt.names import DeviceNames
from recovery.model.adaptation import Change, EditFile, RunInSystem
from recovery.model.installed_system import InstalledSystem

CONF_FOLDER = "/etc/initramfs-tools/conf.d"
DROP_IN = f"{CONF_FOLDER}/zz-recovery.conf"
SETTINGS = "/etc/initramfs-tools/initramfs.conf"
TIMEOUT = 1800.0
_HEADER = "# This system was restored to other hardware: take the drivers of any machine.\n"
_RESUME = re.compile(r"^\s*(?:export\s+)?RESUME=[\"']?(?P<spec>[^\"'\s]*)", re.MULTILINE)


def fix_initramfs(system: InstalledSystem, names: DeviceNames) -> tuple[Change, ...]:
    """Make the images of all kernels generic. They are made again even if the drop-in is there."""
    after = f"{_HEADER}MODULES=most\n{_resume_line(system, names)}"
    before = system.text(DROP_IN)
    drop_in = EditFile(DROP_IN, before, after, "initramfs with the drivers of any machine")
    builds = tuple(
        RunInSystem(
            ("update-initramfs", "-u" if kernel.initramfs else "-c", "-k", kernel.release),
            f"make the initramfs of kernel {kernel.release}",
            TIMEOUT,
        )
        for kernel in system.kernels
        if kernel.image
    )
    return builds if before == after else (drop_in, *builds)


def _resume_line(system: InstalledSystem, names: DeviceNames) -> str:
    spec = _resume_device(system)
    stable = names.stable(spec)
    if stable is not None:
        return f"RESUME={stable}\n"
    return "RESUME=none\n" if names.is_missing(spec) else ""


def _resume_device(system: InstalledSystem) -> str:
    """The device that the system resumes from: the last setting that is read counts."""
    drop_ins = sorted(
        (file.path, file.text)
        for file in system.files
        if file.path.startswith(f"{CONF_FOLDER}/") and file.path != DROP_IN
    )
    texts = [system.text(SETTINGS) or "", *(text for _, text in drop_ins)]
    found = [match["spec"] for text in texts for match in _RESUME.finditer(text)]
    return found[-1] if found else ""
