"""check_15, check_16: ports, allow-lists and host rules, against the bypasses that other programs had."""

from __future__ import annotations

import pytest

from cropmark.model.problems import SourceForbidden
from cropmark.sources.policy import AllowedHost, HostRule, Policy, Reachability, forwardable
from cropmark.sources.urls import read_url

# fmt: off
ADMITTED = [
    # rule                               URL
    ("cdn.example.com",                  "https://cdn.example.com/a.jpg"),
    ("cdn.example.com",                  "http://cdn.example.com/a.jpg"),        # no scheme: either
    ("CDN.Example.com",                  "https://cdn.EXAMPLE.com/"),
    ("https://cdn.example.com",          "https://cdn.example.com:443/a"),
    ("http://cdn.example.com:8080",      "http://cdn.example.com:8080/a"),
    ("*.example.com",                    "https://a.example.com/"),
    ("a.*.example.com",                  "https://a.b.example.com/"),
    ("**.example.com",                   "https://a.example.com/"),
    ("**.example.com",                   "https://c.b.a.example.com/"),
    ("https://example.com/images",       "https://example.com/images"),
    ("https://example.com/images",       "https://example.com/images/a.jpg?x=1"),
    ("https://example.com/images/",      "https://example.com/images/a/b.jpg"),
    ("https://example.com/images",       "https://example.com/%69mages/a.jpg"),  # the same path, spelled otherwise
    ("faß.de",                           "https://xn--fa-hia.de/"),
    ("http://[2606:4700::1111]",         "http://[2606:4700:0::1111]/"),
]

NOT_ADMITTED = [
    # rule                               URL                                       the bypass
    ("cdn.example.com",                  "https://cdnxexample.com/"),              # a dot is a dot
    ("cdn.example.com",                  "https://cdn.example.com.bad.com/"),      # prefix match
    ("cdn.example.com",                  "https://badcdn.example.com/"),           # suffix match
    ("cdn.example.com",                  "https://bad.com/cdn.example.com"),       # found anywhere
    ("cdn.example.com",                  "https://bad.com/?cdn.example.com"),
    ("cdn.example.com",                  "https://cdn.example.com:8443/"),         # another port
    ("cdn.example.com",                  "https://cdn.exаmple.com/"),              # Cyrillic а
    ("cdn.example.com",                  "https://a.cdn.example.com/"),
    ("https://cdn.example.com",          "http://cdn.example.com/"),
    ("https://cdn.example.com",          "http://cdn.example.com:443/"),
    ("http://cdn.example.com:8080",      "http://cdn.example.com/"),
    ("*.example.com",                    "https://example.com/"),
    ("*.example.com",                    "https://a.b.example.com/"),              # exactly one label
    ("*.example.com",                    "https://badexample.com/"),
    ("*.example.com",                    "https://a.example.com.bad.com/"),
    ("**.example.com",                   "https://example.com/"),
    ("**.example.com",                   "https://badexample.com/"),
    ("https://example.com/images",       "https://example.com/imagesecret/a.jpg"), # no separator
    ("https://example.com/images",       "https://example.com/"),
    ("https://example.com/images",       "https://example.com/images/../secret"),
    ("https://example.com/images",       "https://example.com/images/%2e%2e/secret"),
    ("https://example.com/images",       "https://example.com/images/..%2fsecret"),
    ("https://example.com/images",       "https://example.com/images/%252e%252e%252fsecret"),
    ("https://example.com/images",       "https://example.com/images/..;/secret"),
    ("https://example.com/images",       "https://example.com/images%2f..%2fsecret"),
    ("https://example.com/images",       "https://example.com/Images/a.jpg"),      # paths tell case apart
    ("https://example.com/images",       "https://example.com//images/a.jpg"),
    ("1.2.3.*",                          "http://1.2.3.4.bad.com/"),
]

NO_RULES = ["", "*.", "a*.example.com", "a.**.example.com", "https://u@example.com", "ftp://example.com",
            "https://example.com/a*", "https://example.com/?x", "https://", "exa mple.com", "127.1"]

PLACES = [
    ("127.0.0.1:8001",        AllowedHost("127.0.0.1", 8001)),
    ("images.internal:80",    AllowedHost("images.internal", 80)),
    ("Images.Internal:9000",  AllowedHost("images.internal", 9000)),
    ("[0::1]:8080",           AllowedHost("::1", 8080)),
]

NO_PLACES = ["", "127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:x", "127.0.0.1:80/", "http://a:80", "*:80", "127.1:80",
             "127.0.0.1:99999", "a@b:80", "::1"]

OPEN = Policy(open=True)
LISTED = Policy(hosts=(HostRule.read("https://cdn.example.com:8443/pics"), HostRule.read("a.example.com")))
PLACED = Policy(open=True, allow=(AllowedHost.read("127.0.0.1:8001"), AllowedHost.read("redis:80")))
BOTH = Policy(hosts=(HostRule.read("a.example.com"), HostRule.read("http://redis")),
              allow=(AllowedHost.read("redis:80"),))

WAYS = [
    # policy   URL                                 how far, or None for refused
    (Policy(), "https://example.com/",             None),          # nothing is allowed unless something is
    (OPEN,     "https://example.com/",             Reachability.PUBLIC),
    (OPEN,     "http://example.com/",              Reachability.PUBLIC),
    (OPEN,     "http://example.com:443/",          Reachability.PUBLIC),
    (OPEN,     "http://example.com:8080/",         None),
    (OPEN,     "http://example.com:22/",           None),
    (OPEN,     "http://localhost/",                None),
    (OPEN,     "http://redis/",                    None),
    (OPEN,     "http://metadata.google.internal/", None),
    (OPEN,     "http://127.0.0.1/",              Reachability.PUBLIC),    # admitted here; the guard refuses the address
    (OPEN,     "http://[::1]/",                    Reachability.PUBLIC),
    (LISTED,   "https://cdn.example.com:8443/pics/a", Reachability.PUBLIC), # a rule's port is open
    (LISTED,   "https://a.example.com/",           Reachability.PUBLIC),
    (LISTED,   "https://a.example.com:8443/",      None),          # but for that rule only
    (LISTED,   "https://b.example.com/",           None),
    (PLACED,   "http://127.0.0.1:8001/x",          Reachability.ALLOWED_PRIVATE),
    (PLACED,   "https://127.0.0.1:8001/x",         Reachability.ALLOWED_PRIVATE),
    (PLACED,   "http://127.0.0.1:6379/x",          None),          # by port (PixLab 6.4)
    (PLACED,   "http://127.0.0.2:8001/x",          None),
    (PLACED,   "http://localhost:8001/x",          None),          # by the very name
    (PLACED,   "http://[::ffff:127.0.0.1]:8001/",  None),
    (PLACED,   "http://redis/",                    Reachability.ALLOWED_PRIVATE),
    (PLACED,   "https://redis/",                   None),
    (BOTH,     "http://redis/",                    Reachability.ALLOWED_PRIVATE),
    (BOTH,     "http://a.example.com/",            Reachability.PUBLIC),
    (Policy(allow=(AllowedHost("10.0.0.5", 80),)), "http://10.0.0.5/", Reachability.ALLOWED_PRIVATE),
    (Policy(allow=(AllowedHost("10.0.0.5", 80),)), "http://a.example.com/", None),
    (Policy(allow=(AllowedHost("10.0.0.5", 80),), hosts=(HostRule.read("a.example.com"),)), "http://10.0.0.5/", None),
]
# fmt: on


@pytest.mark.parametrize(("rule", "url"), ADMITTED)
def test_admitted(rule: str, url: str) -> None:
    assert HostRule.read(rule).admits(read_url(url))


@pytest.mark.parametrize(("rule", "url"), NOT_ADMITTED)
def test_not_admitted(rule: str, url: str) -> None:
    """check_16"""
    assert not HostRule.read(rule).admits(read_url(url))


@pytest.mark.parametrize("text", NO_RULES)
def test_no_rule(text: str) -> None:
    with pytest.raises(ValueError, match="expected a host"):
        HostRule.read(text)


@pytest.mark.parametrize(("text", "expected"), PLACES)
def test_place(text: str, expected: AllowedHost) -> None:
    assert AllowedHost.read(text) == expected


@pytest.mark.parametrize("text", NO_PLACES)
def test_no_place(text: str) -> None:
    with pytest.raises(ValueError, match="expected host:port"):
        AllowedHost.read(text)


@pytest.mark.parametrize(("policy", "url", "way"), WAYS)
def test_way(policy: Policy, url: str, way: Reachability | None) -> None:
    """check_15, check_16"""
    if way is not None:
        assert policy.way(read_url(url)) is way
        return
    with pytest.raises(SourceForbidden, match="the address of the picture may not be fetched"):
        policy.way(read_url(url))


def test_only_named_headers_are_forwarded() -> None:
    """check_24"""
    given = (("Cookie", "a=1"), ("authorization", "Bearer x"), ("X-Tenant", "t"))
    assert forwardable(Policy(), given) == ()
    assert forwardable(Policy(forwarded=("X-Tenant", "X-Other")), given) == (("X-Tenant", "t"),)


@pytest.mark.parametrize("name", ["Host", "content-length", "Accept-Encoding", "If-None-Match", "Range"])
def test_headers_that_no_configuration_sets(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} cannot be configured"):
        Policy(headers=((name, "x"),))
    with pytest.raises(ValueError, match=f"{name} cannot be configured"):
        Policy(forwarded=(name,))


def test_headers_need_a_closed_list() -> None:
    """check_24: with any host open, configured credentials would go to whoever is named."""
    with pytest.raises(ValueError, match="to listed hosts only"):
        Policy(open=True, headers=(("Authorization", "Bearer x"),))
    with pytest.raises(ValueError, match="to listed hosts only"):
        Policy(open=True, forwarded=("Authorization",))


def test_scopes_tell_rules_apart() -> None:
    """What was kept under looser rules is not used under tighter ones; times do not matter."""
    policies = [Policy(), OPEN, LISTED, PLACED, BOTH, Policy(open=True, limit_bytes=1)]
    assert len({policy.scope for policy in policies}) == len(policies)
    assert Policy(open=True, total_s=1).scope == OPEN.scope
