"""Build the live image; `./dev iso` calls this."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from live_image.build import build, check_reproducible  # noqa: E402
from recovery.errors import DamagedData, RecoveryError  # noqa: E402


def main() -> int:
    """Parse the call, build, and answer with an exit code."""
    parser = argparse.ArgumentParser(prog="./dev iso", description="Build the live image.")
    parser.add_argument(
        "--output", type=Path, default=HERE.parent / "build", help="folder for ISO and caches"
    )
    parser.add_argument("--fast", action="store_true", help="compress lightly: larger, sooner done")
    parser.add_argument(
        "--refresh", action="store_true", help="fetch Debian's packages anew, with their updates"
    )
    parser.add_argument(
        "--check-reproducible", action="store_true", help="build twice and compare; keeps neither"
    )
    choice = parser.parse_args()
    started = time.monotonic()
    try:
        if choice.check_reproducible:
            _require_same(check_reproducible(choice.output, fast=choice.fast, listener=_say))
        else:
            built = build(choice.output, fast=choice.fast, refresh=choice.refresh, listener=_say)
            print(built.iso)
    except RecoveryError as error:
        _say(error.message)
        if error.hint:
            _say("  " + error.hint.replace("\n", "\n  "))
        return error.exit_code
    except KeyboardInterrupt:
        _say("interrupted; nothing unfinished was kept")
        return 130
    _say(f"done in {time.monotonic() - started:.0f} s")
    return 0


def _require_same(is_same: bool) -> None:
    if not is_same:
        raise DamagedData(
            "two builds from the same packages differ", hint="compare them with diffoscope"
        )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
