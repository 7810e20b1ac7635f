"""Lists of URLs: text, sitemaps, manifests, and the rejected ones."""

from __future__ import annotations

import gzip
import threading
import tracemalloc
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cropmark.model.problems import BadRequest
from cropmark.replay import url_lists
from cropmark.replay.url_lists import parse_sitemap, read_urls

XMLNS = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
IMAGES = f'{XMLNS} xmlns:image="http://www.google.com/schemas/sitemap-image/1.1"'
PAGES = f'<?xml version="1.0"?>\n<urlset {XMLNS}><url><loc> https://a.example/1 </loc></url></urlset>'
WITH_IMAGES = (
    f"<urlset {IMAGES}><url><loc>https://a.example/1</loc>"
    "<image:image><image:loc>https://img.example/1.jpg?width=3&amp;fit=crop</image:loc></image:image></url></urlset>"
)

# fmt: off
LISTS = [
    # text                                                       URLs
    ("/fastly/a.jpg?width=3\n\n# later\n/fastly/b.jpg\n",        ["/fastly/a.jpg?width=3", "/fastly/b.jpg"]),
    ("https://a.example/x\nhttps://a.example/x\n",               ["https://a.example/x"]),
    ("\ufeff/a\r\n/b\r\n",                                       ["/a", "/b"]),
    ('{"source": "a b.jpg", "query": "width=3"}',                ["/fastly/a%20b.jpg?width=3"]),
    ("source,query,dialect\na.jpg,w=3,kontent\n",                ["/kontent/a.jpg?w=3"]),
    (PAGES,                                                      ["https://a.example/1"]),
    (WITH_IMAGES,                                                ["https://img.example/1.jpg?width=3&fit=crop"]),
]
REJECTED = [
    # text                                                       the message has
    ("",                                                         "has no URLs"),
    ("ftp://a.example/x",                                        "line 1: expected a URL or a path, got 'ftp://a.example"),
    ("/a\na.jpg",                                                "line 2: expected a URL or a path, got 'a.jpg'"),
    ("/a b",                                                     "expected a URL or a path"),
    ("http:///x",                                                "expected a URL or a path"),
    ("<urlset><url>",                                            "is not a sitemap"),
    ('<?xml version="1.0" encoding="x"?><urlset/>',              "is not a sitemap: unknown encoding"),
    ('<!DOCTYPE x [<!ENTITY a "b">]><urlset/>',                  "a sitemap has no DOCTYPE"),
    ("<urlset><url><loc>file:///etc/passwd</loc></url></urlset>", "expected a URL or a path"),
    ("<sitemapindex><sitemap><loc>file:///etc/passwd</loc></sitemap></sitemapindex>", "expected a URL or a path"),
]
# fmt: on


@pytest.mark.parametrize(("text", "urls"), LISTS)
def test_a_list(text: str, urls: list[str], tmp_path: Path) -> None:
    (tmp_path / "list").write_text(text, "utf-8")
    assert read_urls(str(tmp_path / "list")) == urls


@pytest.mark.parametrize(("text", "says"), REJECTED)
def test_a_rejected_list(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(text, "utf-8")
    with pytest.raises(BadRequest, match=says.replace("[", r"\[")):
        read_urls(str(tmp_path / "list"))


COMPRESSED = gzip.compress(b"/a.jpg\n" * 99, mtime=0)


@pytest.mark.parametrize("body", [b"\xff\xfe/", COMPRESSED[:-9], COMPRESSED[:10] + b"\xff" + COMPRESSED[11:]])
def test_bytes_that_are_not_text(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "list").write_bytes(body)
    with pytest.raises(BadRequest, match="is not text"):
        read_urls(str(tmp_path / "list"))


@pytest.fixture
def website(tmp_path: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(("limit", "value"), [("MAX_URLS", 4), ("MAX_SITEMAPS", 1), ("MAX_LIST_BYTES", 200)])
def test_an_index_is_read_up_to_a_limit(
    website: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    for name in ("one", "two"):
        urls = "".join(f"<url><loc>https://a.example/{name}/{n}</loc></url>" for n in range(3))
        (tmp_path / f"{name}.xml").write_text(f"<urlset {XMLNS}>{urls}</urlset>")
    entries = "".join(f"<sitemap><loc>{website}/{name}.xml</loc></sitemap>" for name in ("one", "two"))
    index = tmp_path / "index.xml"
    index.write_text(f"<sitemapindex {XMLNS}>{entries}</sitemapindex>")
    assert len(read_urls(str(index))) == 6
    monkeypatch.setattr(url_lists, limit, value)
    with pytest.raises(BadRequest, match=r"more than|expected at most"):
        read_urls(str(index))


def test_a_large_sitemap_takes_little_memory() -> None:
    text = f"<urlset {XMLNS}>{'<url><loc>/a</loc><image><loc>/b</loc></image></url>' * 20_000}</urlset>"
    tracemalloc.start()
    try:
        assert parse_sitemap(text).urls == ("/b",) * 20_000
        assert tracemalloc.get_traced_memory()[1] < 10 * len(text)
    finally:
        tracemalloc.stop()


def test_an_index_of_sitemaps_is_followed_once(website: str, tmp_path: Path) -> None:
    (tmp_path / "pages.xml.gz").write_bytes(gzip.compress(PAGES.encode()))
    (tmp_path / "images.xml").write_text(WITH_IMAGES)
    names = ("pages.xml.gz", "images.xml", "sitemap.xml")  # the last one is the index itself
    entries = "".join(f"<sitemap><loc>{website}/{name}</loc></sitemap>" for name in names)
    (tmp_path / "sitemap.xml").write_text(f"<sitemapindex {XMLNS}>{entries}</sitemapindex>")
    urls = ["https://a.example/1", "https://img.example/1.jpg?width=3&fit=crop"]
    assert read_urls(f"{website}/sitemap.xml") == urls


def test_the_sitemaps_of_an_index_are_fetched_one_after_the_other(website: str, tmp_path: Path) -> None:
    """Only one of up to 1000 sitemaps is in memory; the one after a broken one is not requested."""
    (tmp_path / "broken.xml").write_text("<urlset><url>")
    entries = "".join(f"<sitemap><loc>{website}/{name}</loc></sitemap>" for name in ("broken.xml", "none.xml"))
    (tmp_path / "sitemap.xml").write_text(f"<sitemapindex {XMLNS}>{entries}</sitemapindex>")
    with pytest.raises(BadRequest, match=r"broken\.xml is not a sitemap"):
        read_urls(f"{website}/sitemap.xml")


def test_a_sitemap_that_is_missing(website: str) -> None:
    with pytest.raises(BadRequest, match="cannot be fetched: HTTP Error 404"):
        read_urls(f"{website}/none.xml")


def test_the_sitemaps_of_an_index() -> None:
    index = f"<sitemapindex {XMLNS}><sitemap><loc>https://a.example/1.xml</loc></sitemap></sitemapindex>"
    assert parse_sitemap(index).sitemaps == ("https://a.example/1.xml",)
