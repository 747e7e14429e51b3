"""The hardware a machine consists of, as far as recovery cares."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum

from recovery.model.size import format_size


class Firmware(Enum):
    """How the machine starts."""

    BIOS = "bios"
    UEFI = "uefi"


class SecureBoot(Enum):
    """State of Secure Boot; BIOS machines do not have it."""

    ON = "on"
    OFF = "off"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class DiskId:
    """Who a disk is, whatever name the kernel gave it this time.

    `path` is udev's bus path and is set only where the disk reports no serial number.
    """

    model: str
    serial: str
    size: int
    path: str = ""

    @property
    def token(self) -> str:
        """What the technician types to name this disk: its serial, else a short code."""
        if self.serial:
            return self.serial
        identity = f"{self.model}\n{self.size}\n{self.path}".encode()
        return hashlib.sha256(identity).hexdigest()[:6].upper()

    def __str__(self) -> str:
        name = " ".join(part for part in (self.model or "disk", self.token) if part)
        return f"{name} ({format_size(self.size)})"


@dataclass(frozen=True, slots=True)
class Disk:
    """A whole disk that is attached now; `node` is its device path and holds only until a restart.

    `uses` says in plain words why it must not be overwritten, such as `mounted on /` or
    `live medium`; `problem` why it cannot be used at all, such as `does not answer`.
    """

    id: DiskId
    node: str
    logical_sector: int
    physical_sector: int
    rotational: bool
    removable: bool
    transport: str
    read_only: bool
    uses: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class NetworkCard:
    """A network interface with its own hardware."""

    name: str
    mac: str
    driver: str
    model: str
    connected: bool


@dataclass(frozen=True, slots=True)
class Controller:
    """A storage controller; `modalias` is what the kernel finds its driver by."""

    address: str
    model: str
    driver: str
    modalias: str


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine: `memory` in bytes, `product` as the maker's tables (DMI) call it."""

    product: str
    firmware: Firmware
    secure_boot: SecureBoot
    memory: int
    processors: int
    disks: tuple[Disk, ...]
    network_cards: tuple[NetworkCard, ...]
    controllers: tuple[Controller, ...]
