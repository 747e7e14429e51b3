"""How the machine starts, who made it, and how much memory and how many processors it has.

Source: UEFI 2.10 §3.3 (`SecureBoot`: one byte, 1 where it is enforced), kernel
Documentation/filesystems/efivarfs.rst (four bytes of attributes come before a value).
"""

from __future__ import annotations

import re
from pathlib import Path

from recovery.model.machine import Firmware, SecureBoot
from recovery.model.size import KiB
from recovery.system.sysfs import read_bytes, read_text

SECURE_BOOT = "firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
ATTRIBUTES_LENGTH = 4
PLACEHOLDERS = frozenset(
    {
        "",
        "default string",
        "not applicable",
        "not specified",
        "o.e.m.",
        "system manufacturer",
        "system product name",
        "to be filled by o.e.m.",
        "unknown",
    }
)


def probe_firmware(sysfs: Path) -> Firmware:
    """How this system was started."""
    return Firmware.UEFI if (sysfs / "firmware/efi").is_dir() else Firmware.BIOS


def probe_secure_boot(sysfs: Path) -> SecureBoot:
    """The state of Secure Boot; absent where the firmware does not tell."""
    value = read_bytes(sysfs / SECURE_BOOT)[ATTRIBUTES_LENGTH:]
    if not value:
        return SecureBoot.ABSENT
    return SecureBoot.ON if value[0] == 1 else SecureBoot.OFF


def probe_product(sysfs: Path) -> str:
    """Maker and product, such as `Dell Inc. PowerEdge R640`; empty where nothing useful is told."""
    folder = sysfs / "class/dmi/id"
    words = [read_text(folder / name) for name in ("sys_vendor", "product_name")]
    told = [word for word in words if word.lower() not in PLACEHOLDERS]
    return " ".join(told) or read_text(sysfs / "firmware/devicetree/base/model")


def probe_memory(procfs: Path) -> int:
    """Bytes of memory that the kernel can use."""
    match = re.search(r"^MemTotal:\s+(\d+) kB", read_text(procfs / "meminfo"), re.MULTILINE)
    return int(match[1]) * KiB if match else 0


def probe_processors(sysfs: Path) -> int:
    """Logical processors that are switched on, at least 1."""
    return count_of_list(read_text(sysfs / "devices/system/cpu/online")) or 1


def count_of_list(text: str) -> int:
    """How many numbers are in a kernel list.

    >>> count_of_list("0-3,8,10-11")
    7
    """
    ranges = (part.partition("-") for part in text.split(",") if part)
    return sum(int(last or first) - int(first) + 1 for first, _, last in ranges)
