"""Serializing and parsing a worker's replies: every invalid reply is rejected before it is used."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.analysis import codec
from cropmark.geometry.findings import Analysis, Face, SaliencyMap
from cropmark.geometry.recipe import Reason
from cropmark.model.appearance import Appearance
from cropmark.model.formats import Format, Info
from cropmark.model.problems import PROBLEMS_BY_CODE, BadValue, CropOutOfBounds, InternalError, Unprocessable
from cropmark.model.values import Box, Color, Size
from cropmark.plan.plan import Plan, RequestWarning
from cropmark.ports import AnalysisResult, Facts, Passthrough, Rendered, Timing
from cropmark.renderers import protocol, reply_parser
from cropmark.renderers.protocol import Failure, NeedsMemory, Ready, Reply
from cropmark.renderers.tasks import Analyze, Describe, Inspect, Render, Task, TaskResult
from cropmark.renderers.transport import MessageKind, ProtocolError, RawReply

RENDER = Render(Plan())
ANALYZE = Analyze(Plan())
DESCRIBE = Describe(Plan())
BODIES = {
    Format.JPEG: b"\xff\xd8\xff\xe0",
    Format.PNG: b"\x89PNG\r\n\x1a\n",
    Format.GIF: b"GIF89a",
    Format.WEBP: b"RIFF\0\0\0\0WEBP",
    Format.AVIF: b"\0\0\0\x1cftypavif\0\0\0\0mif1avif",
}

sides = st.integers(1, 65_500)
sizes = st.builds(Size, sides, sides)
printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
infos = st.builds(
    Info,
    format=st.sampled_from(Format),
    stored_size=sizes,
    bytes=st.integers(0, 2**36),
    orientation=st.integers(1, 8),
    frames=st.integers(1, 10_000),
    alpha=st.booleans(),
    lossless=st.booleans(),
    progressive=st.booleans(),
)
facts = st.builds(
    Facts,
    source=st.none() | infos,
    size=st.none() | sizes,
    frames=st.integers(1, 10_000),
    focus=st.none() | printable,
    format=st.none() | st.sampled_from(Format),
)
warnings = st.lists(st.builds(RequestWarning, printable, printable), max_size=4).map(tuple)
timings = st.lists(st.tuples(printable.map(lambda t: t[:40]), st.integers(0, 10**6).map(lambda n: n / 8)), max_size=4)
renditions = st.sampled_from(sorted(BODIES, key=str)).flatmap(
    lambda kind: st.builds(
        Rendered,
        body=st.binary(max_size=200).map(lambda tail: BODIES[kind] + tail),
        format=st.just(kind),
        facts=facts,
        warnings=warnings,
        timing=timings.map(lambda stages: Timing(tuple(stages))),
        low_effort=st.booleans(),
    )
)
passthroughs = st.builds(Passthrough, st.sampled_from(Reason), facts, warnings)
shares = st.floats(-1, 2, allow_nan=False)
places, lengths, scores = st.floats(-2, 2), st.floats(1e-6, 3), st.floats(0, 1)


def _analysis(columns: int, rows: int) -> st.SearchStrategy[Analysis]:
    """Both maps are of one size; faces within the bounds of an analysis."""
    grids = st.binary(min_size=columns * rows, max_size=columns * rows).map(
        lambda cells: SaliencyMap(columns, rows, cells)
    )
    faces = st.lists(st.builds(Face, places, places, lengths, lengths, scores), max_size=5).map(tuple)
    return st.builds(Analysis, version=st.just(codec.VERSION), faces=faces, subject=grids, residual=grids)


analyses = st.tuples(st.integers(1, 32), st.integers(1, 32)).flatmap(lambda size: _analysis(*size))
analysis_results = st.builds(AnalysisResult, st.none() | analyses, printable, st.booleans())


@given(st.booleans(), renditions | passthroughs)
def test_renditions_survive_a_round_trip(recycle: bool, result: Rendered | Passthrough) -> None:
    assert reply_parser.parse_reply(protocol.serialize_reply(Reply(result, recycle)), RENDER) == Reply(result, recycle)


@given(infos)
def test_infos_survive_a_round_trip(info: Info) -> None:
    assert reply_parser.parse_reply(protocol.serialize_reply(Reply(info)), Inspect()) == Reply(info)


@given(analysis_results)
def test_analyses_survive_a_round_trip(found: AnalysisResult) -> None:
    assert reply_parser.parse_reply(protocol.serialize_reply(Reply(found)), ANALYZE) == Reply(found)


@given(st.integers(1, 2**50))
def test_a_need_for_memory_survives_a_round_trip(needed: int) -> None:
    reply = Reply(NeedsMemory(needed))
    assert reply_parser.parse_reply(protocol.serialize_reply(reply), RENDER) == reply


@pytest.mark.parametrize(
    "header", ['{"recycle":false}', '{"bytes":0,"recycle":false}', '{"bytes":1e9,"recycle":false}']
)
def test_an_invalid_need_for_memory(header: str) -> None:
    with pytest.raises(ProtocolError):
        reply_parser.parse_reply(RawReply(MessageKind.NEEDS_MEMORY, header.encode()), RENDER)
    with pytest.raises(ProtocolError, match="not a reply to Inspect"):
        reply_parser.parse_reply(RawReply(MessageKind.NEEDS_MEMORY, b"{}"), Inspect())


@pytest.mark.parametrize("code", sorted(PROBLEMS_BY_CODE))
def test_problems_cross_by_their_code(code: str) -> None:
    problem = PROBLEMS_BY_CODE[code].__new__(PROBLEMS_BY_CODE[code])
    problem.detail, problem.fix, problem.parameter, problem.retry_after_s = "it\nwent wrong", "do that", "crop", None
    found = reply_parser.parse_reply(
        protocol.serialize_reply(Reply(Failure(problem, log="a trace\nof it"))), RENDER
    ).result
    assert isinstance(found, Failure)
    assert type(found.problem) is PROBLEMS_BY_CODE[code]
    assert (found.problem.detail, found.problem.fix) == ("it went wrong", "do that")
    assert (found.problem.parameter, found.log) == ("crop", "a trace\nof it")


@pytest.mark.parametrize("problem", [CropOutOfBounds(Box(0, 0, 9, 9), Size(4, 3)), BadValue("w", "x", expected="a n")])
def test_problems_with_their_own_texts_survive(problem: Unprocessable) -> None:
    found = reply_parser.parse_reply(protocol.serialize_reply(Reply(Failure(problem))), RENDER).result
    assert isinstance(found, Failure)
    assert str(found.problem) == str(problem)


def test_an_unknown_problem_is_an_internal_error() -> None:
    reply = altered(Failure(Unprocessable("no")), code="sudo")
    found = reply_parser.parse_reply(reply, RENDER).result
    assert isinstance(found, Failure)
    assert type(found.problem) is InternalError


def test_readiness_names_missing_layers() -> None:
    assert reply_parser.parse_ready(protocol.serialize_ready(Ready(("seccomp",)))) == Ready(("seccomp",))
    with pytest.raises(ProtocolError, match="first reply is INFO"):
        reply_parser.parse_ready(RawReply(MessageKind.INFO, b"{}"))


# ------------------------------------------------------------------------------------------------- invalid replies

INFO = Info(Format.PNG, Size(4, 3), 99)
RENDERED = Rendered(BODIES[Format.JPEG], Format.JPEG, Facts(INFO, Size(2, 2)), (RequestWarning("w", "odd"),))
GRID = SaliencyMap(2, 1, b"ab")
LOOK = Appearance(INFO, "sRGB", (Color(1, 2, 3),), "L00000", bytes(21), BODIES[Format.WEBP])
ANALYSIS = AnalysisResult(Analysis(codec.VERSION, (Face(0.1, 0.1, 0.2, 0.2, 0.9),), GRID, GRID))


def altered(result: TaskResult | Failure, body: bytes | None = None, **members: object) -> RawReply:
    """The reply with members of its header changed."""
    reply = protocol.serialize_reply(Reply(result))
    header = json.loads(reply.header) | members
    return RawReply(reply.kind, json.dumps(header).encode(), reply.body if body is None else body)


INFO_MEMBERS = json.loads(protocol.serialize_reply(Reply(INFO)).header)["info"]
ANALYSIS_MEMBERS = json.loads(protocol.serialize_reply(Reply(ANALYSIS)).body)


def altered_analysis(**members: object) -> RawReply:
    """The reply with members of the analysis changed."""
    return altered(ANALYSIS, json.dumps(ANALYSIS_MEMBERS | members).encode())


# fmt: off
INVALID = [
    # the reply                                                    to                the reason
    (RawReply(MessageKind.READY, b"{}"),          RENDER,    "READY is not a reply to Render"),
    (RawReply(MessageKind.INFO, b"{}"),          RENDER,    "INFO is not a reply to Render"),
    (RawReply(MessageKind.RENDERED, b"{}"),          Inspect(), "RENDERED is not a reply to Inspect"),
    (RawReply(MessageKind.PASSTHROUGH, b"{}"),          ANALYZE,  "PASSTHROUGH is not a reply to Analyze"),
    (RawReply(MessageKind.RENDERED, b"{"),          RENDER,    "not JSON"),
    (RawReply(MessageKind.RENDERED, b"\xff"),          RENDER,    "not JSON"),
    (RawReply(MessageKind.RENDERED, b"[" * 100_000),          RENDER,    "not JSON"),
    (RawReply(MessageKind.RENDERED, b"[]"),          RENDER,    "not an object"),
    (RawReply(MessageKind.RENDERED, b"{}"),          RENDER,    "format is missing"),
    (altered(RENDERED, format="exe"),          RENDER,    "format is not a valid Format"),
    (altered(RENDERED, format=["jpeg"]),          RENDER,    "format is not a valid Format"),
    (altered(RENDERED, format="gif"),          RENDER,    "does not begin as gif"),
    (altered(RENDERED, body=b"<script>"),          RENDER,    "does not begin as jpeg"),
    (altered(RENDERED, body=b""),          RENDER,    "does not begin as jpeg"),
    (altered(RENDERED, format="svg", body=b"<svg>"),          RENDER,    "svg is not an output format"),
    (altered(RENDERED, size=[0, 1]),          RENDER,    "an integer from 1"),
    (altered(RENDERED, size=[1.5, 1]),          RENDER,    "an integer from 1"),
    (altered(RENDERED, size=[True, 1]),          RENDER,    "an integer from 1"),
    (altered(RENDERED, size=[1, 2, 3]),          RENDER,    "another length"),
    (altered(RENDERED, size="1x1"),          RENDER,    "another length"),
    (altered(RENDERED, frames=-1),          RENDER,    "an integer from 1"),
    (altered(RENDERED, frames=10**30),          RENDER,    "an integer from 1"),
    (altered(RENDERED, recycle="no"),          RENDER,    "not true or false"),
    (altered(RENDERED, low_effort=1),          RENDER,    "not true or false"),
    (altered(RENDERED, focus="x\r\nSet-Cookie: a=b"),          RENDER,    "printable"),
    (altered(RENDERED, focus="\ud800"),          RENDER,    "printable"),
    (altered(RENDERED, warnings=[["w", "x" * 5000]]),          RENDER,    "printable"),
    (altered(RENDERED, warnings=[["w"]]),          RENDER,    "another length"),
    (altered(RENDERED, warnings=[["w", "x"]] * 2000),          RENDER,    "another length"),
    (altered(RENDERED, timing=[["render", float("inf")]]),          RENDER,    "an integer"),
    (altered(RENDERED, timing=[["render", float("nan")]]),          RENDER,    "an integer"),
    (altered(RENDERED, timing=[["render", 10**400]]),          RENDER,    "an integer"),
    (altered(RENDERED, timing=[["render", "1"]]),          RENDER,    "an integer"),
    (altered(Passthrough(Reason.REQUESTED, Facts()), reason="felt like it"), RENDER,   "reason is not a valid Reason"),
    (altered(INFO, info=None),          Inspect(), "not an object"),
    (altered(INFO, info={**INFO_MEMBERS, "orientation": 9}),       Inspect(), "an integer from 1 to 8"),
    (altered(INFO, info={**INFO_MEMBERS, "stored": [2**40, 1]}),   Inspect(), "an integer from 1"),
    (altered_analysis(faces=[[1, 2]]),          ANALYZE,  "invalid analysis"),
    (altered_analysis(faces=[[1] * 5] * 5000),          ANALYZE,  "invalid analysis"),
    (altered_analysis(faces=[[0.1, 0.1, 0, 0, 0.9]]),          ANALYZE,  "invalid analysis"),
    (altered_analysis(grid=[2, 2]),          ANALYZE,  "invalid analysis"),
    (altered_analysis(subject="!!"),          ANALYZE,  "invalid analysis"),
    (altered_analysis(version=99),          ANALYZE,  "invalid analysis"),
    (altered(ANALYSIS, b"{"),          ANALYZE,  "invalid analysis"),
    (altered(LOOK, palette=[[1, 2, 256]]),          DESCRIBE,  "from 0 to 255"),
    (altered(LOOK, palette=[[1, 2, 3]] * 7),          DESCRIBE,  "another length"),
    (altered(LOOK, blurhash="<script>"),          DESCRIBE,  "expected"),
    (altered(LOOK, thumbhash="00"),          DESCRIBE,  "expected"),
    (altered(LOOK, icc="a\nb"),          DESCRIBE,  "printable"),
    (altered(LOOK, body=b"<svg>"),          DESCRIBE,  "not WebP"),
    (altered(Failure(Unprocessable("no")), code=5),          RENDER,    "printable"),
]
# fmt: on


@pytest.mark.parametrize(("reply", "task", "words"), INVALID)
def test_invalid_replies(reply: RawReply, task: Task, words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        reply_parser.parse_reply(reply, task)


@given(
    st.sampled_from(MessageKind),
    st.binary(max_size=60)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode()),
    st.binary(max_size=20),
    st.sampled_from([RENDER, Inspect(), ANALYZE]),
)
def test_only_protocol_errors_are_raised(kind: MessageKind, header: bytes, body: bytes, task: Task) -> None:
    with pytest.raises(ProtocolError):
        reply_parser.parse_reply(RawReply(kind, header, body), task)


PAIRS: list[tuple[TaskResult, Task]] = [(RENDERED, RENDER), (INFO, Inspect()), (ANALYSIS, ANALYZE), (LOOK, DESCRIBE)]


@given(st.data())
def test_a_damaged_header_is_parsed_or_rejected(data: st.DataObject) -> None:
    """One member replaced by any value: a result of the right type, or ProtocolError."""
    result, task = data.draw(st.sampled_from(PAIRS))
    header = json.loads(protocol.serialize_reply(Reply(result)).header)
    where = header.get("info", header)
    value = data.draw(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()))
    where[data.draw(st.sampled_from(sorted(where)))] = value
    reply = protocol.serialize_reply(Reply(result))
    try:
        found = reply_parser.parse_reply(RawReply(reply.kind, json.dumps(header).encode(), reply.body), task)
    except ProtocolError:
        return
    assert type(found.result) is type(result)
