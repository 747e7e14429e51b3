"""The probe on machines that do not exist, against what it is known to make of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from recovery.format.document import decode_document, encode_document
from recovery.model.layout import LogicalVolume, Luks, Partition, Raid, VolumeGroup
from recovery.model.probe import Probe
from recovery.system import probe as probe_module
from recovery.system.command import Command, Output
from tests.constructed_machine import (
    ConstructedMachine,
    GiB,
    PreparedRunner,
    ata_path,
    filesystem,
)
from tests.odd_machines import FOLDER, MACHINES, SAMSUNG, answer_lvm

RECORDED = sorted(FOLDER.glob("*.json"))


@pytest.fixture
def machine(tmp_path: Path) -> ConstructedMachine:
    return ConstructedMachine(tmp_path)


def known(name: str) -> Probe:
    return decode_document((FOLDER / f"{name}.json").read_bytes(), Probe)


@pytest.mark.parametrize("name", MACHINES)
def test_machine_is_probed_as_known(machine: ConstructedMachine, name: str) -> None:
    MACHINES[name](machine)
    found = machine.probe()
    assert found == known(name), "if wanted: python -m tests.odd_machines, and look at the diff"


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_documents_round_trip(path: Path) -> None:
    found = decode_document(path.read_bytes(), Probe)
    assert decode_document(encode_document(found), Probe) == found
    assert encode_document(found) + b"\n" == path.read_bytes()


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_every_disk_can_be_named(path: Path) -> None:
    found = decode_document(path.read_bytes(), Probe)
    identities = [disk.id for disk in found.machine.disks]
    assert len(set(identities)) == len(identities)
    assert all(bool(identity.serial) != bool(identity.path) for identity in identities)
    for disk in found.machine.disks:
        node = found.node_of(disk)
        assert (node is None) == (disk.id.size == 0)


def test_every_document_is_of_a_known_machine() -> None:
    recorded = {path.stem for path in RECORDED if not path.stem.startswith("recorded-")}
    assert recorded == set(MACHINES)


@pytest.mark.parametrize("name", MACHINES)
def test_nothing_but_reading_programs_is_run(machine: ConstructedMachine, name: str) -> None:
    MACHINES[name](machine)
    machine.probe()
    for command in machine.runner.ran:
        match command.argv:
            case ("udevadm", "settle", _) | ("mdadm", "--examine", _):
                pass
            case ("blkid", "--probe", "--output", "udev", "--", _):
                pass
            case ("pvs" | "lvs", "--readonly", *_):
                pass
            case ("dd", *words):
                assert not any(word.startswith("of=") for word in words)
            case argv:
                pytest.fail(f"the probe ran {argv}")
        assert command.timeout is not None


def test_nodes_lead_to_what_can_be_read_now(machine: ConstructedMachine) -> None:
    MACHINES["lvm-on-luks"](machine)
    nodes = machine.look().nodes
    assert nodes["disk0p2"] == "/dev/nvme0n1p2"
    assert nodes["disk0p2.luks"] == "/dev/mapper/nvme0n1p2_crypt"
    assert nodes["vg0.root"] == nodes["vg0.root.filesystem"] == "/dev/mapper/my--laptop-root"
    assert "vg0.idle" not in nodes


def test_stacks_lead_down_to_their_disks() -> None:
    layout = known("lvm-on-luks").layout
    root = next(node for node in layout.nodes if isinstance(node, LogicalVolume))
    assert [disk.id for disk in layout.disk_of(root.id)] == ["disk0"]
    layout = known("raid1-md").layout
    mirror = next(n for n in layout.nodes if isinstance(n, Raid) and n.level == "raid1")
    assert {disk.id for disk in layout.disk_of(mirror.id)} == {"disk0", "disk1"}


def test_array_is_the_same_whether_it_runs_or_not() -> None:
    """Recorded in a virtual machine: told by sysfs in one case and by mdadm in the other."""
    for name in ("recorded-every-bus-stacks-running", "recorded-every-bus-stacks-stopped"):
        (array,) = (node for node in known(name).layout.nodes if isinstance(node, Raid))
        assert (array.level, array.name, array.size) == ("raid1", "data", 313524224)
        assert array.on == ("disk2p1", "disk3p1")


MIRROR = "3c5a4bd1-86c1-6b1f-0d2e-5a4e2c1f0b9a"


def put_group(machine: ConstructedMachine, *nodes: str) -> None:
    group = {"vg_name": "vg", "vg_uuid": "G"}
    volume = {"lv_name": "half", "lv_uuid": "V", "lv_size": str(GiB), "lv_attr": "-wi-a-----"}
    members = [{**group, "pv_name": node} for node in nodes]
    answer_lvm(machine, members, [{**volume, "vg_uuid": "G"}])
    attributes = {"dm/name": "vg-half", "dm/uuid": "LVM-GV"}
    machine.stacked("dm-0", ("sda",), GiB, filesystem("linux_raid_member", MIRROR), attributes)


@pytest.mark.parametrize("runs", [True, False])
def test_array_over_a_disk_and_a_volume_comes_after_both(
    machine: ConstructedMachine, runs: bool
) -> None:
    machine.disk(ata_path(1, "sda"), 2 * GiB, {**SAMSUNG, **filesystem("LVM2_member", "P")})
    member = {"ID_SERIAL_SHORT": "B", **filesystem("linux_raid_member", MIRROR)}
    machine.disk(ata_path(2, "sdb"), GiB, member)
    put_group(machine, "/dev/sda")
    if runs:
        machine.stacked("md0", ("dm-0", "sdb"), GiB, attributes={"md/level": "raid1"})
    (array,) = (node for node in machine.probe().layout.nodes if isinstance(node, Raid))
    assert set(array.on) == {"disk1", "vg0.half"}


def test_group_with_a_member_on_no_disk_is_kept(machine: ConstructedMachine) -> None:
    machine.disk(ata_path(1, "sda"), 2 * GiB, {**SAMSUNG, **filesystem("LVM2_member", "P")})
    machine.disk("/devices/virtual/block/loop0", GiB, filesystem("LVM2_member", "Q"))
    put_group(machine, "/dev/sda", "/dev/loop0", "[unknown]")
    (group,) = (node for node in machine.probe().layout.nodes if isinstance(node, VolumeGroup))
    assert group.on == ("disk0",)


def test_every_bus_is_told_apart() -> None:
    disks = known("recorded-every-bus-stacks-running").machine.disks
    told = {disk.id.serial or disk.id.path: disk.transport for disk in disks}
    assert told == {
        "SATA0001": "ata",
        "SATA0002": "ata",
        "NVME0001": "nvme",
        "MEGA0001": "scsi",
        "SCSI0001": "scsi",
        "USB0001": "usb",
        "pci-0000:00:04.0": "virtio",
        "pci-0000:00:09.0": "virtio",
    }


def test_running_live_medium_is_in_use_and_protection_is_no_problem() -> None:
    medium, target, store = known("live-medium").machine.disks
    assert medium.uses == ("live medium",)
    assert target.read_only
    assert target.uses == ()
    assert target.problem == ""
    assert store.uses == ("mounted on /run/recovery/media/My Passport",)


def test_extended_partition_is_left_out_and_active_one_marked() -> None:
    partitions = known("mbr-logical").layout.partitions("disk0")
    assert [partition.number for partition in partitions] == [1, 5, 6, 3]
    assert [partition.attributes for partition in partitions] == [1, 0, 0, 0]
    assert {partition.type for partition in partitions} == {"83", "82", "0c"}


def test_partition_starts_are_bytes_on_any_sector_size() -> None:
    first = known("native-4k").layout.partitions("disk0")[0]
    assert isinstance(first, Partition)
    assert first.start == 4 << 20
    table = known("native-4k").layout.table("disk0")
    assert table is not None
    assert table.entries == 256
    assert table.boot_code.startswith(b"\xeb\x63\x90\x10")


def test_closed_luks_is_not_opened() -> None:
    (luks,) = (n for n in known("locked-luks-without-tools").layout.nodes if isinstance(n, Luks))
    assert (luks.version, luks.opened) == (1, "")


def test_disk_that_hangs_delays_nobody_for_long(
    machine: ConstructedMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_module, "ANSWER_TIMEOUT", 0.2)
    released = threading.Event()

    class HangingRunner(PreparedRunner):
        def run(self, command: Command) -> Output:
            if "if=/dev/sda" in command.argv:
                released.wait(60)
            return super().run(command)

        def stream(self, command: Command) -> Iterator[str]:
            return super().stream(command)

    machine.runner = HangingRunner()
    machine.disk(ata_path(1, "sda"), GiB, {"ID_SERIAL_SHORT": "HANGS"})
    machine.disk(ata_path(2, "sdb"), GiB, SAMSUNG)
    try:
        first, second = machine.probe().machine.disks
    finally:
        released.set()
    assert first.problem == "does not answer"
    assert second.problem == ""


def test_silent_disk_is_not_asked_again(machine: ConstructedMachine) -> None:
    MACHINES["sick-disks"](machine)
    machine.udev.clear()
    machine.probe()
    asked = [command.argv[-1] for command in machine.runner.ran if command.argv[0] == "blkid"]
    assert asked == ["/dev/sde"]


def test_root_without_any_devices_is_a_machine_without_disks(tmp_path: Path) -> None:
    found = probe_module.probe(PreparedRunner(), tmp_path, tmp_path, lambda subsystem: {})
    assert found.machine.disks == ()
    assert found.machine.processors == 1
