"""Any query that a dialect reads, over the smallest images: an image within its limits, or a Problem not of ours.

And the cache's key: one for a thousand spellings of a wish, a thousand for a thousand wishes.
"""

from __future__ import annotations

import io
import random
from itertools import product

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from PIL import Image

from cropmark.dialects.contentstack.dialect import Contentstack
from cropmark.dialects.dialect import Dialect, ImageRequest, ParameterDoc
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.dialects.kontent.dialect import Kontent
from cropmark.engine.render import render
from cropmark.model.formats import TRAITS
from cropmark.model.problems import InternalError, Problem
from cropmark.pipeline import cache_key, fingerprint_of
from cropmark.plan.plan import Order
from cropmark.ports import Rendered, SourceVersion

DIALECTS: tuple[Dialect, ...] = (Fastly(), Contentstack(), Kontent())
# fmt: off
VALUES = [
    "0", "1", "2", "3", "-1", "-0", "0.5", "0.0001", "50p", "1.5", "300", "9999999999", "1e400", "nan", "inf", "1_0",
    "٣", "", "true", "auto", "crop", "bounds", "cover", "fit", "1:1", "1:10000", "10000:1", "0:0", "1,1", "3,2,x1,y1",
    "1:1,offset-x50", "1:1,smart", "1,1,x9,y9,safe", "90", "l", "hv", "r", "8", "webp", "jpg", "png8", "gif", "avif",
    "webpll", "pjpg", "fff", "ff000080", "255,0,0,0.5", "10,20", "1,2,3,4", "0.5,0.5", "50", "100", "-100", "101",
    "a1,r2,t3", "sharp", "%00", "%",
    "%ff", "\ud83d\ude00", "smart", "focalpoint", "lossless", "1" * 300, "clip", "scale",
    "lanczos3",
]
# fmt: on


def _file(kind: str, mode: str, size: tuple[int, int], frames: int = 1) -> bytes:
    images = [Image.new(mode, size, 40 * (n + 1)) for n in range(frames)]
    file = io.BytesIO()
    more = {"save_all": True, "append_images": images[1:], "duration": 50} if frames > 1 else {}
    images[0].save(file, kind, **more)
    return file.getvalue()


SOURCES = [
    _file("PNG", "RGB", (1, 1)),
    _file("PNG", "LA", (1, 3)),
    _file("JPEG", "L", (2, 1)),
    _file("JPEG", "CMYK", (9, 7)),
    _file("WEBP", "RGBA", (1, 1)),
    _file("GIF", "P", (3, 2), 3),
    _file("TIFF", "I;16", (4, 1)),
]


def _whole(param: ParameterDoc) -> str:
    """The example value of a parameter in the reference, as query text."""
    return param.example if "=" in param.example else f"{param.name}={param.example}"


@st.composite
def asks(draw: st.DrawFn) -> tuple[Dialect, ImageRequest]:
    dialect = draw(st.sampled_from(DIALECTS))
    reported = st.sampled_from([_whole(param) for param in dialect.params])
    odd = st.builds("{}={}".format, st.sampled_from([p.name for p in dialect.params]), st.sampled_from(VALUES))
    query = "&".join([*draw(st.lists(reported, max_size=6)), *draw(st.lists(odd, max_size=2))])
    return dialect, ImageRequest("a.png", query, {"accept": "image/avif,image/webp"})


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(asks(), st.sampled_from(SOURCES))
def test_check_06_nothing_native_is_ever_raised(requested: tuple[Dialect, ImageRequest], source: bytes) -> None:
    """check_06, check_10: nor does any order of parameters produce a result above its limits."""
    dialect, request = requested
    try:
        order = dialect.order(request)
    except Problem as problem:
        event(f"refused: {problem.code}")
        return
    assert isinstance(order, Order)
    if order.plan is None:
        return
    try:
        outcome = render([source, *(None for _ in order.sources[1:])], order.plan)
    except Problem as problem:
        assert not isinstance(problem, InternalError), problem
        event(f"could not: {problem.code}")
        return
    event(type(outcome).__name__)
    if isinstance(outcome, Rendered):
        rendered = Image.open(io.BytesIO(outcome.body))
        assert max(rendered.size) <= order.plan.limits.side
        assert rendered.get_format_mimetype() == TRAITS[outcome.format].media_type


# ------------------------------------------------------------------------------------------------ the key


def key(query: str, stamp: str = "files:a.jpg", accept: str = "") -> str:
    order = Fastly().order(ImageRequest("a.jpg", query, {"accept": accept}))
    return cache_key([SourceVersion(stamp, "1")], fingerprint_of(order))


def test_check_37_a_thousand_spellings_are_one_key() -> None:
    chance = random.Random(7)
    parts = ["width=300", "crop=16:9", "format=webp", "quality=70", "saturation=-20"]
    keys = set()
    for _ in range(1000):
        chance.shuffle(parts)
        letters = [c if c in "=&" or chance.random() < 0.7 else f"%{ord(c):02X}" for c in "&".join(parts)]
        keys.add(key("".join(letters)))
    assert len(keys) == 1


def test_check_37_a_thousand_wishes_are_a_thousand_keys() -> None:
    queries = [
        f"width={width}&quality={quality}&format={kind}"
        for width, quality, kind in product(range(100, 110), range(40, 75), ("webp", "jpg", "avif"))
    ]
    assert len({key(query) for query in queries}) == len(queries) > 1000
    assert key("width=3") != key("width=3", "files:b.jpg")


@pytest.mark.parametrize("accept", ["image/webp,*/*", "image/webp;q=0.9, text/html", "IMAGE/WEBP", "image/webp;q=1"])
def test_check_38_clients_that_take_the_same_share_a_key(accept: str) -> None:
    assert key("auto=webp", accept=accept) == key("auto=webp", accept="image/webp")
    assert key("auto=webp", accept="image/png") == key("auto=webp")
