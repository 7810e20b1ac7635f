"""A real S3 server for tests on a free loopback port: in memory, and it checks every signature."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tests.ports import free_port

PROGRAM: Final = Path(__file__).parents[1] / ".venv-s3/bin/moto_server"
"""In a separate environment, which `.ci/run` creates, because of its many dependencies."""
BUCKET: Final = "pictures"
_ALL: Final = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running server and the key of its only user."""

    address: str
    key_id: str
    secret: str
    process: subprocess.Popen[bytes]

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables by which cropmark and other tools reach it."""
        return {
            "AWS_ACCESS_KEY_ID": self.key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT": self.address,
            "AWS_ALLOW_HTTP": "true",
        }

    @property
    def options(self) -> dict[str, str]:
        """The same as options of a store's client."""
        return {
            "access_key_id": self.key_id,
            "secret_access_key": self.secret,
            "region": "us-east-1",
            "endpoint": self.address,
            "allow_http": "true",
        }


def is_here() -> bool:
    return PROGRAM.exists()


@contextmanager
def s3_server(*buckets: str, replaced: S3Server | None = None) -> Iterator[S3Server]:
    """One with empty buckets of these names, with the port and the key of the one that it replaces."""
    port = int(replaced.address.rpartition(":")[2]) if replaced else free_port()
    command = [str(PROGRAM), "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
            _answers(client)
            key_id, secret = _prepared(client, buckets, (replaced.key_id, replaced.secret) if replaced else None)
        yield S3Server(f"http://127.0.0.1:{port}", key_id, secret, process)
    finally:
        process.kill()
        process.wait()


def _answers(client: httpx.Client) -> None:
    end_s = time.monotonic() + 60
    while time.monotonic() < end_s:
        try:
            client.get("/moto-api/").raise_for_status()
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the S3 server does not answer")


def _prepared(client: httpx.Client, buckets: tuple[str, ...], key: tuple[str, str] | None) -> tuple[str, str]:
    """Create a user with all rights on buckets; return its key and secret. From then on requests must be signed."""
    for name in buckets:
        client.put(f"/{name}", headers=_as("s3")).raise_for_status()
    _iam(client, "CreateUser")
    _iam(client, "PutUserPolicy", PolicyName="all", PolicyDocument=_ALL)
    created = _new_key(client)
    while key not in (None, created):  # a request of a client came between the seed and the key
        _iam(client, "DeleteAccessKey", AccessKeyId=created[0])
        created = _new_key(client)
    client.post("/moto-api/reset-auth", content=b"0").raise_for_status()
    return created


def _new_key(client: httpx.Client) -> tuple[str, str]:
    """A new key of the user with its secret: the same one each time, unless other requests disturb."""
    client.post("/moto-api/seed?a=1").raise_for_status()
    response = _iam(client, "CreateAccessKey")
    key_id, secret = (re.search(f"<{name}>(.+?)</{name}>", response) for name in ("AccessKeyId", "SecretAccessKey"))
    assert key_id is not None
    assert secret is not None
    return key_id[1], secret[1]


def _iam(client: httpx.Client, action: str, **more: str) -> str:
    form = {"Action": action, "Version": "2010-05-08", "UserName": "cropmark", **more}
    answer = client.post("/", data=form, headers=_as("iam"))
    answer.raise_for_status()
    return answer.text


def _as(service: str) -> dict[str, str]:
    """A header that names the service. The server does not check its signature yet."""
    scope = f"setup/20260101/us-east-1/{service}/aws4_request"
    return {"authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
