"""A fit covers everything of the source inside the target, or says what would work."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

from hypothesis import event, given
from hypothesis import strategies as st

from recovery.errors import DoesNotFit
from recovery.format import gpt, mbr
from recovery.format.partition_types import ESP, LINUX_DATA
from recovery.model.layout import Node, Partition
from recovery.model.size import MiB, TiB
from recovery.model.snapshot import Snapshot
from recovery.restore.fit import Fit, Policy, TargetDisk, fit
from tests.builders import (
    make_disk_id,
    make_disk_node,
    make_filesystem,
    make_layout,
    make_partition,
    make_snapshot,
    make_table,
)

POLICIES: st.SearchStrategy[Policy] = st.sampled_from(("none", "last"))


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """A disk with up to five partitions, of ext4 or not, by either scheme."""
    scheme = draw(st.sampled_from(["gpt", "dos"]))
    position = MiB
    nodes: list[Node] = []
    count = draw(st.integers(0, 4 if scheme == "dos" else 5))
    types = {"gpt": [LINUX_DATA, ESP], "dos": ["83", "ef"]}[scheme]
    for number in range(1, count + 1):
        position += draw(st.integers(0, 10000)) * 512
        size = draw(st.integers(1, 100000)) * 512
        type_ = draw(st.sampled_from(types))
        part = make_partition(number, start=position, size=size, type=type_)
        nodes.append(part)
        if draw(st.booleans()):
            kind = draw(st.sampled_from(["ext4", "xfs"]))
            nodes.append(make_filesystem(part.id, kind=kind))
        position += size
    size = position + draw(st.integers(34, 100000)) * 512
    disk = make_disk_node(disk=make_disk_id(size=size))
    identifier = "1a2b3c4d" if scheme == "dos" else make_table().identifier
    table = make_table(scheme=scheme, identifier=identifier)
    return make_snapshot(layout=make_layout(disk, table, *nodes))


def end_of(snapshot: Snapshot) -> int:
    return max((part.start + part.size for part in snapshot.layout.partitions("disk0")), default=0)


@st.composite
def targets(draw: st.DrawFn, snapshot: Snapshot) -> TargetDisk:
    """Around the last partition's end, where it just fits or not, or anywhere above."""
    near = st.integers(-50, 50).map(lambda sectors: max(end_of(snapshot) + sectors * 512, 512))
    size = draw(st.one_of(near, st.integers(1, 3 * TiB)))
    return TargetDisk(make_disk_id(serial="TARGET", size=size), size, 512, 4096)


@given(st.data(), snapshots(), POLICIES)
def test_everything_is_inside_and_apart_or_refused(
    data: st.DataObject, snapshot: Snapshot, policy: Policy
) -> None:
    target = data.draw(targets(snapshot))
    try:
        found = fit(snapshot, "disk0", target, policy)
    except DoesNotFit as refusal:
        event("refused")
        require_that_the_hint_works(refusal, snapshot, target)
        return
    event("grown" if found.grown else "kept")
    require_good_fit(found, snapshot, target)


def require_good_fit(found: Fit, snapshot: Snapshot, target: TargetDisk) -> None:
    old = {part.id: part for part in snapshot.layout.partitions("disk0")}
    new = found.layout.partitions("disk0")
    assert {place.volume for place in found.placements} == {v.id for v in snapshot.volumes}
    assert {part.id for part in new} == set(old)
    for part in new:
        before = old[part.id]
        if part.id in found.grown:
            assert part.size > before.size
            assert (part.start + part.size) % MiB == 0
            assert part == replace(before, size=part.size)
        else:
            assert part == before
    for place in found.placements:
        assert (place.start, place.size) == (old[place.volume].start, old[place.volume].size)
    for one, other in pairwise(new):
        assert one.start + one.size <= other.start
    table = found.layout.table("disk0")
    assert table is not None
    # The codecs refuse whatever cannot stand on a disk of that size.
    codec = gpt if table.scheme == "gpt" else mbr
    parts = codec.encode_table(table, new, target.size, target.logical_sector)
    assert all(offset + len(data) <= target.size for offset, data in parts)
    assert [disk.disk for disk in found.layout.disks] == [target.id]


def require_that_the_hint_works(
    refusal: DoesNotFit, snapshot: Snapshot, target: TargetDisk
) -> None:
    named = re.search(r"\((\d+) bytes\)", refusal.hint)
    assert named is not None
    size = int(named[1])
    assert size > target.size
    enough = replace(target, size=size, id=replace(target.id, size=size))
    fit(snapshot, "disk0", enough, "none")


@given(snapshots(), POLICIES)
def test_the_same_disk_always_fits(snapshot: Snapshot, policy: Policy) -> None:
    node = snapshot.layout.disks[0]
    same = TargetDisk(node.disk, node.disk.size, 512, 512)
    found = fit(snapshot, "disk0", same, policy)
    assert {part.start for part in found.layout.partitions("disk0")} == {
        node.start for node in snapshot.layout.nodes if isinstance(node, Partition)
    }


@given(snapshots())
def test_the_same_question_gets_the_same_answer(snapshot: Snapshot) -> None:
    target = TargetDisk(make_disk_id(size=TiB), TiB, 512, 512)
    assert fit(snapshot, "disk0", target, "last") == fit(snapshot, "disk0", target, "last")
