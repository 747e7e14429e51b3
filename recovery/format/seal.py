"""Sealing: every stored object is encrypted and authenticated under a key of its own.

An object starts with a 64-byte header in the clear. Its key is derived from the repository's
master key and the header's random salt, so the counter nonces of its parts never repeat under
one key; the header is associated data of every part, so that no part can be moved elsewhere.

AES-256-GCM: NIST SP 800-38D. HKDF: RFC 5869.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from recovery.errors import DamagedData

MAGIC = b"RECOVERY"
VERSION = 1
KEY_SIZE = 32
SALT_SIZE = 32
TAG_SIZE = 16
ID_SIZE = 16

_HEADER = struct.Struct("<8sHHI16s32s")
HEADER_SIZE = _HEADER.size
_LENGTH = struct.Struct("<Q")
_NONCE = struct.Struct("<QI")

DOCUMENT_LIMIT = 1 << 31
"""Largest plain size of an index or manifest that is believed, in bytes."""


class Kind(IntEnum):
    """What an object is."""

    PACK = 1
    INDEX = 2
    SNAPSHOT = 3


@dataclass(frozen=True, slots=True)
class Header:
    """The clear beginning of a stored object."""

    kind: Kind
    repository: bytes
    salt: bytes

    def encode(self) -> bytes:
        """64 bytes."""
        return _HEADER.pack(MAGIC, VERSION, self.kind, 0, self.repository, self.salt)


def decode_header(data: bytes, kind: Kind, repository: bytes) -> Header:
    """The header at the start of `data`, which must be of this kind and repository.

    Raises `DamagedData`. A version that is not known is damage too: `repo.json` tells which
    format a repository has, and one flipped bit here must cost no more than this object.
    """
    if len(data) < HEADER_SIZE:
        raise DamagedData("a stored object is cut off")
    magic, version, found, flags, owner, salt = _HEADER.unpack_from(data)
    if magic != MAGIC or found != kind or owner != repository:
        raise DamagedData(f"a stored object is not the {kind.name.lower()} it should be")
    if version != VERSION or flags:
        raise DamagedData("a stored object is damaged, or of a format that is not known here")
    return Header(kind, owner, salt)


def derive_key(key: bytes, purpose: str, salt: bytes = b"") -> bytes:
    """32 bytes for one purpose; HKDF-SHA256."""
    derivation = HKDF(
        algorithm=hashes.SHA256(),
        length=KEY_SIZE,
        salt=salt or None,
        info=b"recovery/1/" + purpose.encode(),
    )
    return derivation.derive(key)


class ObjectCipher:
    """Seals and opens the numbered parts of one object."""

    def __init__(self, master: bytes, header: Header) -> None:
        self._associated = header.encode()
        self._cipher = AESGCM(derive_key(master, header.kind.name.lower(), header.salt))

    def seal(self, part: int, plain: bytes, associated: bytes = b"") -> bytes:
        """`plain` sealed as part number `part`, 16 bytes longer; a number serves once only."""
        return self._cipher.encrypt(_NONCE.pack(part, 0), plain, self._associated + associated)

    def open(self, part: int, sealed: bytes, associated: bytes = b"") -> bytes:
        """What was sealed as this part. Raises `DamagedData`."""
        try:
            return self._cipher.decrypt(_NONCE.pack(part, 0), sealed, self._associated + associated)
        except (InvalidTag, ValueError) as error:
            raise DamagedData("a stored object was changed or damaged") from error


def compress(plain: bytes, level: int = 3) -> bytes:
    """One zstd frame that tells its content size."""
    return zstandard.ZstdCompressor(level=level).compress(plain)


def decompress(data: bytes, length: int) -> bytes:
    """The `length` bytes in one zstd frame. Raises `DamagedData` for any other length."""
    try:
        found = zstandard.get_frame_parameters(data).content_size
        if found != length:
            raise DamagedData("a stored object has another length than it says")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=length)
    except zstandard.ZstdError as error:
        raise DamagedData("a stored object does not decompress") from error


def seal_document(master: bytes, header: Header, plain: bytes) -> bytes:
    """A whole object with one part: header, plain length, sealed zstd frame."""
    length = _LENGTH.pack(len(plain))
    sealed = ObjectCipher(master, header).seal(0, compress(plain), length)
    return header.encode() + length + sealed


def open_document(master: bytes, repository: bytes, kind: Kind, data: bytes) -> bytes:
    """The plain content of an object made by `seal_document`. Raises `DamagedData`."""
    header = decode_header(data, kind, repository)
    body = HEADER_SIZE + _LENGTH.size
    if len(data) < body + TAG_SIZE:
        raise DamagedData("a stored object is cut off")
    prefix = data[HEADER_SIZE:body]
    (length,) = _LENGTH.unpack(prefix)
    compressed = ObjectCipher(master, header).open(0, data[body:], prefix)
    if length > DOCUMENT_LIMIT:
        raise DamagedData("a stored object is larger than it can be")
    return decompress(compressed, length) if length else b""
