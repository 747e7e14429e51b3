"""Get a disk out of a repository without the program that made it.

Written from docs/repository-format.md alone (section numbers are its own); imports nothing of the
product, only the standard library, blake3, cryptography and zstandard. Slow and simple.

    python tests/independent_reader.py REPOSITORY SECRET OUT.img [--snapshot ID] [--disk ID]
    python tests/independent_reader.py REPOSITORY SECRET --list

SECRET is the passphrase or the recovery code, `-` to read it from standard input, "" for an open
key. `--without-index` finds chunks by the trailers of packs.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import re
import struct
import sys
import uuid
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from zstandard import ZstdDecompressor, ZstdError, get_frame_parameters

BLOCK, SEGMENT, PAGE = 4096, 4 << 20, 1 << 30
FREE, ZERO = 0xFFFFFFFF, 0xFFFFFFFE
CROCKFORD = str.maketrans(
    "0123456789ABCDEFGHJKMNPQRSTVWXYZOIL", "0123456789abcdefghijklmnopqrstuv011"
)


class Damaged(Exception):
    """The bytes are not what the document says."""


UNREADABLE = (Damaged, InvalidTag, ZstdError, struct.error, OSError)


def require(sound: bool, what: str) -> None:
    if not sound:
        raise Damaged(what)


def derive(key: bytes, info: str, salt: bytes | None = None) -> bytes:
    return HKDF(SHA256(), 32, salt, f"recovery/1/{info}".encode()).derive(key)


def decompress(data: bytes, length: int) -> bytes:
    require(get_frame_parameters(data).content_size == length, "compressed length")
    return ZstdDecompressor().decompress(data, max_output_size=length)


# Section 2: repo.json and key slots


def read_id(folder: Path) -> bytes:
    for name in ("repo.json", "repo.copy.json"):
        try:
            document = json.loads((folder / name).read_bytes())
            id = bytes.fromhex(document["id"])
            require(document["magic"] == "recovery repository", "magic")
            require(document["check"] == blake3(id).hexdigest()[:16], "check of the id")
        except (OSError, ValueError, KeyError, Damaged):
            continue
        require(document["version"] == 1 and not document["features"]["read"], "newer format")
        return id
    raise Damaged("no readable repo.json")


def parse_code(text: str) -> bytes | None:
    digits = text.upper().replace("-", "").replace(" ", "").translate(CROCKFORD)
    if len(digits) != 32 or not digits.isalnum() or "U" in digits:
        return None
    data = int(digits, 32).to_bytes(20, "big")
    check = binascii.crc_hqx(data[:18], 0xFFFF).to_bytes(2, "big")
    return data[:18] if check == data[18:] else None


def read_master(folder: Path, repository: bytes, secret: str) -> bytes:
    for path in sorted((folder / "keys").iterdir()):
        data = path.read_bytes()
        if blake3(data).hexdigest() == path.name:
            master = unwrap(json.loads(data), repository, secret)
            if master is not None:
                return master
    raise Damaged("no key slot opens with this secret")


def unwrap(slot: dict[str, Any], repository: bytes, secret: str) -> bytes | None:
    kind, salt, wrapped = slot["kind"], bytes.fromhex(slot["salt"]), bytes.fromhex(slot["wrapped"])
    code = parse_code(secret)
    if kind == "open" and not secret:
        return wrapped
    if kind == "recovery-code" and code is not None:
        key = derive(code, "recovery code", salt)
    elif kind == "passphrase" and secret:
        cost = {"memory_cost": slot["memory"], "iterations": slot["iterations"]}
        key = Argon2id(salt=salt, length=32, lanes=slot["lanes"], **cost).derive(secret.encode())
    else:
        return None
    try:
        return AESGCM(key).decrypt(bytes(12), wrapped, repository + kind.encode())
    except InvalidTag:
        return None


class Repository:
    """Sections 3 to 6: objects, packs, index segments, streams."""

    def __init__(self, folder: Path, secret: str, *, use_index: bool = True) -> None:
        self.folder, self.id = folder, read_id(folder)
        self.master = read_master(folder, self.id, secret)
        self.chunk_key = derive(self.master, "chunk id")
        self.packs = {p.name: p for p in folder.glob(f"packs/??/{'?' * 64}")}
        # By the first 12 bytes of an id: pack, frame (offset, stored), chunk (offset, length).
        self.places: dict[bytes, list[tuple[str, int, int, int, int]]] = {}
        self.read_frame = lru_cache(64)(self._read_frame)
        self.listed: set[str] = set()
        if use_index:
            self._each(sorted(folder.glob(f"index/{'?' * 64}")), self._read_index)
        self._each([self.packs[n] for n in sorted(self.packs.keys() - self.listed)], self._list)

    def _each(self, paths: list[Path], read: Callable[[Path], None]) -> None:
        for path in paths:
            try:
                read(path)
            except UNREADABLE as error:
                print(f"{path} is passed over: {error!r}", file=sys.stderr)

    def opener(self, header: bytes, kind: int, name: str) -> Callable[[int, bytes, bytes], bytes]:
        require(header[:16] == struct.pack("<8sHHI", b"RECOVERY", 1, kind, 0), f"{name} header")
        require(header[16:32] == self.id and len(header) == 64, f"{name} of another repository")
        cipher = AESGCM(derive(self.master, name, header[32:]))
        return lambda part, sealed, associated: cipher.decrypt(
            struct.pack("<Q4x", part), sealed, header + associated
        )

    def read_document(self, path: Path, kind: int, name: str) -> bytes:
        data = path.read_bytes()
        opened = self.opener(data[:64], kind, name)(0, data[72:], data[64:72])
        (length,) = struct.unpack("<Q", data[64:72])
        require(length < 1 << 31, "document length")
        return decompress(opened, length) if length else b""

    def _read_index(self, path: Path) -> None:
        plain = self.read_document(path, 2, "index")
        pack_count, frame_count, row_count = struct.unpack_from("<III", plain)
        frames_at = 12 + 32 * pack_count
        rows_at = frames_at + 20 * frame_count
        require(len(plain) == rows_at + 20 * row_count, "index length")
        names = [plain[at : at + 32].hex() for at in range(12, frames_at, 32)]
        frames = list(struct.iter_unpack("<QIII", plain[frames_at:rows_at]))
        for high, low, frame, start, blocks in struct.iter_unpack("<QIIHH", plain[rows_at:]):
            offset, pack, stored, _ = frames[frame]
            place = (names[pack], offset, stored, start * BLOCK, blocks * BLOCK)
            self.places.setdefault(struct.pack(">QI", high, low), []).append(place)
        self.listed.update(names)

    def _list(self, path: Path) -> None:
        data = path.read_bytes()
        magic, at, stored, length, digest = struct.unpack("<8sQII32s8x", data[-64:])
        require(magic == b"PACKTAIL" and at + stored + 64 == len(data), "footer")
        require(length <= 256 << 20, "trailer length")
        sealed = data[at : at + stored]
        require(blake3(sealed).digest() == digest, "digest of the trailer")
        opened = self.opener(data[:64], 1, "pack")(0xFFFFFFFF, sealed, b"")
        table, at = decompress(opened, length), 4
        for _ in range(*struct.unpack_from("<I", table)):
            offset, stored, plain, _, chunks = struct.unpack_from("<QIIII", table, at)
            at, start = at + 24, 0
            for _ in range(chunks):
                id, length = struct.unpack_from("<32sI", table, at)
                place = (path.name, offset, stored, start, length)
                self.places.setdefault(id[:12], []).append(place)
                at, start = at + 36, start + length
            require(start == plain, "chunks of a frame")
        require(at == len(table), "trailer length")

    def _read_frame(self, pack: str, offset: int, stored: int) -> bytes:
        require(pack in self.packs, "the pack is gone")
        with self.packs[pack].open("rb") as file:
            open_part = self.opener(file.read(64), 1, "pack")
            file.seek(offset)
            data = file.read(stored)
        magic, number, length, plain, flags, _ = struct.unpack_from("<4sIIIII", data)
        require(magic == b"FRAM" and length == len(data) and plain <= 2 << 20, "frame header")
        body = open_part(number, data[24:], data[:24])
        return body if flags & 1 else decompress(body, plain)

    def read_chunk(self, id: bytes) -> bytes:
        for pack, offset, stored, start, length in self.places.get(id[:12], []):
            try:
                chunk = self.read_frame(pack, offset, stored)[start : start + length]
            except UNREADABLE:
                continue
            if blake3(chunk, key=self.chunk_key).digest() == id:
                return chunk
        raise Damaged(f"chunk {id.hex()} is lost")

    def read_stream(self, stream: dict[str, Any]) -> bytes:
        data = b"".join(self.read_chunk(base64.b64decode(id)) for id in stream["chunks"])
        require(0 <= len(data) - stream["length"] < BLOCK, "length of a stream")
        return data[: stream["length"]]

    def snapshots(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self.folder.glob("snapshots/*")):
            if not re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]+", path.name):
                continue
            snapshot = json.loads(self.read_document(path, 3, "snapshot"))
            require(snapshot["id"] == path.name, "id of a snapshot")
            yield snapshot

    def write_volume(self, volume: dict[str, Any], file: BinaryIO) -> None:
        """Section 6. Free and zero blocks are left as they are: the file is new."""
        size = volume["size"]
        require(len(volume["map"]) == -(-size // PAGE), "number of pages")
        for number, stream in enumerate(volume["map"]):
            page = self.read_stream(stream)
            magic, blocks, ids, runs, digests = struct.unpack_from("<4s4I", page)
            runs_at, digests_at = 20 + 32 * ids, 20 + 32 * ids + 12 * runs
            require(magic == b"MAP1" and len(page) == digests_at + 32 * digests, "page")
            require(blocks == -(-min(PAGE, size - number * PAGE) // BLOCK), "cover of a page")
            hashers, block = [blake3() for _ in range(digests)], 0
            for source, count, offset in struct.iter_unpack("<III", page[runs_at:digests_at]):
                data = bytes(count * BLOCK if source != FREE else 0)
                if source < ZERO:
                    chunk = self.read_chunk(page[20 + 32 * source :][:32])
                    data = chunk[offset * BLOCK : (offset + count) * BLOCK]
                    require(len(data) == count * BLOCK, "run beyond its chunk")
                    start = number * PAGE + block * BLOCK
                    file.seek(volume["start"] + start)
                    file.write(data[: size - start])
                for at in range(0, len(data), BLOCK):
                    hashers[(block * BLOCK + at) // SEGMENT].update(data[at : at + BLOCK])
                block += count
            require(block == blocks and digests == -(-blocks // 1024), "blocks of a page")
            require(b"".join(h.digest() for h in hashers) == page[digests_at:], "digests")


# Section 7: partition tables


def chs(sector: int) -> bytes:
    cylinder, rest = divmod(sector, 255 * 63)
    last = cylinder > 1023
    return (
        b"\xfe\xff\xff"
        if last
        else bytes((rest // 63, rest % 63 + 1 | cylinder >> 2 & 0xC0, cylinder & 0xFF))
    )


def mbr(boot: bytes, signature: int, slots: dict[int, tuple[int, int, int, int]]) -> bytes:
    """The first sector; slots are active, type, first sector, sectors."""
    data = bytearray(boot.ljust(440, b"\0") + struct.pack("<I66x", signature) + b"\x55\xaa")
    for slot, (active, type, first, count) in slots.items():
        entry = struct.pack("<B3sB3s", 0x80 * active, chs(first), type, chs(first + count - 1))
        data[430 + 16 * slot : 446 + 16 * slot] = entry + struct.pack("<II", first, count)
    return bytes(data)


def table_of(layout: dict[str, Any], disk: dict[str, Any]) -> list[tuple[int, bytes]]:
    """What of the disk's table stands where."""
    nodes = [node for node in layout["nodes"] if "on" in node]
    table = next((n for n in nodes if n["class"] == "Table" and n["on"] == disk["id"]), None)
    if table is None:
        return []
    boot, sector = base64.b64decode(table["boot_code"]), disk["logical_sector"]
    parts = [n for n in nodes if n["class"] == "Partition" and n["on"] == table["id"]]
    places = {p["number"]: (p["start"] // sector, p["size"] // sector) for p in parts}
    if table["scheme"] == "dos":
        require(max(places, default=1) < 5, "logical partitions are not done here: use sfdisk")
        kinds = {p["number"]: (p["attributes"] & 1, int(p["type"], 16)) for p in parts}
        slots = {number: (*kinds[number], *place) for number, place in places.items()}
        return [(0, mbr(boot, int(table["identifier"], 16), slots))]
    count, last = table["entries"], disk["disk"]["size"] // sector - 1
    length = -(-count * 128 // sector)
    array = bytearray(length * sector)
    for p in parts:
        first, sectors = places[p["number"]]
        entry = uuid.UUID(p["type"]).bytes_le + uuid.UUID(p["identifier"]).bytes_le
        entry += struct.pack("<QQQ", first, first + sectors - 1, p["attributes"])
        entry += p["name"].encode("utf-16-le").ljust(72, b"\0")
        array[128 * (p["number"] - 1) : 128 * p["number"]] = entry
    room, checksum = max(length, 16384 // sector), zlib.crc32(array[: count * 128])
    usable = max(2 + length, min([2 + room, *(first for first, _ in places.values())]))
    end = min(last - length, max([last - room, *(sum(place) for place in places.values())]))

    def header(own: int, other: int, at: int) -> bytes:
        numbers = struct.pack("<4xQQQQ", own, other, usable, end - 1)
        tail = numbers + uuid.UUID(table["identifier"]).bytes_le
        tail += struct.pack("<QIII", at, count, 128, checksum)
        head = struct.pack("<8sII", b"EFI PART", 0x10000, 92)
        whole = head + struct.pack("<I", zlib.crc32(head + bytes(4) + tail)) + tail
        return whole.ljust(sector, b"\0")

    first_sector = mbr(boot, 0, {1: (0, 0xEE, 1, min(last, 0xFFFFFFFF))})
    front = first_sector.ljust(sector, b"\0") + header(1, last, 2) + array
    back = array + header(last, 1, last - length)
    return [(0, bytes(front)), ((last - length) * sector, bytes(back))]


def write_disk(repository: Repository, snapshot: dict[str, Any], disk: str, path: Path) -> None:
    """A new raw image file of one disk of the snapshot, of the same size as the disk."""
    nodes = snapshot["layout"]["nodes"]
    disks = [n for n in nodes if n["class"] == "DiskNode" and disk in ("", n["id"])]
    require(len(disks) == 1, f"choose a disk: {[n['id'] for n in disks]}")
    with path.open("xb") as file:
        file.truncate(disks[0]["disk"]["size"])
        for start, data in table_of(snapshot["layout"], disks[0]):
            file.seek(start)
            file.write(data)
        for volume in snapshot["volumes"]:
            if volume["disk"] == disks[0]["id"]:
                repository.write_volume(volume, file)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("repository", type=Path)
    parser.add_argument("secret")
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--snapshot", default="", help="default: the newest")
    parser.add_argument("--disk", default="", help="needed where the snapshot has several")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--without-index", action="store_true")
    given = parser.parse_args(arguments)
    secret = sys.stdin.readline().rstrip("\n") if given.secret == "-" else given.secret
    repository = Repository(given.repository, secret, use_index=not given.without_index)
    found = [s for s in repository.snapshots() if s["id"].startswith(given.snapshot)]
    require(bool(found), "no such snapshot")
    for snapshot in found if given.list or given.out is None else ():
        print(snapshot["id"], snapshot["host"], snapshot["taken_at"], snapshot["note"])
    if given.out is not None:
        write_disk(repository, found[-1], given.disk, given.out)


if __name__ == "__main__":
    main(sys.argv[1:])
