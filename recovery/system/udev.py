"""What udev has written down about devices; the only module that knows pyudev.

Without udev (containers, tiny machines) the database is empty and sysfs has to do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import pyudev

log = logging.getLogger(__name__)

Properties = Mapping[str, str]
Database = Callable[[str], Mapping[str, Properties]]
"""From a subsystem, such as `block`, to the properties of its devices by their sysfs path.

The path begins with `/devices/`, as in the property `DEVPATH`.
"""


def udev_database(subsystem: str) -> Mapping[str, Properties]:
    """The devices of a subsystem as udev on this machine knows them."""
    try:
        devices = pyudev.Context().list_devices(subsystem=subsystem)
    except ImportError:
        log.warning("libudev is not installed: devices are described by sysfs alone")
        return {}
    found: dict[str, Properties] = {}
    for device in devices:
        try:
            found[device.device_path] = dict(device.properties)
        except (KeyError, OSError, pyudev.DeviceNotFoundError):
            log.info("a %s device went away while it was looked at", subsystem)
    return found
