"""Client addresses, the quota of new variants, allowed widths."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.config.loader import Settings, SiteSettings
from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.model.values import Pixels
from cropmark.plan.plan import Order
from cropmark.plan.steps import Resize
from cropmark.security.rate_limit import MemoryLimiter
from cropmark.server.policies import PRODUCTION_VARIANTS_PER_MINUTE, access_policy, variant_quota
from cropmark.web.access import AccessPolicy
from cropmark.web.client_ip import MAX_HOPS, ClientIp
from cropmark.web.variant_quota import VariantQuota
from tests.web.asgi_client import FakePipeline, app_of, respond
from tests.web.local_server import local_server

TRUSTED = ("10.0.0.0/8", "fd00::1", "192.0.2.7")

# fmt: off
CLIENTS = [
    # the connection's address   X-Forwarded-For                        client
    ("203.0.113.9",              [],                                    "203.0.113.9"),
    ("203.0.113.9",              ["198.51.100.1"],                      "203.0.113.9"),       # a client's own word
    ("10.1.2.3",                 [],                                    "10.1.2.3"),
    ("10.1.2.3",                 ["198.51.100.1"],                      "198.51.100.1"),
    ("10.1.2.3",                 ["1.1.1.1, 198.51.100.1"],             "198.51.100.1"),      # 1.1.1.1 was made up
    ("10.1.2.3",                 ["1.1.1.1, 198.51.100.1, 10.9.9.9"],   "198.51.100.1"),      # two proxies of ours
    ("10.1.2.3",                 ["1.1.1.1", "198.51.100.1,10.9.9.9"],  "198.51.100.1"),      # two headers are one
    ("10.1.2.3",                 ["10.0.0.1, 10.0.0.2"],                "10.0.0.1"),          # ours all the way
    ("10.1.2.3",                 ["8.8.8.8, unknown"],                  "10.1.2.3"),
    ("10.1.2.3",                 ["8.8.8.8, _hidden, 10.0.0.2"],        "10.0.0.2"),
    ("10.1.2.3",                 ["8.8.8.8,"],                          "10.1.2.3"),
    ("10.1.2.3",                 ["198.51.100.1:4711"],                 "198.51.100.1"),
    ("10.1.2.3",                 ["[2001:db8::5]:4711"],                "2001:db8::/64"),
    ("fd00::1",                  ["2001:db8:0:1:2:3:4:5"],              "2001:db8:0:1::/64"),
    ("2001:db8::abcd",           ["1.1.1.1"],                           "2001:db8::/64"),     # one of 2**64, one client
    ("::ffff:10.1.2.3",          ["198.51.100.1"],                      "198.51.100.1"),
    ("192.0.2.7",                ["127.0.0.1"],                         "127.0.0.1"),         # counted, not trusted
    ("",                         ["198.51.100.1"],                      "unknown"),
]
# fmt: on


@pytest.mark.parametrize(("peer", "forwarded", "client"), CLIENTS)
def test_check_47_the_right_most_untrusted_hop(peer: str, forwarded: list[str], client: str) -> None:
    headers = [(b"x-forwarded-for", text.encode()) for text in forwarded]
    assert ClientIp(TRUSTED).resolve({"client": (peer, 1), "headers": headers}) == client


def test_check_47_without_proxies_the_header_is_ignored() -> None:
    headers = [(b"x-forwarded-for", b"1.1.1.1"), (b"forwarded", b"for=1.1.1.1"), (b"x-real-ip", b"1.1.1.1")]
    assert ClientIp().resolve({"client": ("127.0.0.1", 1), "headers": headers}) == "127.0.0.1"
    assert ClientIp().resolve({"client": None, "headers": headers}) == "unknown"
    with pytest.raises(ValueError, match="does not appear to be"):
        ClientIp(["proxy.example"])


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_check_47_no_header_makes_it_fail(forwarded: list[bytes]) -> None:
    headers = [(b"x-forwarded-for", text) for text in forwarded]
    assert ClientIp(["10.0.0.0/8"]).resolve({"client": ("10.0.0.1", 1), "headers": headers})


def test_check_47_hops_are_bounded() -> None:
    headers = [(b"x-forwarded-for", b"9.9.9.9," + b"10.0.0.5," * MAX_HOPS + b"10.0.0.6")]
    assert ClientIp(TRUSTED).resolve({"client": ("10.0.0.1", 1), "headers": headers}) == "10.0.0.5"


# ------------------------------------------------------------------------------------------------ budgets


def test_check_42_variants_are_bounded_by_source_and_client() -> None:
    pipeline = FakePipeline()
    app = app_of(pipeline, variant_quota=VariantQuota(MemoryLimiter(), 3))

    def status(name: str, width: int, client: str) -> int:
        return respond(app, f"/fastly/{name}.jpg?width={width}".encode(), client=(client, 1)).status

    assert [status("a", width, "1.1.1.1") for width in (1, 2, 3, 4, 5)] == [200, 200, 200, 429, 429]
    assert status("a", 6, "2.2.2.2") == 200
    assert status("b", 7, "1.1.1.1") == 200
    assert pipeline.clients == ["1.1.1.1"] * 3 + ["2.2.2.2", "1.1.1.1"]
    refused = respond(app, b"/fastly/a.jpg?width=8", client=("1.1.1.1", 1))
    assert b"3 new renditions" in refused.body
    assert 1 <= int(refused.header("retry-after") or 0) <= 60
    assert refused.header("cache-control") == "no-store"
    pipeline.always_hit = True
    assert status("a", 1, "1.1.1.1") == 200  # a hit costs nothing


def test_the_default_quota_in_production_and_in_development() -> None:
    assert variant_quota(Settings(), MemoryLimiter()).per_minute == 0
    assert variant_quota(Settings(production=True), MemoryLimiter()).per_minute == PRODUCTION_VARIANTS_PER_MINUTE
    assert variant_quota(Settings(production=True, variants_per_minute=0), MemoryLimiter()).per_minute == 0
    assert variant_quota(Settings(variants_per_minute=5), MemoryLimiter()).per_minute == 5


# ------------------------------------------------------------------------------------------------ widths


def order(query: str) -> Order:
    return Fastly().order(ImageRequest("a.jpg", query))


# fmt: off
LADDER = [
    # query                          width, height of the resize     warned
    ("width=320",                    (320, None),                    False),
    ("width=321",                    (640, None),                    True),
    ("width=1",                      (320, None),                    True),
    ("width=8000",                   (1280, None),                   True),     # the largest there is
    ("width=160&dpr=2",              (160, None),                    False),    # 320 px
    ("width=200&dpr=2",              (320, None),                    True),     # 640 px
    ("height=400",                   (None, 640),                    True),
    ("width=400&height=300&fit=crop", (640, 480),                    True),     # the shape stays
]
# fmt: on


@pytest.mark.parametrize(("query", "sides", "warned"), LADDER)
def test_widths_are_rounded_up(query: str, sides: tuple[int | None, int | None], warned: bool) -> None:
    """check_42."""
    asked_for = order(query)
    kept = AccessPolicy(allowed_widths=(320, 640, 1280)).constrain(asked_for)
    assert kept.plan is not None
    resize = next(step for step in kept.plan.steps if isinstance(step, Resize))
    assert (resize.width, resize.height) == tuple(None if n is None else Pixels(Fraction(n)) for n in sides)
    assert (len(kept.warnings) > len(asked_for.warnings)) is warned
    if warned:
        assert "one of this site's widths" in kept.warnings[-1].text


def test_without_allowed_widths_nothing_changes() -> None:
    for query in ("width=321", "width=0.5", "crop=4:3", ""):
        assert AccessPolicy().constrain(order(query)) == order(query)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_allowed_widths_leave_few_sizes(width: int, height: int) -> None:
    kept = AccessPolicy(allowed_widths=(320, 640)).constrain(order(f"width={width}&height={height}"))
    assert kept.plan is not None
    first = next(step for step in kept.plan.steps if isinstance(step, Resize))
    assert first.width in (Pixels(Fraction(320)), Pixels(Fraction(640)))


def test_check_30_the_servers_bound_of_source_pixels() -> None:
    few, many = AccessPolicy(max_source_pixels=1000), AccessPolicy(max_source_pixels=10**12)
    asked_for = order("width=3")
    assert asked_for.plan is not None
    bounded = few.constrain(asked_for).plan
    assert bounded is not None
    assert bounded.limits.source_pixels == 1000
    assert bounded.fingerprint() != asked_for.plan.fingerprint()
    assert many.constrain(asked_for) == asked_for


# fmt: off
SITES: list[tuple[dict[str, Any], str | None]] = [
    ({"dialect": "fastly", "source": "x", "presets": {"a": "width=3"}, "presets_only": True}, None),
    ({"dialect": "fastly", "source": "x", "presets_only": True},      "presets_only rejects"),
    ({"dialect": "fastly", "source": "x", "allowed_widths": [0]},     "greater than or equal"),
    ({"dialect": "pixlab", "prefix": "/p", "allowed_widths": [100]},  "not settings of pixlab"),
]
# fmt: on


@pytest.mark.parametrize(("settings", "words"), SITES)
def test_settings_of_sites(settings: dict[str, Any], words: str | None) -> None:
    if words is None:
        assert access_policy(Settings(), SiteSettings(**settings)).presets_only
        return
    with pytest.raises(ValueError, match=words):
        SiteSettings(**settings)


def test_check_42_coalesced_requests_are_not_counted(pictures: Path, tmp_path: Path) -> None:
    """Fifty requests at the same time for one new variant count as one, with a quota of two."""
    environment = {"CROPMARK_VARIANTS_PER_MINUTE": "2"}
    with local_server(pictures, cache=tmp_path / "cache", environment=environment) as server:
        replies = server.get_all(["/fastly/wide.jpg?width=301"] * 50)
        assert [reply.status_code for reply in replies] == [200] * 50
        assert [server.get(f"/fastly/wide.jpg?width={width}").status_code for width in (302, 303)] == [200, 429]
        assert server.get("/fastly/wide.jpg?width=301").status_code == 200
        assert server.get("/contentstack/tall.png?width=50&environment=production").status_code == 200
