"""Which drivers an initramfs lacks for a machine."""

from __future__ import annotations

import pytest

from recovery.adapt.drivers import (
    KernelModules,
    Wanted,
    missing_drivers,
    modules_in,
    wanted_drivers,
)
from recovery.model.machine import Controller
from tests.builders import make_machine
from tests.unit.adapt.phony import AHCI, GUESTS, NVME

FOLDER = GUESTS / "debian-13/lib/modules/6.12.107+deb13-amd64"
DEPENDENCIES, BUILTIN, ALIASES = (
    (FOLDER / f"modules.{name}").read_text() for name in ("dep", "builtin", "alias")
)
KERNEL = KernelModules(DEPENDENCIES, BUILTIN, ALIASES)
HERE = Wanted("nvme", "", "NVMe controller")


def test_a_machine_wants_its_controllers_its_disk_and_its_filesystem() -> None:
    machine = make_machine(controllers=(AHCI, NVME, Controller("0", "idle", "", "")))
    drivers = [each.driver for each in wanted_drivers(machine, "/dev/nvme0n1", "ext4")]
    assert drivers == ["ahci", "nvme", "ext4"]
    assert wanted_drivers(make_machine(), "/dev/vda", "xfs")[0].driver == "virtio_blk"


@pytest.mark.parametrize(
    ("driver", "modalias", "present", "problem"),
    [
        ("nvme", "", {"nvme", "nvme_core"}, None),
        ("nvme", "", {"nvme"}, "its initramfs lacks nvme (for it)"),
        ("nvme", "", {"nvme_core"}, "its initramfs lacks nvme (for it)"),
        ("sd_mod", "", set(), None),
        ("megaraid_sas", "", {"nvme"}, "the kernel has no driver megaraid_sas (for it)"),
        ("other_name", AHCI.modalias, {"ahci", "libahci", "libata"}, None),
        ("other_name", AHCI.modalias, set(), "its initramfs lacks other_name (for it)"),
    ],
)
def test_drivers_count_with_all_they_need(
    driver: str, modalias: str, present: set[str], problem: str | None
) -> None:
    wanted = (Wanted(driver, modalias, "it"),)
    expected = () if problem is None else (problem,)
    assert missing_drivers(wanted, KERNEL, frozenset(present)) == expected


def test_modules_are_found_whatever_packed_them() -> None:
    listing = ("usr/lib/x/nvme-core.ko.zst", "a/b.ko", "c.ko.xz", "d.ko.gz", "kernel", "e.kok")
    assert modules_in(listing) == {"nvme_core", "b", "c", "d"}
