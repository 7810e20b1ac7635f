"""Signs URLs and checks signed URLs.

    /shop/blue.jpg?width=300&kid=2026a&exp=1767225600&sig=Vvzc…        kid, exp and sig belong to the signature
    └──────────────────── signed ────────────────────┘

- `sig` is the signature and the last parameter of the query. It covers every byte of path and query before the `&` or
  `?` of `sig`. The bytes are those received, without any decoding.
- `kid` names the key, and `exp` is the Unix time at which the URL expires. Both are optional. They directly precede
  `sig`, in this order.
- These three parameters are removed before a dialect reads the query. So everything that a dialect reads is signed.

The signature is HMAC-SHA-256 in base64 with `-` and `_` and without padding: 43 characters. It is compared as text,
because its last character has unused bits, so four texts would decode to one signature. See docs/signing.md and
docs/decisions/0100.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from cropmark.model.problems import Forbidden, SignatureExpired

KEY_BYTES: Final = 32
"""The least length of a key in bytes. It is the length of an HMAC-SHA-256."""
SKEW_S: Final = 30
"""The seconds for which a URL stays valid after its `exp`, because the clocks of two machines differ."""
NEVER: Final = 0.0
"""The expiry time of a URL that does not expire."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_KID = re.compile(rb"(?:\A|&)kid=([A-Za-z0-9_-]{1,32})\Z")
_EXP = re.compile(rb"(?:\A|&)exp=([0-9]{1,12})\Z")
_OURS = re.compile(rb"(?:\A|[?&])(?:kid|exp|sig)=")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A secret of at least 32 bytes, and the optional id by which a URL names it."""

    secret: bytes = field(repr=False)
    id: str | None = None

    @classmethod
    def read(cls, text: str) -> SigningKey:
        """The key written as `SECRET` or `ID:SECRET`.

        Raises ValueError with a text that does not contain the secret.
        """
        name, colon, rest = text.partition(":")
        secret = (rest if colon else text).encode()
        if colon and _ID.fullmatch(name) is None:
            raise ValueError("expected an id of letters, digits, - and _ before the key's colon")
        if len(secret) < KEY_BYTES:
            raise ValueError(f"expected a key of at least {KEY_BYTES} bytes, got {len(secret)}")
        return cls(secret, name if colon else None)


@dataclass(frozen=True, slots=True)
class VerifiedQuery:
    """The query of a URL with a valid signature, without kid, exp and sig.

    The URL is accepted until the Unix time `expires_s`; NEVER if it does not expire.
    """

    query: bytes
    expires_s: float = NEVER


class Keyring:
    """The signing keys of a site.

    A site can have several, so that a new key can be added before an old one is removed.
    """

    def __init__(self, keys: Iterable[SigningKey]) -> None:
        self._keys = tuple(keys)
        if not self._keys:
            raise ValueError("expected at least one key")
        ids = [key.id for key in self._keys if key.id is not None]
        if len(set(ids)) < len(ids):
            raise ValueError("expected a different id for each key")

    def check(self, path: bytes, query: bytes, now_s: float) -> VerifiedQuery:
        """Check the signature of a URL; returns its query without the signature.

        `path` and `query` are the bytes received.

        Raises Forbidden if the signature is missing or wrong, and SignatureExpired if it was valid before.
        """
        found = split(query)
        if found is None or not self._matches(found.key_id, target(path, found.signed), found.signature):
            # The same text for every reason: a more exact text would only help to guess a signature.
            raise Forbidden("expected a signed URL", fix="end the query with sig=…, see docs/signing.md")
        if found.expires_s and now_s > found.expires_s:
            raise url_expired()
        return VerifiedQuery(found.query, found.expires_s)

    def sign(self, url: str, *, expires_s: int | None = None, key_id: str | None = None) -> str:
        """The URL with a signature.

        `url` is a path with or without a query. `key_id` selects the key, by default the first.

        Raises ValueError for an unknown `key_id`, and for a URL that cannot be signed.
        """
        key = next((k for k in self._keys if key_id in (None, k.id)), None)
        if key is None:
            raise ValueError(f"expected the id of a key, got {key_id!r}")
        signed = _with_signing_params(_signable(url), key, expires_s)
        return f"{signed.decode()}{_separator(signed)}sig={signature(key.secret, signed).decode()}"

    def _matches(self, key_id: str | None, signed: bytes, given: bytes) -> bool:
        keys = self._keys if key_id is None else tuple(key for key in self._keys if key.id == key_id)
        # Every key is tried, so that the duration does not reveal which one matched.
        matches = [hmac.compare_digest(signature(key.secret, signed), given) for key in keys]
        return any(matches)


def url_expired() -> SignatureExpired:
    """The Problem of a URL after its expiry."""
    return SignatureExpired("the URL has expired", fix="request a new one")


@dataclass(frozen=True, slots=True)
class SignedQuery:
    """A parsed query with a signature. The signature covers `signed`. A dialect reads only `query`."""

    query: bytes
    signed: bytes
    signature: bytes
    key_id: str | None
    expires_s: float


def split(query: bytes) -> SignedQuery | None:
    """The parsed query; None if the query does not end in a signature."""
    head, joint, given = query.rpartition(b"sig=")
    if len(given) != 43 or not joint or head[-1:] not in (b"", b"&") or head == b"&":
        return None
    rest = signed = head[:-1]
    until_s, key_id = NEVER, None
    if expiry := _EXP.search(rest):
        until_s, rest = float(int(expiry[1]) + SKEW_S), rest[: expiry.start()]
    if named := _KID.search(rest):
        key_id, rest = named[1].decode(), rest[: named.start()]
    return SignedQuery(rest, signed, given, key_id, until_s)


def target(path: bytes, query: bytes) -> bytes:
    """The path and the query joined by a question mark, as in the first line of a request."""
    return path + b"?" + query if query else path


def signature(secret: bytes, signed: bytes) -> bytes:
    """The signature of the bytes `signed`, as 43 characters of base64."""
    return urlsafe_b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).rstrip(b"=")


def unsigned(query: bytes) -> bytes:
    """The query without kid, exp and sig, if it has a signature. The signature is not checked."""
    found = split(query)
    return query if found is None else found.query


def _signable(url: str) -> bytes:
    """The bytes of the URL before signing parameters are added. Raises ValueError if the URL cannot be signed."""
    if not url.startswith("/"):
        raise ValueError("expected a path that begins with a slash, with or without a query")
    if any(not "!" <= c <= "~" for c in url) or "#" in url:
        raise ValueError("expected a percent-encoded URL without a fragment")
    plain = url.encode("ascii").removesuffix(b"?")
    if _OURS.search(plain.partition(b"?")[2]):
        raise ValueError("expected no kid=, exp= or sig= in the query: the signature uses these names")
    return plain


def _with_signing_params(plain: bytes, key: SigningKey, expires_s: int | None) -> bytes:
    if key.id is not None:
        plain += f"{_separator(plain)}kid={key.id}".encode()
    if expires_s is not None:
        plain += f"{_separator(plain)}exp={expires_s}".encode()
    return plain


def _separator(plain: bytes) -> str:
    return "&" if b"?" in plain else "?"
