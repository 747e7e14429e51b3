"""What is on a volume, and which of its blocks are in use.

The used-block map decides what an image leaves out, so it comes from partclone, which asks the
filesystem's own library, and is not believed where the filesystem was not cleanly unmounted:
blocks that only its journal knows would be missing.

Sources: blkid(8); partclone(8), option --domain; ext4: kernel fs/ext4/ext4.h; btrfs:
include/uapi/linux/btrfs_tree.h; F2FS: include/linux/f2fs_fs.h; NTFS: layout.h of ntfs-3g.
"""

from __future__ import annotations

import re
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from recovery.errors import CommandFailed, MissingTool
from recovery.model.extent import Extent, ExtentMap
from recovery.model.layout import Filesystem, Luks, Swap
from recovery.model.size import KiB, MiB
from recovery.system.command import Command, Runner

Read = Callable[[int, int], bytes]
"""Reads `(start, length)` bytes of a volume."""

VIEW = "volume"
"""The file in the folder that `volume_view` mounts."""

PARTCLONE = {
    "ext2": "partclone.ext2",
    "ext3": "partclone.ext3",
    "ext4": "partclone.ext4",
    "xfs": "partclone.xfs",
    "btrfs": "partclone.btrfs",
    "ntfs": "partclone.ntfs",
    "vfat": "partclone.vfat",
    "exfat": "partclone.exfat",
    "f2fs": "partclone.f2fs",
    "hfsplus": "partclone.hfsplus",
    "apfs": "partclone.apfs",
    "minix": "partclone.minix",
    "reiser4": "partclone.reiser4",
    "reiserfs": "partclone.reiserfs",
    "jfs": "partclone.jfs",
    "nilfs2": "partclone.nilfs2",
    "ufs": "partclone.ufs",
    "vmfs": "partclone.vmfs",
}
"""The partclone program for each filesystem type of blkid; some are missing on some systems."""

SWAP_HEADER = 64 * KiB
"""Holds the swap header for every page size."""
EDGE = 1 * MiB
"""Bytes that are kept at both ends of a volume, and at both ends of what lies behind a filesystem
that is smaller than its partition. Boot loaders lie before the first block that some
filesystems know (btrfs leaves 64 KiB to them), NTFS keeps a copy of its boot sector behind its
end, and other signatures must read as in the source."""

_DOMAIN_LINE = re.compile(r"(0x[0-9A-Fa-f]+)\s+(0x[0-9A-Fa-f]+)\s+(\S)")


@dataclass(frozen=True, slots=True)
class Content:
    """What blkid sees on a volume; `kind` is empty where it sees nothing."""

    kind: str = ""
    usage: str = ""
    uuid: str = ""
    label: str = ""
    version: str = ""

    def node(self, on: str) -> Filesystem | Swap | Luks | None:
        """The layout node of this content on the node `on`, if it is one a layout lists."""
        match self:
            case Content(kind="swap" | "swsuspend"):
                return Swap(f"{on}s", on, self.uuid, self.label)
            case Content(kind="crypto_LUKS"):
                return Luks(f"{on}c", on, self.uuid, int(self.version or "1"))
            case Content(usage="filesystem"):
                return Filesystem(f"{on}f", on, self.kind, self.uuid, self.label)
            case _:
                return None


def identify(runner: Runner, path: str, volume: Extent) -> Content:
    """What lies in the extent `volume` of the device or image at `path`."""
    output = runner.run(
        Command(
            (
                "blkid",
                "--probe",
                f"--offset={volume.start}",
                f"--size={volume.length}",
                "--output=export",
                "--",
                path,
            ),
            purpose=f"look at the content of {path}",
            # 2: nothing found; 8: several contradicting signatures.
            accepted=frozenset({0, 2, 8}),
            timeout=60,
            package="util-linux",
        )
    )
    values = dict(line.split("=", 1) for line in output.text.splitlines() if "=" in line)
    return Content(
        values.get("TYPE", ""),
        values.get("USAGE", ""),
        values.get("UUID", ""),
        _unescape(values.get("LABEL", "")),
        values.get("VERSION", ""),
    )


def _unescape(text: str) -> str:
    # blkid -o export puts a backslash before what a shell would take as special.
    return re.sub(r"\\(.)", r"\1", text)


def reason_not_to_trust(kind: str, read: Read) -> str:
    """Why the allocation data of a filesystem cannot be believed, in words; empty if it can.

    Filesystems that are not listed here are judged by partclone itself.
    """
    match kind:
        case "ext2" | "ext3" | "ext4":
            return _ext_reason(read(1024, 1024))
        case "btrfs":
            return _btrfs_reason(read(64 * KiB, 4 * KiB))
        case "f2fs":
            return _f2fs_reason(read)
        case "ntfs":
            return _ntfs_reason(read)
        case "vfat":
            return _fat_reason(read(0, 512))
        case _:
            return ""


NOT_UNMOUNTED = "it was not cleanly unmounted"


def _ext_reason(superblock: bytes) -> str:
    (state,) = struct.unpack_from("<H", superblock, 0x3A)
    (incompatible,) = struct.unpack_from("<I", superblock, 0x60)
    is_clean, has_errors, needs_recovery = state & 0x1, state & 0x2, incompatible & 0x4
    # Without a journal only the missing mark of a clean unmount tells.
    if needs_recovery or not is_clean:
        return NOT_UNMOUNTED
    return "it has errors: run e2fsck on it" if has_errors else ""


def _btrfs_reason(superblock: bytes) -> str:
    (log_root,) = struct.unpack_from("<Q", superblock, 0x60)
    (devices,) = struct.unpack_from("<Q", superblock, 0x88)
    if devices != 1:
        return f"it spans {devices} devices"
    return NOT_UNMOUNTED if log_root else ""


_FAT12_CLUSTERS = 4096
"""A FAT with fewer clusters has, or may be taken to have, entries of 12 bits."""


def _fat_reason(boot: bytes) -> str:
    """Source: Microsoft FAT specification, section 3.5; a field of 16 bits that is 0 has a twin."""
    sector, per_cluster, reserved, fats, root = struct.unpack_from("<HBHBH", boot, 0x0B)
    total, fat = (struct.unpack_from("<H", boot, at)[0] for at in (0x13, 0x16))
    wide_total, wide_fat = struct.unpack_from("<II", boot, 0x20)
    if not sector or not per_cluster:
        return "its boot sector is not understood"
    root_sectors = -(-root * 32 // sector)
    data = (total or wide_total) - reserved - fats * (fat or wide_fat) - root_sectors
    # partclone 0.3.20 to 0.3.23 takes clusters of a FAT12 that are in use for free.
    return "it is a FAT12" if data // per_cluster < _FAT12_CLUSTERS else ""


_F2FS_SUPERBLOCK = 1024
_F2FS_UNMOUNTED = 0x1


def _f2fs_reason(read: Read) -> str:
    superblock = read(_F2FS_SUPERBLOCK, 1024)
    (log_block,) = struct.unpack_from("<I", superblock, 0x10)
    (log_segment,) = struct.unpack_from("<I", superblock, 0x14)
    (checkpoint,) = struct.unpack_from("<I", superblock, 0x4C)
    if not 9 <= log_block <= 16 or log_segment > 20:
        return "its superblock is not understood"
    block = 1 << log_block
    # Two checkpoint packs in turn, one segment each; the one with the higher version counts.
    packs = [read((checkpoint + number * (1 << log_segment)) * block, block) for number in (0, 1)]
    newest = max(packs, key=lambda pack: struct.unpack_from("<Q", pack, 0)[0])
    (flags,) = struct.unpack_from("<I", newest, 132)
    return "" if flags & _F2FS_UNMOUNTED else NOT_UNMOUNTED


_NTFS_VOLUME_RECORD = 3
_NTFS_VOLUME_INFORMATION = 0x70
_NTFS_END = 0xFFFFFFFF
_NTFS_DIRTY = 0x1


def _ntfs_reason(read: Read) -> str:
    boot = read(0, 512)
    sector, sectors_per_cluster = struct.unpack_from("<HB", boot, 0x0B)
    (mft_cluster,) = struct.unpack_from("<Q", boot, 0x30)
    (record_clusters,) = struct.unpack_from("<b", boot, 0x40)
    # Values above 0x80 are a negative power of two (clusters over 64 KiB).
    if sectors_per_cluster > 0x80:
        sectors_per_cluster = 1 << (256 - sectors_per_cluster)
    cluster = sector * sectors_per_cluster
    record = record_clusters * cluster if record_clusters > 0 else 1 << -record_clusters
    if not 512 <= cluster <= 2 * MiB or not 512 <= record <= 64 * KiB:
        return "its boot sector is not understood"
    data = read(mft_cluster * cluster + _NTFS_VOLUME_RECORD * record, record)
    flags = _ntfs_volume_flags(data)
    if flags is None:
        return "its volume record is not understood"
    return f"{NOT_UNMOUNTED}, or Windows is hibernated" if flags & _NTFS_DIRTY else ""


def _ntfs_volume_flags(record: bytes) -> int | None:
    if record[:4] != b"FILE":
        return None
    (position,) = struct.unpack_from("<H", record, 0x14)
    while position + 24 <= len(record):
        kind, length = struct.unpack_from("<II", record, position)
        if kind == _NTFS_END or length < 24:
            return None
        if kind == _NTFS_VOLUME_INFORMATION:
            (content,) = struct.unpack_from("<H", record, position + 0x14)
            at = position + content + 10
            return int.from_bytes(record[at : at + 2], "little") if at + 2 <= len(record) else None
        position += length
    return None


def xfs_reason(runner: Runner, node: str) -> str:
    """As `reason_not_to_trust`, for XFS, whose log only its own tool reads."""
    # It opens even what it only reads for writing. Its option -f is for a log in a file.
    command = Command(
        ("xfs_logprint", "-t", "--", node),
        purpose=f"read the log of the XFS on {node}",
        accepted=frozenset(range(256)),
        timeout=300,
        package="xfsprogs",
    )
    talk = runner.run(command).text
    if "<CLEAN>" in talk:
        return ""
    return NOT_UNMOUNTED if "<DIRTY>" in talk else "its log cannot be read"


def used_blocks(runner: Runner, kind: str, node: str, size: int) -> ExtentMap:
    """Bytes in use of the filesystem that begins at the start of `node` (a device or file).

    The first and last `EDGE` count as used, and as much at both ends of what lies behind the
    filesystem.
    Raises `MissingTool` where no partclone for `kind` is installed, `CommandFailed` where it
    does not accept the filesystem.
    """
    program = PARTCLONE.get(kind)
    if program is None:
        raise MissingTool(f"partclone does not know {kind}")
    with tempfile.TemporaryDirectory(prefix="recovery-") as folder:
        domain = Path(folder, "domain")
        log = str(Path(folder, "log"))
        output = ("--output", str(domain), "--logfile", log, "--quiet")
        command = Command(
            (program, "--domain", "--source", node, *output),
            purpose=f"list the used blocks of {node}",
            timeout=3600,
            package="partclone",
        )
        try:
            runner.run(command)
        except CommandFailed as error:
            # What it says on its streams is only that its log tells more.
            raise CommandFailed(error.message, hint=_last_line(Path(log)) or error.hint) from error
        return parse_domain(domain.read_text(), size)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def parse_domain(text: str, size: int) -> ExtentMap:
    """The used bytes in a partclone domain log of a volume of `size` bytes.

    The log is a ddrescue map: `+` is used, `?` is free.
    """
    extents: list[Extent] = []
    end = 0
    for line in text.splitlines():
        match = _DOMAIN_LINE.fullmatch(line.strip())
        if match is None:
            continue
        start, length = int(match[1], 16), int(match[2], 16)
        if length == 0:
            continue
        end = max(end, start + length)
        if match[3] == "+":
            extents.append(Extent(start, length))
    if not extents:
        raise CommandFailed("partclone found no used block, which cannot be")
    extents += (Extent(0, EDGE), Extent(end, EDGE), Extent(max(0, size - EDGE), EDGE))
    return ExtentMap.of(extents).within(Extent(0, size))


def swap_blocks(read: Read, size: int) -> ExtentMap | None:
    """The bytes of a swap area that matter, or `None` where it holds a hibernated system."""
    head = read(0, min(SWAP_HEADER, size))
    # The signature is in the last ten bytes of the first page (mkswap(8)).
    if head[4086:4096] not in (b"SWAPSPACE2", b"SWAP-SPACE"):
        return None
    return ExtentMap((Extent(0, len(head)),))


@contextmanager
def volume_node(runner: Runner, path: str, volume: Extent) -> Iterator[str]:
    """A file that holds just the bytes `volume` of the image file `path`, read-only, by FUSE.

    A loop device would do as well, but needs root. Raises `CommandFailed`, `MissingTool`.
    """
    with tempfile.TemporaryDirectory(prefix="recovery-") as folder:
        place = (str(volume.start), str(volume.length), folder)
        view = (sys.executable, "-m", "recovery.system.volume_view", path, *place)
        purpose = f"look inside {path}"
        runner.run(Command(view, purpose=purpose, timeout=60, package="fuse3"))
        try:
            yield str(Path(folder, VIEW))
        finally:
            unmount = ("fusermount3", "-u", "--", folder)
            runner.run(Command(unmount, purpose=purpose, timeout=60, package="fuse3"))
