"""The explanation as a page, the page of an error in development, and the sign-in of a production server."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from starlette.requests import Request

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.dialects.kontent.dialect import Kontent
from cropmark.explanation import explain_request
from cropmark.explanation.parameters import Reading, parameter_readings
from cropmark.model.problems import Forbidden
from cropmark.web.sessions import COOKIE, LIFETIME_S
from cropmark.web.sign_in import check_same_origin
from tests.web.asgi_client import FakePipeline, app_of, respond
from tests.web.server_process import TOKEN, Running, running

HTML = {"Accept": "text/html,application/xhtml+xml,image/webp,*/*;q=0.8"}
TYPE_NAMES = re.compile(r"\b(Extract|Embed|Recipe|Plan|Order|OriginalBytes|Encoding|Ratio|Pixels)\b|\b[A-Z][a-zA-Z]+\(")


def readings(dialect: Fastly | Kontent, query: str) -> dict[str, Reading]:
    request = ImageRequest("a.jpg", query)
    found = parameter_readings(explain_request(dialect, request), request)
    return {each.name: each.reading for each in found if each.reading is not Reading.DEFAULT}


def test_each_parameter_is_read_in_its_own_way() -> None:
    assert readings(Fastly(), "width=300&wdith=3&utm=1&height=&fit=x") == {
        "width": Reading.UNDERSTOOD,
        "wdith": Reading.UNKNOWN,
        "utm": Reading.UNKNOWN,
        "height": Reading.IGNORED,
        "fit": Reading.IGNORED,
    }
    assert readings(Fastly(), "width=0") == {"width": Reading.REFUSED}
    assert readings(Kontent(), "w=300&q=200") == {"w": Reading.UNDERSTOOD, "q": Reading.CHANGED}


def test_all_other_parameters_have_their_default() -> None:
    request = ImageRequest("a.jpg", "width=1")
    found = parameter_readings(explain_request(Fastly(), request), request)
    assert len(found) == len(Fastly.params)
    assert [each.text for each in found if each.name == "quality"] == ["85"]


def test_a_browser_gets_the_explanation_as_a_page(server: Running) -> None:
    url = "/fastly/wide.jpg?crop=1:1&width=50&pad=2&wdith=9&format=webp"
    page = server.get(f"/_explain?url={url}", headers=HTML)
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for words in (
        *("did you mean width?", "Crop to 200x200 px, which cuts off 100 px left, 100 px right", "54x54 px"),
        *(
            "WebP, quality 85",
            "the request names it",
            "Cache key",
            "ms of one core",
            "kontent",
            "smaller than the source",
        ),
    ):
        assert words in page.text, words
    assert page.text.count("<svg") == 4
    assert TYPE_NAMES.findall(re.sub(r"<[^>]*>", " ", page.text.partition("In other services")[0])) == []


# fmt: off
PICTURES = [
    # query                                         sizes of the pictures: the source, then after each operation
    ("width=100",                                   [(264, 132), (100, 50)]),
    ("crop=1:1&width=50&pad=2&format=webp",         [(264, 132), (176, 176), (50, 50), (54, 54)]),
    ("crop=1:1&blur=9&bw=threshold,60",             [(264, 132), (176, 176), (176, 176), (176, 176)]),
    ("",                                            [(264, 132)]),
]
# fmt: on


@pytest.mark.parametrize(("query", "sizes"), PICTURES)
def test_each_step_has_a_picture_of_the_frame_after_it(
    server: Running, query: str, sizes: list[tuple[int, int]]
) -> None:
    page = server.get(f"/_explain?url=/fastly/wide.jpg?{query}", headers=HTML).text
    found = re.findall(r'<img src="(/_explain\.png\?step=[^"]*)" width="(\d+)" height="(\d+)"', page)
    assert [(int(width), int(height)) for _, width, height in found] == sizes
    for (source, _, _), size in zip(found, sizes, strict=True):
        reply = server.get(source.replace("&amp;", "&"))
        assert (reply.status_code, Image.open(io.BytesIO(reply.content)).size) == (200, size), source


def test_the_picture_of_a_step_is_the_frame_after_it(server: Running) -> None:
    """After the second step the image is black and white, after the first it is not."""
    url = "url=/fastly/wide.jpg?blur=2&bw=threshold,60"
    colors = []
    for step in (0, 1, 2):
        picture = Image.open(io.BytesIO(server.get(f"/_explain.png?step={step}&{url}").content))
        colors.append(len(picture.convert("RGB").getcolors(99_999) or ()))
    assert colors[2] < colors[1] / 4
    assert server.get(f"/_explain.png?step=9&{url}").status_code == 404


@pytest.mark.parametrize("accept", ["application/json", "*/*"])
def test_other_clients_get_json(server: Running, accept: str) -> None:
    reply = server.get("/_explain?url=/fastly/wide.jpg?width=50", headers={"Accept": accept})
    assert reply.json()["recipe"]["size"]["width"] == 50


def test_a_browser_gets_json_on_request(server: Running) -> None:
    reply = server.get("/_explain?format=json&url=/fastly/wide.jpg?width=50", headers=HTML)
    assert reply.json()["recipe"]["size"]["width"] == 50


# fmt: off
PAGES = [
    # query                                     words on the page
    ("/fastly/wide.jpg?width=0",                ("expected a length above 0", "write 200, 0.5 or 50p", "refused")),
    ("/fastly/none.jpg?width=9",                ("404",)),
    ("/fastly/drawing.svg?width=9",             ("image/svg+xml", "sent unchanged")),
    ("/fastly/wide.jpg",                        ("The query has no parameters",)),
    ("/fastly/tall.png?width=%3Cscript%3E",     ("&lt;script&gt;",)),
    ("/fastly/%ff.jpg?width=%ff",               ("400", "expected")),
    ("%2Ffastly%2Fa%ff.jpg?width=10",           ("404", "/fastly/a%FF.jpg")),
    ("%2Ffastly%2Fa%25ff.jpg?width=10",         ("404", "/fastly/a%ff.jpg")),
]
# fmt: on


@pytest.mark.parametrize(("url", "words"), PAGES)
def test_requests_of_every_kind_have_a_page(server: Running, url: str, words: tuple[str, ...]) -> None:
    page = server.get(f"/_explain?url={url}", headers=HTML)
    assert page.status_code == 200
    assert [each for each in words if each not in page.text] == []
    assert "<script>" not in page.text


@pytest.mark.parametrize("page", ["/_explain", "/_explain.png"])
def test_bytes_that_are_not_utf8_are_explained(server: Running, page: str) -> None:
    reply = server.get(f"{page}?url=%2Ffastly%2Fa%ff.jpg?width=10", headers={"Accept": "application/json"})
    assert reply.status_code == (404 if page.endswith("png") else 200)


@pytest.mark.parametrize("host", ["", "https://evil.example", "//evil.example", "HTTP://evil.example:81"])
def test_the_links_of_the_page_stay_on_this_server(server: Running, host: str) -> None:
    page = server.get(f"/_explain?url={host}/fastly/wide.jpg?width=50&fit=crop", headers=HTML)
    assert f"<code>{host}/fastly/wide.jpg" in page.text
    links = re.findall(r'(?:href|src)="([^"]*)"', page.text)
    assert links.count("/fastly/wide.jpg?width=50&amp;fit=crop") == 2
    assert [link for link in links if "evil" in link] == []


@pytest.mark.parametrize("scheme", ["javascript:", "data:", "ftp://a.example"])
def test_only_urls_of_http_are_explained(server: Running, scheme: str) -> None:
    reply = server.get(f"/_explain?url={scheme}/fastly/,alert(1)//a.jpg", headers=HTML)
    assert (reply.status_code, 'href="javascript' in reply.text) == (400, False)


def test_the_json_of_the_page_is_that_of_its_url(server: Running) -> None:
    """Also if the URL is percent-encoded and has no query."""
    page = server.get("/_explain?url=/fastly/with%20space%20%26%20more/%C3%A4.png", headers=HTML)
    found = re.search(r'href="(/_explain\?format=json[^"]*)"', page.text)
    assert found is not None
    assert server.get(found[1].replace("&amp;", "&")).json()["order"]["sources"][0]["ref"]["path"] == (
        "with space & more/ä.png"
    )


# ------------------------------------------------------------------------------------------------ errors as pages

NAVIGATION = (b"sec-fetch-dest", b"document")
WRONG = b"/fastly/a.jpg?width=0&x=<b>"


def test_a_navigation_in_development_gets_a_page_with_the_fix() -> None:
    reply = respond(app_of(FakePipeline()), WRONG, headers=[NAVIGATION])
    assert reply.status == 400
    assert reply.header("content-type") == "text/html; charset=utf-8"
    assert reply.header("cache-control") == "no-store"
    text = reply.body.decode()
    for words in ("write 200, 0.5 or 50p", "/reference/io/width", "/_explain?url=", "/_playground#/fastly/a.jpg"):
        assert words in text, words
    assert "<b>" not in text


@pytest.mark.parametrize("headers", [[], [(b"sec-fetch-dest", b"image")], [(b"sec-fetch-dest", b"empty")]])
def test_every_other_request_gets_the_dialects_own_error(headers: list[tuple[bytes, bytes]]) -> None:
    in_production = respond(app_of(FakePipeline(), production=True), WRONG, headers=[NAVIGATION])
    reply = respond(app_of(FakePipeline()), WRONG, headers=headers)
    assert reply.body == in_production.body
    assert (reply.status, in_production.status) == (400, 400)
    assert [h for h in reply.headers if h[0] != b"x-request-id"] == [
        h for h in in_production.headers if h[0] != b"x-request-id"
    ]


def test_a_missing_page_is_a_page_too(server: Running) -> None:
    assert "text/html" in server.get("/nothing", headers={"Sec-Fetch-Dest": "document"}).headers["content-type"]
    assert server.get("/nothing").headers["content-type"] == "application/problem+json"


# ------------------------------------------------------------------------------------------------ sign-in


@pytest.fixture(scope="module")
def live(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    environment = {"CROPMARK_PRODUCTION": "true", "CROPMARK_PIXLAB_ALLOW_ANY_HOST": "false"}
    environment["CROPMARK_PIXLAB_KEY"] = "p" * 40
    environment["CROPMARK_TRUSTED_PROXIES"] = "127.0.0.1"
    with running(str(pictures), cache=tmp_path_factory.mktemp("signed") / "cache", environment=environment) as found:
        yield found


EXPLAIN = "/_explain?url=/fastly/wide.jpg?width=50"


def test_a_browser_signs_in_and_returns_to_its_page(live: Running) -> None:
    with httpx.Client(base_url=live.address, trust_env=False, follow_redirects=True, headers=HTML) as client:
        form = client.get(EXPLAIN)
        assert form.url.path == "/_sign-in"
        destination = re.search(r'name="next" value="([^"]*)"', form.text)
        assert destination is not None
        wrong = client.post("/_sign-in", data={"token": "guess", "next": destination[1]})
        assert (wrong.status_code, "not the admin token" in wrong.text, len(client.cookies)) == (401, True, 0)
        shown = client.post("/_sign-in", data={"token": TOKEN, "next": destination[1]})
        assert (shown.status_code, "Why this image?" in shown.text) == (200, True)
        assert client.get(EXPLAIN).status_code == 200


def test_the_playground_needs_a_session_in_production(live: Running) -> None:
    assert live.get("/").status_code == 404
    assert live.get("/_playground", headers=HTML).headers["location"] == "/_sign-in?next=/_playground"
    assert live.get("/_playground/data").status_code == 401
    assert live.get("/_playground/render?url=/fastly/a.jpg", method="POST").status_code == 401
    with httpx.Client(base_url=live.address, trust_env=False, follow_redirects=True, headers=HTML) as client:
        assert "cropmark playground" in client.post("/_sign-in", data={"token": TOKEN}).text
        assert client.get("/_playground/data").json()["sites"]
        foreign = {"Sec-Fetch-Site": "cross-site"}
        assert client.get("/_playground/data", headers=foreign).status_code == 403


def test_the_cookie_is_for_the_pages_only(live: Running) -> None:
    reply = httpx.post(live.address + "/_sign-in", data={"token": TOKEN}, trust_env=False)
    cookies = reply.headers.get_list("set-cookie")
    assert (reply.status_code, reply.headers["location"]) == (303, "/_playground")
    assert {re.search("Path=([^;]*)", each)[1] for each in cookies} == {"/_explain", "/_explain.png", "/_playground"}  # type: ignore[index]
    for each in cookies:
        assert all(word in each.lower() for word in ("httponly", "samesite=strict", f"max-age={LIFETIME_S}"))
    session = cookies[0].partition(";")[0]
    assert live.get("/admin/purge", headers={"Cookie": session}, method="POST").status_code == 401
    assert live.get("/metrics", headers={"Cookie": session}).status_code == 401


@pytest.mark.parametrize(("scheme", "secure"), [("https", True), ("http", False), (None, False)])
def test_the_cookie_is_secure_behind_a_proxy_with_https(live: Running, scheme: str | None, secure: bool) -> None:
    headers = {} if scheme is None else {"X-Forwarded-Proto": scheme}
    reply = httpx.post(live.address + "/_sign-in", data={"token": TOKEN}, headers=headers, trust_env=False)
    cookies = reply.headers.get_list("set-cookie")
    assert ["secure" in each.lower() for each in cookies] == [secure] * 3


@pytest.mark.parametrize(
    "destination", ["//evil.example", "https://evil.example/_explain?", "/fastly/a.jpg", "/_explain.evil"]
)
def test_the_way_back_is_one_of_our_pages(live: Running, destination: str) -> None:
    reply = httpx.post(live.address + "/_sign-in", data={"token": TOKEN, "next": destination}, trust_env=False)
    assert reply.headers["location"] == "/_playground"


@pytest.mark.parametrize("session", ["", "9999999999.", "9999999999." + "0" * 64, "1.x", "x9." + "0" * 64])
def test_a_forged_session_is_none(live: Running, session: str) -> None:
    cookie = f"{COOKIE}={session}".encode().decode("latin-1")
    assert live.get(EXPLAIN, headers={"Cookie": cookie}).status_code == 401


def test_a_page_of_another_site_cannot_use_a_session(live: Running) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Content-Type": "application/x-www-form-urlencoded"}
    reply = httpx.post(live.address + "/_sign-in", data={"token": TOKEN}, headers=headers, trust_env=False)
    assert reply.status_code == 403


def test_errors_of_images_are_the_dialects_in_production(live: Running) -> None:
    reply = live.get("/fastly/wide.jpg?width=0", headers={**HTML, "Sec-Fetch-Dest": "document"})
    assert reply.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("headers", "is_allowed"),
    [
        pytest.param({}, True, id="no browser"),
        pytest.param({"sec-fetch-site": "same-origin", "origin": "https://proxy.example"}, True, id="behind a proxy"),
        pytest.param({"sec-fetch-site": "none"}, True, id="the address bar"),
        pytest.param({"sec-fetch-site": "cross-site"}, False, id="another site"),
        pytest.param({"sec-fetch-site": "same-site", "origin": "http://img.example:8000"}, False, id="a subdomain"),
        pytest.param({"origin": "http://img.example:8000"}, True, id="plain HTTP"),
        pytest.param({"origin": "http://evil.example"}, False, id="another site over plain HTTP"),
        pytest.param({"origin": "http://img.example"}, False, id="another port over plain HTTP"),
        pytest.param({"origin": "null"}, False, id="a sandboxed page"),
    ],
)
def test_pages_of_other_sites_cannot_use_ours(headers: dict[str, str], *, is_allowed: bool) -> None:
    sent = [(name.encode(), value.encode()) for name, value in {"host": "img.example:8000", **headers}.items()]
    request = Request({"type": "http", "headers": sent})
    if is_allowed:
        check_same_origin(request)
    else:
        with pytest.raises(Forbidden):
            check_same_origin(request)
