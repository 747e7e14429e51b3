"""Stores for tests: one in memory, and one that fails when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from recovery.errors import DeviceFailed
from recovery.repository.store import ObjectMissing, Store


class MemoryStore:
    """Objects in a dictionary, which a test may copy and damage."""

    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        self.objects = dict(objects or {})

    @property
    def url(self) -> str:
        return "memory"

    def get(self, name: str) -> bytes:
        try:
            return self.objects[name]
        except KeyError:
            raise ObjectMissing(name) from None

    def get_range(self, name: str, start: int, length: int) -> bytes:
        assert start >= 0 and length >= 0, "a store is asked for what cannot be"
        return self.get(name)[start : start + length]

    def put(self, name: str, data: bytes) -> None:
        self.objects[name] = bytes(data)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        folder = f"{prefix}/" if prefix else ""
        for name, data in sorted(self.objects.items()):
            if name.startswith(folder):
                yield name, len(data)

    def delete(self, name: str) -> None:
        self.objects.pop(name, None)


class StoreBroke(DeviceFailed):
    """The failure that a test ordered."""


Fault = Literal["before", "after", "torn", "twice"]


@dataclass(frozen=True, slots=True)
class Order:
    """What goes wrong at call number `call` (from 0).

    `before`: nothing is done; `after`: it is done, but told as failed; `torn`: `share` of the
    bytes of a put are there, as on a store that is not atomic; `twice`: a put is sent again.
    """

    call: int
    fault: Fault = "before"
    share: float = 0.5
    verbs: frozenset[str] = frozenset({"get", "get_range", "put", "list", "delete"})


class FaultyStore:
    """Passes calls on to `inner`; from the ordered call on it fails for good, as a dead disk does.

    Without an order it is healthy and counts.
    """

    def __init__(self, inner: Store, order: Order | None = None) -> None:
        self._inner = inner
        self._order = order
        self._lock = threading.Lock()
        self.calls: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return self._inner.url

    def _due(self, verb: str, name: str) -> Fault | None:
        """The fault that hits this call, if one does; later calls find the store dead."""
        order = self._order
        with self._lock:
            if order is not None and verb not in order.verbs:
                return None
            number = len(self.calls)
            self.calls.append((verb, name))
        if order is None or number < order.call:
            return None
        if number == order.call:
            return order.fault
        return None if order.fault == "twice" else "before"

    def _reading(self, verb: str, name: str) -> None:
        if self._due(verb, name) not in {None, "twice"}:
            raise StoreBroke(f"{verb} {name}")

    def get(self, name: str) -> bytes:
        self._reading("get", name)
        return self._inner.get(name)

    def get_range(self, name: str, start: int, length: int) -> bytes:
        self._reading("get_range", name)
        return self._inner.get_range(name, start, length)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        self._reading("list", prefix)
        yield from self._inner.list(prefix)

    def put(self, name: str, data: bytes) -> None:
        fault = self._due("put", name)
        if fault == "torn" and self._order is not None:
            self._inner.put(name, data[: int(len(data) * self._order.share)])
        elif fault != "before":
            self._inner.put(name, data)
        if fault == "twice":
            self._inner.put(name, data)
        elif fault is not None:
            raise StoreBroke(f"put {name}")

    def delete(self, name: str) -> None:
        self._reading("delete", name)
        self._inner.delete(name)
