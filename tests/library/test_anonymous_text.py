"""NUL and bytes that are not UTF-8 in any part of any request: never a failure of ours, with either database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from cropmark.config.settings import Settings
from cropmark.dialects.registry import DIALECTS
from cropmark.library.store import LibraryStore
from cropmark.model.assets import BranchRef
from cropmark.server.wiring import Server, open_server
from tests.builders import make_images
from tests.library import postgres
from tests.library.builders import PRODUCTION, Shop, add_asset, create_shop, png
from tests.web.asgi_client import Reply, request

KEY = "k" * 40
PERCENT = [b"%00", b"%ff", b"%ed%a0%80", b"%2500", b"a", b"%C3%A9"]
RAW = [b"\xff", b"\xed\xa0\x80", b"\xc3\xa9"]
PARAMETER = "x=1&"
"""Begins the query of an entry for each parameter of each dialect."""
JSON_TYPE = ("content-type", "application/json")
FORM = ("content-type", "application/x-www-form-urlencoded")
MULTIPART = ("content-type", "multipart/form-data; boundary=B")
JSON = [rb"\u0000", rb"\ud800", rb"\udc00", b"\xed\xa0\x80", b"a", b"\xc3\xa9"]


@dataclass(frozen=True)
class Entry:
    """A request with a place, `@`, for text."""

    path: str
    query: str = ""
    method: str = "GET"
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def is_json(self) -> bool:
        return self.body.startswith(b"{")


@dataclass(frozen=True)
class Site:
    """A server in this process, over a folder, a library and PixLab, with the requests to it."""

    server: Server
    runner: asyncio.Runner
    entries: tuple[Entry, ...]
    public: str
    """The path of an image of the library."""
    secured: str
    """The path of one that needs a token."""

    def send(self, entry: Entry, text: bytes) -> Reply:
        """The response to the entry with this text in its place."""
        parts = [part.encode().replace(b"@", text) for part in (entry.path, entry.query)]
        headers = [(name.encode(), value.encode().replace(b"@", text)) for name, value in entry.headers]
        body = entry.body.replace(b"@", text)
        sent = request(self.server.app, b"?".join(parts), method=entry.method, headers=headers, body=body)
        return self.runner.run(sent)


def entries(shop: Shop, asset: str, secured: str) -> tuple[Entry, ...]:
    """Every place of every entry point at which a client's bytes become text."""
    stack = shop.stack.api_key
    manager = tuple(shop.headers.items())
    part = b'--B\r\nContent-Disposition: form-data; name="%s"\r\n\r\n@\r\n--B--\r\n'
    prefixes = [mount.prefix for dialect in DIALECTS for mount in dialect.mounts]
    names = sorted({doc.name for dialect in DIALECTS for doc in dialect.cls.params} | {"@", "sig", "preset"})
    delivery = f"/v3/assets/{stack}/{asset}"
    found = [Entry(f"{prefix}/@") for prefix in prefixes]
    found += [Entry(f"{prefix}/wide.jpg", f"{PARAMETER}{name}=@") for prefix in prefixes for name in names]
    found += [
        Entry(path) for path in (f"/v3/assets/{stack}/{asset}/@", f"/v3/assets/{stack}/@", f"/v3/assets/@/{asset}")
    ]
    found += [Entry(delivery, f"environment=production&{name}=@") for name in (*names, "environment", "branch")]
    found += [Entry(secured, f"environment=production&{name}=@") for name in ("access_token",)]
    found += [Entry(delivery, f"overlay=/v3/assets/{stack}/{asset}%3Fenvironment=@")]
    found += [Entry(f"/kontent/{'0' * 8}-0000-0000-0000-{'0' * 12}/@/a.jpg"), Entry("/pixlab/results/@"), Entry("/@")]
    found += [Entry(page, "url=@") for page in ("/_explain", "/_explain.png")]
    found += [Entry("/_explain", f"url={prefix}/wide.jpg?width=@") for prefix in prefixes]
    for name in ("img", "key", "comment", "x", "@"):
        found.append(Entry("/pixlab/crop", "", "POST", b'{"%s": "@"}' % name.encode(), (JSON_TYPE,)))
        found.append(Entry("/pixlab/crop", f"key={KEY}", "POST", b'{"%s": "@"}' % name.encode(), (JSON_TYPE,)))
        found.append(Entry("/pixlab/crop", f"key={KEY}", "POST", name.encode() + b"=@", (FORM,)))
        found.append(Entry("/pixlab/crop", f"key={KEY}", "POST", part % name.encode(), (MULTIPART,)))
    for name in ("source", "prefix", "url", "@"):
        token = ("authorization", f"Bearer {KEY}")
        found.append(Entry("/admin/purge", "", "POST", b'{"%s": "@"}' % name.encode(), (token, JSON_TYPE)))
    for header in ("authorization", "authtoken", "access_token", "branch", "api_key"):
        found.append(Entry("/v3/assets", "", headers=(*((k, v) for k, v in manager if k != header), (header, "@"))))
    found += [
        Entry("/v3/assets", f"{name}=@", headers=manager)
        for name in ("environment", "folder", "query", "asc", "branch")
    ]
    found += [Entry("/v3/assets", "query=%7B%22title%22%3A%22@%22%7D", headers=manager)]
    found += [Entry(f"/v3/{path}/@", headers=manager) for path in ("assets", "assets/folders", "environments")]
    for method, path, body in (
        ("POST", "environments", b'{"environment": {"name": "@"}}'),
        ("POST", "assets/folders", b'{"asset": {"name": "@"}}'),
        ("PUT", f"assets/{asset}", b'{"asset": {"title": "a", "tags": ["@"], "description": "@", "parent_uid": "@"}}'),
        ("PUT", f"assets/{asset}", b'{"asset": {"title": "@", "@": "@"}, "@": 1}'),
        ("PUT", f"assets/{asset}", b'{"asset": {"permanent_url": "@"}}'),
        ("POST", f"assets/{asset}/unpublish", b'{"asset": {"environments": ["@"], "locales": ["@"]}, "version": "@"}'),
        ("POST", f"assets/{asset}/versions/1/name", b'{"asset": {"_version_name": "@"}}'),
    ):
        found.append(Entry(f"/v3/{path}", "", method, body, (*manager, JSON_TYPE)))
    return tuple(found)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("text")
    url = ""
    if request.param == "postgresql":
        url = postgres.new_database(request.getfixturevalue("postgres_server"), "anonymous-text")
    shop = create_shop(folder / "data", url)
    store = LibraryStore.open(folder / "data" / "library", url)
    secured = store.new_stack("secured", secured=True).api_key
    places = (shop.place, BranchRef(secured))
    assets = [add_asset(store, place, png(), "owl.png", publishing=PRODUCTION).uid for place in places]
    store.close()
    options: dict[str, Any] = {"environ": {}, **({"database_url": url} if url else {})}
    for limit in ("pixlab_requests_per_minute", "management_requests_per_s"):
        options[limit] = 0
    options |= {"cache_dir": folder / "cache", "data_dir": folder / "data", "pixlab_key": KEY, "admin_token": KEY}
    settings = Settings(folder=make_images(folder), renderers=1, **options)
    with asyncio.Runner() as runner:
        opened = open_server(settings)
        server = runner.run(opened.__aenter__())
        public_url, secured_url = (f"/v3/assets/{place.stack}/{uid}" for place, uid in zip(places, assets, strict=True))
        yield Site(server, runner, entries(shop, assets[0], secured_url), public_url, secured_url)
        runner.run(opened.__aexit__(None, None, None))


def pieces_for(entry: Entry) -> list[bytes]:
    """Valid and invalid text, in the encoding of the entry's place."""
    if entry.is_json:
        return JSON
    if entry.query.startswith(PARAMETER):
        return [b"%00", b"\xff"]
    return PERCENT if entry.headers[-1:] == (FORM,) else [*PERCENT, *RAW]


def assert_handled(site: Site, entry: Entry, text: bytes) -> None:
    with capture_logs() as logs:
        reply = site.send(entry, text)
    assert reply.status < 500, (entry, text, reply)
    assert not [line for line in logs if line["log_level"] in ("error", "critical")]


def test_check_59_invalid_text_is_no_failure_of_the_server(site: Site) -> None:
    for entry in site.entries:
        for text in pieces_for(entry):
            assert_handled(site, entry, text)


@given(data=st.data())
def test_check_59_nor_is_any_mixture(site: Site, data: st.DataObject) -> None:
    entry = data.draw(st.sampled_from(site.entries))
    texts = data.draw(st.lists(st.sampled_from(pieces_for(entry)), min_size=2, max_size=5))
    assert_handled(site, entry, b"".join(texts))


@pytest.mark.parametrize(
    ("path", "query", "body", "status"),
    [
        ("PUBLIC", "environment=%00", b"", 404),
        ("PUBLIC", "environment=production&branch=@", b"", 404),
        ("PUBLIC/%ff", "environment=production", b"", 404),
        ("PUBLIC/%00", "environment=production", b"", 404),
        ("SECURED", "environment=production&access_token=%00", b"", 401),
        ("/pixlab/crop", "", rb'{"key": "\ud800"}', 400),
        ("/pixlab/crop", "", rb'{"key": "a", "\u0000": 1}', 400),
    ],
)
def test_check_59_invalid_text_is_rejected(site: Site, path: str, query: str, body: bytes, status: int) -> None:
    path = path.replace("PUBLIC", site.public).replace("SECURED", site.secured)
    entry = Entry(path, query, "POST" if body else "GET", body, (JSON_TYPE,))
    assert site.send(entry, b"\xff").status == status
