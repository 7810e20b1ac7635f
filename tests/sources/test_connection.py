"""check_13, check_14, check_15, check_17, check_24: what is connected to, and what is sent there."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from cropmark.model.problems import SourceFailed, SourceForbidden, SourceNotFound
from cropmark.plan.source import SitePath, UploadRef, WebUrl
from cropmark.sources.connection import AddressRefused, Guard, NetworkAccess, session
from cropmark.sources.original_cache import OriginalCache
from cropmark.sources.policy import AllowedHost, HostRule, Policy, Reachability
from cropmark.sources.urls import refusal
from cropmark.sources.web import WebSource
from tests.sources.conftest import MakeSource, opened_to
from tests.sources.origins import PNG, PUBLIC, PUBLIC_TOO, Origin, Web, origin, reply

OPEN = Policy(open=True, connect_s=1, first_byte_s=1, total_s=2)


async def fetched(source: WebSource, url: str) -> int:
    """How many bytes a URL gives."""
    opened = await source.open(WebUrl(url))
    opened.close()
    return opened.bytes


async def refused(source: WebSource, url: str) -> None:
    with pytest.raises(SourceForbidden) as caught:
        await source.open(WebUrl(url))
    # The same words for all: neither a port nor a name can be told by them.
    assert str(caught.value) == str(refusal())
    assert caught.value.origin_status is None


# ------------------------------------------------------------------------------------------ addresses


async def test_a_public_server_is_fetched_from(make_source: MakeSource, server: Origin, web: Web) -> None:
    web.place("pictures.example", server.port)
    server.answers["/a.png"] = reply()
    assert await fetched(make_source(OPEN), "http://pictures.example/a.png") == len(PNG)
    assert server.heard[0].headers["host"] == "pictures.example"


# fmt: off
PRIVATE = [
    "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::7f00:1", "2002:7f00:1::1", "2001:0:4136:e378:8000:63bf:80ff:fffe",
]
# fmt: on


@pytest.mark.parametrize("address", PRIVATE)
async def test_no_socket_is_made_for_a_private_address(
    make_source: MakeSource, web: Web, server: Origin, address: str
) -> None:
    """check_11: written in the URL, and as what a name stands for. The server is there; it hears nothing."""
    literal = f"[{address}]" if ":" in address else address
    web.names["inside.example"] = [[address]]
    web.ways[(address, 80)] = server.port
    await refused(make_source(OPEN), f"http://{literal}/")
    await refused(make_source(OPEN), "http://inside.example/")
    assert web.sockets == 0
    assert server.heard == []


async def test_a_name_that_flips_is_refused_the_second_time(make_source: MakeSource, server: Origin, web: Web) -> None:
    """check_13: it answered public when it was first looked at; what is connected is what counts."""
    web.place("flips.example", server.port)
    web.names["flips.example"] = [[PUBLIC], ["127.0.0.1"]]
    web.ways[("127.0.0.1", 80)] = server.port
    server.answers |= {"/1": reply(), "/2": reply()}
    source = make_source(OPEN)
    assert await fetched(source, "http://flips.example/1") == len(PNG)
    await refused(source, "http://flips.example/2")
    assert server.paths() == ["/1"]


async def test_a_name_with_one_private_address_is_refused(make_source: MakeSource, server: Origin, web: Web) -> None:
    """PixLab 6.2: if any address is not public. Else the second try would be the private one."""
    web.place("mixed.example", server.port)
    web.names["mixed.example"] = [[PUBLIC, "10.0.0.1"]]
    await refused(make_source(OPEN), "http://mixed.example/")
    assert web.sockets == 0


class Careless(AbstractResolver):
    """A resolver that judges nothing: it stands for every way past ours."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        found = ["127.0.0.1", "127.0.0.2"]
        return [ResolveResult(hostname=host, host=a, port=port, family=socket.AF_INET, proto=0, flags=0) for a in found]

    async def close(self) -> None:
        """Nothing to close."""


async def test_the_socket_factory_alone_is_wall_enough(web: Web, server: Origin) -> None:
    """check_13: whatever a resolver answers, no socket is made for what the guard refuses."""
    web.ways = {("127.0.0.1", 80): server.port, ("127.0.0.2", 80): server.port}
    async with session(OPEN, Reachability.PUBLIC, web.network(), web.lookup) as client:
        client.connector._resolver = Careless()  # type: ignore[union-attr]  # there is one; aiohttp offers no setter
        with pytest.raises(OSError, match="not an address to fetch from"):
            await client.get("http://careless.example/")
    assert web.sockets == 0


async def test_a_second_public_address_is_tried(make_source: MakeSource, server: Origin, web: Web) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        web.place("two.example", closed.getsockname()[1])
        web.names["two.example"] = [[PUBLIC, PUBLIC_TOO]]
        web.ways[(PUBLIC_TOO, 80)] = server.port
        server.answers["/"] = reply()
        assert await fetched(make_source(OPEN), "http://two.example/") == len(PNG)


async def test_opened_places_are_opened_by_name_and_port_only(
    make_source: MakeSource, server: Origin, web: Web
) -> None:
    """PixLab 6.4: allowing one port of this machine does not open another, nor the same by another name."""
    server.answers["/a.png"] = reply()
    web.ways[("127.0.0.1", server.port)] = server.port
    async with origin() as other:
        web.ways |= {("127.0.0.1", other.port): other.port, ("127.0.0.1", 80): other.port}
        web.names["rebound.example"] = [["127.0.0.1"]]
        source = make_source(opened_to(server, open=True))
        assert await fetched(source, server.url("/a.png")) == len(PNG)
        for url in (other.url("/"), "http://127.0.0.1/", server.url("/", "rebound.example"), "http://rebound.example/"):
            await refused(source, url)
        assert other.heard == []


async def test_an_opened_name_may_be_private_but_not_metadata(
    make_source: MakeSource, server: Origin, web: Web
) -> None:
    server.answers["/a.png"] = reply()
    web.place("images.internal", server.port, 9000, "10.1.2.3")
    web.place("evil.internal", server.port, 9000, "169.254.169.254")
    policy = Policy(allow=(AllowedHost("images.internal", 9000), AllowedHost("evil.internal", 9000)))
    assert await fetched(make_source(policy), "http://images.internal:9000/a.png") == len(PNG)
    await refused(make_source(policy), "http://evil.internal:9000/a.png")


@pytest.mark.parametrize("text", ["not-an-address", "fe80::1%lo", ""])
def test_what_is_no_address_is_refused(text: str) -> None:
    guard = Guard(OPEN, Reachability.PUBLIC, NetworkAccess())
    with pytest.raises(AddressRefused):
        guard.socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 80)))


def test_metadata_is_opened_by_its_very_address_only() -> None:
    policy = Policy(allow=(AllowedHost("169.254.169.254", 80),))
    guard = Guard(policy, Reachability.ALLOWED_PRIVATE, NetworkAccess())
    assert guard.admits("169.254.169.254", 80)
    assert not guard.admits("169.254.169.254", 81)
    assert not guard.admits("169.254.170.2", 80)
    assert guard.admits("127.0.0.1", 80)
    assert not Guard(policy, Reachability.PUBLIC, NetworkAccess()).admits("169.254.169.254", 80)


async def test_names_that_are_not_there_fail(make_source: MakeSource) -> None:
    with pytest.raises(SourceFailed, match="could not be reached"):
        await make_source(OPEN).open(WebUrl("http://nowhere.example/"))


# ------------------------------------------------------------------------------------------ redirects


def moved(location: str, status: int = 302) -> bytes:
    return reply(b"<html>moved", status, Location=location, Set_Cookie="session=1", Content_Type="text/html")


async def test_redirects_are_followed_three_times(source: WebSource, server: Origin) -> None:
    """check_14"""
    server.answers |= {"/1": moved("/2", 301), "/2": moved("3", 307), "/3": moved(server.url("/4"), 308), "/4": reply()}
    assert await fetched(source, server.url("/1")) == len(PNG)
    assert server.paths() == ["/1", "/2", "/3", "/4"]


async def test_the_fourth_redirect_is_too_many(source: WebSource, server: Origin) -> None:
    """check_14"""
    server.answers |= {f"/{n}": moved(f"/{n + 1}") for n in range(1, 6)}
    with pytest.raises(SourceFailed, match="redirects too often"):
        await source.open(WebUrl(server.url("/1")))
    assert server.paths() == ["/1", "/2", "/3", "/4"]


# fmt: off
LEADS_ASTRAY = [
    "http://127.0.0.1/",                "http://127.0.0.1:1/",           "http://169.254.169.254/latest/meta-data/",
    "http://[::1]/",                    "http://localhost/",             "http://redis:6379/",
    "http://2130706433/",               "file:///etc/passwd",            "gopher://pictures.example/",
    "http://user:pass@pictures.example/", "//inside.example/",           "http://pictures.example:22/",
    "http://pictures.example\\@inside.example/", "http://inside.example/",  "ftp://pictures.example/",
]
# fmt: on


@pytest.mark.parametrize("location", LEADS_ASTRAY)
async def test_a_redirect_is_judged_like_the_first_url(
    make_source: MakeSource, server: Origin, web: Web, location: str
) -> None:
    """check_14: scheme, port, userinfo, name and address, again at each hop."""
    web.place("pictures.example", server.port)
    web.names["inside.example"] = [["10.0.0.1"]]
    web.ways |= {(host, port): server.port for host in ("127.0.0.1", "10.0.0.1") for port in (1, 80)}
    server.answers |= {"/": moved("/next"), "/next": moved(location)}
    await refused(make_source(OPEN), "http://pictures.example/")
    assert server.paths() == ["/", "/next"]


async def test_a_redirect_stays_on_the_list(make_source: MakeSource, server: Origin, web: Web) -> None:
    """check_14, check_16: public, but not among what this site may fetch."""
    web.place("a.example", server.port)
    web.place("b.example", server.port)
    server.answers |= {"/a/1": moved("http://b.example/a/1"), "/a/2": moved("/secret"), "/a/3": moved("/a/4")}
    server.answers |= {"/a/4": reply(), "/secret": reply()}
    source = make_source(Policy(hosts=(HostRule.read("a.example/a"),)))
    await refused(source, "http://a.example/a/1")
    await refused(source, "http://a.example/a/2")
    assert await fetched(source, "http://a.example/a/3") == len(PNG)


async def test_credentials_do_not_cross_to_another_origin(make_source: MakeSource, server: Origin, web: Web) -> None:
    """check_14, check_24: configured and forwarded headers go to the first origin only; cookies and Referer never."""
    web.place("a.example", server.port)
    web.place("b.example", server.port)
    server.answers |= {"/1": moved("/2"), "/2": moved("http://b.example/3"), "/3": moved("/4"), "/4": reply()}
    hosts = (HostRule.read("a.example"), HostRule.read("b.example"))
    source = make_source(Policy(hosts=hosts, headers=(("Authorization", "Bearer x"),), forwarded=("X-Tenant",)))
    opened = await source.open(WebUrl("http://a.example/1", (("x-tenant", "t"), ("Cookie", "c=1"))))
    opened.close()
    sent = [(h.path, h.headers.get("authorization"), h.headers.get("x-tenant")) for h in server.heard]
    assert sent == [("/1", "Bearer x", "t"), ("/2", "Bearer x", "t"), ("/3", None, None), ("/4", None, None)]
    assert not any({"cookie", "referer"} & set(h.names) for h in server.heard)


# ------------------------------------------------------------------------------------------ what is sent


async def test_nothing_of_the_client_and_of_this_machine_is_sent(
    make_source: MakeSource, server: Origin, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """check_24: a fixed set of headers, whatever the client sent and whatever cookies came before."""
    web.place("a.example", server.port)
    server.answers |= {path: reply(Set_Cookie="id=1; Path=/") for path in ("/1", "/2")}
    source = make_source(OPEN)
    for path in ("/1", "/2"):
        where = WebUrl(f"http://a.example{path}", (("Cookie", "c=1"), ("Authorization", "x"), ("X-Forwarded-For", "y")))
        (await source.open(where)).close()
    for heard in server.heard:
        assert sorted(heard.names) == ["accept", "accept-encoding", "host", "user-agent"]
        assert heard.headers["accept-encoding"] == "identity"
        assert heard.headers["user-agent"] == "cropmark"


async def test_forwarded_headers_make_another_source(make_source: MakeSource, server: Origin) -> None:
    """check_24 (CVE-2025-57752): what a header may change is not answered to those who sent another."""
    server.answers["/a"] = reply()
    source = make_source(opened_to(server, forwarded=("Authorization",)))
    one, two = (WebUrl(server.url("/a"), (("Authorization", word),)) for word in ("one", "two"))
    stamps = []
    for where in (one, two, one):
        opened = await source.open(where)
        opened.close()
        stamps.append(opened.stamp)
    assert [h.headers.get("authorization") for h in server.heard] == ["one", "two"]
    assert stamps[0] == stamps[2]
    assert stamps[0].identity != stamps[1].identity
    assert "one" not in stamps[0].identity
    assert stamps[0].identity.startswith(source.identity(WebUrl(server.url("/a"))))


async def test_proxies_of_the_environment_are_ignored(
    make_source: MakeSource, server: Origin, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """check_17"""
    async with origin() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        web.place("a.example", server.port)
        web.ways[("127.0.0.1", proxy.port)] = proxy.port
        server.answers["/"] = reply()
        assert await fetched(make_source(OPEN), "http://a.example/") == len(PNG)
        assert proxy.heard == []


async def test_netrc_is_not_read(
    make_source: MakeSource, server: Origin, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """check_24: aiohttp reads ~/.netrc where it trusts its environment."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine a.example login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    web.place("a.example", server.port)
    server.answers["/"] = reply()
    await fetched(make_source(OPEN), "http://a.example/")
    assert "authorization" not in server.heard[0].names


# ------------------------------------------------------------------------------------------ TLS


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for pictures.example that signs itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    made = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout {path} -out {path}.crt"
    names = ["-subj", "/CN=pictures.example", "-addext", "subjectAltName=DNS:pictures.example"]
    subprocess.run([openssl, *made.split(), *names], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def _served_with(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_tls_names_the_host_and_is_verified(certificate: Path, originals: OriginalCache, web: Web) -> None:
    """check_13: the checked address is connected, SNI, certificate and Host are the name's."""
    async with origin(_served_with(certificate)) as server:
        web.place("pictures.example", server.port, 443)
        web.place("other.example", server.port, 443)
        server.answers["/"] = reply()
        trusting = web.network(ssl.create_default_context(cafile=str(certificate)))
        for network, host, works in (
            (trusting, "pictures.example", True),
            (trusting, "other.example", False),  # the certificate is another's
            (web.network(), "pictures.example", False),  # signed by nobody we trust
        ):
            source = WebSource(OPEN, originals, network=network)
            if works:
                assert await fetched(source, f"https://{host}/") == len(PNG)
            else:
                with pytest.raises(SourceFailed, match="could not be reached"):
                    await source.open(WebUrl(f"https://{host}/elsewhere"))
            await source.close()
        assert server.names[0] == "pictures.example"
        assert [h.headers["host"] for h in server.heard] == ["pictures.example"]


@pytest.mark.parametrize(("start", "works"), [("http", True), ("https", False)])
async def test_redirects_between_schemes(
    certificate: Path, originals: OriginalCache, web: Web, server: Origin, start: str, works: bool
) -> None:
    """check_14: up to https, never down from it."""
    async with origin(_served_with(certificate)) as secure:
        web.place("pictures.example", secure.port, 443)
        web.ways[(PUBLIC, 80)] = server.port
        server.answers |= {"/a": moved("https://pictures.example/b"), "/b": reply()}
        secure.answers |= {"/a": moved("http://pictures.example/b"), "/b": reply()}
        network = web.network(ssl.create_default_context(cafile=str(certificate)))
        source = WebSource(OPEN, originals, network=network)
        if works:
            assert await fetched(source, f"{start}://pictures.example/a") == len(PNG)
        else:
            await refused(source, f"{start}://pictures.example/a")
            assert server.heard == []
        await source.close()


async def test_glance_refuses_as_open_does(make_source: MakeSource) -> None:
    """And other kinds of names are missing."""
    source = make_source(Policy())
    with pytest.raises(SourceForbidden):
        source.stat(WebUrl("http://a.example/"))
    for other in (SitePath("a.jpg"), UploadRef("0" * 64)):
        with pytest.raises(SourceNotFound):
            source.stat(other)
