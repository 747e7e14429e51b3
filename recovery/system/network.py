"""Network cards: interfaces that have hardware of their own."""

from __future__ import annotations

from pathlib import Path

from recovery.model.machine import NetworkCard
from recovery.system.block_tree import in_order
from recovery.system.sysfs import device_path, link_name, read_int, read_text
from recovery.system.udev import Database, Properties


def probe_network_cards(sysfs: Path, database: Database) -> tuple[NetworkCard, ...]:
    """All of them, in the order of their names; bridges, tunnels and the like are no cards."""
    known = database("net")
    folder = sysfs / "class/net"
    cards = [path for path in folder.glob("*") if (path / "device").exists()]
    return tuple(
        _read_card(path, known.get(device_path(sysfs, path), {}))
        for path in sorted(cards, key=lambda path: in_order(path.name))
    )


def _read_card(folder: Path, properties: Properties) -> NetworkCard:
    driver = link_name(folder / "device/driver")
    return NetworkCard(
        name=folder.name,
        mac=read_text(folder / "address"),
        driver=driver or properties.get("ID_NET_DRIVER", ""),
        model=model_from_database(properties),
        # The file cannot be read while the interface is down: no cable is known of then.
        connected=read_int(folder / "carrier") == 1,
    )


def model_from_database(properties: Properties) -> str:
    """Maker and model by udev's hardware database, empty where it does not know the device."""
    vendor = properties.get("ID_VENDOR_FROM_DATABASE", "")
    model = properties.get("ID_MODEL_FROM_DATABASE", "") or properties.get("ID_MODEL", "")
    return f"{vendor} {model}".strip()
