"""Bodies in pieces: three kinds, the same fields; pictures go into files; however it is cut, the same is taken."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cropmark.dialects.pixlab.endpoints import body_kind
from cropmark.plan.source import UploadRef
from cropmark.sources.uploads import TemporaryUploads
from cropmark.web import body_reader
from cropmark.web.pixlab.body import read_fields, reader_for
from cropmark.web.pixlab.fields import MAX_TEXT_BYTES, FieldReader, ParsedFields
from cropmark.web.request import ClientDisconnected, Message

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 80
"""20 kB: as base64 too long for a field."""
BASE64 = base64.b64encode(PICTURE).decode()
SENT = UploadRef(hashlib.sha256(PICTURE).hexdigest())

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=XX"


def part(name: str, body: bytes, filename: str | None = None) -> bytes:
    file = "" if filename is None else f'; filename="{filename}"\r\nContent-Type: image/png'
    return f'--XX\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + body + b"\r\n"


END = b"--XX--\r\n"


def take(body: bytes, content_type: str, cuts: Sequence[int] = (), limit_bytes: int = 10**6) -> ParsedFields:
    """The fields of a body that arrives in pieces cut at these positions."""
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    pieces = [body[a:b] for a, b in itertools.pairwise(places)] or [b""]
    messages: Iterator[Message] = iter(
        [{"type": "http.request", "body": piece, "more_body": n < len(pieces)} for n, piece in enumerate(pieces, 1)]
    )

    async def receive() -> Message:
        return next(messages)

    with tempfile.TemporaryDirectory() as folder, ExitStack() as held:
        uploads = TemporaryUploads(Path(folder))

        def new_intake() -> object:
            intake = uploads.new_writer(100_000)
            held.callback(intake.discard)
            return intake

        parts = FieldReader(new_intake)  # type: ignore[arg-type]  # an UploadWriter, typed as object
        return asyncio.run(read_fields(receive, reader_for(body_kind(content_type), content_type, parts), limit_bytes))


# fmt: off
BODIES = [
    # case                                type       body                                                      holds
    ("an object of JSON",                 JSON,      b'{"x": 1, "blob": true, "img": "https://a.example/"}',
     ParsedFields({"x": "1", "blob": "true", "img": "https://a.example/"})),
    ("the picture in base64",             JSON,      json.dumps({"img": BASE64, "key": "k"}).encode(),
     ParsedFields({"key": "k"}, text=SENT)),
    ("the picture as a data URI",         JSON,      json.dumps({"img": f"data:image/png;base64,{BASE64}"}).encode(),
     ParsedFields({}, text=SENT)),
    ("as PHP escapes it",                 JSON,      b'{"img": "' + BASE64.replace("/", "\\/").encode() + b'"}',
     ParsedFields({}, text=SENT)),
    ("a short picture stays a field",     JSON,      b'{"img": "iVBORw0KGgo="}',
     ParsedFields({"img": "iVBORw0KGgo="})),
    ("a form",                            FORM,      b"x=1&y=+2&img=https%3A%2F%2Fa.example%2Fb%20c&key=%C3%A9",
     ParsedFields({"x": "1", "y": " 2", "img": "https://a.example/b c", "key": "é"})),
    ("of a repeated name the last",       FORM,      b"x=1&x=2",
     ParsedFields({"x": "2"})),
    ("base64 in a form",                  FORM,      urlencode({"img": BASE64, "x": 1}).encode(),
     ParsedFields({"x": "1"}, text=SENT)),
    ("its escaping forgotten",            FORM,      f"x=1&img={BASE64}".encode(),
     ParsedFields({"x": "1"}, text=SENT)),
    ("an empty form",                     FORM,      b"",
     ParsedFields({})),
    ("multipart",                         MULTIPART, part("x", b"1") + part("file", PICTURE, "a.png") + END,
     ParsedFields({"x": "1"}, file=SENT)),
    ("the file first",                    MULTIPART, part("file", PICTURE, "a.png") + part("key", b"k") + END,
     ParsedFields({"key": "k"}, file=SENT)),
    ("a file named img",                  MULTIPART, part("img", PICTURE, "a.png") + END,
     ParsedFields({}, file=SENT)),
    ("file wins over img",                MULTIPART, part("img", b"GIF89a", "b.gif") + part("file", PICTURE, "a") + END,
     ParsedFields({}, file=SENT)),
    ("a file without a file name",        MULTIPART, part("file", PICTURE) + END,
     ParsedFields({}, file=SENT)),
    ("other files are left out",          MULTIPART, part("more", PICTURE, "a.png") + part("y", b"2") + END,
     ParsedFields({"y": "2"})),
    ("an empty file is ignored",          MULTIPART, part("file", b"", "") + part("img", b"https://a.example/") + END,
     ParsedFields({"img": "https://a.example/"})),
    ("base64 in a part",                  MULTIPART, part("img", BASE64.encode()) + END,
     ParsedFields({}, text=SENT)),
    ("a boundary in quotes",              'multipart/form-data; boundary="XX"', part("x", b"1") + END,
     ParsedFields({"x": "1"})),
]
# fmt: on


@pytest.mark.parametrize(("what", "kind", "body", "holds"), BODIES, ids=[row[0] for row in BODIES])
def test_fields_of_bodies(what: str, kind: str, body: bytes, holds: ParsedFields) -> None:
    assert take(body, kind) == holds


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(BODIES), st.lists(st.integers(0, 60_000), max_size=12))
def test_the_fields_do_not_depend_on_the_pieces(row: tuple[str, str, bytes, ParsedFields], cuts: list[int]) -> None:
    _, kind, body, holds = row
    assert take(body, kind, cuts) == holds


@pytest.mark.parametrize("kind", [JSON, FORM, MULTIPART])
def test_the_fields_of_single_byte_pieces(kind: str) -> None:
    _, _, body, holds = next(row for row in BODIES if row[1] == kind)
    assert take(body, kind, range(len(body))) == holds


# fmt: off
BROKEN = [
    # case                             type       body                                                    words
    ("no JSON",                        JSON,      b"x=1",                                                 "JSON"),
    ("JSON, but a list",               JSON,      b"[1]",                                                 "JSON obj"),
    ("JSON that ends early",           JSON,      b'{"x": 1',                                             "JSON"),
    ("no base64",                      JSON,      json.dumps({"img": "!" * 10_000}).encode(),             "base64"),
    ("a URL of 10,000 bytes",          JSON,      json.dumps({"img": "http://" + "a" * 10_000}).encode(), "8192"),
    ("a multipart without its end",    MULTIPART, part("x", b"1"),                                        "multipart"),
    ("a malformed multipart body",     MULTIPART, b"x=1",                                                 "multipart"),
    ("300 fields",                     FORM,      b"&".join(b"a%d=1" % n for n in range(300)),            "256 fields"),
    ("a picture past its limit",       MULTIPART, part("file", bytes(100_001), "a.png") + END,            "100,000"),
    ("base64 past its limit",          FORM,      b"img=" + b"A" * 140_000,                               "100,000"),
]
# fmt: on


@pytest.mark.parametrize(("what", "kind", "body", "words"), BROKEN, ids=[row[0] for row in BROKEN])
def test_problems_of_bodies(what: str, kind: str, body: bytes, words: str) -> None:
    found = take(body, kind)
    assert found.problem is not None
    assert words in found.problem.detail


def test_a_key_after_a_broken_image_is_still_read() -> None:
    found = take(json.dumps({"img": "!" * 10_000, "key": "k"}).encode(), JSON)
    assert found.fields == {"key": "k"}
    assert found.problem is not None


def test_more_than_the_limit_is_not_read() -> None:
    found = take(b"x=" + b"1" * 1000, FORM, limit_bytes=1001)
    assert found.problem is not None
    assert "at most 1,001 bytes" in found.problem.detail


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (FORM, b"a=" + b"1" * (MAX_TEXT_BYTES + 1)),
        (MULTIPART, part("a", b"1" * (MAX_TEXT_BYTES + 1)) + END),
    ],
)
def test_more_than_64_kb_without_the_image_are_rejected(kind: str, body: bytes) -> None:
    found = take(body, kind, limit_bytes=10**7)
    assert found.problem is not None
    assert "65536 bytes" in found.problem.detail


def test_multipart_needs_its_boundary() -> None:
    with pytest.raises(Exception, match="boundary"):
        take(b"", "multipart/form-data")


def test_a_client_that_disconnects(tmp_path: Path) -> None:
    messages: Iterator[Message] = iter(
        [{"type": "http.request", "body": b"x=", "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> Message:
        return next(messages)

    parts = FieldReader(lambda: TemporaryUploads(tmp_path).new_writer(10))
    with pytest.raises(ClientDisconnected):
        asyncio.run(read_fields(receive, reader_for(body_kind(FORM), FORM, parts), 100))


def test_a_client_that_waits_between_two_pieces_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_reader, "IDLE_S", 0.05)

    async def receive() -> Message:
        await asyncio.sleep(5)
        raise AssertionError

    parts = FieldReader(lambda: TemporaryUploads(tmp_path).new_writer(10))
    found = asyncio.run(read_fields(receive, reader_for(body_kind(FORM), FORM, parts), 100))
    assert found.problem is not None
    assert "too slowly" in found.problem.detail


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=20), max_size=6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_forms_that_the_standard_library_writes(fields: dict[str, str], plus: bool) -> None:
    fields = {name: text for name, text in fields.items() if name not in ("img", "file")}
    body = urlencode(fields, quote_via=quote_plus if plus else quote).encode()
    assert take(body, FORM) == ParsedFields(fields)
