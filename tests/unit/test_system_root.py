"""Paths inside a mounted system never lead out of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from recovery.system.system_root import SystemRoot


@pytest.fixture
def root(tmp_path: Path) -> SystemRoot:
    folder = tmp_path / "root"
    (folder / "etc").mkdir(parents=True)
    (tmp_path / "outside").write_text("secret")
    return SystemRoot(folder)


@pytest.mark.parametrize(
    ("link", "target", "path", "place"),
    [
        ("boot", "/efi", "/boot/grub", "efi/grub"),
        ("boot", "../../../efi", "/boot/grub", "efi/grub"),
        ("etc/a", "b", "/etc/a", "etc/b"),
        ("etc/a", "../x/./y", "/etc/a", "x/y"),
        ("bin", "usr/bin", "/bin/sh", "usr/bin/sh"),
        ("etc/a", "/", "/etc/a/etc", "etc"),
    ],
)
def test_links_are_followed_inside(
    root: SystemRoot, link: str, target: str, path: str, place: str
) -> None:
    (root.folder / link).symlink_to(target)
    assert root.resolve(path) == root.folder / place


def test_the_way_up_ends_at_the_root(root: SystemRoot) -> None:
    assert root.resolve("/../../outside") == root.folder / "outside"
    assert root.read_text("../outside") is None


def test_a_loop_is_an_error(root: SystemRoot) -> None:
    (root.folder / "a").symlink_to("b")
    (root.folder / "b").symlink_to("/a")
    with pytest.raises(OSError, match="too many links"):
        root.resolve("/a")


def test_writing_follows_links_and_keeps_the_mode(root: SystemRoot) -> None:
    (root.folder / "real").write_text("old")
    (root.folder / "real").chmod(0o640)
    (root.folder / "etc/link").symlink_to("/real")
    root.write_text("/etc/link", "new \udce9")
    assert (root.folder / "etc/link").is_symlink()
    assert (root.folder / "real").read_bytes() == b"new \xe9"
    assert (root.folder / "real").stat().st_mode & 0o777 == 0o640
    assert root.read_text("/real") == "new \udce9"


def test_new_files_and_their_folders_are_made(root: SystemRoot) -> None:
    root.write_text("/etc/new/file", "text")
    assert root.names("/etc/new") == ("file",)
    assert (root.folder / "etc/new/file").stat().st_mode & 0o777 == 0o644


def test_what_is_no_file_has_no_text(root: SystemRoot) -> None:
    assert root.read_text("/etc") is None
    assert root.read_text("/nothing") is None
    assert root.names("/nothing") == ()
