"""The path from an Order to a Delivered, with fakes of the ports."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from cropmark.analysis import codec
from cropmark.caches.memory import MemoryCache
from cropmark.caches.tiered import TieredCaches
from cropmark.geometry.findings import Analysis, SaliencyMap
from cropmark.geometry.recipe import Reason
from cropmark.model.appearance import Appearance
from cropmark.model.formats import CmykConversion, Format, Info
from cropmark.model.problems import SourceNotFound, SourceUnusable, TooManyRequests, Unprocessable
from cropmark.model.values import Box, Color, Ratio, Size
from cropmark.pipeline import (
    FAILED_RENDER_TTL_S,
    LOW_EFFORT_TTL_S,
    NO_CONTEXT,
    PARTIAL_TTL_S,
    Delivered,
    Pipeline,
    RequestContext,
    cache_key,
    fingerprint_of,
)
from cropmark.plan.plan import Delivery, Fallback, InfoDocument, Limits, Order, Plan
from cropmark.plan.source import SitePath, SourceRef, SourceRequest
from cropmark.plan.steps import Crop, Focus
from cropmark.ports import AnalysisResult, Digest, Facts, OpenSource, Passthrough, Rendered, Rendition, SourceVersion
from cropmark.runtime.metrics import Metrics
from cropmark.runtime.purge_generations import PurgeGenerations
from tests.builders import until

JPEG = b"\xff\xd8\xff rest of an image"
NOW = 1_000_000.0
GRID = SaliencyMap(1, 1, b"\x00")
ANALYSIS = Analysis(codec.VERSION, (), GRID, GRID)


@dataclass
class FakeSource:
    """A folder with files of fixed content; counts open(). `versions` gives the version of each file."""

    folder: Path
    versions: dict[str, str]
    opens: int = 0
    content: bytes = JPEG
    generations: PurgeGenerations = field(default_factory=PurgeGenerations)

    def stat(self, ref: SourceRef) -> SourceVersion:
        assert isinstance(ref, SitePath)
        if ref.path not in self.versions:
            raise SourceNotFound("missing")
        identity = self.identity(ref)
        return SourceVersion(identity, self.versions[ref.path], self.generations.of(identity), modified_s=1.0)

    async def open(self, ref: SourceRef) -> OpenSource:
        version = self.stat(ref)
        self.opens += 1
        path = self.folder / "image"
        path.write_bytes(self.content)
        return OpenSource.from_fd(os.open(path, os.O_RDONLY), len(self.content), version)

    def identity(self, ref: SourceRef) -> str:
        assert isinstance(ref, SitePath)
        return f"files:{ref.path}"

    def purge(self, prefix: str) -> None:
        self.generations.add(prefix)

    async def close(self) -> None: ...


@dataclass
class FakeRenderers:
    """Returns or raises `outcome` and `analysis`, after awaiting `before` or `before_analysis`."""

    outcome: Rendered | Passthrough | Exception
    analysis: AnalysisResult | Exception = field(default_factory=lambda: AnalysisResult(ANALYSIS))
    before: Callable[[], Awaitable[object]] | None = None
    before_analysis: Callable[[], Awaitable[object]] | None = None
    renders: int = 0
    descriptions: int = 0
    analyses: int = 0
    received: list[AnalysisResult | None] = field(default_factory=list)
    """The analyses passed to render()."""
    analysis_plans: list[Plan] = field(default_factory=list)
    analyzed: list[bytes] = field(default_factory=list)
    """The content of the sources passed to analyze()."""

    async def render(
        self,
        sources: Sequence[OpenSource | None],
        plan: Plan,
        analysis: AnalysisResult | None = None,
        *,
        untrusted: bool = False,
        client: str | None = None,
    ) -> Rendered | Passthrough:
        self.renders += 1
        self.received.append(analysis)
        if self.before is not None:
            await self.before()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    async def inspect(self, source: OpenSource, *, untrusted: bool = False, client: str | None = None) -> Info:
        return Info(Format.JPEG, Size(4, 3), source.bytes)

    async def describe(
        self, source: OpenSource, plan: Plan, *, untrusted: bool = False, client: str | None = None
    ) -> Appearance:
        self.descriptions += 1
        info = Info(Format.JPEG, Size(4, 3), source.bytes)
        return Appearance(info, "sRGB", (Color(255, 0, 0),), "L00000", b"12345", b"RIFF")

    async def analyze(
        self, source: OpenSource, plan: Plan, *, untrusted: bool = False, client: str | None = None
    ) -> AnalysisResult:
        self.analyses += 1
        self.analysis_plans.append(plan)
        if self.before_analysis is not None:
            await self.before_analysis()
        self.analyzed.append(os.pread(source.descriptor, 99, 0))
        if isinstance(self.analysis, Exception):
            raise self.analysis
        return self.analysis

    async def draw(
        self, source: OpenSource, analysis: Analysis, window: Box | None, *, untrusted: bool = False
    ) -> Rendered:
        raise AssertionError("not used by the pipeline")

    async def close(self) -> None: ...


RENDERED = Rendered(b"a small image", Format.JPEG, Facts(Info(Format.JPEG, Size(4, 3), 99), Size(2, 2)))


@dataclass
class Fixture:
    """A pipeline with its fakes."""

    source: FakeSource
    renderers: FakeRenderers
    metrics: Metrics
    pipeline: Pipeline

    async def deliver(self, order: Order, context: RequestContext = NO_CONTEXT) -> Delivered:
        return await self.pipeline.deliver(self.source, order, context)


@pytest.fixture
def line(tmp_path: Path) -> Fixture:
    renderers, metrics = FakeRenderers(RENDERED), Metrics()
    tiers = TieredCaches([MemoryCache(2**20, now=lambda: NOW)])
    source = FakeSource(tmp_path, {"a.jpg": "1", "b.jpg": "1"})
    pipeline = Pipeline(cache=tiers, renderers=renderers, metrics=metrics, clock=lambda: NOW)
    return Fixture(source, renderers, metrics, pipeline)


def order(*names: str, plan: Plan | None = Plan(), private: bool = False) -> Order:  # noqa: B008 - a frozen value
    first, *others = names or ("a.jpg",)
    requests = (
        SourceRequest(SitePath(first)),
        *(SourceRequest(SitePath(n), optional=True, parameter="overlay") for n in others),
    )
    return Order(requests, plan, Delivery(private=private))


SMART = Plan((Crop(Ratio(1, 1), focus=Focus.SMART),))  # type: ignore[arg-type]  # whole numbers are fractions too


async def test_a_miss_is_rendered_once_and_cached(line: Fixture) -> None:
    first = await line.deliver(order())
    second = await line.deliver(order())
    assert (first.cache_status, second.cache_status) == ("miss", "hit-memory")
    assert first.body == second.body == RENDERED.body
    assert line.renderers.renders == line.source.opens == 1
    peeked = line.pipeline.peek(line.source, order(), fingerprint_of(order()))
    assert peeked is not None
    assert peeked[0].record == first.record
    assert first.record.media_type == "image/jpeg"


class SlowDownload(FakeSource):
    """A source that knows no version without its first, slow download."""

    def stat(self, ref: SourceRef) -> None:  # type: ignore[override]  # a Source may return None
        return None

    async def open(self, ref: SourceRef) -> OpenSource:
        if not self.opens:
            await asyncio.sleep(0.05)
        self.opens += 1
        path = self.folder / "image"
        path.write_bytes(JPEG)
        return OpenSource.from_fd(os.open(path, os.O_RDONLY), len(JPEG), super().stat(ref))


async def test_the_time_of_a_download_is_in_the_fetch_stage(line: Fixture) -> None:
    delivered = await line.pipeline.deliver(SlowDownload(line.source.folder, line.source.versions), order())
    (fetch_ms,) = [ms for stage, ms in delivered.timing.stages if stage == "fetch"]
    assert fetch_ms >= 50
    assert 'duration_seconds_bucket{le="0.05",stage="fetch"} 0.0' in line.metrics.exposition().decode()
    assert 'duration_seconds_count{stage="fetch"} 1.0' in line.metrics.exposition().decode()


async def test_identical_misses_share_a_render(line: Fixture) -> None:
    go = asyncio.Event()
    line.renderers.before = go.wait
    requests = [asyncio.create_task(line.deliver(order())) for _ in range(50)]
    await until(lambda: line.renderers.renders == 1)
    go.set()
    assert {delivered.body for delivered in await asyncio.gather(*requests)} == {RENDERED.body}
    assert line.renderers.renders == 1
    assert "cropmark_coalesced_requests_total 49.0" in line.metrics.exposition().decode()


class SlowTier(MemoryCache):
    """Stores nothing, and finds nothing after awaiting `before`."""

    before: Callable[[], Awaitable[object]] | None = None

    async def get(self, key: Digest) -> Rendition | None:
        if self.before is not None:
            await self.before()
        return None

    def store(self, key: Digest, rendition: Rendition) -> None:
        pass


async def test_a_request_that_waits_for_a_slow_tier_finds_what_others_have_rendered(tmp_path: Path) -> None:
    slow, renderers, go = SlowTier(2**20), FakeRenderers(RENDERED), asyncio.Event()
    caches = TieredCaches([MemoryCache(2**20), slow])
    pipeline = Pipeline(cache=caches, renderers=renderers, metrics=Metrics())
    line = Fixture(FakeSource(tmp_path, {"a.jpg": "1"}), renderers, Metrics(), pipeline)
    slow.before = go.wait
    later = asyncio.create_task(line.deliver(order()))
    await asyncio.sleep(0)
    slow.before = None
    assert (await line.deliver(order())).cache_status == "miss"
    go.set()
    assert (await later).cache_status == "hit-memory"
    assert renderers.renders == 1


class Locks:
    """Locks with a release that takes a moment."""

    tier = "shared"
    longest_wait_s = 5.0
    releases = 0

    async def acquire(self, key: str) -> str:
        return "token"

    async def wait(self, key: str, until_s: float) -> None: ...

    async def release(self, key: str, token: str) -> None:
        await asyncio.sleep(0.01)
        self.releases += 1


async def test_close_releases_the_locks_of_renders_in_progress(line: Fixture) -> None:
    locks, tiers = Locks(), TieredCaches([])
    line.pipeline = Pipeline(cache=tiers, renderers=line.renderers, metrics=line.metrics, locks=locks)
    line.renderers.before = asyncio.Event().wait
    request = asyncio.create_task(line.deliver(order()))
    await until(lambda: line.renderers.renders == 1)
    await line.pipeline.close()
    assert locks.releases == 1
    await asyncio.gather(request, return_exceptions=True)


async def test_a_replaced_source_is_rendered_again(line: Fixture) -> None:
    await line.deliver(order())
    line.source.versions["a.jpg"] = "2"
    assert (await line.deliver(order())).cache_status == "miss"


async def test_a_source_replaced_during_its_render_is_delivered_and_not_cached(line: Fixture) -> None:
    async def replace_source() -> None:
        line.source.versions["a.jpg"] = "2"

    line.renderers.before = replace_source
    assert (await line.deliver(order())).body == RENDERED.body
    line.renderers.before = None
    line.source.versions["a.jpg"] = "1"
    assert (await line.deliver(order())).cache_status == "miss"


async def test_a_source_purged_during_its_render_is_not_cached(line: Fixture) -> None:
    async def purge() -> None:
        await line.pipeline.purge_source(line.source, SitePath("a.jpg"))

    line.renderers.before = purge
    await line.deliver(order())
    line.renderers.before = None
    assert (await line.deliver(order())).cache_status == "miss"


async def test_a_purge_covers_renditions_and_analyses(line: Fixture) -> None:
    await line.deliver(order(plan=SMART))
    assert await line.pipeline.purge_source(line.source, SitePath("a.jpg")) == 2
    await line.deliver(order(plan=SMART))
    assert line.renderers.analyses == 2


async def test_a_purge_covers_every_query_of_an_origin(line: Fixture) -> None:
    """An origin's image with a query has the identity of its URL."""
    line.source.versions |= {"a.jpg?x=1": "1", "a.jpgx": "1"}
    for path in ("a.jpg", "a.jpg?x=1", "a.jpgx"):
        await line.deliver(order(path))
    assert await line.pipeline.purge_source(line.source, SitePath("a.jpg")) == 2
    assert (await line.deliver(order("a.jpgx"))).cache_status == "hit-memory"
    assert line.source.stat(SitePath("a.jpg?x=1")).generation == 1


async def test_a_result_without_an_optional_source_has_a_short_ttl(line: Fixture) -> None:
    delivered = await line.deliver(order("a.jpg", "none.png"))
    assert delivered.record.expires_s == NOW + PARTIAL_TTL_S
    assert [w.parameter for w in delivered.record.warnings] == ["overlay"]


@pytest.mark.parametrize("only_open_fails", [False, True])
async def test_a_missing_image_of_a_parameter_is_reported_with_the_parameter(
    line: Fixture, only_open_fails: bool
) -> None:
    """Otherwise the image of the URL would seem to be missing. The source's own Problem does not change."""
    problem = SourceNotFound("missing")
    problem.origin_status = 410
    stat = line.source.stat

    async def failing_open(ref: SourceRef) -> OpenSource:
        raise problem

    def failing_stat(ref: SourceRef) -> SourceVersion:
        if ref == SitePath("none.png") and not only_open_fails:
            raise problem
        return stat(SitePath("a.jpg"))

    line.source.stat = failing_stat  # type: ignore[method-assign]  # a source that fails early or late
    line.source.open = failing_open  # type: ignore[method-assign]
    requests = (SourceRequest(SitePath("none.png"), parameter="images"),)
    with pytest.raises(SourceNotFound) as caught:
        await line.deliver(Order(requests, Plan()))
    raised = caught.value
    assert (raised.detail, raised.parameter) == ("images: 'none.png': missing", "images")
    assert (raised.fix, raised.origin_status) == ("check the paths in images", 410)
    assert (problem.detail, problem.parameter) == ("missing", None)


async def test_a_low_effort_result_has_a_short_ttl(line: Fixture) -> None:
    line.renderers.outcome = replace(RENDERED, low_effort=True)
    assert (await line.deliver(order())).record.expires_s == NOW + LOW_EFFORT_TTL_S


async def test_private_results_are_not_cached(line: Fixture) -> None:
    for _ in range(2):
        assert (await line.deliver(order(private=True))).cache_status == "miss"


@pytest.mark.parametrize("problem", [Unprocessable("no"), SourceUnusable("broken")])
async def test_a_failed_render_is_not_repeated_for_seconds(line: Fixture, problem: Exception) -> None:
    line.renderers.outcome = problem
    for _ in range(3):
        with pytest.raises(type(problem)):
            await line.deliver(order())
    assert line.renderers.renders == 1
    assert FAILED_RENDER_TTL_S <= 10


async def test_other_failures_are_repeated(line: Fixture) -> None:
    line.renderers.outcome = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        await line.deliver(order())
    line.renderers.outcome = RENDERED
    assert (await line.deliver(order())).body == RENDERED.body


async def test_admit_is_called_for_misses_only(line: Fixture) -> None:
    calls = []

    async def admit() -> None:
        calls.append(1)
        if len(calls) > 1:
            raise TooManyRequests("enough")

    for _ in range(3):
        await line.deliver(order(), RequestContext(admit=admit))
    assert len(calls) == 1
    with pytest.raises(TooManyRequests):
        await line.deliver(order(plan=None), RequestContext(admit=admit))


# fmt: off
OTHER_FILES = [
    # name           content           media type; None: not served
    ("leaflet.pdf",  b"%PDF-1.7\n",    "application/pdf"),
    ("data.json",    b"{}",            "application/json"),
    ("empty.json",   b"",              "application/json"),
    ("config.toml",  b"[site]",        None),
    ("photo.jpg",    b"not an image",  None),
]
# fmt: on


@pytest.mark.parametrize("plan", [None, Plan(on_unsupported=Fallback.ORIGINAL)])
@pytest.mark.parametrize(("name", "content", "media_type"), OTHER_FILES)
async def test_a_file_next_to_the_images(
    line: Fixture, plan: Plan | None, name: str, content: bytes, media_type: str | None
) -> None:
    line.source.content, line.source.versions = content, {name: "1"}
    request = Order((SourceRequest(SitePath(name)),), plan)
    for status in ("miss", "miss" if plan is None else "hit-memory"):
        if media_type is None:
            with pytest.raises(SourceNotFound, match="not an image"):
                await line.deliver(request)
            continue
        delivered = await line.deliver(request)
        assert (delivered.record.media_type, delivered.cache_status) == (media_type, status)
        assert delivered.record.original is (Reason.REQUESTED if plan is None else Reason.UNSUPPORTED)
        assert delivered.source is not None
        assert os.pread(delivered.source.descriptor, 99, 0) == content
        delivered.source.close()
    assert line.renderers.renders == 0  # it may be a large video


async def test_no_other_file_is_delivered_to_a_client_that_names_its_images(line: Fixture) -> None:
    line.source.content, line.source.versions = b"%PDF-1.7\n", {"leaflet.pdf": "1"}
    with pytest.raises(SourceNotFound):
        await line.deliver(Order((SourceRequest(SitePath("leaflet.pdf")),), None, Delivery(untrusted=True)))


@pytest.mark.parametrize("plan", [None, Plan()])
async def test_admit_is_not_called_for_a_missing_source(line: Fixture, plan: Plan | None) -> None:
    async def admit() -> None:
        raise TooManyRequests("enough")

    line.source.versions.clear()
    with pytest.raises(SourceNotFound):
        await line.deliver(order(plan=plan), RequestContext(admit=admit))


async def test_admit_render_is_not_called_for_a_shared_render(line: Fixture) -> None:
    go, calls = asyncio.Event(), []

    async def admit_render() -> None:
        calls.append(1)

    line.renderers.before = go.wait
    context = RequestContext(admit_render=admit_render)
    first = asyncio.create_task(line.deliver(order(), context))
    await until(lambda: line.renderers.renders == 1)
    second = asyncio.create_task(line.deliver(order(), context))
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(first, second)
    assert (calls, line.renderers.renders) == ([1], 1)


async def test_an_original_is_delivered_as_an_open_file(line: Fixture) -> None:
    for plan, outcome in ((None, RENDERED), (Plan(), Passthrough(Reason.NO_GAIN, Facts()))):
        line.renderers.outcome = outcome
        delivered = await line.deliver(order(plan=plan))
        assert delivered.source is not None
        assert os.pread(delivered.source.descriptor, 99, 0) == JPEG
        assert (delivered.record.media_type, delivered.record.length) == ("image/jpeg", len(JPEG))
        delivered.source.close()
    again = await line.deliver(order())
    assert again.cache_status == "hit-memory"  # the decision, not the bytes
    assert again.source is not None
    again.source.close()


async def test_a_source_is_analyzed_once(line: Fixture) -> None:
    plans = [Plan((Crop(Ratio(w, 1), focus=Focus.SMART),)) for w in (1, 2, 3)]  # type: ignore[arg-type]  # as above
    for plan in plans:
        await line.deliver(order(plan=plan))
    assert line.renderers.analyses == 1
    assert [result and result.analysis for result in line.renderers.received] == [ANALYSIS] * 3


async def test_check_58_the_limits_of_a_request_apply_to_its_analysis(line: Fixture) -> None:
    """Requests with other limits do not share its result."""
    go = asyncio.Event()
    line.renderers.before_analysis = go.wait
    plans = [replace(SMART, limits=Limits(source_pixels=pixels)) for pixels in (10, 20, 20)]
    tasks = [asyncio.create_task(line.deliver(order(plan=plan))) for plan in plans]
    await until(lambda: line.renderers.analyses == 2)
    go.set()
    await asyncio.gather(*tasks)
    assert [plan.limits.source_pixels for plan in line.renderers.analysis_plans] == [10, 20]


async def test_a_result_without_its_analysis_has_a_short_ttl(line: Fixture) -> None:
    line.renderers.analysis = SourceUnusable("took longer than 3 s")
    delivered = await line.deliver(order(plan=SMART))
    assert line.renderers.received == [AnalysisResult(None, "took longer than 3 s", transient=True)]
    assert delivered.record.expires_s == NOW + LOW_EFFORT_TTL_S


async def test_a_shared_analysis_survives_the_request_that_started_it(line: Fixture) -> None:
    """Two variants wait for one analysis; the first request is cancelled, and closes its descriptor."""
    go = asyncio.Event()
    line.renderers.before_analysis = go.wait
    other = Plan((Crop(Ratio(2, 1), focus=Focus.SMART),))  # type: ignore[arg-type]  # as above
    first = asyncio.create_task(line.deliver(order(plan=SMART)))
    second = asyncio.create_task(line.deliver(order(plan=other)))
    await until(lambda: line.source.opens == 2 and line.renderers.analyses == 1)
    first.cancel()
    await asyncio.wait([first])
    go.set()
    assert (await second).body == RENDERED.body
    assert line.renderers.analyzed == [JPEG]
    assert line.renderers.received == [AnalysisResult(ANALYSIS)]


def test_the_conversion_of_cmyk_is_part_of_the_fingerprint(line: Fixture) -> None:
    press = Pipeline(cache=TieredCaches([]), renderers=line.renderers, metrics=Metrics(), cmyk=CmykConversion.PRESS)
    assert line.pipeline.fingerprint_of(order()) == fingerprint_of(order())
    assert press.fingerprint_of(order()) != fingerprint_of(order())
    assert press.fingerprint_of(order(plan=None)) == fingerprint_of(order(plan=None))


def test_keys_differ_by_source_version_and_fingerprint() -> None:
    version = SourceVersion("files:a", "1")
    others = [SourceVersion("files:b", "1"), SourceVersion("files:a", "2")]
    keys = {cache_key([v], "f") for v in (version, *others)}
    keys |= {cache_key([version], "g"), cache_key([version, None], "f")}
    assert len(keys) == 5
    # A generation counts the purges of one server: the keys of servers that share results do not contain it.
    assert cache_key([SourceVersion("files:a", "1", 1)], "f") == cache_key([version], "f")
    assert cache_key([replace(version, modified_s=5.0)], "f") == cache_key([version], "f")


INFO_ORDER = Order((SourceRequest(SitePath("a.jpg")),), None, facts=InfoDocument())


async def test_the_document_about_an_image_is_cached_like_a_rendition(line: Fixture) -> None:
    first, second = [await line.deliver(INFO_ORDER) for _ in range(2)]
    assert (first.cache_status, second.cache_status) == ("miss", "hit-memory")
    assert (line.renderers.descriptions, line.renderers.analyses, line.renderers.renders) == (1, 1, 0)
    assert first.record.media_type == "application/json"
    assert json.loads(first.body or b"")["dominant"] == "#ff0000"
    line.source.versions["a.jpg"] = "2"
    assert (await line.deliver(INFO_ORDER)).cache_status == "miss"


async def test_a_document_without_its_analysis_expires_soon(line: Fixture) -> None:
    line.renderers.analysis = AnalysisResult(None, "busy", transient=True)
    delivered = await line.deliver(INFO_ORDER)
    assert delivered.record.expires_s == NOW + LOW_EFFORT_TTL_S
    assert json.loads(delivered.body or b"")["faces"] is None
