"""Other tools read what we write, and we read what they write."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from recovery.errors import DeviceFailed
from recovery.format.partition_types import ESP
from recovery.format.tables import encode_table
from recovery.model.layout import DiskNode, Partition, Table
from recovery.model.machine import DiskId
from recovery.model.size import MiB
from recovery.system import partition_table
from recovery.system.command import Command, SystemRunner
from recovery.system.partition_table import (
    inform_kernel,
    partitions_seen_by_kernel,
    partitions_seen_by_parted,
    read_layout,
    sector_size_of_image,
)
from tests.builders import SIGNATURE, make_mbr_partition, make_partition, make_table

pytestmark = pytest.mark.programs

SIZE = 64 * MiB
BOOT_CODE = bytes(range(1, 221)) * 2

GPT = make_table(boot_code=BOOT_CODE)
GPT_PARTITIONS = (
    make_partition(1, start=MiB, size=3 * MiB, type=ESP, name="EFI", attributes=1),
    make_partition(4, start=10 * MiB, size=4096 * 3, name="Größe 1"),
    make_partition(7, start=20 * MiB, size=40 * MiB, attributes=1 << 60 | 1 << 2),
)
MBR = make_table(scheme="dos", identifier=SIGNATURE, entries=4, boot_code=BOOT_CODE)
MBR_PARTITIONS = (
    make_mbr_partition(1, start=MiB, size=3 * MiB, type="07", attributes=1),
    make_mbr_partition(3, start=50 * MiB, size=8 * MiB, type="82"),
    make_mbr_partition(5, start=8 * MiB, size=10 * MiB),
    make_mbr_partition(6, start=20 * MiB, size=4096),
    make_mbr_partition(7, start=20 * MiB + 8192, size=5 * MiB, type="8e"),
)


def run(*argv: str, stdin: str = "") -> str:
    return SystemRunner().run(Command(argv, "test", stdin=stdin.encode())).text


def disk_node(sector: int = 512, size: int = SIZE) -> DiskNode:
    return DiskNode("disk0", DiskId("Model A", "SERIAL1", size), sector, sector)


def write(path: Path, table: Table, partitions: tuple[Partition, ...], sector: int) -> Path:
    with path.open("wb") as file:
        file.truncate(SIZE)
        for offset, part in encode_table(table, partitions, SIZE, sector):
            file.seek(offset)
            file.write(part)
    return path


def places(partitions: tuple[Partition, ...]) -> tuple[tuple[int, int, int], ...]:
    return tuple((part.number, part.start, part.size) for part in partitions)


def sfdisk(path: Path, sector: int, *options: str, stdin: str = "") -> str:
    """Run sfdisk on an image; it takes other sectors than 512 bytes from a device only."""
    if sector == 512:
        return run("sfdisk", *options, str(path), stdin=stdin)
    if os.geteuid():
        pytest.skip("needs root")
    node = run("losetup", "--find", "--show", f"--sector-size={sector}", str(path)).strip()
    try:
        return run("sfdisk", *options, node, stdin=stdin)
    finally:
        run("losetup", "--detach", node)


def require_same_as_sfdisk(
    path: Path, table: Table, partitions: tuple[Partition, ...], sector: int
) -> None:
    """Compare everything that sfdisk's JSON says with our values."""
    theirs = json.loads(sfdisk(path, sector, "--json"))["partitiontable"]
    assert theirs["label"] == table.scheme
    identifier = str(theirs["id"]).lower().removeprefix("0x")
    assert identifier == table.identifier
    disk = theirs["device"]
    rows = theirs.get("partitions", [])
    by_number = {int(row["node"].removeprefix(disk).lstrip("p")): row for row in rows}
    ours = {part.number: part for part in partitions}
    containers = {number for number, row in by_number.items() if row["type"] in {"5", "f"}}
    assert set(by_number) - containers == set(ours)
    for number, part in ours.items():
        row = by_number[number]
        assert (row["start"] * sector, row["size"] * sector) == (part.start, part.size)
        if table.scheme == "gpt":
            assert row["type"].lower() == part.type
            assert row["uuid"].lower() == part.identifier
            assert row.get("name", "") == part.name
        else:
            assert int(row["type"], 16) == int(part.type, 16)
            assert row.get("bootable", False) == bool(part.attributes)


CASES = [
    pytest.param(GPT, GPT_PARTITIONS, 512, id="gpt"),
    pytest.param(GPT, GPT_PARTITIONS, 4096, id="gpt-4096"),
    pytest.param(GPT, (), 512, id="gpt-empty"),
    pytest.param(make_table(entries=56), GPT_PARTITIONS, 512, id="gpt-56-entries"),
    pytest.param(make_table(entries=129), GPT_PARTITIONS, 512, id="gpt-129-entries"),
    pytest.param(make_table(entries=256), GPT_PARTITIONS, 4096, id="gpt-256-entries-4096"),
    pytest.param(MBR, MBR_PARTITIONS, 512, id="mbr"),
    pytest.param(MBR, MBR_PARTITIONS[:2], 4096, id="mbr-4096"),
    pytest.param(MBR, MBR_PARTITIONS[2:4], 512, id="mbr-logical-only"),
    pytest.param(MBR, (), 512, id="mbr-empty"),
]


@pytest.mark.parametrize(("table", "partitions", "sector"), CASES)
def test_sfdisk_reads_what_we_write(
    tmp_path: Path, table: Table, partitions: tuple[Partition, ...], sector: int
) -> None:
    path = write(tmp_path / "disk", table, partitions, sector)
    require_same_as_sfdisk(path, table, partitions, sector)
    assert "No errors" in sfdisk(path, sector, "--verify")
    if table.scheme == "gpt":
        assert sector_size_of_image(str(path)) == sector
    assert read_layout(str(path), disk_node(sector)) == (table, *partitions)


@pytest.mark.parametrize(
    ("table", "partitions", "sector"), [case for case in CASES if "4096" not in str(case.id)]
)
def test_parted_reads_what_we_write(
    tmp_path: Path, table: Table, partitions: tuple[Partition, ...], sector: int
) -> None:
    path = write(tmp_path / "disk", table, partitions, sector)
    before = path.read_bytes()
    assert partitions_seen_by_parted(str(path)) == places(partitions)
    assert path.read_bytes() == before


@pytest.mark.parametrize("entries", [56, 128, 129])
def test_sgdisk_verifies_what_we_write(tmp_path: Path, entries: int) -> None:
    path = write(tmp_path / "disk", make_table(entries=entries), GPT_PARTITIONS, 512)
    assert "No problems found" in run("sgdisk", "-v", str(path))
    assert f"Partition table holds up to {entries} entries" in run("sgdisk", "-p", str(path))
    info = run("sgdisk", "-i", "7", str(path)).lower()
    assert f"unique guid: {GPT_PARTITIONS[2].identifier}" in info
    assert "attribute flags: 1000000000000004" in info
    assert "'größe 1'" in run("sgdisk", "-i", "4", str(path)).lower()


def test_parted_refuses_a_damaged_table_and_an_empty_disk(tmp_path: Path) -> None:
    path = write(tmp_path / "disk", GPT, GPT_PARTITIONS, 512)
    with path.open("r+b") as file:
        file.seek(512 + 60)
        file.write(b"damaged")
    with pytest.raises(DeviceFailed, match="parted does not accept"):
        partitions_seen_by_parted(str(path))
    path.write_bytes(bytes(SIZE))
    with pytest.raises(DeviceFailed, match="parted does not accept"):
        partitions_seen_by_parted(str(path))


SCRIPTS = {
    "gpt": 'label: gpt\n,10M,U,\nstart=20M,size=1M,name="a b"\n7: start=40M,attrs="GUID:60"\n',
    "gpt-60-entries": "label: gpt\ntable-length: 60\n,10M,S\n60: size=5M\n",
    "gpt-first-lba": "label: gpt\nfirst-lba: 34\n,1M\n,1M\n",
    "gpt-empty": "label: gpt\n",
    "mbr": "label: dos\n,10M,L,*\n,5M,S\n",
    "mbr-logical": "label: dos\n,10M,L\n,30M,E\n,5M\n,6M,S\n,7M,8e\n",
    "mbr-extended-last": "label: dos\n1: size=10M,type=c\n4: size=40M,type=f\n,5M\n,6M\n",
    "mbr-empty": "label: dos\n",
}


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("name", SCRIPTS)
def test_we_read_what_sfdisk_writes(tmp_path: Path, name: str, sector: int) -> None:
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(SIZE)
    sfdisk(path, sector, "-q", stdin=SCRIPTS[name])
    table, partitions = layout_of(path, sector)
    assert bool(partitions) == (not name.endswith("empty"))
    require_same_as_sfdisk(path, table, partitions, sector)
    again = write(tmp_path / "again", table, partitions, sector)
    require_same_as_sfdisk(again, table, partitions, sector)


def layout_of(path: Path, sector: int) -> tuple[Table, tuple[Partition, ...]]:
    table, *partitions = read_layout(str(path), disk_node(sector))
    assert isinstance(table, Table)
    return table, tuple(part for part in partitions if isinstance(part, Partition))


def test_we_read_a_chain_out_of_order(tmp_path: Path) -> None:
    """The first logical partition is deleted and made again: it is the last of the chain now."""
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(SIZE)
    sfdisk(path, 512, "-q", stdin="label: dos\n,40M,E\nstart=20M,size=5M\n")
    sfdisk(path, 512, "-q", "-a", stdin="start=4M,size=5M\n")
    table, partitions = layout_of(path, 512)
    assert [part.start for part in partitions] == [20 * MiB, 4 * MiB]
    require_same_as_sfdisk(path, table, partitions, 512)
    again = write(tmp_path / "again", table, partitions, 512)
    require_same_as_sfdisk(again, table, partitions, 512)


def test_we_read_what_sgdisk_writes(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(SIZE)
    new = ("-n", "1:2048:+8M", "-t", "1:ef00", "-c", "1:boot ÄÖ", "-n", "9:0:+4M", "-A", "9:set:2")
    run("sgdisk", "-S", "160", *new, str(path))
    table, partitions = layout_of(path, 512)
    assert (table.entries, [part.number for part in partitions]) == (160, [1, 9])
    assert (partitions[0].name, partitions[1].attributes) == ("boot ÄÖ", 4)
    require_same_as_sfdisk(path, table, partitions, 512)


def test_a_hybrid_mbr_counts_as_gpt(tmp_path: Path) -> None:
    path = write(tmp_path / "disk", GPT, GPT_PARTITIONS, 512)
    run("sgdisk", "--hybrid", "1", str(path))
    assert read_layout(str(path), disk_node())[1:] == GPT_PARTITIONS


@pytest.mark.parametrize("filesystem", ["vfat", "ext4", "ntfs"])
def test_a_filesystem_on_the_whole_disk_is_no_table(tmp_path: Path, filesystem: str) -> None:
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(SIZE)
    force = {"vfat": ("-I",), "ext4": ("-q", "-F"), "ntfs": ("-q", "-F", "-f")}[filesystem]
    run(f"mkfs.{filesystem}", *force, str(path))
    assert read_layout(str(path), disk_node()) == ()


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[Path]:
    """An empty disk that the kernel divides into partitions."""
    if os.geteuid():
        pytest.skip("needs root")
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(SIZE)
    node = Path(run("losetup", "--find", "--show", "--partscan", str(image)).strip())
    yield node
    run("losetup", "--detach", str(node))


@pytest.mark.root
@pytest.mark.parametrize(("table", "partitions"), [(GPT, GPT_PARTITIONS), (MBR, MBR_PARTITIONS)])
def test_the_kernel_is_informed(
    loop_device: Path, table: Table, partitions: tuple[Partition, ...]
) -> None:
    write_to_device(loop_device, encode_table(table, partitions, SIZE, 512))
    inform_kernel(str(loop_device), disk_node(), SystemRunner())
    assert seen_without_container(loop_device, table) == places(partitions)
    write_to_device(loop_device, encode_table(table, partitions[:1], SIZE, 512))
    inform_kernel(str(loop_device), disk_node(), SystemRunner())
    assert partitions_seen_by_kernel(str(loop_device)) == places(partitions[:1])


@pytest.mark.root
def test_a_partition_in_use_is_not_moved(
    loop_device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_table, "BUSY_PAUSE", 0.01)
    write_to_device(loop_device, encode_table(GPT, GPT_PARTITIONS, SIZE, 512))
    inform_kernel(str(loop_device), disk_node(), SystemRunner())
    moved = (make_partition(7, start=21 * MiB, size=MiB),)
    descriptor = os.open(f"{loop_device}p7", os.O_RDWR | os.O_EXCL)
    try:
        write_to_device(loop_device, encode_table(GPT, moved, SIZE, 512))
        with pytest.raises(DeviceFailed, match=r"could not show|does not see"):
            inform_kernel(str(loop_device), disk_node(), SystemRunner())
    finally:
        os.close(descriptor)


def seen_without_container(node: Path, table: Table) -> tuple[tuple[int, int, int], ...]:
    seen = partitions_seen_by_kernel(str(node))
    return tuple(row for row in seen if table.scheme == "gpt" or row[0] != 2)


def write_to_device(node: Path, parts: tuple[tuple[int, bytes], ...]) -> None:
    descriptor = os.open(node, os.O_RDWR)
    try:
        for offset, part in parts:
            os.pwrite(descriptor, part, offset)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
