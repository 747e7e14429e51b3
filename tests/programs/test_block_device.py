"""System calls on a loop device, with blockdev as the oracle."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from recovery.errors import Refused
from recovery.system import block_device

pytestmark = [
    pytest.mark.programs,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root"),
]

SIZE = 8 * 1024 * 1024


@pytest.fixture(params=[512, 4096])
def loop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    image = tmp_path / "disk.raw"
    image.write_bytes(b"\xff" * SIZE)
    done = subprocess.run(
        ["losetup", "--find", "--show", "--sector-size", str(request.param), str(image)],
        check=True,
        capture_output=True,
        text=True,
    )
    node = done.stdout.strip()
    # The kernel keeps the flag of a loop device beyond its life.
    subprocess.run(["blockdev", "--setrw", node], check=True)
    yield node
    subprocess.run(["blockdev", "--setrw", node], check=True)
    subprocess.run(["losetup", "--detach", node], check=True)


@pytest.fixture(autouse=True)
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "released"
    monkeypatch.setattr(block_device, "RELEASED", folder)
    return folder


def blockdev(option: str, node: str) -> int:
    done = subprocess.run(["blockdev", option, node], check=True, capture_output=True, text=True)
    return int(done.stdout or 0)


def test_sizes_agree_with_blockdev(loop: str) -> None:
    assert block_device.size_of(loop) == blockdev("--getsize64", loop) == SIZE
    sectors = (blockdev("--getss", loop), blockdev("--getpbsz", loop))
    assert block_device.sector_sizes_of(loop) == sectors


def test_protect_and_release(loop: str, released: Path) -> None:
    mark = released / Path(loop).name
    subprocess.run(["blockdev", "--setro", loop], check=True)
    assert block_device.is_read_only(loop)
    with pytest.raises(Refused, match="protected"):
        block_device.open_target(loop)
    block_device.release(loop)
    assert mark.exists()
    assert blockdev("--getro", loop) == 0
    os.close(block_device.open_target(loop))
    block_device.protect(loop)
    assert not mark.exists()
    assert blockdev("--getro", loop) == 1


def test_claimed_disk_is_refused(loop: str) -> None:
    first = block_device.open_target(loop)
    try:
        with pytest.raises(Refused, match="in use"):
            block_device.open_target(loop)
        os.close(block_device.open_source(loop))
    finally:
        os.close(first)


def test_mounted_disk_is_refused(loop: str, tmp_path: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", loop], check=True)
    folder = tmp_path / "mounted"
    folder.mkdir()
    subprocess.run(["mount", loop, str(folder)], check=True)
    try:
        with pytest.raises(Refused, match="in use"):
            block_device.open_target(loop)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    ("start", "length"), [(0, SIZE), (100, 50), (512, 8192), (4000, 100_001), (SIZE - 7, 7)]
)
def test_zero_range_zeros_that_range_only(loop: str, start: int, length: int) -> None:
    fd = block_device.open_target(loop)
    try:
        block_device.zero_range(fd, start, length)
        block_device.drop_caches(fd, start, length)
        block_device.flush_buffers(fd)
        content = os.pread(fd, SIZE, 0)
    finally:
        os.close(fd)
    expected = bytearray(b"\xff" * SIZE)
    expected[start : start + length] = bytes(length)
    assert content == bytes(expected)
