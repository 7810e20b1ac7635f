"""sign and srcset, as `from cropmark import sign, srcset` offers them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cropmark import explain, sign, srcset
from cropmark.config.settings import Settings
from cropmark.links import WIDTH_PARAMETERS, with_query
from cropmark.security.signing import Keyring, SigningKey
from cropmark.server.sites import build_dialect

KEY = "2026a:" + "k" * 40
OTHER = "2026b:" + "m" * 40
VECTORS = json.loads((Path(__file__).parent.parent / "docs/signing-vectors.json").read_text())["vectors"]


def check(url: str, now_s: float) -> bytes:
    """The query that the server's check accepts, without the signature."""
    path, _, query = url.encode().partition(b"?")
    return Keyring([SigningKey.read(KEY), SigningKey.read(OTHER)]).check(path, query, now_s).query


def test_a_signed_url_is_valid() -> None:
    url = sign("/fastly/blue.jpg?width=300", KEY)
    assert re.fullmatch(r"/fastly/blue\.jpg\?width=300&kid=2026a&sig=[\w-]{43}", url)
    assert check(url, time.time()) == b"width=300"


@pytest.mark.parametrize("vector", [v for v in VECTORS if not re.search("(exp|kid)=", v["text"])])
def test_the_published_vectors(vector: dict[str, str]) -> None:
    assert sign(vector["text"], vector["key"]) == vector["signed"]


def test_host_key_id_and_lifetime() -> None:
    url = sign("https://img.example/blue.jpg", (KEY, OTHER), expires=60, key_id="2026b")
    assert re.fullmatch(r"https://img\.example/blue\.jpg\?kid=2026b&exp=\d+&sig=[\w-]{43}", url)
    target = url.removeprefix("https://img.example")
    assert check(target, time.time()) == b""
    with pytest.raises(Exception, match="expired"):
        check(target, time.time() + 120)


# fmt: off
REJECTED = [
    # arguments of sign                                           words
    ({"url": "/a.jpg", "key": "short"},                           "at least 32 bytes"),
    ({"url": "/a.jpg", "key": []},                                "at least one key"),
    ({"url": "/a.jpg", "key": KEY, "expires": "soon"},            "such as 90s"),
    ({"url": "/a.jpg", "key": KEY, "key_id": "other"},            "expected the id of a key"),
    ({"url": "/a.jpg?sig=1", "key": KEY},                         "no kid="),
]
SRCSETS = [
    # url, keyword arguments                                      the attribute
    ("/a.jpg", {"widths": (100, 200)},                            "/a.jpg?width=100 100w, /a.jpg?width=200 200w"),
    ("/a.jpg", {"widths": (200, 100, 200)},                       "/a.jpg?width=100 100w, /a.jpg?width=200 200w"),
    ("/a.jpg?crop=16:9,smart", {"widths": [90]},                  "/a.jpg?crop=16:9,smart&width=90 90w"),
    ("https://h.example/a.jpg", {"widths": (90,), "dialect": "kontent"}, "https://h.example/a.jpg?w=90 90w"),
    ("/a.jpg", {"widths": (90,), "dialect": "contentstack"},      "/a.jpg?width=90 90w"),
]
NO_SRCSETS = [
    ("/a.jpg?width=9", {},                                        "without width="),
    ("/a.jpg", {"dialect": "pixlab"},                             "expected one of fastly, contentstack, kontent"),
    ("/a.jpg", {"widths": ()},                                    "at least one width"),
    ("/a.jpg", {"widths": (0,)},                                  "at least 1 pixel"),
]
# fmt: on


@pytest.mark.parametrize(("arguments", "words"), REJECTED)
def test_sign_rejects(arguments: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sign(**arguments)


@pytest.mark.parametrize(("url", "options", "expected"), SRCSETS)
def test_srcset(url: str, options: dict[str, object], expected: str) -> None:
    assert srcset(url, **options) == expected  # type: ignore[arg-type] # a table of keyword arguments


@pytest.mark.parametrize(("url", "options", "words"), NO_SRCSETS)
def test_srcset_rejects(url: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        srcset(url, **options)  # type: ignore[arg-type] # a table of keyword arguments


def test_each_url_of_a_srcset_is_signed() -> None:
    for candidate in srcset("/a.jpg?crop=1:1", (90, 180), key=KEY, expires="1h").split(", "):
        url, width = candidate.split(" ")
        assert check(url, time.time()) == f"crop=1:1&width={width.removesuffix('w')}".encode()


@pytest.mark.parametrize("dialect", WIDTH_PARAMETERS)
def test_the_widths_are_those_of_the_dialect(dialect: str) -> None:
    build_dialect(dialect, Settings())
    (candidate,) = srcset("/a.jpg", (320,), dialect=dialect).split(", ")
    assert "320" in str(explain(candidate.split(" ")[0].partition("?")[2], dialect=dialect))


def test_parameters_are_encoded() -> None:
    assert with_query("/a.jpg", {"trim-color": "#fff", "x": "a b&c", "gone": None}) == (
        "/a.jpg?trim-color=%23fff&x=a%20b%26c"
    )
    assert with_query("/a.jpg?a", {"b": 1}) == "/a.jpg?a&b=1"


def test_the_import_does_not_load_the_server() -> None:
    """A site imports them in each of its processes."""
    code = (
        "import sys; from cropmark import sign, srcset;"
        "print([m for m in ('aiohttp', 'pyvips', 'starlette', 'pydantic', 'sqlalchemy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
