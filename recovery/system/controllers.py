"""Storage controllers: what a restored system must have a driver for, to find its root.

Source: PCI Code and ID Assignment Specification: class 01 is mass storage, 0805 an SD host;
kernel include/linux/hyperv.h for the identity of Hyper-V's disk controller.
"""

from __future__ import annotations

from pathlib import Path

from recovery.model.machine import Controller
from recovery.system.network import model_from_database
from recovery.system.sysfs import device_path, link_name, read_int, read_text
from recovery.system.udev import Database, Properties

MASS_STORAGE = 0x01
SD_HOST = 0x0805
HYPER_V_SCSI = "{ba6163d9-04a1-4d29-b605-72e2ffb1dc7f}"


def probe_controllers(sysfs: Path, database: Database) -> tuple[Controller, ...]:
    """All of them by bus address."""
    known = database("pci")
    pci = sorted((sysfs / "bus/pci/devices").glob("*"))
    virtual = sorted((sysfs / "bus/vmbus/devices").glob("*"))
    return tuple(
        _read_controller(path, known.get(device_path(sysfs, path), {}))
        for path in (
            *(path for path in pci if _is_storage(read_int(path / "class"))),
            *(path for path in virtual if read_text(path / "class_id") == HYPER_V_SCSI),
        )
    )


def _is_storage(pci_class: int) -> bool:
    """Whether the 24 bits of class, subclass and interface are those of a storage controller."""
    return pci_class >> 16 == MASS_STORAGE or pci_class >> 8 == SD_HOST


def _read_controller(folder: Path, properties: Properties) -> Controller:
    vendor, device = (read_text(folder / name).removeprefix("0x") for name in ("vendor", "device"))
    return Controller(
        address=folder.name,
        model=model_from_database(properties) or f"{vendor}:{device}".strip(":"),
        driver=_driver(folder),
        modalias=read_text(folder / "modalias"),
    )


def _driver(folder: Path) -> str:
    """For virtio the driver of the device behind the bus adapter, which is what matters."""
    behind = (link_name(path / "driver") for path in sorted(folder.glob("virtio*")))
    return next((name for name in behind if name), "") or link_name(folder / "driver")
