"""A server with sites over private buckets and over an origin with settings, as a user configures it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import obstore
import pytest

from cropmark.config.errors import InvalidConfiguration
from cropmark.config.loader import load_settings
from cropmark.runtime.object_store import open_store
from cropmark.sources.objects import BucketLimits
from tests.builders import make_images
from tests.command import run
from tests.s3_server import BUCKET, S3Server
from tests.web.server_process import Running, running

CONFIG = """
allow_private_hosts = ["127.0.0.1:{origin_port}"]

[[site]]
prefix = "/shop"
dialect = "fastly"
source = "s3://pictures/web/shop"

[[site]]
prefix = "/own"
dialect = "fastly"
source = "s3://pictures/web/shop"
[site.bucket_options]
endpoint = "{endpoint}"
allow_http = "true"
region = "us-east-1"
access_key_id = "{key_id}"
secret_access_key = "file:{secret_file}"

[[site]]
prefix = "/wrong"
dialect = "fastly"
source = "s3://pictures/web/shop"
bucket_options = {{ access_key_id = "AKIAWRONG", secret_access_key = "env:WRONG_SECRET" }}

[[site]]
prefix = "/origin"
dialect = "fastly"
source = "http://127.0.0.1:{origin_port}/images"
origin_headers = {{ Authorization = "env:ORIGIN_TOKEN", X-Shop = "7" }}
origin_max_bytes = "100KiB"
origin_timeout_s = 4.0
"""


class _Origin(BaseHTTPRequestHandler):
    """Serves an image to requests with the token, and a large one."""

    body = b""

    def do_GET(self) -> None:
        permitted = (self.headers["Authorization"], self.headers["X-Shop"]) == ("Bearer origin-token", "7")
        body = self.body + bytes(200_000 if "large" in self.path else 0)
        self.send_response(200 if permitted else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def origin_port(images: Path) -> Iterator[int]:
    _Origin.body = _image(images)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Origin)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def objects(s3: S3Server, images: Path) -> list[str]:
    """The paths of the images, which are in the bucket."""
    store = open_store(f"s3://{BUCKET}", "test", BucketLimits().times, options=s3.options)
    paths = [path.relative_to(images).as_posix() for path in sorted(images.rglob("*")) if path.is_file()]
    for path in paths:
        obstore.put(store, f"web/shop/{path}", (images / path).read_bytes())
    obstore.put(store, "web/secret.png", _image(images))
    return paths


def _image(images: Path) -> bytes:
    return next(iter(sorted(images.rglob("*.png")))).read_bytes()


@pytest.fixture(scope="module")
def config(s3: S3Server, origin_port: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("config")
    secret = folder / "secret"
    secret.write_text(f"{s3.secret}\n")
    file = folder / "cropmark.toml"
    text = CONFIG.format(endpoint=s3.address, key_id=s3.key_id, secret_file=secret, origin_port=origin_port)
    file.write_text(text)
    return file


@pytest.fixture(scope="module")
def environment(s3: S3Server) -> Mapping[str, str]:
    return {**s3.environment, "WRONG_SECRET": "wrong-secret", "ORIGIN_TOKEN": "Bearer origin-token"}


@pytest.fixture(scope="module")
def server(
    config: Path, environment: Mapping[str, str], objects: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    cache = tmp_path_factory.mktemp("server") / "cache"
    with running("--config", str(config), cache=cache, environment=environment) as found:
        yield found


@pytest.mark.parametrize("prefix", ["/shop", "/own"])
def test_images_of_a_private_bucket(prefix: str, server: Running, objects: list[str]) -> None:
    path = next(path for path in objects if path.endswith(".png"))
    first = server.get(f"{prefix}/{path}?width=20&format=webp")
    assert (first.status_code, first.headers["content-type"]) == (200, "image/webp")
    again = server.get(f"{prefix}/{path}?width=20&format=webp")
    assert again.headers["server-timing"] == "cache;desc=hit-memory"
    assert again.content == first.content


def test_a_purge_fetches_the_object_again(server: Running, s3: S3Server, images: Path) -> None:
    store = open_store(f"s3://{BUCKET}", "test", BucketLimits().times, options=s3.options)
    obstore.put(store, "web/shop/new.png", (images / "tall.png").read_bytes())
    first = server.get("/shop/new.png?width=20")
    obstore.put(store, "web/shop/new.png", (images / "wide.jpg").read_bytes())
    assert server.get("/shop/new.png?width=20").content == first.content
    assert server.purge(source="new.png").status_code == 200
    changed = server.get("/shop/new.png?width=20")
    assert changed.status_code == 200
    assert changed.content != first.content


@pytest.mark.parametrize("path", ["none.png", "../secret.png", "%2e%2e/secret.png", "..%2fsecret.png", "%00.png"])
def test_missing_objects_and_paths_outside_of_the_prefix(path: str, server: Running) -> None:
    assert server.get(f"/shop/{path}?width=20").status_code in (400, 404)


def test_a_wrong_key_is_the_operators_fault(server: Running, objects: list[str]) -> None:
    assert server.get(f"/wrong/{objects[0]}?width=20").status_code == 502
    log = server.log.read_text()
    assert "the bucket refuses requests" in log
    assert "InvalidAccessKeyId" in log
    assert "check the bucket's name" in log
    assert "wrong-secret" not in log


def test_an_origin_gets_the_headers_and_its_limits_hold(server: Running) -> None:
    assert server.get("/origin/a.png?width=20").status_code == 200
    assert server.get("/origin/large.png?width=20").status_code == 413


def cropmark(*arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    given = {"PATH": "/usr/bin:/bin", "COLUMNS": "500", **environment}
    return run(arguments, environment=given)


def test_config_check_asks_each_bucket(config: Path, environment: Mapping[str, str], objects: list[str]) -> None:
    done = cropmark("config", "check", "--config", str(config), environment=environment)
    report = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1
    assert "site wrong: s3://pictures/web/shop cannot be read (refused): InvalidAccessKeyId" in report
    assert "site shop" not in report
    assert "site own" not in report


def test_the_check_of_a_store_that_is_away_ends_normally(tmp_path: Path) -> None:
    """It once aborted the process when it ended, in most of the runs."""
    file = tmp_path / "cropmark.toml"
    site = '[[site]]\nprefix = "/shop"\ndialect = "fastly"\nsource = "s3://pictures/shop"\norigin_timeout_s = 1\n'
    file.write_text(site)  # it retries for a part of this time
    key = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
    environment = {**key, "AWS_ENDPOINT": "http://127.0.0.1:9", "AWS_ALLOW_HTTP": "true", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "cropmark.cli.main", "config", "check", "--config", str(file)]
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, "cannot be read" in done.stderr) == (1, True), done.stderr


def test_config_check_names_a_secret_that_is_missing(config: Path, environment: Mapping[str, str]) -> None:
    given = {name: text for name, text in environment.items() if name != "ORIGIN_TOKEN"}
    done = cropmark("config", "check", "--config", str(config), environment=given)
    report = " ".join((done.stdout + done.stderr).split())
    assert "origin_headers: Authorization: the environment variable ORIGIN_TOKEN is not set" in report


def test_config_show_prints_no_secret(config: Path, s3: S3Server, environment: Mapping[str, str]) -> None:
    done = cropmark("config", "show", "--config", str(config), environment=environment)
    assert done.returncode == 0, done.stderr
    assert "s3://pictures/web/shop" in done.stdout
    for secret in (s3.secret, "wrong-secret", "origin-token"):
        assert secret not in done.stdout + done.stderr


REJECTED = [
    # settings of a site over s3://b                                   words of the error
    ('bucket_options = { secret_access_key = "plain-text" }', "expected env:NAME or file:/path"),
    ('bucket_options = { "Bad Name" = "x" }', "is not a name"),
    ('origin_headers = { Authorization = "env:X" }', "only for a source that is the URL of an origin"),
    ("origin_timeout_s = 0", "greater than 0"),
]


@pytest.mark.parametrize(("setting", "words"), REJECTED)
def test_rejected_settings(setting: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "cropmark.toml"
    file.write_text(f'[[site]]\nprefix = "/p"\ndialect = "fastly"\nsource = "s3://b"\n{setting}\n')
    with pytest.raises(InvalidConfiguration, match=words) as caught:
        load_settings(file, environ={})
    assert "plain-text" not in str(caught.value)


def test_settings_of_origins_belong_to_sites_that_fetch(tmp_path: Path) -> None:
    file = tmp_path / "cropmark.toml"
    file.write_text(f'[[site]]\nprefix = "/p"\ndialect = "fastly"\nsource = "{tmp_path}"\norigin_timeout_s = 3\n')
    with pytest.raises(InvalidConfiguration, match="only for a source that is the URL of an origin, or a bucket"):
        load_settings(file, environ={})
