"""The source of a site: each reference reaches its adapter, and paths are read below the origin's URL."""

from __future__ import annotations

import pytest

from cropmark.model.problems import SourceForbidden
from cropmark.plan.source import SitePath, SourceRef, UploadRef, WebUrl
from cropmark.ports import OpenSource, SourceVersion
from cropmark.sources.site import SiteSource
from cropmark.sources.urls import read_url

ORIGIN = "https://origin.example/files"

# fmt: off
URLS = [
    (SitePath("a.jpg"),                             "/a.jpg"),
    (SitePath("sky/blue+1 é.jpg"),                  "/sky/blue+1%20%C3%A9.jpg"),
    (SitePath("a.jpg", query="x=1&y=a%2Cb+c"),      "/a.jpg?x=1&y=a%2Cb+c"),        # not decoded, not encoded again
    (SitePath("a?b.jpg", query="x=1?2"),            "/a%3Fb.jpg?x=1?2"),
    (SitePath("a.jpg", query="x=#1&y=\udcff"),      "/a.jpg?x=%231&y=%FF"),         # neither a fragment nor raw bytes
    (SitePath("sky//blue.jpg"),                     "/sky//blue.jpg"),              # for the origin to read
]
# fmt: on


class RecordingSource:
    """A Source that records the references it gets."""

    def __init__(self) -> None:
        self.refs: list[SourceRef] = []

    def stat(self, ref: SourceRef) -> SourceVersion | None:
        self.refs.append(ref)
        return None

    async def open(self, ref: SourceRef) -> OpenSource:
        raise NotImplementedError

    def identity(self, ref: SourceRef) -> str:
        return repr(ref)

    def purge(self, prefix: str) -> None:
        """Nothing is stored."""

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(("ref", "url"), URLS)
def test_a_path_is_read_below_the_origin(ref: SitePath, url: str) -> None:
    adapter = RecordingSource()
    SiteSource({WebUrl: adapter}, origin=f"{ORIGIN}/").stat(ref)
    assert adapter.refs == [WebUrl(ORIGIN + url)]
    assert read_url(ORIGIN + url).raw_path_qs  # no forbidden characters


def test_without_an_origin_a_path_is_for_the_folder() -> None:
    adapter = RecordingSource()
    SiteSource({SitePath: adapter}).stat(SitePath("a.jpg", query="x=1"))
    assert adapter.refs == [SitePath("a.jpg", query="x=1")]


def test_other_kinds_are_forbidden() -> None:
    with pytest.raises(SourceForbidden):
        SiteSource({SitePath: RecordingSource()}).stat(UploadRef("0" * 64))
