"""Who a disk is: model, serial number, transport, bus path. Pure.

udev's words are taken where it has some, else the ones of sysfs. The order of preference for
serial numbers is that of lsblk: it finds the one printed on the label.
"""

from __future__ import annotations

import re
from collections import Counter

from recovery.model.machine import DiskId
from recovery.system.block_tree import BlockDevice

NAME_TRANSPORTS = (
    ("nvme", "nvme"),
    ("vd", "virtio"),
    ("mmcblk", "mmc"),
    ("xvd", "xen"),
    ("pmem", "nvdimm"),
    ("nbd", "nbd"),
    ("cciss", "scsi"),
)
PATH_TRANSPORTS = (
    (r"/usb\d+/", "usb"),
    (r"/ata\d+/", "ata"),
    (r"/end_device-", "sas"),
    (r"/rport-", "fc"),
    (r"/session\d+/", "iscsi"),
)
UNTOLD_VENDORS = frozenset({"", "ATA", "NVME", "VIRTIO"})
PCI_ADDRESS = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
SCSI_ADDRESS = re.compile(r"/\d+:(\d+:\d+:\d+)/block/")


def transport_of(device: BlockDevice) -> str:
    """How the disk is attached, in one word such as `ata`, `nvme`, `usb`, `scsi`, `virtio`."""
    for prefix, transport in NAME_TRANSPORTS:
        if device.name.startswith(prefix):
            return transport
    # A disk in a USB enclosure says `ata` in ID_BUS: where it hangs is the better witness.
    for pattern, transport in PATH_TRANSPORTS:
        if re.search(pattern, device.path):
            return transport
    return device.properties.get("ID_BUS", "") or "scsi"


def model_of(device: BlockDevice) -> str:
    """Maker and model, such as `Samsung SSD 980 1TB`; empty where nothing is told."""
    properties, attributes = device.properties, device.attributes
    # udev writes underscores for blanks in the names of these, so that real ones are lost.
    plain = attributes.get("device/model", "") if device.name.startswith("nvme") else ""
    model = (
        plain
        or decode_name(properties.get("ID_MODEL_ENC", ""))
        or properties.get("ID_MODEL", "").replace("_", " ").strip()
        or attributes.get("device/model", "")
        or attributes.get("device/name", "")
    )
    vendor = decode_name(properties.get("ID_VENDOR_ENC", "")) or attributes.get("device/vendor", "")
    if vendor.upper() in UNTOLD_VENDORS or vendor.startswith("0x") or not model:
        return _plain(model)
    return _plain(model if model.upper().startswith(vendor.upper()) else f"{vendor} {model}")


def serial_of(device: BlockDevice) -> str:
    """The serial number, empty where the disk tells none."""
    properties, attributes = device.properties, device.attributes
    if device.name.startswith("vd"):
        # udev has no ID_SERIAL_SHORT for these, the kernel always has the number itself.
        return _plain(attributes.get("serial", "") or properties.get("ID_SERIAL", ""))
    candidates = (
        properties.get("SCSI_IDENT_SERIAL", ""),
        properties.get("ID_SCSI_SERIAL", ""),
        properties.get("ID_SERIAL_SHORT", ""),
        attributes.get("device/serial", ""),
        attributes.get("device/vpd_pg80", ""),
    )
    return next((serial for text in candidates if (serial := _plain(text))), "")


def bus_path_of(device: BlockDevice) -> str:
    """Where the disk is attached, in udev's words or made like them."""
    told = device.properties.get("ID_PATH", "")
    if told:
        return told
    controllers = PCI_ADDRESS.findall(device.path)
    if not controllers:
        return device.path.removeprefix("/devices/").partition("/block/")[0]
    address = SCSI_ADDRESS.search(device.path)
    return f"pci-{controllers[-1]}" + (f"-scsi-0:{address[1]}" if address else "")


def identities_of(devices: tuple[BlockDevice, ...]) -> tuple[DiskId, ...]:
    """The identity of each disk, all different as far as the machine can tell.

    Some USB bridges give every disk the same serial number. It names none of them then, and they
    are told apart by where they are attached.
    """
    plain = tuple(DiskId(model_of(device), serial_of(device), device.size) for device in devices)
    # Typed, a serial must name one disk, whatever model and size it is written beside.
    times = Counter(identity.serial.casefold() for identity in plain)
    return tuple(
        identity
        if identity.serial and times[identity.serial.casefold()] == 1
        else DiskId(identity.model, "", identity.size, bus_path_of(device))
        for device, identity in zip(devices, plain, strict=True)
    )


def decode_name(text: str) -> str:
    """udev's `_ENC` values: `My\\x20disk` for `My disk`, blanks around it removed.

    >>> decode_name("My\\\\x20disk\\\\x20\\\\x20")
    'My disk'
    """
    raw = re.sub(rb"\\x([0-9a-fA-F]{2})", lambda match: bytes([int(match[1], 16)]), text.encode())
    return raw.decode(errors="replace").strip(" \0")


def _plain(text: str) -> str:
    """One line of printable text: firmware puts anything into names."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
