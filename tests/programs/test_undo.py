"""A restore onto a block device: what it erases is kept, and can be put back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from recovery.cli.main import run as run_command
from recovery.errors import Refused
from recovery.model.size import MiB
from tests.images import run

pytestmark = [
    pytest.mark.programs,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root"),
]

SIZE = 64 * MiB
OLD = "label: gpt\nsize=8MiB, name=precious\nsize=16MiB, name=dear\n"
NEW = "label: gpt\nsize=16MiB, name=root\n"


def write_table(image: Path, script: str) -> str:
    run("sfdisk", "-q", image, stdin=script)
    return run("sfdisk", "--json", image)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[tuple[str, Path, str]]:
    """A loop device, the file behind it, and what sfdisk says of its table."""
    image = tmp_path / "old.img"
    image.write_bytes(b"\x5a" * SIZE)
    table = write_table(image, OLD)
    node = run("losetup", "--find", "--show", image).strip()
    try:
        yield node, image, table
    finally:
        run("losetup", "--detach", node)


@pytest.fixture
def repository(tmp_path: Path) -> str:
    source = tmp_path / "source.img"
    source.write_bytes(bytes(SIZE // 2))
    write_table(source, NEW)
    folder = str(tmp_path / "repository")
    assert run_command(["init", "-r", folder, "--no-passphrase"]) == 0
    assert run_command(["capture", str(source), "-r", folder]) == 0
    return folder


def restore(node: str, repository: str, *words: str) -> int:
    options = ("--keep-sizes", "--no-adapt", "-r", repository)
    return run_command(["restore", "latest", "--to", node, *options, *words])


def token_in(talk: str) -> str:
    return talk.rpartition("--erase ")[2].split()[0]


def test_what_is_erased_can_be_put_back(
    target: tuple[str, Path, str],
    repository: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node, image, old_table = target
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    before = image.read_bytes()
    capsys.readouterr()
    assert restore(node, repository) == Refused.exit_code
    assert image.read_bytes() == before
    token = token_in(capsys.readouterr().err)
    assert restore(node, repository, "--erase", token) == 0, capsys.readouterr().err
    run("sync")
    assert '"name": "root"' in run("sfdisk", "--json", image)

    (undo,) = tmp_path.glob("state/recovery/sessions/*/undo")
    first, last = ((undo / name).read_bytes() for name in ("first.bin", "last.bin"))
    assert (first, last) == (before[:MiB], before[-MiB:])
    with image.open("r+b") as file:
        file.write(first)
        file.seek(-MiB, os.SEEK_END)
        file.write(last)
    assert run("sfdisk", "--json", image) == old_table


def test_a_filesystem_with_errors_comes_back_but_is_not_grown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, repository = tmp_path / "source.img", ("-r", str(tmp_path / "repository"))
    source.write_bytes(bytes(48 * MiB))
    write_table(source, "label: gpt\nsize=40MiB, type=linux\n")
    run("mke2fs", "-q", "-F", "-t", "ext4", "-E", f"offset={MiB}", source, "40m")
    run("debugfs", "-w", "-R", "clri <2>", f"{source}?offset={MiB}")
    assert run_command(["init", *repository, "--no-passphrase"]) == 0
    assert run_command(["capture", str(source), *repository]) == 0
    larger = tmp_path / "larger.img"
    larger.write_bytes(bytes(2 * SIZE))
    node = run("losetup", "--find", "--show", larger).strip()
    try:
        words = ["restore", "latest", "--to", node, "--no-adapt", *repository]
        assert run_command(words) == Refused.exit_code
        token = token_in(capsys.readouterr().err)
        assert run_command([*words, "--erase", token]) == 0, capsys.readouterr().err
        talk = capsys.readouterr().err
        assert "has errors and was not grown" in talk
        assert "but see the warnings" in talk
        assert "read back, all as captured" in talk
    finally:
        run("losetup", "--detach", node)
