"""The probe on the machine that the tests run on, and its readers against real tools."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recovery.format.document import decode_document, encode_document
from recovery.model.layout import Filesystem, LogicalVolume, Partition, Swap, VolumeGroup
from recovery.model.machine import DiskId
from recovery.model.probe import Probe
from recovery.system.block_tree import BlockDevice, with_contents
from recovery.system.command import Command, Output, SystemRunner
from recovery.system.in_use import Usage
from recovery.system.lvm import probe_groups
from recovery.system.probe import probe
from recovery.system.stack import Found, stack_up

pytestmark = pytest.mark.programs

MiB = 1 << 20
GUID = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def run(*argv: str, stdin: str = "") -> str:
    done = subprocess.run(argv, check=True, capture_output=True, text=True, input=stdin)
    return done.stdout


def listed_by_lsblk() -> dict[str, dict[str, Any]]:
    columns = "NAME,PATH,TYPE,SIZE,LOG-SEC,PHY-SEC,ROTA,RM,RO,SERIAL"
    answer = json.loads(run("lsblk", "--json", "--bytes", "--nodeps", "--output", columns))
    virtual = ("loop", "ram", "zram", "sr", "fd", "nbd", "md")
    return {
        row["path"]: row
        for row in answer["blockdevices"]
        if row["type"] == "disk" and row["size"] and not row["name"].startswith(virtual)
    }


def test_this_machine_agrees_with_lsblk() -> None:
    found = probe(SystemRunner())
    expected = listed_by_lsblk()
    assert {disk.node for disk in found.machine.disks} == set(expected)
    for disk in found.machine.disks:
        row = expected[disk.node]
        assert disk.id.size == row["size"]
        assert (disk.logical_sector, disk.physical_sector) == (row["log-sec"], row["phy-sec"])
        assert (disk.rotational, disk.removable) == (row["rota"], row["rm"])
        assert disk.read_only == row["ro"]
    assert decode_document(encode_document(found), Probe) == found


def test_this_machine_is_mounted_somewhere() -> None:
    source = run("findmnt", "--noheadings", "--output", "SOURCE", "/").strip()
    disks = {disk.node: disk for disk in probe(SystemRunner()).machine.disks}
    if source not in disks:
        pytest.skip(f"/ is on {source}, which is no whole disk")
    assert "mounted on /" in disks[source].uses


def test_memory_and_processors_agree_with_the_system() -> None:
    machine = probe(SystemRunner()).machine
    assert machine.memory == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert machine.processors == os.cpu_count()


class ImageRunner(SystemRunner):
    """Lets blkid look into a part of an image instead of a partition's node."""

    def __init__(self, image: Path, windows: dict[str, tuple[int, int]]) -> None:
        self.image = image
        self.windows = windows

    def run(self, command: Command) -> Output:
        node = command.argv[-1]
        if node not in self.windows:
            return super().run(replace(command, argv=(*command.argv[:-1], str(self.image))))
        start, size = self.windows[node]
        part = self.image.with_suffix(f".{Path(node).name}")
        with self.image.open("rb") as source, part.open("wb") as target:
            source.seek(start)
            target.write(source.read(size))
        return super().run(replace(command, argv=(*command.argv[:-1], str(part))))


def block_device(name: str, size: int, *, disk: str = "", number: int = 0, start: int = 0) -> Any:
    return BlockDevice(
        name=name,
        node=f"/dev/{name}",
        number="8:0",
        path=f"/devices/{name}",
        disk=disk,
        partition=number,
        start=start,
        size=size,
        logical_sector=512,
        physical_sector=512,
        rotational=False,
        removable=False,
        read_only=False,
        slaves=(),
        attributes={},
        properties={},
    )


def test_filesystems_of_mkfs_are_found_through_blkid(tmp_path: Path) -> None:
    """Without udev; partition entries need a partition's node and are covered in a VM."""
    image = tmp_path / "disk.raw"
    with image.open("wb") as file:
        file.truncate(64 * MiB)
    script = f"label: gpt\nsize=20M, type={GUID}\nsize=10M, type=S\nsize=20M, type=U\n"
    run("sfdisk", "--quiet", str(image), stdin=script)
    rows = json.loads(run("sfdisk", "--json", str(image)))["partitiontable"]["partitions"]
    tree = {"sdx": block_device("sdx", 64 * MiB)}
    windows = {}
    for number, row in enumerate(rows, start=1):
        start, size = row["start"] * 512, row["size"] * 512
        name = f"sdx{number}"
        tree[name] = block_device(name, size, disk="sdx", number=number, start=start)
        windows[f"/dev/{name}"] = (start, size)
    for number, argv in enumerate(
        (
            ("mkfs.ext4", "-q", "-L", "my disk ü"),
            ("mkswap", "--label", "swap"),
            ("mkfs.vfat", "-n", "EFI"),
        ),
        start=1,
    ):
        start, size = windows[f"/dev/sdx{number}"]
        part = tmp_path / "part.raw"
        part.write_bytes(bytes(size))
        run(*argv, str(part))
        with image.open("r+b") as file:
            file.seek(start)
            file.write(part.read_bytes())

    looked_at = with_contents(ImageRunner(image, windows), tree, silent=())
    identity = DiskId("", "X", 64 * MiB)
    layout = stack_up(
        Found(looked_at, {"sdx": identity}, {}, (), {}, Usage({}, frozenset()))
    ).layout
    table = layout.table("disk0")
    assert table is not None
    assert table.scheme == "gpt"
    assert table.identifier == run("blkid", "-p", "-o", "value", "-s", "PTUUID", str(image)).strip()
    partitions = [node for node in layout.nodes if isinstance(node, Partition)]
    assert [(part.start, part.size) for part in partitions] == list(windows.values())
    filesystems = {node.kind: node for node in layout.nodes if isinstance(node, Filesystem)}
    assert filesystems["ext4"].label == "my disk ü"
    assert filesystems["vfat"].label == "EFI"
    assert [node.label for node in layout.nodes if isinstance(node, Swap)] == ["swap"]


@pytest.fixture
def physical_volume(tmp_path: Path) -> Iterator[str]:
    image = tmp_path / "pv.raw"
    with image.open("wb") as file:
        file.truncate(64 * MiB)
    node = run("losetup", "--find", "--show", str(image)).strip()
    run("blockdev", "--setrw", node)
    yield node
    run("losetup", "--detach", node)


@pytest.mark.root
@AS_ROOT
@pytest.mark.skipif(shutil.which("vgcreate") is None, reason="needs lvm2")
def test_volume_groups_are_read_by_lvm(physical_volume: str) -> None:
    only = ("--devices", physical_volume, "--config", "global/locking_type=1")
    run("pvcreate", *only, physical_volume)
    run("vgcreate", *only, "test-group", physical_volume)
    (group,) = probe_groups(SystemRunner(), [physical_volume])
    assert (group.name, group.members) == ("test-group", (physical_volume,))
    told = run("vgs", "--devices", physical_volume, "--noheadings", "--options", "vg_uuid")
    assert group.uuid == told.strip()

    device = replace(
        block_device("sdx", 64 * MiB),
        node=physical_volume,
        properties={"ID_FS_TYPE": "LVM2_member"},
    )
    found = Found(
        {"sdx": device},
        {"sdx": DiskId("", "X", 64 * MiB)},
        {},
        (group,),
        {},
        Usage({}, frozenset()),
    )
    nodes = stack_up(found).layout.nodes
    assert [node.on for node in nodes if isinstance(node, VolumeGroup)] == [("disk0",)]
    assert not [node for node in nodes if isinstance(node, LogicalVolume)]
