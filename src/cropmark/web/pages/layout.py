"""The HTML document around every page, its headers, and the static files. Pages load nothing from other hosts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import Final

from starlette.responses import Response

from cropmark.web.response import PAGE_SECURITY

STATIC_PREFIX: Final = "/_static"
MEDIA_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
STATIC_FILES: Final = ("pages.css", "playground.css", "playground.js", "selection.js", "snippets.js")

_POLICY: Final = (
    "default-src 'none'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS: Final[Mapping[str, str]] = {
    "server": "cropmark",
    "cache-control": "no-store",
    **dict(PAGE_SECURITY),
}
HTML_HEADERS: Final[Mapping[str, str]] = {**PAGE_HEADERS, "content-security-policy": _POLICY}


class HtmlPage(Response):
    """An HTML response in ASCII.

    Other characters are escaped, because a path may contain bytes that are not UTF-8.
    """

    media_type = "text/html"

    def __init__(self, html: str, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(encoded(html), status, {**HTML_HEADERS, **(headers or {})})


def encoded(html: str) -> bytes:
    """The HTML in ASCII, with character references for other characters."""
    return html.encode("ascii", "xmlcharrefreplace")


def document(title: str, body: str, *, styles: Iterable[str] = (), scripts: Iterable[str] = ()) -> str:
    """A complete HTML document. `title` is text, `body` is HTML.

    `styles` and `scripts` are names of static files.
    """
    sheets = "".join(f'<link rel="stylesheet" href="{STATIC_PREFIX}/{name}">' for name in ("pages.css", *styles))
    modules = "".join(f'<script type="module" src="{STATIC_PREFIX}/{name}"></script>' for name in scripts)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>{sheets}{modules}</head><body>
{body}
</body></html>
"""


@cache
def static_file(name: str) -> bytes | None:
    """The content of a file named in STATIC_FILES; None for any other name."""
    return static_text(name).encode() if name in STATIC_FILES else None


@cache
def static_text(name: str) -> str:
    """The text of a file in the folder `static` of this package."""
    return (files(__package__) / "static" / name).read_text("utf-8")
