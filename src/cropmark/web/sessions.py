"""Sessions for the pages of a production server. A browser that sends the admin token gets a session cookie."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from functools import cache
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

COOKIE: Final = "cropmark_session"
LIFETIME_S: Final = 12 * 3600
PATHS: Final = ("/_explain", "/_explain.png", "/_playground")
"""The paths of pages. Each gets a cookie of its own: a cookie for `/_` would be sent to none (RFC 6265, section
5.1.4)."""


@cache
def session_seed() -> bytes:
    """A random secret, created by the first call. Processes that are forked later share it."""
    return secrets.token_bytes(32)


class Sessions:
    """Issues and verifies signed session cookies. The server stores no sessions.

    The signature depends on the configured admin token, so all sessions end if the token changes. Without a configured
    token it depends on session_seed(), so all sessions end with the process.
    """

    def __init__(self, admin_token: str | None) -> None:
        seed = session_seed() if admin_token is None else admin_token.encode()
        self._key = hmac.new(seed, b"cropmark session", hashlib.sha256).digest()

    def begin(self, response: Response, now_s: float, *, secure: bool) -> None:
        """Set the cookies of a new session. `secure`: browsers send them over HTTPS only."""
        expires = str(int(now_s) + LIFETIME_S)
        for path in PATHS:
            response.set_cookie(
                COOKIE,
                f"{expires}.{self._signature(expires)}",
                max_age=LIFETIME_S,
                path=path,
                secure=secure,
                httponly=True,
                samesite="strict",
            )

    def has(self, request: Request, now_s: float) -> bool:
        """True if the request has a valid session cookie that has not expired."""
        expires, _, given = request.cookies.get(COOKIE, "").partition(".")
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
            return False
        is_genuine = hmac.compare_digest(given.encode(), self._signature(expires).encode())
        return is_genuine and now_s < int(expires)

    def _signature(self, expires: str) -> str:
        return hmac.new(self._key, expires.encode(), hashlib.sha256).hexdigest()
