"""tools/documents.py: settings without a description are an error, llms.txt lists every page."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import documents  # noqa: E402 - tools/ is not a package


@dataclass
class Described:
    first: int = 1
    """The first
    number."""
    second: str = "a"
    """The second text."""


@dataclass
class Undescribed:
    first: int = 1
    """The first number."""
    second: str = "a"


def test_fields_are_described_by_the_docstrings_below_them() -> None:
    assert documents.field_docstrings(Described) == {"first": "The first number.", "second": "The second text."}


def test_a_field_without_docstring_is_named() -> None:
    with pytest.raises(documents.MissingDocstring, match=r"Undescribed\.second has no docstring; write one"):
        documents.field_docstrings(Undescribed)


def test_the_index_lists_every_page_with_a_description() -> None:
    lines = re.findall(r"^- \[.+\]\((.+)\): (.+)$", (ROOT / "llms.txt").read_text("utf-8"), re.MULTILINE)
    listed = {path for path, _ in lines}
    pages = {*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/dialects/*.md")}
    assert {str(page.relative_to(ROOT)) for page in pages} <= listed | {"AGENTS.md"}
