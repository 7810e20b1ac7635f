"""Signed URLs: signatures, rejected URLs, and the query that the dialect reads."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from cropmark import links
from cropmark.config import signing_keys
from cropmark.config.loader import InvalidConfiguration, Settings, SiteSettings, load_settings
from cropmark.model.problems import Forbidden, SignatureExpired
from cropmark.pipeline import url_tag
from cropmark.runtime.metrics import Metrics
from cropmark.security import signing
from cropmark.security.signing import SKEW_S, Keyring, SigningKey, split, unsigned
from cropmark.server.sites import build_sites
from cropmark.sources.files import FolderSource
from cropmark.sources.original_cache import OriginalCache
from cropmark.web.access import AccessPolicy
from cropmark.web.site import Sites
from tests.builders import wait_until
from tests.command import run
from tests.requirements import must_have, require
from tests.web.asgi_client import FakePipeline, Reply, app_of, fastly, respond
from tests.web.server_process import Running, running

ROOT = Path(__file__).parent.parent.parent
OLD, NEW = "old:" + "o" * 32, "new:" + "n" * 40
KEYS = Keyring([SigningKey.read(OLD), SigningKey.read(NEW)])
PATH = "/fastly/wide.jpg"
NOW = 1_800_000_000


def parted(url: str) -> tuple[bytes, bytes]:
    path, _, query = url.encode().partition(b"?")
    return path, query


# ------------------------------------------------------------------------------------------------ pure


# fmt: off
READ = [
    # signed                                          the dialect's query
    ("/a.jpg",                                        b""),
    ("/a.jpg?width=3",                                b"width=3"),
    ("/a.jpg?width=3&crop=16:9,smart",                b"width=3&crop=16:9,smart"),
    ("/a%20b/%C3%A4.jpg?text=a+b%26c",                b"text=a+b%26c"),
    ("/a.jpg?&width=3&",                              b"&width=3&"),
    ("/sig=x/a.jpg?sigh=3&expo=4",                    b"sigh=3&expo=4"),
    ("/a.jpg?b=?c",                                   b"b=?c"),
]
# fmt: on


@pytest.mark.parametrize("key_id", [None, "old", "new"])
@pytest.mark.parametrize("end_s", [None, NOW])
@pytest.mark.parametrize(("url", "query"), READ)
def test_the_signed_query_is_read(url: str, query: bytes, end_s: int | None, key_id: str | None) -> None:
    """check_01."""
    allowed = KEYS.check(*parted(KEYS.sign(url, expires_s=end_s, key_id=key_id)), NOW)
    assert allowed.query == query
    assert allowed.expires_s == (0 if end_s is None else NOW + SKEW_S)


WIRE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#?"), max_size=60)


@given(path=WIRE, query=WIRE)
def test_every_address_survives_signing(path: str, query: str) -> None:
    url = f"/{path}?{query}" if query else f"/{path}"
    try:
        signed = KEYS.sign(url, expires_s=NOW)
    except ValueError:
        assert any(word in query for word in ("kid=", "exp=", "sig="))
        return
    assert KEYS.check(*parted(signed), NOW).query == query.encode()


@given(path=st.binary(max_size=80), query=st.binary(max_size=120))
def test_nothing_unsigned_passes_and_nothing_else_is_raised(path: bytes, query: bytes) -> None:
    with pytest.raises(Forbidden, match="expected a signed URL"):
        KEYS.check(path, query, NOW)
    assert split(query) is None or unsigned(query) != query


@pytest.mark.parametrize("change", [0x20, 0x01, 0x80])
def test_every_byte_counts(change: int) -> None:
    """check_01: one bit of one byte changed, anywhere; 0x20 is upper case for lower case."""
    signed = KEYS.sign("/fastly/A%20b.jpg?width=3&crop=4:3", expires_s=NOW).encode()
    for at, byte in enumerate(signed):
        path, _, query = (signed[:at] + bytes([byte ^ change]) + signed[at + 1 :]).partition(b"?")
        with pytest.raises(Forbidden, match="signed"):
            KEYS.check(path, query, NOW)


@given(path=st.binary(max_size=20), query=st.binary(max_size=20))
def test_nothing_can_be_put_in(path: bytes, query: bytes) -> None:
    """check_01: in front of the query's end, or in the path."""
    signed_path, signed_query = parted(KEYS.sign("/fastly/a.jpg?width=3"))
    for changed in ((signed_path + path, signed_query), (signed_path, query + signed_query)):
        if changed != (signed_path, signed_query):
            with pytest.raises(Forbidden):
                KEYS.check(*changed, NOW)


def test_check_04_two_keys_until_one_is_taken_away() -> None:
    by_old, by_new = KEYS.sign("/a", key_id="old"), KEYS.sign("/a", key_id="new")
    assert "kid=old" in by_old
    assert [KEYS.check(*parted(url), NOW).query for url in (by_old, by_new)] == [b"", b""]
    after = Keyring([SigningKey.read(NEW)])
    after.check(*parted(by_new), NOW)
    with pytest.raises(Forbidden):
        after.check(*parted(by_old), NOW)


def test_check_04_a_key_id_names_that_key_alone() -> None:
    """A URL signed by one key that names another."""
    signed = b"/a?kid=old"
    url = signed + b"&sig=" + signing.signature(SigningKey.read(NEW).secret, signed)
    with pytest.raises(Forbidden):
        KEYS.check(*parted(url.decode()), NOW)


# fmt: off
ENDS = [
    # seconds past exp    refused
    (-100,                False),
    (0,                   False),
    (SKEW_S,              False),
    (SKEW_S + 1,          True),
    (10**9,               True),
]
# fmt: on


@pytest.mark.parametrize(("late", "refused"), ENDS)
def test_check_05_the_end_is_signed(late: int, refused: bool) -> None:
    url = KEYS.sign("/a.jpg?width=3", expires_s=NOW)
    if refused:
        with pytest.raises(SignatureExpired, match="has expired"):
            KEYS.check(*parted(url), NOW + late)
    else:
        KEYS.check(*parted(url), NOW + late)
    for tampered in (url.replace(f"exp={NOW}", f"exp={NOW + 10**6}"), url.replace(f"exp={NOW}&", "")):
        with pytest.raises(Forbidden) as problem:
            KEYS.check(*parted(tampered), NOW)
        assert not isinstance(problem.value, SignatureExpired)


# fmt: off
KEY_TEXTS = [
    # text                    words of the refusal; None: it will do
    ("k" * 32,                None),
    ("id:" + "k" * 32,        None),
    ("ü" * 16,                None),                 # bytes count
    ("k" * 31,                "at least 32 bytes, got 31"),
    ("",                      "at least 32 bytes, got 0"),
    ("id:" + "k" * 31,        "got 31"),
    (":" + "k" * 32,          "an id of letters"),
    ("a b:" + "k" * 32,       "an id of letters"),
    ("i" * 33 + ":" + "k" * 32, "an id of letters"),
]
# fmt: on


@pytest.mark.parametrize(("text", "words"), KEY_TEXTS)
def test_check_02_short_keys_are_rejected(text: str, words: str | None) -> None:
    if words is None:
        assert len(SigningKey.read(text).secret) >= 32
        return
    with pytest.raises(ValueError, match=words) as problem:
        SigningKey.read(text)
    assert "kkkk" not in str(problem.value)


def test_repr_does_not_show_keys() -> None:
    assert "nnnn" not in repr(SigningKey.read(NEW))
    with pytest.raises(ValueError, match="at least one key"):
        Keyring([])
    with pytest.raises(ValueError, match="a different id"):
        Keyring([SigningKey.read(NEW), SigningKey.read(NEW)])


def test_check_02_secrets_are_compared_in_constant_time() -> None:
    """Modules with a secret compare it by hmac.compare_digest, never by == or in."""
    for name, function in (
        ("security/signing", "_matches"),
        ("web/sign_in", "is_token"),
        ("web/pixlab/endpoint", "owner_of"),
    ):
        tree = ast.parse((ROOT / f"src/cropmark/{name}.py").read_text())
        body = next(n for n in ast.walk(tree) if getattr(n, "name", "") == function)
        assert "compare_digest" in ast.unparse(body)
        compared = [ast.unparse(n) for n in ast.walk(body) if isinstance(n, ast.Compare)]
        assert not [text for text in compared if any(w in text for w in ("given", "signature", "secret"))], compared


# fmt: off
UNSIGNABLE = [
    ("a.jpg",              "begins with a slash"),
    ("/a b.jpg",           "percent-encoded URL"),
    ("/ä.jpg",             "percent-encoded URL"),
    ("/a.jpg#top",         "without a fragment"),
    ("/a.jpg?sig=x",       "no kid="),
    ("/a.jpg?a=1&exp=3",   "no kid="),
    ("/a.jpg?kid=3",       "no kid="),
]
# fmt: on


@pytest.mark.parametrize(("url", "words"), UNSIGNABLE)
def test_urls_that_cannot_be_signed(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        KEYS.sign(url)


# ------------------------------------------------------------------------------------------------ configuration


def test_check_02_the_server_rejects_a_short_key() -> None:
    with pytest.raises(InvalidConfiguration) as reply:
        load_settings(environ={}, overrides={"signing_keys": "short"})
    assert "at least 32 bytes, got 5" in str(reply.value)


@pytest.mark.parametrize("path", ["/fastly/a.jpg", "/a.jpg", "/kontent/a", "/fastlya/a.jpg", "/own/a.jpg"])
def test_sign_and_the_server_choose_the_same_keys(tmp_path: Path, path: str) -> None:
    """A site without a prefix serves only the paths that the folder's own prefixes leave to it."""
    sites = tuple(
        SiteSettings(prefix=prefix, dialect="fastly", source=str(tmp_path), signing_keys=(SecretStr(key * 32),))
        for prefix, key in (("", "s"), ("/own", "o"))
    )
    settings = Settings(folder=tmp_path, signing_keys=(SecretStr("g" * 32),), site=sites)
    originals = OriginalCache(tmp_path / "originals")
    found = Sites(build_sites(settings, FolderSource(tmp_path), originals, None, Metrics())).find("a.example", path)
    assert found is not None
    of_server, of_command = found[0].access.keys, signing_keys.url_keyring(settings, f"http://a.example{path}")
    assert _some(of_command).sign(path) == _some(of_server).sign(path)


def test_the_keys_of_a_site() -> None:
    site = SiteSettings(prefix="/own", dialect="fastly", source="x", signing_keys=(SecretStr("s" * 32),))
    bare = SiteSettings(hosts=("open.example",), dialect="fastly", source="x", signing_keys=())
    settings = Settings(signing_keys=(SecretStr("g" * 32),), site=(site, bare))
    of_site = Keyring([SigningKey.read("s" * 32)])
    servers, own = Keyring([SigningKey.read("g" * 32)]).sign("/fastly/a"), of_site.sign("/own/a")
    own_info = of_site.sign("/_info/own/a")
    assert links.sign_url("/fastly/a", _some(signing_keys.url_keyring(settings, "/fastly/a"))) == servers
    assert links.sign_url("/own/a", _some(signing_keys.url_keyring(settings, "/own/a"))) == own
    assert links.sign_url("/_info/own/a", _some(signing_keys.url_keyring(settings, "/_info/own/a"))) == own_info
    assert signing_keys.url_keyring(settings, "https://open.example/a") is None
    assert signing_keys.url_keyring(Settings(), "/fastly/a") is None


def _some(found: Keyring | None) -> Keyring:
    assert found is not None
    return found


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("1h", 3600), ("7d", 604_800)])
def test_periods(text: str, seconds: int) -> None:
    assert links.duration_s(text) == seconds
    with pytest.raises(ValueError, match="such as 90s"):
        links.duration_s(text + "x")


# ------------------------------------------------------------------------------------------------ the app


def signed_app(pipeline: FakePipeline) -> Reply:
    return respond(app_of(pipeline, site=fastly(access=AccessPolicy(KEYS))), b"/fastly/a.jpg?width=3")


def test_cached_orders_expire_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """check_05: 410 and no-store, also if the image is cached; before that, max-age ends with the signature."""
    pipeline = FakePipeline(always_hit=True)
    app = app_of(pipeline, site=fastly(access=AccessPolicy(KEYS)))
    url = KEYS.sign("/fastly/a.jpg?width=3", expires_s=NOW).encode()
    monkeypatch.setattr(time, "time", lambda: NOW - 600.0)
    first, second = respond(app, url), respond(app, url)
    assert (first.status, second.status) == (200, 200)
    assert second.header("cache-control") == f"public, max-age={600 + SKEW_S}"
    monkeypatch.setattr(time, "time", lambda: NOW + SKEW_S + 1.0)
    late = respond(app, url)
    assert (late.status, late.header("cache-control")) == (410, "no-store")


def test_check_37_the_signature_is_in_no_order_and_in_no_tag() -> None:
    pipeline = FakePipeline()
    app = app_of(pipeline, site=fastly(access=AccessPolicy(KEYS)))
    for key_id in ("old", "new"):
        assert respond(app, KEYS.sign("/fastly/a.jpg?width=3", key_id=key_id).encode()).status == 200
    assert pipeline.orders[0] == pipeline.orders[1]
    assert pipeline.tags == [(url_tag("/fastly/a.jpg?width=3"),)] * 2


def test_a_site_without_keys_needs_no_signature() -> None:
    assert respond(app_of(FakePipeline()), b"/fastly/a.jpg?width=3").status == 200
    assert signed_app(FakePipeline()).status == 403


def tampered(url: str) -> Iterator[tuple[str, str]]:
    """Changed URLs, by change."""
    head, _, sig = url.rpartition("sig=")
    yield "no signature", head.rstrip("&?")
    yield "the signature in the path too", url.replace("/fastly/", f"/fastly/sig={sig}/", 1)
    yield "the signature at the path's end", f"{PATH}/sig={sig}"
    yield "the signature in front", f"{PATH}?sig={sig}&width=50"
    yield "the signature twice", f"{url}&sig={sig}"
    yield "one byte of the path encoded", url.replace("wide", "wid%65", 1)
    yield "one byte of the query encoded", url.replace("width", "widt%68", 1)
    yield "the path encoded twice", url.replace("/fastly/wide", "/fastly/%77ide", 1).replace("%77", "%2577")
    yield "a slash encoded", url.replace("/wide", "/%2Fwide", 1)
    yield "a slash twice", url.replace("/wide", "//wide", 1)
    yield "a dot segment", url.replace("/wide", "/./wide", 1)
    yield "a question mark after it", url + "?"
    yield "a semicolon behind", url + ";"
    yield "an ampersand after it", url + "&"
    yield "another parameter after it", url + "&width=9000"
    yield "an ampersand before", url.replace("&sig=", "&&sig=", 1)
    yield "a question mark twice", url.replace("?", "??", 1)
    yield "a plus for %20", url.replace("%20", "+", 1)
    yield "a blank more", url.replace("%20", "%20%20", 1)
    yield "the parameters' order", f"{PATH}?text=a%20b&width=50&sig={sig}"
    yield "padding", url + "="
    yield "the spare bits of the last character", url[:-1] + chr(ord(url[-1]) + 1)
    yield "upper case", f"{head}SIG={sig}"
    yield "another case of the signature", f"{head}sig={sig.swapcase()}"
    yield "another value", url.replace("width=50", "width=51", 1)
    yield "encoded equals sign", f"{head}sig%3D{sig}"


SIGNED = KEYS.sign(f"{PATH}?width=50&text=a%20b")


@pytest.mark.parametrize(("what", "url"), [*tampered(SIGNED)])
def test_check_01_changes_that_invalidate_a_signature(live: Running, what: str, url: str) -> None:
    """Over a real connection."""
    assert url != SIGNED
    reply = live.get(url)
    assert reply.status_code == 403, what
    assert reply.headers["cache-control"] == "no-store"


def test_check_01_a_fragment_in_the_bytes_received() -> None:
    """The HTTP library of the server drops a fragment; where one came through, it would be refused."""
    app = app_of(FakePipeline(), site=fastly(access=AccessPolicy(KEYS)))
    assert respond(app, SIGNED.encode()).status == 200
    assert respond(app, SIGNED.encode() + b"#").status == 403
    assert respond(app, SIGNED.encode() + b"#top").status == 403


# ------------------------------------------------------------------------------------------------ a server


@pytest.fixture(scope="module")
def live(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    environment = {"CROPMARK_SIGNING_KEYS": f"{OLD},{NEW}"}
    with running(str(pictures), cache=tmp_path_factory.mktemp("signed") / "cache", environment=environment) as found:
        yield found


def test_a_signed_image(live: Running) -> None:
    first, second = live.get(SIGNED), live.get(SIGNED)
    assert first.status_code == second.status_code == 200
    assert second.headers["server-timing"] == "cache;desc=hit-memory"
    assert live.get(KEYS.sign(f"{PATH}?width=50&text=a%20b", key_id="new")).headers["etag"] == first.headers["etag"]


def test_the_greeting_signs_its_links_and_the_page_has_none(live: Running) -> None:
    """The operator sees the signed links at the start; the page, which any client can open, has none."""
    links = re.findall(r"http://\S+/fastly/\S+", live.greeting)
    assert len(links) == 3
    assert [live.get(link.removeprefix(live.address)).status_code for link in links] == [200] * 3
    for page in ("/", "/_playground/data"):
        assert "sig=" not in live.get(page).text
        assert "/fastly" not in live.get(page).text


@pytest.mark.parametrize("dialect", ["fastly", "contentstack", "kontent"])
def test_check_05_every_dialect_responds_gone(live: Running, dialect: str) -> None:
    path = f"/{dialect}/wide.jpg"
    gone = live.get(KEYS.sign(path, expires_s=int(time.time()) - SKEW_S - 60))
    assert (gone.status_code, gone.headers["cache-control"]) == (410, "no-store")
    assert live.get(path).status_code == 403
    assert live.get(KEYS.sign(path, expires_s=int(time.time()) + 600)).status_code == 200


def test_check_51_signatures_are_not_logged(live: Running) -> None:
    url = KEYS.sign(f"{PATH}?width=53")
    live.get(url)
    live.get(url.replace("53", "52"))
    # A line is written after its response is sent.
    wait_until(lambda: all(width in live.log.read_text() for width in ("width=53", "width=52")))
    assert url.rpartition("sig=")[2] not in live.log.read_text()


def test_a_signed_image_is_purged_by_its_url(live: Running) -> None:
    url = KEYS.sign(f"{PATH}?width=54")
    for named in (url, f"{PATH}?width=54"):
        live.get(url)
        assert live.purge(url=named).json() == {"purged": 1}


def test_check_04_a_reload_takes_a_key_away(pictures: Path, tmp_path: Path) -> None:
    file = tmp_path / "cropmark.toml"
    file.write_text(f'signing_keys = ["{OLD}", "{NEW}"]\n')
    by_old, by_new = KEYS.sign(f"{PATH}?width=20", key_id="old"), KEYS.sign(f"{PATH}?width=20", key_id="new")
    with running(str(pictures), "--config", str(file), cache=tmp_path / "cache") as server:
        assert [server.get(url).status_code for url in (by_old, by_new)] == [200, 200]
        file.write_text(f'signing_keys = ["{NEW}"]\n')
        server.process.send_signal(1)
        wait_until(lambda: server.get(by_old).status_code == 403, 30)
        assert server.get(by_new).status_code == 200


# ------------------------------------------------------------------------------------------------ cropmark sign


def sign(*arguments: str, keys: str = "") -> subprocess.CompletedProcess[str]:
    return run(["sign", *arguments], environment={"CROPMARK_SIGNING_KEYS": keys})


def test_the_sign_command(tmp_path: Path) -> None:
    reply = sign("https://img.example/fastly/a%20b.jpg?width=3", "--key-id", "new", keys=f"{OLD},{NEW}")
    assert reply.stdout == f"https://img.example{KEYS.sign('/fastly/a%20b.jpg?width=3', key_id='new')}\n"
    (tmp_path / "key").write_text(OLD + "\n")
    until = sign("/a.jpg", "--expires", "1h", "--key-file", str(tmp_path / "key")).stdout.strip()
    assert KEYS.check(*parted(until), time.time() + 3500).query == b""
    with pytest.raises(SignatureExpired):
        KEYS.check(*parted(until), time.time() + 3700)


# fmt: off
UNSAID = [
    # arguments                               keys   words
    (["/a.jpg"],                              "",    "no key for this URL"),
    (["/a.jpg?sig=1"],                        OLD,   "no kid="),
    (["/a.jpg", "--expires", "soon"],         OLD,   "such as 90s"),
    (["/a.jpg", "--key-id", "other"],         OLD,   "expected the id of a key"),
    (["/a.jpg", "--key-file", "/no/such"],    OLD,   "cannot be read"),
]
# fmt: on


@pytest.mark.parametrize(("arguments", "keys", "words"), UNSAID)
def test_the_command_rejects(arguments: list[str], keys: str, words: str) -> None:
    reply = sign(*arguments, keys=keys)
    assert reply.returncode in (1, 2)
    assert words in reply.stderr
    assert "Traceback" not in reply.stderr


# ------------------------------------------------------------------------------------------------ vectors


VECTORS = json.loads((ROOT / "docs/signing-vectors.json").read_text())["vectors"]


@pytest.mark.parametrize("vector", VECTORS, ids=[v["about"] for v in VECTORS])
def test_the_vectors(vector: dict[str, str]) -> None:
    ring = Keyring([SigningKey.read(vector["key"])])
    path, _, query = vector["signed"].encode().partition(b"?")
    ring.check(path, query, 0)  # long before any end
    found = split(query)
    assert found is not None
    assert signing.target(path, found.signed).decode() == vector["text"]


PROGRAMS = (
    ("python", sys.executable),
    ("js", "node"),
    ("php", "php"),
    ("go", "go"),
    ("sh", "openssl"),
    ("ruby", "ruby"),
    ("java", "javac"),
    ("csharp", "mcs"),
    ("csharp", "dotnet"),
    ("rust", "cargo"),
)


def snippets() -> dict[str, str]:
    """The code of docs/signing.md by its language."""
    found: dict[str, str] = {}
    for block in (ROOT / "docs/signing.md").read_text().split("\n```")[1::2]:
        language, _, code = block.partition("\n")
        if language in dict(PROGRAMS):
            found[language] = code + "\n"
    return found


def test_there_is_a_snippet_for_each_language() -> None:
    assert set(snippets()) == set(dict(PROGRAMS))


@pytest.mark.parametrize(
    ("language", "program"),
    [
        pytest.param(
            *each, marks=require(each[1], shutil.which(each[1]) is not None), id=f"{each[0]}-{Path(each[1]).name}"
        )
        for each in PROGRAMS
    ],
)
def test_the_snippets_sign_identically(language: str, program: str, tmp_path: Path) -> None:
    """Each takes key and text as arguments and prints the signed URL."""
    command = command_of(program, snippets()[language], tmp_path)
    for vector in VECTORS:
        secret = vector["key"].rpartition(":")[2]
        reply = subprocess.run(
            [*command, secret, vector["text"]], capture_output=True, text=True, timeout=60, check=True
        )
        assert reply.stdout.strip() == vector["signed"]


JAVA = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Less work at the start than for a long run."""
CARGO = """
[package]
name = "sign"
version = "0.0.0"
edition = "2021"

[dependencies]
"""
CSPROJ = """<Project Sdk="Microsoft.NET.Sdk"><PropertyGroup><OutputType>Exe</OutputType>
<TargetFramework>net8.0</TargetFramework></PropertyGroup></Project>"""


def command_of(program: str, code: str, folder: Path) -> list[str]:
    """The command that runs a snippet; compiled languages are compiled in the folder."""
    match program:
        case "go":
            (folder / "sign.go").write_text(code)
            # In the user's home folder are the compiled packages of earlier runs.
            home = os.environ.get("HOME", str(folder))
            environment = {"HOME": home, "PATH": "/usr/local/go/bin:/usr/bin:/bin", "GOFLAGS": "-mod=mod"}
            build = ["go", "build", "-o", str(folder / "sign"), str(folder / "sign.go")]
            subprocess.run(build, check=True, timeout=300, env=environment, cwd=folder)
            return [str(folder / "sign")]
        case "javac":
            (folder / "Sign.java").write_text(code)
            subprocess.run(["javac", *[f"-J{flag}" for flag in JAVA], "Sign.java"], check=True, timeout=300, cwd=folder)
            return ["java", *JAVA, "-cp", str(folder), "Sign"]
        case "mcs":
            (folder / "Sign.cs").write_text(code)
            subprocess.run(["mcs", "-out:sign.exe", "Sign.cs"], check=True, timeout=300, cwd=folder)
            return ["mono", str(folder / "sign.exe")]
        case "dotnet":
            (folder / "sign.csproj").write_text(CSPROJ)
            (folder / "Program.cs").write_text(code)
            subprocess.run(["dotnet", "build", "-o", "out"], check=True, timeout=600, cwd=folder)
            return ["dotnet", str(folder / "out" / "sign.dll")]
        case "cargo":
            return _rust_program(code, folder)
        case _:
            file = folder / ("sign.mjs" if program == "node" else "sign")
            file.write_text(code)
            return ["sh" if program == "openssl" else program, str(file)]


def _rust_program(code: str, folder: Path) -> list[str]:
    """The compiled program. Skips the test if its crates are not on this machine and cannot be fetched."""
    crates = code.partition("\n")[0].removeprefix("// Cargo.toml: ").replace(", ", "\n")
    (folder / "src").mkdir()
    (folder / "src" / "main.rs").write_text(code)
    (folder / "Cargo.toml").write_text(CARGO + crates)
    fetched = subprocess.run(["cargo", "fetch"], check=False, timeout=120, cwd=folder, capture_output=True)
    if fetched.returncode and not must_have("cargo"):
        pytest.skip("the crates of the snippet cannot be fetched")
    quickly = {**os.environ, "CARGO_INCREMENTAL": "0", "CARGO_PROFILE_DEV_DEBUG": "0"}
    subprocess.run(["cargo", "build", "--quiet", "--offline"], check=True, timeout=300, cwd=folder, env=quickly)
    return [str(folder / "target" / "debug" / "sign")]
