"""The request that a dialect receives: raw, below the mount of its site."""

from dataclasses import replace

import pytest

from cropmark.dialects.contentstack.dialect import Contentstack
from cropmark.dialects.contentstack.settings import ContentstackSettings, FitCover
from cropmark.dialects.dialect import Dialect, ImageRequest
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.dialects.fastly.settings import FastlySettings
from cropmark.dialects.kontent.dialect import Kontent
from cropmark.plan.plan import Order, Plan
from cropmark.plan.source import SitePath

# fmt: off
ENCODED = [
    # request                                           encoded path
    (ImageRequest("a b.jpg", raw_path="a%20b.jpg"),     "a%20b.jpg"),
    (ImageRequest("a/b.jpg", raw_path="a%2Fb.jpg"),     "a%2Fb.jpg"),    # decoded, it would be another path
    (ImageRequest("", raw_path=""),                     ""),
    (ImageRequest("a b/\udcff.jpg"),                    "a%20b/%FF.jpg"),  # not from HTTP: encoded again
]
MOUNTS = [
    # request                                                      URL of the mount
    (ImageRequest("a", base="/shop", host_url="https://i.example"), "https://i.example/shop"),
    (ImageRequest("a", host_url="http://i.example:8000"),          "http://i.example:8000"),
    (ImageRequest("a", base="/shop"),                              "/shop"),
]
READ_ONCE = [
    # dialect        query
    (Fastly(),       "width=300&auto=webp&crop=1:1"),
    (Contentstack(), "width=300&auto=webp&environment=production"),
    (Kontent(),      "w=300&auto=format"),
]
WEBP = {"accept": "image/webp"}
OVERLAY = {"x-fastly-imageopto-overlay": "overlay=/logo.png"}
LOW = FastlySettings(jpeg_quality=40)
UNCUT = ContentstackSettings(fit_cover=FitCover.FASTLY)
PLAN_DEPENDS_ON: list[tuple[Dialect, Dialect, str, dict[str, str]]] = [
    # dialect        with these settings  query                         and these headers
    (Fastly(),       Fastly(),            "width=300&auto=webp",        WEBP),
    (Fastly(),       Fastly(),            "width=300",                  OVERLAY),
    (Fastly(),       Fastly(LOW),         "width=300&format=jpg",       {}),
    (Contentstack(), Contentstack(),      "width=300&auto=webp",        WEBP),
    (Contentstack(), Contentstack(UNCUT), "width=9&height=9&fit=cover", {}),
    (Kontent(),      Kontent(),           "w=300&auto=format",          WEBP),
]
# fmt: on


def plan_of(dialect: Dialect, request: ImageRequest) -> Plan:
    order = dialect.order(request)
    assert isinstance(order, Order)
    assert order.plan is not None
    assert order.sources[0].ref == SitePath(request.path, getattr(order.sources[0].ref, "scope", None))
    return order.plan


@pytest.mark.parametrize(("dialect", "query"), READ_ONCE)
def test_images_with_the_same_query_share_one_plan(dialect: Dialect, query: str) -> None:
    request = ImageRequest("a.jpg", query, WEBP)
    assert plan_of(dialect, request) is plan_of(dialect, replace(request, path="b.jpg"))


@pytest.mark.parametrize(("dialect", "other", "query", "headers"), PLAN_DEPENDS_ON)
def test_the_plan_depends_on_settings_and_headers(
    dialect: Dialect, other: Dialect, query: str, headers: dict[str, str]
) -> None:
    request = ImageRequest("a.jpg", query)
    assert plan_of(dialect, request) != plan_of(other, replace(request, headers=headers))


@pytest.mark.parametrize(("request_", "expected"), ENCODED)
def test_encoded_path(request_: ImageRequest, expected: str) -> None:
    assert request_.encoded_path == expected


@pytest.mark.parametrize(("request_", "expected"), MOUNTS)
def test_mount_url(request_: ImageRequest, expected: str) -> None:
    assert request_.mount_url == expected
