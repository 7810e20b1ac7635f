"""What an answer to a hostile file may look like, whatever the file."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import httpx

from cropmark.model.formats import TRAITS, sniffed

TYPES = {traits.media_type for traits in TRAITS.values()}
ERROR_TYPES = {
    "text/plain; charset=utf-8",
    "application/problem+json",
    "application/json",
    "application/json; charset=utf-8",
}
OF_THE_KITCHEN = (b"Traceback", b'File "', b"/home/", b"site-packages", b"pyvips", b"/tmp/")
"""What no caller may read: our code, our paths."""


class Kind(Enum):
    MADE = "made"
    ORIGINAL = "original"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer: what it was, and all that is wrong with it."""

    kind: Kind
    wrong: tuple[str, ...]


def seen(answer: httpx.Response, file: bytes) -> Seen:
    """The answer to a request for a picture made of that file."""
    wrong = []
    if answer.headers.get("x-content-type-options") != "nosniff":
        wrong.append("no nosniff")
    if "content-security-policy" not in answer.headers:
        wrong.append("no policy")
    if answer.status_code != 200:
        return Seen(Kind.REFUSED, (*wrong, *_refusal(answer)))
    kind = Kind.ORIGINAL if answer.content == file else Kind.MADE
    return Seen(kind, (*wrong, *_picture(answer)))


def _refusal(answer: httpx.Response) -> list[str]:
    wrong = [f"tells of {word!r}" for word in OF_THE_KITCHEN if word in answer.content]
    if answer.status_code not in (400, 404, 413, 415, 422, 503):
        wrong.append(f"status {answer.status_code}")
    if answer.headers.get("content-type") not in ERROR_TYPES:
        wrong.append(f"an error as {answer.headers.get('content-type')}")
    if len(answer.content) > 2000 or not answer.content.strip():
        wrong.append(f"an error of {len(answer.content)} bytes")
    if answer.headers.get("cache-control") != "no-store":
        wrong.append(f"an error to keep: {answer.headers.get('cache-control')}")
    return wrong


def _picture(answer: httpx.Response) -> list[str]:
    told, found = answer.headers.get("content-type"), sniffed(answer.content[:4096])
    if found is None:
        return ["200, and no picture"]
    wrong = [] if told in TYPES else [f"a picture as {told}"]
    if TRAITS[found].media_type != told:
        wrong.append(f"{found.value} as {told}")
    if told == "image/svg+xml" and "sandbox" not in answer.headers.get("content-security-policy", ""):
        wrong.append("a drawing without a sandbox")
    if int(answer.headers.get("content-length", -1)) != len(answer.content):
        wrong.append("another length than told")
    return wrong
