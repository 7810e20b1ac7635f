"""PixLab: the endpoint, the key and the Order of a request.

The tables follow https://pixlab.io/endpoints/crop and https://pixlab.io/api.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from fractions import Fraction
from urllib.parse import parse_qsl

import pytest

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.pixlab.dialect import PixLab
from cropmark.dialects.pixlab.parse import DeleteResult, FindFaces, RenderImage, StoreUpload
from cropmark.geometry.recipe import Recipe
from cropmark.geometry.resolve import resolve
from cropmark.model.formats import Format, Info
from cropmark.model.problems import BadRequest, MethodNotAllowed, NotFound, Problem, SourceForbidden
from cropmark.model.values import Pixels, Size
from cropmark.plan.plan import Delivery, KeepMetadata, Order, RequestWarning
from cropmark.plan.source import SourceRequest, UploadRef, WebUrl
from cropmark.plan.steps import AnyStep, Crop, Dimensions, Fit, Offset, Overflow, Resize
from tests.dialects.pixlab_requests import image_request

IMG = "https://pics.example/a.png"
DIGEST = "ab" * 32
PIXLAB = PixLab()


def order(endpoint: str, /, **fields: object) -> Order:
    return PIXLAB.order(image_request(endpoint, img=IMG, **fields))


def step(endpoint: str, /, **fields: object) -> AnyStep:
    plan = order(endpoint, **fields).plan
    assert plan is not None
    (found,) = plan.steps
    return found


def px(count: int) -> Pixels:
    return Pixels(Fraction(count))


def crop(x: int, y: int, width: int, height: int) -> Crop:
    return Crop(Dimensions(px(width), px(height)), Offset(px(x)), Offset(px(y)), overflow=Overflow.CLIP_OR_REFUSE)


def resize(width: int, height: int) -> Resize:
    return Resize(px(width), px(height), Fit.STRETCH, enlarge=True)


def inside(width: int | None, height: int | None) -> Resize:
    return Resize(
        None if width is None else px(width), None if height is None else px(height), Fit.INSIDE, enlarge=True
    )


# ---------------------------------------------------------------------------------------------- fields

# fmt: off
STEPS: list[tuple[str, Mapping[str, object], AnyStep]] = [
    # endpoint     fields                                              does
    ("crop",       {"x": 164, "y": 95, "width": 145, "height": 145},   crop(164, 95, 145, 145)),
    ("crop",       {"x": 10, "y": 20, "width": 100},                   crop(10, 20, 100, 100)),    # a missing side
    ("crop",       {"x": 10, "y": 20, "height": 80},                   crop(10, 20, 80, 80)),      # takes the other's
    ("crop",       {"x": 10, "y": 20, "width": 0, "height": 80},       crop(10, 20, 80, 80)),      # and so does 0
    ("crop",       {"x": 10, "y": 20, "width": "", "height": 50},      crop(10, 20, 50, 50)),      # and an empty one
    ("crop",       {"x": -20, "y": "-3", "width": 9},                  crop(-20, -3, 9, 9)),       # as face boxes begin
    ("crop",       {"x": "164.7", "y": "-1.9", "width": "9.99"},       crop(164, -1, 9, 9)),       # cut, not rounded
    ("crop",       {"x": " 5 ", "y": "+6", "width": "\t7\n"},          crop(5, 6, 7, 7)),
    ("crop",       {"left": 5, "top": 6, "width": 7},                  crop(5, 6, 7, 7)),          # facedetect's words
    ("crop",       {"x": 1, "left": 5, "top": 6, "width": 7},          crop(1, 6, 7, 7)),          # x before left
    ("crop",       {"x": 1, "left": "far", "y": 6, "width": 7},        crop(1, 6, 7, 7)),
    ("crop",       {"x": "", "left": 5, "y": 6, "width": 7},           crop(5, 6, 7, 7)),
    ("smartcrop",  {"x": 200, "y": 100, "width": 40, "height": 30},    crop(200, 100, 40, 30)),    # crop's old name
    ("cropgif",    {"x": 150, "y": 70, "width": 256},                  crop(150, 70, 256, 256)),
    ("resize",     {"width": 200, "height": 100},                      resize(200, 100)),
    ("resize",     {"width": 200},                                     resize(200, 200)),
    ("resize",     {"width": 200, "x": "here"},                        resize(200, 200)),          # not resize's field
    ("resizegif",  {"height": 90},                                     resize(90, 90)),
    ("smartresize", {"width": 800, "height": 600},                     inside(800, 600)),
    ("smartresize", {"width": 800},                                    inside(800, 800)),
    ("smartresize", {"width": 800, "height": 0},                       inside(800, None)),         # 0 is free
    ("smartresize", {"width": 0, "height": 9},                         inside(None, 9)),
    ("v1/crop",    {"x": 1, "y": 2, "width": 3},                       crop(1, 2, 3, 3)),          # the last segment
    ("crop/",      {"x": 1, "y": 2, "width": 3},                       crop(1, 2, 3, 3)),
]
# fmt: on


@pytest.mark.parametrize(("endpoint", "fields", "expected"), STEPS)
def test_fields_become_a_step(endpoint: str, fields: Mapping[str, object], expected: AnyStep) -> None:
    assert step(endpoint, **fields) == expected


# fmt: off
REFUSALS: list[tuple[str, Mapping[str, object], str]] = [
    # endpoint     fields                                              words
    ("crop",       {"y": 2, "width": 3},                               "x: expected a whole number, got none"),
    ("crop",       {"x": 2, "width": 3},                               "y: expected a whole number, got none"),
    ("crop",       {"x": "", "y": 2, "width": 3},                      "x: expected a whole number, got none"),
    ("crop",       {"x": 1, "y": 2},                                   "width, height: expected a number above 0"),
    ("crop",       {"x": 1, "y": 2, "width": 0, "height": ""},         "width, height: expected a number above 0"),
    ("crop",       {"x": 1, "y": 2, "width": "0.9"},                   "width, height: expected a number above 0"),
    ("crop",       {"x": 1, "y": 2, "width": "wide", "height": 2},     "width: expected a whole number"),
    ("crop",       {"x": "1e2", "y": 2, "width": 3},                   "x: expected a whole number"),
    ("crop",       {"x": "nan", "y": 2, "width": 3},                   "x: expected a whole number"),
    ("crop",       {"x": "1_0", "y": 2, "width": 3},                   "x: expected a whole number"),
    ("crop",       {"x": "٣", "y": 2, "width": 3},                     "x: expected a whole number"),
    ("crop",       {"x": "9" * 5000, "y": 2, "width": 3},              "x: expected a whole number"),
    ("crop",       {"x": 1, "y": 2, "width": -3, "height": 4},         "width: expected a whole number of 0 or more"),
    ("resize",     {},                                                 "width, height: expected a number above 0"),
    ("smartresize", {"width": 0},                                      "width, height: expected a number above 0"),
    ("smartresize", {"height": -1},                                    "height: expected a whole number of 0 or more"),
]
# fmt: on


@pytest.mark.parametrize(("endpoint", "fields", "words"), REFUSALS)
def test_fields_that_cannot_be_used_are_refused(endpoint: str, fields: Mapping[str, object], words: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(words)) as caught:
        order(endpoint, **fields)
    assert PIXLAB.error_response(caught.value, ImageRequest(endpoint)).status == 400


# fmt: off
BLOBS = [
    ("true", True), ("True", True), ("TRUE", True), ("1", True), ("yes", True), ("On", True), (" true ", True),
    ("false", False), ("0", False), ("2", False), ("no", False), ("", False), ("blob", False),
]
# fmt: on


@pytest.mark.parametrize(("text", "blob"), BLOBS)
def test_blob_is_written_in_the_ways_of_many_clients(text: str, blob: bool) -> None:
    request = PIXLAB.parse_request(image_request("resize", img=IMG, width=3, blob=text))
    assert isinstance(request, RenderImage)
    assert request.blob is blob


def test_a_fraction_that_is_cut_off_gives_a_warning() -> None:
    assert order("crop", x="164.7", y=2, width=3).warnings == (RequestWarning("x", "164.7 counts as 164"),)


def test_the_body_comes_before_the_query_and_blank_fields_before_none() -> None:
    mixed = ImageRequest("resize", f"img={IMG}&width=5&height=6", method="POST", fields={"width": "50", "height": " "})
    plan = PIXLAB.order(mixed).plan
    assert plan is not None
    assert plan.steps == (resize(50, 6),)


def test_of_a_repeated_field_the_last_counts() -> None:
    plan = PIXLAB.order(ImageRequest("resize", f"img={IMG}&width=5&width=7")).plan
    assert plan is not None
    assert plan.steps == (resize(7, 7),)


# ---------------------------------------------------------------------------------------------- the image


def uploaded(data: bytes) -> SourceRequest:
    return SourceRequest(UploadRef(hashlib.sha256(data).hexdigest()), parameter="img")


def fetched(url: str) -> SourceRequest:
    return SourceRequest(WebUrl(url), parameter="img")


FILE = SourceRequest(UploadRef(DIGEST), parameter="file")

# fmt: off
SOURCES = [
    # request                                                         image
    (image_request("resize", width=3, img=IMG),                                 fetched(IMG)),
    (image_request("resize", width=3, img=" HTTP://pics.example/a b.png "),     fetched("HTTP://pics.example/a b.png")),
    (image_request("resize", width=3, img="YWJj"),                              uploaded(b"abc")),
    (image_request("resize", width=3, img="data:image/png;base64,-_-_"),        uploaded(b"\xfb\xff\xbf")),
    (ImageRequest("resize", "img=YW+/&width=3"),                          uploaded(b"ao\xbf")),   # the + became a blank
    (ImageRequest("resize", f"img={IMG}&width=3", method="POST", upload=DIGEST), FILE),           # a file wins over img
    (ImageRequest("resize", "", method="POST", fields={"img": "!", "width": "3"}, upload=DIGEST), FILE),
]
# fmt: on


@pytest.mark.parametrize(("request_", "image"), SOURCES)
def test_the_source(request_: ImageRequest, image: SourceRequest) -> None:
    found = PIXLAB.order(request_)
    assert found.sources == (image,)
    assert found.delivery == Delivery(private=True, untrusted=True)


# fmt: off
NO_PICTURES: list[tuple[str, type[Problem], str]] = [
    # img=                         raises          words
    ("",                           BadRequest,       "img: expected an image, got none"),
    ("file:///etc/hostname",       SourceForbidden,  "http or https"),
    ("ftp://host.example/a.png",   SourceForbidden,  "http or https"),
    ("//host.example/a.png",       BadRequest,       "only base64"),
    ("data:image/png,abc",         BadRequest,       "a data URI in base64"),
    ("data:image/png;base64",      BadRequest,       "a data URI in base64"),
    ("photo.png",                  BadRequest,       "only base64"),
    ("YWJjZ",                      BadRequest,       "complete base64"),
]
# fmt: on


@pytest.mark.parametrize(("text", "kind", "words"), NO_PICTURES)
def test_an_img_that_is_not_an_image_is_refused(text: str, kind: type[Problem], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        PIXLAB.order(image_request("resize", img=text, width=3))
    assert PIXLAB.error_response(caught.value, ImageRequest("resize")).status == 400
    assert not text or repr(text) not in str(caught.value)


# ---------------------------------------------------------------------------------------------- endpoints and keys

# fmt: off
METHODS = [
    # endpoint       GET    POST   others
    ("crop",         True,  True),
    ("smartcrop",    True,  True),
    ("resize",       True,  True),
    ("smartresize",  True,  True),
    ("cropgif",      True,  True),
    ("resizegif",    True,  True),
    ("scale",        True,  True),
    ("minify",       True,  True),
    ("magnify",      True,  True),
    ("thumbnail",    True,  True),
    ("webfit",       True,  True),
    ("merge",        False, True),
    ("facedetect",   True,  True),
    ("store",        False, True),
    ("delete",       True,  False),
]
# fmt: on


@pytest.mark.parametrize(("endpoint", "get", "post"), METHODS)
def test_an_endpoint_takes_its_methods(endpoint: str, get: bool, post: bool) -> None:
    allowed = {"GET": get, "POST": post, "HEAD": False, "PUT": False, "get": False}
    for method, fine in allowed.items():
        request = ImageRequest(endpoint, method=method)
        if fine:
            assert PIXLAB.endpoint(request).value == endpoint
            continue
        with pytest.raises(MethodNotAllowed, match=f"{endpoint}: expected") as caught:
            PIXLAB.endpoint(request)
        answer = PIXLAB.error_response(caught.value, request)
        assert answer.status == 405
        assert dict(answer.headers)["Allow"] == ", ".join((*[m for m in ("GET", "POST") if allowed[m]], "OPTIONS"))


@pytest.mark.parametrize("path", ["newimage", "", "/", "crop/x", "Crop", "v1/\r\nSet-Cookie"])
def test_an_endpoint_that_is_not_offered_is_not_found(path: str) -> None:
    with pytest.raises(NotFound, match="is not offered here") as caught:
        PIXLAB.order(ImageRequest(path))
    assert PIXLAB.error_response(caught.value, ImageRequest(path)).status == 404


@pytest.mark.parametrize("endpoint", ["composite", "gifcomposite", "nsfw"])
def test_the_404_lists_the_endpoints_that_are_offered(endpoint: str) -> None:
    with pytest.raises(NotFound) as caught:
        PIXLAB.order(ImageRequest(endpoint))
    offered = {name for name, _, _ in METHODS}
    assert set(caught.value.fix.removeprefix("use one of ").split(", ")) == offered


# fmt: off
SCALED = [
    # endpoint      fields                                  size of the result of 401x300
    ("scale",       "scale=50",                             (201, 150)),
    ("scale",       "scale=1",                              (4, 3)),
    ("scale",       "scale=100",                            (401, 300)),
    ("scale",       "scale=500",                            (2005, 1500)),
    ("minify",      "",                                     (201, 150)),
    ("minify",      "width=9",                              (201, 150)),
    ("magnify",     "",                                     (802, 600)),
    ("thumbnail",   "width=100&height=80",                  (100, 80)),
    ("webfit",      "width=9",                              (320, 240)),
]
# fmt: on


@pytest.mark.parametrize(("endpoint", "query", "size"), SCALED)
def test_sizes_of_the_scaling_endpoints(endpoint: str, query: str, size: tuple[int, int]) -> None:
    order = PIXLAB.order(ImageRequest(endpoint, query, upload="0" * 64))
    assert order.plan is not None
    recipe = resolve(order.plan, [Info(Format.PNG, Size(401, 300), 9000)])
    assert isinstance(recipe, Recipe)
    assert (recipe.size.width, recipe.size.height) == size
    keeps = KeepMetadata.ICC in order.plan.output.metadata
    assert keeps == (endpoint not in ("thumbnail", "webfit")), "a thumbnail has no profile"


@pytest.mark.parametrize("query", ["", "scale=0", "scale=501", "scale=-5", "scale=x"])
def test_a_scale_is_a_percentage(query: str) -> None:
    with pytest.raises(BadRequest, match="scale: expected a"):
        PIXLAB.order(ImageRequest("scale", query, upload="0" * 64))


# fmt: off
KEYS: list[tuple[ImageRequest, str | None]] = [
    (ImageRequest("crop", "key=abc"),                                                       "abc"),
    (ImageRequest("crop", "", {"www-authenticate": " abc "}),                               "abc"),
    (ImageRequest("crop", "key=abc", {"www-authenticate": "def"}),                          "abc"),   # a parameter wins
    (ImageRequest("crop", "key=", {"www-authenticate": "def"}),                         "def"),   # empty: absent
    (ImageRequest("crop", "key=abc", method="POST", fields={"key": "def"}),        "def"),   # the body before the query
    (ImageRequest("crop", "key=abc", method="POST", fields={"key": ""}),                    "abc"),
    (ImageRequest("crop", "key=abc&key=def"),                                               "def"),
    (ImageRequest("crop", "", {"authorization": "abc"}),                                    None),
    (ImageRequest("crop", "", {"www-authenticate": " "}),                                   None),
    (ImageRequest("crop"),                                                                  None),
]
# fmt: on


@pytest.mark.parametrize(("request_", "key"), KEYS)
def test_the_key(request_: ImageRequest, key: str | None) -> None:
    assert PIXLAB.key_of(request_) == key


@pytest.mark.parametrize("key", [None, "not-a-valid-key-0000"])
def test_an_error_for_an_unknown_key_does_not_contain_it(key: str | None) -> None:
    answer = PIXLAB.error_response(PIXLAB.unauthorized(key), ImageRequest("crop"))
    assert answer.status == 401
    assert b"WWW-Authenticate" in answer.body
    assert b"not-a-valid" not in answer.body


def test_a_pure_order_needs_no_key() -> None:
    assert order("resize", width=3).plan is not None
    assert PIXLAB.request_headers == ("www-authenticate",)


# ---------------------------------------------------------------------------------------------- other requests


def test_facedetect_has_an_image_and_count() -> None:
    boxes, number = (PIXLAB.parse_request(image_request("facedetect", img=IMG, count=c, x="?")) for c in ("", "true"))
    assert isinstance(boxes, FindFaces)
    assert isinstance(number, FindFaces)
    assert (boxes.count, number.count) == (False, True)
    assert boxes.order.sources == (fetched(IMG),)
    assert boxes.order.delivery.untrusted


def test_store_keeps_the_upload_unchanged() -> None:
    request = PIXLAB.parse_request(ImageRequest("store", method="POST", fields={"comment": "sea"}, upload=DIGEST))
    assert request == StoreUpload(Order((FILE,), None, Delivery(private=True, untrusted=True)), "sea")


def test_store_takes_only_an_upload() -> None:
    with pytest.raises(BadRequest, match="file: expected an upload, got none"):
        PIXLAB.parse_request(ImageRequest("store", f"img={IMG}", method="POST"))


def test_delete_names_a_link() -> None:
    assert PIXLAB.parse_request(image_request("delete", link=" https://m.example/a.png ")) == DeleteResult(
        "https://m.example/a.png"
    )
    with pytest.raises(BadRequest, match="link: expected the link of a stored result, got none"):
        PIXLAB.parse_request(image_request("delete", link=""))


@pytest.mark.parametrize(
    "request_",
    [image_request("facedetect", img=IMG), image_request("delete", link="x"), image_request("store", "POST")],
)
def test_an_endpoint_without_an_image_has_no_order(request_: ImageRequest) -> None:
    with pytest.raises(BadRequest):
        PIXLAB.order(request_)


# ---------------------------------------------------------------------------------------------- the table


@pytest.mark.parametrize("param", PixLab.params, ids=lambda p: p.name)
def test_every_example_of_the_reference_holds_its_own_pattern(param: object) -> None:
    row = next(p for p in PixLab.params if p is param)
    ((name, text),) = parse_qsl(row.example)
    assert name == row.name
    assert re.search(row.pattern, text)
    assert row.source.startswith("https://")
