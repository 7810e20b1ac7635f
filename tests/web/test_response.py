"""Responses of a running server over HTTP."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from cropmark.dialects.fastly.dialect import Fastly
from cropmark.dialects.registry import folder_entries
from cropmark.plan.plan import Delivery, Order
from cropmark.plan.source import SitePath, SourceRequest, UploadRef, WebUrl
from cropmark.ports import Record, SourceVersion
from cropmark.web.response import age_headers, cache_control
from tests.web.asgi_client import NoSource, fastly
from tests.web.server_process import TOKEN, Running

WIDE = "/fastly/wide.jpg?width=100"
ORIGIN = SourceVersion("web:a", "1", cache_control="max-age=60", fetched_s=1000.0)


def size(body: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(body)).size


# fmt: off
PICTURES = [
    # path and query                                        type          size
    ("/fastly/wide.jpg?width=100",                          "image/jpeg", (100, 50)),
    ("/fastly/wide.jpg?crop=1:1&format=webp",               "image/webp", (200, 200)),
    ("/fastly/tall.png?height=30",                          "image/png",  (10, 30)),
    ("/fastly/moving.gif?width=32",                         "image/gif",  (32, 24)),
    ("/fastly/with%20space%20%26%20more/%C3%A4.png?width=10", "image/png", (10, 10)),   # decoded once
    ("/fastly//wide.jpg?width=0",                           "text/plain", None),
    ("/contentstack/wide.jpg?width=100&environment=production", "image/jpeg", (100, 50)),
    ("/kontent/wide.jpg?w=100",                             "image/jpeg", (100, 50)),
]
# fmt: on


@pytest.mark.parametrize(("path", "media_type", "wanted"), PICTURES)
def test_images(server: Running, path: str, media_type: str, wanted: tuple[int, int] | None) -> None:
    reply = server.get(path)
    assert reply.headers["content-type"].split(";")[0] == media_type
    if wanted is None:
        assert reply.status_code == 400
    else:
        assert reply.status_code == 200
        assert size(reply.content) == wanted


# fmt: off
MISSING = [
    "/fastly/no-such.jpg?width=10",
    "/fastly/notes.html",                      # not an image, and not a file that is sent
    "/fastly/",
    "/fastly/with%20space%20%26%20more",       # a folder
    "/fastly/../wide.jpg",
    "/fastly/%2e%2e/%2e%2e/etc/passwd",
    "/fastly/..%2f..%2fetc/passwd",
    "/fastly/%252e%252e/etc/passwd",
    "/fastly/wide.jpg%00",
    "/fastly/a%5c..%5cwide.jpg",
    "/fastly//etc/passwd",
    "/fastly/" + "a" * 3000,
    "/no-such-page",
    "/fastlywide.jpg",
]
# fmt: on


@pytest.mark.parametrize("path", MISSING)
def test_check_22_missing_without_detail(server: Running, path: str) -> None:
    reply = server.get(path)
    assert reply.status_code == 404
    assert "passwd" not in reply.text
    assert reply.headers["cache-control"] == "no-store"


# fmt: off
REFUSED = [
    # path                               method    status  words
    ("/fastly/wide.jpg?crop=2000,10",    "GET",    400,    "region out of bounds"),
    ("/fastly/wide.jpg?width=abc",       "GET",    400,    "width"),
    ("/fastly/wide.jpg",                 "POST",   405,    "GET"),
    ("/fastly/wide.jpg",                 "DELETE", 405,    "GET"),
    ("/fastly/wide.jpg?" + "a" * 9000,   "GET",    414,    "8192"),
    ("/contentstack/wide.jpg?width=abc", "GET",    400,    "error_message"),
    ("/contentstack/wide.jpg?environment=staging", "GET", 404, "145"),
]
# fmt: on


@pytest.mark.parametrize(("path", "method", "status", "words"), REFUSED)
def test_error_responses(server: Running, path: str, method: str, status: int, words: str) -> None:
    reply = server.get(path, method=method)
    assert reply.status_code == status
    assert words in reply.text
    assert "Traceback" not in reply.text
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_errors_are_json_on_request(server: Running) -> None:
    reply = server.get("/fastly/wide.jpg?width=0", headers={"Accept": "application/json"})
    assert reply.headers["content-type"].startswith("application/problem+json")
    body = json.loads(reply.content)
    assert body["status"] == 400
    assert "width" in json.dumps(body)


def test_too_many_header_bytes(server: Running) -> None:
    reply = server.get(WIDE, headers={"X-Long": "a" * 33_000})
    assert reply.status_code == 431


@pytest.mark.parametrize(
    "path", [WIDE, "/", "/healthz", "/fastly/none.jpg", "/admin/purge", "/metrics", "/fastly/wide.jpg?width=0"]
)
def test_check_45_every_route_is_inert(server: Running, path: str) -> None:
    reply = server.get(path)
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers.get("server") == "cropmark"
    assert not reply.headers["content-type"].startswith("text/html") or "content-security-policy" in reply.headers


def test_every_header_of_an_image(server: Running) -> None:
    path = "/fastly/wide.jpg?width=77"
    first, second = server.get(path), server.get(path)
    assert "cache;desc=miss" in first.headers["server-timing"]
    assert re.search(r"render;dur=\d", first.headers["server-timing"])
    assert second.headers["server-timing"] == "cache;desc=hit-memory"
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    for name in ("etag", "cache-control", "last-modified", "content-type", "fastly-io-info", "fastly-stats"):
        assert first.headers[name] == second.headers[name]
    assert first.content == second.content


def test_check_38_vary_only_if_accept_may_matter(server: Running) -> None:
    assert "vary" not in server.get(WIDE).headers
    for accept in ("image/webp", "*/*", "image/jpeg"):
        assert server.get("/fastly/wide.jpg?auto=webp&width=90", headers={"Accept": accept}).headers["vary"] == "Accept"
    assert server.get("/fastly/wide.jpg?auto=webp&width=0").headers["vary"] == "Accept"
    assert server.get("/contentstack/wide.jpg?auto=webp").headers["vary"] == "Accept"
    gif = server.get("/contentstack/moving.gif?auto=webp")  # which Contentstack never converts
    again = server.get("/contentstack/moving.gif?auto=webp", headers={"If-None-Match": gif.headers["etag"]})
    assert again.status_code == 304
    assert not {"vary"} & {*gif.headers, *again.headers}


# fmt: off
REFUSALS = [
    # method  path                                         vary
    ("GET",  "/kontent/no-such.jpg?w=9",                   None),
    ("GET",  "/kontent/no-such.jpg?w=9&auto=format",       "Accept"),   # a picture in its place would have had it
    ("GET",  "/contentstack/no-such.jpg?width=9",          None),
    ("GET",  "/contentstack/no-such.jpg?auto=webp",        "Accept"),
    ("GET",  "/fastly/no-such.jpg?width=9",                None),
    ("GET",  "/fastly/no-such.jpg?auto=webp",              "Accept"),
    ("POST", "/kontent/wide.jpg?auto=format",              None),       # no reply to a POST has a format
]
# fmt: on


@pytest.mark.parametrize(("method", "path", "vary"), REFUSALS)
def test_check_38_an_error_response_varies_as_its_image_would(
    server: Running, method: str, path: str, vary: str | None
) -> None:
    reply = server.get(path, method=method)
    assert reply.status_code in (404, 405)
    assert reply.headers.get("vary") == vary


def test_a_304_repeats_cors_and_vary(server: Running) -> None:
    overlaid = {"x-fastly-imageopto-overlay": "overlay=/fastly/tall.png"}
    for path, headers in (("/kontent/wide.jpg?w=70&auto=format", {}), ("/fastly/wide.jpg?width=71", overlaid)):
        whole = server.get(path, headers=headers)
        again = server.get(path, headers={**headers, "If-None-Match": whole.headers["etag"]})
        assert again.status_code == 304
        for name in ("access-control-allow-origin", "vary", "cache-control", "etag", "last-modified"):
            assert again.headers.get_list(name) == whole.headers.get_list(name)


def test_negotiated_formats_do_not_share_an_entry(server: Running) -> None:
    path = "/fastly/wide.jpg?auto=webp&width=91"
    types = [server.get(path, headers={"Accept": a}).headers["content-type"] for a in ("image/webp", "*/*") * 2]
    assert types == ["image/webp", "image/jpeg"] * 2


# fmt: off
CONDITIONAL = [
    # header               value                              status
    ("If-None-Match",      "{etag}",                          304),
    ("If-None-Match",      'W/{etag}, "other"',               304),
    ("If-None-Match",      "*",                               304),
    ("If-None-Match",      '"other"',                         200),
    ("If-Modified-Since",  "{modified}",                      304),
    ("If-Modified-Since",  "Thu, 01 Jan 1970 00:00:00 GMT",   200),
    ("If-Modified-Since",  "nonsense",                        200),
]
# fmt: on


@pytest.mark.parametrize(("name", "value", "status"), CONDITIONAL)
def test_conditional_requests(server: Running, name: str, value: str, status: int) -> None:
    known = server.get(WIDE)
    text = value.format(etag=known.headers["etag"], modified=known.headers["last-modified"])
    reply = server.get(WIDE, headers={name: text})
    assert reply.status_code == status
    if status == 304:
        assert reply.content == b""
        assert reply.headers["etag"] == known.headers["etag"]
        assert reply.headers["cache-control"] == known.headers["cache-control"]


def test_head_is_get_without_a_body(server: Running) -> None:
    for path in (WIDE, "/fastly/wide.jpg?width=78", "/fastly/broken.jpg?width=10"):
        head, get = server.get(path, method="HEAD"), server.get(path)
        assert head.status_code == get.status_code == 200
        assert head.content == b""
        assert head.headers["content-length"] == str(len(get.content))
        assert head.headers["etag"] == get.headers["etag"]


@pytest.mark.parametrize("path", ["/fastly/none.jpg?width=9", "/fastly/wide.jpg?crop=9999,1", "/kontent/none.jpg?w=9"])
def test_error_bodies_after_a_head_request(server: Running, path: str) -> None:
    head, *gets = server.get(path, method="HEAD"), server.get(path), server.get(path)
    assert head.content == b""
    for get in gets:
        assert get.text
        assert (get.status_code, len(get.content)) == (head.status_code, int(get.headers["content-length"]))


def test_a_broken_image_is_served_unchanged(server: Running) -> None:
    reply = server.get("/fastly/broken.jpg?width=10")
    assert reply.status_code == 200
    assert len(reply.content) == 900
    assert reply.headers["fastly-io-error"] == "Image could not be parsed"
    assert "fastly-io-info" not in reply.headers


def test_a_drawing_is_served_sandboxed(server: Running) -> None:
    reply = server.get("/fastly/drawing.svg")
    assert reply.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in reply.headers["content-security-policy"]


def test_health_and_metrics(server: Running) -> None:
    assert server.get("/healthz").text == "ok\n"
    ready = server.get("/readyz").json()
    assert ready["ready"] is True
    # 0 while it is replaced after a broken image; 4 with those of untrusted images, and of analyses of either kind
    assert ready["renderers"]["alive"] in range(5)
    server.get(WIDE)
    reply = server.get("/metrics").text
    for name in (
        "cropmark_requests_total{",
        "cropmark_render_stage_duration_seconds_bucket{",
        "cropmark_cache_hits_total{",
        "cropmark_request_duration_seconds_bucket{",
        "cropmark_renderer_processes ",
        "cropmark_saved_bytes_total",
        "cropmark_queue_tasks ",
        'cropmark_cache_entries{tier="originals"} ',
        'cropmark_render_stage_duration_seconds_count{stage="fetch"} ',
        "process_resident_memory_bytes ",
    ):
        assert name in reply, name
    assert re.search(r'cropmark_build_info\{libvips="8[.\d]+",python="3[.\d]+",version="\d[.\d]+"\} 1\.0', reply), (
        "versions"
    )
    assert "_created" not in reply


def test_explain_returns_order_and_recipe(server: Running) -> None:
    reply = server.get("/_explain?url=/fastly/wide.jpg?crop=1:1&width=50").json()
    assert reply["recipe"]["size"] == {"type": "Size", "width": 50, "height": 50}
    assert [step["type"] for step in reply["order"]["plan"]["steps"]] == ["Crop", "Resize"]
    assert server.get("/_explain").status_code == 400


# fmt: off
EXPLAINED = [
    # url=                                                       path and query, encoded or not
    "/fastly/wide.jpg?crop=1:1&width=50",
    "/fastly/wide.jpg%3Fcrop%3D1%3A1%26width%3D50",              # as quote() writes it
    "%2Ffastly%2Fwide.jpg%3fcrop=1:1%26width=50",                # as encodeURIComponent() does
    "http%3A//img.example/fastly/wide.jpg%3Fcrop%3D1%3A1%26width%3D50",
]
# fmt: on


@pytest.mark.parametrize("url", EXPLAINED)
def test_an_explained_url_may_be_encoded(server: Running, url: str) -> None:
    assert server.get(f"/_explain?url={url}").json()["recipe"]["size"] == {"type": "Size", "width": 50, "height": 50}


@pytest.mark.parametrize("page", ["_explain", "_explain.png"])
def test_invalid_urls_are_not_explained(server: Running, page: str) -> None:
    reply = server.get(f"/{page}?url=http://[::1/x")
    assert (reply.status_code, reply.json()["detail"]) == (400, "url: expected a URL, got 'http://[::1/x'")


def test_the_playground_has_the_images_and_the_controls(server: Running) -> None:
    page = server.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text == server.get("/_playground").text
    for file in re.findall(r'(?:href|src)="(/_static/[^"]*)"', page.text):
        assert server.get(file).status_code == 200, file
    told = server.get("/_playground/data").json()
    fastly_site = next(site for site in told["sites"] if site["dialect"] == "fastly")
    paths = {each["path"] for each in fastly_site["images"]}
    assert {"wide.jpg", "with space & more/ä.png"} <= paths
    assert "notes.txt" not in paths
    with_images = [site["dialect"] for site in told["sites"] if site["images"]]
    assert with_images == [entry.name for entry in folder_entries()]
    controls = {each["name"]: each for each in fastly_site["controls"]}
    assert len(controls) == len(Fastly.params)
    assert (controls["fit"]["kind"], controls["fit"]["options"]) == ("choice", ["bounds", "cover", "crop"])
    contrast = controls["contrast"]
    assert (contrast["kind"], contrast["min"], contrast["max"]) == ("range", -100, 100)
    assert (controls["bg-color"]["kind"], controls["crop"]["kind"]) == ("color", "text")


def test_an_image_in_the_body_is_rendered_privately(server: Running, pictures: Path) -> None:
    url = server.address + "/_playground/render?url=/fastly/mine.jpg?width=40"
    reply = httpx.post(url, content=(pictures / "wide.jpg").read_bytes(), trust_env=False)
    assert (reply.status_code, reply.headers["content-type"], size(reply.content)) == (200, "image/jpeg", (40, 20))
    assert reply.headers["cache-control"] == "no-store"
    text = httpx.post(url, content=b"not an image", trust_env=False)
    assert (text.status_code, text.json()["detail"]) == (404, "the file at this path is not an image")
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert httpx.post(url, content=b"x", headers=foreign, trust_env=False).status_code == 403


def test_greeting_has_three_links_that_work(server: Running) -> None:
    links = re.findall(r"http://\S+/fastly/\S+", server.greeting)
    assert len(links) == 3
    for link in links:
        assert server.get(link.removeprefix(server.address)).status_code == 200


def test_purging_needs_the_token(server: Running) -> None:
    assert server.get("/admin/purge", method="POST").status_code == 401
    wrong = {"Authorization": "Bearer nope"}
    assert server.get("/admin/purge", method="POST", headers=wrong).status_code == 401
    right = server.get("/admin/purge", method="POST", headers={"Authorization": f"Bearer {TOKEN}"})
    assert right.status_code == 400
    assert "source" in right.json()["fix"]


# fmt: off
AGES = [
    # the rendition's source: Cache-Control, fetched   the source now: fetched   Age
    ("max-age=60",  1000.0,                            1000.0,                   "30"),
    ("max-age=60",  1000.0,                            1020.0,                   "10"),  # confirmed since
    ("max-age=60",  1000.0,                            None,                     "30"),
    (None,          1000.0,                            1000.0,                   None),   # our own max-age
    ("max-age=60",  None,                              None,                     None),
    ("max-age=60",  2000.0,                            2000.0,                   "0"),    # a clock that was set back
]
# fmt: on


@pytest.mark.parametrize(("cache_control", "rendered_from", "current", "age"), AGES)
def test_age_is_sent_with_the_origins_cache_control(
    cache_control: str | None, rendered_from: float | None, current: float | None, age: str | None
) -> None:
    """Without Age, a CDN in front serves the image for up to twice the origin's max-age."""

    class Origin(NoSource):
        def stat(self, where: SitePath | WebUrl | UploadRef) -> SourceVersion:
            return SourceVersion("web:a", "1", cache_control=cache_control, fetched_s=current)

    site = replace(fastly(), source=Origin())
    order = Order((SourceRequest(SitePath("a.jpg")),), None, Delivery(use_origin_cache_control=True))
    version = SourceVersion("web:a", "1", cache_control=cache_control, fetched_s=rendered_from)
    record = Record("image/jpeg", '"e"', 3, versions=(version,))
    assert dict(age_headers(site, order, record, 1030.0)).get(b"age") == (age and age.encode())


# fmt: off
OTHER_LIFETIMES = [
    # the record                                                             expires in
    ({"versions": (ORIGIN,)},                                                 3000.0),  # a signed URL
    ({"versions": (ORIGIN,), "expires_s": 2000.0},                           None),
    ({"versions": (ORIGIN, replace(ORIGIN, cache_control="max-age=7"))},      None),    # two origins that differ
]
# fmt: on


@pytest.mark.parametrize(("fields", "expires_in_s"), OTHER_LIFETIMES)
def test_there_is_no_age_without_the_origins_cache_control(fields: dict[str, Any], expires_in_s: float | None) -> None:
    site = fastly()
    order = Order((SourceRequest(SitePath("a.jpg")),), None, Delivery(use_origin_cache_control=True))
    record = Record("image/jpeg", '"e"', 3, **fields)
    assert cache_control(site, order, record, expires_in_s).startswith("public, max-age=")
    assert age_headers(site, order, record, 1030.0, expires_in_s) == []
