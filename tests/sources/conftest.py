"""What the tests of the web source share: an origin, a pretended internet, a folder of originals, a clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cropmark.sources.freshness import LIFETIMES, LifetimeBounds
from cropmark.sources.original_cache import OriginalCache
from cropmark.sources.policy import AllowedHost, Policy
from cropmark.sources.web import WebSource
from tests.sources.origins import Origin, Web, origin


@dataclass
class Clock:
    """A time of day that a test moves."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server() -> AsyncIterator[Origin]:
    async with origin() as found:
        yield found


@pytest.fixture
def web() -> Web:
    return Web()


@pytest.fixture
def originals(tmp_path: Path, clock: Clock) -> OriginalCache:
    return OriginalCache(tmp_path / "originals", clock=clock)


MakeSource = Callable[..., WebSource]


@pytest.fixture
async def make_source(originals: OriginalCache, web: Web, clock: Clock) -> AsyncIterator[MakeSource]:
    """A source on the pretended internet; closed at the end."""
    made: list[WebSource] = []

    def make(policy: Policy, lifetimes: LifetimeBounds = LIFETIMES) -> WebSource:
        made.append(WebSource(policy, originals, lifetimes=lifetimes, network=web.network(), clock=clock))
        return made[-1]

    yield make
    for source in made:
        await source.close()


@pytest.fixture
def source(make_source: MakeSource, server: Origin) -> WebSource:
    """A source for which the origin is an opened place."""
    return make_source(opened_to(server))


def opened_to(server: Origin, **settings: object) -> Policy:
    """A policy that admits the loopback origin, with deadlines that no honest answer misses unless told otherwise."""
    times: dict[str, object] = {"connect_s": 2.0, "first_byte_s": 2.0, "total_s": 4.0}
    return Policy(allow=(AllowedHost("127.0.0.1", server.port),), **(times | settings))  # type: ignore[arg-type]  # by name
