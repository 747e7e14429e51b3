"""What the type of a partition says: its name, and whether it must keep its size.

Source: UEFI 2.10 table 5.7, the UAPI Discoverable Partitions Specification, Microsoft's
PARTITION_INFORMATION_GPT, GRUB's and IBM's documents; MBR types as in util-linux'
`pt-mbr-partnames.h`. GUIDs and hex digits in lower case.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PartitionType:
    """`name` in plain words; a `fixed` one never grows, a `linux` one is for Linux' own files."""

    name: str
    fixed: bool = False
    linux: bool = False


ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649"
LINUX_DATA = "0fc63daf-8483-4772-8e79-3d69d8477de4"
LINUX_ROOT_X86_64 = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"

GPT_TYPES = {
    ESP: PartitionType("EFI system partition", fixed=True),
    BIOS_BOOT: PartitionType("BIOS boot partition", fixed=True),
    "9e1a2d38-c612-4316-aa26-8b49521e5a8b": PartitionType("PReP boot partition", fixed=True),
    "e3c9e316-0b5c-4db8-817d-f92df00215ae": PartitionType("Microsoft reserved", fixed=True),
    "de94bba4-06d1-4d40-a16a-bfd50179d6ac": PartitionType("Windows recovery", fixed=True),
    "bc13c2ff-59e6-4262-a352-b275fd6f7172": PartitionType("Linux boot", fixed=True),
    "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7": PartitionType("data"),
    "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3": PartitionType("Windows dynamic disk data", fixed=True),
    "af9b60a0-1431-4f62-bc68-3311714a69ad": PartitionType("Windows dynamic disk", fixed=True),
    LINUX_DATA: PartitionType("Linux filesystem", linux=True),
    LINUX_ROOT_X86_64: PartitionType("Linux root", linux=True),
    "44479540-f297-41b2-9af7-d131d5f0458a": PartitionType("Linux root (32-bit)", linux=True),
    "b921b045-1df0-41c3-af44-4c6f280d3fae": PartitionType("Linux root (ARM64)", linux=True),
    "8484680c-9521-48c6-9c11-b0720656f69e": PartitionType("Linux /usr", linux=True),
    "933ac7e1-2eb4-4f13-b844-0e14e2aef915": PartitionType("Linux home", linux=True),
    "3b8f8425-20e0-4f3b-907f-1a25a76f98e8": PartitionType("Linux server data", linux=True),
    "4d21b016-b534-45c2-a9fb-5c16e091fd2d": PartitionType("Linux /var", linux=True),
    "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f": PartitionType("swap"),
    "e6d6d379-f507-44c2-a23c-238f2a3df928": PartitionType("LVM"),
    "a19d880f-05fc-4d3b-a006-743f0f84911e": PartitionType("Linux RAID"),
    "ca7d7ccb-63ed-4c53-861c-1742536059cc": PartitionType("LUKS"),
}

MBR_TYPES = {
    "01": PartitionType("FAT12"),
    "04": PartitionType("FAT16"),
    "06": PartitionType("FAT16"),
    "07": PartitionType("NTFS or exFAT"),
    "0b": PartitionType("FAT32"),
    "0c": PartitionType("FAT32"),
    "0e": PartitionType("FAT16"),
    "12": PartitionType("maker's recovery", fixed=True),
    "27": PartitionType("Windows recovery", fixed=True),
    "41": PartitionType("PReP boot partition", fixed=True),
    "42": PartitionType("Windows dynamic disk", fixed=True),
    "82": PartitionType("swap"),
    "83": PartitionType("Linux filesystem", linux=True),
    "8e": PartitionType("LVM"),
    "ef": PartitionType("EFI system partition", fixed=True),
    "fd": PartitionType("Linux RAID"),
}

UNKNOWN = PartitionType("partition", fixed=True)


def partition_type(type: str) -> PartitionType:
    """What is known about a type of either scheme; an unknown one keeps its size."""
    return GPT_TYPES.get(type) or MBR_TYPES.get(type) or UNKNOWN
