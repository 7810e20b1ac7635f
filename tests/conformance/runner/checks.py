"""Checks: compares a response with the case's `expect`."""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.conformance.runner.cases import TURN_ALIASES, Case, CaseError, as_list, has_source, source_path
from tests.conformance.runner.client import Client, Reply
from tests.conformance.runner.formats import IMAGES, MEDIA_TYPES, sniff
from tests.conformance.runner.images import BodyImage, decode
from tests.conformance.runner.regions import NoRegion, read_region, upright_size

Failure = tuple[str, str]  # expected, received

_ABOUT_FILE = {"format", "identical_to_source", "max_bytes", "min_bytes", "smaller_than_source"}
_ABOUT_IMAGE = _ABOUT_FILE | {"width", "height", "region", "pixels", "frames", "turn"}
# How far off, in levels, each encoder leaves an edge that is read from 8-bit ramps (measured: quality 60 and
# up, 100 px and up).
_RAMP_ERROR = {"jpeg": 0.75, "webply": 1.5, "avif": 2.0, "gif": 1.25, "png8": 1.25}


def failures(case: Case, dialect: str, reply: Reply, client: Client) -> list[Failure]:
    """Every difference between the response and the expectation. Raises CaseError, httpx.HTTPError."""
    expect = case.get("expect") or {}
    if "status" in expect and not _status_matches(expect["status"], reply.status):
        words = _one_line(reply.body[:120]) if reply.status >= 400 else ""
        return [(f"status {expect['status']}", f"{reply.status} {words}".strip())]
    found = [*_header_failures(expect, reply.headers), *_text_failures(expect, reply.body)]
    if not _ABOUT_IMAGE & set(expect) or case.get("method") in ("HEAD", "OPTIONS"):
        return found
    result = _image_reply(dialect, reply, client)
    if isinstance(result, tuple):
        return [*found, result]
    found += _file_failures(case, result.body, client.target.sources)
    found += _format_failures(expect, result)
    return [*found, *_image_failures(case, expect, result.body)]


def _status_matches(expected: Any, status: int) -> bool:
    if isinstance(expected, list):
        return any(_status_matches(item, status) for item in expected)
    if isinstance(expected, str) and expected.lower().endswith("xx"):
        return str(status)[0] == expected[0]
    return int(expected) == status


def _header_failures(expect: dict[str, Any], headers: httpx.Headers) -> Iterator[Failure]:
    for name, expected in (expect.get("headers") or {}).items():
        value = headers.get(name)
        if not _header_matches(name, expected, value):
            yield f"header {name}: {json.dumps(expected)}", json.dumps(value)


def _header_matches(name: str, expected: Any, value: str | None) -> bool:
    match expected:
        case None:
            return value is None
        case list():
            return any(_header_matches(name, item, value) for item in expected)
        case {"absent": absent}:
            return (value is None) == bool(absent)
        case {"present": present}:
            return (value is not None) == bool(present)
        case dict():
            return _header_tests_pass(name, expected, value)
        case _:
            return _header_is(name, str(expected), value)


def _header_is(name: str, expected: str, value: str | None) -> bool:
    if value is None:
        return False
    if name.lower() == "content-type" and ";" not in expected:
        return value.split(";")[0].strip().lower() == expected.lower()
    return value.strip() == expected


def _header_tests_pass(name: str, tests: dict[str, Any], value: str | None) -> bool:
    if set(tests) - {"contains", "not_contains", "matches"}:
        raise CaseError(f"headers: {name}: unknown test {tests}")
    text = (value or "").lower()
    return (
        (value is not None or set(tests) <= {"not_contains"})
        and all(str(word).lower() in text for word in as_list(tests.get("contains", [])))
        and not any(str(word).lower() in text for word in as_list(tests.get("not_contains", [])))
        and ("matches" not in tests or re.search(tests["matches"], value or "") is not None)
    )


def _text_failures(expect: dict[str, Any], body: bytes) -> Iterator[Failure]:
    text = body.decode("utf-8", "replace")
    for word in as_list(expect.get("error_contains", [])):
        if str(word).lower() not in text.lower():
            yield f"error body with {word!r}", text.lower()[:160].replace("\n", " ")
    for word in as_list(expect.get("body_contains", [])):
        if word.encode() not in body:
            yield f"body with {word!r}", str(body[:120])
    if "json" in expect:
        try:
            difference = _json_difference(expect["json"], json.loads(body))
        except ValueError:
            difference = f"not JSON: {body[:80]!r}"
        if difference:
            yield f"json {json.dumps(expect['json'])}", difference


def _json_difference(expected: Any, value: Any) -> str | None:
    """The first difference of the value from the expected subset; None if it holds the subset."""
    if isinstance(expected, dict):
        if set(expected) == {"present"}:
            return None
        if not isinstance(value, dict):
            return f"{value!r} is not an object"
        differences = ((name, _member_difference(test, name, value)) for name, test in expected.items())
        return next((text for _, text in differences if text), None)
    if isinstance(expected, list):
        if not isinstance(value, list) or len(value) < len(expected):
            return f"{value!r}"
        pairs = enumerate(zip(expected, value, strict=False))
        return next((f"[{i}] {text}" for i, (want, have) in pairs if (text := _json_difference(want, have))), None)
    if _is_number(expected) and isinstance(value, int | float):
        return None if abs(expected - value) <= 1e-6 else f"{value!r}"
    return None if expected == value else f"{value!r}"


def _member_difference(expected: Any, name: str, parent: dict[str, Any]) -> str | None:
    absent = isinstance(expected, dict) and bool(expected.get("absent"))
    if name not in parent:
        return None if absent else f"{name!r} is missing"
    if absent:
        return f"{name!r} is present"
    if isinstance(expected, dict) and expected and set(expected) <= {"contains", "matches"}:
        text = str(parent[name])
        wanted = expected.get("contains", "") in text and re.search(expected.get("matches", ""), text) is not None
        return None if wanted else f"{name}: {text[:80]!r}"
    difference = _json_difference(expected, parent[name])
    return f"{name}: {difference}" if difference else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _image_reply(dialect: str, reply: Reply, client: Client) -> Reply | Failure:
    """The response with the image: PixLab's JSON names a link to it."""
    if dialect != "pixlab" or sniff(reply.body) != {"json"}:
        return reply
    try:
        link = json.loads(reply.body).get("link")
    except (ValueError, AttributeError):
        link = None
    if not link:
        return "an image, or JSON with a link", reply.body[:160].decode("utf-8", "replace")
    if link.startswith("data:"):
        return Reply(reply.status, reply.headers, base64.b64decode(link.split(",", 1)[1]))
    linked = client.follow(link, dialect)
    return linked if linked.status == 200 else (f"an image at the link {link[:80]}", str(linked.status))


def _file_failures(case: Case, body: bytes, sources: Path) -> Iterator[Failure]:
    expect = case["expect"]
    identical, smaller = expect.get("identical_to_source"), expect.get("smaller_than_source")
    if has_source(case) and (identical is not None or smaller):
        source = (sources / source_path(case)).read_bytes()
        if identical is not None and (body == source) != bool(identical):
            expected = "the source file, byte for byte" if identical else "a file that differs from the source"
            yield expected, f"{len(body)} bytes {'/'.join(sorted(sniff(body)))}, source {len(source)}"
        if smaller and len(body) >= len(source):
            yield f"fewer bytes than the source's {len(source)}", str(len(body))
    if len(body) > expect.get("max_bytes", len(body)):
        yield f"at most {expect['max_bytes']} bytes", str(len(body))
    if len(body) < expect.get("min_bytes", 0):
        yield f"at least {expect['min_bytes']} bytes", str(len(body))


def _format_failures(expect: dict[str, Any], reply: Reply) -> Iterator[Failure]:
    if "format" not in expect:
        return
    names, formats = sniff(reply.body), as_list(expect["format"])
    media_type = (reply.headers.get("content-type") or "").split(";")[0].strip().lower()
    if not names & set(formats):
        yield f"format {'/'.join(formats)}", f"{'/'.join(sorted(names))} ({media_type or 'no Content-Type'})"
        return
    allowed = [media for name in names for media in MEDIA_TYPES.get(name, ())]
    if allowed and media_type not in allowed:
        yield f"Content-Type {allowed[0]}", media_type or "none"


def _image_failures(case: Case, expect: dict[str, Any], body: bytes) -> Iterator[Failure]:
    needs_pixels = bool(_ABOUT_IMAGE & set(expect) - _ABOUT_FILE)
    if not needs_pixels and not sniff(body) & IMAGES:
        return
    image = decode(body)
    for problem in image.problems:
        yield "an image that decodes whole", problem
    if not needs_pixels:
        return
    if image.width is None or image.height is None:
        if not image.problems:
            yield "an image", f"{'/'.join(sorted(image.names))}: {body[:80]!r}"
        return
    yield from _size_failures(expect, image.width, image.height)
    if "frames" in expect and image.frame_count != expect["frames"]:
        yield f"{expect['frames']} frames", str(image.frame_count)
    if "region" in expect or "turn" in expect:
        yield from _region_failures(case, image)
    for pixel in expect.get("pixels") or []:
        yield from _pixel_failures(pixel, image, (image.width, image.height))


def _size_failures(expect: dict[str, Any], width: int, height: int) -> Iterator[Failure]:
    tolerance = expect.get("size_tolerance", 0)
    across, down = tolerance if isinstance(tolerance, list) else (tolerance, tolerance)
    if abs(width - expect.get("width", width)) > across or abs(height - expect.get("height", height)) > down:
        size = f"size {expect.get('width', '?')}x{expect.get('height', '?')}"
        yield size + (f" within {tolerance}" if tolerance else ""), f"{width}x{height}"


def _region_failures(case: Case, image: BodyImage) -> Iterator[Failure]:
    expect, source = case["expect"], case.get("source") or {}
    region = read_region(image.frames[0], source) if source else NoRegion("the case has no source")
    if isinstance(region, NoRegion):
        yield f"region {expect.get('region', 'any')}", region.reason
        return
    if "region" in expect:
        limits = _edge_limits(case, image, region.resolution)
        edges = zip(_edges(region.box), _edges(expect["region"]), limits, strict=True)
        if any(abs(have - want) > limit for have, want, limit in edges):
            tolerance = expect.get("region_tolerance", _default_tolerance(source))
            received = "[" + ", ".join(f"{value:.4g}" for value in region.box) + "]"
            yield f"region {expect['region']} within {tolerance}", received
    turn = expect.get("turn")
    if turn is not None:
        if region.turn != TURN_ALIASES.get(turn, turn):
            yield f"turn {turn}", region.turn
    elif region.turn != "as-is" and not _requests_turn(case):
        yield "an upright image", f"turned or mirrored: {region.turn}"


def _edge_limits(case: Case, image: BodyImage, resolution: tuple[float, float]) -> list[float]:
    """The tolerance of each edge, never finer than the encoder and the reading allow."""
    source = case["source"]
    tolerance = case["expect"].get("region_tolerance", _default_tolerance(source))
    tolerances = tolerance if isinstance(tolerance, list) else [tolerance] * 4
    levels = 0.0
    if source["kind"] == "gradient":
        levels = next((error for name, error in _RAMP_ERROR.items() if name in image.names), 0.1)
    size = upright_size(source)
    return [max(tolerances[edge], resolution[edge % 2], levels * size[edge % 2] / 255) + 0.02 for edge in range(4)]


def _default_tolerance(source: dict[str, Any]) -> int:
    return 0 if source["kind"] == "exact" else 3


def _edges(box: Any) -> tuple[float, float, float, float]:
    return box[0], box[1], box[0] + box[2], box[1] + box[3]


def _requests_turn(case: Case) -> bool:
    text = urllib.parse.unquote(case.get("query") or case.get("url") or "") + json.dumps(case.get("params") or {})
    return bool(re.search(r"\b(orient|rotate|rot|flip|mirror|or)\b", text))


def _pixel_failures(pixel: dict[str, Any], image: BodyImage, size: tuple[int, int]) -> Iterator[Failure]:
    frame, x, y = pixel.get("frame", 0), int(pixel["x"]), int(pixel["y"])
    width, height = size
    if frame >= len(image.frames):
        yield f"frame {frame}", f"{len(image.frames)} frames"
        return
    if not (-width <= x < width and -height <= y < height):
        yield f"pixel {x},{y} {pixel['rgba']}", f"outside {width}x{height}"
        return
    have = [int(value) for value in image.frames[frame][y, x]]
    expected = list(pixel["rgba"])
    tolerance = pixel.get("tolerance", 12 if image.lossy else 2)
    if len(expected) == 4 and expected[3] == 0:  # the color of a transparent pixel is not visible
        close = have[3] <= tolerance
    else:
        close = all(abs(a - b) <= tolerance for a, b in zip(expected, have, strict=False))
    if not close:
        yield f"pixel {x},{y} {expected} within {tolerance}", str(have)


def _one_line(text: bytes) -> str:
    return text.decode("utf-8", "replace").replace("\n", " ")
