"""The soak test of a fleet: its rules, and a short run that kills Redis, the bucket, PostgreSQL and a server."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
import time
from pathlib import Path

import fleet_soak
import httpx
import pytest
from fleet.load import GRACE_S, Load, Purged, Verdict
from fleet.parts import Fleet, Outage, Part, started
from PIL import Image

from cropmark.fleet.locks import LOCK_S
from fleet import load as fleet_load
from tests import s3_server
from tests.library import postgres, redis_server
from tests.requirements import require

PARTS = ("redis", "bucket", "postgres", "one")
NEEDED = [
    require("redis-server", redis_server.is_here()),
    require("nginx", shutil.which("nginx") is not None),
    require("s3-server", s3_server.is_here()),
    require("postgresql", postgres.unavailable_reason() is None),
]


class TestRun:
    pytestmark = NEEDED

    async def test_no_kill_costs_more_than_the_requests_in_the_air(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fleet_soak, "FIRST_S", 1.0)
        # Not below pytest's folder, which only root can read: PostgreSQL runs as another user.
        with tempfile.TemporaryDirectory(prefix="cropmark-fleet-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            (folder / "images").mkdir()
            Image.linear_gradient("L").resize((400, 200)).convert("RGB").save(folder / "images" / "wide.jpg")
            with started(folder, folder / "images") as fleet:
                verdict = await fleet_soak.soak(fleet, 3.0, PARTS, 0.3)
            fleet_soak.judge_processes(fleet, verdict)
        assert verdict.wrong == []
        assert [outage.part for outage in fleet.outages] == list(PARTS)
        assert min(verdict.purges, verdict.bursts, verdict.assets, verdict.renders_of_key[1]) > 0
        assert {response.partition(",")[0] for response in verdict.responses} >= {"known", "new", "colored", "burst"}


def new_load(*outages: Outage) -> Load:
    fleet = Fleet(Path(), Path(), outages=list(outages))
    return Load(fleet, httpx.AsyncClient(), Verdict(), random.Random(1), 0.0, generations={"a.png": 9})


@pytest.mark.parametrize(
    ("kind", "part", "began_s", "ended_s", "is_permitted"),
    [
        ("known", "redis", 9.0, 10.1, True),  # in the air
        ("known", "redis", 10.2, 10.3, False),
        ("known", "bucket", 12.0, 13.0, False),
        ("colored", "bucket", 12.0, 13.0, True),
        ("colored", "bucket", 14.0 + fleet_load.ORIGIN_GRACE_S + 0.1, 40.0, False),
        ("colored", "redis", 12.0, 13.0, False),
        ("known", "one", 12.0, 13.0, True),  # sent to it while it was away
        ("known asset", "postgres", 12.0, 13.0, False),
        ("asset", "postgres", 12.0, 13.0, True),
        ("upload", "postgres", 8.0, 9.0, False),
    ],
)
def test_failures_are_permitted_for_a_killed_part_only(
    kind: str, part: str, began_s: float, ended_s: float, is_permitted: bool
) -> None:
    load = new_load(Outage(part, 10.0, 10.1, 14.0))
    assert (load._permission(kind, "one", began_s, ended_s) is not None) == is_permitted


@pytest.mark.parametrize(
    ("target", "began_s", "part", "oldest"),
    [
        ("one", 100.1, "", 5),  # on its receiver immediately
        ("two", 100.1, "", 1),
        ("two", 100.1 + GRACE_S, "", 5),
        ("nginx", 100.1 + GRACE_S, "", 5),
        ("two", 100.1 + GRACE_S, "redis", 1),
        ("two", 110.1 + GRACE_S, "redis", 5),
        ("one", 100.1, "redis", 5),
        ("two", 110.1 + GRACE_S, "two", 5),
        ("two", 100.1 + GRACE_S, "postgres", 5),
    ],
)
def test_the_oldest_color_that_may_be_served(target: str, began_s: float, part: str, oldest: int) -> None:
    load = new_load(*([Outage(part, 99.0, 99.1, 110.0)] if part else []))
    load.purged.append(Purged("a.png", 5, 100.0, "one"))
    assert load._oldest(target, "a.png", began_s) == oldest


@pytest.mark.parametrize(("color", "wrong"), [(9, 0), (5, 0), (4, 1), (10, 1)])
async def test_an_old_color_is_a_lost_purge(color: int, wrong: int) -> None:
    body = fleet_load._colored(color)
    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, content=body, headers={"server-timing": "cache;desc=miss"})
    )
    load = new_load()
    load.fleet.addresses = {"one": "http://one"}
    load.client = httpx.AsyncClient(transport=transport)
    load.purged.append(Purged("a.png", 5, time.monotonic(), "one"))
    assert await load.check_color("one", "a.png")
    assert len(load.verdict.wrong) == wrong


@pytest.mark.parametrize(
    ("renders", "part", "took_s", "wrong"),
    [
        ({"one": {"a"}, "two": set()}, "", 1.0, 0),
        ({"one": {"a"}, "two": {"b"}}, "", 1.0, 1),
        ({"one": {"a"}, "two": {"b"}}, "", LOCK_S + 1, 0),  # the lock ended before the render
        ({"one": {"a"}, "two": {"b"}}, "redis", 1.0, 0),
        ({"one": {"a"}, "two": {"b"}}, "bucket", 1.0, 0),  # it has the shared cache
        ({"one": {"a"}, "two": {"b"}}, "two", 1.0, 0),
        ({"one": {"a"}, "two": {"b"}}, "postgres", 1.0, 1),  # not needed for these images
        ({"one": {"a", "b"}, "two": set()}, "", 1.0, 1),
        ({"one": {"a", "b"}, "two": set()}, "redis", 1.0, 0),
    ],
)
def test_an_image_is_rendered_once(renders: dict[str, set[str]], part: str, took_s: float, wrong: int) -> None:
    load = new_load(*([Outage(part, 99.0, 99.1)] if part else []))
    load._count_renders("/fastly/a.jpg", renders, 100.0, 100.0 + took_s)
    assert len(load.verdict.wrong) == wrong


def test_an_outage_begins_with_the_kill() -> None:
    """Not with the copy of the bucket's objects, which is made before it."""
    saved_s: list[float] = []
    part = Part("bucket", contextlib.nullcontext, save=lambda _: saved_s.append(time.monotonic()))
    outage = Fleet(Path(), Path(), parts={"bucket": part}).kill("bucket", 0.0)
    assert saved_s[0] <= outage.from_s <= outage.killed_s <= outage.until_s
