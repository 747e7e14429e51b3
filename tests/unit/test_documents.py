"""What the documents point at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
DOCS = TESTS.parent / "docs"
PROMISE = re.compile(r"`((?:unit|property|contract|programs|tui|e2e)/[\w/]+\.py)(?:::(\w+))?`")
MODULE = re.compile(r"`((?:recovery(?!/1/)|tui|tests|image-builder|docs)/[\w./-]+)`")


def test_promises_name_tests_that_exist() -> None:
    found = PROMISE.findall((DOCS / "promises.md").read_text())
    assert len(found) > 20
    for file, name in found:
        text = (TESTS / file).read_text()
        assert not name or re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), (file, name)


@pytest.mark.parametrize("name", ["architecture", "glossary", "promises", "repository-format"])
def test_paths_in_documents_exist(name: str) -> None:
    for path in MODULE.findall((DOCS / f"{name}.md").read_text()):
        assert (DOCS.parent / path).exists(), path
