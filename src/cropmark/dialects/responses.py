"""Parts of responses that dialects share: JSON bodies, and headers for warnings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from cropmark.dialects.dialect import Headers, Response
from cropmark.plan.plan import RequestWarning

ALLOW_ANY_ORIGIN: Headers = (("Access-Control-Allow-Origin", "*"),)
ORIGINAL_SENT = RequestWarning("source", "it could not be processed: the original was sent")
MAX_WARNINGS = 8
MAX_WARNING_CHARS = 200


def json_response(status: int, members: Mapping[str, object], headers: Headers = ()) -> Response:
    """A response with the members as JSON in ASCII. Its media type is application/json, without parameters."""
    return Response(status, json.dumps(members).encode("ascii"), "application/json", headers)


def warning_headers(warnings: Iterable[RequestWarning]) -> Headers:
    """A header X-Cropmark-Warning for each warning, such as `w: expected a number above 0, got 'x'`.

    Duplicates are left out, and there are at most MAX_WARNINGS headers. A warning may quote the URL, so it is shortened
    and limited to visible ASCII: it can neither end the header early nor make it long.
    """
    texts = dict.fromkeys(f"{warning.parameter}: {warning.text}" for warning in warnings)
    return tuple(("X-Cropmark-Warning", _visible(text)) for text in [*texts][:MAX_WARNINGS])


def one_line(text: str, limit: int) -> str:
    """The text in one line of at most `limit` characters.

    Each run of blanks and control characters becomes one blank.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def _visible(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in one_line(text, MAX_WARNING_CHARS))
