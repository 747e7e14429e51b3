"""The command line fixup: input text -> edited text."""

from __future__ import annotations

import pytest

from recovery.adapt.kernel_command_line import (
    GRUB_DEFAULTS,
    KERNEL_INSTALL,
    fix_command_line,
    grub_command_line,
)
from recovery.adapt.names import device_names
from tests.builders import make_layout

ROOT = "UUID=99999999-8888-4777-8666-555555555555"
NAMES = device_names(make_layout(), {"disk0": "/dev/sda"}, "")


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        (
            GRUB_DEFAULTS,
            'GRUB_CMDLINE_LINUX="root=/dev/sda2 ro"',
            f'GRUB_CMDLINE_LINUX="root={ROOT} ro"',
        ),
        (
            GRUB_DEFAULTS,
            'GRUB_CMDLINE_LINUX="quiet resume=UUID=dead"',
            'GRUB_CMDLINE_LINUX="quiet"',
        ),
        (GRUB_DEFAULTS, "GRUB_CMDLINE_LINUX=resume=/dev/sdb1\n", "GRUB_CMDLINE_LINUX=\n"),
        (KERNEL_INSTALL, "root=/dev/sda2 quiet\n", f"root={ROOT} quiet\n"),
    ],
)
def test_parameters_are_corrected(path: str, before: str, after: str) -> None:
    (edit,) = fix_command_line(path, before, NAMES)
    assert edit.after == after


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# GRUB_CMDLINE_LINUX=root=/dev/sda2\n",
        "GRUB_DEVICE=root=/dev/sda2\n",
        f'GRUB_CMDLINE_LINUX="root={ROOT} resume=/dev/mapper/vg-swap"\n',
        'GRUB_CMDLINE_LINUX="noresume cryptroot=/dev/sda2 root=UUID=dead"\n',
    ],
)
def test_other_text_stays(text: str) -> None:
    assert fix_command_line(GRUB_DEFAULTS, text, NAMES) == ()


def test_settings_of_both_variables_are_joined() -> None:
    text = "GRUB_CMDLINE_LINUX_DEFAULT='quiet splash'\nGRUB_CMDLINE_LINUX=\"console=ttyS0\"\n"
    assert grub_command_line(text) == "quiet splash console=ttyS0"
