"""`production = true`: rejected settings, and responses without details."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from pydantic import SecretStr

from cropmark.config.loader import Settings, SiteSettings
from cropmark.config.production import errors, security_checks, warnings
from cropmark.model.problems import InternalError
from cropmark.security.signing import Keyring, SigningKey
from tests.builders import wait_until
from tests.command import run
from tests.web.asgi_client import FakePipeline, app_of, respond
from tests.web.local_server import local_server
from tests.web.server_process import TOKEN, Running, running

LONG, SHORT = SecretStr("k" * 32), SecretStr("k" * 31)
FOLDER: Mapping[str, Any] = {"production": True, "folder": Path("x"), "pixlab_key": LONG}
SITE = SiteSettings(prefix="/p", dialect="fastly", source="x")
PIXLAB = SiteSettings(prefix="/p", dialect="pixlab")

# fmt: off
REFUSED = [
    # settings                                                                      words of each refusal
    ({**FOLDER},                                                                    ["pixlab_allow_any_host"]),
    ({**FOLDER, "pixlab_allowed_hosts": ("*.example",)},                            []),
    ({**FOLDER, "pixlab_allowed_hosts": ("a.example", "https://**")},  ["pixlab_allowed_hosts"]),  # which is any host
    ({**FOLDER, "pixlab_allow_any_host": False, "pixlab_allowed_hosts": ("*.*",)},  ["pixlab_allowed_hosts"]),
    ({**FOLDER, "pixlab_allow_any_host": False},                                    []),
    ({**FOLDER, "signing_keys": (LONG,)},                                           []),
    ({**FOLDER, "allow_private_hosts": ("10.0.0.7:80",)},
     ["pixlab_allow_any_host"]),  # opens private places, bounds none
    ({**FOLDER, "pixlab_allow_any_host": False, "pixlab_key": None},                ["32 characters, got 0"]),
    ({**FOLDER, "pixlab_allow_any_host": False, "pixlab_key": SHORT},               ["32 characters, got 31"]),
    ({**FOLDER, "pixlab_allow_any_host": False, "admin_token": SHORT},              ["admin_token"]),
    ({**FOLDER, "pixlab_allow_any_host": False, "admin_token": LONG},               []),
    ({**FOLDER, "pixlab_allow_any_host": False, "metrics_token": SHORT},            ["metrics_token"]),
    ({**FOLDER, "pixlab_key": None},  ["pixlab_allow_any_host", "pixlab_key"]),
    ({"production": True, "site": (SITE,)},  []),  # no caller names a URL
    ({"production": True, "site": (PIXLAB,)},  ["pixlab_allow_any_host", "pixlab_key"]),
    ({"folder": Path("x")},                                                         []),  # to try it out
    ({"folder": Path("x"), "pixlab_key": "k" * 14},                                 ["15 characters, got 14"]),
    ({"folder": Path("x"), "admin_token": "k" * 14},                                ["15 characters, got 14"]),
    ({"folder": Path("x"), "pixlab_key": "k" * 15},                                 []),  # with a warning
]
# fmt: on


def test_a_short_key_has_a_warning() -> None:
    reply = list(warnings(Settings(folder=Path("x"), pixlab_key=SecretStr("k" * 15), admin_token=LONG)))
    assert reply == ["pixlab_key has fewer than 32 characters: production would reject it"]


@pytest.mark.parametrize(("settings", "words"), REFUSED)
def test_check_03_rejected_settings(settings: dict[str, Any], words: list[str]) -> None:
    found = list(errors(Settings(**settings)))
    assert len(found) == len(words)
    for mistake, word in zip(found, words, strict=True):
        assert word in str(mistake)
        assert mistake.fix
        assert "kkkk" not in str(mistake)


# fmt: off
STARTS = [
    # environment                                                     words
    ({},                                                              "without signed URLs or an allow list"),
    ({"PIXLAB_ALLOW_ANY_HOST": "false"},                                           "pixlab_key: expected at least 32"),
    ({"PIXLAB_ALLOW_ANY_HOST": "false", "PIXLAB_KEY": "short"},                    "got 5"),
    ({"SIGNING_KEYS": "short"},                                       "at least 32 bytes, got 5"),
    ({"PIXLAB_ALLOW_ANY_HOST": "false", "PIXLAB_KEY": "k" * 32, "ADMIN_TOKEN": "t"}, "admin_token"),
]
# fmt: on


@pytest.mark.parametrize(("environment", "words"), STARTS)
@pytest.mark.parametrize("command", [["serve", "{folder}", "--port", "0"], ["config", "check"]])
def test_check_03_it_does_not_start(
    pictures: Path, tmp_path: Path, environment: dict[str, str], words: str, command: list[str]
) -> None:
    given = {f"CROPMARK_{name}": value for name, value in environment.items()}
    given |= {"CROPMARK_PRODUCTION": "true", "CROPMARK_FOLDER": str(pictures), "CROPMARK_CACHE_DIR": str(tmp_path)}
    arguments = [word.format(folder=pictures) for word in command]
    reply = run(arguments, environment={**given, "COLUMNS": "300"})
    assert reply.returncode == 1
    assert words in reply.stderr
    assert "Traceback" not in reply.stderr
    assert "kkkk" not in reply.stderr


def test_check_29_unlimited_is_rejected(pictures: Path, tmp_path: Path) -> None:
    """It may have been set for another program."""
    environment = {"VIPS_UNLIMITED": "1", "COLUMNS": "200"}
    reply = run(["serve", str(pictures), "--port", "0", "--cache", str(tmp_path)], environment=environment)
    assert reply.returncode == 1
    assert "VIPS_UNLIMITED is set" in reply.stderr


def test_check_29_readiness_lists_the_libraries(live: Running) -> None:
    reply = live.get("/readyz", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    assert reply["libraries"][0].startswith("libvips 8.")


@pytest.fixture(scope="module")
def live(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    environment = {
        "CROPMARK_PRODUCTION": "true",
        "CROPMARK_PIXLAB_ALLOW_ANY_HOST": "false",
        "CROPMARK_PIXLAB_KEY": "p" * 40,
    }
    cache = tmp_path_factory.mktemp("production") / "cache"
    with running(str(pictures), cache=cache, environment=environment) as found:
        yield found


# fmt: off
PAGES = [
    # path                               without the token    with it
    ("/",                                404,                 404),
    ("/_explain?url=/fastly/wide.jpg",   401,                 200),
    ("/_explain.png?url=/fastly/none.jpg", 401,               404),
    ("/metrics",                         401,                 200),
    ("/healthz",                         200,                 200),
    ("/readyz",                          200,                 200),
]
# fmt: on


@pytest.mark.parametrize(("path", "without", "with_token"), PAGES)
def test_check_46_pages(live: Running, path: str, without: int, with_token: int) -> None:
    assert live.get(path).status_code == without
    assert live.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == with_token


def test_check_46_readiness_has_no_details(live: Running) -> None:
    assert live.get("/readyz").json() == {"ready": True}
    assert "sandbox" in live.get("/readyz", headers={"Authorization": f"Bearer {TOKEN}"}).json()


def test_check_46_no_times_by_stage(live: Running) -> None:
    first, second = (live.get("/fastly/wide.jpg?width=31") for _ in range(2))
    assert [a.headers["server-timing"] for a in (first, second)] == ["cache;desc=miss", "cache;desc=hit-memory"]


def test_check_48_pixlabs_endpoints_need_their_key(live: Running) -> None:
    for path in ("/pixlab/crop", "/pixlab/facedetect", "/pixlab/imgmeta"):
        reply = live.get(f"{path}?img=https://img.example/a.jpg&key=wrong")
        assert reply.status_code in (401, 404)


def test_check_48_explanations_have_no_location_and_need_the_signature(tmp_path: Path) -> None:
    """An explanation of an image with GPS and camera data has its format, size and orientation only."""
    exif = Image.Exif()
    exif[0x010F] = "SECRETCAMERA"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 17.0), 29: "2026:01:01"})
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "pictures" / "where.jpg", exif=exif)
    keys = Keyring([SigningKey.read("k" * 32)])
    environment = {"CROPMARK_SIGNING_KEYS": "k" * 32}
    with local_server(tmp_path / "pictures", cache=tmp_path / "cache", environment=environment) as server:
        url = "/fastly/where.jpg?width=10"
        assert server.get(f"/_explain?url={url}").status_code == 403
        reply = server.get(f"/_explain?url={keys.sign(url)}")
        assert reply.status_code == 200
        assert reply.json()["recipe"]["size"]["width"] == 10
        for secret in ("secretcamera", "gps", "2026:01:01"):
            assert secret not in reply.text.lower()


def test_check_51_no_request_forges_a_log_line(live: Running) -> None:
    """Line ends and control characters of a URL are escaped, and a key in the query is not logged."""
    live.get('/fastly/wide.jpg?width=0&x=%0a{"event":"forged"}&key=SECRETKEY')
    live.get("/fastly/wide.jpg?width=0&x=%0a%7b%22event%22:%22forged%22%7d&key=SECRETKEY")
    live.get("/fastly/a%0d%0aforged%1b[31m.jpg")
    with socket.create_connection((httpx.URL(live.address).host, httpx.URL(live.address).port or 80)) as connection:
        connection.sendall(b'GET /fastly/wide.jpg?width=0&y="\x85\xe2\x80\xa8forged HTTP/1.1\r\nHost: a\r\n\r\n')
        connection.settimeout(5)
        connection.recv(1000)
    # The HTTP server rejects the unencoded URLs itself. A line is written after its response is sent.
    wait_until(lambda: live.log.read_text("utf-8").count("forged") >= 2)
    lines = live.log.read_text("utf-8").splitlines()
    assert any("forged" in line for line in lines)
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert not any("SECRETKEY" in line or "\x1b" in line or "\x85" in line for line in lines)


@pytest.mark.parametrize("production", [True, False])
def test_check_46_internal_errors_have_no_details(production: bool) -> None:
    secret = InternalError("the disk /srv/private is gone")
    reply = respond(app_of(FakePipeline(fails_with=secret), production=production), b"/fastly/a.jpg?width=3")
    assert reply.status == 500
    assert (b"/srv/private" in reply.body) is not production
    crash = respond(app_of(FakePipeline(fails_with=ZeroDivisionError("x=17"))), b"/fastly/a.jpg?width=3")
    assert crash.status == 500
    assert b"17" not in crash.body


def test_without_a_token_there_are_no_metrics(pictures: Path, tmp_path: Path) -> None:
    """check_46: and no way to purge."""
    environment = {
        "CROPMARK_PRODUCTION": "true",
        "CROPMARK_PIXLAB_ALLOW_ANY_HOST": "false",
        "CROPMARK_PIXLAB_KEY": "p" * 40,
        "CROPMARK_ADMIN_TOKEN": "",
    }
    with local_server(pictures, cache=tmp_path / "cache", environment=environment) as server:
        assert server.get("/metrics", headers={"Authorization": "Bearer x"}).status_code == 404
        purged = server.post("/admin/purge", json={"prefix": ""})
        assert purged.status_code == 404
        assert json.loads(purged.content)["status"] == 404


# fmt: off
DEPLOYED = [
    # settings                                                                                           failed checks
    ({},  ["production", "new variants", "sandbox"]),
    ({"production": True, "sandbox": "require"},                                                         []),
    ({"folder": Path("x")},  ["production", "img", "folder", "new variants", "sandbox"]),
    ({**FOLDER, "sandbox": "require", "signing_keys": (LONG,), "pixlab_allowed_hosts": ("a.example",)},  []),
    ({"production": True, "sandbox": "require", "site": (SITE,)},  ["p: any variant"]),
    ({"production": True, "sandbox": "require", "host": "0.0.0.0"},  ["no proxy is trusted"]),
    ({"production": True, "sandbox": "require", "host": "0.0.0.0", "trusted_proxies": ("10.0.0.1",)},    []),
    ({"production": True, "sandbox": "require", "allow_vulnerable_libraries": True},  ["vulnerable libraries"]),
    ({"production": True, "sandbox": "require", "variants_per_minute": 0},  ["new variants"]),
]
# fmt: on


@pytest.mark.parametrize(("settings", "words"), DEPLOYED)
def test_security_checks_of_deployments(settings: dict[str, Any], words: list[str]) -> None:
    lacking = [point for point in security_checks(Settings(**settings)) if not point.passed]
    assert len(lacking) == len(words)
    assert all(word in point.message for point, word in zip(lacking, words, strict=True))
    assert all(point.fix for point in lacking)


def test_the_doctor_counts(tmp_path: Path) -> None:
    environment = {"CROPMARK_PRODUCTION": "true", "CROPMARK_CACHE_DIR": str(tmp_path), "COLUMNS": "200"}
    reply = run(["doctor"], environment=environment)
    assert "of 9 checks of docs/security.md pass" in reply.stdout
    assert "the sandbox is set to 'try' (check 26)" in reply.stdout
