"""Runs the screens over the simulation: `python -m tests.tui.run_simulation [SCENARIO] [PACE]`.

Scenarios: plain, nothing, many, fail. `PACE` is seconds for each step of the restore.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from recovery.errors import DeviceFailed
from tests.tui.simulation import SSD, SimulatedVerbs, make_disk, make_probe
from tui.app import RecoveryApp


def simulated(scenario: str, pace: float, folder: Path) -> SimulatedVerbs:
    """The verbs of a scenario."""
    verbs = SimulatedVerbs(folder, pace=pace)
    if scenario == "nothing":
        verbs.machine, verbs.locations = make_probe(()), ()
    elif scenario == "many":
        disks = tuple(make_disk(serial=f"S64DNX0R{number:06}") for number in range(60))
        verbs.machine = make_probe(disks)
    elif scenario == "fail":
        verbs.fail_in_step = (
            4,
            DeviceFailed(f"could not write to {SSD.id}", hint="the disk answered: I/O error"),
        )
    return verbs


def main() -> None:
    """Run until left."""
    scenario = sys.argv[1] if len(sys.argv) > 1 else "plain"
    pace = sys.argv[2] if len(sys.argv) > 2 else "1"
    with tempfile.TemporaryDirectory(prefix="session-") as folder:
        Path(folder, "log.txt").write_text("12:00:01 probe: 3 disks\n")
        RecoveryApp(lambda: simulated(scenario, float(pace), Path(folder))).run(mouse=False)


if __name__ == "__main__":
    main()
