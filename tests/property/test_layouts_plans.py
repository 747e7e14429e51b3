"""Layouts survive their document; a plan never hides what it erases."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recovery.format.document import decode_document, encode_document
from recovery.model.layout import (
    DiskNode,
    Filesystem,
    Layout,
    LogicalVolume,
    Luks,
    Node,
    Partition,
    Raid,
    RawArea,
    Swap,
    Table,
    VolumeGroup,
)
from recovery.model.machine import DiskId
from recovery.model.plan import (
    AdaptSystem,
    GrowFilesystem,
    Plan,
    SaveOldTable,
    VerifyVolume,
    WriteTable,
    WriteVolume,
    render_plan,
)
from recovery.model.size import TiB
from recovery.model.snapshot import Snapshot
from recovery.restore.fit import Policy, TargetDisk, fit
from recovery.restore.plan import plan_restore
from tests.builders import make_disk_id
from tests.property.test_fit import POLICIES, snapshots

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SIZES = st.integers(0, 2**63)
KINDS = (Table, Partition, Luks, Raid, VolumeGroup, LogicalVolume, Filesystem, Swap, RawArea)
ON_SEVERAL = (Raid, VolumeGroup)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Any nodes on any earlier ones."""
    disk = DiskNode("disk0", DiskId(draw(TEXT), draw(TEXT), draw(SIZES), draw(TEXT)), 512, 4096)
    nodes: list[Node] = [disk]
    for index in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(KINDS))
        below = st.sampled_from([node.id for node in nodes])
        on = below if kind not in ON_SEVERAL else st.lists(below, min_size=1, max_size=2).map(tuple)
        fields: dict[str, st.SearchStrategy[object]] = {
            name: _any_of(name, str(kind.__annotations__[name])) for name in kind.__annotations__
        }
        fields |= {"id": st.just(f"node{index}"), "on": on}
        nodes.append(draw(st.builds(kind, **fields)))
    return Layout(tuple(nodes))


def _any_of(name: str, annotation: str) -> st.SearchStrategy[object]:
    known: dict[str, st.SearchStrategy[object]] = {
        "str": TEXT,
        "int": SIZES,
        "bool": st.booleans(),
        "bytes": st.binary(max_size=440),
        "Scheme": st.sampled_from(["gpt", "dos"]),
        "tuple[str, ...]": st.lists(TEXT, max_size=3).map(tuple),
    }
    return known[annotation]


@given(layouts())
def test_a_layout_comes_back_from_its_document(layout: Layout) -> None:
    assert decode_document(encode_document(layout), Layout) == layout


@given(snapshots(), POLICIES, st.booleans(), st.booleans())
def test_a_plan_names_what_it_erases_and_keeps_its_order(
    snapshot: Snapshot, policy: Policy, image_file: bool, adapt: bool
) -> None:
    target = TargetDisk(make_disk_id(serial="TARGET", size=TiB), TiB, 512, 512)
    found = fit(snapshot, "disk0", target, policy)
    plan = plan_restore(snapshot, "disk0", found, target.id, image_file=image_file, adapt=adapt)
    written = {step.disk for step in plan.steps if isinstance(step, WriteTable | WriteVolume)}
    assert written == set(plan.erased_disks) == {target.id}
    assert written <= set(plan.made_for)
    order = [SaveOldTable, WriteTable, WriteVolume, VerifyVolume, GrowFilesystem, AdaptSystem]
    places = [order.index(type(step)) for step in plan.steps]
    assert places == sorted(places)
    volumes = [step.volume for step in plan.steps if isinstance(step, WriteVolume)]
    assert volumes == [volume.id for volume in snapshot.volumes]
    assert volumes == [step.volume for step in plan.steps if isinstance(step, VerifyVolume)]
    for_disks = (SaveOldTable, GrowFilesystem, AdaptSystem)
    assert not (image_file and any(isinstance(step, for_disks) for step in plan.steps))
    assert len(render_plan(plan).splitlines()) == 1 + len(plan.steps) + len(plan.notes)
    assert decode_document(encode_document(plan), Plan) == plan
