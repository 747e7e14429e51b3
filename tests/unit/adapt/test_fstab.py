"""The fstab fixup: input text -> edited text."""

from __future__ import annotations

import pytest

from recovery.adapt.fstab import PATH, absent_entries, fix_fstab
from recovery.adapt.names import device_names
from tests.builders import make_layout

ROOT = "99999999-8888-4777-8666-555555555555"
NAMES = device_names(make_layout(), {"disk0": "/dev/sda"}, "", frozenset({"uuid=feed"}))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("/dev/sda2 / ext4 defaults 0 1\n", f"UUID={ROOT} / ext4 defaults 0 1\n"),
        (
            "\t/dev/sda1\t/boot/efi vfat  umask=0077 0 2",
            "\tUUID=ABCD-1234\t/boot/efi vfat  umask=0077 0 2",
        ),
        ("UUID=dead /data ext4 defaults 0 2\n", "UUID=dead /data ext4 defaults,nofail 0 2\n"),
        ("UUID=dead none swap sw\n", "UUID=dead none swap sw,nofail\n"),
        ("LABEL=old /data ext4\n", "LABEL=old /data ext4 defaults,nofail\n"),
    ],
)
def test_entries_are_corrected(before: str, after: str) -> None:
    (edit,) = fix_fstab(before, NAMES)
    assert (edit.path, edit.before, edit.after) == (PATH, before, after)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# /dev/sda2 / ext4 defaults 0 1\n",
        f"UUID={ROOT} / ext4 errors=remount-ro 0 1\n",
        "UUID=FEED /data ext4 defaults 0 2\n",
        "UUID=dead / ext4 defaults 0 1\n",
        "UUID=dead /data ext4 noauto 0 2\n",
        "UUID=dead /data ext4 ro,nofail 0 2\n",
        "tmpfs /tmp tmpfs size=2G 0 0\n",
        "/swapfile none swap sw 0 0\n",
        "/dev/mapper/vg-home /home ext4 defaults 0 2\n",
        "server:/export /mnt nfs defaults 0 0\n",
        "//server/share /mnt cifs credentials=/root/c 0 0\n",
        "/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0\n",
        "words\n",
    ],
)
def test_other_lines_stay(text: str) -> None:
    assert fix_fstab(text, NAMES) == ()


def test_absent_filesystems_are_named() -> None:
    lines = (r"UUID=dead /my\040data ext4 defaults 0 2", "UUID=dead none swap sw")
    text = "\n".join((*lines, "UUID=dead /x ext4 noauto\n"))
    assert absent_entries(text, NAMES) == ("/my data", "swap")
