"""AccessPolicy: no header passes a signature, a preset or an allowed width; every new size has an allowed width."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from cropmark.config.settings import Settings
from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.dialects.registry import DIALECTS
from cropmark.geometry.recipe import Recipe
from cropmark.geometry.resolve import resolve
from cropmark.model.formats import Format, Info
from cropmark.model.problems import BadRequest
from cropmark.model.values import Size
from cropmark.plan.source import SitePath
from cropmark.security.signing import Keyring, SigningKey
from cropmark.server.policies import access_policy
from cropmark.web import sign_in
from cropmark.web.access import AccessPolicy
from cropmark.web.client_ip import ClientIp
from cropmark.web.request import Scope, check_host, parse_headers
from cropmark.web.routing import Mount
from cropmark.web.site import Site
from tests.web.asgi_client import FakePipeline, NoSource, app_of, request, respond

OVERLAY = (b"x-fastly-imageopto-overlay", b"overlay=/s/secret.png&width=1.0")
KEYS = Keyring([SigningKey.read("k" * 32)])
# fmt: off
POLICIES = [
    # site                                                   sources with the overlay, sources without
    (AccessPolicy(),                                         True),
    (AccessPolicy(KEYS),                                     False),
    (AccessPolicy(presets={"card": "width=3"}),              False),
    (AccessPolicy(presets={"card": "width=3"}, presets_only=True), False),
    (AccessPolicy(allowed_widths=(100,)),                    False),
    (AccessPolicy(image_headers_from_anyone=False),          False),
]
# fmt: on


def target(policy: AccessPolicy) -> bytes:
    if policy.keys is not None:
        return policy.keys.sign("/s/a.jpg?width=3").encode()
    return b"/s/a.jpg?" + (b"preset=card" if policy.presets else b"width=3")


@pytest.mark.parametrize(("policy", "counts"), POLICIES)
@pytest.mark.parametrize("from_proxy", [False, True])
def test_check_53_a_header_does_not_pass_a_restricted_site(
    policy: AccessPolicy, counts: bool, from_proxy: bool
) -> None:
    """A signature covers path and query only: one signed URL with a header would give every image of the source."""
    pipeline = FakePipeline()
    proxies = ClientIp(("127.0.0.1",)) if from_proxy else ClientIp()
    site = Site("s", Fastly(), NoSource(), Mount("/s"), access=policy)
    app = app_of(pipeline, site=site, client_ip=proxies)
    assert respond(app, target(policy), headers=(OVERLAY,), client=("127.0.0.1", 9)).status == 200
    (order,) = pipeline.orders
    names = [source.ref.path for source in order.sources if isinstance(source.ref, SitePath)]
    assert ("secret.png" in names) is (counts or from_proxy)
    ignored = [str(warning) for warning in order.warnings if "trusted proxy" in warning.text]
    assert bool(ignored) is not (counts or from_proxy)


def test_check_53_the_memo_tells_a_trusted_proxy_from_other_clients() -> None:
    pipeline = FakePipeline()
    site = Site("s", Fastly(), NoSource(), Mount("/s"), access=AccessPolicy(KEYS))
    app = app_of(pipeline, site=site, client_ip=ClientIp(("127.0.0.1",)))
    for client in ("127.0.0.1", "192.0.2.1", "127.0.0.1"):
        respond(app, target(AccessPolicy(KEYS)), headers=(OVERLAY,), client=(client, 9))
    assert [len(order.sources) for order in pipeline.orders] == [2, 1, 2]


@pytest.mark.parametrize("entry", DIALECTS, ids=lambda entry: entry.name)
def test_check_53_every_header_of_every_dialect_is_classified(entry: object) -> None:
    """A header either changes the image, or is itself a secret that gives access."""
    secrets = {"api_key", "authtoken", "authorization", "www-authenticate"}
    cls = entry.cls  # type: ignore[attr-defined]  # a DialectEntry
    assert set(cls.request_headers) - set(cls.image_request_headers) <= secrets


@pytest.mark.parametrize(
    ("settings", "open_to_all"),
    [({}, True), ({"production": True}, False), ({"production": True, "image_headers_from_anyone": True}, True)],
)
def test_image_headers_are_off_in_production(settings: dict[str, bool], open_to_all: bool) -> None:
    policy = access_policy(Settings(**settings))  # type: ignore[arg-type]  # a table's row
    assert policy.image_headers_from_anyone is open_to_all
    assert policy.reads_image_headers(from_trusted_proxy=False) is open_to_all


# fmt: off
HOSTS = [
    # Host headers                     HTTP version   status
    ([b"img.example"],                 "1.1",         200),
    ([b""],                            "1.1",         400),    # the HTTP server's header for a missing one
    ([b""],                            "1",           200),    # HTTP/1.0 has none
    ([b"img.example", b"a.example"],   "1.1",         400),
    ([b"img.example", b"img.example"], "1.1",         400),
]
# fmt: on


@pytest.mark.parametrize(("hosts", "version", "status"), HOSTS)
def test_check_60_a_request_has_one_host(hosts: list[bytes], version: str, status: int) -> None:
    scope: Scope = {"headers": [(b"host", host) for host in hosts], "http_version": version}
    if status == 400:
        with pytest.raises(BadRequest, match="one Host header"):
            parse_headers(scope, frozenset())
    else:
        parse_headers(scope, frozenset())


@pytest.mark.parametrize(
    "host",
    ["", "a", "img.example", "img.example:8000", "img.example:", "127.0.0.1:80", "[::1]", "[::1]:8000", "a_b.example."],
)
def test_a_host(host: str) -> None:
    check_host(host)


@pytest.mark.parametrize(
    "host", ["a b", "a/b", "u:p@img.example", "<script>", "a,b:x", "[::1", "a:8\x00", "a?b", "a#b", "a\\b", "\xff"]
)
def test_check_60_an_invalid_host_is_rejected(host: str) -> None:
    with pytest.raises(BadRequest, match="in the Host header"):
        check_host(host)
    headers = [(b"host", host.encode("latin-1"))]
    assert asyncio.run(request(app_of(FakePipeline()), b"/fastly/a.jpg", headers=headers)).status == 400


@pytest.mark.parametrize("target", [b"/fastly/a.jpg?width=<script>", b"/fastly/a.jpg?crop=<script>alert(1)</script>"])
def test_check_60_no_markup_of_a_url_is_returned(target: bytes) -> None:
    reply = respond(app_of(FakePipeline()), target)
    assert (reply.status, b"<" in reply.body, b"script" in reply.body) == (400, False, True)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Basic", "", "Token"])
async def test_check_60_the_admin_token_is_a_bearer_token(scheme: str) -> None:
    request = Request({"type": "http", "headers": [(b"authorization", f"{scheme} secret".strip().encode())]})
    context = SimpleNamespace(admin_token="secret", is_library_admin=None)
    found = await sign_in.has_token(context, request)  # type: ignore[arg-type]  # a part of it
    assert found is (scheme.lower() == "bearer")


# fmt: off
QUERIES = [
    "crop=466,366", "crop=4:3&width=333", "width=50p", "width=0.31", "height=77", "pad=13&width=100", "pad=11",
    "canvas=466,366", "canvas=3:2", "trim=10,20,30,40", "width=90&dpr=1.7", "height=33&canvas=55,66",
    "fit=bounds&width=150&height=20",
]
# fmt: on


@pytest.mark.parametrize("query", QUERIES)
def test_every_new_size_has_an_allowed_width(query: str) -> None:
    assert width_of(query) in (100, 200)


@given(st.integers(10, 900), st.integers(10, 900), st.integers(0, 90), st.integers(10, 30))
def test_no_sizes_but_the_allowed_ones(width: int, height: int, pad: int, tenths: int) -> None:
    query = f"crop={width},{height},safe&width={height}&dpr={tenths / 10}&pad={pad}"
    assert width_of(query) in (100, 200)


def test_the_source_size_stays() -> None:
    assert width_of("quality=50") == 1000


def width_of(query: str) -> int:
    order = Fastly().order(ImageRequest("a.jpg", query))
    order = AccessPolicy(allowed_widths=(100, 200)).constrain(order)
    assert order.plan is not None
    recipe = resolve(order.plan, [Info(Format.JPEG, Size(1000, 800), 50_000)])
    assert isinstance(recipe, Recipe)
    return recipe.size.width
