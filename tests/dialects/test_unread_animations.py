"""Animated AVIF and PNG: sent unchanged where no pixel is requested, else the first frame with a warning."""

from __future__ import annotations

import pytest

from cropmark.config.settings import Settings
from cropmark.dialects.dialect import ImageRequest
from cropmark.geometry.recipe import OriginalBytes, Reason, Recipe
from cropmark.geometry.resolve import resolve
from cropmark.model.formats import Format, Info
from cropmark.model.values import Size
from cropmark.server.sites import build_dialect

AVIF = Info(Format.AVIF, Size(400, 300), 1000, first_frame_only=True)
APNG = Info(Format.PNG, Size(400, 300), 1000, first_frame_only=True, lossless=True)
PALETTE_APNG = Info(Format.PNG, Size(400, 300), 1000, first_frame_only=True, lossless=True, palette=True)
LARGE_AVIF = Info(Format.AVIF, Size(5000, 4000), 1000, first_frame_only=True)
OLD, WEBP, ALL = "image/png,*/*", "image/webp,*/*", "image/avif,image/webp,*/*"

# fmt: off
REQUESTS = [
    # dialect         query                        Accept  source        result       parameters with a warning
    ("fastly",        "",                          OLD,    AVIF,         "original",  []),
    ("fastly",        "",                          OLD,    APNG,         "original",  []),
    ("fastly",        "utm_source=x",              OLD,    APNG,         "original",  []),
    ("fastly",        "width=400",                 OLD,    AVIF,         "original",  []),
    ("fastly",        "",                          OLD,    LARGE_AVIF,   "original",  []),
    ("fastly",        "width=32",                  OLD,    AVIF,         "avif",      ["animation"]),
    ("fastly",        "width=32",                  OLD,    APNG,         "png",       ["animation"]),
    ("fastly",        "brightness=10",             OLD,    APNG,         "png",       ["animation"]),
    ("fastly",        "format=avif",               OLD,    AVIF,         "original",  []),
    ("fastly",        "format=png",                OLD,    PALETTE_APNG, "original",  []),
    ("fastly",        "format=png8",               OLD,    APNG,         "png",       ["animation"]),
    ("fastly",        "format=jpg",                OLD,    AVIF,         "jpeg",      ["animation"]),
    ("fastly",        "format=gif",                OLD,    APNG,         "gif",       ["animation"]),
    ("fastly",        "frame=1",                   OLD,    AVIF,         "avif",      []),  # as requested
    ("fastly",        "frame=1",                   OLD,    APNG,         "png",       []),
    ("fastly",        "frame=1&width=32",          OLD,    APNG,         "png",       []),
    ("fastly",        "quality=64",                OLD,    AVIF,         "original",  []),
    ("fastly",        "quality=30",                OLD,    AVIF,         "original",  ["quality"]),
    ("fastly",        "quality=30",                OLD,    APNG,         "original",  []),  # PNG has no quality
    ("fastly",        "auto=webp",                 WEBP,   AVIF,         "original",  ["format"]),
    ("fastly",        "auto=webp",                 WEBP,   APNG,         "original",  ["format"]),
    ("fastly",        "auto=avif",                 ALL,    APNG,         "original",  ["format"]),
    ("fastly",        "auto=avif",                 ALL,    AVIF,         "original",  []),
    ("fastly",        "auto=webp&width=32",        WEBP,   APNG,         "webp",      ["animation"]),
    ("fastly",        "format=auto",               ALL,    APNG,         "original",  ["format"] * 2),
    ("fastly",        "format=auto",               OLD,    AVIF,         "jpeg",      ["animation"]),
    ("contentstack",  "",                          OLD,    AVIF,         "original",  []),
    ("contentstack",  "utm_source=a",              OLD,    APNG,         "original",  []),
    ("contentstack",  "width=32",                  OLD,    AVIF,         "avif",      ["animation"]),
    ("contentstack",  "width=32",                  OLD,    APNG,         "png",       ["animation"]),
    ("contentstack",  "auto=webp",                 WEBP,   APNG,         "original",  ["format"]),
    ("contentstack",  "format=auto",               ALL,    APNG,         "original",  ["format"] * 2),
    ("contentstack",  "format=webp",               OLD,    APNG,         "webp",      ["animation"]),
    ("contentstack",  "frame=1",                   OLD,    APNG,         "original",  []),  # GIFs only
    ("kontent",       "w=400",                     OLD,    APNG,         "original",  []),
    ("kontent",       "w=32",                      OLD,    APNG,         "png",       ["animation"]),
    ("kontent",       "fm=png",                    OLD,    PALETTE_APNG, "original",  []),
    ("kontent",       "fm=png8",                   OLD,    APNG,         "png",       ["animation"]),
    ("kontent",       "fm=webp",                   OLD,    APNG,         "webp",      ["animation"]),
    ("kontent",       "auto=format",               WEBP,   APNG,         "original",  ["format"]),
    ("kontent",       "auto=format&w=32",          WEBP,   APNG,         "webp",      ["animation"]),
    ("kontent",       "auto=format&fm=webp",       WEBP,   APNG,         "webp",      ["animation"]),
]
# fmt: on


@pytest.mark.parametrize(("dialect", "query", "accept", "source", "expected", "warned"), REQUESTS)
def test_the_animation_or_its_first_frame_with_a_warning(
    dialect: str, query: str, accept: str, source: Info, expected: str, warned: list[str]
) -> None:
    order = build_dialect(dialect, Settings()).order(ImageRequest("a", query, {"accept": accept}))
    assert not hasattr(order, "status")
    if order.plan is None:
        assert expected == "original"
        return
    resolved = resolve(order.plan, (source,))
    assert isinstance(resolved, Recipe | OriginalBytes)
    if isinstance(resolved, OriginalBytes):
        assert (expected, resolved.reason) == ("original", Reason.NOTHING_TO_DO)
    else:
        assert (resolved.encoding.format.value, resolved.frames) == (expected, 1)
    assert [warning.parameter for warning in resolved.warnings] == warned
