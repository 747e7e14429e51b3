"""A repository: one machine's or a fleet's snapshots, with their keys."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from datetime import datetime

from blake3 import blake3

from recovery.errors import DamagedData, NoRepository, RecoveryError, Refused
from recovery.format.description import (
    Description,
    UnreadableVersion,
    decode_description,
    encode_description,
)
from recovery.format.document import decode_document, encode_document
from recovery.format.keyslot import STRONG, Hardness
from recovery.format.pack import CHUNK_LIMIT
from recovery.format.seal import ID_SIZE, SALT_SIZE, Header, Kind, open_document, seal_document
from recovery.model.size import BLOCK, align_up
from recovery.model.snapshot import Snapshot
from recovery.repository.index import ChunkIndex
from recovery.repository.keys import Keys, create_keys, is_protected, unlock
from recovery.repository.store import ObjectMissing, Store

DESCRIPTION = "repo.json"
DESCRIPTION_COPY = "repo.copy.json"
SNAPSHOT_FOLDER = "snapshots"

_SNAPSHOT_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]+")

KNOWN_FEATURES: frozenset[str] = frozenset()


class Repository:
    """An opened repository; the index is read when it is first needed."""

    def __init__(
        self, store: Store, id: bytes, keys: Keys, write_features: tuple[str, ...] = ()
    ) -> None:
        self.store = store
        self.id = id
        self.keys = keys
        self._write_features = write_features
        self._index: ChunkIndex | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return self.store.url

    @property
    def index(self) -> ChunkIndex:
        """Where every chunk is."""
        if self._index is None:
            index = ChunkIndex(self.store, self.keys.master, self.id)
            index.load()
            # Only now: an index that could not be read must not pass for an empty one.
            self._index = index
        return self._index

    def require_writable(self) -> None:
        """Raise `NoRepository` if writing needs a feature that this program does not know."""
        _require_known(self.store, self._write_features)

    def forget_index(self) -> None:
        """Read the index anew when it is next needed."""
        self._index = None

    def chunk_id(self, data: bytes | memoryview) -> bytes:
        """The name of a chunk: its keyed BLAKE3."""
        return blake3(data, key=self.keys.chunk_id).digest()

    def write_snapshot(self, snapshot: Snapshot) -> None:
        """Commit the snapshot. Everything that it refers to must be stored before."""
        header = Header(Kind.SNAPSHOT, self.id, secrets.token_bytes(SALT_SIZE))
        data = seal_document(self.keys.master, header, encode_document(snapshot))
        self.store.put(f"{SNAPSHOT_FOLDER}/{snapshot.id}", data)

    def read_snapshot(self, id: str) -> Snapshot:
        """The snapshot with this id. Raises `DamagedData` where it is not what was written."""
        data = self.store.get(f"{SNAPSHOT_FOLDER}/{id}")
        try:
            plain = open_document(self.keys.master, self.id, Kind.SNAPSHOT, data)
            snapshot = decode_document(plain, Snapshot)
        except DamagedData as error:
            raise DamagedData(
                f"snapshot {id} is damaged: {error}", hint="other snapshots are not affected"
            ) from error
        if snapshot.id != id:
            raise DamagedData(f"snapshot {id} holds another snapshot, {snapshot.id}")
        return snapshot

    def snapshot_ids(self) -> tuple[str, ...]:
        """Ids of all snapshots, oldest first."""
        names = (name.rpartition("/")[2] for name, _ in self.store.list(SNAPSHOT_FOLDER))
        # What file managers leave on shares and sticks is no snapshot.
        return tuple(sorted(name for name in names if _SNAPSHOT_ID.fullmatch(name)))

    def snapshots(self) -> Iterator[Snapshot | DamagedData]:
        """All snapshots, oldest first; for one that cannot be read, what is wrong with it."""
        for id in self.snapshot_ids():
            try:
                yield self.read_snapshot(id)
            except DamagedData as error:
                yield error
            except ObjectMissing:
                continue


def new_snapshot_id(taken_at: datetime) -> str:
    """An id that sorts by time, also within a second, and collides with none."""
    return f"{taken_at:%Y%m%dT%H%M%SZ}-{taken_at.microsecond:05x}{secrets.token_hex(2)}"


def pad(data: bytes) -> bytes:
    """`data` with zeros up to a whole number of blocks."""
    return data.ljust(align_up(len(data), BLOCK), b"\0")


def pieces(data: bytes) -> Iterator[bytes]:
    """A document cut into chunks; the last is padded to whole blocks."""
    for start in range(0, len(data), CHUNK_LIMIT):
        yield pad(data[start : start + CHUNK_LIMIT])


def init_repository(
    store: Store, passphrase: str | None, hardness: Hardness = STRONG
) -> tuple[Repository, str]:
    """Make a repository in an empty store; also returns its recovery code.

    Raises `Refused` where there is one already, or something else.
    """
    if next(store.list(""), None) is not None:
        raise Refused(
            f"{store.url} is not empty",
            hint="name an empty or new folder; an existing repository is used as it is",
        )
    id = secrets.token_bytes(ID_SIZE)
    keys, code = create_keys(store, id, passphrase, hardness)
    data = encode_description(Description(id))
    # The description goes last: what has one is a repository with keys.
    store.put(DESCRIPTION_COPY, data)
    store.put(DESCRIPTION, data)
    return Repository(store, id, keys), code


def open_repository(store: Store, secret: str | None) -> Repository:
    """Open by passphrase or recovery code. Raises `NoRepository`, `WrongPassphrase`, ..."""
    description = read_description(store)
    keys = unlock(store, description.id, secret)
    return Repository(store, description.id, keys, description.write)


def needs_secret(store: Store) -> bool:
    """Whether the repository asks for a passphrase. Raises `NoRepository`."""
    read_description(store)
    return is_protected(store)


def read_description(store: Store) -> Description:
    """What the repository says about itself. Raises `NoRepository` or `DamagedData`."""
    found: list[RecoveryError] = []
    for name in (DESCRIPTION, DESCRIPTION_COPY):
        try:
            description = decode_description(store.get(name))
            return _understood(store, description)
        except (DamagedData, NoRepository) as error:
            # A flipped version is not to hide the good copy.
            found.append(error)
        except ObjectMissing:
            continue
    if found:
        first = found[0]
        first.hint = first.hint or "bring back repo.json from a copy of the repository"
        raise first
    raise NoRepository(
        f"{store.url} is not a repository",
        hint="check the path; `recovery init` makes a new repository",
    )


def _understood(store: Store, description: Description | UnreadableVersion) -> Description:
    if isinstance(description, UnreadableVersion):
        raise _too_new(store, f"format version {description.version}")
    _require_known(store, description.read)
    return description


def _require_known(store: Store, features: tuple[str, ...]) -> None:
    unknown = sorted(set(features) - KNOWN_FEATURES)
    if unknown:
        raise _too_new(store, f"the feature {unknown[0]}")


def _too_new(store: Store, what: str) -> NoRepository:
    return NoRepository(
        f"the repository at {store.url} uses {what}, which is newer than this program",
        hint="use the newest version of this program",
    )
