"""The `source` of a site, parsed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cropmark.config.site import SiteSettings
from cropmark.config.source_spec import FolderSpec, LibrarySpec, OriginSpec, SourceSpec, parse_source
from cropmark.sources.policy import HostRule

PARSED = [
    # the text                    the source
    ("images", FolderSpec(Path("images"))),
    ("~/images", FolderSpec(Path.home() / "images")),
    ("library", LibrarySpec()),
    ("./library", FolderSpec(Path("library"))),
    ("https://o.example", OriginSpec("https://o.example", HostRule.read("https://o.example"))),
    ("HTTP://o.example/A", OriginSpec("http://o.example/A", HostRule.read("http://o.example/A"))),  # the path as it is
]

REJECTED = ["https://", "https://me:pass@o.example", "https://o.example/x?y=1", "https://*.example"]


@pytest.mark.parametrize(("text", "source"), PARSED)
def test_sources(text: str, source: SourceSpec) -> None:
    assert parse_source(text) == source


@pytest.mark.parametrize("text", REJECTED)
def test_rejected_origins(text: str) -> None:
    with pytest.raises(ValueError, match="expected the URL of") as caught:
        parse_source(text)
    assert "pass" not in str(caught.value)


NAMES = [
    # settings of the site                                            display name
    ({"name": "shop", "hosts": ["a.example"]}, "shop"),
    ({"hosts": ["a.example", "b.example"], "prefix": "/p"}, "a.example"),
    ({"prefix": "/p/q/"}, "p/q"),
    ({}, "root"),
]


@pytest.mark.parametrize(("settings", "name"), NAMES)
def test_display_names(settings: dict[str, object], name: str) -> None:
    assert SiteSettings(**settings, dialect="fastly", source="x").display_name == name
