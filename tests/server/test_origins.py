"""Settings of a site's origin or bucket: their effect, and the reasons for which they are rejected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cropmark.config.settings import Settings
from cropmark.config.site import SiteSettings
from cropmark.config.source_spec import BucketSpec, OriginSpec
from cropmark.server.errors import StartupError
from cropmark.server.origins import BucketIssue, bucket_issue, origin_policy
from cropmark.sources.policy import Policy
from tests.sources.origins import Origin, origin, reply


def policy(**settings: Any) -> Policy:
    site = SiteSettings(dialect="fastly", source="https://o.example", prefix="/p", **settings)
    assert isinstance(site.source, OriginSpec)
    return origin_policy(Settings(), site, site.source)


SETTINGS = [
    # setting, value                        attribute of the Policy, its default, its value
    ("origin_connect_timeout_s", 1.5, "connect_s", 3.0, 1.5),
    ("origin_read_timeout_s", 30, "first_byte_s", 5.0, 30),
    ("origin_timeout_s", 60, "total_s", 8.0, 60),
    ("origin_max_bytes", "200MiB", "limit_bytes", 50 * 2**20, 200 * 2**20),
    ("origin_concurrency", 100, "max_fetches_per_host", 8, 100),
    ("origin_concurrency", 100, "max_fetches", 64, 100),
    ("origin_headers", {"X-A": "1", "X-B": "2"}, "headers", (), (("X-A", "1"), ("X-B", "2"))),
]


@pytest.mark.parametrize(("setting", "value", "attribute", "default", "effect"), SETTINGS)
def test_settings_reach_the_policy(
    setting: str, value: object, attribute: str, default: object, effect: object
) -> None:
    assert getattr(policy(), attribute) == default
    assert getattr(policy(**{setting: value}), attribute) == effect


def test_secrets_are_read_from_the_environment_and_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "Bearer x")
    (tmp_path / "cookie").write_text("id=7\n")
    headers = {"Authorization": "env:SHOP_TOKEN", "Cookie": f"file:{tmp_path}/cookie"}
    assert policy(origin_headers=headers).headers == (("Authorization", "Bearer x"), ("Cookie", "id=7"))


REJECTED = [
    # header, its value, words of the error
    ("Host", "a.example", "Host cannot be configured"),
    ("If-None-Match", "x", "If-None-Match cannot be configured"),
    ("X-Token", "env:CROPMARK_TEST_UNSET", "CROPMARK_TEST_UNSET is not set"),
    ("X-Token", "file:/nonexistent/secret", "/nonexistent/secret cannot be read: No such file"),
    ("X-Token", "file:{folder}/lines", "line break"),
    ("X-Token", "file:{folder}/binary", "it is not text"),
    ("X-Token", "file:{folder}/empty", "is empty"),
]


@pytest.mark.parametrize(("header", "value", "words"), REJECTED)
def test_rejected_headers(header: str, value: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("secret-a\nX-Injected: 1")
    (tmp_path / "binary").write_bytes(b"secret-a\xff")
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(StartupError, match="site p: ") as caught:
        policy(origin_headers={header: value.format(folder=tmp_path)})
    assert words in str(caught.value)
    assert "secret-a" not in str(caught.value)


def test_only_a_reserved_header_is_to_be_removed() -> None:
    with pytest.raises(StartupError) as caught:
        policy(origin_headers={"Host": "a.example"})
    assert caught.value.fix == "remove it from origin_headers"
    site = SiteSettings(dialect="fastly", source="https://o.example", prefix="/p")
    assert isinstance(site.source, OriginSpec)
    with pytest.raises(ValueError, match="timeouts") as other:
        origin_policy(Settings(), site.model_copy(update={"origin_timeout_s": 0.0}), site.source)
    assert not isinstance(other.value, StartupError)


ANSWERS = [
    # code, status                     the issue is certain
    ("NoSuchKey", 404, None),
    ("AccessDenied", 403, False),  # perhaps the key may only not list the bucket
    ("InvalidAccessKeyId", 403, True),
    ("NoSuchBucket", 404, True),
]


@pytest.mark.parametrize(("code", "status", "is_certain"), ANSWERS)
async def test_the_check_of_a_bucket(code: str, status: int, is_certain: bool | None) -> None:
    async with origin() as server:
        server.responses["/pictures/shop/cropmark-check"] = reply(
            f"<Error><Code>{code}</Code></Error>".encode(), status
        )
        issue = await _issue(server)
    assert (issue and issue.is_certain) is is_certain
    assert issue is None or code in issue.message


async def _issue(server: Origin) -> BucketIssue | None:
    options = {"endpoint": server.url(""), "allow_http": "true", "access_key_id": "a", "region": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOP_SECRET", "s")
        site = SiteSettings(
            dialect="fastly",
            source="s3://pictures/shop",
            bucket_options={**options, "secret_access_key": "env:SHOP_SECRET"},
        )
        assert isinstance(site.source, BucketSpec)
        return await bucket_issue(Settings(), site, site.source)
