"""`config check` reports sites that no request reaches."""

from __future__ import annotations

from pathlib import Path

import pytest

from cropmark.config.loader import load_settings
from cropmark.server.check import find_issues

SITE = '[[site]]\ndialect = "fastly"\nsource = "."\n'
# fmt: off
CLASHES = [
    # sites                                                                    words of the issue
    (SITE + 'prefix = "/admin"\n',                                             "operator path"),
    (SITE + 'prefix = "/metrics"\n',                                           "operator path"),
    (SITE + 'prefix = "/admin/images"\n',                                      "operator path"),
]
APART = [
    SITE + 'prefix = "/a"\n' + SITE + 'prefix = "/b"\n',
    SITE + 'hosts = ["a.example"]\n' + SITE,
    SITE + 'prefix = "/administration"\n',
]
# fmt: on


def issues(sites: str, folder: Path) -> list[str]:
    file = folder / "cropmark.toml"
    file.write_text(sites)
    return [str(issue) for issue in find_issues(load_settings(file, environ={}))]


@pytest.mark.parametrize(("sites", "words"), CLASHES)
def test_sites_that_no_request_reaches(sites: str, words: str, tmp_path: Path) -> None:
    assert any(words in issue for issue in issues(sites, tmp_path))


@pytest.mark.parametrize("sites", APART)
def test_sites_apart(sites: str, tmp_path: Path) -> None:
    assert issues(sites, tmp_path) == []
