"""The management API over HTTP: authorization, error responses, and special requests of the vendor's clients."""

from __future__ import annotations

import errno
import json
from contextlib import AsyncExitStack
from tempfile import SpooledTemporaryFile
from typing import Any, cast

import httpx
import pytest
from structlog.testing import capture_logs

from cropmark.library.keys import new_secret
from cropmark.library.store import LibraryStore
from cropmark.model.assets import KeyKind, KeyScope
from cropmark.model.problems import Overloaded
from cropmark.ports import Renderers
from cropmark.web.management import body as upload_body
from tests.builders import wait_until
from tests.library.builders import Shop, png
from tests.web.server_process import TOKEN, Running

UNKNOWN = "blt0123456789abcdef"


@pytest.fixture
def ask(library_server: Running, shop: Shop) -> Any:  # a function with httpx' many arguments
    def asked(method: str, path: str, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        own = shop.headers if headers is None else headers
        with httpx.Client(trust_env=False, timeout=30) as client:
            return client.request(method, f"{library_server.address}{path}", headers=own, **more)

    return asked


def uploaded(ask: Any, name: str = "owl.png", **fields: str) -> dict[str, Any]:
    data = {f"asset[{key}]": value for key, value in fields.items()}
    answer = ask("POST", "/v3/assets", files={"asset[upload]": (name, png())}, data=data)
    assert answer.status_code == 201, answer.text
    asset: dict[str, Any] = answer.json()["asset"]
    return asset


# ------------------------------------------------------------------------------------------ authorization


def test_requests_without_the_right_token_are_rejected(ask: Any, shop: Shop) -> None:
    key, token = shop.stack.api_key, shop.token
    # fmt: off
    rows = [
        # headers                                             status  error_code
        ({},                                                     412, 109),
        ({"api_key": UNKNOWN, "authorization": token},           412, 109),
        ({"api_key": "' OR 1=1", "authorization": token},        412, 109),
        ({"api_key": key},                                       401, 105),
        ({"api_key": key, "authorization": "x" * 50},            401, 105),
        ({"api_key": key, "authtoken": ""},                      401, 105),
        ({"api_key": key, "access_token": token},                401, 105),   # not a delivery token
        ({"api_key": key, "authorization": token},               200, None),
        ({"api_key": key, "authorization": f"Bearer {token}"},   200, None),
        ({"api_key": key, "authtoken": token},                   200, None),
    ]
    # fmt: on
    for headers, status, number in rows:
        answer = ask("GET", "/v3/assets", headers)
        assert (answer.status_code, answer.json().get("error_code")) == (status, number), headers


def test_a_delivery_token_reads_what_is_published_and_nothing_else(ask: Any, shop: Shop) -> None:
    token = new_secret(KeyKind.DELIVERY)
    store = LibraryStore.open(shop.data / "library")
    store.new_key(KeyKind.DELIVERY, "reader", KeyScope(shop.stack.api_key, ("reading",)), token)
    store.close()
    reader = {"api_key": shop.stack.api_key, "access_token": token}
    asset, other = uploaded(ask, "published.png"), uploaded(ask, "draft.png")
    body = {"asset": {"locales": ["en-us"], "environments": ["reading"]}}
    assert ask("POST", f"/v3/assets/{asset['uid']}/publish", json=body).status_code == 200
    wait_until(lambda: ask("GET", "/v3/assets?environment=reading", reader).status_code == 200)
    answer = ask("GET", "/v3/assets?environment=reading", reader)
    assert [one["uid"] for one in answer.json()["assets"]] == [asset["uid"]]
    assert ask("GET", f"/v3/assets/{asset['uid']}?environment=reading", reader).status_code == 200
    assert ask("GET", f"/v3/assets/{other['uid']}?environment=reading", reader).status_code == 422
    assert ask("GET", "/v3/assets", reader).status_code == 422
    assert ask("GET", "/v3/assets?environment=production", reader).json()["error_code"] == 162
    uid = ask("GET", "/v3/environments/reading").json()["environment"]["uid"]
    assert ask("GET", f"/v3/assets?environment={uid}", reader).status_code == 200
    assert ask("DELETE", f"/v3/assets/{asset['uid']}", reader).status_code == 403


# ------------------------------------------------------------------------------------------ traps


def test_json_without_a_content_type_is_json(ask: Any) -> None:
    asset = uploaded(ask)
    body = json.dumps({"asset": {"locales": ["en-us"], "environments": ["production"]}, "version": 1}).encode()
    answer = ask("POST", f"/v3/assets/{asset['uid']}/publish", content=body)
    assert "content-type" not in answer.request.headers
    assert answer.json() == {"notice": "Asset sent for publishing."}


def test_a_form_may_come_in_pieces_without_a_length(ask: Any, shop: Shop) -> None:
    whole = httpx.Request("POST", "http://x", files={"asset": ("a b/ä.png", png())})
    content_type = whole.headers["content-type"]
    body = whole.read()
    answer = ask(
        "POST",
        "/v3/assets",
        {**shop.headers, "content-type": content_type},
        content=(body[at : at + 7] for at in range(0, len(body), 7)),
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["asset"]["filename"] == "ä.png"
    assert answer.json()["asset"]["url"].endswith("/%C3%A4.png")


def test_versions_have_names(ask: Any) -> None:
    path = f"/v3/assets/{uploaded(ask)['uid']}/versions"
    # fmt: off
    rows = [
        # method    below    body                                          status  error_code
        ("POST",   "/1/name", {"asset": {"_version_name": "the first"}},      201, None),
        ("POST",   "/1/name", {"_version_name": "the very first"},            201, None),
        ("POST",   "/1/name", {"asset": {}},                                  422, 422),
        ("POST",   "/1/name", {"asset": {"_version_name": "x" * 256}},        422, 422),
        ("POST",   "/2/name", {"asset": {"_version_name": "the second"}},     422, 145),
        ("POST",   "/x/name", {"asset": {"_version_name": "the second"}},     422, 422),
        ("DELETE", "/2/name", None,                                           422, 145),
    ]
    # fmt: on
    for method, below, body, status, number in rows:
        answer = ask(method, path + below, json=body)
        assert (answer.status_code, answer.json().get("error_code")) == (status, number), (method, below, body)
    assert [v["_version_name"] for v in ask("GET", f"{path}?named=true").json()["versions"]] == ["the very first"]
    assert ask("DELETE", f"{path}/1/name").status_code == 200
    assert ask("GET", f"{path}?named=true").json()["versions"] == []


# fmt: off
MISSING = [
    # path                    the message                          the parameter
    (f"assets/{UNKNOWN}",     "Asset was not found.",              "uid"),
    ("environments/zz",       "environment not found",      "name"),
    (f"assets?folder={UNKNOWN}", "folder not found",        "folder"),
]
# fmt: on


@pytest.mark.parametrize(("path", "message", "parameter"), MISSING)
def test_missing_items_are_reported_by_their_kind(ask: Any, path: str, message: str, parameter: str) -> None:
    answer = ask("GET", f"/v3/{path}")
    report = {"error_message": message, "error_code": 145, "errors": {parameter: ["is not valid."]}}
    assert (answer.status_code, answer.json()) == (422, report)


def test_the_bytes_decide_the_media_type(ask: Any) -> None:
    answer = ask("POST", "/v3/assets", files={"asset[upload]": ("a.jpg", png(), "text/html")})
    assert answer.json()["asset"]["content_type"] == "image/png"


def test_fields_that_an_sdk_sends_back_unchanged_are_ignored(ask: Any) -> None:
    asset = uploaded(ask, title="One", tags=" a, b ,, ")
    assert asset["tags"] == ["a", "b"]
    body = {"asset": {**asset, "title": "Two", "uid": UNKNOWN, "_version": 9, "file_size": "1", "ACL": []}}
    found = ask("PUT", f"/v3/assets/{asset['uid']}", json=body).json()["asset"]
    assert (found["title"], found["uid"], found["_version"], found["file_size"]) == (
        "Two",
        asset["uid"],
        1,
        asset["file_size"],
    )


# ------------------------------------------------------------------------------------------ calls


def test_a_permanent_url_is_set_once_and_leads_to_the_newest(ask: Any, shop: Shop, library_server: Running) -> None:
    asset = uploaded(ask)
    base = f"{library_server.address}/v3/assets/{shop.stack.api_key}/{asset['uid']}"
    for slug in ("", ".", "..", "%2e%2E", "a%2Fb", "a%00", "%ff", "%20", "x" * 256):
        body = {"asset": {"permanent_url": f"{base}/{slug}"}}
        answer = ask("PUT", f"/v3/assets/{asset['uid']}", json=body)
        assert (answer.status_code, answer.json()["error_code"]) == (422, 422), slug
    body = {"asset": {"permanent_url": f"{base}/our-owl"}}
    assert ask("PUT", f"/v3/assets/{asset['uid']}", json=body).json()["asset"]["permanent_url"] == f"{base}/our-owl"
    answer = library_server.get(f"/v3/assets/{shop.stack.api_key}/{asset['uid']}/our-owl?width=10")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=300")
    body = {"asset": {"permanent_url": f"{base}/another"}}
    assert ask("PUT", f"/v3/assets/{asset['uid']}", json=body).status_code == 422


def test_dimensions_details_and_branches_are_returned_on_request(ask: Any, shop: Shop) -> None:
    draft = {**shop.headers, "branch": "draft"}
    query = "include_dimension=true&include_branch=true&relative_urls=true&include_publish_details=true"
    answer = ask("POST", f"/v3/assets?{query}", draft, files={"asset[upload]": ("owl.png", png())})
    asset = answer.json()["asset"]
    assert asset["dimension"] == {"height": 30, "width": 40}
    assert asset["_branch"] == "draft"
    assert asset["publish_details"] == []
    assert asset["url"].startswith(f"/v3/assets/{shop.stack.api_key}/")
    assert asset["url"].endswith("/owl.png?branch=draft")
    assert ask("GET", f"/v3/assets/{asset['uid']}").json()["error_code"] == 145  # main has it not


def test_under_the_prefix_urls_begin_with_the_prefix(ask: Any, library_server: Running) -> None:
    answer = ask("POST", "/contentstack/v3/assets", files={"asset[upload]": ("owl.png", png())})
    url = answer.json()["asset"]["url"]
    assert url.startswith(f"{library_server.address}/contentstack/v3/assets/")
    assert library_server.get(url.removeprefix(library_server.address)).status_code == 200


PUBLISH = {"locales": ["en-us"], "environments": ["production"]}

# fmt: off
REFUSED: list[tuple[str, str, Any, str]] = [
    # method, path below /v3/,        JSON                                               words
    ("POST", "assets/{uid}/publish",  {},                                                "an object named asset"),
    ("POST", "assets/{uid}/publish",  {"asset": {"environments": ["production"]}},       "a list of locales"),
    ("POST", "assets/{uid}/publish",  {"asset": {"locales": ["en-us"]}},                 "a list of environments"),
    ("POST", "assets/{uid}/publish",  {"asset": PUBLISH, "version": "first"},            "version: expected a whole"),
    ("POST", "assets/{uid}/publish",  {"asset": PUBLISH, "version": True},               "version: expected a whole"),
    ("POST", "assets/{uid}/publish",  {"asset": PUBLISH, "scheduled_at": "tomorrow"},    "expected a time"),
    ("PUT",  "assets/{uid}",          {"asset": {"title": "x" * 256}},                   "title: expected a text"),
    ("PUT",  "assets/{uid}",          {"asset": {"title": "a\0b"}},                      "text without NUL"),
    ("PUT",  "assets/{uid}",          {"asset": {"tags": 7}},                            "a list of at most 100 tags"),
    ("PUT",  "assets/{uid}",          {},                                                "expected an asset"),
    ("PUT",  "assets/{uid}",          {"asset": {"permanent_url": "https://else/x"}},    "permanent URL"),
    ("PUT",  "assets/{uid}",          {"asset": {"parent_uid": UNKNOWN}},                "folder not found"),
    ("PUT",  "assets/{uid}",          [1],                                               "a JSON object"),
    ("GET",  "assets?query={{",       None,                                              "query: expected JSON"),
    ("GET",  "assets?query={{\"x\":1}}", None,                                           "query: expected an object"),
    ("GET",  "assets?limit=many",     None,                                              "limit: expected a whole"),
    ("GET",  "assets?asc=size",       None,                                              "to sort by"),
    ("POST", "environments",          {"environment": {"name": ""}},                     "name: expected a text"),
]
# fmt: on


@pytest.mark.parametrize(("method", "path", "body", "words"), REFUSED)
def test_errors_name_the_invalid_field(ask: Any, method: str, path: str, body: Any, words: str) -> None:
    uid = uploaded(ask)["uid"]
    more = {} if body is None else {"json": body}
    answer = ask(method, "/v3/" + path.format(uid=uid), **more)
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["error_message"]


def test_invalid_uploads_are_rejected(ask: Any) -> None:
    # fmt: off
    rows = [
        ({"asset[upload]": ("a.png", png()[:20])},         "cannot be used"),
        ({"something": ("a.png", png())},                  "expected a file"),
    ]
    # fmt: on
    for files, words in rows:
        answer = ask("POST", "/v3/assets", files=files)
        assert answer.status_code == 422, answer.text
        assert words in answer.json()["error_message"]


# fmt: off
OTHER_FILES = [
    # name            content                         Content-Type                   Content-Disposition
    ("leaflet.pdf",   b"%PDF-1.7\n" + bytes(100),     "application/pdf",             "attachment"),
    ("clip.mp4",      b"\0\0\0\x18ftypmp42" + bytes(100), "video/mp4",              ""),
    ("favicon.ico",   b"\0\0\1\0" + bytes(100),      "image/x-icon",                ""),
    ("data.json",     b'{"a": 1}',                    "application/json",            ""),
    ("page.html",     b"<script>alert(1)</script>",   "text/html; charset=utf-8",    "attachment"),
    ("backup.sql",    b"drop table assets;",          "application/octet-stream",    "attachment"),
    ("photo.jpg",     b"no image",                    "application/octet-stream",    "attachment"),
]
# fmt: on


@pytest.mark.parametrize(("name", "content", "media_type", "disposition"), OTHER_FILES)
def test_a_file_that_is_not_an_image_is_delivered_unchanged(
    ask: Any, library_server: Running, shop: Shop, name: str, content: bytes, media_type: str, disposition: str
) -> None:
    sent = ask("POST", "/v3/assets", files={"asset[upload]": (name, content)})
    assert sent.status_code == 201, sent.text
    asset = sent.json()["asset"]
    assert asset["content_type"] == media_type
    listed = ask("GET", "/v3/assets", params={"query": json.dumps({"content_type": media_type})}).json()["assets"]
    assert asset["uid"] in [each["uid"] for each in listed]
    base = f"/v3/assets/{shop.stack.api_key}/{asset['uid']}"
    permanent = {"asset": {"permanent_url": f"{library_server.address}{base}/ours"}}
    assert ask("PUT", f"/v3/assets/{asset['uid']}", json=permanent).status_code == 200
    version = asset["url"].partition(base)[2].rpartition("/")[0]
    for path in (f"{base}{version}/{name}", f"{base}{version}/other.html", f"{base}/ours"):
        answer = library_server.get(f"{path}?width=10")
        assert (answer.status_code, answer.content) == (200, content), path
        assert answer.headers["content-type"] == media_type  # of the stored file, whatever name the URL has
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers.get("content-disposition", "").startswith(disposition)
        part = library_server.get(path, headers={"range": "bytes=2-5"})
        assert (part.status_code, part.content) == (206, content[2:6])


@pytest.mark.parametrize("length", [100, 2 * upload_body.JSON_BYTES])  # rolled over by us, and while it comes
async def test_a_full_disk_is_reported_and_logged(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(SpooledTemporaryFile, "rollover", full)
    sent = httpx.Request("POST", "http://x", files={"asset[upload]": ("a.png", bytes(length))})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": sent.read()}

    async with AsyncExitStack() as held:
        with capture_logs() as logs, pytest.raises(Overloaded, match="not enough disk space") as raised:
            body = await upload_body.read_body(receive, sent.headers, 10 * upload_body.JSON_BYTES, held)
            assert body.file is not None
            await upload_body.inspect_upload(body.file, cast("Renderers", None))
    assert raised.value.retry_after_s == 10
    assert [line["why"] for line in logs] == ["[Errno 28] No space left on device"]


def test_unknown_calls_are_rejected(ask: Any) -> None:
    patched = ask("PATCH", "/v3/assets")
    assert (patched.status_code, patched.headers["allow"]) == (405, "GET, POST, HEAD, OPTIONS")
    preflight = ask("OPTIONS", "/v3/assets")
    assert (preflight.status_code, preflight.content) == (204, b"")
    assert "content-length" not in preflight.headers
    assert ask("POST", f"/v3/assets/{UNKNOWN}").status_code == 405
    assert ask("GET", f"/v3/assets/{UNKNOWN}").json() == {
        "error_message": "Asset was not found.",
        "error_code": 145,
        "errors": {"uid": ["is not valid."]},
    }


def test_the_log_has_the_request_id_of_the_response(ask: Any, library_server: Running) -> None:
    report = ask("GET", f"/v3/assets/{UNKNOWN}").headers["x-request-id"]
    wait_until(lambda: report in library_server.log.read_text())
    line = next(line for line in library_server.log.read_text().splitlines() if report in line)
    assert (json.loads(line)["id"], json.loads(line)["ms"] > 0) == (report, True)


def test_an_admin_token_of_the_library_opens_admin(library_server: Running, shop: Shop) -> None:
    secret = new_secret(KeyKind.ADMIN)
    store = LibraryStore.open(shop.data / "library")
    store.new_key(KeyKind.ADMIN, "admin", KeyScope(), secret)
    store.close()
    with httpx.Client(trust_env=False, base_url=library_server.address) as client:

        def purge(token: str) -> int:
            headers = {"authorization": f"Bearer {token}"}
            return client.post("/admin/purge", json={"source": "x"}, headers=headers).status_code

        assert purge(TOKEN) == 200  # the one that is set
        assert purge("x" * 40) == 401
        wait_until(lambda: purge(secret) == 200)
