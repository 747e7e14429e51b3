"""The deciding parts of the live image's build: profile, lock, mirror, keys, menu."""

from __future__ import annotations

import os
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from live_image.base import BaseRecipe, make_base_command
from live_image.boot_menu import ENTRIES, render_grub_config
from live_image.build import HERE, PROJECT, Inputs
from live_image.inputs import key_of, key_of_files
from live_image.medium import FAST, SMALL
from live_image.mirror import Mirror, find_mirror
from live_image.profile import BootMenu, Profile, parse_profile, read_packages, read_profile
from live_image.tree import copy_sources, settle_units, touch_all
from live_image.wheels import Requirement, fetch_wheels, read_lock, render_lock, unpack_wheel
from recovery.errors import DamagedData, UsageError
from recovery.system.command import Command, Output


def make_document(**changes: object) -> dict[str, Any]:
    document: dict[str, Any] = {
        "label": "RECOVERY",
        "suite": "trixie",
        "components": ["main"],
        "package_list": "packages/live.list",
        "source_date": datetime(2026, 1, 1, tzinfo=UTC),
        "hostname": "recovery",
        "excluded_paths": [],
        "included_paths": [],
        "removed_paths": [],
        "masked_units": [],
        "enabled_units": [],
        "from_debian": [],
        "boot": {"timeout": 5, "arguments": ["boot=live"]},
    }
    return document | changes


def make_profile(**changes: object) -> Profile:
    return parse_profile(make_document(**changes), "profile.toml")


def make_inputs(**changes: Any) -> Inputs:
    inputs = Inputs(make_profile(), ("udev",), (Requirement("attrs", "26.1.0", ()),), 100, FAST)
    return replace(inputs, **changes)


class TestProfile:
    def test_ours_is_right(self) -> None:
        profile = read_profile(HERE / "profile.toml")
        assert profile.suite == "trixie"
        assert "live-boot" in read_packages(HERE / profile.package_list)

    def test_unknown_key_names_the_nearest(self) -> None:
        with pytest.raises(UsageError) as caught:
            parse_profile(make_document(masked_unit=[]), "profile.toml")
        assert "masked_unit is not known" in caught.value.message
        assert caught.value.hint == "did you mean masked_units?"

    def test_unknown_key_of_a_table(self) -> None:
        with pytest.raises(UsageError) as caught:
            parse_profile(make_document(boot={"timeouts": 5}), "profile.toml")
        assert caught.value.hint == "did you mean boot.timeout?"

    def test_missing_key(self) -> None:
        document = make_document()
        del document["suite"]
        with pytest.raises(UsageError, match="the key suite is missing"):
            parse_profile(document, "profile.toml")

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("suite", 13),
            ("components", "main"),
            ("components", [1]),
            ("source_date", "today"),
            ("boot", []),
            ("boot", {"timeout": True, "arguments": []}),
            ("label", "recovery medium"),
            ("label", "A" * 17),
            ("source_date", datetime(2026, 1, 1)),
        ],
    )
    def test_wrong_value(self, key: str, value: object) -> None:
        with pytest.raises(UsageError, match=key):
            parse_profile(make_document(**{key: value}), "profile.toml")

    def test_not_toml(self, tmp_path: Path) -> None:
        path = tmp_path / "profile.toml"
        path.write_text("label = \n")
        with pytest.raises(UsageError, match="is not TOML") as caught:
            read_profile(path)
        assert "line 1" in caught.value.hint

    def test_package_list(self, tmp_path: Path) -> None:
        path = tmp_path / "live.list"
        path.write_text("# all\nudev  # devices\n\ndbus\nudev\n")
        assert read_packages(path) == ("dbus", "udev")


class TestMirror:
    def test_one_line_style(self) -> None:
        text = "# deb http://no/debian x main\ndeb [arch=amd64] http://near/debian/ bookworm main\n"
        assert find_mirror([text]) == Mirror(packages="http://near/debian")

    def test_deb822_style(self) -> None:
        text = "Types: deb\nURIs: http://near/debian-security http://near/debian\nSuites: x\n"
        assert find_mirror([text]) == Mirror("http://near/debian", "http://near/debian-security")

    def test_another_vendor_is_passed_over(self) -> None:
        assert find_mirror(["deb https://vendor.example/apt stable main\n"]) == Mirror()

    def test_first_counts(self) -> None:
        texts = ["deb http://one/debian x main", "deb http://two/debian x main"]
        assert find_mirror(texts).packages == "http://one/debian"


class TestBase:
    def test_command(self) -> None:
        recipe = BaseRecipe(make_profile(excluded_paths=["/usr/share/man/*"]), ("dbus", "udev"), 7)
        cache, tarball = Path("/c/packages"), Path("/c/base.tar.zst")
        command = make_base_command(recipe, Mirror("http://near/debian"), cache, tarball)
        assert command.argv[:2] == ("mmdebstrap", "--mode=root")
        assert "--include=dbus,udev" in command.argv
        assert "--dpkgopt=path-exclude=/usr/share/man/*" in command.argv
        assert command.argv[-5:-3] == ("trixie", "/c/base.tar.zst")
        assert command.argv[-3].endswith("http://near/debian trixie main")
        assert ("SOURCE_DATE_EPOCH", "7") in command.environment
        assert command.purpose == "make the base system from http://near/debian"


class TestKeys:
    def test_borders_count(self) -> None:
        assert key_of(("ab", "c")) != key_of(("a", "bc"))

    def test_files(self, tmp_path: Path) -> None:
        folder = tmp_path / "overlay"
        (folder / "__pycache__").mkdir(parents=True)
        script = folder / "script"
        script.write_text("x")
        keys = [key_of_files((folder,))]
        (folder / "__pycache__/x.pyc").write_text("generated")
        assert key_of_files((folder,)) == keys[0]
        script.chmod(0o755)
        keys.append(key_of_files((folder,)))
        script.write_text("y")
        keys.append(key_of_files((folder,)))
        script.rename(folder / "renamed")
        keys.append(key_of_files((folder,)))
        (folder / "link").symlink_to("renamed")
        keys.append(key_of_files((folder,)))
        assert len(set(keys)) == len(keys)

    def test_wheels_do_not_touch_the_base(self) -> None:
        one, other = make_inputs(), make_inputs(requirements=())
        assert one.base_key == other.base_key
        assert one.site_key != other.site_key
        assert one.key != other.key

    def test_packages_touch_everything(self) -> None:
        one, other = make_inputs(), make_inputs(packages=("udev", "dbus"))
        assert one.base_key != other.base_key
        assert one.site_key != other.site_key
        assert one.medium_id != other.medium_id

    def test_effort_is_an_input(self) -> None:
        assert make_inputs(effort=FAST).key != make_inputs(effort=SMALL).key


LOCK = f"""# autogenerated
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:{"a" * 64}
    # via recovery
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:{"b" * 64} \\
    --hash=sha256:{"c" * 64}
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:{"d" * 64}
pyparted==3.13.0 \\
    --hash=sha256:{"e" * 64}
attrs==26.1.0 \\
    --hash=sha256:{"f" * 64}
"""


class TestWheels:
    def test_lock_is_read_for_the_live_system(self) -> None:
        found = read_lock(LOCK, ("pyparted",))
        assert [(one.name, one.version) for one in found] == [
            ("numpy", "2.5.5"),
            ("attrs", "26.1.0"),
        ]
        assert found[0].hashes == (f"sha256:{'b' * 64}", f"sha256:{'c' * 64}")

    def test_render_is_read_back(self) -> None:
        found = read_lock(LOCK, ())
        assert read_lock(render_lock(found), ()) == found

    def test_unlocked_line_is_refused(self) -> None:
        with pytest.raises(UsageError, match="numpy>=2"):
            read_lock(LOCK + "numpy>=2\n", ())

    def test_our_lock(self) -> None:
        found = read_lock((PROJECT / "requirements.lock").read_text(), ("pyparted", "pyudev"))
        names = {one.name for one in found}
        assert {"textual", "numpy", "blake3", "cryptography", "zstandard"} <= names
        assert not {"pyparted", "pyudev", "colorama"} & names
        assert all(one.hashes for one in found)
        assert len(names) == len(found)

    def test_wheel_of_another_hash_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "attrs-26.1.0-py3-none-any.whl").write_bytes(b"not this")
        wanted = (Requirement("attrs", "26.1.0", (f"sha256:{'f' * 64}",)),)
        with pytest.raises(DamagedData, match=r"attrs 26\.1\.0"):
            fetch_wheels(wanted, tmp_path, _Nothing())

    def test_unpack(self, tmp_path: Path) -> None:
        wheel = tmp_path / "x.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("x/__init__.py", "a = 1\n")
            archive.writestr("x-1.data/purelib/y.py", "b = 2\n")
            archive.writestr("x-1.data/scripts/x", "#!python\n")
        unpack_wheel(wheel, tmp_path / "site")
        found = {p.relative_to(tmp_path / "site").as_posix() for p in tmp_path.glob("site/**/*.py")}
        assert found == {"x/__init__.py", "y.py"}
        assert not (tmp_path / "site/x-1.data").exists()

    def test_unpack_stays_inside(self, tmp_path: Path) -> None:
        wheel = tmp_path / "x.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("../outside.py", "")
        with pytest.raises(DamagedData, match="unsafe path"):
            unpack_wheel(wheel, tmp_path / "site")


class _Nothing:
    """A runner whose programs succeed and do nothing."""

    def run(self, command: Command) -> Output:
        return Output(0, b"", "")

    def stream(self, command: Command) -> Any:
        return iter(())


class TestBootMenu:
    def test_default_entry(self) -> None:
        text = render_grub_config(BootMenu(5, ("boot=live", "console=tty0")), ENTRIES[:1])
        assert "set timeout=5\n" in text
        assert text.endswith(
            "menuentry 'Recovery environment' --hotkey=r {\n"
            "    linux /live/vmlinuz boot=live console=tty0\n"
            "    initrd /live/initrd.img\n"
            "}\n"
        )

    def test_entries(self) -> None:
        text = render_grub_config(BootMenu(5, ("boot=live",)))
        kernels = [line.strip() for line in text.splitlines() if line.startswith("    linux")]
        assert kernels == [
            "linux /live/vmlinuz boot=live",
            "linux /live/vmlinuz boot=live toram",
            "linux /live/vmlinuz boot=live nomodeset",
            "linux /live/vmlinuz boot=live recovery.screen=off",
        ]
        assert len({entry.key for entry in ENTRIES}) == len(ENTRIES)


class TestTree:
    def test_copied_modes_do_not_follow_the_checkout(self, tmp_path: Path) -> None:
        source = tmp_path / "overlay"
        (source / "etc").mkdir(parents=True)
        (source / "etc/secretive").write_text("x")
        (source / "etc/secretive").chmod(0o600)
        (source / "run").write_text("x")
        (source / "run").chmod(0o700)
        copy_sources(source, tmp_path / "root")
        assert (tmp_path / "root/etc/secretive").stat().st_mode & 0o777 == 0o644
        assert (tmp_path / "root/run").stat().st_mode & 0o777 == 0o755

    def test_units(self, tmp_path: Path) -> None:
        (tmp_path / "etc/systemd/system").mkdir(parents=True)
        settle_units(
            tmp_path,
            make_profile(masked_units=["swap.target"], enabled_units=["getty@tty2.service"]),
        )
        units = tmp_path / "etc/systemd/system"
        assert str((units / "swap.target").readlink()) == "/dev/null"
        wanted = units / "multi-user.target.wants/getty@tty2.service"
        assert str(wanted.readlink()) == "/usr/lib/systemd/system/getty@.service"

    def test_times_are_capped_not_set(self, tmp_path: Path) -> None:
        old, new = tmp_path / "old", tmp_path / "new"
        for path, moment in ((old, 50), (new, 5000)):
            path.write_text("")
            os.utime(path, (moment, moment))
        touch_all(tmp_path, 100)
        assert (old.stat().st_mtime, new.stat().st_mtime) == (50, 100)
        assert tmp_path.stat().st_mtime == 100
