"""Lifetimes of responses, by their headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from cropmark.sources.freshness import DEFAULT_BOUNDS, LifetimeBounds, Lifetimes, directives, http_date, lifetimes_of

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT
DATE = "Fri, 15 Jan 2027 08:00:00 GMT"
HOUR_AGO = "Fri, 15 Jan 2027 07:00:00 GMT"
IN_AN_HOUR = "Fri, 15 Jan 2027 09:00:00 GMT"
YEAR_AGO = "Thu, 15 Jan 2026 08:00:00 GMT"
DAY = 86_400

# fmt: off
FRESH = [
    # headers                                                     fresh  stale  error
    ({},                                                          (300,   300,    DAY)),  # the default
    ({"Cache-Control": "max-age=60"},                             (60,    60,     DAY)),  # not stale longer
    ({"cache-control": "MAX-AGE=60"},                             (60,    60,     DAY)),
    ({"Cache-Control": "public, max-age=3600"},                   (3600,  300,    DAY)),
    ({"Cache-Control": "max-age=60, s-maxage=600"},               (600,   300,    DAY)),  # a shared cache
    ({"Cache-Control": 'max-age="60"'},                           (60,    60,     DAY)),
    ({"Cache-Control": "max-age=60, max-age=999"},                (60,    60,     DAY)),
    ({"Cache-Control": "max-age=60, stale-while-revalidate=9"},   (60,    9,      DAY)),
    ({"Cache-Control": "max-age=60, stale-while-revalidate=5000"},(60,    5000,   DAY)),
    ({"Cache-Control": "max-age=60, stale-if-error=0"},           (60,    60,     0)),
    ({"Cache-Control": "max-age=60, must-revalidate"},            (60,    0,      0)),
    ({"Cache-Control": "max-age=60, proxy-revalidate"},           (60,    0,      0)),
    ({"Cache-Control": "no-cache"},                               (1,     0,      0)),    # the minimum
    ({"Cache-Control": "no-cache, max-age=600"},                  (1,     0,      0)),
    ({"Cache-Control": "max-age=0"},                              (1,     0,      DAY)),
    ({"Cache-Control": "max-age=-5"},                             (1,     0,      DAY)),  # malformed: 0, not "absent"
    ({"Cache-Control": "max-age=1_000"},                          (1,     0,      DAY)),
    ({"Cache-Control": "max-age=１０００"},                           (1,     0,      DAY)),
    ({"Cache-Control": "max-age=99999999999999999999999"},        (7 * DAY, 300,  DAY)),  # the maximum
    ({"Cache-Control": "x-max-age=5, private-ish"},               (300,   300,    DAY)),  # other directives
    ({"Cache-Control": "max-age=600", "Age": "500"},              (100,   300,    DAY)),
    ({"Cache-Control": "max-age=600", "Age": "700"},              (1,     300,    DAY)),
    ({"Cache-Control": "max-age=600", "Age": "x"},                (600,   300,    DAY)),
    ({"Expires": IN_AN_HOUR, "Date": DATE},                       (3600,  300,    DAY)),
    ({"Expires": IN_AN_HOUR},                                     (3600,  300,    DAY)),
    ({"Expires": IN_AN_HOUR, "Date": HOUR_AGO},                   (7200,  300,    DAY)),  # the difference counts
    ({"Expires": HOUR_AGO, "Date": DATE},                         (1,     0,      DAY)),
    ({"Expires": "0"},                                            (1,     0,      DAY)),  # RFC 9111, section 5.3
    ({"Expires": "-1", "Cache-Control": "max-age=60"},            (60,    60,     DAY)),
    ({"Last-Modified": YEAR_AGO},                                 (DAY,   300,    DAY)),  # a tenth, within a day
    ({"Last-Modified": HOUR_AGO, "Date": DATE},                   (360,   300,    DAY)),
    ({"Last-Modified": DATE, "Date": DATE},                       (300,   300,    DAY)),
    ({"Last-Modified": "yesterday"},                              (300,   300,    DAY)),
    ({"Vary": "Accept-Encoding"},                                 (300,   300,    DAY)),  # the request never varies
]

NOT_KEPT = [
    {"Cache-Control": "no-store"}, {"Cache-Control": "max-age=600, No-Store"}, {"Cache-Control": "private"},
    {"Cache-Control": 'private="set-cookie", max-age=600'}, {"Vary": "*"},
]
# fmt: on


@pytest.mark.parametrize(("headers", "expected"), FRESH)
def test_fresh(headers: dict[str, str], expected: tuple[float, float, float]) -> None:
    assert lifetimes_of(CIMultiDict(headers), NOW, DEFAULT_BOUNDS) == Lifetimes(*expected)


@pytest.mark.parametrize("headers", NOT_KEPT)
def test_not_storable(headers: dict[str, str]) -> None:
    assert lifetimes_of(CIMultiDict(headers), NOW, DEFAULT_BOUNDS) == Lifetimes(0, 0, 0, storable=False)


def test_the_bounds_of_the_operator_apply_last() -> None:
    bounds = LifetimeBounds(minimum_s=30, maximum_s=90)
    assert lifetimes_of(CIMultiDict({"Cache-Control": "max-age=5"}), NOW, bounds).fresh_s == 30
    assert lifetimes_of(CIMultiDict({"Cache-Control": "max-age=500"}), NOW, bounds).fresh_s == 90


@given(st.text(max_size=200), st.text(max_size=40), st.text(max_size=40))
def test_the_bounds_hold_for_any_headers(control: str, expires: str, age: str) -> None:
    headers = CIMultiDict({"Cache-Control": control, "Expires": expires, "Age": age, "Last-Modified": expires})
    found = lifetimes_of(headers, NOW, DEFAULT_BOUNDS)
    assert not found.storable or DEFAULT_BOUNDS.minimum_s <= found.fresh_s <= DEFAULT_BOUNDS.maximum_s
    assert found.stale_while_revalidate_s >= 0
    assert found.stale_if_error_s >= 0


def test_a_long_header_is_parsed_quickly() -> None:
    assert len(directives("a=" * 50_000)) <= 1
    assert directives("\t, ;=" * 20_000) == {}


@pytest.mark.parametrize(
    "text", [None, "", "x", "Fri, 99 Jan 2027 08:00:00 GMT", "9" * 1000, "Fri, 15 Jan 99999 08:00"]
)
def test_invalid_date(text: str | None) -> None:
    assert http_date(text) is None


def test_date() -> None:
    assert http_date(DATE) == NOW
