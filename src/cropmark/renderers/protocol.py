"""Answers of a renderer as JSON and back: written by the renderer, read with suspicion by the front.

The reader takes nothing on trust: every number has bounds, every text a length, every word stands in its Enum, and a
body begins as pictures of its format do. What does not is OutOfForm, and the renderer is replaced.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar, assert_never

from cropmark.analysis import codec
from cropmark.geometry.recipe import Reason
from cropmark.model.formats import SNIFFED_BYTES, WRITABLE, Format, Info, sniffed
from cropmark.model.problems import Problem, restored_problem
from cropmark.model.values import Size
from cropmark.plan.plan import RequestWarning
from cropmark.ports import AnalysisResult, Facts, ImageDifference, Passthrough, Rendered, Timing
from cropmark.renderers.tasks import Analyze, Answer, Compare, DrawOverlay, Inspect, Render, Task
from cropmark.renderers.transport import MessageKind, ProtocolError, RawReply

E = TypeVar("E", bound=Enum)
T = TypeVar("T")

_MOST_SIDE = 2**31
_MOST_TEXT = 4096
_MOST_ITEMS = 1000


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task has no answer. `log` is for the log only: it may hold anything."""

    problem: Problem
    log: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a renderer answered. `spent`: it met something that it should not outlive."""

    answer: Answer | Failure
    spent: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """A renderer awaits its first task; `missing` names the walls that it works without.

    `versions` are of the native libraries that it decodes with, `outdated` tells those below their floor.
    """

    missing: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    outdated: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------------- written


def ready(told: Ready) -> RawReply:
    return RawReply(
        MessageKind.READY, _json({"missing": told.missing, "versions": told.versions, "outdated": told.outdated})
    )


def written(told: Reply) -> RawReply:
    """The reply that says it."""
    match told.answer:
        case Rendered() as made:
            header = {**_common(made), "format": made.format.value, "low_effort": made.low_effort}
            return RawReply(MessageKind.MADE, _json(header | {"spent": told.spent}), made.body)
        case Passthrough() as kept:
            return RawReply(
                MessageKind.AS_IT_IS, _json({**_common(kept), "reason": kept.reason.value, "spent": told.spent})
            )
        case Info() as info:
            return RawReply(MessageKind.INFO, _json({"info": _info(info), "spent": told.spent}))
        case AnalysisResult() as found:
            header = {"reason": _shown(found.reason), "passing": found.transient, "spent": told.spent}
            body = codec.analysis_json(found.analysis) if found.analysis else b""
            return RawReply(MessageKind.ANALYZED, _json(header), body)
        case ImageDifference() as told_apart:
            return RawReply(MessageKind.COMPARED, _json({**_compared(told_apart), "spent": told.spent}))
        case Failure(problem, log):
            return RawReply(
                MessageKind.PROBLEM, _json({**_problem(problem), "log": log[-_MOST_TEXT:], "spent": told.spent})
            )
        case _:
            assert_never(told.answer)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _common(answer: Rendered | Passthrough) -> dict[str, object]:
    facts = answer.facts
    return {
        "source": facts.source and _info(facts.source),
        "size": facts.size and [facts.size.width, facts.size.height],
        "frames": facts.frames,
        "focus": facts.focus,
        "made": facts.format and facts.format.value,
        "warnings": [[_shown(w.parameter), _shown(w.text)] for w in answer.warnings],
        "timing": [[name, round(ms, 3)] for name, ms in answer.timing.stages],
    }


def _info(info: Info) -> dict[str, object]:
    return {
        "format": info.format.value,
        "stored": [info.stored.width, info.stored.height],
        "bytes": info.bytes,
        "orientation": info.orientation,
        "frames": info.frames,
        "alpha": info.alpha,
        "lossless": info.lossless,
        "progressive": info.progressive,
        "palette": info.palette,
    }


def _compared(found: ImageDifference) -> dict[str, object]:
    size = [found.size.width, found.size.height]
    return {"size": size, "mean": found.mean, "most": found.maximum, "psnr_db": found.psnr_db}


def _problem(problem: Problem) -> dict[str, object]:
    told = {"code": problem.code, "detail": _shown(problem.detail), "fix": _shown(problem.fix)}
    return {**told, "parameter": problem.parameter and _shown(problem.parameter)}


def _shown(text: str) -> str:
    """The text as the reader takes it: what libvips says of a broken file has line ends, and bytes of the file."""
    return "".join(c if c.isprintable() else " " for c in text[:_MOST_TEXT])


# ------------------------------------------------------------------------------------------------- read


def read_ready(reply: RawReply) -> Ready:
    """What the first message of a renderer says. Raises OutOfForm."""
    if reply.kind is not MessageKind.READY:
        raise ProtocolError(f"a renderer that begins with {reply.kind.name}")
    found = _Object(reply.header)
    missing, versions, outdated = (
        tuple(_text(item, 200) for item in _items(found.value(name), 10))
        for name in ("missing", "versions", "outdated")
    )
    return Ready(missing, versions, outdated)


def read(reply: RawReply, task: Task) -> Reply:
    """What the reply says to the task. Raises OutOfForm."""
    if reply.kind not in _SUITS[type(task)]:
        raise ProtocolError(f"{reply.kind.name} answers no {type(task).__name__}")
    found = _Object(reply.header)
    try:
        return Reply(_ANSWERS[reply.kind](found, reply.body), found.flag("spent"))
    except ValueError as error:  # of the values themselves: a Size of nothing, a Grid with cells missing
        raise ProtocolError(str(error)) from error


class _Object:
    """A JSON object whose members are asked for by name and kind."""

    def __init__(self, found: object) -> None:
        try:
            value = json.loads(found) if isinstance(found, bytes) else found
        except (ValueError, RecursionError) as error:
            raise ProtocolError("the header is not JSON") from error
        if not isinstance(value, dict):
            raise ProtocolError("the header is not an object")
        self._members: dict[str, object] = value

    def value(self, name: str) -> object:
        if name not in self._members:
            raise ProtocolError(f"{name} is missing")
        return self._members[name]

    def whole(self, name: str, least: int, most: int) -> int:
        return _whole(self.value(name), least, most)

    def text(self, name: str, most: int = _MOST_TEXT) -> str:
        return _text(self.value(name), most)

    def flag(self, name: str) -> bool:
        value = self.value(name)
        if not isinstance(value, bool):
            raise ProtocolError(f"{name} is neither true nor false")
        return value

    def word(self, name: str, words: type[E]) -> E:
        try:
            return words(self.value(name))
        except ValueError:
            raise ProtocolError(f"{name} is no {words.__name__}") from None

    def perhaps(self, name: str, read_it: Callable[[object], T]) -> T | None:
        value = self.value(name)
        return None if value is None else read_it(value)


def _whole(value: object, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ProtocolError(f"a whole number from {least} to {most} was due")
    return value


def _number(value: object) -> float:
    if isinstance(value, float) and math.isfinite(value):
        return value
    return float(_whole(value, -(2**53), 2**53))


def _text(value: object, most: int = _MOST_TEXT) -> str:
    if not isinstance(value, str) or len(value) > most or not value.isprintable():
        raise ProtocolError(f"a printable text of up to {most} characters was due")
    return value


def _items(value: object, most: int = _MOST_ITEMS, *, exactly: int | None = None) -> list[object]:
    if not isinstance(value, list) or len(value) > most or (exactly is not None and len(value) != exactly):
        raise ProtocolError("a list of another length was due")
    return value


def _size(value: object) -> Size:
    width, height = _items(value, exactly=2)
    return Size(_whole(width, 1, _MOST_SIDE), _whole(height, 1, _MOST_SIDE))


def _read_info(value: object) -> Info:
    found = _Object(value)
    return Info(
        format=found.word("format", Format),
        stored=_size(found.value("stored")),
        bytes=found.whole("bytes", 0, 2**40),
        orientation=found.whole("orientation", 1, 8),
        frames=found.whole("frames", 1, _MOST_SIDE),
        alpha=found.flag("alpha"),
        lossless=found.flag("lossless"),
        progressive=found.flag("progressive"),
        palette=found.flag("palette"),
    )


def _facts(found: _Object) -> Facts:
    return Facts(
        source=found.perhaps("source", _read_info),
        size=found.perhaps("size", _size),
        frames=found.whole("frames", 1, _MOST_SIDE),
        focus=found.perhaps("focus", _text),
        format=found.perhaps("made", lambda _: found.word("made", Format)),
    )


def _warnings(found: _Object) -> tuple[RequestWarning, ...]:
    pairs = (_items(item, exactly=2) for item in _items(found.value("warnings")))
    return tuple(RequestWarning(_text(parameter), _text(text)) for parameter, text in pairs)


def _timing(found: _Object) -> Timing:
    pairs = (_items(item, exactly=2) for item in _items(found.value("timing"), 20))
    return Timing(tuple((_text(name, 40), _number(ms)) for name, ms in pairs))


def _read_made(found: _Object, body: bytes) -> Rendered:
    wanted = found.word("format", Format)
    if wanted not in WRITABLE:
        raise ProtocolError(f"{wanted.value} is not written")
    if sniffed(body[:SNIFFED_BYTES]) is not wanted:
        raise ProtocolError(f"the body does not begin as {wanted.value} does")
    return Rendered(body, wanted, _facts(found), _warnings(found), _timing(found), low_effort=found.flag("low_effort"))


def _read_as_it_is(found: _Object, body: bytes) -> Passthrough:
    return Passthrough(found.word("reason", Reason), _facts(found), _warnings(found), _timing(found))


def _read_analyzed(found: _Object, body: bytes) -> AnalysisResult:
    try:
        analysis = codec.read_analysis(body) if body else None
    except codec.MalformedAnalysis as error:
        raise ProtocolError(f"a bad analysis: {error}") from error
    return AnalysisResult(analysis, found.text("reason"), transient=found.flag("passing"))


def _read_compared(found: _Object, body: bytes) -> ImageDifference:
    mean = _number(found.value("mean"))
    if not 0 <= mean <= 255:
        raise ProtocolError("a mean from 0 to 255 was due")
    return ImageDifference(
        _size(found.value("size")), mean, found.whole("most", 0, 255), found.perhaps("psnr_db", _number)
    )


def _read_failed(found: _Object, body: bytes) -> Failure:
    problem = restored_problem(
        found.text("code", 40), found.text("detail"), found.text("fix"), found.perhaps("parameter", _text)
    )
    log = found.value("log")
    return Failure(problem, log if isinstance(log, str) else "")


_ANSWERS: dict[MessageKind, Callable[[_Object, bytes], Answer | Failure]] = {
    MessageKind.MADE: _read_made,
    MessageKind.AS_IT_IS: _read_as_it_is,
    MessageKind.INFO: lambda found, body: _read_info(found.value("info")),
    MessageKind.ANALYZED: _read_analyzed,
    MessageKind.PROBLEM: _read_failed,
    MessageKind.COMPARED: _read_compared,
}

_SUITS: dict[type[Task], frozenset[MessageKind]] = {
    Render: frozenset({MessageKind.MADE, MessageKind.AS_IT_IS, MessageKind.PROBLEM}),
    Inspect: frozenset({MessageKind.INFO, MessageKind.PROBLEM}),
    Analyze: frozenset({MessageKind.ANALYZED, MessageKind.PROBLEM}),
    DrawOverlay: frozenset({MessageKind.MADE, MessageKind.PROBLEM}),
    Compare: frozenset({MessageKind.COMPARED, MessageKind.PROBLEM}),
}
