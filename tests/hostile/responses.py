"""The rules that every response to a hostile file must meet."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import httpx

from cropmark.model.formats import TRAITS, sniff_format

TYPES = {traits.media_type for traits in TRAITS.values() if traits.media_type.startswith("image/")}
ERROR_TYPES = {
    "text/plain; charset=utf-8",
    "application/problem+json",
    "application/json",
    "application/json; charset=utf-8",
}
OF_THE_KITCHEN = (b"Traceback", b'File "', b"/home/", b"site-packages", b"pyvips", b"/tmp/")
"""Texts that no response may contain: our code, our paths."""


class Kind(Enum):
    MADE = "made"
    ORIGINAL = "original"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Seen:
    """A response, and the list of its violations."""

    kind: Kind
    wrong: tuple[str, ...]


def seen(response: httpx.Response, file: bytes) -> Seen:
    """The answer to a request for an image made of that file."""
    wrong = []
    if response.headers.get("x-content-type-options") != "nosniff":
        wrong.append("no nosniff")
    if "content-security-policy" not in response.headers:
        wrong.append("no policy")
    if response.status_code != 200:
        return Seen(Kind.REFUSED, (*wrong, *_refusal(response)))
    kind = Kind.ORIGINAL if response.content == file else Kind.MADE
    if kind is Kind.ORIGINAL and sniff_format(file[:4096]) is None:
        return Seen(kind, (*wrong, *_file(response)))
    return Seen(kind, (*wrong, *_image(response)))


def _refusal(response: httpx.Response) -> list[str]:
    wrong = [f"tells of {word!r}" for word in OF_THE_KITCHEN if word in response.content]
    if response.status_code not in (400, 404, 413, 415, 422, 503):
        wrong.append(f"status {response.status_code}")
    if response.headers.get("content-type") not in ERROR_TYPES:
        wrong.append(f"an error as {response.headers.get('content-type')}")
    if len(response.content) > 2000 or not response.content.strip():
        wrong.append(f"an error of {len(response.content)} bytes")
    if response.headers.get("cache-control") != "no-store":
        wrong.append(f"a cacheable error: {response.headers.get('cache-control')}")
    return wrong


def _file(response: httpx.Response) -> list[str]:
    """The rules for a file next to the images, which is sent unchanged: no browser runs it or shows it."""
    reported, policy = response.headers.get("content-type", ""), response.headers.get("content-security-policy", "")
    wrong = (
        [f"a file as {reported}"] if reported.split(";")[0] in {*TYPES, "text/html", "application/xhtml+xml"} else []
    )
    return wrong if "sandbox" in policy else [*wrong, "a file without a sandbox"]


def _image(response: httpx.Response) -> list[str]:
    reported, found = response.headers.get("content-type"), sniff_format(response.content[:4096])
    if found is None:
        return ["200 without an image"]
    wrong = [] if reported in TYPES else [f"an image as {reported}"]
    if TRAITS[found].media_type != reported:
        wrong.append(f"{found.value} as {reported}")
    if reported == "image/svg+xml" and "sandbox" not in response.headers.get("content-security-policy", ""):
        wrong.append("a drawing without a sandbox")
    if int(response.headers.get("content-length", -1)) != len(response.content):
        wrong.append("a body of another length than Content-Length")
    return wrong
