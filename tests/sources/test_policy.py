"""check_15, check_16: ports, allow lists and host rules, with bypasses that other programs had."""

from __future__ import annotations

import pytest

from cropmark.model.problems import SourceForbidden
from cropmark.sources.policy import AllowedHost, HostRule, Policy, Reachability, forwardable
from cropmark.sources.urls import read_url

# fmt: off
MATCHING = [
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
    ("https://example.com/images",       "https://example.com/%69mages/a.jpg"),  # the same path in another notation
    ("faß.de",                           "https://xn--fa-hia.de/"),
    ("http://[2606:4700::1111]",         "http://[2606:4700:0::1111]/"),
]

NOT_MATCHING = [
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
    ("https://example.com/images",       "https://example.com/Images/a.jpg"),      # paths are case-sensitive
    ("https://example.com/images",       "https://example.com//images/a.jpg"),
    ("1.2.3.*",                          "http://1.2.3.4.bad.com/"),
]

INVALID_RULES = ["", "*.", "a*.example.com", "a.**.example.com", "https://u@example.com", "ftp://example.com",
            "https://example.com/a*", "https://example.com/?x", "https://", "exa mple.com", "127.1"]

ALLOWED_HOSTS = [
    ("127.0.0.1:8001",        AllowedHost("127.0.0.1", 8001)),
    ("images.internal:80",    AllowedHost("images.internal", 80)),
    ("Images.Internal:9000",  AllowedHost("images.internal", 9000)),
    ("[0::1]:8080",           AllowedHost("::1", 8080)),
]

INVALID_HOSTS = ["", "127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:x", "127.0.0.1:80/", "http://a:80", "*:80",
                 "127.1:80", "127.0.0.1:99999", "a@b:80", "::1"]

OPEN = Policy(open=True)
LISTED = Policy(hosts=(HostRule.read("https://cdn.example.com:8443/pics"), HostRule.read("a.example.com")))
PRIVATE = Policy(open=True, allow=(AllowedHost.read("127.0.0.1:8001"), AllowedHost.read("redis:80")))
BOTH = Policy(hosts=(HostRule.read("a.example.com"), HostRule.read("http://redis")),
              allow=(AllowedHost.read("redis:80"),))

REACHABILITIES = [
    # policy   URL                                 reachability, or None: forbidden
    (Policy(), "https://example.com/",             None),          # the default allows nothing
    (OPEN,     "https://example.com/",             Reachability.PUBLIC),
    (OPEN,     "http://example.com/",              Reachability.PUBLIC),
    (OPEN,     "http://example.com:443/",          Reachability.PUBLIC),
    (OPEN,     "http://example.com:8080/",         None),
    (OPEN,     "http://example.com:22/",           None),
    (OPEN,     "http://localhost/",                None),
    (OPEN,     "http://redis/",                    None),
    (OPEN,     "http://metadata.google.internal/", None),
    (OPEN,     "http://127.0.0.1/",              Reachability.PUBLIC),    # the guard rejects the address
    (OPEN,     "http://[::1]/",                    Reachability.PUBLIC),
    (LISTED,   "https://cdn.example.com:8443/pics/a", Reachability.PUBLIC), # the port of a rule is allowed
    (LISTED,   "https://a.example.com/",           Reachability.PUBLIC),
    (LISTED,   "https://a.example.com:8443/",      None),          # for that rule only
    (LISTED,   "https://b.example.com/",           None),
    (PRIVATE,   "http://127.0.0.1:8001/x",          Reachability.ALLOWED_PRIVATE),
    (PRIVATE,   "https://127.0.0.1:8001/x",         Reachability.ALLOWED_PRIVATE),
    (PRIVATE,   "http://127.0.0.1:6379/x",          None),          # another port
    (PRIVATE,   "http://127.0.0.2:8001/x",          None),
    (PRIVATE,   "http://localhost:8001/x",          None),          # another name
    (PRIVATE,   "http://[::ffff:127.0.0.1]:8001/",  None),
    (PRIVATE,   "http://redis/",                    Reachability.ALLOWED_PRIVATE),
    (PRIVATE,   "https://redis/",                   None),
    (BOTH,     "http://redis/",                    Reachability.ALLOWED_PRIVATE),
    (BOTH,     "http://a.example.com/",            Reachability.PUBLIC),
    (Policy(allow=(AllowedHost("10.0.0.5", 80),)), "http://10.0.0.5/", Reachability.ALLOWED_PRIVATE),
    (Policy(allow=(AllowedHost("10.0.0.5", 80),)), "http://a.example.com/", None),
    (Policy(allow=(AllowedHost("10.0.0.5", 80),), hosts=(HostRule.read("a.example.com"),)), "http://10.0.0.5/", None),
]
# fmt: on


@pytest.mark.parametrize(("rule", "url"), MATCHING)
def test_matching(rule: str, url: str) -> None:
    assert HostRule.read(rule).matches(read_url(url))


@pytest.mark.parametrize(("rule", "url"), NOT_MATCHING)
def test_not_matching(rule: str, url: str) -> None:
    """check_16"""
    assert not HostRule.read(rule).matches(read_url(url))


@pytest.mark.parametrize("text", INVALID_RULES)
def test_invalid_rule(text: str) -> None:
    with pytest.raises(ValueError, match="expected a host"):
        HostRule.read(text)


@pytest.mark.parametrize(("text", "expected"), ALLOWED_HOSTS)
def test_allowed_host(text: str, expected: AllowedHost) -> None:
    assert AllowedHost.read(text) == expected


@pytest.mark.parametrize("text", INVALID_HOSTS)
def test_invalid_allowed_host(text: str) -> None:
    with pytest.raises(ValueError, match="expected host:port"):
        AllowedHost.read(text)


@pytest.mark.parametrize(("policy", "url", "expected"), REACHABILITIES)
def test_reachability(policy: Policy, url: str, expected: Reachability | None) -> None:
    """check_15, check_16"""
    if expected is not None:
        assert policy.reachability(read_url(url)) is expected
        return
    with pytest.raises(SourceForbidden, match="the URL of the image may not be fetched"):
        policy.reachability(read_url(url))


def test_only_named_headers_are_forwarded() -> None:
    """check_24"""
    headers = (("Cookie", "a=1"), ("authorization", "Bearer x"), ("X-Tenant", "t"))
    assert forwardable(Policy(), headers) == ()
    assert forwardable(Policy(forwarded=("X-Tenant", "X-Other")), headers) == (("X-Tenant", "t"),)


@pytest.mark.parametrize("name", ["Host", "content-length", "Accept-Encoding", "If-None-Match", "Range"])
def test_headers_that_cannot_be_configured(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} cannot be configured"):
        Policy(headers=((name, "x"),))
    with pytest.raises(ValueError, match=f"{name} cannot be configured"):
        Policy(forwarded=(name,))


def test_headers_need_a_list_of_hosts() -> None:
    """check_24: if any host is allowed, any server could receive the configured credentials."""
    with pytest.raises(ValueError, match="to listed hosts only"):
        Policy(open=True, headers=(("Authorization", "Bearer x"),))
    with pytest.raises(ValueError, match="to listed hosts only"):
        Policy(open=True, forwarded=("Authorization",))


def test_scopes_differ_by_rules() -> None:
    """Originals stored under one set of rules are not used under another; timeouts do not matter."""
    policies = [Policy(), OPEN, LISTED, PRIVATE, BOTH, Policy(open=True, limit_bytes=1)]
    assert len({policy.scope for policy in policies}) == len(policies)
    assert Policy(open=True, total_s=1).scope == OPEN.scope
