"""The documentation site: its menu, the links of its pages, and that a broken link is an error of the build."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.requirements import require

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import documentation_site as site

ROOT = Path(__file__).parent.parent.parent
PYTHON = ROOT / ".venv-site" / "bin" / "python"


def _menu(entries: object) -> list[str]:
    """The pages of the menu."""
    match entries:
        case list():
            return [page for entry in entries for page in _menu(entry)]
        case dict():
            return [page for entry in entries.values() for page in _menu(entry)]
        case _:
            return [str(entries)]


def test_the_menu_has_existing_pages_and_each_guide() -> None:
    menu = _menu(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    made = {"glossary.md", "docs/decisions/index.md"}
    assert [page for page in menu if page not in made and not (ROOT / page).is_file()] == []
    guides = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/guides").glob("*.md")}
    assert guides <= set(menu)


# fmt: off
LINKS = [
    # in docs/replay.md                         on the site
    ("[a](cli.md) and [b](cli.md#x)",           "[a](cli.md) and [b](cli.md#x)"),
    ("[a](https://a.example/b/)",               "[a](https://a.example/b/)"),
    ("[a](decisions/)",                         "[a](decisions/index.md)"),
    ("[a](howto)",                              "[a](howto/README.md)"),
    ("[a](signing-vectors.json)",               "[a](signing-vectors.json)"),
    ("[a](absent.md)",                          "[a](absent.md)"),
    ("[a](../../outside.md)",                   "[a](../../outside.md)"),
    ("```\n[a](decisions/)\n```\n[a](howto)",   "```\n[a](decisions/)\n```\n[a](howto/README.md)"),
]
# fmt: on


@pytest.mark.parametrize(("text", "expected"), LINKS)
def test_links(text: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "SOURCE", tmp_path)
    assert site.with_links(text, ROOT / "docs" / "replay.md") == expected
    assert (tmp_path / "docs" / "signing-vectors.json").is_file() == ("vectors" in text)


@pytest.mark.parametrize("text", ["[a](absent.md)", "[a](index.md#absent)", "![a](absent.png)"])
@require("site", PYTHON.is_file())
def test_a_broken_link_is_an_error(text: str, tmp_path: Path) -> None:
    def build(page: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "pages" / "index.md").write_text(page)
        command = [str(PYTHON), "-m", "mkdocs", "build", "--strict", "--config-file", str(tmp_path / "mkdocs.yml")]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    (tmp_path / "pages").mkdir()
    configuration = re.sub(r"\nnav:\n(.|\n)*", "\n", (ROOT / "mkdocs.yml").read_text())
    configuration = configuration.replace("build/site-source", "pages").replace("build/site", "site")
    (tmp_path / "mkdocs.yml").write_text(configuration)
    assert build("# Page\n").returncode == 0
    assert build(f"# Page\n\n{text}\n").returncode != 0
