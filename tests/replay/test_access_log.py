# ruff: noqa: E501 - a line of a log is one line
"""Access logs, line by line, and the distinct image URLs of a log."""

from __future__ import annotations

import gzip
import io
import re
import sys
from pathlib import Path

import pytest

from cropmark.model.problems import BadRequest
from cropmark.replay.access_log import MAX_LINE_CHARS, LoggedRequest, LogParser
from cropmark.replay.targets import ReplayTarget, pattern_of, read_log

# fmt: off
LINES = [
    # nginx and Apache, combined
    ('192.0.2.7 - - [10/Oct/2026:13:55:36 +0000] "GET /a.jpg?width=9 HTTP/1.1" 200 2326 "https://a.example/" "Mozilla/5.0 (X11)"',
     LoggedRequest("GET", "/a.jpg?width=9", None, 200)),
    ('2001:db8::7 - ann lee [10/Oct/2026:13:55:36 +0000] "GET /a.jpg HTTP/2.0" 304 0', LoggedRequest("GET", "/a.jpg", None, 304)),
    # vhost_combined
    ('img.example:443 192.0.2.7 - - [10/Oct/2026:13:55:36 +0000] "HEAD /a.jpg HTTP/1.1" 200 0 "-" "-"',
     LoggedRequest("HEAD", "/a.jpg", "img.example", 200)),
    # quotes and bytes that Apache and nginx escape
    (r'192.0.2.7 - - [10/Oct/2026:13:55:36 +0000] "GET /a\"b\xc3\xa4.jpg HTTP/1.1" 200 1 "-" "-"',
     LoggedRequest("GET", '/a"b%C3%A4.jpg', None, 200)),
    ('192.0.2.7 - - [10/Oct/2026:13:55:36 +0000] "GET /ä b.jpg HTTP/1.1" 200 1', LoggedRequest("GET", "/%C3%A4%20b.jpg", None, 200)),
    ('192.0.2.7 - - [10/Oct/2026:13:55:36 +0000] "GET https://IMG.example/a.jpg#x HTTP/1.1" 200 1',
     LoggedRequest("GET", "/a.jpg", "img.example", 200)),
    # nginx with log_format escape=json; the request line, or its parts
    ('{"remote_addr":"192.0.2.7","request":"GET /a.jpg?w=1 HTTP/1.1","status":"200","host":"img.example"}',
     LoggedRequest("GET", "/a.jpg?w=1", "img.example", 200)),
    ('{"request_method":"GET","request_uri":"/a.jpg?w=1","uri":"/a.jpg","status":200}', LoggedRequest("GET", "/a.jpg?w=1", None, 200)),
    # Fastly's default JSON template
    ('{"timestamp":"2026-10-10T13:55:36+0000","client_ip":"192.0.2.7","host":"img.example","url":"/a.jpg?width=9","request_method":"GET","response_status":200,"fastly_is_edge":true}',
     LoggedRequest("GET", "/a.jpg?width=9", "img.example", 200)),
    # Cloudflare http_requests
    ('{"ClientRequestHost":"img.example","ClientRequestMethod":"GET","ClientRequestURI":"/a?width=9","EdgeResponseStatus":200,"EdgeResponseContentType":"image/webp"}',
     LoggedRequest("GET", "/a?width=9", "img.example", 200, "image/webp")),
    # CloudFront: the viewer's host, not that of the distribution
    ('{"cs-method":"GET","cs(Host)":"d111.cloudfront.net","x-host-header":"img.example","cs-uri-stem":"/a.jpg","cs-uri-query":"w=1","sc-status":"200"}',
     LoggedRequest("GET", "/a.jpg?w=1", "img.example", 200)),
    ('{"cs-method":"GET","cs-uri-stem":"/a.jpg","cs-uri-query":"-","sc-status":"200"}', LoggedRequest("GET", "/a.jpg", None, 200)),
    # Caddy, Google
    ('{"level":"info","request":{"method":"GET","host":"img.example","uri":"/a.jpg?w=1"},"status":200}',
     LoggedRequest("GET", "/a.jpg?w=1", "img.example", 200)),
    ('{"httpRequest":{"requestMethod":"GET","requestUrl":"https://img.example/a.jpg?w=1","status":200}}',
     LoggedRequest("GET", "/a.jpg?w=1", "img.example", 200)),
    # a host that would be another header
    ('{"url":"/a.jpg","host":"img.example\\r\\nX: y"}', LoggedRequest("GET", "/a.jpg")),
]

REJECTED = [
    "",
    "# a comment",
    "not a log",
    '192.0.2.7 - - [10/Oct/2026:13:55:36 +0000] "OPTIONS * HTTP/1.1" 200 1',
    r'192.0.2.7 - - [10/Oct/2026:13:55:36 +0000] "\x16\x03\x01" 400 1',
    '192.0.2.7 - - [10/Oct/2026:13:55:36 +0000] "GET http://[::1/x HTTP/1.1" 400 1',
    '{"url": "/a.jpg"',
    '{"message": "started"}',
    '{"url": true}',
    "[" * 100_000,
    '{"a":' * 9_000,
    f'{{"url": "/{"a" * MAX_LINE_CHARS}"}}',
]
# fmt: on


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_lines(line: str, expected: LoggedRequest) -> None:
    assert LogParser().parse(line + "\n") == expected


@pytest.mark.parametrize("line", REJECTED, ids=lambda line: line[:30])
def test_lines_without_a_request(line: str) -> None:
    assert LogParser().parse(line) is None


def test_w3c_logs_name_their_fields() -> None:
    """Source: https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html"""
    parser = LogParser()
    assert parser.parse("#Version: 1.0") is None
    assert parser.parse("#Fields: date cs-method cs(Host) cs-uri-stem sc-status cs-uri-query x-host-header") is None
    line = "2026-10-10\tGET\td111.cloudfront.net\t/a.jpg\t200\twidth=9\timg.example"
    assert parser.parse(line) == LoggedRequest("GET", "/a.jpg?width=9", "img.example", 200)
    assert parser.parse("2026-10-10\tGET\td111.cloudfront.net") is None


# ------------------------------------------------------------------------------------------------ a whole log


def _line(request: str, status: int = 200) -> str:
    return f'192.0.2.7 - - [10/Oct/2026:13:55:36 +0000] "{request} HTTP/1.1" {status} 1 "-" "-"\n'


LOG = "".join(
    [
        _line("GET /b.jpg?w=2"),
        _line("GET /a.jpg"),
        _line("GET /b.jpg?w=2", 304),
        _line("GET /index.html"),
        _line("POST /a.jpg"),
        _line("GET /a.jpg", 404),
        '{"url":"/thumb/7","content_type":"image/webp; charset=x"}\n',
        "nonsense\n",
        "\n",
        _line("GET /dir%2Fc.JPEG?x"),
    ]
)


@pytest.mark.parametrize("compressed", [False, True])
def test_distinct_urls_with_the_most_requested_first(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(gzip.compress(LOG.encode()) if compressed else LOG.encode())
    read = read_log(path)
    assert read.targets[0] == ReplayTarget("/b.jpg?w=2", None, 2)
    assert [one.target for one in read.targets] == ["/b.jpg?w=2", "/a.jpg", "/thumb/7", "/dir%2Fc.JPEG?x"]
    assert read.lines == 10
    assert dict(read.skipped) == {
        "not an image": 1,
        "not GET": 1,
        "not answered with success": 1,
        "not in a known format": 1,
    }


COMPRESSED = gzip.compress(LOG.encode(), mtime=0)

# fmt: off
DAMAGED = [
    COMPRESSED[:-20],                                       # truncated
    COMPRESSED[:12] + b"\xff\xff\xff" + COMPRESSED[15:],    # the data
    COMPRESSED[:-8] + b"\0" * 8,                            # the checksum
]
# fmt: on


@pytest.mark.parametrize("body", DAMAGED)
def test_a_damaged_log(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "log.gz").write_bytes(body)
    with pytest.raises(BadRequest, match=r"log\.gz is a damaged gzip file: .* \| fix: "):
        read_log(tmp_path / "log.gz")


def test_paths_may_be_selected_by_a_pattern(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text(LOG)
    assert [one.target for one in read_log(path, re.compile("^/thumb/|html$")).targets] == ["/index.html", "/thumb/7"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LOG.encode())))
    assert len(read_log(Path("-")).targets) == 4


# fmt: off
PATTERNS = [
    ("/a.jpg",                                  "(no query)"),
    ("/a.jpg?width=300&crop=16:9,smart",        "crop=N:N,smart&width=N"),
    ("/a.jpg?w=0.5&fm=webp",                    "fm=webp&w=N"),
    ("/a.jpg?bg-color=ffcc00&x",                "bg-color=…&x"),
    ("/a.jpg?sig=4fjA01_-Zx9aaaaaaaaaaaaaaaaaaa", "sig=…"),
    ("/a.jpg?overlay=%2Flogo.png",              "overlay=…"),
    ("/a.jpg?format=mp4",                       "format=mp4"),
]
# fmt: on


@pytest.mark.parametrize(("target", "pattern"), PATTERNS)
def test_patterns(target: str, pattern: str) -> None:
    assert pattern_of(target) == pattern
