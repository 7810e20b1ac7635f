"""What a renderer may say, and what it may not: whatever is out of form is noticed before it means anything."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.analysis import codec
from cropmark.geometry.findings import Analysis, Face, SaliencyMap
from cropmark.geometry.recipe import Reason
from cropmark.model.formats import Format, Info
from cropmark.model.problems import KINDS, BadValue, CropOutOfBounds, InternalError, Unprocessable
from cropmark.model.values import Box, Size
from cropmark.plan.plan import Plan, RequestWarning
from cropmark.ports import AnalysisResult, Facts, Passthrough, Rendered, Timing
from cropmark.renderers import protocol
from cropmark.renderers.protocol import Failure, Ready, Reply
from cropmark.renderers.tasks import Analyze, Answer, Inspect, Render, Task
from cropmark.renderers.transport import MessageKind, ProtocolError, RawReply

RENDER = Render(Plan())
BODIES = {
    Format.JPEG: b"\xff\xd8\xff\xe0",
    Format.PNG: b"\x89PNG\r\n\x1a\n",
    Format.GIF: b"GIF89a",
    Format.WEBP: b"RIFF\0\0\0\0WEBP",
    Format.AVIF: b"\0\0\0\x1cftypavif\0\0\0\0mif1avif",
}

sides = st.integers(1, 65_500)
sizes = st.builds(Size, sides, sides)
shown = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
infos = st.builds(
    Info,
    format=st.sampled_from(Format),
    stored=sizes,
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
    focus=st.none() | shown,
    format=st.none() | st.sampled_from(Format),
)
warnings = st.lists(st.builds(RequestWarning, shown, shown), max_size=4).map(tuple)
timings = st.lists(st.tuples(shown.map(lambda t: t[:40]), st.integers(0, 10**6).map(lambda n: n / 8)), max_size=4)
mades = st.sampled_from(sorted(BODIES, key=str)).flatmap(
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
originals = st.builds(Passthrough, st.sampled_from(Reason), facts, warnings)
shares = st.floats(-1, 2, allow_nan=False)
places, lengths, scores = st.floats(-2, 2), st.floats(1e-6, 3), st.floats(0, 1)


def _analysis(columns: int, rows: int) -> st.SearchStrategy[Analysis]:
    """Both maps are of one size; faces within what an analysis may tell."""
    grids = st.binary(min_size=columns * rows, max_size=columns * rows).map(
        lambda cells: SaliencyMap(columns, rows, cells)
    )
    faces = st.lists(st.builds(Face, places, places, lengths, lengths, scores), max_size=5).map(tuple)
    return st.builds(Analysis, version=st.just(codec.VERSION), faces=faces, subject=grids, residual=grids)


analyses = st.tuples(st.integers(1, 32), st.integers(1, 32)).flatmap(lambda size: _analysis(*size))
analyzed = st.builds(AnalysisResult, st.none() | analyses, shown, st.booleans())


@given(st.booleans(), mades | originals)
def test_pictures_arrive_as_they_left(spent: bool, answer: Rendered | Passthrough) -> None:
    assert protocol.read(protocol.written(Reply(answer, spent)), RENDER) == Reply(answer, spent)


@given(infos)
def test_infos_arrive_as_they_left(info: Info) -> None:
    assert protocol.read(protocol.written(Reply(info)), Inspect()) == Reply(info)


@given(analyzed)
def test_analyzes_arrive_as_they_left(found: AnalysisResult) -> None:
    assert protocol.read(protocol.written(Reply(found)), Analyze()) == Reply(found)


@pytest.mark.parametrize("code", sorted(KINDS))
def test_problems_cross_by_their_code(code: str) -> None:
    problem = KINDS[code].__new__(KINDS[code])
    problem.detail, problem.fix, problem.parameter, problem.retry_after_s = "what\nwent wrong", "do that", "crop", None
    found = protocol.read(protocol.written(Reply(Failure(problem, log="a trace\nof it"))), RENDER).answer
    assert isinstance(found, Failure)
    assert type(found.problem) is KINDS[code]
    assert (found.problem.detail, found.problem.fix) == ("what went wrong", "do that")
    assert (found.problem.parameter, found.log) == ("crop", "a trace\nof it")


@pytest.mark.parametrize("problem", [CropOutOfBounds(Box(0, 0, 9, 9), Size(4, 3)), BadValue("w", "x", expected="a n")])
def test_problems_with_words_of_their_own_keep_them(problem: Unprocessable) -> None:
    found = protocol.read(protocol.written(Reply(Failure(problem))), RENDER).answer
    assert isinstance(found, Failure)
    assert str(found.problem) == str(problem)


def test_an_unknown_problem_is_a_breakdown() -> None:
    reply = altered(Failure(Unprocessable("no")), code="sudo")
    found = protocol.read(reply, RENDER).answer
    assert isinstance(found, Failure)
    assert type(found.problem) is InternalError


def test_readiness_names_what_is_missing() -> None:
    assert protocol.read_ready(protocol.ready(Ready(("seccomp",)))) == Ready(("seccomp",))
    with pytest.raises(ProtocolError, match="begins with INFO"):
        protocol.read_ready(RawReply(MessageKind.INFO, b"{}"))


# ------------------------------------------------------------------------------------------------- refusals

INFO = Info(Format.PNG, Size(4, 3), 99)
MADE = Rendered(BODIES[Format.JPEG], Format.JPEG, Facts(INFO, Size(2, 2)), (RequestWarning("w", "odd"),))
GRID = SaliencyMap(2, 1, b"ab")
ANALYZED = AnalysisResult(Analysis(codec.VERSION, (Face(0.1, 0.1, 0.2, 0.2, 0.9),), GRID, GRID))


def altered(
    answer: Rendered | Passthrough | Info | AnalysisResult | Failure, body: bytes | None = None, **members: object
) -> RawReply:
    """The reply with members of its header changed."""
    reply = protocol.written(Reply(answer))
    header = json.loads(reply.header) | members
    return RawReply(reply.kind, json.dumps(header).encode(), reply.body if body is None else body)


INFO_MEMBERS = json.loads(protocol.written(Reply(INFO)).header)["info"]
FOUND = json.loads(protocol.written(Reply(ANALYZED)).body)


def misread(**members: object) -> RawReply:
    """The reply with an analysis whose members are changed."""
    return altered(ANALYZED, json.dumps(FOUND | members).encode())


# fmt: off
REFUSALS = [
    # the reply                                                    to                why it is out of form
    (RawReply(MessageKind.READY, b"{}"),                                     RENDER,    "READY answers no Render"),
    (RawReply(MessageKind.INFO, b"{}"),                                      RENDER,    "INFO answers no Render"),
    (RawReply(MessageKind.MADE, b"{}"),                                      Inspect(), "MADE answers no Inspect"),
    (RawReply(MessageKind.AS_IT_IS, b"{}"),                                  Analyze(), "AS_IT_IS answers no Analyze"),
    (RawReply(MessageKind.MADE, b"{"),                                       RENDER,    "not JSON"),
    (RawReply(MessageKind.MADE, b"\xff"),                                    RENDER,    "not JSON"),
    (RawReply(MessageKind.MADE, b"[" * 100_000),                             RENDER,    "not JSON"),
    (RawReply(MessageKind.MADE, b"[]"),                                      RENDER,    "not an object"),
    (RawReply(MessageKind.MADE, b"{}"),                                      RENDER,    "format is missing"),
    (altered(MADE, format="exe"),                                  RENDER,    "format is no Format"),
    (altered(MADE, format=["jpeg"]),                               RENDER,    "format is no Format"),
    (altered(MADE, format="gif"),                                  RENDER,    "does not begin as gif"),
    (altered(MADE, body=b"<script>"),                              RENDER,    "does not begin as jpeg"),
    (altered(MADE, body=b""),                                      RENDER,    "does not begin as jpeg"),
    (altered(MADE, format="svg", body=b"<svg>"),                   RENDER,    "svg is not written"),
    (altered(MADE, size=[0, 1]),                                   RENDER,    "whole number from 1"),
    (altered(MADE, size=[1.5, 1]),                                 RENDER,    "whole number from 1"),
    (altered(MADE, size=[True, 1]),                                RENDER,    "whole number from 1"),
    (altered(MADE, size=[1, 2, 3]),                                RENDER,    "another length"),
    (altered(MADE, size="1x1"),                                    RENDER,    "another length"),
    (altered(MADE, frames=-1),                                     RENDER,    "whole number from 1"),
    (altered(MADE, frames=10**30),                                 RENDER,    "whole number from 1"),
    (altered(MADE, spent="no"),                                    RENDER,    "neither true nor false"),
    (altered(MADE, low_effort=1),                                     RENDER,    "neither true nor false"),
    (altered(MADE, focus="x\r\nSet-Cookie: a=b"),                  RENDER,    "printable"),
    (altered(MADE, focus="\ud800"),                                RENDER,    "printable"),
    (altered(MADE, warnings=[["w", "x" * 5000]]),                  RENDER,    "printable"),
    (altered(MADE, warnings=[["w"]]),                              RENDER,    "another length"),
    (altered(MADE, warnings=[["w", "x"]] * 2000),                  RENDER,    "another length"),
    (altered(MADE, timing=[["render", float("inf")]]),             RENDER,    "whole number"),
    (altered(MADE, timing=[["render", float("nan")]]),             RENDER,    "whole number"),
    (altered(MADE, timing=[["render", 10**400]]),                  RENDER,    "whole number"),
    (altered(MADE, timing=[["render", "1"]]),                      RENDER,    "whole number"),
    (altered(Passthrough(Reason.ASKED, Facts()), reason="felt like it"), RENDER,   "reason is no Reason"),
    (altered(INFO, info=None),                                     Inspect(), "not an object"),
    (altered(INFO, info={**INFO_MEMBERS, "orientation": 9}),       Inspect(), "whole number from 1 to 8"),
    (altered(INFO, info={**INFO_MEMBERS, "stored": [2**40, 1]}),   Inspect(), "whole number from 1"),
    (misread(faces=[[1, 2]]),                                      Analyze(), "a bad analysis"),
    (misread(faces=[[1] * 5] * 5000),                              Analyze(), "a bad analysis"),
    (misread(faces=[[0.1, 0.1, 0, 0, 0.9]]),                       Analyze(), "a bad analysis"),
    (misread(grid=[2, 2]),                                         Analyze(), "a bad analysis"),
    (misread(subject="!!"),                                        Analyze(), "a bad analysis"),
    (misread(version=99),                                          Analyze(), "a bad analysis"),
    (altered(ANALYZED, b"{"),                                      Analyze(), "a bad analysis"),
    (altered(Failure(Unprocessable("no")), code=5),                    RENDER,    "printable"),
]
# fmt: on


@pytest.mark.parametrize(("reply", "task", "words"), REFUSALS)
def test_out_of_form(reply: RawReply, task: Task, words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        protocol.read(reply, task)


@given(
    st.sampled_from(MessageKind),
    st.binary(max_size=60)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode()),
    st.binary(max_size=20),
    st.sampled_from([RENDER, Inspect(), Analyze()]),
)
def test_nothing_but_out_of_form_is_raised(kind: MessageKind, header: bytes, body: bytes, task: Task) -> None:
    with pytest.raises(ProtocolError):
        protocol.read(RawReply(kind, header, body), task)


PAIRS: list[tuple[Answer, Task]] = [(MADE, RENDER), (INFO, Inspect()), (ANALYZED, Analyze())]


@given(st.data())
def test_a_damaged_header_is_read_or_refused(data: st.DataObject) -> None:
    """One member replaced by any value: an answer of the right type, or OutOfForm."""
    answer, task = data.draw(st.sampled_from(PAIRS))
    header = json.loads(protocol.written(Reply(answer)).header)
    where = header.get("info", header)
    value = data.draw(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()))
    where[data.draw(st.sampled_from(sorted(where)))] = value
    reply = protocol.written(Reply(answer))
    try:
        found = protocol.read(RawReply(reply.kind, json.dumps(header).encode(), reply.body), task)
    except ProtocolError:
        return
    assert type(found.answer) is type(answer)
