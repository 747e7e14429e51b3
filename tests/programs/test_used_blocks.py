"""Nothing that a filesystem needs is left out.

Every filesystem is restored onto a disk full of poison: a block that was wrongly taken for
free shows as poison, which the filesystem's own checker or the digest of a file finds.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recovery.capture.plan import UsedBlocks, VolumeSource
from recovery.capture.sources import Source, _reading, inspect_source
from recovery.model.extent import Extent
from recovery.model.layout import DiskNode
from recovery.model.machine import DiskId
from recovery.model.size import KiB, MiB
from recovery.system.command import SystemRunner
from recovery.system.filesystem import Read, reason_not_to_trust
from tests.engine import POISON, capture_source, new_repository, restore_bytes
from tests.images import (
    KINDS,
    NOT_UNDERSTOOD,
    Kind,
    fill_image,
    filled,
    identity,
    make_filesystem,
    mounted,
    partclone_extents,
    read_image,
    run,
    status,
)
from tests.stores import MemoryStore

pytestmark = [
    pytest.mark.programs,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="loop mounts need root"),
]

DISK = "disk0"


@contextmanager
def open_image(path: Path) -> Iterator[Read]:
    with _reading(source_of(path), Extent(0, path.stat().st_size)) as read:
        yield read


def source_of(image: Path) -> Source:
    disk = DiskNode(DISK, DiskId("image file", str(image), image.stat().st_size), 512, 512)
    return Source(str(image), disk, True)


def used_of(image: Path) -> UsedBlocks:
    """What the engine takes for used, of a filesystem that fills its image."""
    ((_, blocks),) = inspect_source(SystemRunner(), source_of(image)).used
    return blocks


def restored(image: Path, work: Path) -> tuple[Path, VolumeSource]:
    """The image, captured and restored onto poison; and how it was captured."""
    repository = new_repository(MemoryStore())
    captured, volume = capture_source(
        repository, inspect_source(SystemRunner(), source_of(image)), image
    )
    target = work / "restored.img"
    target.write_bytes(restore_bytes(repository, captured.snapshot, work))
    return target, volume


KINDS_AND_OTHERS = {**KINDS, **NOT_UNDERSTOOD}


@pytest.fixture
def image(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Kind, Path]:
    kind = KINDS_AND_OTHERS[request.param]
    path = tmp_path / "source.img"
    with path.open("wb") as file:
        file.truncate(kind.size)
    make_filesystem(kind, path)
    return kind, path


@pytest.mark.parametrize("image", KINDS, ids=str, indirect=True)
def test_a_filesystem_comes_back_from_poison(image: tuple[Kind, Path], tmp_path: Path) -> None:
    kind, path = image
    before = fill_image(kind, path, tmp_path)
    assert before
    target, volume = restored(path, tmp_path)
    assert volume.coverage == "used", volume.reason
    assert volume.used.total < volume.size * 0.95, "nothing was left out, so nothing is shown"
    assert target.read_bytes().count(bytes([POISON]) * 4096) > 0
    run(*filled(kind.check, target))
    assert identity(target) == identity(path)
    assert read_image(kind, target, tmp_path, "restored") == before
    _require_equal_where_partclone_says(kind, path, target, tmp_path)


def _require_equal_where_partclone_says(kind: Kind, source: Path, target: Path, work: Path) -> None:
    extents = partclone_extents(kind.blkid, source, work / "domain")
    assert extents
    with source.open("rb") as one, target.open("rb") as other:
        for start, length in extents:
            one.seek(start)
            other.seek(start)
            assert one.read(length) == other.read(length), f"bytes from {start} differ"


@pytest.mark.parametrize(
    "image", [name for name in KINDS if name.startswith("ext")], ids=str, indirect=True
)
def test_all_blocks_that_dumpe2fs_does_not_call_free_are_kept(
    image: tuple[Kind, Path], tmp_path: Path
) -> None:
    kind, path = image
    fill_image(kind, path, tmp_path)
    talk = run("dumpe2fs", path)
    found = re.search(r"Block size:\s+(\d+)", talk)
    count = re.search(r"Block count:\s+(\d+)", talk)
    assert found and count
    block = int(found[1])
    free: set[int] = set()
    for line in re.findall(r"^  Free blocks: (.*)$", talk, re.MULTILINE):
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", line):
            free.update(range(int(first), int(last or first) + 1))
    used = used_of(path).extents
    assert used is not None
    missing = [
        number
        for number in set(range(int(count[1]))) - free
        if not (number * block in used and (number + 1) * block - 1 in used)
    ]
    assert missing == []


@pytest.mark.parametrize("image", KINDS, ids=str, indirect=True)
def test_the_first_and_last_mib_are_always_kept(image: tuple[Kind, Path]) -> None:
    """Boot code lies before a filesystem's first block, copies and other signatures at the end."""
    _, path = image
    used = used_of(path).extents
    assert used is not None
    size = path.stat().st_size
    head = used.extents[0]
    assert (head.start, head.length >= MiB) == (0, True)
    tail = used.extents[-1]
    assert tail.end >= size and tail.length >= MiB


@pytest.mark.parametrize("name", ["ext4", "xfs", "btrfs", "fat32", "ntfs", "exfat", "f2fs"])
@pytest.mark.parametrize("extra", [512, 5 * MiB])
def test_a_partition_larger_than_its_filesystem(tmp_path: Path, name: str, extra: int) -> None:
    """What lies behind the filesystem is kept, up to a MiB at either end of the rest."""
    kind = KINDS[name]
    path = tmp_path / "source.img"
    with path.open("wb") as file:
        file.truncate(kind.size)
    make_filesystem(kind, path)
    with path.open("r+b") as file:
        file.seek(kind.size)
        file.write(b"\x11" * extra)
    before = fill_image(kind, path, tmp_path)
    target, volume = restored(path, tmp_path)
    assert volume.coverage == "used", volume.reason
    # ntfsfix looks for the copy of the boot sector at the end of the partition, and warns.
    if status(*filled(kind.check, path)) == 0:
        run(*filled(kind.check, target))
    assert read_image(kind, target, tmp_path, "restored") == before
    behind = target.read_bytes()[kind.size :]
    # A filesystem may end a cluster before its last sector.
    edge = min(MiB - 64 * KiB, extra)
    assert behind[:edge] == behind[-edge:] == b"\x11" * edge


def test_the_backup_boot_sector_of_ntfs_is_kept(tmp_path: Path) -> None:
    """It is the very last sector, which no cluster covers."""
    kind = KINDS["ntfs"]
    path = tmp_path / "source.img"
    with path.open("wb") as file:
        file.truncate(kind.size + 512)
    make_filesystem(kind, path)
    target, _ = restored(path, tmp_path)
    assert path.read_bytes()[-512:].count(b"NTFS") == 1
    assert target.read_bytes()[-512:] == path.read_bytes()[-512:]


# What cannot be believed is captured whole, with the reason


@pytest.mark.parametrize("image", NOT_UNDERSTOOD, ids=str, indirect=True)
def test_what_partclone_misreads_is_captured_whole(
    image: tuple[Kind, Path], tmp_path: Path
) -> None:
    kind, path = image
    before = fill_image(kind, path, tmp_path)
    target, volume = restored(path, tmp_path)
    assert volume.coverage == "all"
    assert "FAT12" in volume.reason or "bitmap error" in volume.reason
    run(*filled(kind.check, target))
    assert read_image(kind, target, tmp_path, "restored") == before


def test_a_boot_sector_of_something_unknown_is_no_empty_table(tmp_path: Path) -> None:
    """It ends in 55 AA, too; its disk must not pass for one without content."""
    path = tmp_path / "unknown.img"
    sector = bytearray(b"\xeb\x58\x90UNKNOWN".ljust(510, b"\0") + b"\x55\xaa")
    path.write_bytes(bytes(sector) + os.urandom(4 * MiB))
    target, volume = restored(path, tmp_path)
    assert volume.coverage == "all"
    assert target.read_bytes() == path.read_bytes()


def _dirty(image: Path, name: str, work: Path) -> None:
    """A copy of the image as it is while it is mounted and written to."""
    kind = KINDS[name]
    live = work / "live.img"
    shutil.copyfile(image, live)
    with mounted(kind, live, work / "mount") as folder:
        file = os.open(folder / "late", os.O_WRONLY | os.O_CREAT)
        os.write(file, os.urandom(300_000))
        os.fsync(file)
        os.close(file)
        run("sync", "-f", folder)
        file = os.open(folder / "later", os.O_WRONLY | os.O_CREAT)
        os.write(file, os.urandom(100_000))
        os.fsync(file)
        os.close(file)
        run("dd", f"if={live}", f"of={image}", "bs=1M", "conv=sparse,notrunc", "status=none")


UNCLEAN = "not cleanly unmounted"


@pytest.mark.parametrize("image", ["ext4", "xfs", "btrfs"], ids=str, indirect=True)
def test_a_filesystem_in_use_is_captured_whole(image: tuple[Kind, Path], tmp_path: Path) -> None:
    kind, path = image
    fill_image(kind, path, tmp_path)
    _dirty(path, kind.blkid, tmp_path)
    target, volume = restored(path, tmp_path)
    assert volume.coverage == "all"
    assert UNCLEAN in volume.reason
    assert target.read_bytes() == path.read_bytes()


def test_an_ext2_that_was_not_unmounted_is_captured_whole(tmp_path: Path) -> None:
    """No journal tells it: only the missing mark of a clean unmount does."""
    path = tmp_path / "source.img"
    with path.open("wb") as file:
        file.truncate(8 * MiB)
    make_filesystem(KINDS["ext2"], path)
    run("debugfs", "-w", "-R", "set_super_value state 0", path)
    assert UNCLEAN in used_of(path).reason


@pytest.mark.parametrize(
    ("command", "words"),
    [("set_super_value state 3", "errors"), ("feature needs_recovery", UNCLEAN)],
)
def test_an_ext4_with_marks(tmp_path: Path, command: str, words: str) -> None:
    path = tmp_path / "source.img"
    with path.open("wb") as file:
        file.truncate(8 * MiB)
    make_filesystem(KINDS["ext4"], path)
    run("debugfs", "-w", "-R", command, path)
    found = used_of(path)
    assert found.extents is None and words in found.reason


def test_a_dirty_ntfs_is_captured_whole(tmp_path: Path) -> None:
    path = tmp_path / "source.img"
    with path.open("wb") as file:
        file.truncate(8 * MiB)
    make_filesystem(KINDS["ntfs"], path)
    assert used_of(path).extents is not None
    run("ntfsfix", path)  # Windows is to check it: it sets the mark.
    assert "Windows" in used_of(path).reason


@pytest.mark.parametrize("name", ["ext4", "ntfs", "f2fs", "btrfs", "fat16", "xfs", "exfat"])
def test_a_superblock_of_noise_is_no_internal_error(tmp_path: Path, name: str) -> None:
    """blkid knows it by its magic alone; what else is there may be anything."""
    kind = KINDS[name]
    path = tmp_path / "source.img"
    with path.open("wb") as file:
        file.truncate(kind.size)
    make_filesystem(kind, path)
    clean = path.read_bytes()[: 128 * KiB]
    base = {"btrfs": 64 * KiB, "ext4": KiB, "f2fs": KiB}.get(name, 0)
    for position in (0x0B, 0x0D, 0x10, 0x14, 0x30, 0x38, 0x40, 0x50):
        with path.open("r+b") as file:
            file.write(clean)
            file.seek(base + position)
            file.write(b"\xff\xff\xff\xff")
        with open_image(path) as read:
            reason_not_to_trust(kind.blkid, read)
    used_of(path)


def test_swap_keeps_its_header_only_but_a_hibernated_one_all(tmp_path: Path) -> None:
    path = tmp_path / "swap.img"
    path.write_bytes(os.urandom(4 * MiB))
    run("mkswap", "--label", "swap", path)
    target, volume = restored(path, tmp_path)
    assert identity(target) == identity(path)
    assert volume.used.total == 64 * KiB
    with path.open("r+b") as file:
        file.seek(4096 - 10)
        file.write(b"S1SUSPEND\0")
    target, volume = restored(path, tmp_path)
    assert "hibernated" in volume.reason
    assert target.read_bytes() == path.read_bytes()


def test_a_luks_container_is_captured_whole(tmp_path: Path) -> None:
    path = tmp_path / "luks.img"
    path.write_bytes(os.urandom(20 * MiB))
    run(
        "cryptsetup", "luksFormat", "--batch-mode", "--pbkdf=pbkdf2", "--pbkdf-force-iterations",
        "1000", "--key-file=-", path, stdin="secret",
    )  # fmt: skip
    target, volume = restored(path, tmp_path)
    assert "encrypted" in volume.reason
    assert target.read_bytes() == path.read_bytes()
    assert identity(target) == identity(path)


def test_nothing_that_is_known_is_captured_whole(tmp_path: Path) -> None:
    path = tmp_path / "noise.img"
    path.write_bytes(os.urandom(MiB + 700))
    target, volume = restored(path, tmp_path)
    assert volume.coverage == "all" and "no filesystem" in volume.reason
    assert target.read_bytes() == path.read_bytes()
