"""What the answers of several dialects share: JSON bodies, and the headers that tell what was odd about an order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from cropmark.dialects.dialect import Headers, Response
from cropmark.plan.plan import RequestWarning

ALLOW_ANY_ORIGIN: Headers = (("Access-Control-Allow-Origin", "*"),)
MAX_WARNINGS = 8
MAX_WARNING_CHARS = 200


def json_response(status: int, members: Mapping[str, object], headers: Headers = ()) -> Response:
    """The members as JSON in ASCII, typed application/json and nothing behind it."""
    return Response(status, json.dumps(members).encode("ascii"), "application/json", headers)


def warning_headers(warnings: Iterable[RequestWarning]) -> Headers:
    """A header for each of the first MAX_WARNINGS different warnings: `w: expected a number above 0, got 'x'`.

    What a URL brought into their texts is cut and kept to visible ASCII, so that no header ends early or grows.
    """
    texts = dict.fromkeys(f"{warned.parameter}: {warned.text}" for warned in warnings)
    return tuple(("X-Cropmark-Warning", _visible(text)) for text in [*texts][:MAX_WARNINGS])


def one_line(text: str, limit: int) -> str:
    """The text with every run of blanks and control characters as one blank, cut to `most` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def _visible(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in one_line(text, MAX_WARNING_CHARS))
