"""The server over raw connections, with hostile and odd requests, and the headers of every response."""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cropmark.dialects.contentstack.dialect import Contentstack
from cropmark.dialects.dialect import Dialect, ImageRequest
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.dialects.kontent.dialect import Kontent
from cropmark.dialects.pixlab.dialect import PixLab
from cropmark.model.formats import Format, Info
from cropmark.model.problems import PROBLEMS_BY_CODE, BadValue, Problem, restored_problem
from cropmark.model.values import Size
from cropmark.plan.plan import Order, Plan, RequestWarning
from cropmark.plan.source import SitePath, SourceRequest
from cropmark.ports import Facts, Record
from cropmark.server.http_server import HEADER_TIMEOUT_S
from cropmark.web import response
from cropmark.web.cors import CorsPolicy, RawHeaders
from cropmark.web.site import Site
from tests.builders import make_images, wait_until
from tests.hostile.probe import probing
from tests.hostile.slowness import slowness
from tests.web.asgi_client import FakePipeline, NoSource, app_of, fastly, respond
from tests.web.server_process import TOKEN, Running, running

WIDE = "/fastly/wide.jpg?width=100"
HIT = b"GET /fastly/wide.jpg?width=100 HTTP/1.1\r\nHost: a\r\n\r\n"


def said(server: Running, *pieces: bytes, wait_s: float = 5.0) -> bytes:
    """The server's responses on one connection, until it closes the connection or is silent for `wait_s`."""
    url = httpx.URL(server.address)
    received = b""
    with socket.create_connection((url.host, url.port or 80), timeout=wait_s) as connection:
        for piece in pieces:
            connection.sendall(piece)
        connection.settimeout(wait_s)
        try:
            while piece := connection.recv(65_536):
                received += piece
        except (TimeoutError, ConnectionResetError):
            pass
    return received


def statuses(received: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.[01] ([0-9]{3}) ", received)]


# ------------------------------------------------------------------------------------------------ the wire


def line(request_line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([request_line, b"Host: a", b"Connection: close", *headers, b"", b""]) + body


GET = b"GET /fastly/wide.jpg?width=100 HTTP/1.1"

# fmt: off
ODD = [
    # what                        sent                                                           statuses that will do
    ("an unknown method",     line(b"BREW /fastly/wide.jpg HTTP/1.1"),                       {405}),
    ("a method in lower case",    line(b"get /fastly/wide.jpg HTTP/1.1"),                        {400, 405}),
    ("TRACE",                     line(b"TRACE /fastly/wide.jpg HTTP/1.1"),                      {405}),
    ("CONNECT",                   line(b"CONNECT other.example:443 HTTP/1.1"),                   {400, 404, 405}),
    ("PROPFIND of a page",        line(b"PROPFIND / HTTP/1.1"),                                  {405}),
    ("a whole URL",               line(b"GET http://a/fastly/wide.jpg?width=100 HTTP/1.1"),      {200, 400, 404}),
    ("another's URL",             line(b"GET http://other.example/ HTTP/1.1"),                   {200, 400, 404}),
    ("no path",                   line(b"GET  HTTP/1.1"),                                        {400}),
    ("an asterisk",               line(b"OPTIONS * HTTP/1.1"),                                   {204, 400, 404, 405}),
    ("no version",                b"GET /healthz\r\n\r\n",                                       {400}),
    ("HTTP/9.9",                  line(b"GET /healthz HTTP/9.9"),                                {400, 505}),
    ("a NUL in the path",         line(b"GET /fastly/wide\0.jpg HTTP/1.1"),                      {400}),
    ("a blank in the path",       line(b"GET /fastly/wide .jpg HTTP/1.1"),                       {400}),
    ("a bare CR in the query",    line(b"GET /fastly/wide.jpg?a=\rb HTTP/1.1"),                  {400}),
    ("high bytes in the path",    line(b"GET /fastly/\xff\xfe.jpg HTTP/1.1"),                    {400, 404}),
    ("a NUL in a header",         line(GET, b"X: a\0b"),                                         {400}),
    ("a folded header",           line(GET, b"X: a\r\n b"),                                      {200, 400}),
    ("two lengths",               line(GET, b"Content-Length: 3", b"Content-Length: 4", body=b"abc"), {400}),
    ("length and chunks",         line(GET, b"Content-Length: 3", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
                                                                                                 {200, 400}),
    ("a negative length",         line(GET, b"Content-Length: -1"),                              {400}),
    ("a GET with a body",         line(GET, b"Content-Length: 3", body=b"abc"),                  {200}),
    ("100-continue",              line(GET, b"Expect: 100-continue"),                            {200, 417}),
    ("an upgrade",                line(GET, b"Upgrade: websocket", b"Connection: Upgrade"),      {200, 400, 426}),
    ("HTTP/2 by knowledge",       b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",                           set()),
    ("TLS",                       b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200, {400}),
    ("noise",                     bytes(range(256)) * 8,                                         {400}),
    ("a line of 9,000 bytes",     line(b"GET /fastly/" + b"a" * 9_000 + b" HTTP/1.1"),           {414}),
    ("a line of 200,000 bytes",   line(b"GET /fastly/" + b"a" * 200_000 + b" HTTP/1.1"),         {400, 414, 431}),
    ("40,000 bytes of headers",   line(GET, *[b"X-%d: " % n + b"a" * 1_000 for n in range(40)]), {431}),
    ("500 headers",               line(GET, *[b"X-%d: a" % n for n in range(500)]),              {400, 431}),
    ("a header of a megabyte",    line(GET, b"X: " + b"a" * 1_000_000),                          {400, 431}),
]
# fmt: on


@pytest.mark.parametrize(("what", "sent", "will_do"), ODD, ids=[row[0] for row in ODD])
def test_check_09_odd_requests(server: Running, what: str, sent: bytes, will_do: set[int]) -> None:
    """Each gets one response, and the next request gets its image."""
    received = said(server, sent, wait_s=3)
    assert set(statuses(received)) <= will_do, received[:300]
    assert len(statuses(received)) <= 1
    assert b"Traceback" not in received
    assert server.get(WIDE).status_code == 200


# fmt: off
ABSOLUTE = [
    # target                                  Host headers                     status
    (b"http://signed.example/wide.jpg",       [b"signed.example"],             403),    # the signature is required
    (b"http://signed.example/wide.jpg",       [],                              403),    # the target's host
    (b"http://open.example/wide.jpg",         [b"signed.example"],             403),    # the header counts
    (b"http://signed.example/wide.jpg",       [b"open.example"],               200),    # as without the target's host
    (b"http://open.example/wide.jpg",         [],                              200),
    (b"http://a@open.example/wide.jpg",       [],                              400),
    (b"http://open.example/wide.jpg",         [b"open.example", b"a.example"], 400),
    (b"http://open.example/wide.jpg",         [b"open.example/"],              400),
    (b"https://signed.example:1/admin/purge", [b"open.example"],               405),    # the token is required for POST
    (b"//signed.example/wide.jpg",            [b"open.example"],               404),    # a path
]
# fmt: on


def test_check_60_the_host_of_a_target_passes_no_signature(pictures: Path, tmp_path: Path) -> None:
    """The Host header selects the site and its signing keys, exactly as if the target had no host.

    The HTTP server passes on the host of an absolute-form target only in the place of a missing header.
    """
    config = tmp_path / "cropmark.toml"
    sites = [("open.example", "[]"), ("signed.example", f'["k:{"ab" * 32}"]')]
    config.write_text(
        "".join(
            f'[[site]]\nhosts = ["{host}"]\ndialect = "fastly"\nsource = "{pictures}"\nsigning_keys = {keys}\n'
            for host, keys in sites
        )
    )
    with running("--config", str(config), cache=tmp_path / "cache") as sites_by_host:
        for target, hosts, status in ABSOLUTE:
            fields = [b"GET %s HTTP/1.1" % target, *(b"Host: " + host for host in hosts), b"Connection: close"]
            received = said(sites_by_host, b"\r\n".join([*fields, b"", b""]))
            assert received.startswith(b"HTTP/1.1 %d " % status), (target, hosts, received[:200])


def test_pipelined_garbage(server: Running) -> None:
    """Requests before the garbage get a response, requests after it do not."""
    server.get(WIDE)
    received = said(server, HIT * 3 + b"\x00\xff garbage\r\n\r\n" + HIT * 3)
    assert statuses(received)[:3] == [200, 200, 200]
    assert set(statuses(received)[3:]) <= {400}
    assert statuses(said(server, HIT * 19 + line(GET))) == [200] * 20


HURRIED = """
from cropmark.cli.main import main
from cropmark.server import http_server
http_server.HEADER_TIMEOUT_S = 2
main()
"""


def test_slow_clients_are_cut_off(pictures: Path, tmp_path: Path) -> None:
    """check_09: slow and silent connections are closed; other requests do not wait for them."""
    assert HEADER_TIMEOUT_S == 15
    with running(str(pictures), cache=tmp_path / "cache", program=HURRIED) as server, ExitStack() as connections:
        url = httpx.URL(server.address)
        address = (url.host, url.port or 80)
        slow = [connections.enter_context(socket.create_connection(address)) for _ in range(50)]
        for number, connection in enumerate(slow):
            connection.sendall(HIT[: number % 20 + 1])

        def are_closed() -> bool:
            """Send one byte more on half of the connections: a connection is closed whether it is slow or silent."""
            for connection in slow[::2]:
                with suppress(OSError):
                    connection.sendall(b"X")
            assert server.get(WIDE).status_code == 200
            time.sleep(0.1)
            return all(map(_is_closed, slow))

        wait_until(are_closed, 60)


def _is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0)
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        return True
    except BlockingIOError:
        return False
    return True


def test_no_redirect_to_the_host_of_the_request(server: Running) -> None:
    for path in ("/admin/purge/", "/healthz/", "//evil.example/", "/\\evil.example"):
        reply = server.get(path, headers={"Host": "evil.example"})
        assert (reply.status_code, reply.headers["server"]) == (404, "cropmark")
        assert "location" not in reply.headers


@pytest.mark.parametrize("asked_for", ["bytes=0-99", "bytes=-1", "bytes=99999-", "bytes=0-1,5-6", "lines=1", ""])
def test_a_range_request_gets_the_whole_image(server: Running, asked_for: str) -> None:
    whole = server.get(WIDE)
    part = server.get(WIDE, headers={"Range": asked_for, "If-Range": whole.headers["etag"]})
    assert (part.status_code, part.content) == (200, whole.content)
    assert "content-range" not in part.headers
    assert "accept-ranges" not in part.headers


def test_options(server: Running) -> None:
    reply = server.get(WIDE, method="OPTIONS", headers={"Origin": "https://a.example"})
    assert reply.status_code == 204
    assert reply.headers["allow"] == reply.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"


# ------------------------------------------------------------------------------------------------ every reply


# fmt: off
ROUTES = [
    # path                                  headers               Cross-Origin-Resource-Policy
    (WIDE,                                  {},                   "cross-origin"),
    ("/fastly/drawing.svg",                 {},                   "cross-origin"),
    ("/fastly/none.jpg",                    {},                   "cross-origin"),
    ("/fastly/wide.jpg?width=0",            {},                   "cross-origin"),
    ("/contentstack/wide.jpg?width=abc",    {},                   "cross-origin"),
    ("/kontent/wide.jpg?w=50",              {},                   "cross-origin"),
    ("/",                                   {},                   "same-origin"),
    ("/healthz",                            {},                   "same-origin"),
    ("/readyz",                             {},                   "same-origin"),
    ("/metrics",                            {},                   "same-origin"),
    ("/_explain?url=/fastly/wide.jpg",      {},                   "same-origin"),
    ("/_explain",                           {},                   "same-origin"),
    ("/admin/purge",                        {},                   "same-origin"),
    ("/no-such-page",                       {},                   "same-origin"),
    ("/fastly/" + "a" * 9000,               {},                   "same-origin"),
    (WIDE,                                  {"X": "a" * 33_000},  "same-origin"),
]
# fmt: on


@pytest.mark.parametrize(("path", "headers", "policy"), ROUTES)
def test_check_45_headers_of_every_response(server: Running, path: str, headers: dict[str, str], policy: str) -> None:
    reply = server.get(path, headers=headers)
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert reply.headers["cross-origin-resource-policy"] == policy
    assert reply.headers["server"] == "cropmark"
    assert not re.search(r"granian|python|starlette|hyper", str(reply.headers), re.IGNORECASE)
    assert not reply.headers["content-type"].startswith(("text/html", "application/javascript")) or path == "/"


# fmt: off
SHARED = [
    # origins                             Origin                  allowed               vary
    (None,                                "https://a.example",    None,                 None),     # Fastly sends none
    ((),                                  "https://a.example",    None,                 None),
    (("*",),                              "https://a.example",    "*",                  None),
    (("https://a.example",),              "https://a.example",    "https://a.example",  "Origin"),
    (("https://a.example",),              "https://b.example",    None,                 "Origin"),
    (("https://a.example",),              "https://a.example.evil", None,               "Origin"),
    (("https://a.example",),              "null",                 None,                 "Origin"),
    (("https://a.example",),              "",                     None,                 "Origin"),
]
# fmt: on


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(("origins", "origin", "allowed", "vary"), SHARED)
def test_cors(origins: tuple[str, ...] | None, origin: str, allowed: str | None, vary: str | None, kept: bool) -> None:
    app = app_of(FakePipeline(always_hit=kept), site=fastly(cors=CorsPolicy(origins)))
    respond(app, b"/fastly/a.jpg?width=3", headers=[(b"origin", b"https://first.example")])
    headers = [(b"origin", origin.encode())] if origin else []
    for target in (b"/fastly/a.jpg?width=3", b"/fastly/a.jpg?width=3"):
        reply = respond(app, target, headers=headers)
        assert reply.header("access-control-allow-origin") == allowed
        assert reply.header("vary") == vary
    assert respond(app, b"/fastly/a.jpg?width=0", headers=headers).header("access-control-allow-origin") == allowed
    same = respond(app, b"/fastly/a.jpg?width=3", headers=[*headers, (b"if-none-match", b'"etag"')])
    assert (same.status, same.header("access-control-allow-origin")) == (304, allowed)
    before = respond(app, b"/fastly/a.jpg?width=3", method="OPTIONS", headers=headers)
    assert before.header("access-control-allow-origin") == allowed


@pytest.mark.parametrize("policy", ["cross-origin", "same-site", "same-origin", ""])
def test_check_45_the_resource_policy_is_a_setting(policy: str) -> None:
    site = fastly(cors=CorsPolicy(resource_policy=policy))
    for target in (b"/fastly/a.jpg?width=3", b"/fastly/a.jpg?width=0"):
        assert respond(app_of(FakePipeline(), site=site), target).header("cross-origin-resource-policy") == (
            policy or None
        )


def test_a_dialects_own_cors_header_is_replaced() -> None:
    """Kontent.ai sends `*`; the policy's origin replaces it."""
    record = Record("image/jpeg", '"e"', 3)
    order = Order((SourceRequest(SitePath("a.jpg")),), Plan())
    for origins, wanted in ((None, [b"*"]), ((), []), (("https://a.example",), [b"https://a.example"])):
        site = Site("k", Kontent(), NoSource(), cors=CorsPolicy(origins))
        headers = response.image_headers(site, order, record, cached=False, origin="https://a.example")
        assert [value for name, value in headers if name == b"access-control-allow-origin"] == wanted


# ------------------------------------------------------------------------------------------------ header values


DIALECTS: tuple[Dialect, ...] = (Fastly(), Contentstack(), Kontent(), PixLab())
NAME = re.compile(rb"[a-z0-9-]+")
VALUE = re.compile(rb"[\x20-\x7e]{0,1024}")
ANYTHING = st.text(max_size=300) | st.sampled_from(["a\r\nSet-Cookie: x=1", "\0", "ä\u2028", "\ud800", "x" * 5000])


def assert_sound(headers: RawHeaders) -> None:
    for name, value in headers:
        assert NAME.fullmatch(name), name
        assert VALUE.fullmatch(value), (name, value)


@given(warnings=st.lists(st.builds(RequestWarning, ANYTHING, ANYTHING), max_size=12), text=ANYTHING)
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)
def test_check_44_text_of_a_source_in_headers(dialect: Dialect, warnings: list[RequestWarning], text: str) -> None:
    """Warnings, media type and analysis texts are visible ASCII in headers, with limited length and number."""
    info = Info(Format.JPEG, Size(4, 3), 4)
    facts = Facts(source=info, size=Size(4, 3), focus=text, format=Format.JPEG)
    record = Record(text or "image/jpeg", f'"{text}"', 3, facts, tuple(warnings))
    order = Order((SourceRequest(SitePath(text)),), Plan(), warnings=tuple(warnings))
    site = Site("s", dialect, NoSource(), cors=CorsPolicy(("https://a.example",)))
    headers = response.image_headers(site, order, record, cached=False, origin=text)
    assert_sound(headers)
    assert len(headers) < 40


@given(detail=ANYTHING, fix=ANYTHING, parameter=st.none() | ANYTHING, path=ANYTHING, query=ANYTHING)
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)
def test_check_44_text_of_problems_in_headers(
    dialect: Dialect, detail: str, fix: str, parameter: str | None, path: str, query: str
) -> None:
    problems: list[Problem] = [
        restored_problem(code, detail, fix, parameter) for code in PROBLEMS_BY_CODE if code != "bad_value"
    ]
    for problem in (*problems, BadValue(parameter or "width", detail, expected=fix)):
        reply, headers = response.error_response(dialect, problem, ImageRequest(path, query), negotiated=True)
        assert_sound(headers)
        assert 400 <= reply.status < 600
        assert dict(headers)[b"content-type"] != b"text/html"


@pytest.mark.parametrize("text", ["%0d%0aSet-Cookie:%20x=1", "%00", "%E2%80%A8", "a%22%3Cscript%3E"])
def test_check_44_nothing_of_a_url_becomes_a_header(server: Running, text: str) -> None:
    for path in (f"/fastly/{text}.jpg", f"/fastly/wide.jpg?{text}={text}&width={text}", f"/kontent/wide.jpg?w={text}"):
        reply = server.get(path)
        assert "set-cookie" not in reply.headers
        assert reply.status_code in (200, 400, 404)


# ------------------------------------------------------------------------------------------------ load


DEADLINE_S = 5.0
_QUEUE = re.compile(r"queue;dur=([\d.]+)")


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_images(tmp_path_factory.mktemp("photo"))
    noise = Image.effect_noise((3000, 2000), 60)
    Image.merge("RGB", (noise, noise.rotate(180), noise)).resize((6000, 4000)).save(folder / "photo.jpg", quality=85)
    return folder


@pytest.fixture
def busy(photo: Path, tmp_path: Path) -> Iterator[Running]:
    with running(str(photo), cache=tmp_path / "cache", renderers=1) as found:
        yield found


@pytest.fixture
def impatient(photo: Path, tmp_path: Path) -> Iterator[Running]:
    deadline = {"CROPMARK_REQUEST_DEADLINE_S": str(DEADLINE_S)}
    with running(str(photo), cache=tmp_path / "cache", renderers=1, environment=deadline) as found:
        yield found


async def _all(server: Running, paths: list[str]) -> list[tuple[httpx.Response, float]]:
    limits = httpx.Limits(max_connections=400)
    async with httpx.AsyncClient(trust_env=False, timeout=120, limits=limits) as client:

        async def one(path: str) -> tuple[httpx.Response, float]:
            started_s = time.perf_counter()
            reply = await client.get(server.address + path, headers={"Accept": "image/avif,image/webp"})
            return reply, time.perf_counter() - started_s

        return list(await asyncio.gather(*(one(path) for path in paths)))


def _logged_ms(server: Running, status: int) -> list[float]:
    """The milliseconds that the server logged for requests with this status, in ascending order."""
    lines = (json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{"))
    return sorted(line["ms"] for line in lines if line["event"] == "request" and line["status"] == status)


def test_check_42_a_page_of_24_misses_of_one_photo_passes(busy: Running) -> None:
    """Eight widths of 24 MP in three formats, one renderer, all at the same time."""
    paths = [
        f"/fastly/photo.jpg?width={width}&format={kind}"
        for width in (160, 240, 320, 400, 480, 560, 640, 720)
        for kind in ("jpg", "webp", "avif")
    ]
    replies = asyncio.run(_all(busy, paths))
    assert [reply.status_code for reply, _ in replies] == [200] * 24
    assert all(Image.open(io.BytesIO(a.content)).width > 0 for a, _ in replies)


def test_check_42_beyond_the_queue_misses_are_rejected_quickly_and_hits_are_served(impatient: Running) -> None:
    """Two hundred misses at the same time: most get 503, the others their image in time; hits stay fast."""
    busy = impatient
    busy.get(WIDE)
    paths = [f"/fastly/photo.jpg?width={width}&format=webp" for width in range(400, 600)]
    others = [WIDE, "/healthz", "/readyz", f"/metrics?token={TOKEN}"]

    async def both() -> tuple[list[tuple[httpx.Response, float]], list[tuple[httpx.Response, float]]]:
        flood = asyncio.create_task(_all(busy, paths))
        while not flood.done() and not (await _all(busy, ["/readyz"]))[0][0].json()["renderers"]["queued"]:
            pass
        meanwhile: list[tuple[httpx.Response, float]] = []
        while not flood.done() and len(meanwhile) < 40:
            meanwhile += await _all(busy, others)
        return await flood, meanwhile

    with probing(busy.address, WIDE) as hits:  # in a process of its own: two hundred connections delay all of this one
        flood, meanwhile = asyncio.run(both())
    refused = [(reply, took) for reply, took in flood if reply.status_code == 503]
    assert {reply.status_code for reply, _ in flood} == {200, 503}
    assert len(refused) > 100
    assert all(1 <= int(reply.headers["retry-after"]) <= 60 for reply, _ in refused)
    assert all(reply.headers["cache-control"] == "no-store" for reply, _ in refused)
    waits_ms = [
        float(_QUEUE.findall(reply.headers["server-timing"])[0]) for reply, _ in flood if reply.status_code == 200
    ]
    assert max(waits_ms) < 1000 * DEADLINE_S
    # By the server's clock: two hundred connections of one client take seconds of its own time on a busy machine.
    refused_ms, served_ms = _logged_ms(busy, 503), _logged_ms(busy, 200)
    assert len(refused_ms) == len(refused)
    assert refused_ms[len(refused_ms) // 2] < max(1000.0, served_ms[-1] / 2)
    assert {reply.status_code for reply, _ in meanwhile} == {200}
    assert hits["hits"] >= 8
    assert hits["wrong"] == 0
    assert hits["p50_ms"] < 100 * slowness()
