"""Fuzz targets: functions that accept any bytes and check invariants, for Hypothesis and for coverage_guided.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from cropmark.dialects.contentstack.dialect import Contentstack
from cropmark.dialects.dialect import Dialect, ImageRequest, ParameterDoc, Response, Result
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.dialects.kontent.dialect import Kontent
from cropmark.dialects.pixlab.dialect import PixLab
from cropmark.model.formats import TRAITS, Format, accepted_formats, sniff_format
from cropmark.model.problems import BadValue, Forbidden, Problem, SignatureExpired, SourceUnusable
from cropmark.plan.plan import Order
from cropmark.security.signing import Keyring, SigningKey
from cropmark.web import response
from cropmark.web.cors import RawHeaders

DIALECTS: tuple[Dialect, ...] = (Fastly(), Contentstack(), Kontent(), PixLab())
RING = Keyring([SigningKey(bytes(range(32)), "a"), SigningKey(bytes(range(1, 33)))])
SIGNED = RING.sign("/fastly/a.jpg?width=300&crop=1%3A1").encode()
MARKS = {
    "jpeg": b"\xff\xd8\xff\xe0",
    "png": b"\x89PNG\r\n\x1a\n",
    "gif": b"GIF89a",
    "webp": b"RIFF\0\0\0\0WEBPVP8X",
    "avif": b"\0\0\0\x1cftypavif\0\0\0\0mif1",
    "tiff": b"II*\0",
    "bmp": b"BM" + bytes(12) + b"\x28\0\0\0",
    "svg": b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'>",
}
INPUTS = Path(__file__).with_name("inputs")
"""Inputs that failed once, as fixtures."""
PATHS = ("a.jpg", "v3/assets/k/u/f/a.jpg", "crop", "")


def parts(data: bytes) -> tuple[str, str, str]:
    """Path, query and Accept from any bytes, separated by newlines, which no request line contains."""
    first, _, rest = data.partition(b"\n")
    query, _, accept = rest.partition(b"\n")
    path = PATHS[first[0] % len(PATHS)] if first[:1] else first.decode("utf-8", "surrogateescape")
    return path, query.decode("utf-8", "surrogateescape"), accept.decode("latin-1")


def reads(data: bytes) -> None:
    """Every dialect returns an Order, a Response or a Problem, each with sendable headers."""
    path, query, accept = parts(data)
    for dialect in DIALECTS:
        request = ImageRequest(path, query, {"accept": accept}, base="/here")
        try:
            order = dialect.order(request)
        except Problem as problem:
            _check_error(dialect, problem, request)
        else:
            _check_order(dialect, order, request)


def _check_order(dialect: Dialect, order: Order | Response, request: ImageRequest) -> None:
    if isinstance(order, Response):
        return
    assert order.sources
    assert order.plan is None or order.plan.fingerprint() == order.plan.fingerprint()
    assert order == dialect.order(request)
    result = Result(9, Format.PNG, None, None, order.warnings)
    _check_headers(response.encode_headers(dialect.image_headers(order, result)))


def _check_error(dialect: Dialect, problem: Problem, request: ImageRequest) -> None:
    reply, headers = response.error_response(dialect, problem, request, negotiated=True)
    assert 400 <= reply.status < 600
    assert len(reply.body) < 8_000
    _check_headers(headers)


def _check_headers(headers: RawHeaders) -> None:
    for name, value in headers:
        assert name.replace(b"-", b"").isalnum()
        assert all(0x20 <= byte <= 0x7E for byte in value), (name, value)


def reports(data: bytes) -> None:
    """The text of a Problem never adds a header line, and appears in our pages as text only."""
    text = data.decode("utf-8", "replace")
    for dialect in DIALECTS:
        for problem in (BadValue(text, text, expected=text, fix=text), SourceUnusable(text, fix=text, parameter=text)):
            request = ImageRequest("a.jpg", "", {"accept": text})
            reply, headers = response.error_response(dialect, problem, request, negotiated=True)
            assert b"html" not in reply.media_type.encode()
            _check_headers(headers)


def sends(data: bytes) -> None:
    _check_headers(
        response.encode_headers(
            (("x-first", data.decode("latin-1")), ("x-second", data.decode("utf-8", "surrogateescape")))
        )
    )


def signs(data: bytes) -> None:
    """Only the signed bytes pass as signed."""
    path, _, query = data.partition(b"?")
    try:
        RING.check(path, query, 0.0)
    except (Forbidden, SignatureExpired):
        return
    assert data == SIGNED, f"taken as signed: {data!r}"


def sniffs(data: bytes) -> None:
    assert sniff_format(data) in (*TRAITS, None)
    assert sniff_format(data[:4096]) == sniff_format(data) or len(data) > 4096


def accepts(data: bytes) -> None:
    assert accepted_formats(data.decode("latin-1")) <= set(TRAITS)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    f.__name__: f for f in (reads, reports, sends, signs, sniffs, accepts)
}


def every(data: bytes) -> None:
    for target in TARGETS.values():
        target(data)


# ------------------------------------------------------------------------------------------------ by coverage


def seeds() -> dict[str, bytes]:
    """Initial inputs of the fuzzer: each parameter's example, a signed URL, the start of each format."""
    known = {f"{d.name}-{p.name}": _written(p) for d in DIALECTS for p in d.params}
    return {**{name: b"0\n" + query + b"\nimage/webp" for name, query in known.items()}, "signed": SIGNED, **MARKS}


def words() -> str:
    """The names of all parameters and the words of their examples, as libFuzzer's dictionary."""
    texts = {word for d in DIALECTS for p in d.params for word in (p.name, *re.split(r"[,=:&]", p.example))}
    return "".join(f'"{word}"\n' for word in sorted(texts) if word and re.fullmatch(r"[\w.-]+", word, re.ASCII))


def _written(param: ParameterDoc) -> bytes:
    text = param.example if param.example.startswith(f"{param.name}=") else f"{param.name}={param.example}"
    return text.encode()
