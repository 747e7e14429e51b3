"""The medium's boot menu, for GRUB under BIOS and UEFI alike."""

from __future__ import annotations

from dataclasses import dataclass

from live_image.profile import BootMenu

KERNEL = "live/vmlinuz"
INITRD = "live/initrd.img"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the menu; `arguments` are added to those of the profile."""

    title: str
    key: str
    arguments: tuple[str, ...] = ()


ENTRIES = (
    Entry("Recovery environment", "r"),
    Entry("Recovery environment, copied to memory (the medium can be taken out)", "m", ("toram",)),
    Entry("Recovery environment, safe graphics", "g", ("nomodeset",)),
    Entry("Shell only", "s", ("recovery.screen=off",)),
)


def render_grub_config(menu: BootMenu, entries: tuple[Entry, ...] = ENTRIES) -> str:
    """The text of `grub.cfg`.

    The serial line is used if GRUB can open one: the signed GRUB for UEFI has no driver for it,
    since the firmware's own console does that, and a machine may have no serial port.
    """
    lines = [
        f"set timeout={menu.timeout}",
        "set default=0",
        "if serial --unit=0 --speed=115200; then",
        "    terminal_input console serial",
        "    terminal_output console serial",
        "else",
        "    terminal_input console",
        "    terminal_output console",
        "fi",
    ]
    for entry in entries:
        arguments = " ".join((*menu.arguments, *entry.arguments))
        lines += [
            "",
            f"menuentry '{entry.title}' --hotkey={entry.key} {{",
            f"    linux /{KERNEL} {arguments}",
            f"    initrd /{INITRD}",
            "}",
        ]
    return "\n".join(lines) + "\n"
