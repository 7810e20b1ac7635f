"""PixLab's merge: from `src` and `cord` through the Plan to whole pixels.

The tables follow https://pixlab.io/cmd?id=merge and the samples at https://github.com/symisc/pixlab.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.pixlab.dialect import PixLab
from cropmark.dialects.pixlab.json_body import fields_of_json
from cropmark.dialects.pixlab.parse import RenderImage
from cropmark.dialects.pixlab.placed_images import MAX_IMAGES
from cropmark.geometry.recipe import Compose, Recipe
from cropmark.geometry.resolve import resolve
from cropmark.model.formats import Format, Info
from cropmark.model.problems import BadRequest, Problem, SourceForbidden, SourceTooLarge, SourceUnusable
from cropmark.model.values import Size
from cropmark.plan.plan import Order, RequestWarning
from cropmark.plan.source import SourceRequest, WebUrl
from cropmark.renderers.tasks import MAX_SOURCES

SRC = "https://pics.example/face.png"
HAT = "https://pics.example/hat.png"
PIXLAB = PixLab()
FACE = Info(Format.PNG, Size(400, 300), 9000)
SMALL = Info(Format.PNG, Size(51, 40), 900)


def posted(body: object) -> ImageRequest:
    return ImageRequest("merge", method="POST", fields=fields_of_json(json.dumps(body).encode()))


def merged(*images: object, **members: object) -> Order:
    return PIXLAB.order(posted({"src": SRC, "cord": list(images), **members}))


def hat(**members: object) -> dict[str, Any]:
    return {"img": HAT, "x": 0, "y": 0, **members}


def made(order: Order, *infos: Info | None) -> Recipe:
    assert order.plan is not None
    recipe = resolve(order.plan, infos or (FACE, SMALL))
    assert isinstance(recipe, Recipe)
    return recipe


# fmt: off
PLACES = [
    # members, the image is 51x40 on 400x300                      left, top
    (hat(x=30, y=95),                                             (30, 95)),
    (hat(x=630, y=95),                                            None),          # of the sample, on a larger image
    (hat(x=-45, y=-39),                                           (-45, -39)),
    (hat(x=200, y=150, center=True, center_y=True),               (175, 130)),    # 200 - 51/2 = 174.5, as 200 - 25
    (hat(x=200, y=150, center=True),                              (175, 150)),
    (hat(x=200, y=150, center_y=True),                            (200, 130)),
    (hat(x=200, y=150, center=False, center_y=None),              (200, 150)),
    (hat(x=-10, y=-10, center=True, center_y=True),               (-35, -30)),
    (hat(x=0, y=0, center=True, center_y=True),                   (-25, -20)),
    (hat(x=399, y=299),                                           (399, 299)),    # one pixel is inside
    (hat(x=400, y=0),                                             None),
    (hat(x=-51, y=0),                                             None),
    (hat(x=0, y=-40),                                             None),
    (hat(x=10**29, y=0),                                          None),
    (hat(x=30.9, y=-1.5),                                         (30, -1)),      # as x and y of crop
    (hat(x=1e2, y=0),                                             (100, 0)),
]
# fmt: on


@pytest.mark.parametrize(("image", "corner"), PLACES)
def test_the_place_of_an_image(image: dict[str, Any], corner: tuple[int, int] | None) -> None:
    recipe = made(merged(image))
    assert recipe.size == FACE.size
    if corner is None:
        assert recipe.ops == ()
        outside = RequestWarning("cord[0]", "left out, it is completely outside of the image")
        assert outside in recipe.warnings
    else:
        assert recipe.ops == (Compose(1, (), *corner),)


@given(x=st.integers(-900, 900), length=st.integers(1, 500))
def test_the_middle_of_a_centered_image_is_at_x(x: int, length: int) -> None:
    recipe = made(merged(hat(x=x, center=True)), FACE, Info(Format.PNG, Size(length, 9), 900))
    for op in recipe.ops:
        assert isinstance(op, Compose)
        assert op.left + length // 2 == x


def test_images_are_drawn_in_their_order_and_one_named_twice_is_one_source() -> None:
    order = merged(hat(x=1), {**hat(x=2), "img": SRC}, hat(x=3), blob=True)
    assert order.sources == (
        SourceRequest(WebUrl(SRC), parameter="src"),
        SourceRequest(WebUrl(HAT), parameter="cord[0].img"),
        SourceRequest(WebUrl(SRC), parameter="cord[1].img"),
    )
    assert order.delivery.private
    assert order.delivery.untrusted
    ops = made(order, FACE, SMALL, FACE).ops
    assert [(op.source, op.left) for op in ops if isinstance(op, Compose)] == [(1, 1), (2, 2), (1, 3)]


def test_blob_is_read() -> None:
    requests = [PIXLAB.parse_request(posted({"src": SRC, "cord": [hat()], **blob})) for blob in ({}, {"blob": True})]
    assert [isinstance(request, RenderImage) and request.blob for request in requests] == [False, True]


@pytest.mark.parametrize(("kind", "written"), [(Format.JPEG, Format.JPEG), (Format.TIFF, Format.PNG)])
def test_the_result_has_the_format_of_the_target_in_srgb(kind: Format, written: Format) -> None:
    encoding = made(merged(hat()), Info(kind, FACE.size, 9000), SMALL).encoding
    assert (encoding.format, encoding.metadata) == (written, frozenset())


def test_an_image_is_not_limited_to_the_size_of_the_target() -> None:
    assert made(merged(hat(x=-500, y=-500)), FACE, Info(Format.PNG, Size(2000, 2000), 9)).ops == (
        Compose(1, (), -500, -500),
    )


def test_a_render_takes_all_images() -> None:
    assert MAX_IMAGES + 1 == MAX_SOURCES
    images = [{**hat(), "img": f"https://pics.example/{at}.png"} for at in range(MAX_IMAGES)]
    assert len(merged(*images).sources) == MAX_SOURCES


# fmt: off
REJECTED: list[tuple[dict[str, Any], str, str]] = [
    # body without key                              error                                                   fix
    ({},                                            "src: expected a URL, got none",                        '"src"'),
    ({"src": SRC},                                  "cord: expected an array of images, got none",          '"cord"'),
    ({"src": SRC, "cord": None},                    "cord: expected an array of images, got none",          '"cord"'),
    ({"src": SRC, "cord": {}},                      "cord: expected an array of images, got none",          '"cord"'),
    ({"src": SRC, "cord": []},                      "cord: expected an array of objects, got an empty array", "write"),
    ({"src": SRC, "cord": "x"},                     "cord: expected an array of objects, got a text",       "write"),
    ({"src": SRC, "cord": "[" * 9000},              "cord: expected an array of objects, got a text",       "write"),
    ({"src": SRC, "cord": "[{}]x"},                 "cord: expected an array of objects, got a text",       "write"),
    ({"src": SRC, "cord": 7},                       "cord: expected an array of objects, got 7",            "write"),
    ({"src": SRC, "cord": [[]]},                    "cord[0]: expected an object, got an empty array",      "write"),
    ({"src": SRC, "cord": [hat(), None]},           "cord[1]: expected an object, got none",                "write"),
    ({"src": SRC, "cord": [{"x": 1, "y": 2}]},      "cord[0].img: expected a URL of http or https, got none", '"img"'),
    ({"src": SRC, "cord": [hat(img=5)]},            "cord[0].img: expected a URL of http or https, got 5",  '"img"'),
    ({"src": SRC, "cord": [hat(img=[HAT])]},        "cord[0].img: expected a URL of http or https, got an a", '"img"'),
    ({"src": SRC, "cord": [hat(img=" ")]},          "cord[0].img: expected a URL of http or https, got an empty", ""),
    ({"src": SRC, "cord": [hat(img="iVBORw0KGg")]}, "cord[0].img: expected a URL of http or https, got ano", "store"),
    ({"src": "iVBORw0KGg", "cord": [hat()]},        "src: expected a URL of http or https, got another",    "store"),
    ({"src": SRC, "cord": [{"img": HAT, "y": 2}]},  "cord[0].x: expected a whole number, got none",         '"x": 100'),
    ({"src": SRC, "cord": [hat(y="20")]},           "cord[0].y: expected a whole number, got a text",       '"y": 100'),
    ({"src": SRC, "cord": [hat(x=True)]},           "cord[0].x: expected a whole number, got true",         '"x": 100'),
    ({"src": SRC, "cord": [hat(x={})]},             "cord[0].x: expected a whole number, got an object",    '"x": 100'),
    ({"src": SRC, "cord": [hat(x=10**60)]},         "cord[0].x: expected a whole number, got 1000000",      '"x": 100'),
    ({"src": SRC, "cord": [hat(center=1)]},         "cord[0].center: expected true or false, got 1",        ": true"),
    ({"src": SRC, "cord": [hat(center_y="true")]},  "cord[0].center_y: expected true or false, got a text", ": true"),
    ({"src": SRC, "cord": [hat()] * 64},            "cord: expected at most 63 images, got 64",             "second"),
]
# fmt: on


@pytest.mark.parametrize(("body", "error", "fix"), REJECTED)
def test_rejected(body: dict[str, Any], error: str, fix: str) -> None:
    with pytest.raises(BadRequest) as caught:
        PIXLAB.order(posted(body))
    assert caught.value.detail.startswith(error)
    assert fix in caught.value.fix
    assert caught.value.parameter is not None
    assert HAT not in str(caught.value), "no text of the caller gets into errors and logs"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"src": "ftp://pics.example/a", "cord": [hat()]}, "src"),
        ({"src": SRC, "cord": [hat(), hat(img="file:///etc/passwd")]}, "cord[1].img"),
    ],
)
def test_other_schemes_are_forbidden(body: dict[str, Any], named: str) -> None:
    with pytest.raises(SourceForbidden) as caught:
        PIXLAB.order(posted(body))
    error = json.loads(PIXLAB.error_response(caught.value, posted(body)).body)["error"]
    assert error.startswith(f"{named}: the address may not be fetched")


def test_numbers_that_are_cut_off_and_unknown_members_have_warnings() -> None:
    assert merged(hat(x=1.5), hat(centre=True)).warnings == (
        RequestWarning("cord[0].x", "1.5 counts as 1"),
        RequestWarning("cord[1]", "centre has no effect"),
    )


# fmt: off
UNUSABLE: list[tuple[Info | None, type[Problem], str]] = [
    # header of the second image                       error
    (None,                                             SourceUnusable, "cord[0]: the image is broken"),
    (Info(Format.SVG, Size(9, 9), 900),                SourceUnusable, "cord[0]: svg images are not transformed"),
    (Info(Format.PNG, Size(20_000, 9), 900),           SourceTooLarge, "cord[0]: the image is 20000x9"),
    (Info(Format.PNG, Size(9, 9), 26 * 2**20),         SourceTooLarge, "cord[0]: the file has"),
]
# fmt: on


@pytest.mark.parametrize(("info", "kind", "text"), UNUSABLE)
def test_an_image_that_cannot_be_drawn_is_an_error(info: Info | None, kind: type[Problem], text: str) -> None:
    with pytest.raises(kind) as caught:
        made(merged(hat()), FACE, info)
    assert str(caught.value).startswith(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["img", "x", "y", "center", "center_y", "z"]), inner, max_size=6)
    ),
    max_leaves=12,
)


MEMBER = st.fixed_dictionaries(
    {"img": st.just(HAT), "x": st.integers(-999, 9_999), "y": st.integers(-999, 9_999)},
    optional={"center": st.booleans(), "center_y": st.booleans(), "z": JSON},
)


@given(value=JSON | st.lists(MEMBER | JSON, min_size=1, max_size=4) | st.lists(MEMBER, min_size=1, max_size=4))
def test_any_cord_is_read_or_rejected(value: object) -> None:
    try:
        order = PIXLAB.order(posted({"src": SRC, "cord": value}))
    except (BadRequest, SourceForbidden) as problem:
        assert problem.detail
    else:
        assert order.plan is not None
        assert order.plan.steps


def test_a_query_may_have_the_fields_too() -> None:
    query = f'src={SRC}&cord=[{{"img": "{HAT}", "x": 5, "y": 6}}]'
    assert made(PIXLAB.order(ImageRequest("merge", query, method="POST"))).ops == (Compose(1, (), 5, 6),)
