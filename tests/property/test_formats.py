"""Every format gives back what went in, and takes nothing else: whatever the bytes, it is
`DamagedData`, told before memory is taken for what the bytes only claim."""

from __future__ import annotations

import json
import struct
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recovery.errors import DamagedData
from recovery.format import keyslot, map, pack, seal
from recovery.format.description import (
    Description,
    UnreadableVersion,
    decode_description,
    encode_description,
)
from recovery.format.document import decode_document, encode_document
from recovery.format.index import IndexSegment, Location, decode_index, ids_array
from recovery.format.keyslot import Hardness
from recovery.format.map import FREE, ZERO, MapPage, Run
from recovery.format.pack import ChunkEntry, CompressedFrame, FrameEntry, PackBuilder, PackOpener
from recovery.format.seal import Header, Kind, ObjectCipher
from recovery.model.plan import Plan
from recovery.model.probe import Probe
from recovery.model.size import BLOCK, MiB
from recovery.model.snapshot import Snapshot, Stream
from tests.builders import (
    make_disk_id,
    make_layout,
    make_machine,
    make_snapshot,
    make_volume,
)
from tests.engine import SOFT

MASTER = bytes(range(32))
REPOSITORY = bytes(range(16))
SALT = bytes(32)

ids = st.binary(min_size=32, max_size=32)
chunks = st.builds(ChunkEntry, ids, st.integers(1, 64).map(lambda count: count * BLOCK))


@st.composite
def frame_entries(draw: st.DrawFn) -> tuple[FrameEntry, ...]:
    """Frames as a pack has them: one behind the other."""
    frames = []
    offset = seal.HEADER_SIZE
    for number, found in enumerate(
        draw(st.lists(st.lists(chunks, min_size=1, max_size=6), max_size=6))
    ):
        stored = draw(st.integers(40, 1 << 20))
        plain = sum(chunk.length for chunk in found)
        frames.append(FrameEntry(offset, stored, plain, number, tuple(found)))
        offset += stored
    return tuple(frames)


# Pack


@given(frame_entries())
def test_the_table_of_a_pack(frames: tuple[FrameEntry, ...]) -> None:
    assert pack.decode_table(pack.encode_table(frames)) == frames


def _blocks(number: int, count: int) -> bytes:
    return b"".join(struct.pack("<II", number, place) * 512 for place in range(count))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)), min_size=1, max_size=4))
def test_the_frames_of_a_pack(shapes: list[tuple[int, int]]) -> None:
    """Written by the builder, found by the footer, opened one by one; any byte counts."""
    builder = PackBuilder(MASTER, REPOSITORY, SALT)
    plains = []
    for number, (first, count) in enumerate(shapes):
        pieces = [(bytes([number]) * 32, _blocks(first + piece, 2)) for piece in range(count)]
        builder.add(pack.compress_frame(pieces))
        plains.append(b"".join(data for _, data in pieces))
    _, data = builder.finish()
    opener = PackOpener(MASTER, REPOSITORY, data[: seal.HEADER_SIZE])
    footer = pack.decode_footer(data[-pack.FOOTER_SIZE :], len(data))
    frames = opener.trailer(data[footer.offset : footer.offset + footer.length], footer)
    assert list(frames) == builder.frames
    for frame, plain in zip(frames, plains, strict=True):
        stored = data[frame.offset : frame.offset + frame.stored]
        assert opener.frame(stored) == plain
        with pytest.raises(DamagedData):
            opener.frame(stored[:-1])
        with pytest.raises(DamagedData):
            opener.frame(stored + b"\0")


def test_noise_is_stored_as_it_is() -> None:
    noise = seal.derive_key(MASTER, "noise") * 128
    frame = pack.compress_frame([(bytes(32), noise)])
    assert not frame.stored, "zstd finds what repeats"
    packed = CompressedFrame(noise, len(noise), True, frame.chunks)
    builder = PackBuilder(MASTER, REPOSITORY, SALT)
    builder.add(packed)
    _, data = builder.finish()
    entry = builder.frames[0]
    opener = PackOpener(MASTER, REPOSITORY, data[: seal.HEADER_SIZE])
    assert opener.frame(data[entry.offset : entry.offset + entry.stored]) == noise


def test_a_frame_without_chunks_is_none() -> None:
    with pytest.raises(DamagedData):
        pack.decode_table(pack.encode_table((FrameEntry(64, 40, 0, 0, ()),)))


# Index, against a dictionary


@st.composite
def packs(draw: st.DrawFn) -> list[tuple[bytes, tuple[FrameEntry, ...]]]:
    """Packs whose chunk ids often share their first 8 or 12 bytes."""
    heads = draw(st.lists(st.binary(min_size=8, max_size=8), min_size=1, max_size=3))
    middles = st.sampled_from([b"\0\0\0\0", b"\0\0\0\1", b"\xff\xff\xff\xff"])
    near = st.builds(
        lambda head, middle, end: head + middle + end * 20,
        st.sampled_from(heads),
        middles,
        st.sampled_from([b"a", b"b"]),
    )
    entries = st.builds(ChunkEntry, near | ids, st.integers(1, 8).map(lambda n: n * BLOCK))
    found = []
    for number in range(draw(st.integers(0, 4))):
        frames = []
        for place, held in enumerate(
            draw(st.lists(st.lists(entries, min_size=1, max_size=5), max_size=3))
        ):
            plain = sum(chunk.length for chunk in held)
            frames.append(FrameEntry(64 + place * 1000, 900, plain, place, tuple(held)))
        found.append((bytes([number]) * 32, tuple(frames)))
    return found


def _model(
    found: list[tuple[bytes, tuple[FrameEntry, ...]]],
) -> dict[bytes, list[Location]]:
    """All places of each 12-byte prefix."""
    places: dict[bytes, list[Location]] = {}
    for name, frames in found:
        for frame in frames:
            for chunk, start in zip(frame.chunks, frame.starts, strict=True):
                place = Location(name, frame.offset, frame.stored, frame.plain, start, chunk.length)
                places.setdefault(chunk.id[:12], []).append(place)
    return places


@given(packs(), st.lists(ids, max_size=5))
def test_an_index_finds_as_a_dictionary_does(
    found: list[tuple[bytes, tuple[FrameEntry, ...]]], strangers: list[bytes]
) -> None:
    model = _model(found)
    held = [chunk.id for _, frames in found for frame in frames for chunk in frame.chunks]
    wanted = [*held, *strangers, bytes(32), b"\xff" * 32]
    made = IndexSegment.of(found)
    for segment in (made, decode_index(made.encode())):
        assert len(segment) == len(held)
        table = ids_array(wanted)
        known = [id[:12] in model for id in wanted]
        assert segment.contains(table).tolist() == known
        for id, location in zip(wanted, segment.locate(table), strict=True):
            assert (location is None) == (id[:12] not in model)
            assert location is None or location in model[id[:12]]
    assert made.contains(ids_array([])).tolist() == []


# Map


@st.composite
def pages(draw: st.DrawFn) -> MapPage:
    """Pages of up to some segments."""
    names = tuple(draw(st.lists(ids, max_size=5, unique=True)))
    sources = st.sampled_from([FREE, ZERO, *range(len(names))])
    runs = draw(st.lists(st.builds(Run, sources, st.integers(1, 900), st.integers(0, 9))))
    blocks = sum(run.blocks for run in runs)
    count = -(-blocks // map.SEGMENT_BLOCKS)
    digests = tuple(draw(st.lists(ids, min_size=count, max_size=count)))
    return MapPage(names, tuple(runs), digests)


@given(pages())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_page_of_a_map(page: MapPage) -> None:
    assert map.decode_page(map.encode_page(page)) == page
    used = {
        block
        for block, source in enumerate(
            source for run in page.runs for source in [run.source] * run.blocks
        )
        if source != FREE
    }
    assert page.used().total == len(used) * BLOCK
    assert all(block * BLOCK in page.used() for block in used)
    merged = map.merge_runs(page.runs)
    assert MapPage(page.ids, merged, page.digests).used() == page.used()


# Keys


@given(st.text(min_size=1, max_size=40), st.binary(min_size=32, max_size=32))
@settings(max_examples=20)
def test_a_slot_opens_with_its_secret_only(secret: str, master: bytes) -> None:
    for kind in (keyslot.PASSPHRASE, keyslot.RECOVERY_CODE, keyslot.OPEN):
        slot = keyslot.wrap(master, REPOSITORY, kind, secret.encode(), bytes(16), SOFT)
        again = keyslot.decode_slot(keyslot.encode_slot(slot))
        assert again == slot
        assert keyslot.unwrap(again, REPOSITORY, secret.encode()) == master
        if kind != keyslot.OPEN:
            assert keyslot.unwrap(again, REPOSITORY, secret.encode() + b"x") is None
            assert keyslot.unwrap(again, bytes(16), secret.encode()) is None


@given(st.binary(min_size=18, max_size=18), st.integers(0, 38), st.sampled_from("0123ABXYZ"))
def test_a_recovery_code_survives_how_it_is_typed(entropy: bytes, place: int, other: str) -> None:
    code = keyslot.format_code(entropy)
    for typed in (
        code,
        code.lower(),
        code.replace("-", " "),
        f"  {code}\n",
        code.replace("0", "o"),
    ):
        assert keyslot.parse_code(typed) == entropy
    if code[place] not in {"-", other}:
        assert keyslot.parse_code(code[:place] + other + code[place + 1 :]) is None
    digits = code.replace("-", "")
    place = min(place, len(digits) - 2)
    swapped = digits[:place] + digits[place + 1] + digits[place] + digits[place + 2 :]
    assert keyslot.parse_code(swapped) == (entropy if swapped == digits else None)


@given(st.binary(min_size=16, max_size=16), st.lists(st.text(max_size=9), max_size=3))
def test_a_description(id: bytes, features: list[str]) -> None:
    description = Description(id, tuple(features), (), ("x",))
    assert decode_description(encode_description(description)) == description


# Seal


@given(st.binary(max_size=5000), st.sampled_from(Kind))
def test_a_sealed_document(plain: bytes, kind: Kind) -> None:
    data = seal.seal_document(MASTER, Header(kind, REPOSITORY, SALT), plain)
    assert seal.open_document(MASTER, REPOSITORY, kind, data) == plain
    for master, repository, other in (
        (bytes(32), REPOSITORY, kind),
        (MASTER, bytes(16), kind),
        (MASTER, REPOSITORY, next(found for found in Kind if found != kind)),
    ):
        with pytest.raises(DamagedData):
            seal.open_document(master, repository, other, data)


def test_parts_cannot_change_places() -> None:
    cipher = ObjectCipher(MASTER, Header(Kind.PACK, REPOSITORY, SALT))
    sealed = cipher.seal(1, b"plain", b"with")
    assert cipher.open(1, sealed, b"with") == b"plain"
    with pytest.raises(DamagedData):
        cipher.open(2, sealed, b"with")
    with pytest.raises(DamagedData):
        cipher.open(1, sealed, b"without")
    other = ObjectCipher(MASTER, Header(Kind.PACK, REPOSITORY, b"\1" * 32))
    with pytest.raises(DamagedData):
        other.open(1, sealed, b"with")


# Documents

names = st.text(max_size=12)
times = st.datetimes(datetime(1980, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
streams = st.builds(Stream, st.integers(0, 1 << 40), st.lists(ids, max_size=3).map(tuple))
volumes = st.builds(
    lambda size, used, why, found: make_volume(size=size, used=used, reason=why, map=found),
    st.integers(0, 1 << 60),
    st.integers(0, 1 << 60),
    names,
    st.lists(streams, max_size=2).map(tuple),
)


@given(names, times, names, st.lists(volumes, max_size=2))
def test_a_manifest(host: str, taken_at: datetime, note: str, found: list[Any]) -> None:
    snapshot = make_snapshot(host=host, taken_at=taken_at, note=note, volumes=tuple(found))
    data = encode_document(snapshot)
    assert decode_document(data, Snapshot) == snapshot
    assert encode_document(decode_document(data, Snapshot)) == data


def test_a_plan_and_a_probe() -> None:
    plan = Plan("title", "id", (), (make_disk_id(),), make_layout(), ("a note",))
    assert decode_document(encode_document(plan), Plan) == plan
    probe = Probe(make_machine(), make_layout())
    assert decode_document(encode_document(probe), Probe) == probe


# Whatever the bytes

DECODERS: dict[str, tuple[Callable[[bytes], object], bytes]] = {}


def _sample_pack() -> tuple[PackBuilder, bytes]:
    builder = PackBuilder(MASTER, REPOSITORY, SALT)
    builder.add(pack.compress_frame([(bytes(32), _blocks(1, 3)), (b"1" * 32, _blocks(2, 1))]))
    return builder, builder.finish()[1]


def _decoders() -> dict[str, tuple[Callable[[bytes], object], bytes]]:
    builder, data = _sample_pack()
    header = Header(Kind.PACK, REPOSITORY, SALT)
    opener = PackOpener(MASTER, REPOSITORY, header.encode())
    entry = builder.frames[0]
    segment = IndexSegment.of([(bytes(32), builder.frames)])
    page = MapPage((bytes(32),), (Run(0, 4), Run(FREE, 9), Run(ZERO, 2)), (bytes(32),))
    slot = keyslot.wrap(MASTER, REPOSITORY, keyslot.PASSPHRASE, b"x", bytes(16), SOFT)
    sealed = seal.seal_document(MASTER, Header(Kind.INDEX, REPOSITORY, SALT), b"plain" * 99)
    return {
        "header": (lambda data: seal.decode_header(data, Kind.PACK, REPOSITORY), header.encode()),
        "sealed document": (
            lambda data: seal.open_document(MASTER, REPOSITORY, Kind.INDEX, data),
            sealed,
        ),
        "zstd": (lambda data: seal.decompress(data, 495), seal.compress(b"plain" * 99)),
        "pack table": (pack.decode_table, pack.encode_table(builder.frames)),
        "footer": (
            lambda found: pack.decode_footer(found, len(data)),
            data[-pack.FOOTER_SIZE :],
        ),
        "frame": (opener.frame, data[entry.offset : entry.offset + entry.stored]),
        "index": (decode_index, segment.encode()),
        "map page": (map.decode_page, map.encode_page(page)),
        "key slot": (keyslot.decode_slot, keyslot.encode_slot(slot)),
        "description": (decode_description, encode_description(Description(REPOSITORY))),
        "manifest": (
            lambda data: decode_document(data, Snapshot),
            encode_document(make_snapshot()),
        ),
        "plan": (
            lambda data: decode_document(data, Plan),
            encode_document(Plan("t", "s", (), (make_disk_id(),), make_layout())),
        ),
        "probe": (
            lambda data: decode_document(data, Probe),
            encode_document(Probe(make_machine(), make_layout())),
        ),
    }


DECODERS |= _decoders()
MEMORY = 24 * MiB


def take(name: str, data: bytes) -> object:
    """Decode; anything but `DamagedData` goes through to the test."""
    with suppress(DamagedData):
        return DECODERS[name][0](data)
    return None


@pytest.mark.parametrize("name", DECODERS)
@given(data=st.data())
def test_arbitrary_bytes(name: str, data: st.DataObject) -> None:
    good = DECODERS[name][1]
    noise = st.binary(max_size=300)
    start = st.integers(0, min(len(good), 80)).map(lambda length: good[:length])
    take(name, data.draw(noise | st.builds(bytes.__add__, start, noise)))


@pytest.mark.parametrize("name", DECODERS)
@given(data=st.data())
@settings(max_examples=150)
def test_changed_bytes(name: str, data: st.DataObject) -> None:
    """Bytes and whole words are changed, cut out, doubled, in any combination."""
    changed = bytearray(DECODERS[name][1])
    for _ in range(data.draw(st.integers(1, 4))):
        if not changed:
            break
        place = data.draw(st.integers(0, len(changed) - 1))
        match data.draw(st.sampled_from(["flip", "word", "cut", "double", "nothing"])):
            case "flip":
                changed[place] ^= data.draw(st.integers(1, 255))
            case "word":
                word = data.draw(st.sampled_from([0, 1, 0x7FFFFFFF, 0xFFFFFFFF]))
                changed[place : place + 4] = struct.pack("<I", word)
            case "cut":
                del changed[place : place + data.draw(st.integers(1, 40))]
            case "double":
                changed[place:place] = changed[place : place + 40]
            case _:
                del changed[place:]
    take(name, bytes(changed))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("name", ["manifest", "plan", "probe", "description", "key slot"])
@given(data=st.data())
def test_documents_with_other_values_in_them(name: str, data: st.DataObject) -> None:
    """Any value in the document is replaced by any other that JSON knows."""
    document = json.loads(DECODERS[name][1])
    place: Any = document
    while True:
        keys = [*place] if isinstance(place, dict) else [*range(len(place))]
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(
            JSON | st.sampled_from(["0001-01-01T00:00:00+23:59", "9" * 5000, "\ud800", 10**400])
        )
        break
    take(name, json.dumps(document).encode())


@pytest.mark.parametrize("name", ["manifest", "plan", "probe", "description", "key slot"])
@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000, "9" * 100_000, "null", "[]"])
def test_documents_that_are_bombs(name: str, text: str) -> None:
    with pytest.raises(DamagedData):
        DECODERS[name][0](text.encode())


@pytest.mark.parametrize("name", [name for name in DECODERS if name not in {"manifest", "probe"}])
def test_a_forged_count_takes_no_memory(name: str) -> None:
    """Each word in turn says four thousand million."""
    good = DECODERS[name][1]
    tracemalloc.start()
    try:
        for place in range(0, min(len(good), 200), 4):
            for word in (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\xff\xff\xff\x00"):
                take(name, good[:place] + word + good[place + 4 :])
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def test_a_newer_description_says_so() -> None:
    data = encode_description(Description(REPOSITORY)).replace(b'"version": 1', b'"version": 7')
    assert decode_description(data) == UnreadableVersion(7)


@pytest.mark.parametrize(
    "hardness",
    [
        Hardness(memory=1 << 31, iterations=1, lanes=1),
        Hardness(memory=64, iterations=1 << 30, lanes=1),
        Hardness(memory=8, iterations=1, lanes=64),
        Hardness(memory=0, iterations=1, lanes=0),
        Hardness(memory=-1, iterations=-1, lanes=-1),
    ],
)
def test_a_slot_that_asks_for_too_much(hardness: Hardness) -> None:
    slot = keyslot.wrap(MASTER, REPOSITORY, keyslot.PASSPHRASE, b"x", bytes(16), SOFT)
    hard = keyslot.KeySlot(slot.kind, slot.salt, hardness, slot.wrapped)
    with pytest.raises(DamagedData):
        keyslot.decode_slot(keyslot.encode_slot(hard))
