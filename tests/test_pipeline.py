"""The line from Order to Delivered, with fakes of the ports around it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from cropmark.caches.memory import MemoryCache
from cropmark.caches.tiered import TieredCaches
from cropmark.geometry.findings import Analysis, SaliencyMap
from cropmark.geometry.recipe import Reason
from cropmark.model.formats import Format, Info
from cropmark.model.problems import SourceNotFound, SourceUnusable, TooManyRequests, Unprocessable
from cropmark.model.values import Box, Ratio, Size
from cropmark.pipeline import LOW_EFFORT_TTL_S, NEGATIVE_TTL_S, PARTIAL_TTL_S, Pipeline, fingerprint_of, key_of
from cropmark.plan.plan import Delivery, Order, Plan
from cropmark.plan.source import SitePath, SourceRef, SourceRequest
from cropmark.plan.steps import Crop, Focus
from cropmark.ports import AnalysisResult, Facts, OpenSource, Passthrough, Rendered, SourceVersion, purge_matches
from cropmark.runtime.metrics import Metrics

JPEG = b"\xff\xd8\xff rest of a picture"
NOW = 1_000_000.0
GRID = SaliencyMap(1, 1, b"\x00")
ANALYSIS = Analysis(1, (), GRID, GRID)


@dataclass
class FakeSource:
    """Files of a folder that count how often they are opened; `versions` is what their stamps say."""

    folder: Path
    versions: dict[str, str]
    opened: int = 0
    generations: dict[str, int] = field(default_factory=dict)

    def stat(self, where: SourceRef) -> SourceVersion:
        assert isinstance(where, SitePath)
        if where.path not in self.versions:
            raise SourceNotFound("no such picture")
        name = self.identity(where)
        generation = sum(n for prefix, n in self.generations.items() if purge_matches(prefix, name))
        return SourceVersion(name, self.versions[where.path], generation, modified_s=1.0)

    async def open(self, where: SourceRef) -> OpenSource:
        stamp = self.stat(where)
        self.opened += 1
        path = self.folder / "picture"
        path.write_bytes(JPEG)
        descriptor = os.open(path, os.O_RDONLY)
        return OpenSource(descriptor, len(JPEG), stamp, lambda: os.close(descriptor))

    def identity(self, where: SourceRef) -> str:
        assert isinstance(where, SitePath)
        return f"files:{where.path}"

    def purge(self, named: str) -> None:
        self.generations[named] = self.generations.get(named, 0) + 1

    async def close(self) -> None: ...


@dataclass
class FakeRenderers:
    """Answers with `outcome`, or raises it; `before` is awaited first."""

    outcome: Rendered | Passthrough | Exception
    analyzed: AnalysisResult | Exception = field(default_factory=lambda: AnalysisResult(ANALYSIS))
    before: Callable[[], Awaitable[None]] | None = None
    renders: int = 0
    analyses: int = 0
    saw: list[AnalysisResult | None] = field(default_factory=list)
    slow: bool = False
    read: list[bytes] = field(default_factory=list)

    async def render(
        self,
        sources: Sequence[OpenSource | None],
        plan: Plan,
        analyzed: AnalysisResult | None = None,
        *,
        foreign: bool = False,
        client: str | None = None,
    ) -> Rendered | Passthrough:
        self.renders += 1
        self.saw.append(analyzed)
        if self.before is not None:
            await self.before()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    async def inspect(self, source: OpenSource, *, foreign: bool = False, client: str | None = None) -> Info:
        return Info(Format.JPEG, Size(4, 3), source.bytes)

    async def analyze(self, source: OpenSource, *, foreign: bool = False, client: str | None = None) -> AnalysisResult:
        self.analyses += 1
        if self.slow:
            await asyncio.sleep(0.05)
            self.read.append(os.pread(source.descriptor, 99, 0))
        if isinstance(self.analyzed, Exception):
            raise self.analyzed
        return self.analyzed

    async def draw(self, source: OpenSource, analysis: Analysis, window: Box | None) -> Rendered:
        raise AssertionError("nobody draws here")

    async def close(self) -> None: ...


MADE = Rendered(b"a small picture", Format.JPEG, Facts(Info(Format.JPEG, Size(4, 3), 99), Size(2, 2)))


@dataclass
class Line:
    """A pipeline with its fakes."""

    source: FakeSource
    renderers: FakeRenderers
    pipeline: Pipeline


@pytest.fixture
def line(tmp_path: Path) -> Line:
    renderers = FakeRenderers(MADE)
    clock = lambda: NOW  # noqa: E731 - a fixed clock
    tiers = TieredCaches([MemoryCache(2**20, now=clock)])
    source = FakeSource(tmp_path, {"a.jpg": "1", "b.jpg": "1"})
    return Line(source, renderers, Pipeline(cache=tiers, renderers=renderers, metrics=Metrics(), clock=clock))


def order(*names: str, plan: Plan | None = Plan(), private: bool = False) -> Order:  # noqa: B008 - a frozen value
    first, *others = names or ("a.jpg",)
    wanted = (
        SourceRequest(SitePath(first)),
        *(SourceRequest(SitePath(n), optional=True, parameter="overlay") for n in others),
    )
    return Order(wanted, plan, Delivery(private=private))


SMART = Plan((Crop(Ratio(1, 1), focus=Focus.SMART),))  # type: ignore[arg-type]  # whole numbers are fractions too


async def test_a_miss_is_made_once_and_then_at_hand(line: Line) -> None:
    first = await line.pipeline.deliver(line.source, order())
    second = await line.pipeline.deliver(line.source, order())
    assert (first.cache, second.cache) == ("miss", "hit-memory")
    assert first.body == second.body == MADE.body
    assert line.renderers.renders == line.source.opened == 1
    peeked = line.pipeline.peek(line.source, order(), fingerprint_of(order()))
    assert peeked is not None
    assert peeked[0].record == first.record
    assert first.record.media_type == "image/jpeg"


async def test_identical_misses_share_a_render(line: Line) -> None:
    line.renderers.before = lambda: asyncio.sleep(0.02)
    answers = await asyncio.gather(*(line.pipeline.deliver(line.source, order()) for _ in range(50)))
    assert line.renderers.renders == 1
    assert {a.body for a in answers} == {MADE.body}


async def test_a_replaced_source_is_made_anew(line: Line) -> None:
    await line.pipeline.deliver(line.source, order())
    line.source.versions["a.jpg"] = "2"
    assert (await line.pipeline.deliver(line.source, order())).cache == "miss"


async def test_what_was_replaced_meanwhile_is_answered_but_not_kept(line: Line) -> None:
    async def replaced() -> None:
        line.source.versions["a.jpg"] = "2"

    line.renderers.before = replaced
    assert (await line.pipeline.deliver(line.source, order())).body == MADE.body
    line.renderers.before = None
    line.source.versions["a.jpg"] = "1"
    assert (await line.pipeline.deliver(line.source, order())).cache == "miss"


async def test_a_render_begun_before_a_purge_is_not_kept(line: Line) -> None:
    async def purged() -> None:
        await line.pipeline.purge_source(line.source, SitePath("a.jpg"))

    line.renderers.before = purged
    await line.pipeline.deliver(line.source, order())
    line.renderers.before = None
    assert (await line.pipeline.deliver(line.source, order())).cache == "miss"


async def test_a_purge_forgets_picture_and_analysis(line: Line) -> None:
    await line.pipeline.deliver(line.source, order(plan=SMART))
    assert await line.pipeline.purge_source(line.source, SitePath("a.jpg")) == 2
    await line.pipeline.deliver(line.source, order(plan=SMART))
    assert line.renderers.analyses == 2


async def test_a_missing_overlay_is_left_out_for_ten_seconds(line: Line) -> None:
    delivered = await line.pipeline.deliver(line.source, order("a.jpg", "none.png"))
    assert delivered.record.expires_s == NOW + PARTIAL_TTL_S
    assert [w.parameter for w in delivered.record.warnings] == ["overlay"]


@pytest.mark.parametrize("opened_only", [False, True])
async def test_a_missing_picture_that_a_parameter_named_is_told_with_its_name(line: Line, opened_only: bool) -> None:
    """Not as if the URL's were missing; the source's own Problem, which others may be told too, stays as it is."""
    problem = SourceNotFound("no such picture")
    problem.origin_status = 410
    glance = line.source.stat

    async def refused(where: SourceRef) -> OpenSource:
        raise problem

    def seen(where: SourceRef) -> SourceVersion:
        if where == SitePath("none.png") and not opened_only:
            raise problem
        return glance(SitePath("a.jpg"))

    line.source.stat = seen  # type: ignore[method-assign]  # a source that fails early or late
    line.source.open = refused  # type: ignore[method-assign]
    wanted = (SourceRequest(SitePath("none.png"), parameter="images"),)
    with pytest.raises(SourceNotFound) as raised:
        await line.pipeline.deliver(line.source, Order(wanted, Plan()))
    told = raised.value
    assert (told.detail, told.parameter) == ("images: 'none.png': no such picture", "images")
    assert (told.fix, told.origin_status) == ("check the paths in images", 410)
    assert (problem.detail, problem.parameter) == ("no such picture", None)


async def test_what_was_made_in_a_hurry_is_kept_for_a_minute(line: Line) -> None:
    line.renderers.outcome = replace(MADE, low_effort=True)
    assert (await line.pipeline.deliver(line.source, order())).record.expires_s == NOW + LOW_EFFORT_TTL_S


async def test_private_answers_are_never_kept(line: Line) -> None:
    for _ in range(2):
        assert (await line.pipeline.deliver(line.source, order(private=True))).cache == "miss"


@pytest.mark.parametrize("problem", [Unprocessable("no"), SourceUnusable("broken")])
async def test_trouble_is_remembered_for_seconds(line: Line, problem: Exception) -> None:
    line.renderers.outcome = problem
    for _ in range(3):
        with pytest.raises(type(problem)):
            await line.pipeline.deliver(line.source, order())
    assert line.renderers.renders == 1
    assert NEGATIVE_TTL_S <= 10


async def test_other_failures_are_not(line: Line) -> None:
    line.renderers.outcome = RuntimeError("ours")
    with pytest.raises(RuntimeError):
        await line.pipeline.deliver(line.source, order())
    line.renderers.outcome = MADE
    assert (await line.pipeline.deliver(line.source, order())).body == MADE.body


async def test_who_admits_is_asked_for_misses_only(line: Line) -> None:
    asked = []

    async def admit() -> None:
        asked.append(1)
        if len(asked) > 1:
            raise TooManyRequests("enough")

    for _ in range(3):
        await line.pipeline.deliver(line.source, order(), admit=admit)
    assert len(asked) == 1
    with pytest.raises(TooManyRequests):
        await line.pipeline.deliver(line.source, order(plan=None), admit=admit)


@pytest.mark.parametrize("plan", [None, Plan()])
async def test_who_admits_is_not_asked_for_what_is_not_there(line: Line, plan: Plan | None) -> None:
    async def admit() -> None:
        raise TooManyRequests("enough")

    line.source.versions.clear()
    with pytest.raises(SourceNotFound):
        await line.pipeline.deliver(line.source, order(plan=plan), admit=admit)


async def test_an_original_is_the_open_file(line: Line) -> None:
    for plan, outcome in ((None, MADE), (Plan(), Passthrough(Reason.NO_GAIN, Facts()))):
        line.renderers.outcome = outcome
        delivered = await line.pipeline.deliver(line.source, order(plan=plan))
        assert delivered.opened is not None
        assert os.pread(delivered.opened.descriptor, 99, 0) == JPEG
        assert (delivered.record.media_type, delivered.record.length) == ("image/jpeg", len(JPEG))
        delivered.opened.close()
    again = await line.pipeline.deliver(line.source, order())
    assert again.cache == "hit-memory"  # the verdict, not the bytes
    assert again.opened is not None
    again.opened.close()


async def test_an_analysis_is_made_once_a_source(line: Line) -> None:
    shapes = [Plan((Crop(Ratio(w, 1), focus=Focus.SMART),)) for w in (1, 2, 3)]  # type: ignore[arg-type]  # as above
    for plan in shapes:
        await line.pipeline.deliver(line.source, order(plan=plan))
    assert line.renderers.analyses == 1
    assert [a and a.analysis for a in line.renderers.saw] == [ANALYSIS] * 3


async def test_no_analysis_is_told_and_kept_for_a_minute(line: Line) -> None:
    line.renderers.analyzed = SourceUnusable("took longer than 3 s")
    delivered = await line.pipeline.deliver(line.source, order(plan=SMART))
    assert line.renderers.saw == [AnalysisResult(None, "took longer than 3 s", transient=True)]
    assert delivered.record.expires_s == NOW + LOW_EFFORT_TTL_S


async def test_who_hangs_up_takes_no_descriptor_along(line: Line) -> None:
    """Two variants wait for one analysis; the first to ask goes away while it is under way."""
    line.renderers.slow = True
    other = Plan((Crop(Ratio(2, 1), focus=Focus.SMART),))  # type: ignore[arg-type]  # as above
    first = asyncio.create_task(line.pipeline.deliver(line.source, order(plan=SMART)))
    second = asyncio.create_task(line.pipeline.deliver(line.source, order(plan=other)))
    await asyncio.sleep(0.02)
    first.cancel()
    assert (await second).body == MADE.body
    assert line.renderers.read == [JPEG]
    assert line.renderers.saw == [AnalysisResult(ANALYSIS)]


def test_keys_tell_sources_versions_generations_and_plans_apart() -> None:
    stamp = SourceVersion("files:a", "1")
    others = [SourceVersion("files:b", "1"), SourceVersion("files:a", "2"), SourceVersion("files:a", "1", 1)]
    keys = {key_of([s], "f") for s in (stamp, *others)} | {key_of([stamp], "g"), key_of([stamp, None], "f")}
    assert len(keys) == 6
    assert key_of([replace(stamp, modified_s=5.0)], "f") == key_of([stamp], "f")
