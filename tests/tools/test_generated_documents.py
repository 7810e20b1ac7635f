"""tools/documents.py: llms.txt lists every page."""

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
