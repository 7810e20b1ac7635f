# ruff: noqa: E501 - tables are read by their columns, one row a line
"""Manifests of renditions: each form of a line, and each line that is rejected."""

from __future__ import annotations

from pathlib import Path

import pytest

from cropmark.manifest import ManifestEntry, is_manifest, parse_manifest, read_manifest
from cropmark.model.problems import BadRequest

# fmt: off
LINES = [
    # line of JSON                                                       source        query         dialect     output
    ('{"source": "a.jpg", "query": "width=3", "output": "o.jpg"}',       "a.jpg",      "width=3",    "fastly",   "o.jpg"),
    ('{"source": "/b/a.jpg", "query": "?w=3", "dialect": "kontent"}',    "b/a.jpg",    "w=3",        "kontent",  ""),
    ('{"url": "/kontent/b/a%20b.jpg?w=3&q=%20", "output": "x/o"}',       "b/a b.jpg",  "w=3&q=%20",  "kontent",  "x/o"),
    ('{"url": "https://img.example/fastly/a.jpg"}',                      "a.jpg",      "",           "fastly",   ""),
    # CSV
    ("source,query,output\na.jpg,\"crop=1:1,smart&width=3\",o.jpg",      "a.jpg",      "crop=1:1,smart&width=3", "fastly", "o.jpg"),
    ("url,output\n/fastly/a.jpg?width=3,o.jpg",                          "a.jpg",      "width=3",    "fastly",   "o.jpg"),
    ("\ufeffsource,query,dialect,output\na.jpg,w=3,kontent,o.jpg",       "a.jpg",      "w=3",        "kontent",  "o.jpg"),
]
# fmt: on


@pytest.mark.parametrize(("text", "source", "query", "dialect", "output"), LINES)
def test_a_line(text: str, source: str, query: str, dialect: str, output: str) -> None:
    [entry] = parse_manifest(text.splitlines())
    assert (entry.source, entry.query, entry.dialect, entry.output) == (source, query, dialect, output)


def test_blank_lines_are_skipped_and_counted() -> None:
    entries = parse_manifest(['{"source": "a"}', "", '{"source": "b"}'])
    assert [(entry.line, entry.source) for entry in entries] == [(1, "a"), (3, "b")]


def test_lines_of_csv_are_counted() -> None:
    entries = parse_manifest(["source,output\n", "a,\n", "b,o\n"])
    assert [(entry.line, entry.source, entry.output) for entry in entries] == [(2, "a", ""), (3, "b", "o")]


def test_the_url_of_an_entry() -> None:
    assert ManifestEntry(1, "a b/ü.jpg", "width=3", "fastly", "").url == "/fastly/a%20b/%C3%BC.jpg?width=3"


# fmt: off
REJECTED = [
    # line                                              the message has
    ("{source: a}",                                     "line 1 is not JSON"),
    ("[1]",                                             "line 1: expected a JSON object"),
    ('{"source": "a", "width": "3"}',                   "line 1: expected text in source, query, dialect, url, output"),
    ('{"source": 3}',                                   "line 1: expected text in"),
    ('{"query": "width=3"}',                            "line 1: expected either source or url"),
    ('{"source": "a", "url": "/fastly/a"}',             "line 1: expected either source or url"),
    ('{"url": "/fastly/a", "query": "width=3"}',        "line 1: a line with url must not have query or dialect, which are parts of the URL"),
    ('{"url": "/other/a.jpg?width=3"}',                 "line 1: unknown dialect 'other' | fix: write one of fastly"),
    ('{"url": "/pixlab/crop?img=x"}',                   "line 1: unknown dialect 'pixlab'"),
    ('{"url": "http://[::1/fastly/a"}',                 "line 1: url: Invalid IPv6 URL"),
    ('{"source": "a", "output": "../o.jpg"}',           "line 1: output '../o.jpg': expected a relative path"),
    ('{"source": "a", "output": "/etc/o.jpg"}',         "expected a relative path"),
    ('{"source": "a", "output": "a//b"}',               "expected a relative path"),
    ('{"source": "a", "output": "a\\u0000b"}',          "expected a path without control characters"),
    ('{"source": "a", "output": "a\\\\b"}',             "expected a path without control characters"),
    ('{"source": "a", "output": "' + "o" * 1025 + '"}', "expected at most 1024 bytes"),
    ("source,output\na,o\nb,../o",                      "line 3: output '../o'"),
    ("source,query\na," + "w" * 131_073,                "line 2: field larger than field limit"),
    ('{"source": "\\ud800"}',                           "line 1: expected text in"),
    ("[" * 100_000,                                     "line 1 is not JSON"),
]
# fmt: on


@pytest.mark.parametrize(("text", "says"), REJECTED)
def test_a_rejected_line(text: str, says: str) -> None:
    with pytest.raises(BadRequest) as problem:
        list(parse_manifest(text.splitlines()))
    assert says in str(problem.value)


def test_a_manifest_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_bytes(b'{"source": "\xff.jpg"}\n')
    with pytest.raises(BadRequest, match=r"m\.jsonl is not text: .* \| fix: write UTF-8"):
        list(read_manifest(tmp_path / "m.jsonl"))


@pytest.mark.parametrize("first", ['{"source": "a"}', ' {"url": "b"}', "source,query,output", "output,url"])
def test_what_is_a_manifest(first: str) -> None:
    assert is_manifest(first)


@pytest.mark.parametrize("first", ["/fastly/a.jpg?width=3", "https://a.example/", "query,output", "source,price", ""])
def test_what_is_no_manifest(first: str) -> None:
    assert not is_manifest(first)
