"""check_13, check_14, check_15, check_17, check_24: permitted connections, redirects and request headers."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from cropmark.config.settings import Settings
from cropmark.config.site import SiteSettings
from cropmark.config.source_spec import OriginSpec
from cropmark.model.problems import SourceFailed, SourceForbidden, SourceNotFound
from cropmark.plan.source import SitePath, UploadRef, WebUrl
from cropmark.server.origins import origin_policy
from cropmark.sources.connection import AddressRefused, Guard, NetworkAccess, new_session
from cropmark.sources.original_cache import OriginalCache
from cropmark.sources.policy import AllowedHost, HostRule, Policy, Reachability
from cropmark.sources.urls import forbidden_address
from cropmark.sources.web import WebSource
from tests.sources.conftest import MakeSource, policy_for
from tests.sources.origins import OTHER_PUBLIC, PNG, PUBLIC, FakeInternet, Origin, origin, reply

OPEN = Policy(open=True, connect_s=1, first_byte_s=1, total_s=2)


async def fetched_bytes(source: WebSource, url: str) -> int:
    """Number of bytes of the response."""
    opened = await source.open(WebUrl(url))
    opened.close()
    return opened.bytes


async def assert_forbidden(source: WebSource, url: str) -> None:
    with pytest.raises(SourceForbidden) as caught:
        await source.open(WebUrl(url))
    # One text for all: it does not reveal whether a name or a port exists.
    assert str(caught.value) == str(forbidden_address())
    assert caught.value.origin_status is None


# ------------------------------------------------------------------------------------------ addresses


async def test_a_public_server_is_fetched_from(make_source: MakeSource, server: Origin, web: FakeInternet) -> None:
    web.add_server("pictures.example", server.port)
    server.responses["/a.png"] = reply()
    assert await fetched_bytes(make_source(OPEN), "http://pictures.example/a.png") == len(PNG)
    assert server.requests[0].headers["host"] == "pictures.example"


# fmt: off
PRIVATE = [
    "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::7f00:1", "2002:7f00:1::1", "2001:0:4136:e378:8000:63bf:80ff:fffe",
]
# fmt: on


@pytest.mark.parametrize("address", PRIVATE)
async def test_no_socket_is_created_for_a_private_address(
    make_source: MakeSource, web: FakeInternet, server: Origin, address: str
) -> None:
    """check_11: in the URL and as the address of a name. The server exists and receives nothing."""
    literal = f"[{address}]" if ":" in address else address
    web.names["inside.example"] = [[address]]
    web.routes[(address, 80)] = server.port
    await assert_forbidden(make_source(OPEN), f"http://{literal}/")
    await assert_forbidden(make_source(OPEN), "http://inside.example/")
    assert web.sockets == 0
    assert server.requests == []


async def test_a_name_that_becomes_private_is_rejected(
    make_source: MakeSource, server: Origin, web: FakeInternet
) -> None:
    """check_13: DNS rebinding. The address of each connection is checked, not that of an earlier look-up."""
    web.add_server("flips.example", server.port)
    web.names["flips.example"] = [[PUBLIC], ["127.0.0.1"]]
    web.routes[("127.0.0.1", 80)] = server.port
    server.responses |= {"/1": reply(), "/2": reply()}
    source = make_source(OPEN)
    assert await fetched_bytes(source, "http://flips.example/1") == len(PNG)
    await assert_forbidden(source, "http://flips.example/2")
    assert server.paths() == ["/1"]


async def test_a_name_with_one_private_address_is_rejected(
    make_source: MakeSource, server: Origin, web: FakeInternet
) -> None:
    """Otherwise a second attempt could connect to the private address."""
    web.add_server("mixed.example", server.port)
    web.names["mixed.example"] = [[PUBLIC, "10.0.0.1"]]
    await assert_forbidden(make_source(OPEN), "http://mixed.example/")
    assert web.sockets == 0


class UncheckedResolver(AbstractResolver):
    """A resolver without checks, like any way around ours."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        addresses = ["127.0.0.1", "127.0.0.2"]
        return [
            ResolveResult(hostname=host, host=a, port=port, family=socket.AF_INET, proto=0, flags=0) for a in addresses
        ]

    async def close(self) -> None:
        """Do nothing."""


async def test_the_socket_factory_alone_enforces_the_policy(web: FakeInternet, server: Origin) -> None:
    """check_13: no socket is created for an address that the guard rejects, for any result of a resolver."""
    web.routes = {("127.0.0.1", 80): server.port, ("127.0.0.2", 80): server.port}
    async with new_session(OPEN, Reachability.PUBLIC, web.network(), web.lookup) as client:
        client.connector._resolver = UncheckedResolver()  # type: ignore[union-attr]  # there is one; aiohttp offers no setter
        with pytest.raises(OSError, match="may not be fetched from"):
            await client.get("http://careless.example/")
    assert web.sockets == 0


async def test_a_second_public_address_is_tried(make_source: MakeSource, server: Origin, web: FakeInternet) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        web.add_server("two.example", closed.getsockname()[1])
        web.names["two.example"] = [[PUBLIC, OTHER_PUBLIC]]
        web.routes[(OTHER_PUBLIC, 80)] = server.port
        server.responses["/"] = reply()
        assert await fetched_bytes(make_source(OPEN), "http://two.example/") == len(PNG)


async def test_a_private_host_is_allowed_by_name_and_port_only(
    make_source: MakeSource, server: Origin, web: FakeInternet
) -> None:
    """Allowing one port of this machine allows neither another port nor the same port under another name."""
    server.responses["/a.png"] = reply()
    web.routes[("127.0.0.1", server.port)] = server.port
    async with origin() as other:
        web.routes |= {("127.0.0.1", other.port): other.port, ("127.0.0.1", 80): other.port}
        web.names["rebound.example"] = [["127.0.0.1"]]
        source = make_source(policy_for(server, open=True))
        assert await fetched_bytes(source, server.url("/a.png")) == len(PNG)
        for url in (other.url("/"), "http://127.0.0.1/", server.url("/", "rebound.example"), "http://rebound.example/"):
            await assert_forbidden(source, url)
        assert other.requests == []


async def test_an_allowed_name_may_be_private_but_not_metadata(
    make_source: MakeSource, server: Origin, web: FakeInternet
) -> None:
    server.responses["/a.png"] = reply()
    web.add_server("images.internal", server.port, 9000, "10.1.2.3")
    web.add_server("evil.internal", server.port, 9000, "169.254.169.254")
    policy = Policy(allow=(AllowedHost("images.internal", 9000), AllowedHost("evil.internal", 9000)))
    assert await fetched_bytes(make_source(policy), "http://images.internal:9000/a.png") == len(PNG)
    await assert_forbidden(make_source(policy), "http://evil.internal:9000/a.png")


@pytest.mark.parametrize("text", ["not-an-address", "fe80::1%lo", ""])
def test_a_text_that_is_not_an_address_is_rejected(text: str) -> None:
    guard = Guard(OPEN, Reachability.PUBLIC, NetworkAccess())
    with pytest.raises(AddressRefused):
        guard.socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 80)))


def test_metadata_is_allowed_by_its_exact_address_only() -> None:
    policy = Policy(allow=(AllowedHost("169.254.169.254", 80),))
    guard = Guard(policy, Reachability.ALLOWED_PRIVATE, NetworkAccess())
    assert guard.allows("169.254.169.254", 80)
    assert not guard.allows("169.254.169.254", 81)
    assert not guard.allows("169.254.170.2", 80)
    assert guard.allows("127.0.0.1", 80)
    assert not Guard(policy, Reachability.PUBLIC, NetworkAccess()).allows("169.254.169.254", 80)


async def test_unknown_names_fail(make_source: MakeSource) -> None:
    with pytest.raises(SourceFailed, match="could not be reached"):
        await make_source(OPEN).open(WebUrl("http://nowhere.example/"))


# ------------------------------------------------------------------------------------------ redirects


def moved(location: str, status: int = 302) -> bytes:
    return reply(b"<html>moved", status, Location=location, Set_Cookie="session=1", Content_Type="text/html")


async def test_redirects_are_followed_three_times(source: WebSource, server: Origin) -> None:
    """check_14"""
    server.responses |= {
        "/1": moved("/2", 301),
        "/2": moved("3", 307),
        "/3": moved(server.url("/4"), 308),
        "/4": reply(),
    }
    assert await fetched_bytes(source, server.url("/1")) == len(PNG)
    assert server.paths() == ["/1", "/2", "/3", "/4"]


async def test_the_fourth_redirect_is_too_many(source: WebSource, server: Origin) -> None:
    """check_14"""
    server.responses |= {f"/{n}": moved(f"/{n + 1}") for n in range(1, 6)}
    with pytest.raises(SourceFailed, match="redirects too often"):
        await source.open(WebUrl(server.url("/1")))
    assert server.paths() == ["/1", "/2", "/3", "/4"]


# fmt: off
FORBIDDEN_LOCATIONS = [
    "http://127.0.0.1/",                "http://127.0.0.1:1/",           "http://169.254.169.254/latest/meta-data/",
    "http://[::1]/",                    "http://localhost/",             "http://redis:6379/",
    "http://2130706433/",               "file:///etc/passwd",            "gopher://pictures.example/",
    "http://user:pass@pictures.example/", "//inside.example/",           "http://pictures.example:22/",
    "http://pictures.example\\@inside.example/", "http://inside.example/",  "ftp://pictures.example/",
]
# fmt: on


@pytest.mark.parametrize("location", FORBIDDEN_LOCATIONS)
async def test_a_redirect_is_checked_like_the_first_url(
    make_source: MakeSource, server: Origin, web: FakeInternet, location: str
) -> None:
    """check_14: scheme, port, userinfo, name and address, at each redirect."""
    web.add_server("pictures.example", server.port)
    web.names["inside.example"] = [["10.0.0.1"]]
    web.routes |= {(host, port): server.port for host in ("127.0.0.1", "10.0.0.1") for port in (1, 80)}
    server.responses |= {"/": moved("/next"), "/next": moved(location)}
    await assert_forbidden(make_source(OPEN), "http://pictures.example/")
    assert server.paths() == ["/", "/next"]


async def test_a_redirect_must_match_the_allow_list(make_source: MakeSource, server: Origin, web: FakeInternet) -> None:
    """check_14, check_16: the target is public, but not on this site's list."""
    web.add_server("a.example", server.port)
    web.add_server("b.example", server.port)
    server.responses |= {"/a/1": moved("http://b.example/a/1"), "/a/2": moved("/secret"), "/a/3": moved("/a/4")}
    server.responses |= {"/a/4": reply(), "/secret": reply()}
    source = make_source(Policy(hosts=(HostRule.read("a.example/a"),)))
    await assert_forbidden(source, "http://a.example/a/1")
    await assert_forbidden(source, "http://a.example/a/2")
    assert await fetched_bytes(source, "http://a.example/a/3") == len(PNG)


async def test_check_65_an_origin_that_the_operator_chose_is_trusted_at_its_own_address_only(
    make_source: MakeSource, server: Origin, web: FakeInternet
) -> None:
    """Its name may lead to a private address, never to one of a cloud's metadata; other hosts are refused."""
    web.names |= {"images.internal": [["10.0.0.1"]], "meta.internal": [["169.254.169.254"]]}
    web.routes |= {(address, 80): server.port for address in ("10.0.0.1", "169.254.169.254")}
    server.responses |= {"/a": reply(), "/b": moved("http://meta.internal/a"), "/c": moved("http://10.0.0.1/a")}
    trusted = make_source(policy_of_a_site("http://images.internal"))
    assert await fetched_bytes(trusted, "http://images.internal/a") == len(PNG)
    for path in ("/b", "/c"):
        with pytest.raises(SourceFailed, match="not allowed"):
            await trusted.open(WebUrl(f"http://images.internal{path}"))
    await assert_forbidden(trusted, "http://10.0.0.1/a")  # named by a client
    metadata = make_source(policy_of_a_site("http://meta.internal"))
    with pytest.raises(SourceFailed, match="not allowed"):
        await metadata.open(WebUrl("http://meta.internal/a"))


def policy_of_a_site(url: str) -> Policy:
    """The policy of a site over this origin."""
    site = SiteSettings(dialect="fastly", source=url)
    assert isinstance(site.source, OriginSpec)
    return origin_policy(Settings(), site, site.source)


async def test_credentials_do_not_cross_to_another_origin(
    make_source: MakeSource, server: Origin, web: FakeInternet
) -> None:
    """check_14, check_24: configured and forwarded headers go to the first origin only; cookies and Referer never."""
    web.add_server("a.example", server.port)
    web.add_server("b.example", server.port)
    server.responses |= {"/1": moved("/2"), "/2": moved("http://b.example/3"), "/3": moved("/4"), "/4": reply()}
    hosts = (HostRule.read("a.example"), HostRule.read("b.example"))
    source = make_source(Policy(hosts=hosts, headers=(("Authorization", "Bearer x"),), forwarded=("X-Tenant",)))
    opened = await source.open(WebUrl("http://a.example/1", (("x-tenant", "t"), ("Cookie", "c=1"))))
    opened.close()
    sent = [(h.path, h.headers.get("authorization"), h.headers.get("x-tenant")) for h in server.requests]
    assert sent == [("/1", "Bearer x", "t"), ("/2", "Bearer x", "t"), ("/3", None, None), ("/4", None, None)]
    assert not any({"cookie", "referer"} & set(h.header_names) for h in server.requests)


# ------------------------------------------------------------------------------------------ request headers


async def test_headers_of_the_client_are_not_sent(
    make_source: MakeSource, server: Origin, web: FakeInternet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """check_24: a fixed set of headers, independent of the client's headers and of earlier cookies."""
    web.add_server("a.example", server.port)
    server.responses |= {path: reply(Set_Cookie="id=1; Path=/") for path in ("/1", "/2")}
    source = make_source(OPEN)
    for path in ("/1", "/2"):
        ref = WebUrl(f"http://a.example{path}", (("Cookie", "c=1"), ("Authorization", "x"), ("X-Forwarded-For", "y")))
        (await source.open(ref)).close()
    for request in server.requests:
        assert sorted(request.header_names) == ["accept", "accept-encoding", "host", "user-agent"]
        assert request.headers["accept-encoding"] == "identity"
        assert request.headers["user-agent"] == "cropmark"


async def test_forwarded_headers_are_part_of_the_identity(make_source: MakeSource, server: Origin) -> None:
    """check_24 (CVE-2025-57752): a response that depends on a header is not served for another value."""
    server.responses["/a"] = reply()
    source = make_source(policy_for(server, forwarded=("Authorization",)))
    one, two = (WebUrl(server.url("/a"), (("Authorization", word),)) for word in ("one", "two"))
    versions = []
    for ref in (one, two, one):
        opened = await source.open(ref)
        opened.close()
        versions.append(opened.version)
    assert [h.headers.get("authorization") for h in server.requests] == ["one", "two"]
    assert versions[0] == versions[2]
    assert versions[0].identity != versions[1].identity
    assert "one" not in versions[0].identity
    assert versions[0].identity.startswith(source.identity(WebUrl(server.url("/a"))))


async def test_proxies_of_the_environment_are_ignored(
    make_source: MakeSource, server: Origin, web: FakeInternet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """check_17"""
    async with origin() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        web.add_server("a.example", server.port)
        web.routes[("127.0.0.1", proxy.port)] = proxy.port
        server.responses["/"] = reply()
        assert await fetched_bytes(make_source(OPEN), "http://a.example/") == len(PNG)
        assert proxy.requests == []


async def test_netrc_is_not_read(
    make_source: MakeSource, server: Origin, web: FakeInternet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """check_24: aiohttp reads ~/.netrc if trust_env is set."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine a.example login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    web.add_server("a.example", server.port)
    server.responses["/"] = reply()
    await fetched_bytes(make_source(OPEN), "http://a.example/")
    assert "authorization" not in server.requests[0].header_names


# ------------------------------------------------------------------------------------------ TLS


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for pictures.example, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to create the certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout {path} -out {path}.crt"
    names = ["-subj", "/CN=pictures.example", "-addext", "subjectAltName=DNS:pictures.example"]
    subprocess.run([openssl, *command.split(), *names], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def _served_with(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_tls_sends_the_host_name_and_verifies_the_certificate(
    certificate: Path, originals: OriginalCache, web: FakeInternet
) -> None:
    """check_13: the connection uses the checked address; SNI, certificate and Host use the name."""
    async with origin(_served_with(certificate)) as server:
        web.add_server("pictures.example", server.port, 443)
        web.add_server("other.example", server.port, 443)
        server.responses["/"] = reply()
        trusting = web.network(ssl.create_default_context(cafile=str(certificate)))
        for network, host, works in (
            (trusting, "pictures.example", True),
            (trusting, "other.example", False),  # the certificate of another host
            (web.network(), "pictures.example", False),  # not signed by a trusted authority
        ):
            source = WebSource(OPEN, originals, network=network)
            if works:
                assert await fetched_bytes(source, f"https://{host}/") == len(PNG)
            else:
                with pytest.raises(SourceFailed, match="could not be reached"):
                    await source.open(WebUrl(f"https://{host}/elsewhere"))
            await source.close()
        assert server.server_names[0] == "pictures.example"
        assert [h.headers["host"] for h in server.requests] == ["pictures.example"]


@pytest.mark.parametrize(("start", "works"), [("http", True), ("https", False)])
async def test_redirects_between_schemes(
    certificate: Path, originals: OriginalCache, web: FakeInternet, server: Origin, start: str, works: bool
) -> None:
    """check_14: from http to https, never back."""
    async with origin(_served_with(certificate)) as secure:
        web.add_server("pictures.example", secure.port, 443)
        web.routes[(PUBLIC, 80)] = server.port
        server.responses |= {"/a": moved("https://pictures.example/b"), "/b": reply()}
        secure.responses |= {"/a": moved("http://pictures.example/b"), "/b": reply()}
        network = web.network(ssl.create_default_context(cafile=str(certificate)))
        source = WebSource(OPEN, originals, network=network)
        if works:
            assert await fetched_bytes(source, f"{start}://pictures.example/a") == len(PNG)
        else:
            await assert_forbidden(source, f"{start}://pictures.example/a")
            assert server.requests == []
        await source.close()


async def test_stat_rejects_like_open(make_source: MakeSource) -> None:
    """Other kinds of references are missing."""
    source = make_source(Policy())
    with pytest.raises(SourceForbidden):
        source.stat(WebUrl("http://a.example/"))
    for other in (SitePath("a.jpg"), UploadRef("0" * 64)):
        with pytest.raises(SourceNotFound):
            source.stat(other)
