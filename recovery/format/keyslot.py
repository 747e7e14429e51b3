"""Key slots: the master key wrapped by a passphrase, by the recovery code, or by nothing.

A slot is a small JSON document. Passphrases go through Argon2id (RFC 9106); the recovery code
has 144 random bits, so HKDF is enough for it.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from recovery.errors import DamagedData
from recovery.format.seal import KEY_SIZE, TAG_SIZE, derive_key
from recovery.model.size import GiB, KiB, MiB

PASSPHRASE = "passphrase"
RECOVERY_CODE = "recovery-code"
OPEN = "open"

SALT_SIZE = 16
_WRAPPED_SIZES = {
    PASSPHRASE: KEY_SIZE + TAG_SIZE,
    RECOVERY_CODE: KEY_SIZE + TAG_SIZE,
    OPEN: KEY_SIZE,
}

CODE_SIZE = 18
"""Random bytes in a recovery code."""
_CHECK_SIZE = 2
_CHECK_START = 0xFFFF
# Crockford's alphabet: no I, L, O, U, so that a code survives handwriting and the telephone.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_STANDARD = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_ENCODE = str.maketrans(_STANDARD, _ALPHABET)
_DECODE = str.maketrans(_ALPHABET, _STANDARD)
_MISREAD = str.maketrans("OIL", "011", " -\t\n")
_NONCE = bytes(12)


@dataclass(frozen=True, slots=True)
class Hardness:
    """Argon2id parameters: memory in KiB."""

    memory: int = 256 * MiB // KiB
    iterations: int = 3
    lanes: int = 4


STRONG = Hardness()
_MEMORY_LIMIT = 2 * GiB // KiB


@dataclass(frozen=True, slots=True)
class KeySlot:
    """One wrapped copy of the master key; a salt serves for one wrapping only."""

    kind: str
    salt: bytes
    hardness: Hardness
    wrapped: bytes


def encode_slot(slot: KeySlot) -> bytes:
    """The slot as JSON."""
    document = {
        "kind": slot.kind,
        "salt": slot.salt.hex(),
        "memory": slot.hardness.memory,
        "iterations": slot.hardness.iterations,
        "lanes": slot.hardness.lanes,
        "wrapped": slot.wrapped.hex(),
    }
    if slot.kind == OPEN:
        document["warning"] = "this key is not protected: who has this file can read everything"
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"


def decode_slot(data: bytes) -> KeySlot:
    """The slot in `data`. Raises `DamagedData`, also for a kind that is not known here."""
    try:
        document = json.loads(data)
        numbers = [document[name] for name in ("memory", "iterations", "lanes")]
        if not all(type(number) is int for number in numbers):
            raise ValueError("not numbers")
        hardness = Hardness(*numbers)
        slot = KeySlot(
            document["kind"],
            bytes.fromhex(document["salt"]),
            hardness,
            bytes.fromhex(document["wrapped"]),
        )
        if len(slot.salt) != SALT_SIZE or len(slot.wrapped) != _WRAPPED_SIZES[slot.kind]:
            raise ValueError("lengths")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedData("a key slot is damaged, or of a kind that is not known here") from error
    sane = 0 < hardness.lanes <= 64 and 0 < hardness.iterations <= 100
    if not sane or not 8 * hardness.lanes <= hardness.memory <= _MEMORY_LIMIT:
        raise DamagedData("a key slot asks for more memory than is sane")
    return slot


def wrap(
    master: bytes,
    repository: bytes,
    kind: str,
    secret: bytes,
    salt: bytes,
    hardness: Hardness = STRONG,
) -> KeySlot:
    """A slot that gives `master` to who has `secret` (empty for an open slot)."""
    key = _wrapping_key(kind, secret, salt, hardness)
    wrapped = AESGCM(key).encrypt(_NONCE, master, _associated(repository, kind)) if key else master
    return KeySlot(kind, salt, hardness, wrapped)


def unwrap(slot: KeySlot, repository: bytes, secret: bytes) -> bytes | None:
    """The master key, or `None` if the secret is not the slot's."""
    key = _wrapping_key(slot.kind, secret, slot.salt, slot.hardness)
    if not key:
        return slot.wrapped
    try:
        return AESGCM(key).decrypt(_NONCE, slot.wrapped, _associated(repository, slot.kind))
    except (InvalidTag, ValueError):
        return None


def _wrapping_key(kind: str, secret: bytes, salt: bytes, hardness: Hardness) -> bytes:
    if kind == OPEN:
        return b""
    if kind == RECOVERY_CODE:
        return derive_key(secret, "recovery code", salt)
    return Argon2id(
        salt=salt,
        length=KEY_SIZE,
        iterations=hardness.iterations,
        lanes=hardness.lanes,
        memory_cost=hardness.memory,
    ).derive(secret)


def _associated(repository: bytes, kind: str) -> bytes:
    return repository + kind.encode()


def format_code(entropy: bytes) -> str:
    """A recovery code for 18 random bytes: eight groups of four, the last digits a check.

    >>> format_code(bytes(18))
    '0000-0000-0000-0000-0000-0000-0000-0HDB'
    """
    text = base64.b32encode(entropy + _check(entropy)).decode().translate(_ENCODE)
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def parse_code(text: str) -> bytes | None:
    """The 18 bytes of a recovery code as typed, or `None` if it is none, or mistyped.

    >>> parse_code("oooo 0000 0000 0000 0000 0000 0000 ohdb") == bytes(18)
    True
    >>> parse_code("1000-0000-0000-0000-0000-0000-0000-0HDB") is None
    True
    """
    plain = text.upper().translate(_MISREAD)
    if len(plain) != 32 or set(plain) - set(_ALPHABET):
        return None
    data = base64.b32decode(plain.translate(_DECODE))
    entropy, check = data[:CODE_SIZE], data[CODE_SIZE:]
    return entropy if check == _check(entropy) else None


def _check(entropy: bytes) -> bytes:
    # CRC-16-CCITT finds every wrong digit and every two that were swapped.
    return binascii.crc_hqx(entropy, _CHECK_START).to_bytes(_CHECK_SIZE, "big")
