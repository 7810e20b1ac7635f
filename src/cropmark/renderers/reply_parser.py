"""Parses a worker's replies in the front. A worker is untrusted, because an attacker may control its decoder.

Every number must be within bounds, every text within a maximum length, every word in its Enum, and a body must begin
with the signature of its format. Any other reply raises ProtocolError, and the worker is replaced.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from enum import Enum
from typing import TypeVar

from cropmark.analysis import codec
from cropmark.geometry.recipe import Reason
from cropmark.model.appearance import MAX_COLORS, Appearance
from cropmark.model.formats import SNIFF_BYTES, WRITABLE, Format, Info, begins_as, sniff_format
from cropmark.model.problems import restored_problem
from cropmark.model.values import Color, Size
from cropmark.plan.plan import RequestWarning
from cropmark.ports import AnalysisResult, Facts, ImageDifference, Passthrough, Rendered, Timing
from cropmark.renderers.protocol import MAX_TEXT, Failure, NeedsMemory, Ready, Reply
from cropmark.renderers.tasks import Analyze, Compare, Describe, DrawOverlay, Inspect, Render, Task, TaskResult
from cropmark.renderers.transport import MessageKind, ProtocolError, RawReply

E = TypeVar("E", bound=Enum)
T = TypeVar("T")

_MAX_SIDE = 2**31
_MAX_ITEMS = 1000
_BLURHASH = re.compile(r"[0-9A-Za-z#$%*+,\-.:;=?@\[\]^_{|}~]{6,40}")
_THUMBHASH = re.compile(r"([0-9a-f]{2}){5,40}")


def parse_ready(reply: RawReply) -> Ready:
    """The content of a worker's first reply. Raises ProtocolError."""
    if reply.kind is not MessageKind.READY:
        raise ProtocolError(f"the first reply is {reply.kind.name}, expected READY")
    fields = _JsonObject(reply.header)
    missing_layers, libraries, vulnerable_libraries = (
        tuple(_text(item, 200) for item in _items(fields.value(name), 10))
        for name in ("missing_layers", "libraries", "vulnerable_libraries")
    )
    return Ready(missing_layers, libraries, vulnerable_libraries)


def parse_reply(reply: RawReply, task: Task) -> Reply:
    """The content of a worker's reply to the task. Raises ProtocolError."""
    if reply.kind not in _EXPECTED_KINDS[type(task)]:
        raise ProtocolError(f"{reply.kind.name} is not a reply to {type(task).__name__}")
    fields = _JsonObject(reply.header)
    try:
        return Reply(_PARSERS[reply.kind](fields, reply.body), fields.flag("recycle"))
    except ValueError as error:  # raised by the values, such as a Size of 0 or a grid without all cells
        raise ProtocolError(str(error)) from error


class _JsonObject:
    """A JSON object with typed access to its members. Raises ProtocolError for a missing or wrong member."""

    def __init__(self, content: object) -> None:
        try:
            value = json.loads(content) if isinstance(content, bytes) else content
        except (ValueError, RecursionError) as error:
            raise ProtocolError("the header is not JSON") from error
        if not isinstance(value, dict):
            raise ProtocolError("the header is not an object")
        self._members: dict[str, object] = value

    def value(self, name: str) -> object:
        if name not in self._members:
            raise ProtocolError(f"{name} is missing")
        return self._members[name]

    def integer(self, name: str, minimum: int, maximum: int) -> int:
        return _integer(self.value(name), minimum, maximum)

    def text(self, name: str, limit: int = MAX_TEXT) -> str:
        return _text(self.value(name), limit)

    def flag(self, name: str) -> bool:
        value = self.value(name)
        if not isinstance(value, bool):
            raise ProtocolError(f"{name} is not true or false")
        return value

    def word(self, name: str, words: type[E]) -> E:
        try:
            return words(self.value(name))
        except ValueError:
            raise ProtocolError(f"{name} is not a valid {words.__name__}") from None

    def optional(self, name: str, parse: Callable[[object], T]) -> T | None:
        value = self.value(name)
        return None if value is None else parse(value)


def _integer(value: object, minimum: int, maximum: int) -> int:
    if type(value) is not int or not minimum <= value <= maximum:
        raise ProtocolError(f"expected an integer from {minimum} to {maximum}")
    return value


def _number(value: object) -> float:
    if isinstance(value, float) and math.isfinite(value):
        return value
    return float(_integer(value, -(2**53), 2**53))


def _text(value: object, limit: int = MAX_TEXT) -> str:
    if not isinstance(value, str) or len(value) > limit or not value.isprintable():
        raise ProtocolError(f"expected a printable text of up to {limit} characters")
    return value


def _items(value: object, limit: int = _MAX_ITEMS, *, exactly: int | None = None) -> list[object]:
    if not isinstance(value, list) or len(value) > limit or (exactly is not None and len(value) != exactly):
        raise ProtocolError("expected a list of another length")
    return value


def _size(value: object) -> Size:
    width, height = _items(value, exactly=2)
    return Size(_integer(width, 1, _MAX_SIDE), _integer(height, 1, _MAX_SIDE))


def _parse_info(value: object) -> Info:
    fields = _JsonObject(value)
    return Info(
        format=fields.word("format", Format),
        stored_size=_size(fields.value("stored")),
        bytes=fields.integer("bytes", 0, 2**40),
        orientation=fields.integer("orientation", 1, 8),
        frames=fields.integer("frames", 1, _MAX_SIDE),
        first_frame_only=fields.flag("first_frame_only"),
        alpha=fields.flag("alpha"),
        lossless=fields.flag("lossless"),
        progressive=fields.flag("progressive"),
        palette=fields.flag("palette"),
        few_bits=fields.flag("few_bits"),
        gain_map=fields.flag("gain_map"),
        not_drawn=fields.text("not_drawn"),
    )


def _facts(fields: _JsonObject) -> Facts:
    return Facts(
        source=fields.optional("source", _parse_info),
        size=fields.optional("size", _size),
        frames=fields.integer("frames", 1, _MAX_SIDE),
        focus=fields.optional("focus", _text),
        format=fields.optional("output_format", lambda _: fields.word("output_format", Format)),
    )


def _warnings(fields: _JsonObject) -> tuple[RequestWarning, ...]:
    pairs = (_items(item, exactly=2) for item in _items(fields.value("warnings")))
    return tuple(RequestWarning(_text(parameter), _text(text)) for parameter, text in pairs)


def _timing(fields: _JsonObject) -> Timing:
    pairs = (_items(item, exactly=2) for item in _items(fields.value("timing"), 20))
    return Timing(tuple((_text(name, 40), _number(ms)) for name, ms in pairs))


def _parse_rendered(fields: _JsonObject, body: bytes) -> Rendered:
    output = fields.word("format", Format)
    if output not in WRITABLE:
        raise ProtocolError(f"{output.value} is not an output format")
    if not begins_as(body[:SNIFF_BYTES], output):
        raise ProtocolError(f"the body does not begin as {output.value} does")
    return Rendered(
        body, output, _facts(fields), _warnings(fields), _timing(fields), low_effort=fields.flag("low_effort")
    )


def _parse_passthrough(fields: _JsonObject, body: bytes) -> Passthrough:
    return Passthrough(fields.word("reason", Reason), _facts(fields), _warnings(fields), _timing(fields))


def _parse_analysis(fields: _JsonObject, body: bytes) -> AnalysisResult:
    try:
        analysis = codec.parse_analysis(body) if body else None
    except codec.MalformedAnalysis as error:
        raise ProtocolError(f"invalid analysis: {error}") from error
    return AnalysisResult(analysis, fields.text("reason"), transient=fields.flag("transient"))


def _parse_difference(fields: _JsonObject, body: bytes) -> ImageDifference:
    mean = _number(fields.value("mean"))
    if not 0 <= mean <= 255:
        raise ProtocolError("expected a mean from 0 to 255")
    return ImageDifference(
        _size(fields.value("size")), mean, fields.integer("maximum", 0, 255), fields.optional("psnr_db", _number)
    )


def _parse_appearance(fields: _JsonObject, body: bytes) -> Appearance:
    if sniff_format(body[:SNIFF_BYTES]) is not Format.WEBP:
        raise ProtocolError("the placeholder is not WebP")
    colors = (_items(item, exactly=3) for item in _items(fields.value("palette"), MAX_COLORS))
    return Appearance(
        _parse_info(fields.value("info")),
        fields.optional("icc", _text),
        tuple(Color(*(_integer(level, 0, 255) for level in levels)) for levels in colors),
        _matching(fields.text("blurhash"), _BLURHASH),
        bytes.fromhex(_matching(fields.text("thumbhash"), _THUMBHASH)),
        body,
    )


def _matching(text: str, pattern: re.Pattern[str]) -> str:
    if pattern.fullmatch(text) is None:
        raise ProtocolError(f"expected {pattern.pattern}")
    return text


def _parse_failure(fields: _JsonObject, body: bytes) -> Failure:
    problem = restored_problem(
        fields.text("code", 40), fields.text("detail"), fields.text("fix"), fields.optional("parameter", _text)
    )
    log = fields.value("log")
    return Failure(problem, log if isinstance(log, str) else "")


_PARSERS: dict[MessageKind, Callable[[_JsonObject, bytes], TaskResult | Failure | NeedsMemory]] = {
    MessageKind.RENDERED: _parse_rendered,
    MessageKind.PASSTHROUGH: _parse_passthrough,
    MessageKind.INFO: lambda fields, body: _parse_info(fields.value("info")),
    MessageKind.ANALYSIS: _parse_analysis,
    MessageKind.PROBLEM: _parse_failure,
    MessageKind.DIFFERENCE: _parse_difference,
    MessageKind.NEEDS_MEMORY: lambda fields, body: NeedsMemory(fields.integer("bytes", 1, 2**50)),
    MessageKind.APPEARANCE: _parse_appearance,
}

_EXPECTED_KINDS: dict[type[Task], frozenset[MessageKind]] = {
    Render: frozenset({MessageKind.RENDERED, MessageKind.PASSTHROUGH, MessageKind.PROBLEM, MessageKind.NEEDS_MEMORY}),
    Inspect: frozenset({MessageKind.INFO, MessageKind.PROBLEM}),
    Analyze: frozenset({MessageKind.ANALYSIS, MessageKind.PROBLEM, MessageKind.NEEDS_MEMORY}),
    Describe: frozenset({MessageKind.APPEARANCE, MessageKind.PROBLEM, MessageKind.NEEDS_MEMORY}),
    DrawOverlay: frozenset({MessageKind.RENDERED, MessageKind.PROBLEM, MessageKind.NEEDS_MEMORY}),
    Compare: frozenset({MessageKind.DIFFERENCE, MessageKind.PROBLEM, MessageKind.NEEDS_MEMORY}),
}
