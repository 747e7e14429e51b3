"""What `verify` says about the partitions of a target."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recovery.model.layout import Partition
from recovery.model.size import MiB
from recovery.restore.verify import differing_partitions
from tests.builders import make_partition

ONE = make_partition(number=1, start=MiB, size=8 * MiB)
TWO = make_partition(number=2, start=9 * MiB, size=8 * MiB)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ((ONE, TWO), []),
        ((ONE, replace(TWO, size=64 * MiB)), []),
        ((ONE,), ["partition 2 is missing"]),
        ((ONE, replace(TWO, size=4 * MiB)), ["partition 2 is smaller"]),
        ((ONE, TWO, replace(TWO, id="x", number=3)), ["partition 3 is not in the snapshot"]),
        (
            (replace(ONE, start=2 * MiB), TWO),
            ["partition 1 has another place, type, name or identifier"],
        ),
        (
            (ONE, replace(TWO, name="other")),
            ["partition 2 has another place, type, name or identifier"],
        ),
    ],
)
def test_differing_partitions(found: tuple[Partition, ...], words: list[str]) -> None:
    assert differing_partitions((ONE, TWO), found) == words
