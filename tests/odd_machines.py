"""The odd machines, one function each; `tests/machines/<name>.json` is what the probe makes of it.

To write the documents anew after a wanted change: `python -m tests.odd_machines`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from recovery.errors import CommandFailed
from recovery.format.document import encode_document
from tests.constructed_machine import (
    ConstructedMachine,
    GiB,
    MiB,
    ata_path,
    filesystem,
    nvme_path,
    sas_path,
    usb_path,
    virtio_path,
)

FOLDER = Path(__file__).parent / "machines"

ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
LINUX = "0fc63daf-8483-4772-8e79-3d69d8477de4"
LINUX_RAID = "a19d880f-05fc-4d3b-a006-743f0f84911e"
MICROSOFT = "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"
SAMSUNG = {
    "ID_BUS": "ata",
    "ID_MODEL_ENC": "Samsung\\x20SSD\\x20860\\x20EVO\\x20500GB\\x20\\x20\\x20",
    "ID_SERIAL": "Samsung_SSD_860_EVO_500GB_S3Z2NB0K123456A",
    "ID_SERIAL_SHORT": "S3Z2NB0K123456A",
    "ID_PATH": "pci-0000:00:17.0-ata-1",
}

Make = Callable[[ConstructedMachine], None]


def guid(number: int) -> str:
    return f"{number:08x}-1111-4222-8333-444444444444"


def ahci(machine: ConstructedMachine) -> None:
    machine.controller(
        "0000:00:17.0",
        "0x010601",
        "pci:v00008086d0000A352sv00001028sd00000871bc01sc06i01",
        "ahci",
        "Intel Corporation",
        "Cannon Lake PCH SATA AHCI Controller",
    )


def card(machine: ConstructedMachine, connected: bool = True) -> None:
    path = "/devices/pci0000:00/0000:00:1f.6"
    machine.card(
        "eno1", path, "54:bf:64:00:00:01", "e1000e", "Ethernet Connection I219-LM", connected
    )
    machine.virtual_card("lo")
    machine.virtual_card("docker0")


def no_disk(machine: ConstructedMachine) -> None:
    machine.product("System manufacturer", "To Be Filled By O.E.M.")
    machine.virtual_card("lo")


def one_sata(machine: ConstructedMachine) -> None:
    machine.product("Dell Inc.", "OptiPlex 7060")
    machine.uefi(secure_boot=False)
    ahci(machine)
    card(machine)
    disk = machine.disk(
        ata_path(1, "sda"), 500_107_862_016, SAMSUNG, table=("gpt", guid(0xA)), read_only=True
    )
    machine.partition(
        disk,
        1,
        MiB,
        512 * MiB,
        filesystem("vfat", "4F5E-01A2", version="FAT32"),
        type=ESP,
        uuid=guid(0xA1),
        name="EFI System Partition",
    )
    machine.partition(
        disk,
        2,
        513 * MiB,
        457 * GiB,
        filesystem("ext4", guid(0xF2), "root disk"),
        type=LINUX,
        uuid=guid(0xA2),
    )
    machine.partition(
        disk,
        3,
        458 * GiB,
        7 * GiB,
        filesystem("swap", guid(0xF3)),
        type="0657fd6d-a4ab-43c4-84e5-0933c84b4f4f",
        uuid=guid(0xA3),
    )


def secure_boot_nvme(machine: ConstructedMachine) -> None:
    """Windows: BitLocker, GPT attributes, a recovery partition."""
    machine.product("LENOVO", "20QES1F100")
    machine.uefi(secure_boot=True)
    machine.controller(
        "0000:01:00.0",
        "0x010802",
        "pci:v0000144Dd0000A808sv0000144Dsd0000A801bc01sc08i02",
        "nvme",
        "Samsung Electronics Co Ltd",
        "NVMe SSD Controller SM981/PM981/PM983",
    )
    disk = machine.disk(
        nvme_path(0, "nvme0n1"),
        1_000_204_886_016,
        {
            "ID_MODEL": "Samsung SSD 980 PRO 1TB",
            "ID_SERIAL_SHORT": "S64DNX0R123456",
            "ID_PATH": "pci-0000:01:00.0-nvme-1",
        },
        table=("gpt", guid(0xB).upper()),
    )
    machine.partition(
        disk,
        1,
        MiB,
        100 * MiB,
        filesystem("vfat", "A00B-1C2D", "SYSTEM"),
        type=ESP,
        uuid=guid(0xB1),
        name="EFI system partition",
        flags=0x8000000000000000,
    )
    machine.partition(
        disk,
        2,
        101 * MiB,
        16 * MiB,
        type="e3c9e316-0b5c-4db8-817d-f92df00215ae",
        uuid=guid(0xB2),
        name="Microsoft reserved partition",
        flags=0x8000000000000000,
    )
    machine.partition(
        disk,
        3,
        117 * MiB,
        930 * GiB,
        {"ID_FS_TYPE": "BitLocker", "ID_FS_USAGE": "crypto"},
        type=MICROSOFT,
        uuid=guid(0xB3),
        name="Basic data partition",
    )
    machine.partition(
        disk,
        4,
        930 * GiB + 200 * MiB,
        600 * MiB,
        filesystem("ntfs", "5A1B2C3D4E5F6071"),
        type="de94bba4-06d1-4d40-a16a-bfd50179d6ac",
        uuid=guid(0xB4),
        flags=0x8000000000000001,
    )


def raid1_md(machine: ConstructedMachine) -> None:
    """A running mirror with the system on it, and an old array that is not running."""
    machine.product("Supermicro", "X11SSH-F")
    ahci(machine)
    for number, name in enumerate(("sda", "sdb"), start=1):
        disk = machine.disk(
            ata_path(number, name),
            2_000_398_934_016,
            {"ID_MODEL_ENC": "ST2000NM0055-1V4104", "ID_SERIAL_SHORT": f"ZC20AAA{number}"},
            sectors=(512, 4096),
            rotational=True,
            table=("gpt", guid(0xC00 + number)),
        )
        machine.partition(
            disk,
            1,
            MiB,
            1800 * GiB,
            filesystem("linux_raid_member", "3c5a4bd1-86c1-6b1f-0d2e-5a4e2c1f0b9a", "server:root"),
            type=LINUX_RAID,
            uuid=guid(0xC10 + number),
        )
    machine.stacked(
        "md127",
        ("sda1", "sdb1"),
        1799 * GiB,
        filesystem("ext4", guid(0xC20)),
        {"md/level": "raid1", "md/array_state": "active"},
    )
    machine.mount("md127", "/", "ext4")
    machine.disk(
        ata_path(3, "sdc"),
        4_000_787_030_016,
        {
            "ID_MODEL_ENC": "WDC\\x20WD40EFRX",
            "ID_SERIAL_SHORT": "WD-WCC7K0",
            **filesystem("linux_raid_member", "11111111-2222-3333-4444-555555555555", "nas:data"),
        },
        rotational=True,
    )
    machine.runner.answers["mdadm", "/dev/sdc"] = EXAMINED


EXAMINED = b"""/dev/sdc:
          Magic : a92b4efc
        Version : 1.2
    Feature Map : 0x0
     Array UUID : 11111111:22223333:44445555:55555555
           Name : nas:data  (local to host nas)
  Creation Time : Tue Mar  3 10:00:00 2020
     Raid Level : raid5
   Raid Devices : 3

 Avail Dev Size : 7813774336 sectors (3.64 TiB 4.00 TB)
     Array Size : 7813774336 KiB (7.28 TiB 8.00 TB)
          State : clean
"""


def lvm_on_luks(machine: ConstructedMachine) -> None:
    machine.product("Framework", "Laptop")
    machine.uefi(secure_boot=None)
    disk = machine.disk(
        nvme_path(0, "nvme0n1"),
        512_110_190_592,
        {"ID_MODEL": "WD_BLACK_SN770_512GB", "ID_SERIAL_SHORT": "23060A800123"},
        attributes={"device/model": "WD_BLACK SN770 512GB                    "},
        table=("gpt", guid(0xD)),
    )
    machine.partition(
        disk, 1, MiB, GiB, filesystem("ext4", guid(0xD1), "boot"), type=LINUX, uuid=guid(0xDA1)
    )
    machine.partition(
        disk,
        2,
        GiB + MiB,
        475 * GiB,
        filesystem("crypto_LUKS", guid(0xD2), version="2"),
        type="ca7d7ccb-63ed-4c53-861c-1742536059cc",
        uuid=guid(0xDA2),
    )
    machine.stacked(
        "dm-0",
        ("nvme0n1p2",),
        475 * GiB - 16 * MiB,
        filesystem("LVM2_member", "Yc1xkP-aaaa-bbbb-cccc-dddd-eeee-ffffff"),
        {"dm/name": "nvme0n1p2_crypt", "dm/uuid": "CRYPT-LUKS2-d2-nvme0n1p2_crypt"},
    )
    machine.stacked(
        "dm-1",
        ("dm-0",),
        100 * GiB,
        filesystem("xfs", guid(0xD3)),
        {"dm/name": "my--laptop-root", "dm/uuid": "LVM-GROUP1xxxxVOL1"},
    )
    machine.stacked(
        "dm-2",
        ("dm-0",),
        8 * GiB,
        filesystem("swap", guid(0xD4)),
        {"dm/name": "my--laptop-swap", "dm/uuid": "LVM-GROUP1xxxxVOL2"},
    )
    machine.mount("nvme0n1p1", "/boot", "ext4")
    machine.mount("dm-1", "/", "xfs")
    machine.swap("/dev/dm-2")
    group = {"vg_name": "my-laptop", "vg_uuid": "GROUP1-xxxx"}
    members = [{**group, "pv_name": "/dev/mapper/nvme0n1p2_crypt"}]
    volumes = [
        {"lv_name": "root", "lv_uuid": "VOL1", "lv_size": str(100 * GiB), "lv_attr": "-wi-ao----"},
        {"lv_name": "swap", "lv_uuid": "VOL2", "lv_size": str(8 * GiB), "lv_attr": "-wi-ao----"},
        {"lv_name": "pool", "lv_uuid": "VOL3", "lv_size": str(50 * GiB), "lv_attr": "twi-a-----"},
        {"lv_name": "idle", "lv_uuid": "VOL4", "lv_size": str(20 * GiB), "lv_attr": "-wi-------"},
    ]
    answer_lvm(machine, members, [{"vg_uuid": "GROUP1-xxxx", **volume} for volume in volumes])


def answer_lvm(
    machine: ConstructedMachine, members: list[dict[str, str]], volumes: list[dict[str, str]]
) -> None:
    for program, key, rows in (("pvs", "pv", members), ("lvs", "lv", volumes)):
        answer = json.dumps({"report": [{key: rows}]}).encode()
        machine.runner.answers[program, "--readonly"] = answer


def locked_luks_without_tools(machine: ConstructedMachine) -> None:
    """LUKS1 that is closed, and a physical volume on a machine that lacks LVM's tools."""
    machine.disk(
        ata_path(1, "sda"),
        64 * GiB,
        {**SAMSUNG, **filesystem("crypto_LUKS", guid(0xE1), version="1")},
    )
    machine.disk(
        ata_path(2, "sdb"),
        64 * GiB,
        {
            "ID_MODEL_ENC": "KINGSTON",
            "ID_SERIAL_SHORT": "50026B7",
            **filesystem("LVM2_member", "Yc1xkP-aaaa-bbbb-cccc-dddd-eeee-ffffff"),
        },
    )


def no_serial(machine: ConstructedMachine) -> None:
    """A virtual machine without udev: blkid has to look."""
    machine.product("QEMU", "Standard PC (Q35 + ICH9, 2009)")
    machine.disk(virtio_path(3, "vda"), 20 * GiB, None, rotational=True)
    machine.disk(virtio_path(4, "vdb"), 20 * GiB, None, rotational=True)
    machine.runner.answers["blkid", "/dev/vdb"] = (
        b"ID_FS_LABEL=my_data\nID_FS_LABEL_ENC=my\\x20data\nID_FS_UUID="
        + guid(0x51).encode()
        + b"\n"
        b"ID_FS_TYPE=ext4\nID_FS_USAGE=filesystem\n"
    )


def native_4k(machine: ConstructedMachine) -> None:
    """Sectors of 4096 bytes, a GPT with 256 slots, and boot code that is kept."""
    header = bytearray(8192)
    header[:4] = b"\xeb\x63\x90\x10"
    header[4096:4104] = b"EFI PART"
    header[4096 + 80 : 4096 + 84] = (256).to_bytes(4, "little")
    machine.uefi(secure_boot=False)
    disk = machine.disk(
        sas_path(1, "sda"),
        8_001_563_222_016,
        {
            "ID_BUS": "scsi",
            "ID_VENDOR_ENC": "HGST\\x20\\x20\\x20\\x20",
            "ID_MODEL_ENC": "HUH728080AL4200\\x20",
            "ID_SERIAL_SHORT": "5000cca260123456",
            "ID_SCSI_SERIAL": "2EG12ABC",
        },
        sectors=(4096, 4096),
        rotational=True,
        table=("gpt", guid(0x4)),
        head=bytes(header),
    )
    machine.partition(
        disk, 1, 4 * MiB, GiB, filesystem("vfat", "0A0B-0C0D"), type=ESP, uuid=guid(0x41)
    )
    machine.partition(
        disk, 2, 2 * GiB, 7000 * GiB, filesystem("xfs", guid(0x42)), type=LINUX, uuid=guid(0x43)
    )


def mbr_logical(machine: ConstructedMachine) -> None:
    disk = machine.disk(
        ata_path(1, "sda"), 80_026_361_856, SAMSUNG, table=("dos", "000C0FFE"), rotational=True
    )
    rows: tuple[tuple[int, int, int, str, int, dict[str, str]], ...] = (
        (1, MiB, 500 * MiB, "0x83", 0x80, filesystem("ext2", guid(0x61), "boot")),
        (2, 501 * MiB, 1024, "0x5", 0, {}),
        (5, 502 * MiB, 60 * GiB, "0x83", 0, filesystem("ext3", guid(0x65))),
        (6, 61 * GiB, 2 * GiB, "0x82", 0, filesystem("swsuspend", guid(0x66))),
        (3, 70 * GiB, 2 * GiB, "0xc", 0, filesystem("vfat", "1234-ABCD", "DATA")),
    )
    for number, start, size, type, flags, content in rows:
        uuid = f"000c0ffe-{number:02x}"
        machine.partition(disk, number, start, size, content, type=type, uuid=uuid, flags=flags)


def removable_media(machine: ConstructedMachine) -> None:
    """A stick, an SD card, a USB disk in an enclosure; an empty card reader and drives."""
    machine.disk(
        usb_path(1, "sdb"),
        15_518_924_800,
        {
            "ID_BUS": "usb",
            "ID_VENDOR_ENC": "SanDisk\\x20",
            "ID_MODEL_ENC": "Cruzer\\x20Blade\\x20\\x20\\x20",
            "ID_SERIAL": "SanDisk_Cruzer_Blade_4C530001-0:0",
            "ID_SERIAL_SHORT": "4C530001",
            **filesystem("exfat", "64A5-F009", "STICK"),
        },
        removable=True,
    )
    machine.disk(
        usb_path(2, "sdc"),
        2_000_365_289_472,
        {
            "ID_BUS": "ata",
            "ID_MODEL_ENC": "WDC\\x20WD20SPZX",
            "ID_SERIAL_SHORT": "WD-WX11",
        },
        rotational=True,
    )
    machine.disk(usb_path(3, "sdd"), 0, {"ID_MODEL_ENC": "Card\\x20Reader"}, removable=True)
    machine.disk(ata_path(6, "sr0"), 0, {"ID_MODEL_ENC": "DVD"}, removable=True)
    machine.disk("/devices/platform/floppy.0/block/fd0", 4096, {}, removable=True)
    mmc = "/devices/pci0000:00/0000:02:00.0/mmc_host/mmc0/mmc0:aaaa/block/mmcblk0"
    told = {"ID_NAME": "SL32G", "ID_PATH": "pci-0000:02:00.0-platform"}
    machine.disk(
        mmc,
        31_914_983_424,
        told,
        attributes={"device/name": "SL32G", "device/serial": "0x1a2b3c4d"},
    )
    machine.disk(f"{mmc}/mmcblk0boot0", 4 * MiB, {})
    for number in range(2):
        machine.disk(f"/devices/virtual/block/loop{number}", GiB * number, {})
    machine.disk("/devices/virtual/block/zram0", GiB, {})


def live_medium(machine: ConstructedMachine) -> None:
    """The running live system's stick, a disk to restore to, and one with a repository."""
    machine.uefi(secure_boot=True)
    live = machine.disk(
        usb_path(1, "sda"),
        8_004_304_896,
        {
            "ID_VENDOR_ENC": "Kingston",
            "ID_MODEL_ENC": "DataTraveler\\x203.0",
            "ID_SERIAL_SHORT": "60A44C41",
            **filesystem("iso9660", "2026-01-01-00-00-00-00", "RECOVERY"),
        },
        removable=True,
        read_only=True,
        table=("dos", "00112233"),
    )
    machine.partition(
        live,
        1,
        32768,
        GiB,
        filesystem("iso9660", "2026-01-01-00-00-00-00", "RECOVERY"),
        type="0xcd",
        uuid="00112233-01",
        flags=0x80,
    )
    machine.mount("sda1", "/run/live/medium", "iso9660")
    machine.disk(ata_path(1, "sdb"), 500_107_862_016, SAMSUNG, read_only=True)
    store = machine.disk(
        usb_path(2, "sdc"),
        2_000_365_289_472,
        {
            "ID_VENDOR_ENC": "WD",
            "ID_MODEL_ENC": "My\\x20Passport\\x2025E2",
            "ID_SERIAL_SHORT": "5758AB",
        },
        rotational=True,
        read_only=True,
        table=("gpt", guid(0x71)),
    )
    machine.partition(
        store,
        1,
        MiB,
        1800 * GiB,
        filesystem("ntfs", "1122334455667788", "Backups"),
        type=MICROSOFT,
        uuid=guid(0x72),
    )
    machine.mount("sdc1", "/run/recovery/media/My Passport", "fuseblk")


def odd_names(machine: ConstructedMachine) -> None:
    """Names that are huge, not ASCII, or hold control characters; a controller without driver."""
    machine.product("Ö" * 70, "X" * 70)
    machine.controller(
        "0000:3a:00.0", "0x010400", "pci:v00001000d00000097", "", "Broadcom / LSI", "SAS3008 " * 12
    )
    disk = machine.disk(
        ata_path(1, "sda"),
        GiB,
        {
            "ID_MODEL_ENC": "\\x1b[31mEvil\\x0a" + "M" * 120,
            "ID_SERIAL_SHORT": "S" * 90,
        },
        table=("gpt", guid(0x81)),
    )
    machine.partition(
        disk,
        1,
        MiB,
        GiB - 2 * MiB,
        filesystem("ext4", guid(0x83), "größe \x1b[0m und mehr"),
        type=LINUX,
        uuid=guid(0x82),
        name="données système ☃ " * 2,
    )
    machine.mount("sda1", "/mnt/" + "long folder " * 12 + "end", "ext4")


def sixty_disks(machine: ConstructedMachine) -> None:
    machine.product("HPE", "ProLiant DL380 Gen10")
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = (
        [f"sd{a}" for a in letters] + [f"sda{a}" for a in letters] + [f"sdb{a}" for a in letters]
    )
    for number, name in enumerate(names[:60]):
        machine.disk(
            sas_path(number, name),
            1_200_243_695_616,
            {
                "ID_VENDOR_ENC": "HPE",
                "ID_MODEL_ENC": "EG001200JWJNQ",
                "ID_SCSI_SERIAL": f"WFK{number:04}",
            },
            rotational=True,
        )


def same_serials(machine: ConstructedMachine) -> None:
    """Two disks behind bridges of a kind that gives every disk the same number."""
    for port, name in ((1, "sda"), (2, "sdb")):
        machine.disk(
            usb_path(port, name),
            500_107_862_016,
            {
                "ID_VENDOR_ENC": "JMicron",
                "ID_MODEL_ENC": "Tech",
                "ID_SERIAL_SHORT": "0123456789ABCDEF",
                "ID_PATH": f"pci-0000:00:14.0-usb-0:{port}:1.0-scsi-0:0:0:0",
            },
        )


def sick_disks(machine: ConstructedMachine) -> None:
    """One with read errors, one that hangs, one that is gone, one of size 0; and a good one."""
    failed = CommandFailed("could not read", hint="dd: error reading: Input/output error")
    hung = CommandFailed("could not read", hint="dd if=/dev/sdb did not end within 20 s")
    rows: tuple[tuple[str, int, bytes | Exception, str], ...] = (
        ("sda", 64 * GiB, failed, "running"),
        ("sdb", 64 * GiB, hung, "running"),
        ("sdc", 64 * GiB, bytes(8192), "offline"),
        ("sdd", 0, bytes(0), "running"),
        ("sde", 64 * GiB, bytes(8192), "running"),
    )
    for number, (name, size, head, state) in enumerate(rows, start=1):
        machine.disk(
            ata_path(number, name),
            size,
            {"ID_MODEL_ENC": "ST64", "ID_SERIAL_SHORT": f"SICK{number}"},
            head=head,
            attributes={"device/state": state},
        )


def btrfs_and_multipath(machine: ConstructedMachine) -> None:
    """A btrfs over two disks, mounted by its first; a LUN that is seen over two paths."""
    for number, name in ((1, "sda"), (2, "sdb")):
        machine.disk(
            ata_path(number, name),
            256 * GiB,
            {
                "ID_MODEL_ENC": "INTEL\\x20SSD",
                "ID_SERIAL_SHORT": f"BTY{number}",
                **filesystem("btrfs", guid(0x91), "tank"),
            },
        )
        machine.write(f"/fs/btrfs/{guid(0x91)}/devices/{name}/size", "1")
    machine.mount("sda", "/", "btrfs", root="/@", number="0:25")
    machine.mount("sda", "/home", "btrfs", root="/@home", number="0:25")
    for number, name in ((3, "sdc"), (4, "sdd")):
        machine.disk(
            sas_path(number, name),
            1024 * GiB,
            {
                "ID_VENDOR_ENC": "NETAPP",
                "ID_MODEL_ENC": "LUN",
                "ID_SCSI_SERIAL": "80BEr",
                "ID_FS_TYPE": "mpath_member",
                "ID_PATH": f"fc-0x{number:016x}-lun-0",
            },
        )
    machine.stacked(
        "dm-0", ("sdc", "sdd"), 1024 * GiB, {}, {"dm/name": "mpatha", "dm/uuid": "mpath-3600a"}
    )


MACHINES: dict[str, Make] = {
    "no-disk": no_disk,
    "one-sata": one_sata,
    "secure-boot-nvme": secure_boot_nvme,
    "raid1-md": raid1_md,
    "lvm-on-luks": lvm_on_luks,
    "locked-luks-without-tools": locked_luks_without_tools,
    "no-serial": no_serial,
    "native-4k": native_4k,
    "mbr-logical": mbr_logical,
    "removable-media": removable_media,
    "live-medium": live_medium,
    "odd-names": odd_names,
    "sixty-disks": sixty_disks,
    "same-serials": same_serials,
    "sick-disks": sick_disks,
    "btrfs-and-multipath": btrfs_and_multipath,
}


def write_documents() -> None:
    for name, make in MACHINES.items():
        with tempfile.TemporaryDirectory() as folder:
            machine = ConstructedMachine(Path(folder))
            make(machine)
            (FOLDER / f"{name}.json").write_bytes(encode_document(machine.probe()) + b"\n")


if __name__ == "__main__":
    write_documents()
