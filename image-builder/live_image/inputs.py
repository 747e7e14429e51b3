"""What a build was made from, as one short name: equal inputs, equal key."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterable
from pathlib import Path

_GENERATED = frozenset({"__pycache__", ".mypy_cache", ".ruff_cache"})


def key_of(parts: Iterable[str]) -> str:
    """A key of texts, whose order and borders count."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        digest.update(f"{len(raw)}:".encode() + raw)
    return digest.hexdigest()[:16]


def list_files(folder: Path) -> tuple[Path, ...]:
    """Files and symlinks under `folder`, sorted by path, without what tools generate."""
    return tuple(
        sorted(
            path
            for path in folder.rglob("*")
            if (path.is_symlink() or path.is_file())
            and not _GENERATED.intersection(path.relative_to(folder).parts)
        )
    )


def key_of_files(folders: Iterable[Path]) -> str:
    """A key of the names, contents and executable bits of all files under `folders`."""
    parts: list[str] = []
    for folder in folders:
        parts.append(folder.name)
        for path in list_files(folder):
            parts.append(path.relative_to(folder).as_posix())
            if path.is_symlink():
                parts.append(f"-> {path.readlink()}")
                continue
            is_executable = bool(path.stat().st_mode & stat.S_IXUSR)
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            parts.append(f"{content} {'x' if is_executable else '-'}")
    return key_of(parts)
