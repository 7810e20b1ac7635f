"""A made access log, and the folders of two servers, with images that differ in known ways."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.engine.images import file_of, slopes

WIDTHS = (40, 60, 80, 100, 120)


def queries(widths: Sequence[int]) -> list[str]:
    """The queries of the log: none, widths, formats and crops."""
    sizes = [f"width={width}" for width in widths]
    return [
        "",
        *(f"?{size}" for size in sizes),
        *(f"?{size}&format=webp" for size in sizes),
        *(f"?crop={across}:1&{size}" for across in (1, 2) for size in sizes),
    ]


PICTURE = slopes(160, 120)

# Name of the file, its bytes in the old folder, and in the new one; None: it is not there.
# fmt: off
FILES: dict[str, tuple[bytes | None, bytes | None]] = {
    "same.png":   (file_of(PICTURE), file_of(PICTURE)),
    "near.jpg":   (file_of(PICTURE, "JPEG", quality=95), file_of(PICTURE, "JPEG", quality=88)),
    "dark.png":   (file_of(PICTURE), file_of((PICTURE * 0.6).astype("uint8"))),
    "small.png":  (file_of(PICTURE), file_of(slopes(30, 24))),
    "kind.png":   (file_of(PICTURE), file_of(PICTURE, "JPEG", quality=95)),
    "gone.png":   (file_of(PICTURE), None),
    "broken.png": (file_of(PICTURE), file_of(PICTURE)[:200]),
    "new.png":    (None, file_of(PICTURE)),
}
# fmt: on


def write_folders(folder: Path) -> tuple[Path, Path]:
    """The folders of the old and the new server."""
    old, new = folder / "old", folder / "new"
    for at, place in enumerate((old, new)):
        place.mkdir(parents=True)
        for name, bodies in FILES.items():
            body = bodies[at]
            if body is not None:
                (place / name).write_bytes(body)
    return old, new


def lines(count: int, widths: Sequence[int] = WIDTHS, seed: int = 1) -> Iterator[str]:
    """A log of `count` lines in several formats; a tenth is not for images, or not for the old server's images."""
    random_ = random.Random(seed)
    known = [f"/fastly/{name}{query}" for query in queries(widths) for name in FILES]
    for number in range(count):
        target = known[number] if number < len(known) else random_.choice(known)
        if number % 10 == 9:
            target = random_.choice(["/index.html", "/app.css", "/fastly/lost.png"])
        status = 404 if "lost" in target else 200
        yield _FORMATS[number % len(_FORMATS)](target, status)


def _combined(target: str, status: int) -> str:
    return f'192.0.2.7 - - [10/Oct/2026:13:55:36 +0000] "GET {target} HTTP/2.0" {status} 5120 "-" "Mozilla/5.0"'


def _fastly(target: str, status: int) -> str:
    return json.dumps(
        {"timestamp": "2026-10-10T13:55:36", "url": target, "request_method": "GET", "response_status": status}
    )


def _cloudflare(target: str, status: int) -> str:
    return json.dumps(
        {
            "ClientRequestMethod": "GET",
            "ClientRequestURI": target,
            "EdgeResponseStatus": status,
            "ClientIP": "192.0.2.7",
        }
    )


def _cloudfront(target: str, status: int) -> str:
    path, _, query = target.partition("?")
    return json.dumps({"cs-method": "GET", "cs-uri-stem": path, "cs-uri-query": query or "-", "sc-status": str(status)})


_FORMATS = (_combined, _fastly, _cloudflare, _cloudfront)
