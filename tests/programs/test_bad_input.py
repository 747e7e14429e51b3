"""The table of bad input: exact exit code, one sentence, a hint, and nothing changed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from recovery.application import operations
from recovery.cli.main import run as run_command
from recovery.format import keyslot
from recovery.model.size import KiB, MiB
from recovery.repository import keys
from recovery.system import block_device
from recovery.system import probe as system_probe
from recovery.system.command import Runner
from tests.images import run, write_table

pytestmark = [pytest.mark.programs]

needs_root = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root"),
]

PASSPHRASE = "correct horse"


class Said(NamedTuple):
    """What a command said: exit code, the sentence that failed it, the hint, all of stderr."""

    code: int
    sentence: str
    hint: str
    talk: str
    stdout: str


Say = Callable[..., Said]


class Place(NamedTuple):
    """A repository with one snapshot, and its source."""

    folder: Path
    repository: Path
    source: Path
    secret: Path

    def target(self, name: str = "target.img") -> str:
        return str(self.folder / name)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """One look at this machine for all tests, and key slots that open quickly."""
    soft = keyslot.Hardness(memory=64, iterations=1, lanes=1)
    sighting: system_probe.Sighting | None = None
    look = system_probe.look

    def look_once(runner: Runner) -> system_probe.Sighting:
        nonlocal sighting
        sighting = sighting or look(runner)
        return sighting

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operations, "look", look_once)
        patch.setattr(operations.Operations.__init__, "__defaults__", (soft,))
        patch.setattr(keys, "STRONG", soft)
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, quick: None) -> Path:
    folder = tmp_path_factory.mktemp("original")
    source = folder / "source.img"
    with source.open("wb") as file:
        file.truncate(12 * MiB)
    write_table(source, "label: gpt\nsize=4MiB, name=first\nsize=5MiB, name=second\n")
    with source.open("r+b") as file:
        file.seek(MiB)
        file.write(os.urandom(MiB))
        file.seek(5 * MiB)
        file.write(os.urandom(3 * MiB))
    secret = folder / "secret"
    secret.write_text(PASSPHRASE + "\nnot this line\n")
    access = ("-r", str(folder / "repository"), "--passphrase-file", str(secret))
    assert run_command(["init", *access]) == 0
    assert run_command(["capture", str(source), *access]) == 0
    return folder


@pytest.fixture
def place(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    folder = tmp_path / "place"
    shutil.copytree(original, folder)
    place = Place(folder, folder / "repository", folder / "source.img", folder / "secret")
    monkeypatch.setenv("RECOVERY_REPOSITORY", str(place.repository))
    monkeypatch.setenv("RECOVERY_PASSPHRASE_FILE", str(place.secret))
    return place


def fingerprint(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    def command(*words: str | Path) -> Said:
        capsys.readouterr()
        code = run_command([str(word) for word in words])
        stdout, talk = capsys.readouterr()
        lines = talk.rstrip("\n").split("\n")
        hints: list[str] = []
        while lines and lines[-1].startswith("  "):
            hints.insert(0, lines.pop().strip())
        return Said(code, lines[-1] if lines else "", " ".join(hints), talk, stdout)

    return command


def require(said: Said, code: int, *words: str) -> None:
    """One sentence with `words` in it (or in the hint), a hint, the exit code, no bug."""
    assert "internal error" not in said.talk and "Traceback" not in said.talk, said.talk
    assert said.code == code, said
    assert said.sentence and not said.sentence.startswith(("[", " ")), said
    assert said.hint, f"no hint: {said}"
    for word in words:
        assert word in f"{said.sentence}\n{said.hint}", said


def refused(say: Say, place: Place, code: int, words: Sequence[str], *command: str) -> Said:
    """Run a command that must be refused and must change nothing below `place`."""
    before = fingerprint(place.folder)
    said = say(*command)
    require(said, code, *words)
    assert fingerprint(place.folder) == before, "something was changed"
    return said


# Words of the call


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("fly",), ("No such command",)),
        (("capture", "--fast"), ("No such option",)),
        (("restore", "latest"), ("--to",)),
        (("restore",), ("snapshot",)),
        (("restore", "latest", "--to", "new.img", "--size", "big"), ("not a size",)),
        (("restore", "latest", "--to", "new.img", "--size", "-5G"), ("not a size",)),
        (("restore", "latest", "--to", "new.img", "--size", "0"), ("size",)),
        (("restore", "latest", "--to", "new.img", "--size", "99999999999T"), ("size",)),
        (("restore", "latest", "--to", "new.img", "--disk", "disk7"), ("disk7", "disk0")),
        (("restore", "latest", "--to", "/dev/no-such-disk"), ("/dev/no-such-disk",)),
        (("restore", "latest", "--to", "/"), ("/",)),
        (("restore", "nothing", "--to", "new.img"), ("nothing", "no snapshot")),
        (("show", "2"), ("several",)),
        (("show", "latest", "-r", "s3://bucket/x"), ("s3://",)),
        (("show", "latest", "-r", ""), ("no repository",)),
        (("show", "latest", "--passphrase-file", "/no/such/file"), ("/no/such/file",)),
        (("show", "latest", "--passphrase-fd", "987"), ("987",)),
        (("capture", "/no/such/image"), ("/no/such/image",)),
        (("capture", "/dev/no-such-disk"), ("/dev/no-such-disk",)),
        (("capture", "/"), ("/",)),
        (("verify", "latest", "--against", "/no/such/image"), ("/no/such/image",)),
    ],
    ids=lambda value: " ".join(value)[:50],
)
def test_words_that_make_no_sense(
    say: Say, place: Place, monkeypatch: pytest.MonkeyPatch, command: Sequence[str],
    words: Sequence[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(place.folder)
    if command[:2] == ("show", "2"):
        assert say("capture", place.source).code == 0
    refused(say, place, 2, words, *command)


def test_an_empty_source(say: Say, place: Place) -> None:
    (place.folder / "empty.img").touch()
    refused(say, place, 2, ("empty",), "capture", place.target("empty.img"))


def test_a_source_that_may_not_be_read(
    say: Say, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def forbidding(path: str | Path, *arguments: int, **more: int) -> int:
        if str(path) == str(place.source):
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *arguments, **more)

    monkeypatch.setattr(os, "open", forbidding)
    before = fingerprint(place.repository)
    said = say("capture", place.source)
    require(said, 32, "may not be opened", "root")
    assert fingerprint(place.repository) == before


# The repository


@pytest.mark.parametrize("kind", ["missing", "empty", "file", "other files"])
def test_no_repository(say: Say, place: Place, kind: str) -> None:
    other = place.folder / "other"
    if kind == "file":
        other.write_bytes(b"x")
    elif kind != "missing":
        other.mkdir()
        if kind == "other files":
            (other / "letter.txt").write_text("Dear")
    for command in (("snapshots",), ("check",), ("capture", str(place.source))):
        refused(say, place, 10, ("not a repository",), *command, "-r", str(other))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("version", 99, ("version 99", "newest")), ("features", None, ("tape", "newest"))],
)
def test_a_newer_format(
    say: Say, place: Place, field: str, value: int | None, words: Sequence[str]
) -> None:
    for name in ("repo.json", "repo.copy.json"):
        document = json.loads((place.repository / name).read_text())
        document[field] = value or {"read": ["tape"], "write": [], "collect": []}
        (place.repository / name).write_text(json.dumps(document))
    for command in ("snapshots", "check"):
        refused(say, place, 10, words, command)


@pytest.mark.parametrize("secret", [b"wrong\n", b"\xff\xfe latin \xe9\n", b"\n", b"x" * 100_000])
def test_a_wrong_passphrase(say: Say, place: Place, secret: bytes) -> None:
    place.secret.write_bytes(secret)
    refused(say, place, 12, ("passphrase",), "snapshots")


def test_a_missing_passphrase(say: Say, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECOVERY_PASSPHRASE_FILE")
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    refused(say, place, 12, ("--passphrase-file",), "snapshots")


def test_a_repository_is_not_made_over_another(say: Say, place: Place) -> None:
    refused(say, place, 32, ("not empty",), "init")
    refused(say, place, 32, ("not empty",), "init", "-r", str(place.folder))
    new = ("init", "-r", place.target("new"))
    refused(say, place, 32, ("exists",), *new, "--recovery-code-file", str(place.source))
    refused(say, place, 2, ("/no/such",), *new, "--recovery-code-file", "/no/such/folder/code")
    place.secret.write_text("\n")
    refused(say, place, 2, ("empty",), *new)


def damage(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


def only(folder: Path) -> Path:
    (found,) = [path for path in folder.rglob("*") if path.is_file()]
    return found


@pytest.mark.parametrize("way", ["flipped", "cut off", "gone"])
def test_a_damaged_pack(say: Say, place: Place, way: str) -> None:
    pack = only(place.repository / "packs")
    if way == "flipped":
        damage(pack, pack.stat().st_size // 2)
    elif way == "cut off":
        os.truncate(pack, pack.stat().st_size // 2)
    else:
        pack.unlink()
    said = say("check", "--read-data")
    assert said.code == 40
    assert pack.name in said.stdout or way == "gone"
    assert "cannot be restored whole" in said.stdout
    before = fingerprint(place.repository)
    said = say("restore", "latest", "--to", place.target())
    require(said, 40, "check")
    assert fingerprint(place.repository) == before


def test_a_damaged_manifest(say: Say, place: Place) -> None:
    manifest = only(place.repository / "snapshots")
    damage(manifest, 200)
    for command in (("show", "latest"), ("restore", "latest", "--to", place.target())):
        refused(say, place, 40, ("damaged", manifest.name), *command)
    said = say("snapshots")
    assert said.code == 40 and manifest.name in said.talk
    assert say("check").code == 40


def test_a_damaged_index_costs_nothing(say: Say, place: Place) -> None:
    damage(only(place.repository / "index"), 100)
    assert say("restore", "latest", "--to", place.target()).code == 0
    said = say("check")
    assert said.code == 40 and "index/" in said.stdout and "cannot" not in said.stdout


def test_damaged_descriptions(say: Say, place: Place) -> None:
    (place.repository / "repo.json").write_text("{}")
    assert say("snapshots").code == 0
    assert say("check").code == 40
    (place.repository / "repo.copy.json").write_text("{")
    refused(say, place, 40, ("repo.json",), "snapshots")


# The target


def test_a_target_that_is_too_small(say: Say, place: Place) -> None:
    refused(say, place, 31, ("too small", "at least"), "restore", "latest", "--to",
            place.target(), "--size", "2M")  # fmt: skip
    small = place.folder / "small.img"
    small.write_bytes(bytes(3 * MiB))
    refused(say, place, 31, ("too small",), "restore", "latest", "--to", str(small), "--erase",
            str(small))  # fmt: skip


def test_an_existing_target_must_be_named(say: Say, place: Place) -> None:
    target = place.folder / "target.img"
    target.write_bytes(b"precious" * (2 * MiB))
    call = ("restore", "latest", "--to", str(target))
    said = refused(say, place, 32, ("--erase",), *call)
    assert "ERASE" in said.talk, "the plan is shown"
    refused(say, place, 32, ("serial",), *call, "--erase", "S64DNX0R")
    refused(say, place, 32, ("serial",), *call, "--erase", str(place.source))
    refused(say, place, 2, ("another size",), *call, "--size", "20M")
    assert say(*call, "--erase", str(target)).code == 0


def test_a_target_in_the_repository(say: Say, place: Place) -> None:
    pack = only(place.repository / "packs")
    os.truncate(pack, 32 * MiB)
    for target in (pack, place.repository / "new.img"):
        refused(say, place, 32, ("repository",), "restore", "latest", "--to", str(target),
                "--erase", str(target))  # fmt: skip


def test_a_target_in_no_folder(say: Say, place: Place) -> None:
    refused(say, place, 21, ("image file", "folder"), "restore", "latest", "--to",
            place.target("none/new.img"))  # fmt: skip


def test_verify_finds_what_differs(say: Say, place: Place) -> None:
    target = place.folder / "target.img"
    assert say("restore", "latest", "--to", str(target)).code == 0
    call = ("verify", "latest", "--against", str(target))
    assert say(*call).code == 0
    damage(target, 6 * MiB + 77)
    refused(say, place, 40, ("differs", "not as captured"), *call)
    damage(target, 6 * MiB + 77)
    # What is missing behind the end reads as nothing, not as zeros.
    os.truncate(target, 9 * MiB)
    refused(say, place, 40, ("not as captured",), *call)


@pytest.fixture
def small_place(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=3M", "tmpfs", folder)
    yield folder
    run("umount", folder)


@pytest.mark.usefixtures("small_place")
class TestFull:
    pytestmark = needs_root

    def test_a_target_that_is_full(self, say: Say, place: Place, small_place: Path) -> None:
        refused(say, place, 21, ("full",), "restore", "latest", "--to", str(small_place / "x.img"))

    def test_a_repository_that_is_full(self, say: Say, place: Place, small_place: Path) -> None:
        moved = small_place / "repository"
        run("mount", "-o", "remount,size=7M", small_place)
        shutil.copytree(place.repository, moved)
        noise = place.folder / "noise.img"
        noise.write_bytes(os.urandom(6 * MiB))
        objects = fingerprint(moved)
        refused(say, place, 21, ("full", "snapshots are whole"), "capture", str(noise), "-r",
                str(moved))  # fmt: skip
        assert objects.items() <= fingerprint(moved).items()
        assert say("check", "--read-data", "-r", moved).code == 0
        run("mount", "-o", "remount,size=40M", small_place)
        assert say("capture", noise, "-r", moved).code == 0

    def test_a_read_only_repository(self, say: Say, place: Place, small_place: Path) -> None:
        run("mount", "-o", "remount,size=20M", small_place)
        moved = small_place / "repository"
        shutil.copytree(place.repository, moved)
        run("mount", "-o", "remount,ro", small_place)
        noise = place.folder / "noise.img"
        noise.write_bytes(os.urandom(MiB))
        refused(say, place, 21, ("Read-only",), "capture", str(noise), "-r", str(moved))
        read = ("restore", "latest", "-r", moved, "--to", place.target())
        assert say(*read).code == 0


# Sources and devices that give up


@pytest.mark.parametrize("ending", ["error", "end"])
@pytest.mark.parametrize("call", [0, 2])
def test_a_source_that_fails_while_it_is_read(
    say: Say, place: Place, monkeypatch: pytest.MonkeyPatch, ending: str, call: int
) -> None:
    noise = place.folder / "noise.img"
    noise.write_bytes(os.urandom(20 * MiB))
    calls = 0
    preadv = os.preadv

    def failing(*arguments: object) -> int:
        nonlocal calls
        calls += 1
        if calls <= call:
            return preadv(*arguments)  # type: ignore[arg-type]
        if ending == "end":
            return 0
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "preadv", failing)
    before = fingerprint(place.repository)
    said = say("capture", noise)
    require(said, 21, "could not read", "noise.img", "no snapshot")
    monkeypatch.setattr(os, "preadv", preadv)
    assert before.items() <= fingerprint(place.repository).items()
    said = say("snapshots", "--json")
    assert len(json.loads(said.stdout)) == 1
    assert say("check", "--read-data").code == 0
    assert say("capture", noise).code == 0


def test_a_target_that_does_not_keep_what_is_written(
    say: Say, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite

    def lying(file: int, data: bytes, position: int) -> int:
        if position > 5 * MiB and len(data) > 100 * KiB:
            data = bytes(len(data))
        return pwrite(file, data, position)

    monkeypatch.setattr(os, "pwrite", lying)
    said = say("restore", "latest", "--to", place.target())
    require(said, 40, "does not read back as written")


def test_a_target_that_gives_errors(
    say: Say, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite

    def failing(file: int, data: bytes, position: int) -> int:
        if position > 5 * MiB and len(data) > 100 * KiB:
            raise OSError(errno.EIO, "Input/output error")
        return pwrite(file, data, position)

    before = fingerprint(place.repository)
    monkeypatch.setattr(os, "pwrite", failing)
    said = say("restore", "latest", "--to", place.target())
    require(said, 21, "could not write to", "not complete")
    assert fingerprint(place.repository) == before


class TestDevices:
    pytestmark = needs_root

    @pytest.fixture
    def mounted_loop(self, tmp_path: Path) -> Iterator[str]:
        image = tmp_path / "loop.img"
        with image.open("wb") as file:
            file.truncate(16 * MiB)
        run("mkfs.ext4", "-q", image)
        node = run("losetup", "--find", "--show", image).strip()
        folder = tmp_path / "mounted"
        folder.mkdir()
        run("mount", node, folder)
        yield node
        run("umount", folder)
        run("losetup", "--detach", node)

    @pytest.fixture(autouse=True)
    def released(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(block_device, "RELEASED", tmp_path / "released")

    def test_a_mounted_target(self, say: Say, place: Place, mounted_loop: str) -> None:
        call = ("restore", "latest", "--to", mounted_loop)
        before = hashlib.sha256(Path(mounted_loop).read_bytes()).digest()
        said = refused(say, place, 32, (), *call)
        token = said.hint.rpartition("--erase ")[2].split()
        if token:
            refused(say, place, 32, ("mounted",), *call, "--erase", token[0])
        assert hashlib.sha256(Path(mounted_loop).read_bytes()).digest() == before

    def test_a_file_that_is_mounted(
        self, say: Say, place: Place, mounted_loop: str, tmp_path: Path
    ) -> None:
        image = str(tmp_path / "loop.img")
        before = Path(image).read_bytes()
        call = ("restore", "latest", "--to", image, "--erase", image)
        refused(say, place, 32, ("in use as", mounted_loop), *call)
        assert Path(image).read_bytes() == before

    def test_a_mounted_source(self, say: Say, place: Place, mounted_loop: str) -> None:
        refused(say, place, 32, ("in use",), "capture", mounted_loop)

    def test_a_size_is_for_files(self, say: Say, place: Place, mounted_loop: str) -> None:
        call = ("restore", "latest", "--to", mounted_loop, "--size", "1G")
        said = say(*call)
        assert said.code in {2, 32}
