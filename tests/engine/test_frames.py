"""The cache of frames: no byte depends on earlier requests, and its memory is bounded."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.engine import load
from cropmark.engine.frames import CachedFrames, FrameCache
from cropmark.engine.render import render
from cropmark.model.problems import Problem
from cropmark.plan.plan import Order, Plan
from cropmark.ports import Rendered
from tests.engine.images import file_of, noise, saved, slopes

MIB = 2**20
PHOTO = Pillow.fromarray(slopes(250, 170))
EXIF = Pillow.Exif()
EXIF[0x0112] = 6
FILES = {
    "jpeg": saved(PHOTO, "JPEG"),
    "turned": saved(PHOTO, "JPEG", exif=EXIF),
    "progressive": saved(PHOTO, "JPEG", progressive=True),
    "gray": saved(PHOTO.convert("L"), "JPEG"),
    "cmyk": saved(PHOTO.convert("CMYK"), "JPEG"),
    "truncated": saved(PHOTO, "JPEG")[:-900],
    "png": file_of(noise(90, 70, 4)),
    "palette": saved(PHOTO.quantize(16), "PNG"),
    "webp": saved(PHOTO.convert("RGBA"), "WEBP"),
    "avif": saved(PHOTO, "AVIF"),
    "gif": saved(PHOTO.quantize(8), "GIF", save_all=True, append_images=[PHOTO.rotate(9).quantize(8)]),
    "tiff": saved(PHOTO, "TIFF"),
}
QUERIES = [
    "width=20&format=jpg",
    "width=60&format=webp",
    "width=110&format=png",
    "width=200&format=jpg&quality=95",
    "format=png",
    "crop=100,40,x5,y3&width=30&format=png",
    "crop=60,160,x9,y2&format=jpg",
    "width=33&height=60&fit=crop&format=png",
    "trim=0,0,50p,0&width=40&format=jpg",
    "width=50&format=gif",
    "frame=1&width=40&format=png",
    "orient=r&width=40&format=jpg",
    "blur=3&width=80&format=jpg",
]


def plan_of(query: str) -> Plan:
    order = Fastly().order(ImageRequest("a.jpg", query, {}))
    assert isinstance(order, Order)
    assert order.plan is not None
    return order.plan


PLANS = [plan_of(query) for query in QUERIES]


def result(name: str, plan: Plan, cached: CachedFrames | None) -> object:
    try:
        rendered = render([FILES[name]], plan, cached=cached)
    except Problem as problem:
        return problem.code, problem.detail
    facts = (rendered.facts, rendered.warnings)
    return (rendered.body, *facts) if isinstance(rendered, Rendered) else (rendered.reason, *facts)


@cache
def alone(name: str, at: int) -> object:
    return result(name, PLANS[at], None)


tasks = st.tuples(st.sampled_from(sorted(FILES)), st.lists(st.integers(0, len(PLANS) - 1), min_size=2, max_size=8))


@settings(max_examples=60, deadline=None)
@given(st.lists(tasks, min_size=1, max_size=4), st.sampled_from([30_000, 200_000, 48 * MIB]))
def test_bytes_do_not_depend_on_the_order_of_requests(runs: list[tuple[str, list[int]]], limit_bytes: int) -> None:
    store = FrameCache(limit_bytes)
    for name, plans in runs:
        for at in plans:
            assert result(name, PLANS[at], store.of(name)) == alone(name, at)


@pytest.mark.parametrize(("name", "decodes"), [("jpeg", 1), ("turned", 1), ("png", 2), ("webp", 2), ("avif", 2)])
def test_the_sizes_of_a_source_share_one_decode(monkeypatch: pytest.MonkeyPatch, name: str, decodes: int) -> None:
    """JPEGs are cached from the first task on, other formats from the second."""
    counted: list[Fraction] = []
    real = load.decode

    def decode(*arguments: object, **options: object) -> object:
        counted.append(Fraction(1))
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(load, "decode", decode)
    store = FrameCache(48 * MIB)
    for width in (52, 54, 56, 58, 60):
        result(name, plan_of(f"width={width}&format=webp"), store.of(name))
    assert len(counted) == decodes


def test_another_source_drops_the_frames() -> None:
    store = FrameCache(48 * MIB)
    first = store.of("jpeg")
    result("jpeg", PLANS[0], first)
    assert first is not None
    assert store.of("jpeg") is first
    store.of("png")
    again = store.of("jpeg")
    assert again is not first


def test_nothing_is_kept_of_a_foreign_source() -> None:
    store = FrameCache(48 * MIB)
    assert store.of("jpeg") is not None
    assert store.of(None) is None
    cached = store.of("jpeg")
    assert cached is not None
    assert cached.tasks == 1


def test_the_pixels_are_bounded() -> None:
    cached = CachedFrames("jpeg", 250 * 170 * 3)
    for width in (240, 80, 20):  # decoded at 250, 125 and 32 pixels
        result("jpeg", plan_of(f"width={width}&format=webp"), cached)
    assert [cached.get(Fraction(1, each)) is not None for each in (1, 2, 8)] == [False, True, True]


def test_a_frame_above_the_limit_is_not_kept() -> None:
    cached = CachedFrames("jpeg", 1000)
    result("jpeg", PLANS[0], cached)
    assert cached.info is None
