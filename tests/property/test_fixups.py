"""Fixups: a second run proposes nothing, and text that names nothing of ours stays as it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recovery.adapt.fstab import absent_entries, fix_fstab
from recovery.adapt.kernel_command_line import GRUB_DEFAULTS, KERNEL_INSTALL, fix_command_line
from recovery.adapt.names import DeviceNames, device_names, parse_entries
from tests.builders import make_layout

ROOT = "UUID=99999999-8888-4777-8666-555555555555"
SPECS = st.sampled_from(
    (
        *("/dev/sda1", "/dev/sda2", "/dev/sda9", "/dev/sdb1", "/dev/nvme0n1p2", ROOT),
        *("UUID=dead", "LABEL=root", "LABEL=gone", "/dev/mapper/vg-x", "tmpfs", "/swapfile"),
        *("/dev/disk/by-path/pci-0-part2", "/dev/disk/by-uuid/feed", "server:/x", "PARTUUID=00-01"),
    )
)
SPACE = st.sampled_from((" ", "\t", "   "))
PLACES = st.sampled_from(("/", "/usr", "/home", "/boot/efi", "none", "/my\\040disk"))
KINDS = st.sampled_from(("ext4", "vfat", "swap", "auto"))
OPTIONS = st.sampled_from(("defaults", "noauto", "ro,nofail", "sw,pri=5"))
ENDS = st.sampled_from(("", " 0 2", "\t0\t0 ", " 0 0 # note"))
LINES = st.one_of(
    st.builds(
        lambda spec, a, place, b, kind, options, end: f"{spec}{a}{place}{b}{kind}{b}{options}{end}",
        *(SPECS, SPACE, PLACES, SPACE, KINDS, OPTIONS, ENDS),
    ),
    st.builds(lambda spec, place, kind: f"{spec} {place} {kind}", SPECS, PLACES, KINDS),
    st.text(alphabet="ab#=/ \t\u00e9", max_size=20),
)
FSTABS = st.lists(LINES, max_size=8).map("\n".join)
NAMES = st.builds(
    lambda disks, attached: device_names(make_layout(), disks, "", frozenset(attached)),
    st.sampled_from(({}, {"disk0": "/dev/sda"}, {"disk0": "/dev/nvme0n1"})),
    st.sets(st.sampled_from(("uuid=dead", "label=gone", "uuid=feed"))),
)


def after(text: str, names: DeviceNames) -> str:
    edits = fix_fstab(text, names)
    assert all(edit.before == text != edit.after for edit in edits)
    return edits[0].after if edits else text


@given(FSTABS, NAMES)
def test_a_second_run_proposes_nothing(text: str, names: DeviceNames) -> None:
    assert fix_fstab(after(text, names), names) == ()


@given(FSTABS, NAMES)
def test_only_names_and_nofail_change(text: str, names: DeviceNames) -> None:
    old, new = parse_entries(text), parse_entries(after(text, names))
    assert [(each.mount_point, each.kind) for each in old] == [
        (each.mount_point, each.kind) for each in new
    ]
    for before, now in zip(old, new, strict=True):
        assert now.spec == (names.stable(before.spec) or before.spec)


@given(FSTABS, NAMES)
def test_nothing_keeps_the_start_waiting(text: str, names: DeviceNames) -> None:
    fixed = after(text, names)
    essential = {"/", "/usr"}
    for line, place in zip(
        (line for line in fixed.splitlines() if absent_entries(line, names)),
        absent_entries(fixed, names),
        strict=True,
    ):
        assert place in essential or "nofail" in line


@given(st.text(alphabet="abc#=/,. \t\n\"'$\u00e9", max_size=200), NAMES)
def test_text_that_names_no_device_stays(text: str, names: DeviceNames) -> None:
    assert fix_fstab(text, names) == ()
    for path in (GRUB_DEFAULTS, KERNEL_INSTALL):
        assert fix_command_line(path, text, names) == ()


@given(st.lists(st.tuples(st.sampled_from(("root", "resume", "xroot")), SPECS), max_size=5), NAMES)
def test_command_lines_settle_after_one_run(
    parameters: list[tuple[str, str]], names: DeviceNames
) -> None:
    words = " ".join(f"{key}={spec}" for key, spec in parameters)
    text = f'GRUB_CMDLINE_LINUX="quiet {words}"\n'
    for edit in fix_command_line(GRUB_DEFAULTS, text, names):
        assert fix_command_line(GRUB_DEFAULTS, edit.after, names) == ()
        assert edit.after.startswith('GRUB_CMDLINE_LINUX="quiet')
        assert edit.after.endswith('"\n')
