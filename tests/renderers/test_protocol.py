"""What a renderer may say, and what it may not: whatever is out of form is noticed before it means anything."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.analysis import codec
from cropmark.geometry.findings import Analysis, Face, Grid
from cropmark.geometry.recipe import Reason
from cropmark.model.formats import Format, Info
from cropmark.model.problems import KINDS, BadValue, Breakdown, CropOutOfBounds, Impossible
from cropmark.model.values import Box, Size
from cropmark.plan.plan import Plan, Warned
from cropmark.ports import Analysed, AsItIs, Facts, Made, Timing
from cropmark.renderers import protocol
from cropmark.renderers.protocol import Failed, Ready, Told
from cropmark.renderers.tasks import Analyse, Answer, Inspect, Render, Task
from cropmark.renderers.transport import Kind, OutOfForm, Reply

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
warnings = st.lists(st.builds(Warned, shown, shown), max_size=4).map(tuple)
timings = st.lists(st.tuples(shown.map(lambda t: t[:40]), st.integers(0, 10**6).map(lambda n: n / 8)), max_size=4)
mades = st.sampled_from(sorted(BODIES, key=str)).flatmap(
    lambda kind: st.builds(
        Made,
        body=st.binary(max_size=200).map(lambda tail: BODIES[kind] + tail),
        format=st.just(kind),
        facts=facts,
        warnings=warnings,
        timing=timings.map(lambda stages: Timing(tuple(stages))),
        reduced=st.booleans(),
    )
)
originals = st.builds(AsItIs, st.sampled_from(Reason), facts, warnings)
shares = st.floats(-1, 2, allow_nan=False)
places, lengths, scores = st.floats(-2, 2), st.floats(1e-6, 3), st.floats(0, 1)


def _analysis(columns: int, rows: int) -> st.SearchStrategy[Analysis]:
    """Both maps are of one size; faces within what an analysis may tell."""
    grids = st.binary(min_size=columns * rows, max_size=columns * rows).map(lambda cells: Grid(columns, rows, cells))
    faces = st.lists(st.builds(Face, places, places, lengths, lengths, scores), max_size=5).map(tuple)
    return st.builds(Analysis, version=st.just(codec.VERSION), faces=faces, subject=grids, residual=grids)


analyses = st.tuples(st.integers(1, 32), st.integers(1, 32)).flatmap(lambda size: _analysis(*size))
analysed = st.builds(Analysed, st.none() | analyses, shown, st.booleans())


@given(st.booleans(), mades | originals)
def test_pictures_arrive_as_they_left(spent: bool, answer: Made | AsItIs) -> None:
    assert protocol.read(protocol.written(Told(answer, spent)), RENDER) == Told(answer, spent)


@given(infos)
def test_infos_arrive_as_they_left(info: Info) -> None:
    assert protocol.read(protocol.written(Told(info)), Inspect()) == Told(info)


@given(analysed)
def test_analyses_arrive_as_they_left(found: Analysed) -> None:
    assert protocol.read(protocol.written(Told(found)), Analyse()) == Told(found)


@pytest.mark.parametrize("code", sorted(KINDS))
def test_problems_cross_by_their_code(code: str) -> None:
    problem = KINDS[code].__new__(KINDS[code])
    problem.detail, problem.fix, problem.parameter, problem.retry_after_s = "what\nwent wrong", "do that", "crop", None
    found = protocol.read(protocol.written(Told(Failed(problem, log="a trace\nof it"))), RENDER).answer
    assert isinstance(found, Failed)
    assert type(found.problem) is KINDS[code]
    assert (found.problem.detail, found.problem.fix) == ("what went wrong", "do that")
    assert (found.problem.parameter, found.log) == ("crop", "a trace\nof it")


@pytest.mark.parametrize("problem", [CropOutOfBounds(Box(0, 0, 9, 9), Size(4, 3)), BadValue("w", "x", expected="a n")])
def test_problems_with_words_of_their_own_keep_them(problem: Impossible) -> None:
    found = protocol.read(protocol.written(Told(Failed(problem))), RENDER).answer
    assert isinstance(found, Failed)
    assert str(found.problem) == str(problem)


def test_an_unknown_problem_is_a_breakdown() -> None:
    reply = altered(Failed(Impossible("no")), code="sudo")
    found = protocol.read(reply, RENDER).answer
    assert isinstance(found, Failed)
    assert type(found.problem) is Breakdown


def test_readiness_names_what_is_missing() -> None:
    assert protocol.read_ready(protocol.ready(Ready(("seccomp",)))) == Ready(("seccomp",))
    with pytest.raises(OutOfForm, match="begins with INFO"):
        protocol.read_ready(Reply(Kind.INFO, b"{}"))


# ------------------------------------------------------------------------------------------------- refusals

INFO = Info(Format.PNG, Size(4, 3), 99)
MADE = Made(BODIES[Format.JPEG], Format.JPEG, Facts(INFO, Size(2, 2)), (Warned("w", "odd"),))
GRID = Grid(2, 1, b"ab")
ANALYSED = Analysed(Analysis(codec.VERSION, (Face(0.1, 0.1, 0.2, 0.2, 0.9),), GRID, GRID))


def altered(answer: Made | AsItIs | Info | Analysed | Failed, body: bytes | None = None, **members: object) -> Reply:
    """The reply with members of its header changed."""
    reply = protocol.written(Told(answer))
    header = json.loads(reply.header) | members
    return Reply(reply.kind, json.dumps(header).encode(), reply.body if body is None else body)


INFO_MEMBERS = json.loads(protocol.written(Told(INFO)).header)["info"]
FOUND = json.loads(protocol.written(Told(ANALYSED)).body)


def misread(**members: object) -> Reply:
    """The reply with an analysis whose members are changed."""
    return altered(ANALYSED, json.dumps(FOUND | members).encode())


# fmt: off
REFUSALS = [
    # the reply                                                    to                why it is out of form
    (Reply(Kind.READY, b"{}"),                                     RENDER,    "READY answers no Render"),
    (Reply(Kind.INFO, b"{}"),                                      RENDER,    "INFO answers no Render"),
    (Reply(Kind.MADE, b"{}"),                                      Inspect(), "MADE answers no Inspect"),
    (Reply(Kind.AS_IT_IS, b"{}"),                                  Analyse(), "AS_IT_IS answers no Analyse"),
    (Reply(Kind.MADE, b"{"),                                       RENDER,    "not JSON"),
    (Reply(Kind.MADE, b"\xff"),                                    RENDER,    "not JSON"),
    (Reply(Kind.MADE, b"[" * 100_000),                             RENDER,    "not JSON"),
    (Reply(Kind.MADE, b"[]"),                                      RENDER,    "not an object"),
    (Reply(Kind.MADE, b"{}"),                                      RENDER,    "format is missing"),
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
    (altered(MADE, reduced=1),                                     RENDER,    "neither true nor false"),
    (altered(MADE, focus="x\r\nSet-Cookie: a=b"),                  RENDER,    "printable"),
    (altered(MADE, focus="\ud800"),                                RENDER,    "printable"),
    (altered(MADE, warnings=[["w", "x" * 5000]]),                  RENDER,    "printable"),
    (altered(MADE, warnings=[["w"]]),                              RENDER,    "another length"),
    (altered(MADE, warnings=[["w", "x"]] * 2000),                  RENDER,    "another length"),
    (altered(MADE, timing=[["render", float("inf")]]),             RENDER,    "whole number"),
    (altered(MADE, timing=[["render", float("nan")]]),             RENDER,    "whole number"),
    (altered(MADE, timing=[["render", 10**400]]),                  RENDER,    "whole number"),
    (altered(MADE, timing=[["render", "1"]]),                      RENDER,    "whole number"),
    (altered(AsItIs(Reason.ASKED, Facts()), reason="felt like it"), RENDER,   "reason is no Reason"),
    (altered(INFO, info=None),                                     Inspect(), "not an object"),
    (altered(INFO, info={**INFO_MEMBERS, "orientation": 9}),       Inspect(), "whole number from 1 to 8"),
    (altered(INFO, info={**INFO_MEMBERS, "stored": [2**40, 1]}),   Inspect(), "whole number from 1"),
    (misread(faces=[[1, 2]]),                                      Analyse(), "a bad analysis"),
    (misread(faces=[[1] * 5] * 5000),                              Analyse(), "a bad analysis"),
    (misread(faces=[[0.1, 0.1, 0, 0, 0.9]]),                       Analyse(), "a bad analysis"),
    (misread(grid=[2, 2]),                                         Analyse(), "a bad analysis"),
    (misread(subject="!!"),                                        Analyse(), "a bad analysis"),
    (misread(version=99),                                          Analyse(), "a bad analysis"),
    (altered(ANALYSED, b"{"),                                      Analyse(), "a bad analysis"),
    (altered(Failed(Impossible("no")), code=5),                    RENDER,    "printable"),
]
# fmt: on


@pytest.mark.parametrize(("reply", "task", "words"), REFUSALS)
def test_out_of_form(reply: Reply, task: Task, words: str) -> None:
    with pytest.raises(OutOfForm, match=words):
        protocol.read(reply, task)


@given(
    st.sampled_from(Kind),
    st.binary(max_size=60)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode()),
    st.binary(max_size=20),
    st.sampled_from([RENDER, Inspect(), Analyse()]),
)
def test_nothing_but_out_of_form_is_raised(kind: Kind, header: bytes, body: bytes, task: Task) -> None:
    with pytest.raises(OutOfForm):
        protocol.read(Reply(kind, header, body), task)


PAIRS: list[tuple[Answer, Task]] = [(MADE, RENDER), (INFO, Inspect()), (ANALYSED, Analyse())]


@given(st.data())
def test_a_damaged_header_is_read_or_refused(data: st.DataObject) -> None:
    """One member replaced by any value: an answer of the right type, or OutOfForm."""
    answer, task = data.draw(st.sampled_from(PAIRS))
    header = json.loads(protocol.written(Told(answer)).header)
    where = header.get("info", header)
    value = data.draw(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()))
    where[data.draw(st.sampled_from(sorted(where)))] = value
    reply = protocol.written(Told(answer))
    try:
        found = protocol.read(Reply(reply.kind, json.dumps(header).encode(), reply.body), task)
    except OutOfForm:
        return
    assert type(found.answer) is type(answer)
