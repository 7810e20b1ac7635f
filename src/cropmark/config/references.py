"""Reads values that may be secret. Instead of the value, the configuration may contain a reference to it.

`env:NAME` refers to the value of an environment variable, `file:/path` to the content of a file without its line end.
Any other text is the value itself. Secret settings are resolved when the configuration is read. Headers and options for
a site's origin are resolved when the server starts. A header or option with the name of a secret, such as
Authorization, must be a reference, so that the configuration file contains no secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, SecretStr

_REFERENCE: Final = re.compile(r"(env|file):(.+)", re.DOTALL)
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*", re.ASCII)
_PATH: Final = re.compile(r"[/~.].*")
_SECRET_NAME: Final = re.compile(r"authorization|cookie|key|token|secret|signature|password|credential", re.IGNORECASE)
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OPTION_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
# fmt: off
_PUBLIC_OPTIONS: Final = frozenset({
    "access_key_id", "aws_access_key_id", "skip_signature", "sse_bucket_key_enabled", "web_identity_token_file",
    "federated_token_file", "application_credentials", "credential_type", "container_credentials_relative_uri",
    "container_credentials_full_uri", "container_authorization_token_file", "fabric_token_service_url",
})
"""Options that are not secret although their names match _SECRET_NAME: names of files, URLs, switches."""
# fmt: on
_MAX_SECRET_BYTES: Final = 65_536


def resolved(values: Mapping[str, str]) -> dict[str, str]:
    """The values with all references resolved. Raises ValueError, which names the value but never contains it."""
    return {name: _named(name, text) for name, text in values.items()}


def _named(name: str, text: str) -> str:
    try:
        return _resolved(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _resolved(text: str) -> str:
    found = _REFERENCE.fullmatch(text)
    if found is None:
        return text
    kind, place = found.groups()
    if kind == "env":
        value = os.environ.get(place, "")
        if not value:
            raise ValueError(f"the environment variable{_shown(_VARIABLE, place)} is not set")
        return value
    try:
        with Path(place).expanduser().open("rb") as file:
            value = file.read(_MAX_SECRET_BYTES).decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ValueError(f"the file{_shown(_PATH, place)} cannot be read: {reason}") from error
    if not value:
        raise ValueError(f"the file{_shown(_PATH, place)} is empty")
    return value


def _shown(pattern: re.Pattern[str], place: str) -> str:
    """The place of a reference, for an error text.

    Empty if the text may be a secret that only begins like a reference.
    """
    return f" {place}" if pattern.fullmatch(place) else ""


def _checked(is_name: Callable[[str], object], public: frozenset[str]) -> AfterValidator:
    """A validator for named values. Names must be valid, and secret values must be references."""

    def check(values: dict[str, str]) -> dict[str, str]:
        for name, text in values.items():
            if not is_name(name):
                raise ValueError(f"{name!r} is not a name that can be set")
            is_secret = _SECRET_NAME.search(name) and name not in public
            if is_secret and _REFERENCE.fullmatch(text) is None:
                raise ValueError(f"{name}: expected env:NAME or file:/path, because it is a secret")
            if not text.isprintable() or not text:
                raise ValueError(f"{name}: expected printable text")
        return values

    return AfterValidator(check)


def _resolved_key(value: object) -> object:
    """Resolve the reference in a key `SECRET` or `ID:SECRET`."""
    if not isinstance(value, str) or _REFERENCE.fullmatch(value):
        return _resolved_setting(value)
    key_id, colon, secret = value.partition(":")
    return f"{key_id}:{_resolved(secret)}" if colon else value


def _resolved_setting(value: object) -> object:
    return _resolved(value) if isinstance(value, str) else value


Secret = Annotated[SecretStr, BeforeValidator(_resolved_setting)]
"""A secret setting: a text or a reference. A reference is resolved when the configuration is read."""
Key = Annotated[SecretStr, BeforeValidator(_resolved_key)]
"""A signing key with or without its id. `env:` and `file:` begin a reference, not an id."""
HeaderTexts = Annotated[dict[str, str], _checked(_HEADER_NAME.fullmatch, frozenset())]
"""The values of headers, by header name."""
OptionTexts = Annotated[dict[str, str], _checked(_OPTION_NAME.fullmatch, _PUBLIC_OPTIONS)]
"""The values of options for a store's client, by option name."""
