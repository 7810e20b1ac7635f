"""The mount that serves a URL."""

from __future__ import annotations

import re

import pytest

from cropmark.dialects.fastly.dialect import Fastly
from cropmark.web.request import Receive, Scope, Send
from cropmark.web.response import send_response
from cropmark.web.routing import Mount, Router, host_name
from cropmark.web.site import Site
from tests.web.asgi_client import FakePipeline, NoSource, app_of, respond

MOUNTS = {
    "all": Mount(),
    "shop": Mount("/shop"),
    "shop images": Mount("/shop", paths=re.compile(r"images/")),
    "deep": Mount("/shop/deep"),
    "own host": Mount(hosts=("img.example", "cdn.example")),
    "elsewhere": Mount("/api", excluded_hosts=("other.example",)),
}
ROUTES = [
    ("any.example", "/a.jpg", "all", "a.jpg"),
    ("any.example", "/shop/a.jpg", "shop", "a.jpg"),
    ("any.example", "/shop/images/a.jpg", "shop images", "images/a.jpg"),  # a path pattern before none
    ("any.example", "/shop/deep/images/a.jpg", "deep", "images/a.jpg"),  # the longer prefix before the shorter
    ("any.example", "/shop/more/images/a.jpg", "shop", "more/images/a.jpg"),  # the pattern matches at the start only
    ("any.example", "/shopping/a.jpg", "all", "shopping/a.jpg"),  # a prefix is whole path segments
    ("any.example", "/shop", "all", "shop"),
    ("img.example", "/shop/a.jpg", "own host", "shop/a.jpg"),  # a named host before any prefix
    ("any.example", "/api/x", "elsewhere", "x"),
    ("other.example", "/api/x", "all", "api/x"),
    ("any.example", "/%2e/a.jpg", "all", "%2e/a.jpg"),  # nothing is decoded here
]
HOSTS = [
    ("img.example", "img.example"),
    ("IMG.example:8000", "img.example"),
    ("img.example.", "img.example"),
    ("[::1]:8000", "[::1]"),
    ("[::1]", "[::1]"),
    ("", ""),
]


@pytest.mark.parametrize(("host", "path", "name", "rest"), ROUTES)
def test_the_most_specific_mount_serves_a_url(host: str, path: str, name: str, rest: str) -> None:
    for order in (MOUNTS, dict(reversed(MOUNTS.items()))):
        router = Router((mount, key) for key, mount in order.items())
        assert router.find(host, path) == (name, rest)


def test_a_url_that_no_mount_serves() -> None:
    assert Router([(MOUNTS["shop"], "shop")]).find("any.example", "/other/a.jpg") is None


@pytest.mark.parametrize(("header", "name"), HOSTS)
def test_the_host_of_a_host_header(header: str, name: str) -> None:
    assert host_name(header) == name


def test_a_configured_mount_is_normalized() -> None:
    assert Mount.configured("/shop/", ["Img.Example"]) == Mount("/shop", ("img.example",))


@pytest.mark.parametrize("path", [b"/healthz", b"/readyz", b"/metrics", b"/admin/purge"])
def test_no_site_hides_an_operator_path(path: bytes) -> None:
    """A site without hosts and prefix serves every other path."""
    pages: list[bytes] = []

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        pages.append(scope["raw_path"])
        await send_response(send, 204, [])

    site = Site("root", Fastly(), NoSource(), Mount())
    app = app_of(FakePipeline(), site=site, pages=page)
    assert respond(app, path).status == 204
    assert respond(app, b"/healthz.jpg").status == 200
    assert pages == [path]
