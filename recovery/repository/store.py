"""The dumb object storage under a repository.

Object names are relative paths with `/`. Objects are immutable, but for those that `put` is
told to replace. No rename, append, lock or listing order is assumed of a store.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from recovery.errors import RecoveryError


class ObjectMissing(RecoveryError):
    """The store has no object of this name."""

    exit_code = 40

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the repository has lost {name}",
            hint="run `recovery check` to see what is affected",
        )


_HEX = frozenset("0123456789abcdef")


def named_by_digest(store: Store, folder: str) -> Iterator[tuple[str, int]]:
    """Name and size of the objects in a folder whose objects are named by a BLAKE3.

    What file managers leave on shares and sticks (`Thumbs.db`, `._x`) is passed over.
    """
    for name, size in store.list(folder):
        text = name.rpartition("/")[2]
        if len(text) == 64 and _HEX.issuperset(text):
            yield name, size


def digest_in(name: str) -> bytes:
    """The BLAKE3 that an object from `named_by_digest` is named by."""
    return bytes.fromhex(name.rpartition("/")[2])


class Store(Protocol):
    """What every store can do; `tests/contract/test_store.py` is the full promise.

    Raises `ObjectMissing`, `OutOfSpace` or `DeviceFailed`.
    """

    @property
    def url(self) -> str:
        """Where the store is, as users write it."""
        ...

    def get(self, name: str) -> bytes:
        """The whole object."""
        ...

    def get_range(self, name: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`; fewer where the object ends before."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Write the object; afterwards it is there whole and lasts, or it is not there."""
        ...

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Name and size of every object whose name starts with the folder `prefix`."""
        ...

    def delete(self, name: str) -> None:
        """Remove the object; none being there is no error."""
        ...
