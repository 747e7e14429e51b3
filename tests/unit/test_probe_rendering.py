"""What `recovery probe` prints for people."""

from __future__ import annotations

from pathlib import Path

import pytest

from recovery.cli.probe import WIDTH, render_probe
from recovery.format.document import decode_document
from recovery.model.probe import Probe
from tests.odd_machines import FOLDER

RECORDED = sorted(FOLDER.glob("*.json"))


def rendered(name: str) -> str:
    return render_probe(decode_document((FOLDER / f"{name}.json").read_bytes(), Probe))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_lines_fit_and_hold_nothing_a_terminal_obeys(path: Path) -> None:
    found = decode_document(path.read_bytes(), Probe)
    text = render_probe(found)
    assert text.endswith("\n")
    for line in text.splitlines():
        assert len(line) <= WIDTH
        assert line.isprintable()
    for disk in found.machine.disks:
        assert f"{disk.node}  " in text


def test_one_machine_in_full() -> None:
    assert rendered("lvm-on-luks") == LAPTOP


def test_problem_and_missing_serial_are_told() -> None:
    assert "PROBLEM  does not answer" in rendered("sick-disks")
    assert "no serial, code " in rendered("no-serial")
    assert "Disks       none" in rendered("no-disk")


LAPTOP = """\
Machine     Framework Laptop
Firmware    UEFI
Memory      8.0 GiB
Processors  4

/dev/nvme0n1  WD_BLACK SN770 512GB, 512 GB
  serial 23060A800123
  nvme, solid state, sectors 512/512
  IN USE   mounted on /
  IN USE   mounted on /boot
  IN USE   swap in use
  IN USE   encrypted volume nvme0n1p2_crypt open
  IN USE   part of volume group my-laptop in use
  GPT                          0000000d-1111-4222-8333-444444444444
    partition 1       1.07 GB  Linux filesystem
      ext4                     boot  on /boot  000000d1-1111-4222-8333-444444...
    partition 2        510 GB  LUKS
      LUKS2                    open as nvme0n1p2_crypt  000000d2-1111-4222-83...
        member of vg0

vg0  my-laptop                 GROUP1-xxxx
  on /dev/nvme0n1 partition 2
  root                 107 GB  VOL1
    xfs                        on /  000000d3-1111-4222-8333-444444444444
  swap                8.59 GB  VOL2
    swap                       in use  000000d4-1111-4222-8333-444444444444
  idle                21.5 GB  VOL4
"""
