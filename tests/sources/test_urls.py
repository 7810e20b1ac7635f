"""check_12, check_15: accepted URLs with their normal form, and rejected URLs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.model.problems import SourceForbidden
from cropmark.sources.urls import forbidden_address, has_dot_segments, loggable_origin, read_url, redirect_target

# fmt: off
READ = [
    # text                                         normal form
    ("http://example.com",                         "http://example.com"),
    ("HTTP://EXAMPLE.com:80/A",                    "http://example.com/A"),           # without the scheme's port
    ("https://example.com:8443/a",                 "https://example.com:8443/a"),
    ("https://example.com/a/../b/./c",             "https://example.com/b/c"),
    ("https://example.com/%7Ejoe/%2e%2e/x",        "https://example.com/x"),
    ("https://example.com/a%2Fb?x=%2B+%20#top",    "https://example.com/a%2Fb?x=%2B+%20"),
    ("https://example.com/my photo.jpg",           "https://example.com/my%20photo.jpg"),
    ("https://example.com/ü.jpg",                  "https://example.com/%C3%BC.jpg"),
    ("https://example.com/@handle/a@b.jpg",        "https://example.com/@handle/a@b.jpg"),   # no userinfo in a path
    ("https://example.com/?a=http://b@c",          "https://example.com/?a=http://b@c"),
    ("https://faß.de/",                            "https://xn--fa-hia.de/"),
    ("https://under_score.example/",               "https://under_score.example/"),
    ("http://1.1.1.1/",                            "http://1.1.1.1/"),
    ("http://[2606:4700::1111]/",                  "http://[2606:4700::1111]/"),
    ("http://[::FFFF:127.0.0.1]/",                 "http://[::ffff:7f00:1]/"),        # the guard rejects it
    ("http://１２７.０.０.１/",                    "http://127.0.0.1/"),              # likewise
    ("http://①②⑦.⓪.⓪.①/",                          "http://127.0.0.1/"),
    ("http://1.2.3.example/",                      "http://1.2.3.example/"),
]

REJECTED = [
    # URL                                          why
    "",
    "example.com/a.jpg",                           # no scheme
    "//bad.com/",                                  # a browser adds the scheme
    "ftp://example.com/a",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "data:image/png;base64,AAAA",
    "javascript:alert(1)",
    "http:example.com",
    "http:/example.com",
    "http:///example.com",
    "http://",
    "http://?",
    "http://:80/",
    "http://user@example.com/",                    # userinfo
    "http://user:secret@example.com/",
    "http://@example.com/",                        # empty userinfo
    "http://:@example.com/",
    "http://good.com@bad.com/",
    "http://good.com:80@bad.com/",
    "http://good.com%40bad.com/",                  # a percent sign in the host
    "http://good.com\\@bad.com",
    "http://good.com\\.bad.com/",
    "http:\\\\good.com/",
    "http://good.com/a\\..\\b",
    "http://good.com\t.bad.com/",
    "http://good.com\n/",
    "http://good.com/\r\nHost: bad.com",
    "http://good.com/\x00",
    "http://good.com/\x7f",
    "http://good.com/\u202egnp.exe",               # written right to left
    "http://good.com\u200b/",                      # zero width
    " http://good.com/",
    "http://good .com/",
    "http://exa%6dple.com/",
    "http://localhost%00.good.com/",
    "http://a..b/",
    "http://.example.com/",
    "http://example.com./",                        # a second notation of a host on the allow list
    "http://-example.com/",
    "http://exam!ple.com/",
    "http://*.example.com/",
    "http://" + "a" * 64 + ".com/",
    "http://" + "a." * 127 + "com/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:-1/",
    "http://example.com:0x50/",
    "http://example.com:80:80/",
    "http://[::1].good.com/",
    "http://[::1",
    "http://[fe80::1%25eth0]/",                    # zones
    "http://[fe80::1%eth0]/",
    "http://[v1.fe80]/",
    # other notations of IPv4 (check_12)
    "http://2130706433/",                          # decimal
    "http://0x7f000001/",                          # hexadecimal
    "http://017700000001/",                        # octal
    "http://127.1/",                               # short
    "http://127.0.1/",
    "http://0/",
    "http://0177.0.0.1/",
    "http://0x7f.0.0.1/",
    "http://127.0.0.0x1/",
    "http://127.0.0.01/",
    "http://00000127.0.0.1/",
    "http://256.256.256.256/",
    "http://127.0.0.1./",
    "http://1.2.3.4.5/",
    "http://１２７.１/",
    "http://example.com/" + "a" * 9000,
]

TARGETS = [
    # from                           Location                      target
    ("https://a.example/x/y?q",      "z.png",                      "https://a.example/x/z.png"),
    ("https://a.example/x/y",        "/z.png",                     "https://a.example/z.png"),
    ("https://a.example/x/y",        "?z",                         "https://a.example/x/y?z"),
    ("https://a.example/x",          "//b.example/z",              "https://b.example/z"),
    ("http://a.example/x",           "https://b.example/z#top",    "https://b.example/z"),
]

FORBIDDEN_TARGETS = [
    "file:///etc/passwd", "javascript:1", "http://u:p@b.example/", "/\\b.example/", "\\\\b.example", "http:///b",
    "http://127.1/", "//b.example\r\nX: y", "http://[::1", "gopher://b.example/", "http:b",
]
# fmt: on


@pytest.mark.parametrize(("text", "expected"), READ)
def test_read(text: str, expected: str) -> None:
    assert str(read_url(text)) == expected


@pytest.mark.parametrize("text", REJECTED)
def test_rejected(text: str) -> None:
    """check_12 and check_15; one text for all, which reveals nothing."""
    with pytest.raises(SourceForbidden) as caught:
        read_url(text)
    assert str(caught.value) == str(forbidden_address())
    assert caught.value.detail == "the URL of the image may not be fetched"


@pytest.mark.parametrize(("base", "location", "expected"), TARGETS)
def test_redirect_target(base: str, location: str, expected: str) -> None:
    assert str(redirect_target(read_url(base), location)) == expected


@pytest.mark.parametrize("location", FORBIDDEN_TARGETS)
def test_forbidden_redirect_target(location: str) -> None:
    """check_14: a Location is parsed as strictly as the first URL."""
    with pytest.raises(SourceForbidden):
        redirect_target(read_url("https://a.example/x/y"), location)


@given(st.text(max_size=60))
def test_any_text_is_accepted_or_rejected(rest: str) -> None:
    """The normal form of an accepted URL is its own normal form: no other parser finds another host in it."""
    try:
        url = read_url(f"http://{rest}")
    except SourceForbidden:
        return
    assert read_url(str(url)) == url
    assert url.raw_user is None
    assert url.raw_host is not None
    assert set("@\\%") & set(url.raw_host) == set()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/b", False),
        ("/a/..b", False),
        ("/a/%2e%2e/b", True),
        ("/a/..%2fb", True),
        ("/a/%252e%252e%252fb", True),
        ("/a/%25252e%25252e/b", True),
        ("/a/..;x/b", True),  # servlet containers remove ;x
        ("/a%5c..%5cb", True),
    ],
)
def test_has_dot_segments(path: str, expected: bool) -> None:
    assert has_dot_segments(path) is expected


def test_logs_contain_only_the_server() -> None:
    """Paths and queries may contain signatures."""
    assert loggable_origin(read_url("https://a.example:444/secret/x?X-Amz-Signature=1")) == "https://a.example:444"
