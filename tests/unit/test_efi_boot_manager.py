"""Boot entries of the firmware: read, put first, never doubled, believed only when read again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from recovery.errors import DeviceFailed
from recovery.system.command import Command, Output
from recovery.system.efi_boot_manager import BootEntry, parse_boot_menu, put_first

GUID = "2a1b6f2d-7b3c-4c7f-9d0a-000000000001"
LOADER = r"\EFI\debian\shimx64.efi"
OLD_STYLE = rf"""BootCurrent: 0001
Timeout: 0 seconds
BootOrder: 0001,0003,0000
Boot0000* UiApp	FvVol(7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1)
Boot0001* UEFI QEMU DVD-ROM QM00005 	PciRoot(0x0)/Pci(0x1f,0x2)/Sata(2,65535,0)N.....YM....R,Y.
Boot0003  debian	HD(2,GPT,{GUID.upper()},0x1000,0x80000)/File({LOADER})
"""
NEW_STYLE = rf"""BootCurrent: 0001
BootOrder: 0003,0001
Boot0001* UEFI Misc Device	PciRoot(0x0)/Pci(0x3,0x0){{auto_created_boot_option}}
      dp: 02 01 0c 00 / 7f ff 04 00
Boot0003* debian	HD(2,GPT,{GUID},0x1000,0x80000)/{LOADER}
    data: 4e ac 08 81
"""
FRESH = "BootOrder: 0001\nBoot0001* UEFI Misc Device\tPciRoot(0x0)\n"


class Firmware:
    """Answers each reading of the menu with the next text; keeps the other calls."""

    def __init__(self, *menus: str) -> None:
        self.menus = list(menus)
        self.calls: list[tuple[str, ...]] = []

    def run(self, command: Command) -> Output:
        if command.argv[1:] == ("--verbose",):
            return Output(0, self.menus.pop(0).encode(), "")
        self.calls.append(command.argv)
        return Output(0, b"", "")

    def stream(self, command: Command) -> Iterator[str]:
        raise NotImplementedError


def put(firmware: Firmware) -> BootEntry:
    return put_first(firmware, "/dev/nvme0n1", 2, GUID, "debian", LOADER)


def test_both_styles_of_efibootmgr_are_read() -> None:
    old, new = parse_boot_menu(OLD_STYLE), parse_boot_menu(NEW_STYLE)
    assert old.order == ("0001", "0003", "0000")
    assert [entry.label for entry in old.entries] == [
        "UiApp",
        "UEFI QEMU DVD-ROM QM00005",
        "debian",
    ]
    assert old.entries[2] == BootEntry("0003", False, "debian", GUID, LOADER)
    assert new.entries[1] == BootEntry("0003", True, "debian", GUID, LOADER)


def test_a_new_entry_is_written_and_confirmed() -> None:
    firmware = Firmware(FRESH, NEW_STYLE)
    assert put(firmware).number == "0003"
    assert firmware.calls == [
        (
            *("efibootmgr", "--create", "--disk", "/dev/nvme0n1", "--part", "2"),
            *("--label", "debian", "--loader", LOADER),
        )
    ]


def test_an_equal_entry_is_put_first_and_not_doubled() -> None:
    firmware = Firmware(OLD_STYLE, NEW_STYLE)
    put(firmware)
    assert firmware.calls == [
        ("efibootmgr", "--bootorder", "0003,0001,0000"),
        ("efibootmgr", "--bootnum", "0003", "--active"),
    ]


def test_doubles_are_deleted() -> None:
    double = NEW_STYLE.replace("Boot0003*", "Boot0004*").split("BootOrder")[1]
    menu = NEW_STYLE + double.partition("\n")[2]
    firmware = Firmware(menu, NEW_STYLE)
    put(firmware)
    assert firmware.calls[0] == ("efibootmgr", "--bootnum", "0004", "--delete-bootnum")


@pytest.mark.parametrize("after", [FRESH, OLD_STYLE, NEW_STYLE.replace(GUID, "f" + GUID[1:])])
def test_an_entry_that_the_firmware_did_not_keep_is_an_error(after: str) -> None:
    with pytest.raises(DeviceFailed, match="did not keep"):
        put(Firmware(FRESH, after))


@pytest.mark.parametrize("text", ["", "EFI variables are not supported on this system.", "Boot\n"])
def test_other_text_has_no_entries(text: str) -> None:
    assert parse_boot_menu(text).entries == ()
