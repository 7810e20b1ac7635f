"""Types for setting values that pydantic alone cannot check."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from cropmark.config.references import Key
from cropmark.dialects import registry
from cropmark.dialects.env_values import split_list
from cropmark.security.signing import Keyring, SigningKey

_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*|\[[0-9a-f:.]+\]")
_ORIGIN = re.compile(rf"[a-z][a-z0-9+.-]*://({_HOST.pattern})(:[0-9]{{1,5}})?")
_URL = re.compile(rf"https?://({_HOST.pattern})(:[0-9]{{1,5}})?(/[^?#\s]*)?", re.IGNORECASE)


def _read_dialect(text: str) -> str:
    if text not in registry.names():
        raise ValueError(f"expected {', '.join(registry.names())}")
    return text


def _read_host(text: str) -> str:
    """The host name in lower case. Raises ValueError unless it may be a Host header without a port."""
    name = text.lower()
    if not _HOST.fullmatch(name):
        raise ValueError("expected a host name without scheme, port or path, such as images.example.com")
    return name


def _read_prefix(text: str) -> str:
    """The prefix without slashes at its end; empty means the whole host. Raises ValueError if it is not a URL path."""
    if text and not re.fullmatch(r"/[^?#\s]*", text):
        raise ValueError("expected a path that begins with a slash, such as /shop")
    return text.rstrip("/")


def _read_origin(text: str) -> str:
    """The origin in lower case. Raises ValueError unless it is written as browsers send it in an Origin header.

    An Origin header has neither a path nor the scheme's default port.
    """
    origin = text.lower()
    default_port = re.fullmatch(r"http:.*:80|https:.*:443", origin)
    if origin not in ("*", "null") and (default_port or not _ORIGIN.fullmatch(origin)):
        raise ValueError("expected an origin as browsers send it, such as https://example.com")
    return origin


def _read_base_url(text: str) -> str:
    if text and not _URL.fullmatch(text):
        raise ValueError("expected a scheme, a host and optionally a port and path, such as https://images.example.com")
    return text


def _read_preset_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._~-]+", name):
        raise ValueError("expected a name of letters, digits and . _ ~ - because it is part of URLs")
    return name


def _check_keys(keys: tuple[SecretStr, ...] | None) -> tuple[SecretStr, ...] | None:
    """Check the signing keys and return them unchanged. Raises ValueError for a short key or a repeated id."""
    if keys:
        Keyring(SigningKey.read(key.get_secret_value()) for key in keys)
    return keys


DialectName = Annotated[str, AfterValidator(_read_dialect)]
TextList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_list)]
Hosts = Annotated[tuple[Annotated[str, AfterValidator(_read_host)], ...], NoDecode, BeforeValidator(split_list)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_read_origin)], ...], NoDecode, BeforeValidator(split_list)]
Prefix = Annotated[str, AfterValidator(_read_prefix)]
BaseUrl = Annotated[str, AfterValidator(_read_base_url)]
"""A URL to which paths can be appended; empty if not configured."""
PresetName = Annotated[str, AfterValidator(_read_preset_name)]
SigningKeys = Annotated[tuple[Key, ...], NoDecode, BeforeValidator(split_list), AfterValidator(_check_keys)]
ResourcePolicy = Literal["cross-origin", "same-site", "same-origin", "off"]

KeyHeader = Literal["off", "surrogate-key", "cache-tag"]
"""The header that sends a CDN the keys by which it purges responses."""
