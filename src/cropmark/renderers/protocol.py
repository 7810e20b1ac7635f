"""The replies of a worker, as JSON and bytes.

The worker serializes them here; the front parses them (reply_parser.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import assert_never

from cropmark.analysis import codec
from cropmark.model.appearance import Appearance
from cropmark.model.formats import Info
from cropmark.model.problems import Problem
from cropmark.ports import AnalysisResult, ImageDifference, Passthrough, Rendered
from cropmark.renderers.tasks import TaskResult
from cropmark.renderers.transport import MessageKind, RawReply

MAX_TEXT = 4096
"""The most characters of a text in a reply."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The result of a task that failed. `log` is only for the server log: it may contain secrets and paths."""

    problem: Problem
    log: str = ""


@dataclass(frozen=True, slots=True)
class NeedsMemory:
    """The result of a task that was not executed, because it needs more memory than it was granted."""

    bytes: int
    """The memory that the task needs in addition to the memory of an idle worker."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A worker's reply to a task."""

    result: TaskResult | Failure | NeedsMemory
    recycle: bool = False
    """True if the worker must be replaced: a source was corrupt, and its decoder may be in a bad state."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker's first reply: the worker is set up and waits for tasks."""

    missing_layers: tuple[str, ...] = ()
    """The layers of the sandbox that this system lacks."""
    libraries: tuple[str, ...] = ()
    """The name and version of each native library that decodes images."""
    vulnerable_libraries: tuple[str, ...] = ()
    """A message for each native library with published memory bugs."""


def serialize_ready(ready: Ready) -> RawReply:
    return RawReply(
        MessageKind.READY,
        _json(
            {
                "missing_layers": ready.missing_layers,
                "libraries": ready.libraries,
                "vulnerable_libraries": ready.vulnerable_libraries,
            }
        ),
    )


def serialize_reply(reply: Reply) -> RawReply:
    kind, fields, body = _parts(reply.result)
    return RawReply(kind, _json({**fields, "recycle": reply.recycle}), body)


def _parts(result: TaskResult | Failure | NeedsMemory) -> tuple[MessageKind, dict[str, object], bytes]:
    match result:
        case Rendered() as rendered:
            fields = {"format": rendered.format.value, "low_effort": rendered.low_effort}
            return MessageKind.RENDERED, _common_fields(rendered) | fields, rendered.body
        case Passthrough() as passthrough:
            return MessageKind.PASSTHROUGH, _common_fields(passthrough) | {"reason": passthrough.reason.value}, b""
        case Info() as info:
            return MessageKind.INFO, {"info": _info_fields(info)}, b""
        case AnalysisResult(analysis, reason, transient):
            body = codec.serialize_analysis(analysis) if analysis else b""
            return MessageKind.ANALYSIS, {"reason": _printable(reason), "transient": transient}, body
        case ImageDifference() as difference:
            return MessageKind.DIFFERENCE, _difference_fields(difference), b""
        case Appearance() as appearance:
            return MessageKind.APPEARANCE, _appearance_fields(appearance), appearance.placeholder
        case NeedsMemory(needed):
            return MessageKind.NEEDS_MEMORY, {"bytes": needed}, b""
        case Failure(problem, log):
            return MessageKind.PROBLEM, _problem_fields(problem) | {"log": log[-MAX_TEXT:]}, b""
        case _:
            assert_never(result)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _common_fields(result: Rendered | Passthrough) -> dict[str, object]:
    facts = result.facts
    return {
        "source": facts.source and _info_fields(facts.source),
        "size": facts.size and [facts.size.width, facts.size.height],
        "frames": facts.frames,
        "focus": facts.focus,
        "output_format": facts.format and facts.format.value,
        "warnings": [[_printable(w.parameter), _printable(w.text)] for w in result.warnings],
        "timing": [[name, round(ms, 3)] for name, ms in result.timing.stages],
    }


def _info_fields(info: Info) -> dict[str, object]:
    return {
        "format": info.format.value,
        "stored": [info.stored_size.width, info.stored_size.height],
        "bytes": info.bytes,
        "orientation": info.orientation,
        "frames": info.frames,
        "first_frame_only": info.first_frame_only,
        "alpha": info.alpha,
        "lossless": info.lossless,
        "progressive": info.progressive,
        "palette": info.palette,
        "few_bits": info.few_bits,
        "gain_map": info.gain_map,
        "not_drawn": info.not_drawn,
    }


def _difference_fields(difference: ImageDifference) -> dict[str, object]:
    return {
        "size": [difference.size.width, difference.size.height],
        "mean": difference.mean,
        "maximum": difference.maximum,
        "psnr_db": difference.psnr_db,
    }


def _appearance_fields(appearance: Appearance) -> dict[str, object]:
    return {
        "info": _info_fields(appearance.info),
        "icc": appearance.icc,
        "palette": [[color.red, color.green, color.blue] for color in appearance.palette],
        "blurhash": appearance.blurhash,
        "thumbhash": appearance.thumbhash.hex(),
    }


def _problem_fields(problem: Problem) -> dict[str, object]:
    return {
        "code": problem.code,
        "detail": _printable(problem.detail),
        "fix": _printable(problem.fix),
        "parameter": problem.parameter and _printable(problem.parameter),
    }


def _printable(text: str) -> str:
    """The text with a space in place of each character that reply_parser.py rejects.

    Errors of libvips contain line ends and bytes of the file.
    """
    return "".join(c if c.isprintable() else " " for c in text[:MAX_TEXT])
