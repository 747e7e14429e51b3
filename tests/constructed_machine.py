"""Machines that do not exist: a sysfs, a procfs, a udev database and answers of programs.

The probe is run on them as on a real one. Paths, attribute and property names are those of
real machines (Linux 6.x, systemd 252 to 257).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recovery.errors import MissingTool
from recovery.model.probe import Probe
from recovery.system.command import Command, Output
from recovery.system.probe import Sighting, look

MiB = 1 << 20
GiB = 1 << 30


def ata_path(port: int, name: str) -> str:
    return (
        f"/devices/pci0000:00/0000:00:17.0/ata{port}/host{port - 1}/target{port - 1}:0:0"
        f"/{port - 1}:0:0:0/block/{name}"
    )


def usb_path(port: int, name: str) -> str:
    return (
        f"/devices/pci0000:00/0000:00:14.0/usb2/2-{port}/2-{port}:1.0/host9/target9:0:0"
        f"/9:0:0:0/block/{name}"
    )


def nvme_path(controller: int, name: str) -> str:
    return f"/devices/pci0000:00/0000:0{controller + 1}:00.0/nvme/nvme{controller}/{name}"


def virtio_path(slot: int, name: str) -> str:
    return f"/devices/pci0000:00/0000:00:{slot:02x}.0/virtio{slot}/block/{name}"


def sas_path(number: int, name: str) -> str:
    return (
        f"/devices/pci0000:80/0000:81:00.0/host0/port-0:{number}/end_device-0:{number}"
        f"/target0:0:{number}/0:0:{number}:0/block/{name}"
    )


def filesystem(kind: str, uuid: str, label: str = "", version: str = "") -> dict[str, str]:
    """udev's properties for a device with this content."""
    usage = {"crypto_LUKS": "crypto", "LVM2_member": "raid", "linux_raid_member": "raid"}
    found = {"ID_FS_TYPE": kind, "ID_FS_UUID": uuid, "ID_FS_UUID_ENC": uuid}
    found["ID_FS_USAGE"] = usage.get(kind, "filesystem")
    if label:
        found |= {"ID_FS_LABEL": label.replace(" ", "_")}
        found["ID_FS_LABEL_ENC"] = label.replace("\\", "\\x5c").replace(" ", "\\x20")
    if version:
        found["ID_FS_VERSION"] = version
    return found


@dataclass
class PreparedRunner:
    """Answers commands by program and the device they name; everything else is not installed."""

    answers: dict[tuple[str, str], bytes | Exception] = field(default_factory=dict)
    ran: list[Command] = field(default_factory=list)

    def run(self, command: Command) -> Output:
        self.ran.append(command)
        program = command.argv[0]
        for (name, part), answer in self.answers.items():
            if name == program and any(part in word for word in command.argv[1:]):
                if isinstance(answer, Exception):
                    raise answer
                return Output(0, answer, "")
        if program == "udevadm":
            return Output(0, b"", "")
        raise MissingTool(f"could not {command.purpose}: {program} is not installed")

    def stream(self, command: Command) -> Iterator[str]:
        raise AssertionError("the probe does not stream")


@dataclass
class ConstructedMachine:
    """One such machine below the folder `root`."""

    root: Path
    runner: PreparedRunner = field(default_factory=PreparedRunner)
    udev: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    mounts: list[str] = field(default_factory=list)
    swaps: list[str] = field(default_factory=list)
    numbers: dict[str, str] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.write("/devices/system/cpu/online", "0-3")
        self.memory(8 * GiB)
        (self.sysfs / "class/block").mkdir(parents=True)

    @property
    def sysfs(self) -> Path:
        return self.root / "sys"

    @property
    def procfs(self) -> Path:
        return self.root / "proc"

    def look(self) -> Sighting:
        head = "Filename\tType\tSize\tUsed\tPriority\n"
        self._write(self.procfs / "swaps", head + "".join(self.swaps))
        self._write(self.procfs / "self/mountinfo", "".join(self.mounts))
        return look(self.runner, self.sysfs, self.procfs, self._database)

    def probe(self) -> Probe:
        return self.look().probe

    def write(self, path: str, text: str) -> None:
        self._write(self.sysfs / path.lstrip("/"), text)

    def memory(self, size: int) -> None:
        text = f"MemTotal:       {size // 1024} kB\nMemFree:        12 kB\n"
        self._write(self.procfs / "meminfo", text)

    def product(self, vendor: str, name: str) -> None:
        self.write("/class/dmi/id/sys_vendor", vendor)
        self.write("/class/dmi/id/product_name", name)

    def uefi(self, secure_boot: bool | None) -> None:
        folder = self.sysfs / "firmware/efi/efivars"
        folder.mkdir(parents=True)
        if secure_boot is not None:
            name = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
            (folder / name).write_bytes(bytes([6, 0, 0, 0, int(secure_boot)]))

    def disk(
        self,
        path: str,
        size: int,
        properties: Mapping[str, str] | None = None,
        *,
        sectors: tuple[int, int] = (512, 512),
        rotational: bool = False,
        removable: bool = False,
        read_only: bool = False,
        attributes: Mapping[str, str] | None = None,
        table: tuple[str, str] | None = None,
        head: bytes | Exception = bytes(8192),
    ) -> str:
        """A whole device; `table` is its scheme and identifier; `properties` None: no udev."""
        told = None if properties is None else {"USEC_INITIALIZED": "1", **properties}
        if told is not None and table:
            told |= {"ID_PART_TABLE_TYPE": table[0], "ID_PART_TABLE_UUID": table[1]}
        name = self._block(path, size, told, attributes or {}, read_only)
        self.write(f"{path}/queue/logical_block_size", str(sectors[0]))
        self.write(f"{path}/queue/physical_block_size", str(sectors[1]))
        self.write(f"{path}/queue/rotational", str(int(rotational)))
        self.write(f"{path}/removable", str(int(removable)))
        self.runner.answers["dd", f"if=/dev/{name}"] = head
        return name

    def partition(
        self,
        disk: str,
        number: int,
        start: int,
        size: int,
        properties: Mapping[str, str] | None = None,
        *,
        type: str,
        uuid: str,
        name: str = "",
        flags: int = 0,
    ) -> str:
        separator = "p" if disk[-1].isdigit() else ""
        entry = {
            "ID_PART_ENTRY_NUMBER": str(number),
            "ID_PART_ENTRY_TYPE": type,
            "ID_PART_ENTRY_UUID": uuid,
        }
        if name:
            entry["ID_PART_ENTRY_NAME"] = name.replace(" ", "\\x20")
        if flags:
            entry["ID_PART_ENTRY_FLAGS"] = hex(flags)
        path = f"{self.paths[disk]}/{disk}{separator}{number}"
        told = {"USEC_INITIALIZED": "1", **entry, **(properties or {})}
        self.write(f"{path}/partition", str(number))
        self.write(f"{path}/start", str(start // 512))
        return self._block(path, size, told, {}, False)

    def stacked(
        self,
        name: str,
        slaves: tuple[str, ...],
        size: int,
        properties: Mapping[str, str] | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> str:
        """A dm or md device; give `dm/name` and `dm/uuid`, or `md/level`, as attributes."""
        path = f"/devices/virtual/block/{name}"
        for slave in slaves:
            self.write(f"{path}/slaves/{slave}/dev", self.numbers[slave])
        told = {"USEC_INITIALIZED": "1", **(properties or {})}
        return self._block(path, size, told, attributes or {}, False)

    def mount(self, name: str, point: str, kind: str, *, root: str = "/", number: str = "") -> None:
        escaped = point.replace(" ", "\\040")
        number = number or self.numbers[name]
        self.mounts.append(
            f"{len(self.mounts) + 20} 1 {number} {root} {escaped} rw,relatime shared:1"
            f" - {kind} /dev/{name} rw\n"
        )

    def swap(self, node: str) -> None:
        self.swaps.append(f"{node}  partition\t1048572\t0\t-2\n")

    def controller(
        self, address: str, pci_class: str, modalias: str, driver: str, vendor: str, model: str
    ) -> None:
        path = f"/devices/pci0000:00/{address}"
        self.write(f"{path}/class", pci_class)
        self.write(f"{path}/modalias", modalias)
        self._driver(path, driver)
        self._link(f"bus/pci/devices/{address}", path)
        told = {"ID_VENDOR_FROM_DATABASE": vendor, "ID_MODEL_FROM_DATABASE": model}
        self.udev.setdefault("pci", {})[path] = told

    def card(
        self, name: str, path: str, mac: str, driver: str, model: str, connected: bool = True
    ) -> None:
        folder = f"{path}/net/{name}"
        self.write(f"{folder}/address", mac)
        self.write(f"{folder}/carrier", str(int(connected)))
        self._driver(path, driver)
        self._link_to(self.sysfs / folder.lstrip("/") / "device", path)
        self._link(f"class/net/{name}", folder)
        self.udev.setdefault("net", {})[folder] = {"ID_MODEL_FROM_DATABASE": model}

    def virtual_card(self, name: str) -> None:
        self.write(f"/devices/virtual/net/{name}/address", "00:00:00:00:00:00")
        self._link(f"class/net/{name}", f"/devices/virtual/net/{name}")

    def _block(
        self,
        path: str,
        size: int,
        properties: Mapping[str, str] | None,
        attributes: Mapping[str, str],
        read_only: bool,
    ) -> str:
        name = path.rpartition("/")[2]
        self.paths[name] = path
        self.numbers[name] = f"8:{len(self.numbers)}"
        self.write(f"{path}/dev", self.numbers[name])
        self.write(f"{path}/size", str(size // 512))
        self.write(f"{path}/ro", str(int(read_only)))
        for attribute, text in attributes.items():
            self.write(f"{path}/{attribute}", text)
        self._link(f"class/block/{name}", path)
        if properties is not None:
            self.udev.setdefault("block", {})[path] = dict(properties)
        return name

    def _database(self, subsystem: str) -> Mapping[str, Mapping[str, str]]:
        return self.udev.get(subsystem, {})

    def _driver(self, path: str, driver: str) -> None:
        if driver:
            (self.sysfs / "bus/drivers" / driver).mkdir(parents=True, exist_ok=True)
            link = self.sysfs / path.lstrip("/") / "driver"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(self.sysfs / "bus/drivers" / driver)

    def _link(self, name: str, path: str) -> None:
        self._link_to(self.sysfs / name, path)

    def _link_to(self, link: Path, path: str) -> None:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(self.sysfs / path.lstrip("/"))

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
