"""Model values as JSON and back: manifests, probe records, plans.

Bytes are base64 text, times ISO 8601 in UTC, unions carry a `class` key.
Unknown keys are ignored on reading, so that a newer minor version stays readable; everything
else that is not as declared is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime
from enum import Enum
from typing import Any, TypeVar

from cattrs import Converter
from cattrs.errors import BaseValidationError
from cattrs.strategies import configure_tagged_union

from recovery.errors import DamagedData
from recovery.model.layout import Node
from recovery.model.plan import Step

T = TypeVar("T")


def _bytes_from_text(text: Any, _: type[bytes]) -> bytes:
    if not isinstance(text, str):
        raise ValueError("not base64 text")
    return base64.b64decode(text.encode("ascii"), validate=True)


def _strictly(kind: type) -> Any:
    def structure(value: Any, _: type) -> Any:
        if type(value) is not kind:
            raise ValueError(f"not {kind.__name__}: {value!r}")
        return value

    return structure


def _time_from_text(text: Any, _: type[datetime]) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a time without zone")
    return time.astimezone(UTC)


def _converter() -> Converter:
    converter = Converter()
    converter.register_unstructure_hook(bytes, lambda data: base64.b64encode(data).decode())
    converter.register_structure_hook(bytes, _bytes_from_text)
    converter.register_unstructure_hook(datetime, lambda time: time.astimezone(UTC).isoformat())
    converter.register_structure_hook(datetime, _time_from_text)
    converter.register_unstructure_hook(Enum, lambda member: member.value)
    for kind in (int, str, bool):
        converter.register_structure_hook(kind, _strictly(kind))
    configure_tagged_union(Node, converter, tag_name="class")
    configure_tagged_union(Step, converter, tag_name="class")
    return converter


_CONVERTER = _converter()


def to_plain(value: Any, as_type: Any = None) -> Any:
    """The value as what JSON knows: dicts, lists, text, numbers, booleans."""
    return _CONVERTER.unstructure(value, unstructure_as=as_type)


def encode_document(value: Any) -> bytes:
    """The value as UTF-8 JSON, keys sorted: equal values give equal bytes."""
    return json.dumps(to_plain(value), sort_keys=True, indent=1, ensure_ascii=False).encode()


def decode_document(data: bytes, kind: type[T]) -> T:
    """The value of type `kind` in `data`. Raises `DamagedData` for anything else."""
    try:
        return _CONVERTER.structure(json.loads(data), kind)
    except (BaseValidationError, ValueError, TypeError, KeyError, binascii.Error) as error:
        raise DamagedData(f"this is not a valid {kind.__name__} document") from error
    except RecursionError as error:
        raise DamagedData(f"this {kind.__name__} document is nested too deeply") from error
