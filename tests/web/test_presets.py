"""Presets: the query of a preset with the other parameters of the URL, and sites that allow only presets."""

from __future__ import annotations

from typing import Any

import pytest

from cropmark.config.loader import Settings, SiteSettings
from cropmark.dialects import registry
from cropmark.dialects.dialect import ImageRequest
from cropmark.model.problems import Forbidden
from cropmark.plan.plan import Order, Plan
from cropmark.server.policies import access_policy
from cropmark.web.access import AccessPolicy
from tests.web.asgi_client import FakePipeline, app_of, fastly, respond

PRESETS = {"card": "width=300&crop=16:9", "raw": ""}

# fmt: off
PRESET = [
    # query                              only      the query for the dialect, or the error's status
    (b"preset=card",                     True,     b"width=300&crop=16:9"),
    (b"preset=card",                     False,    b"width=300&crop=16:9"),
    (b"width=300&crop=16:9",             True,     b"width=300&crop=16:9"),
    (b"",                                True,     b""),                       # there is a preset for it
    (b"crop=16:9&width=300",             True,     403),
    (b"width=300",                       True,     403),
    (b"preset=other",                    True,     400),
    (b"preset=other",                    False,    400),
    (b"preset=",                         True,     400),
    (b"preset=car%64",                   True,     b"width=300&crop=16:9"),
    (b"width=300",                       False,    b"width=300"),
    # Another parameter: it overrides the preset, or is rejected.
    (b"preset=card&width=301",           True,     403),
    (b"preset=card&width=301",           False,    b"width=300&crop=16:9&width=301"),
    (b"width=301&preset=card",           False,    b"width=300&crop=16:9&width=301"),
    (b"preset=raw&width=301",            False,    b"width=301"),
    (b"?preset=card",                    False,    b"width=300&crop=16:9"),
    (b"preset=card&preset=raw",          False,    b""),                       # the last one counts
    (b"preset=card?width=301",           False,    b"width=300&crop=16:9&width=301"),  # as Contentstack's SDKs append
    (b"preset=card?width=301",           True,     403),
    (b"preset=card&wi%64th=301",         True,     403),
    (b"preset=card&overlay=/logo.png",   True,     403),                       # in a header's query, so a parameter
    # An unknown name: ignored.
    (b"preset=card&v=3",                 True,     b"width=300&crop=16:9"),
    (b"v=3&preset=card&utm_source=a",    True,     b"width=300&crop=16:9"),
    (b"width=300&crop=16:9&utm_id=a",    True,     b"width=300&crop=16:9"),
    (b"width=300&utm_id=a",              True,     403),
    (b"preset=card&Width=301",           True,     b"width=300&crop=16:9"),
    (b"preset=card&v=3",                 False,    b"width=300&crop=16:9&v=3"),
    (b"preset=other&v=3",                False,    400),
    # A parameter without a value: absent.
    (b"preset=card&width=",              True,     b"width=300&crop=16:9"),
    (b"preset=card&width=&",             False,    b"width=300&crop=16:9"),
]
# fmt: on


@pytest.mark.parametrize(("query", "only", "wanted"), PRESET)
def test_presets(query: bytes, only: bool, wanted: bytes | int) -> None:
    policy = AccessPolicy(presets=PRESETS, presets_only=only, parameters=registry.entry("fastly").parameter_names)
    if isinstance(wanted, bytes):
        assert policy.authorize(b"/a", query, 0).query == wanted
        return
    answer = respond(app_of(FakePipeline(), site=fastly(access=policy)), b"/fastly/a.jpg?" + query)
    assert answer.status == wanted
    assert b"preset" in answer.body


def test_without_known_parameters_every_name_is_one() -> None:
    with pytest.raises(Forbidden):
        AccessPolicy(presets=PRESETS, presets_only=True).authorize(b"/a", b"preset=card&v=3", 0)


# fmt: off
OVER_A_PRESET = [
    # dialect         preset                       the rest                the same as
    ("fastly",        "width=300&crop=16:9",       "format=webp",          "width=300&crop=16:9&format=webp"),
    ("fastly",        "width=300&crop=16:9",       "width=200&utm_id=a",   "width=200&crop=16:9"),
    ("contentstack",  "width=300&crop=16:9",       "format=webp&v=3",      "width=300&crop=16:9&format=webp"),
    ("contentstack",  "width=300&crop=16:9",       "height=&crop=1:1",     "width=300&crop=1:1"),
    ("kontent",       "w=300&h=200&fit=crop",      "fm=webp",              "w=300&h=200&fit=crop&fm=webp"),
    ("kontent",       "w=300&h=200&fit=crop",      "fit=clip&utm_medium=", "w=300&h=200&fit=clip"),
]
# fmt: on


@pytest.mark.parametrize(("dialect", "preset", "rest", "same"), OVER_A_PRESET)
def test_the_rest_of_the_query_overrides_the_preset(dialect: str, preset: str, rest: str, same: str) -> None:
    settings: dict[str, Any] = {"dialect": dialect, "source": "x", "presets": {"card": preset}}
    policy = access_policy(Settings(), SiteSettings(**settings))
    merged = policy.authorize(b"/a.jpg", f"preset=card&{rest}".encode(), 0).query.decode()
    plan = _plan(dialect, merged)
    assert plan is not None
    assert plan == _plan(dialect, same)


def _plan(dialect: str, query: str) -> Plan | None:
    order = registry.entry(dialect).build().order(ImageRequest("a.jpg", query))
    assert isinstance(order, Order)
    return order.plan


def test_a_preset_and_its_query_are_one_order() -> None:
    pipeline = FakePipeline()
    app = app_of(pipeline, site=fastly(access=AccessPolicy(presets=PRESETS, presets_only=True)))
    for query in (b"preset=card", b"width=300&crop=16:9"):
        assert respond(app, b"/fastly/a.jpg?" + query).status == 200
    assert pipeline.orders[0] == pipeline.orders[1]
