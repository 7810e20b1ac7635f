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

PROGRAM: Final = Path(__file__).parents[2] / ".venv-s3/bin/moto_server"
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


def is_here() -> bool:
    return PROGRAM.exists()


@contextmanager
def s3_server(*buckets: str) -> Iterator[S3Server]:
    """One with empty buckets of these names."""
    port = free_port()
    command = [str(PROGRAM), "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
            _answers(client)
            key_id, secret = _prepared(client, buckets)
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


def _prepared(client: httpx.Client, buckets: tuple[str, ...]) -> tuple[str, str]:
    """Create a user with all rights on buckets; return its key and secret. From then on requests must be signed."""
    for name in buckets:
        client.put(f"/{name}", headers=_as("s3")).raise_for_status()
    _iam(client, "CreateUser")
    _iam(client, "PutUserPolicy", PolicyName="all", PolicyDocument=_ALL)
    response = _iam(client, "CreateAccessKey")
    key_id, secret = (re.search(f"<{name}>(.+?)</{name}>", response) for name in ("AccessKeyId", "SecretAccessKey"))
    assert key_id is not None
    assert secret is not None
    client.post("/moto-api/reset-auth", content=b"0").raise_for_status()
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
