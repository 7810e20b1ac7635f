"""Signed URLs: which bytes a signature is made over, who may make one, and until when it holds.

    /shop/blue.jpg?width=300&kid=2026a&exp=1767225600&sig=Vvzc…        the last three, in this order, are ours
    └──────────────────── signed ────────────────────┘

`sig` is the last parameter of the query; what is signed is every byte of path and query before its `&` or `?`, as it
came over the wire, nothing decoded. `kid` and `exp` are optional and stand right before `sig`. All three are cut off
before a dialect reads the query, so the bytes that were signed are the bytes that are read.

The signature is HMAC-SHA-256 in base64 with `-` and `_` and without padding: 43 characters. It is compared as text:
the last character has spare bits, and decoded, four texts would be one signature. docs/signing.md, docs/decisions/0100.
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
"""The least that a key may have: what HMAC-SHA-256 can use."""
SKEW_S: Final = 30
"""Seconds that a URL still holds past its `exp`: clocks of two machines differ."""
FOREVER: Final = 0.0
"""Stands for no end."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_KID = re.compile(rb"(?:\A|&)kid=([A-Za-z0-9_-]{1,32})\Z")
_EXP = re.compile(rb"(?:\A|&)exp=([0-9]{1,12})\Z")
_OURS = re.compile(rb"(?:\A|[?&])(?:kid|exp|sig)=")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A secret of at least 32 bytes, and the id that a URL may name it by."""

    secret: bytes = field(repr=False)
    id: str | None = None

    @classmethod
    def read(cls, text: str) -> SigningKey:
        """`SECRET`, or `ID:SECRET`. Raises ValueError, which never holds the secret."""
        name, colon, rest = text.partition(":")
        secret = (rest if colon else text).encode()
        if colon and _ID.fullmatch(name) is None:
            raise ValueError("expected an id of letters, digits, - and _ before the key's colon")
        if len(secret) < KEY_BYTES:
            raise ValueError(f"expected a key of at least {KEY_BYTES} bytes, got {len(secret)}")
        return cls(secret, name if colon else None)


@dataclass(frozen=True, slots=True)
class VerifiedQuery:
    """A URL that may be answered: its query without our parameters, and the Unix time until which; 0: for ever."""

    query: bytes
    until_s: float = FOREVER


class Keyring:
    """The keys that a site takes: several at once, so that a new one may come before the old one goes."""

    def __init__(self, keys: Iterable[SigningKey]) -> None:
        self._keys = tuple(keys)
        if not self._keys:
            raise ValueError("expected at least one key")
        ids = [key.id for key in self._keys if key.id is not None]
        if len(set(ids)) < len(ids):
            raise ValueError("expected a different id for each key")

    def check(self, path: bytes, query: bytes, now_s: float) -> VerifiedQuery:
        """The query as it was before it was signed. `path` and `query` are the bytes received.

        Raises Refused for a signature that is missing or wrong, Expired for one that was right once.
        """
        found = split(query)
        if found is None or not self._is_ours(found.key_id, target(path, found.signed), found.signature):
            # One text for all: what exactly was wrong helps only whoever guesses.
            raise Forbidden("expected a signed address", fix="end the query with sig=…, see docs/signing.md")
        if found.until_s and now_s > found.until_s:
            raise expired()
        return VerifiedQuery(found.query, found.until_s)

    def sign(self, url: str, *, expires_s: int | None = None, key_id: str | None = None) -> str:
        """The path and query with a signature; by the key of that id, else by the first. Raises ValueError."""
        key = next((k for k in self._keys if key_id in (None, k.id)), None)
        if key is None:
            raise ValueError(f"there is no key with the id {key_id!r}")
        signed = _with_ours(_plain(url), key, expires_s)
        return f"{signed.decode()}{_joint(signed)}sig={signature(key.secret, signed).decode()}"

    def _is_ours(self, key_id: str | None, signed: bytes, given: bytes) -> bool:
        keys = self._keys if key_id is None else tuple(key for key in self._keys if key.id == key_id)
        # All are tried: how long it takes does not tell which one matched.
        matches = [hmac.compare_digest(signature(key.secret, signed), given) for key in keys]
        return any(matches)


def expired() -> SignatureExpired:
    """What is told of an address past its `exp`."""
    return SignatureExpired("the address held until a while ago", fix="ask for a new one")


@dataclass(frozen=True, slots=True)
class SignedQuery:
    """A signed query taken apart; `signed` is what of it the signature is over, `query` what a dialect reads."""

    query: bytes
    signed: bytes
    signature: bytes
    key_id: str | None
    until_s: float


def split(query: bytes) -> SignedQuery | None:
    """The query taken apart; None where it does not end in a signature."""
    head, joint, given = query.rpartition(b"sig=")
    if len(given) != 43 or not joint or head[-1:] not in (b"", b"&") or head == b"&":
        return None
    rest = signed = head[:-1]
    until_s, key_id = FOREVER, None
    if expiry := _EXP.search(rest):
        until_s, rest = float(int(expiry[1]) + SKEW_S), rest[: expiry.start()]
    if named := _KID.search(rest):
        key_id, rest = named[1].decode(), rest[: named.start()]
    return SignedQuery(rest, signed, given, key_id, until_s)


def target(path: bytes, query: bytes) -> bytes:
    """Path and query in one, as in a request's first line."""
    return path + b"?" + query if query else path


def signature(secret: bytes, signed: bytes) -> bytes:
    """43 characters."""
    return urlsafe_b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).rstrip(b"=")


def unsigned(query: bytes) -> bytes:
    """The query without our parameters, whether or not its signature is right."""
    found = split(query)
    return query if found is None else found.query


def _plain(url: str) -> bytes:
    """Raises ValueError for what cannot be signed as it stands."""
    if not url.startswith("/"):
        raise ValueError("expected a path that begins with a slash, and perhaps a query")
    if any(not "!" <= c <= "~" for c in url) or "#" in url:
        raise ValueError("expected an address as it goes over the wire: percent-encoded, without a fragment")
    plain = url.encode("ascii").removesuffix(b"?")
    if _OURS.search(plain.partition(b"?")[2]):
        raise ValueError("expected no kid=, exp= or sig= in the query: these are the signature's own")
    return plain


def _with_ours(plain: bytes, key: SigningKey, expires_s: int | None) -> bytes:
    if key.id is not None:
        plain += f"{_joint(plain)}kid={key.id}".encode()
    if expires_s is not None:
        plain += f"{_joint(plain)}exp={expires_s}".encode()
    return plain


def _joint(plain: bytes) -> str:
    return "&" if b"?" in plain else "?"
