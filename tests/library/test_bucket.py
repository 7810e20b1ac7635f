"""A server with the library's bytes in a bucket, and its errors while the bucket is unavailable."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from cropmark.library.bucket_blobs import BucketBlobStore
from tests.command import run
from tests.library.builders import Shop, create_shop, png
from tests.s3_server import BUCKET, S3Server
from tests.web.server_process import Running, running

STORE = f"s3://{BUCKET}/shop"
PUBLISH = {"asset": {"locales": ["en-us"], "environments": ["production"]}}


@pytest.fixture
def own(tmp_path: Path) -> Shop:
    return create_shop(tmp_path / "data")


@pytest.fixture
def server(own: Shop, s3: S3Server, tmp_path: Path) -> Iterator[Running]:
    more = {
        "CROPMARK_LIBRARY_STORE": STORE,
        "CROPMARK_MANAGEMENT_REQUESTS_PER_S": "0",
        "CROPMARK_CONTENTSTACK__RATE_LIMIT": "0",
    }
    with running("--data", str(own.data), cache=tmp_path / "cache", environment={**s3.environment, **more}) as found:
        yield found


@pytest.fixture
def client(server: Running, own: Shop) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.address, headers=own.headers, trust_env=False, timeout=60) as found:
        yield found


@pytest.fixture
def kept(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> BucketBlobStore:
    """The blobs in the bucket."""
    for name, text in s3.environment.items():
        monkeypatch.setenv(name, text)
    return BucketBlobStore.from_url(STORE)


def sent(client: httpx.Client, method: str, path: str, red: int) -> dict[str, Any]:
    answer = client.request(method, path, files={"asset[upload]": ("owl.png", png(red))})
    assert answer.is_success, answer.text
    asset: dict[str, Any] = answer.json()["asset"]
    return asset


def published(client: httpx.Client, asset: Mapping[str, Any]) -> None:
    assert client.post(f"/v3/assets/{asset['uid']}/publish", json=PUBLISH).is_success


def delivered(client: httpx.Client, asset: Mapping[str, Any], query: str) -> httpx.Response:
    return client.get(f"{asset['url']}?environment=production&{query}")


def test_an_asset_from_upload_to_deletion(client: httpx.Client, kept: BucketBlobStore) -> None:
    first = sent(client, "POST", "/v3/assets", 10)
    published(client, first)
    assert delivered(client, first, "").content == png(10)
    assert delivered(client, first, "width=20").headers["content-type"] == "image/png"
    assert len(set(kept.digests())) == 1
    second = sent(client, "PUT", f"/v3/assets/{first['uid']}", 20)
    published(client, second)
    assert delivered(client, second, "").content == png(20)
    assert delivered(client, first, "").content == png(10)
    assert len(set(kept.digests())) == 2
    assert client.delete(f"/v3/assets/{first['uid']}").is_success
    assert delivered(client, second, "width=20").status_code == 404
    assert list(kept.digests()) == []


def test_a_bucket_that_is_unavailable_for_a_while(client: httpx.Client, server: Running, s3: S3Server) -> None:
    asset, other, unread = (sent(client, "POST", "/v3/assets", red) for red in (30, 31, 33))
    for one in (asset, unread):
        published(client, one)
    assert delivered(client, asset, "width=20").is_success
    s3.process.send_signal(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(3) as side_by_side:
            began_s = time.monotonic()
            upload = side_by_side.submit(client.post, "/v3/assets", files={"asset": ("owl.png", png(32))})
            made = side_by_side.submit(delivered, client, unread, "width=21")
            gone = side_by_side.submit(client.delete, f"/v3/assets/{other['uid']}")
            assert delivered(client, asset, "width=20").is_success  # from memory
            assert delivered(client, asset, "width=22").is_success  # from the copy that was fetched for it
            assert time.monotonic() - began_s < 5
            assert client.get("/v3/assets").is_success
            refused, failed, deleted = upload.result(), made.result(), gone.result()
            assert time.monotonic() - began_s < 50
    finally:
        s3.process.send_signal(signal.SIGCONT)
    assert (refused.status_code, refused.json()["error_message"]) == (503, "the library's storage cannot be written")
    assert refused.headers["retry-after"] == "10"
    assert (failed.status_code, failed.headers["content-type"]) == (502, "application/json; charset=utf-8")
    assert deleted.is_success
    assert client.get(f"/v3/assets/{other['uid']}").status_code == 422
    assert delivered(client, unread, "width=21").is_success
    assert delivered(client, sent(client, "POST", "/v3/assets", 32), "").status_code == 404  # not published
    log = server.log.read_text()
    assert "the object store failed" in log
    assert "Traceback" not in log


REFUSED = [
    # wrong setting                              word of the error
    ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch"),
    ({"AWS_ACCESS_KEY_ID": "AKIAWRONG"}, "InvalidAccessKeyId"),
    ({"CROPMARK_LIBRARY_STORE": "s3://another"}, "NoSuchBucket"),
    ({"AWS_ENDPOINT": "http://127.0.0.1:9"}, "error sending request"),
    ({"AWS_ALLOW_HTTP": "false"}, "AWS_ALLOW_HTTP=true"),
]


@pytest.mark.parametrize(("wrong", "said"), REFUSED)
def test_a_server_does_not_start_without_its_bucket(
    wrong: Mapping[str, str], said: str, own: Shop, s3: S3Server, tmp_path: Path
) -> None:
    given = {"CROPMARK_LIBRARY_STORE": STORE, "COLUMNS": "500", "PATH": "/usr/bin:/bin", **s3.environment, **wrong}
    arguments = ["serve", "--data", str(own.data), "--cache", str(tmp_path / "c"), "--port", "0"]
    done = run(arguments, environment=given)
    assert done.returncode == 1
    report = " ".join(done.stderr.split())
    assert "library_store cannot be used" in report
    assert said in report
    assert "Traceback" not in report
    assert s3.secret not in report
