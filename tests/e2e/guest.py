"""A real Debian 13 machine's disk, made once: what the end-to-end runs capture and lose.

8 GiB, GPT: BIOS boot partition, EFI system partition, ext4 root. It starts under BIOS and
UEFI on a SATA controller and, like a machine that Debian's installer set up with a lean
initramfs, nowhere else: the initramfs holds the SATA driver alone, and the EFI system
partition has no fallback path. The root holds real data, whose sums are kept outside too.

The build host needs neither vfat nor partition nodes: the root filesystem is reached by a
loop device at its offset, the EFI system partition by mtools.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from recovery.system.command import Command, SystemRunner

MIB = 1 << 20
SECTOR = 512
SIZE = 8 << 30

HOST_NAME = "ws-042"
ROOT_PASSWORD = "blue-harbour-13"
DISK_SERIAL = "OLDSATA-7731"
ROOT_UUID = "6a2f2f0e-0d7c-4f0c-9d0c-2b6d3a1f8e11"
ROOT_NODE = "/dev/sda3"
ESP_ID = "5C1A0F42"
DISK_GUID = "B7D3E0C2-58F1-4A51-9A44-0C8E3D5B9F10"

# Start and size in bytes.
BIOS_BOOT = (1 * MIB, 1 * MIB)
ESP = (2 * MIB, 256 * MIB)
ROOT = (258 * MIB, SIZE - 259 * MIB)
TABLE = f"""label: gpt
label-id: {DISK_GUID}
unit: sectors
start={BIOS_BOOT[0] // SECTOR}, size={BIOS_BOOT[1] // SECTOR}, \
type=21686148-6449-6E6F-744E-656564454649, name="bios"
start={ESP[0] // SECTOR}, size={ESP[1] // SECTOR}, \
type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="esp"
start={ROOT[0] // SECTOR}, size={ROOT[1] // SECTOR}, \
type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name="root"
"""

PACKAGES = (
    *("linux-image-amd64", "initramfs-tools", "zstd", "systemd-sysv", "udev", "dbus", "kmod"),
    *("login", "passwd", "procps", "iproute2", "e2fsprogs", "dosfstools", "fdisk"),
    *("grub-efi-amd64", "grub-efi-amd64-signed", "shim-signed", "grub-pc-bin"),
    *("attr", "acl", "libcap2-bin"),
)
APT_OPTIONS = (
    'APT::Install-Recommends "false"',
    'Acquire::Languages "none"',
    "Acquire::Retries 3",
)
LEFT_OUT = ("/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/doc/*")

FSTAB = f"""# <file system> <mount point> <type> <options> <dump> <pass>
UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1
UUID={ESP_ID[:4]}-{ESP_ID[4:]} /boot/efi vfat umask=0077 0 1
"""
GRUB_DEFAULTS = """GRUB_DEFAULT=0
GRUB_TIMEOUT=1
GRUB_DISTRIBUTOR=`( . /etc/os-release && echo ${NAME} )`
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200n8"
GRUB_TERMINAL="console serial"
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
GRUB_DISABLE_OS_PROBER=true
"""
ESP_GRUB_CONFIG = f"""search.fs_uuid {ROOT_UUID} root
set prefix=($root)'/boot/grub'
configfile $prefix/grub.cfg
"""
# Source: linux/capability.h, VFS_CAP_REVISION_2 with the effective bit, CAP_NET_RAW permitted.
NET_RAW = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
# Source: linux/posix_acl_xattr.h: version, then (tag, permissions, id) for the owner,
# user 1000, the group, the mask and others.
NOBODY = 0xFFFFFFFF
ENTRIES = ((1, 6, NOBODY), (2, 6, 1000), (4, 4, NOBODY), (16, 6, NOBODY), (32, 4, NOBODY))
SHARED_WITH_1000 = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each) for each in ENTRIES)
SHIM_NAMES = "shimx64.efi,debian,,This is the boot entry for debian\n"

# Every file of these folders is summed; a start of the machine or its repair changes none.
SUMMED = "/srv /usr /home"
SUM_FILES = f"find {SUMMED} -xdev -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum"
# Of every name: kind, mode, owner, size, target of a link, number of links, time of content.
FACTS_OF_FILES = (
    f"find {SUMMED} -xdev -not -type d -printf '%p %y %m %U %G %s %l %n %T@\\n'"
    " | LC_ALL=C sort | sha256sum"
)
FACTS_OF_ATTRIBUTES = (
    "cd / && find srv home -xdev -print0 | LC_ALL=C sort -z"
    " | xargs -0 getfattr -P -h -d -m - -e hex | sha256sum"
)


@dataclass(frozen=True, slots=True)
class GuestDisk:
    """The finished disk and what is known of it. `sums` is the SHA-256 of /root/SHA256SUMS."""

    path: Path
    sums: str
    listing: str
    attributes: str
    files: int
    seconds: float


def make_guest_disk(folder: Path) -> GuestDisk:
    """The machine's disk below `folder`, made now if its recipe was never followed there."""
    recipe = Path(__file__).read_bytes()
    place = folder / hashlib.sha256(recipe).hexdigest()[:12]
    facts = place / "facts.json"
    if not facts.exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        started = time.monotonic()
        known = _build(place, folder / "packages")
        known["seconds"] = round(time.monotonic() - started, 1)
        facts.write_text(json.dumps(known, indent=1))
    return GuestDisk(path=place / "disk.raw", **json.loads(facts.read_text()))


def copy_disk(source: Path, copy: Path) -> Path:
    """Copy a disk image, holes included."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    run("copy a disk image", "cp", "--sparse=always", "--", str(source), str(copy))
    return copy


def startup_medium(path: Path) -> Path:
    """A small disk on which UEFI's shell finds how to start the guest, in the place of NVRAM.

    The original machine starts by the NVRAM entry that its installer made; a copy of its disk
    alone does not. Source: UEFI Shell Specification 2.2, 3.3 (startup.nsh).
    """
    script = path.with_suffix(".nsh")
    lines = [f"if exist FS{n}:\\EFI\\debian\\shimx64.efi then" for n in range(4)]
    starts = [f"  FS{n}:\\EFI\\debian\\shimx64.efi" for n in range(4)]
    whole = "\r\n".join(
        f"{line}\r\n{start}\r\nendif" for line, start in zip(lines, starts, strict=True)
    )
    script.write_text(whole + "\r\n")
    with path.open("wb") as image:
        image.truncate(4 * MIB)
    run("format", "mkfs.fat", "-F", "12", str(path))
    run("copy", "mcopy", "-i", str(path), str(script), "::startup.nsh")
    return path


@contextmanager
def mount_part(disk: Path, part: tuple[int, int], folder: Path) -> Iterator[Path]:
    """The ext4 in a part (start and size in bytes) of a disk image, mounted at `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    place = f"loop,offset={part[0]},sizelimit={part[1]}"
    run("mount a disk image", "mount", "-t", "ext4", "-o", place, str(disk), str(folder))
    try:
        yield folder
    finally:
        run("unmount a disk image", "umount", str(folder))
        folder.rmdir()


def run(purpose: str, *argv: str, stdin: bytes = b"") -> str:
    """Output of a program that must succeed."""
    environment = (("DEBIAN_FRONTEND", "noninteractive"),)
    return SystemRunner().run(Command(argv, purpose, stdin, environment=environment)).text


def _build(place: Path, cache: Path) -> dict[str, object]:
    disk = place / "new.raw"
    with disk.open("wb") as image:
        image.truncate(SIZE)
    run("divide the disk", "sfdisk", "-q", str(disk), stdin=TABLE.encode())
    options = f"offset={ROOT[0]},lazy_itable_init=1,lazy_journal_init=1"
    argv = ("mke2fs", "-q", "-F", "-t", "ext4", "-U", ROOT_UUID, "-E", options)
    run("make the root filesystem", *argv, str(disk), f"{ROOT[1] // 1024}k")
    with mount_part(disk, ROOT, place / "root") as root:
        _install(root, cache, place / "early")
        _configure(root)
        _fill(root / "srv" / "archive", root / "home" / "ada")
        _leave_deleted_data(root)
        facts = _write_sums(root)
        _write_bios_boot(root, disk)
        _write_esp(root, disk, place / "esp.img")
    _check(disk)
    disk.rename(place / "disk.raw")
    return facts


def _install(root: Path, cache: Path, early: Path) -> None:
    """Debian from its packages, which are kept in `cache` for the next time."""
    cache.mkdir(parents=True, exist_ok=True)
    # As the installer's "targeted" initramfs does it: only what this machine needs.
    _write(early / "etc/initramfs-tools/conf.d/driver-policy", "MODULES=list\n")
    _write(early / "etc/initramfs-tools/conf.d/resume", "RESUME=none\n")
    _write(early / "usr/share/initramfs-tools/modules.d/this-machine", "ahci\nsd_mod\next4\n")
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory"]
    argv += ["--skip=download/empty,essential/unlink", f"--include={','.join(PACKAGES)}"]
    argv += [f"--aptopt={option}" for option in APT_OPTIONS]
    argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    argv += ["--dpkgopt=force-unsafe-io"]
    archives = "/var/cache/apt/archives"
    hooks = (f"sync-in {early} /", f'mkdir -p "$1{archives}"', f"sync-in {cache} {archives}")
    argv += [f"--setup-hook={hook}" for hook in hooks]
    argv += [f"--customize-hook=sync-out {archives} {cache}"]
    run("install Debian", *argv, "trixie", str(root))
    shutil.rmtree(early)


def _configure(root: Path) -> None:
    _write(root / "etc/fstab", FSTAB)
    _write(root / "etc/hostname", f"{HOST_NAME}\n")
    _write(root / "etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {HOST_NAME}\n")
    _write(root / "etc/machine-id", hashlib.md5(HOST_NAME.encode()).hexdigest() + "\n")
    _write(root / "etc/default/grub", GRUB_DEFAULTS)
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "boot/efi").mkdir(exist_ok=True)
    _in_guest(root, "set the password", "chpasswd", stdin=f"root:{ROOT_PASSWORD}\n".encode())
    # What grub-install puts below /boot/grub.
    for platform in ("i386-pc", "x86_64-efi"):
        modules = root / "usr/lib/grub" / platform
        target = root / "boot/grub" / platform
        target.mkdir(parents=True)
        for module in (*modules.glob("*.mod"), *modules.glob("*.lst")):
            shutil.copy(module, target)
    (root / "boot/grub/fonts").mkdir()
    shutil.copy(root / "usr/share/grub/unicode.pf2", root / "boot/grub/fonts")
    _in_guest(root, "make GRUB's environment", "grub-editenv", "/boot/grub/grubenv", "create")
    # GRUB's scripts refuse a root on a loop device, so that has the name it will have.
    as_sata = root / "etc/default/grub.d/while-built.cfg"
    _write(as_sata, f"GRUB_DEVICE={ROOT_NODE}\nGRUB_DEVICE_BOOT={ROOT_NODE}\n")
    with _devices(root):
        _in_guest(root, "make GRUB's menu", "update-grub")
    as_sata.unlink()
    assert f"root=UUID={ROOT_UUID} ro console=tty0" in (root / "boot/grub/grub.cfg").read_text()


def _fill(archive: Path, home: Path) -> None:
    """Files of many kinds, the same at every run."""
    source = random.Random(HOST_NAME)
    archive.mkdir(parents=True)
    home.mkdir(parents=True)
    for number, size in enumerate((40, 32, 24, 20, 16, 12, 12, 8, 8, 8, 4, 4, 2, 2, 1)):
        (archive / f"scan-{number:02}.raw").write_bytes(source.randbytes(size * MIB + number))
    for number, rows in enumerate((600_000, 300_000, 150_000, 75_000)):
        lines = (f"{row:08};{source.random():.6f};ws-042;measured\n" for row in range(rows))
        (archive / f"table-{number}.csv").write_text("".join(lines))
    for number in range(300):
        folder = home / f"project {number % 17}" / f"part-{number % 5}"
        folder.mkdir(parents=True, exist_ok=True)
        size = int(2 ** source.uniform(0, 17)) - 1
        data = (
            source.randbytes(size) if number % 2 else (b"lorem ipsum %d\n" % number * size)[:size]
        )
        (folder / f"note \u00e4-{number}.bin").write_bytes(data)
    os.link(archive / "scan-13.raw", home / "the same scan.raw")
    (home / "latest").symlink_to("../../srv/archive/table-0.csv")
    (home / "nowhere").symlink_to("/does/not/exist")
    (home.joinpath(os.fsdecode(b"latin-\xe9.txt"))).write_text("a name that is not UTF-8\n")
    with (archive / "sparse.img").open("wb") as sparse:
        for offset in (0, 17 * MIB + 4096, 48 * MIB):
            sparse.seek(offset)
            sparse.write(source.randbytes(70_000))
        sparse.truncate(64 * MIB)
    tool = archive / "listen"
    tool.write_bytes(source.randbytes(9000))
    tool.chmod(0o750)
    os.setxattr(tool, "security.capability", NET_RAW)
    os.setxattr(archive / "table-0.csv", "user.origin", "machine 7, \u00e4".encode())
    os.setxattr(archive / "table-1.csv", "system.posix_acl_access", SHARED_WITH_1000)
    os.chown(home, 1000, 1000)


def _leave_deleted_data(root: Path) -> None:
    """Free blocks of a used machine are not zero."""
    deleted = root / "deleted"
    with deleted.open("wb") as file:
        file.write(random.Random(0).randbytes(96 * MIB))
        os.fsync(file.fileno())
    deleted.unlink()


def _write_sums(root: Path) -> dict[str, object]:
    sums = _in_guest(root, "sum the files", "sh", "-c", f"{SUM_FILES} | tee /root/SHA256SUMS")
    listing = _in_guest(root, "list the files", "sh", "-c", FACTS_OF_FILES)
    attributes = _in_guest(root, "list the attributes", "sh", "-c", FACTS_OF_ATTRIBUTES)
    return {
        "sums": hashlib.sha256((root / "root/SHA256SUMS").read_bytes()).hexdigest(),
        "listing": listing.split()[0],
        "attributes": attributes.split()[0],
        "files": sums.count("\n"),
    }


def _write_bios_boot(root: Path, disk: Path) -> None:
    """GRUB for BIOS: the first sector, and the core in the BIOS boot partition.

    Source: GRUB's boot.S and diskboot.S, i386/pc/boot.h: in the boot sector the core's first
    sector is at 0x5c and a jump at 0x66 that only floppies need; the core's own first sector
    ends in the list of the rest, whose first entry's start is at 0x1f4.
    """
    _write(root / "boot/grub/early.cfg", ESP_GRUB_CONFIG.rsplit("configfile", 1)[0])
    argv = ("grub-mkimage", "-O", "i386-pc", "-p", "/boot/grub", "-c", "/boot/grub/early.cfg")
    modules = ("biosdisk", "part_gpt", "ext2", "search_fs_uuid", "normal", "configfile")
    _in_guest(root, "make GRUB's core", *argv, "-o", "/boot/grub/i386-pc/core.img", *modules)
    (root / "boot/grub/early.cfg").unlink()
    first = BIOS_BOOT[0] // SECTOR
    sector = bytearray((root / "usr/lib/grub/i386-pc/boot.img").read_bytes())
    sector[0x5C:0x64] = first.to_bytes(8, "little")
    sector[0x66:0x68] = b"\x90\x90"
    core = bytearray((root / "boot/grub/i386-pc/core.img").read_bytes())
    core[0x1F4:0x1FC] = (first + 1).to_bytes(8, "little")
    assert len(core) <= BIOS_BOOT[1]
    with disk.open("r+b") as image:
        image.write(sector[:440])
        image.seek(BIOS_BOOT[0])
        image.write(core)


def _write_esp(root: Path, disk: Path, esp: Path) -> None:
    """What grub-install writes by default: Debian's folder, and nothing in the fallback path."""
    with esp.open("wb") as image:
        image.truncate(ESP[1])
    run("format", "mkfs.fat", "-F", "32", "-i", ESP_ID, str(esp))
    run("make folders", "mmd", "-i", str(esp), "::EFI", "::EFI/debian")
    signed = {
        "shimx64.efi": "usr/lib/shim/shimx64.efi.signed",
        "mmx64.efi": "usr/lib/shim/mmx64.efi.signed",
        "fbx64.efi": "usr/lib/shim/fbx64.efi.signed",
        "grubx64.efi": "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
    }
    for name, source in signed.items():
        run("copy", "mcopy", "-i", str(esp), str(root / source), f"::EFI/debian/{name}")
    texts = {"grub.cfg": ESP_GRUB_CONFIG.encode(), "BOOTX64.CSV": SHIM_NAMES.encode("utf-16")}
    for name, text in texts.items():
        run("copy", "mcopy", "-i", str(esp), "-", f"::EFI/debian/{name}", stdin=text)
    run("check the EFI system partition", "fsck.fat", "-n", str(esp))
    with esp.open("rb") as source_image, disk.open("r+b") as image:
        for offset in range(0, ESP[1], MIB):
            block = source_image.read(MIB)
            if any(block):
                image.seek(ESP[0] + offset)
                image.write(block)
    esp.unlink()


def _check(disk: Path) -> None:
    run("check the partition table", "sfdisk", "-q", "--verify", str(disk))
    verdict = run("check the partition table", "sgdisk", "-v", str(disk))
    assert "No problems found" in verdict, verdict
    run("check the root filesystem", "e2fsck", "-fn", f"{disk}?offset={ROOT[0]}")


@contextmanager
def _devices(root: Path) -> Iterator[None]:
    """What grub-mkconfig looks at, as on the machine itself: its disk with its links."""
    with ExitStack() as mounts:
        for kind, name in (("tmpfs", "dev"), ("proc", "proc"), ("sysfs", "sys")):
            run("mount", "mount", "-t", kind, kind, str(root / name))
            mounts.callback(run, "unmount", "umount", str(root / name))
        loop = next(
            source
            for source, place, *_ in map(str.split, Path("/proc/mounts").read_text().splitlines())
            if place == str(root)
        )
        nodes = {loop: loop, ROOT_NODE: loop, "/dev/null": "/dev/null"}
        for node, device in nodes.items():
            status = Path(device).stat()
            os.mknod(root / node.lstrip("/"), status.st_mode, status.st_rdev)
        links = root / "dev/disk/by-uuid"
        links.mkdir(parents=True)
        (links / ROOT_UUID).symlink_to(ROOT_NODE)
        yield


def _in_guest(root: Path, purpose: str, *argv: str, stdin: bytes = b"") -> str:
    return run(purpose, "chroot", str(root), *argv, stdin=stdin)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
