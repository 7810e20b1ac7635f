"""Renders a picture before and after each parameter for the documentation site: `example_pictures.py FOLDER`.

The example of each parameter is that of its documentation. It is requested from a server in this process over
examples/images. An example that changes nothing alone, such as `fit=crop`, is requested together with one of the other
queries in TOGETHER, and the picture before it has that query only. The folder gets the responses as they are, and
pictures.json: for each dialect a list of rows.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from cropmark.config.settings import Settings
from cropmark.dialects import registry
from cropmark.dialects.dialect import ParameterDoc
from cropmark.server.wiring import open_server

IMAGES: Final = Path(__file__).resolve().parent.parent / "examples" / "images"
IMAGE: Final = "kangaroo.jpg"
OTHER: Final = "rocket.jpg"
"""The image of overlays and of montages."""
ENDINGS: Final = {"jpeg": "jpg", "svg+xml": "svg"}
ACCEPT: Final = "image/webp,*/*"

TOGETHER: Final[Mapping[str, tuple[str, ...]]] = {
    "fastly": (
        "",
        "width=300&height=200",
        "width=300",
        "width=1400",
        "width=300&pad=20",
        "canvas=1:1&width=300",
        "width=300&format=png",
        "width=300&format=webp",
        "width=300&auto=webp",
    ),
    "contentstack": (
        "",
        "width=300&height=200",
        "width=300",
        "width=1400",
        "width=300&pad=20",
        "overlay=/contentstack/rocket.jpg&overlay-width=200",
        "overlay=/contentstack/rocket.jpg&overlay-width=200&overlay-align=bottom,right",
        "width=300&format=webp",
    ),
    "kontent": ("", "w=300", "w=200&h=200&fit=crop&crop=focalpoint", "fm=png&w=300"),
    "pixlab": (
        "x=100&y=50&width=300&height=300",
        "y=50&left=0&width=300&height=300",
        "x=100&top=0&width=300&height=300",
        "scale=100",
    ),
    "x-fastly-imageopto-overlay": (
        "",
        f"overlay=/{OTHER}&overlay-width=200",
        f"overlay=/{OTHER}&overlay-width=200&overlay-align=bottom,right",
    ),
    "x-fastly-imageopto-montage": (
        f"width=400&height=200&layout=2a&images=/{IMAGE};/{OTHER}",
        f"width=200&height=100&layout=2a&images=/{IMAGE};/{OTHER}",
        f"width=400&height=200&padding=10&layout=2a&images=/{IMAGE};/{OTHER}",
    ),
}
REPLACED: Final[Mapping[tuple[str, str], str]] = {
    ("contentstack", "overlay"): f"overlay=/contentstack/{OTHER}&overlay-width=300",
    ("x-fastly-imageopto-overlay", "overlay"): f"overlay=/{OTHER}",
    ("x-fastly-imageopto-overlay", "overlay-base64"): "overlay-base64=L3JvY2tldC5qcGc",
    ("x-fastly-imageopto-montage", "images"): f"images=/{OTHER};/{IMAGE}",
    ("x-fastly-imageopto-montage", "layout"): f"layout=3a&images=/{IMAGE};/{OTHER};/band.jpg",
    ("kontent", "fp-z"): "w=200&h=200&fit=crop&crop=focalpoint&fp-z=3",
}
"""Examples that name an image of the example, or need another parameter to have an effect."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response: its body, its kind of image, its size in pixels if it is known, and its status."""

    body: bytes
    kind: str
    status: int

    @property
    def text(self) -> str:
        """The facts for people."""
        if self.status != 200:
            return f"status {self.status}"
        return f"{self.kind.upper()}, {len(self.body):,} bytes"


class Pictures:
    """Requests examples and writes their responses to a folder."""

    def __init__(self, client: httpx.AsyncClient, folder: Path) -> None:
        self._client, self._folder = client, folder

    async def rows(self, entry: registry.DialectEntry) -> list[dict[str, Any]]:
        """One row for each parameter of the dialect."""
        found = [await self._row(entry, doc, "") for doc in entry.cls.params]
        for header, docs in entry.header_params:
            found += [await self._row(entry, doc, header) for doc in docs]
        return found

    async def _row(self, entry: registry.DialectEntry, doc: ParameterDoc, header: str) -> dict[str, Any]:
        place = header or entry.name
        example = REPLACED.get((place, doc.name), _example(doc))
        before, after, others = await self._pair(entry, header, doc.name, example)
        row = {"name": doc.name, "header": header, "example": _joined(others, example), "without": others}
        if before.body == after.body:
            return {**row, "same": True, "before": {"text": before.text}, "after": {"text": after.text}}
        return {**row, "same": False, "before": self._written(before), "after": self._written(after)}

    async def _pair(
        self, entry: registry.DialectEntry, header: str, parameter: str, example: str
    ) -> tuple[Reply, Reply, str]:
        """The responses without and with the example, and the query around it: the first of TOGETHER that shows it."""
        first: tuple[Reply, Reply, str] | None = None
        for others in TOGETHER[header or entry.name]:
            before = await self._reply(entry, header, others, parameter)
            after = await self._reply(entry, header, _joined(others, example), parameter)
            first = first or (before, after, others)
            if after.status == 200 and before.body != after.body:
                return before, after, others
        assert first is not None
        return first

    async def _reply(self, entry: registry.DialectEntry, header: str, query: str, parameter: str) -> Reply:
        client = self._client
        if entry.is_endpoint:
            endpoint = next((name for name, fields in entry.requests.items() if parameter in fields), "crop")
            url = f"/_playground/render?url=/{entry.name}/{endpoint}?{query}"
            reply = await client.post(url, content=(IMAGES / IMAGE).read_bytes())
        else:
            headers = {header: query} if header and query else {}
            url = f"/{entry.name}/{IMAGE}?{'width=480' if header else query}"
            reply = await client.get(url, headers=headers)
        kind = reply.headers.get("content-type", "").removeprefix("image/").partition(";")[0]
        return Reply(reply.content, kind, reply.status_code)

    def _written(self, reply: Reply) -> dict[str, str]:
        """The facts, and the name of the file: a digest of it, so that equal pictures are one file."""
        if reply.status != 200:
            return {"text": reply.text}
        name = f"{hashlib.sha256(reply.body).hexdigest()[:16]}.{ENDINGS.get(reply.kind, reply.kind)}"
        (self._folder / name).write_bytes(reply.body)
        return {"file": name, "text": reply.text}


def _example(doc: ParameterDoc) -> str:
    """The example as written in a URL."""
    is_whole = doc.example.partition("=")[0] == doc.name or "&" in doc.example
    return doc.example if is_whole else f"{doc.name}={doc.example}"


def _joined(others: str, example: str) -> str:
    """The query with the example in place of the same parameters in `others`."""
    names = {pair.partition("=")[0] for pair in example.split("&")}
    left = [pair for pair in others.split("&") if pair and pair.partition("=")[0] not in names]
    return "&".join([*left, example])


def write_pictures(folder: Path, dialects: Sequence[registry.DialectEntry] = registry.DIALECTS) -> None:
    """Write the pictures of the dialects and pictures.json."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = asyncio.run(_all_rows(folder, dialects))
    (folder / "pictures.json").write_text(json.dumps(rows, indent=1), "utf-8")


async def _all_rows(folder: Path, dialects: Sequence[registry.DialectEntry]) -> dict[str, list[dict[str, Any]]]:
    with tempfile.TemporaryDirectory() as state:
        settings = Settings(
            folder=IMAGES,
            data_dir=Path(state) / "data",
            cache_dir=Path(state) / "cache",
            access_log="off",
            image_headers_from_anyone=True,
            analysis_timeout_s=60,
            render_timeout_s=60,
            request_deadline_s=120,
        )
        async with open_server(settings) as server:
            transport = httpx.ASGITransport(server.app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost", headers={"Accept": ACCEPT}
            ) as client:
                pictures = Pictures(client, folder)
                return {entry.name: await pictures.rows(entry) for entry in dialects}


if __name__ == "__main__":
    write_pictures(Path(sys.argv[1]))
