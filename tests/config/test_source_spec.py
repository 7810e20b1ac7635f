"""The `source` of a site, parsed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cropmark.config.site import SiteSettings
from cropmark.config.source_spec import BucketSpec, FolderSpec, LibrarySpec, OriginSpec, SourceSpec, parse_source
from cropmark.sources.policy import HostRule

PARSED = [
    # the text                    the source
    ("images", FolderSpec(Path("images"))),
    ("~/images", FolderSpec(Path.home() / "images")),
    ("library", LibrarySpec()),
    ("./library", FolderSpec(Path("library"))),
    ("s3://pictures", BucketSpec("s3", "pictures")),
    ("S3://Pictures/Shop/2026/", BucketSpec("s3", "Pictures", "Shop/2026")),
    ("gs://my-bucket.example/a b", BucketSpec("gs", "my-bucket.example", "a b")),
    ("az://container/x", BucketSpec("az", "container", "x")),
    ("https://o.example", OriginSpec("https://o.example", HostRule.read("https://o.example"))),
    ("HTTP://o.example/A", OriginSpec("http://o.example/A", HostRule.read("http://o.example/A"))),  # the path as it is
]

REJECTED = ["https://", "https://me:pass@o.example", "https://o.example/x?y=1", "https://*.example"]

REJECTED_BUCKETS = [
    "s3://",
    "s3:///prefix",
    "s3://key:pass@bucket/x",
    "s3://bucket/a/../b",
    "s3://bucket/a//b",
    "s3://bucket/x?versionId=pass",
    "s3://bucket/\n",
    "ftp://host/pass",
]


@pytest.mark.parametrize(("text", "source"), PARSED)
def test_sources(text: str, source: SourceSpec) -> None:
    assert parse_source(text) == source


@pytest.mark.parametrize("text", REJECTED)
def test_rejected_origins(text: str) -> None:
    with pytest.raises(ValueError, match="expected the URL of") as caught:
        parse_source(text)
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize("text", REJECTED_BUCKETS)
def test_rejected_buckets(text: str) -> None:
    with pytest.raises(ValueError, match="or a bucket") as caught:
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
