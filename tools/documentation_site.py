"""Builds the documentation site in build/site, with an error for each broken link: `make site`.

The pages are the Markdown files of the repository, copied to build/site-source with their folders, so that their
links to each other work on GitHub and here. A link to another file of the repository gets a copy of that file, a link
to a folder leads to its README, or to a page that lists the folder. A link that leads nowhere is a warning of
MkDocs, and `strict` makes it an error. The glossary of ARCHITECTURE.md is also a page of its own.

The pages of the dialects get a picture before and after each parameter from build/pictures, which
tools/example_pictures.py writes first.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "build" / "site-source"
PICTURES = ROOT / "build" / "pictures"
Row = Mapping[str, Any]
"""A row of pictures.json."""
PAGES = ("*.md", "docs/**/*.md", "benchmarks/*.md", "deploy/**/*.md", "examples/images/*.md")
FOLDERS = ("docs/decisions",)
"""Folders that have no README: the site has a page that lists them."""
_LINK = re.compile(r"(\[[^\]]*\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_FENCE = re.compile(r"^ *(```|~~~)")


def main() -> int:
    """Stage the pages and run MkDocs; its exit status."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    for page in pages():
        _stage(page)
    for folder in FOLDERS:
        _write(f"{folder}/index.md", _listing(ROOT / folder))
    _write("glossary.md", _glossary())
    rows: dict[str, list[Row]] = json.loads((PICTURES / "pictures.json").read_text("utf-8"))
    shutil.copytree(PICTURES, SOURCE / "docs" / "dialects" / "pictures")
    for dialect, own in rows.items():
        page = SOURCE / "docs" / "dialects" / f"{dialect}.md"
        page.write_text(page.read_text("utf-8") + before_and_after(own), "utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(ROOT / "mkdocs.yml")]
    return subprocess.run(command, check=False, cwd=ROOT).returncode


def pages() -> list[Path]:
    """The Markdown files of the site."""
    return sorted({path for pattern in PAGES for path in ROOT.glob(pattern)})


def _stage(page: Path) -> None:
    name = page.relative_to(ROOT).as_posix()
    _write(name, with_links(page.read_text("utf-8"), page))


def with_links(text: str, page: Path) -> str:
    """The text of a page with links that work on the site. Copies the files that it links to."""
    lines, fenced = [], False
    for line in text.splitlines(keepends=True):
        fenced ^= bool(_FENCE.match(line))
        lines.append(line if fenced else _LINK.sub(lambda match: _relinked(match, page), line))
    return "".join(lines)


def _relinked(match: re.Match[str], page: Path) -> str:
    opening, target, anchor, closing = match.groups()
    if ":" in target or target.startswith("/"):
        return match[0]
    linked = (page.parent / target).resolve()
    if not linked.is_relative_to(ROOT):
        return match[0]
    if linked.is_dir():
        return f"{opening}{target.rstrip('/')}/{_page_of(linked)}{closing}"
    if linked.is_file() and linked not in pages():
        copy = SOURCE / linked.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(linked, copy)
    return f"{opening}{target}{anchor or ''}{closing}"


def _page_of(folder: Path) -> str:
    """The name of the page that represents a folder; writes one if it has neither."""
    if (folder / "README.md").is_file():
        return "README.md"
    if (folder / "index.md").is_file() or folder.relative_to(ROOT).as_posix() in FOLDERS:
        return "index.md"
    name = f"{folder.relative_to(ROOT).as_posix()}/index.md"
    listed = "".join(f"- `{path.name}`\n" for path in sorted(folder.iterdir()) if not path.name.startswith((".", "_")))
    _write(name, f"# {folder.relative_to(ROOT).as_posix()}\n\nThis folder of the repository has:\n\n{listed}")
    return "index.md"


def before_and_after(rows: list[Row]) -> str:
    """The section of a dialect's page with the pictures of its parameters."""
    lines = "\n".join(
        f"| {_named(row)} | {_picture(row, row['before'], row['without'])} | {_picture(row, row['after'], row['example'])} |"
        for row in rows
    )
    return f"""
## Before and after

The build requested each example from this version, for the photograph `kangaroo.jpg` of 1024 by 768 pixels. The queries of
both pictures differ in this parameter only, if one is not enough to see its effect.

| parameter | before | after |
| --- | --- | --- |
{lines}
"""


def _named(row: Row) -> str:
    return f"`{row['name']}`" + (f"<br>in the header `{row['header']}`" if row["header"] else "")


def _picture(row: Row, picture: Mapping[str, str], query: str) -> str:
    """A cell of the table: the picture, its query and its facts."""
    if row["same"] and query == row["without"]:
        return "the same"
    shown = f"{f'`{query}`' if query else 'the original'}<br>{picture['text']}"
    if row["same"]:
        return f"{shown}<br>no difference for this photograph"
    if "file" not in picture:
        return shown
    alt = f"{row['name']}: {query or 'the original'}".replace("|", "or")
    return f'<img src="pictures/{picture["file"]}" alt="{escape(alt)}" loading="lazy" width="230"><br>{shown}'


def _listing(folder: Path) -> str:
    """A page with the titles of a folder's pages."""
    return "# Decisions\n\n" + "".join(_titles(folder))


def _titles(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.md")):
        title = path.read_text("utf-8").partition("\n")[0].removeprefix("# ")
        yield f"- [{title}]({path.name})\n"


def _glossary() -> str:
    """The glossary of ARCHITECTURE.md."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8").partition("\n## Glossary\n")[2]
    return f"# Glossary\n{text.partition(chr(10) + '## ')[0]}"


def _write(name: str, text: str) -> None:
    path = SOURCE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
