"""Opens an object store (a bucket or a folder) by its URL, and classifies the errors of calls to it. Uses obstore.

Endpoint and credentials are read from options, from the environment variables that the store's own tools use
(AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, …), or from Amazon's shared credentials file (docs/configuration.md).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from obstore.exceptions import (
    BaseError,
    NotFoundError,
    NotModifiedError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import LocalStore, from_url

STORE_ERRORS: Final = (BaseError, OSError)
"""All errors of a store's calls. obstore raises the builtin FileNotFoundError for a missing object."""

_AZURE_CREDENTIALS: Final = (
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_SKIP_SIGNATURE",
)
_AMAZON_CREDENTIALS: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)
_GOOGLE_CREDENTIALS: Final = (
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SKIP_SIGNATURE",
)
_CREDENTIALS: Final = {
    "s3": _AMAZON_CREDENTIALS,
    "s3a": _AMAZON_CREDENTIALS,
    "gs": _GOOGLE_CREDENTIALS,
    "az": _AZURE_CREDENTIALS,
    "adl": _AZURE_CREDENTIALS,
    "azure": _AZURE_CREDENTIALS,
    "abfs": _AZURE_CREDENTIALS,
    "abfss": _AZURE_CREDENTIALS,
}
"""Environment variables with credentials, by the scheme of a store's URL; one of them must be set.

Without credentials, obstore requests them from the instance metadata address.
"""
_GOOGLE_DEFAULT_FILE: Final = "~/.config/gcloud/application_default_credentials.json"
_CREDENTIAL_OPTION: Final = re.compile(
    r"(aws_|google_|azure_)?(storage_)?(access_key|access_key_id|account_key|master_key|sas_key|sas_token|client_secret"
    r"|service_account|service_account_path|service_account_key|application_credentials|skip_signature|token"
    r"|web_identity_token_file|federated_token_file)"
)
_ALLOW_HTTP: Final = 'write https://, or set AWS_ALLOW_HTTP=true (bucket_options: allow_http = "true")'
_ENDPOINTS: Final = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
_PLACES: Final = (
    *_ENDPOINTS,
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ENDPOINT",
)
_TRUE_WORDS: Final = ("1", "true", "yes", "on")


class StoreUnusable(Exception):
    """An object store cannot be opened. Has the cause and the fix."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what} | {fix}")
        self.what = what
        self.fix = fix


@dataclass(frozen=True, slots=True)
class StoreTimes:
    """The timeouts and retries of calls to a store. Calls are retried after 429, 5xx and failed connections.

    `total_s` limits one attempt, including its body. After `retry_s`, no further attempt begins. The pause between two
    attempts begins with 0.1 s and doubles up to `max_pause_s`.
    """

    connect_s: float
    read_s: float
    total_s: float
    max_retries: int
    retry_s: float
    max_pause_s: float = 1.0


class Failure(Enum):
    """The reasons for which a call to an object store fails."""

    MISSING = "missing"
    UNCHANGED = "unchanged"
    """A conditional request found that the object has not changed."""
    REFUSED = "refused"
    """The credentials, the region or the bucket's name is wrong: only the operator can fix it."""
    THROTTLED = "throttled"
    TIMEOUT = "timeout"
    FAILED = "failed"


_REFUSED_CODES: Final = re.compile(
    r"<Code>(NoSuchBucket|InvalidBucketName|ContainerNotFound|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken"
    r"|InvalidToken|AccessDenied|AuthorizationHeaderMalformed|PermanentRedirect|RequestTimeTooSkewed"
    r"|AuthenticationFailed|UserProjectAccountProblem)</Code>|Received redirect without LOCATION"
    r"|status code: 40[13] "
)
_THROTTLED: Final = re.compile(r"status code: (429|503) |<Code>(SlowDown|ServerBusy|TooManyRequests)</Code>")
_TIMED_OUT: Final = re.compile(r"TimedOut|timed out|kind: Timeout", re.IGNORECASE)


def failure_of(error: BaseException, key: str = "") -> Failure:
    """Classify an error that a call to a store raised. `key` is the key of the object in the call.

    The error's class and text decide. The text contains the key, which a client may have chosen. If the key itself
    looks like an error, the text is ignored.
    """
    patterns = (_REFUSED_CODES, _THROTTLED, _TIMED_OUT)
    # Some patterns end with a space, which may be the character after the key.
    text = "" if any(pattern.search(f"{key} ") for pattern in patterns) else str(error)
    if isinstance(error, NotFoundError | FileNotFoundError):
        return Failure.REFUSED if _REFUSED_CODES.search(text) else Failure.MISSING
    if isinstance(error, NotModifiedError):
        return Failure.UNCHANGED
    if isinstance(error, PermissionDeniedError | UnauthenticatedError | PermissionError) or _REFUSED_CODES.search(text):
        return Failure.REFUSED
    if _THROTTLED.search(text):
        return Failure.THROTTLED
    return Failure.TIMEOUT if isinstance(error, TimeoutError) or _TIMED_OUT.search(text) else Failure.FAILED


def failure_reason(error: BaseException) -> str:
    """The reason for a failed call, in one line: the store's error code, else the first line of the exception."""
    text = str(error)
    if code := re.search(r"<Code>(\w{1,80})</Code>", text):
        return code[1]
    return text.partition("\n")[0].strip()[:300] or type(error).__name__


def open_store(
    url: str,
    setting: str,
    times: StoreTimes,
    *,
    options: Mapping[str, str] | None = None,
    role: bool = False,
) -> Any:  # obstore has a type for each kind of store
    """The object store at a URL: `s3://bucket/prefix`, `gs://…`, `az://…`, `memory:///` or `file:///folder`.

    Does not connect. `setting` is the name of the setting with the URL, for error messages. `options` are options of
    obstore, such as `endpoint`, `region` and `access_key_id`; they override the environment. `role`: without configured
    credentials, they are requested from the instance metadata address. Raises StoreUnusable.
    """
    parts = urlsplit(url)
    config = {**_profile(parts.scheme, os.environ, options or {}), **(options or {})}
    _check_credentials(parts.scheme, setting, config, role=role)
    allow_http = config.pop("allow_http", os.environ.get("AWS_ALLOW_HTTP", "")).lower() in _TRUE_WORDS
    endpoint = config.get("endpoint") or next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "")
    if parts.scheme in ("s3", "s3a") and endpoint.startswith("http://") and not allow_http:
        raise StoreUnusable(f"{setting} cannot be used: its endpoint begins with http://", _ALLOW_HTTP)
    try:
        if parts.scheme == "file":
            return LocalStore(Path(unquote(parts.path)), mkdir=True)
        if parts.scheme == "memory":
            return from_url(url)
        as_any: Any = config  # obstore has a mapping of its own type for each kind of store
        return from_url(url, config=as_any, client_options=_client(times, allow_http), retry_config=_retries(times))
    except Exception as error:
        fix = "write s3://bucket/prefix or file:///folder"
        raise StoreUnusable(f"{setting}: {failure_reason(error)}", fix) from error


def store_scope(url: str, options: Mapping[str, str]) -> str:
    """A digest that identifies a store: of its URL, its options and environment variables, without credentials."""
    given = sorted((name, text) for name, text in options.items() if not _CREDENTIAL_OPTION.fullmatch(name))
    places = [os.environ.get(name, "") for name in _PLACES]
    return hashlib.sha256(repr((url, given, places)).encode()).hexdigest()[:16]


def _check_credentials(scheme: str, setting: str, config: Mapping[str, str], *, role: bool) -> None:
    keys = _CREDENTIALS.get(scheme, ())
    is_given = any(os.environ.get(key) for key in keys) or any(map(_CREDENTIAL_OPTION.fullmatch, config))
    if scheme == "gs":
        is_given = is_given or Path(_GOOGLE_DEFAULT_FILE).expanduser().is_file()
    if keys and not role and not is_given:
        raise StoreUnusable(
            f"{setting}: the environment has no credentials for this store",
            f"set {keys[0]} and the variables that belong to it, or set allow_instance_credentials = true",
        )


def _profile(scheme: str, environ: Mapping[str, str], options: Mapping[str, str]) -> dict[str, str]:
    """The options with credentials and region from a profile in Amazon's shared files.

    Empty for a store without an s3 URL, and if the options or the environment contain credentials.
    """
    given = any(environ.get(name) for name in _AMAZON_CREDENTIALS) or any(map(_CREDENTIAL_OPTION.fullmatch, options))
    if scheme not in ("s3", "s3a") or given:
        return {}
    name = environ.get("AWS_PROFILE") or "default"
    secrets = _section(environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials", name)
    config = _section(environ.get("AWS_CONFIG_FILE") or "~/.aws/config", name, f"profile {name}")
    names = {"aws_access_key_id": "access_key_id", "aws_secret_access_key": "secret_access_key"}
    names |= {"aws_session_token": "session_token"}
    found = {option: {**config, **secrets}[key] for key, option in names.items() if key in {**config, **secrets}}
    region = config.get("region")
    if found and region and not (environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")):
        found["region"] = region
    return found


def _section(file: str, *names: str) -> dict[str, str]:
    """The first section of an INI file that has one of the `names`; empty if the section or the file is missing."""
    parser = ConfigParser(interpolation=None)
    try:
        parser.read(Path(file).expanduser(), encoding="utf-8")
    except (OSError, RuntimeError, UnicodeError, ConfigParserError):
        return {}
    return next((dict(parser[name]) for name in names if parser.has_section(name)), {})


def _client(times: StoreTimes, allow_http: bool) -> Any:
    """The options of obstore's HTTP client.

    `allow_http` is always among them, because obstore ignores AWS_ALLOW_HTTP if it gets any option.
    """
    return {
        "connect_timeout": _duration(times.connect_s),
        "read_timeout": _duration(times.read_s),
        "timeout": _duration(times.total_s),
        "allow_http": allow_http,
    }


def _retries(times: StoreTimes) -> Any:
    backoff = {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=times.max_pause_s),
        "base": 2,
    }
    return {
        "max_retries": times.max_retries,
        "retry_timeout": timedelta(seconds=times.retry_s),
        "backoff": backoff,
    }


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
