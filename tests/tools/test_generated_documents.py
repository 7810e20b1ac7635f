"""tools/documents.py: llms.txt lists every page, docs/errors.md every code of an error."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))


def test_the_index_lists_every_page_with_a_description() -> None:
    lines = re.findall(r"^- \[.+\]\((.+)\): (.+)$", (ROOT / "llms.txt").read_text("utf-8"), re.MULTILINE)
    listed = {path for path, _ in lines}
    pages = {*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/dialects/*.md")}
    assert {str(page.relative_to(ROOT)) for page in pages} <= listed | {"AGENTS.md"}


def test_the_errors_list_every_code() -> None:
    texts = [path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py")]
    codes = {code for text in texts for code in re.findall(r'^    (?:status, )?code = (?:\d+, )?"(\w+)"$', text, re.M)}
    listed = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "errors.md").read_text("utf-8"), re.MULTILINE))
    assert {"bad_value", "headers_too_large", "invalid_field"} <= codes
    assert codes <= listed
