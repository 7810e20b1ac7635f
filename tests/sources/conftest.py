"""Fixtures of the web source: an origin, a fake internet, a folder of originals, a clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from cropmark.sources.freshness import DEFAULT_BOUNDS, LifetimeBounds
from cropmark.sources.original_cache import OriginalCache
from cropmark.sources.policy import AllowedHost, Policy
from cropmark.sources.web import WebSource
from tests.builders import Clock
from tests.sources.origins import FakeInternet, Origin, origin


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server() -> AsyncIterator[Origin]:
    async with origin() as server:
        yield server


@pytest.fixture
def web() -> FakeInternet:
    return FakeInternet()


@pytest.fixture
def originals(tmp_path: Path, clock: Clock) -> OriginalCache:
    return OriginalCache(tmp_path / "originals", clock=clock)


MakeSource = Callable[..., WebSource]


@pytest.fixture
async def make_source(originals: OriginalCache, web: FakeInternet, clock: Clock) -> AsyncIterator[MakeSource]:
    """Creates sources on the fake internet; closes them at the end."""
    sources: list[WebSource] = []

    def make(policy: Policy, bounds: LifetimeBounds = DEFAULT_BOUNDS, **more: Any) -> WebSource:
        source = WebSource(policy, originals, bounds=bounds, network=web.network(), clock=clock, **more)
        sources.append(source)
        return source

    yield make
    for source in sources:
        await source.close()


@pytest.fixture
def source(make_source: MakeSource, server: Origin) -> WebSource:
    """A source that may fetch from the origin."""
    return make_source(policy_for(server))


def policy_for(server: Origin, **settings: object) -> Policy:
    """A policy that allows the loopback origin, with timeouts that a normal response does not reach by default."""
    times: dict[str, object] = {"connect_s": 2.0, "first_byte_s": 2.0, "total_s": 4.0}
    return Policy(allow=(AllowedHost("127.0.0.1", server.port),), **(times | settings))  # type: ignore[arg-type]  # by name
