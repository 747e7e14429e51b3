"""Making and finding the master key of a repository."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from blake3 import blake3

from recovery.errors import DamagedData, PassphraseNeeded, WrongPassphrase
from recovery.format import keyslot
from recovery.format.keyslot import STRONG, Hardness, KeySlot
from recovery.format.seal import KEY_SIZE, derive_key
from recovery.repository.store import Store, named_by_digest

FOLDER = "keys"
SALT_SIZE = 16


@dataclass(frozen=True, slots=True)
class Keys:
    """The master key and what is derived from it; never printed."""

    master: bytes = field(repr=False)
    chunk_id: bytes = field(repr=False)
    cut: bytes = field(repr=False)


def keys_from(master: bytes) -> Keys:
    """All keys of a repository."""
    return Keys(master, derive_key(master, "chunk id"), derive_key(master, "cut points"))


def create_keys(
    store: Store, repository: bytes, passphrase: str | None, hardness: Hardness = STRONG
) -> tuple[Keys, str]:
    """A new master key in the store's key slots, and the recovery code that also opens it.

    Without a passphrase the key lies open in the store, and the code is still made.
    """
    master = secrets.token_bytes(KEY_SIZE)
    entropy = secrets.token_bytes(keyslot.CODE_SIZE)
    kind = keyslot.OPEN if passphrase is None else keyslot.PASSPHRASE
    secret = b"" if passphrase is None else _typed(passphrase)
    for slot_kind, slot_secret in ((kind, secret), (keyslot.RECOVERY_CODE, entropy)):
        salt = secrets.token_bytes(SALT_SIZE)
        slot = keyslot.wrap(master, repository, slot_kind, slot_secret, salt, hardness)
        data = keyslot.encode_slot(slot)
        store.put(f"{FOLDER}/{blake3(data).hexdigest()}", data)
    return keys_from(master), keyslot.format_code(entropy)


def is_protected(store: Store) -> bool:
    """Whether a secret is needed to open the repository."""
    return _is_protected(_slots(store))


def _is_protected(slots: Sequence[KeySlot]) -> bool:
    # An open slot beside one with a passphrase was put there by who wants to read along.
    kinds = {slot.kind for slot in slots}
    return keyslot.PASSPHRASE in kinds or keyslot.OPEN not in kinds


def unlock(store: Store, repository: bytes, secret: str | None) -> Keys:
    """The keys that `secret`, a passphrase or the recovery code, opens.

    Raises `PassphraseNeeded`, `WrongPassphrase`, or `DamagedData` where no slot is left.
    """
    slots = _slots(store)
    if not slots:
        raise DamagedData(
            "the repository has no readable key slot",
            hint="bring back its folder `keys` from a copy; without a key nothing can be read",
        )
    protected = _is_protected(slots)
    for slot in slots:
        if protected and slot.kind == keyslot.OPEN:
            continue
        for candidate in _secrets_for(slot, secret):
            master = keyslot.unwrap(slot, repository, candidate)
            if master is not None:
                return keys_from(master)
    if secret is None:
        raise PassphraseNeeded(
            "the repository is protected by a passphrase",
            hint="give --passphrase-file FILE, or type it at the prompt",
        )
    if not protected:
        raise WrongPassphrase(
            "the repository has no passphrase, and this is not its recovery code",
            hint="open it without a passphrase, if you know that it was made without one",
        )
    raise WrongPassphrase(
        "the passphrase is wrong",
        hint="try again, or use the recovery code that was shown when the repository was made",
    )


def _secrets_for(slot: KeySlot, secret: str | None) -> tuple[bytes, ...]:
    if slot.kind == keyslot.OPEN:
        # Who gives a secret relies on it; a key that anyone may have put there will not do.
        return (b"",) if secret is None else ()
    if secret is None:
        return ()
    code = keyslot.parse_code(secret)
    if slot.kind == keyslot.RECOVERY_CODE:
        return () if code is None else (code,)
    return (_typed(secret),)


def read_slot(store: Store, name: str) -> KeySlot:
    """One key slot. Raises `DamagedData`."""
    data = store.get(name)
    if blake3(data).hexdigest() != name.rpartition("/")[2]:
        raise DamagedData("a key slot is not what was written")
    return keyslot.decode_slot(data)


def _slots(store: Store) -> tuple[KeySlot, ...]:
    """All readable slots, the cheap kinds first. A damaged slot must not hide a good one."""
    slots = []
    for name, _ in named_by_digest(store, FOLDER):
        with suppress(DamagedData):
            slots.append(read_slot(store, name))
    return tuple(sorted(slots, key=lambda slot: slot.kind == keyslot.PASSPHRASE))


def _typed(secret: str) -> bytes:
    """The bytes of a passphrase; a file may hold some that are no UTF-8."""
    return secret.encode(errors="surrogateescape")
