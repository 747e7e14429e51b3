"""System calls on image files; block devices are covered in tests/programs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery.errors import UsageError
from recovery.system import block_device


@pytest.mark.parametrize(
    ("node", "partition"),
    [
        ("/dev/sda", "/dev/sda3"),
        ("/dev/sdaa", "/dev/sdaa3"),
        ("/dev/vdb", "/dev/vdb3"),
        ("/dev/nvme0n1", "/dev/nvme0n1p3"),
        ("/dev/mmcblk0", "/dev/mmcblk0p3"),
        ("/dev/loop0", "/dev/loop0p3"),
        ("/dev/md127", "/dev/md127p3"),
        ("/dev/disk/by-id/ata-X_S3", "/dev/disk/by-id/ata-X_S3-part3"),
    ],
)
def test_partition_node(node: str, partition: str) -> None:
    assert block_device.partition_node(node, 3) == partition


def test_image_file_has_size_and_sectors(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    with image.open("wb") as file:
        file.truncate(12345)
    assert block_device.size_of(image) == 12345
    assert block_device.sector_sizes_of(str(image)) == (512, 512)
    assert not block_device.is_read_only(image)


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_is_no_disk_is_a_usage_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        block_device.size_of(tmp_path / name)
    with pytest.raises(UsageError):
        block_device.open_target(tmp_path / name)


def test_source_can_not_be_written(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(b"abc")
    fd = block_device.open_source(image)
    try:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(fd, b"x", 0)
    finally:
        os.close(fd)


@given(
    start=st.integers(0, 20_000),
    length=st.integers(0, 20_000),
    size=st.integers(0, 20_000),
    can_punch=st.booleans(),
)
def test_zero_range_zeros_that_range_only(
    tmp_path_factory: pytest.TempPathFactory, start: int, length: int, size: int, can_punch: bool
) -> None:
    image = tmp_path_factory.getbasetemp() / "zero.raw"
    image.write_bytes(b"\xff" * size)
    fd = block_device.open_target(image)
    try:
        if can_punch:
            block_device.zero_range(fd, start, length)
        else:
            block_device._write_zeros(fd, start, length)
        block_device.drop_caches(fd, start, length)
    finally:
        os.close(fd)
    expected = bytearray(b"\xff" * size)
    if length:
        expected = expected.ljust(start + length, b"\0")
        expected[start : start + length] = bytes(length)
    assert image.read_bytes() == bytes(expected)


def test_zeroed_image_takes_no_space(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(b"\xff" * 1_048_576)
    fd = block_device.open_target(image)
    try:
        block_device.zero_range(fd, 0, 1_048_576)
        os.fsync(fd)
        assert os.fstat(fd).st_blocks == 0
    finally:
        os.close(fd)


def test_image_file_needs_no_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_device, "RELEASED", tmp_path / "released")
    image = tmp_path / "disk.raw"
    image.write_bytes(b"x")
    block_device.release(image)
    block_device.protect(image)
    assert not (tmp_path / "released").exists()
