"""A process with one more dialect in the registry. It prints, as JSON, the places where the dialect appears."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import httpx

from cropmark.dialects import registry
from cropmark.dialects.dialect import Headers, ImageRequest, ParameterDoc, Response, Result, Serialized, Unsupported
from cropmark.dialects.registry import DefaultMount, DialectEntry, Sample
from cropmark.model.problems import Problem
from cropmark.plan.plan import FactsDocument, Order
from cropmark.plan.source import SitePath, SourceRequest


@dataclass(frozen=True, slots=True)
class MadeUpSettings:
    """Settings of the made-up dialect."""

    shade: str = "pink"
    """The color of nothing."""


@dataclass(frozen=True, slots=True)
class MadeUp:
    """A dialect that answers `info` with facts as JSON and redirects every other request to the path it received."""

    settings: MadeUpSettings = MadeUpSettings()

    name: ClassVar[str] = "madeup"
    params: ClassVar[tuple[ParameterDoc, ...]] = (
        ParameterDoc("wide", "PIXELS", "none", "The width.", "wide=3", "https://vendor.example/wide"),
    )
    request_headers: ClassVar[tuple[str, ...]] = ()
    image_request_headers: ClassVar[tuple[str, ...]] = ()

    def order(self, request: ImageRequest) -> Order | Response:
        if request.query == "info":
            facts = FactsDocument("madeup-info", lambda info: json.dumps({"width": info.size.width}).encode())
            return Order((SourceRequest(SitePath(request.path)),), None, facts=facts)
        location = f"/elsewhere/{request.encoded_path}?{request.query}&shade={self.settings.shade}"
        return Response(302, b"", "text/plain", (("location", location),))

    def image_headers(self, order: Order, result: Result) -> Headers:
        return ()

    def error_response(self, problem: Problem, request: ImageRequest) -> Response:
        return Response(problem.status, b"", "text/plain")

    def serialize(self, order: Order) -> Serialized | Unsupported:
        return Unsupported(("it only redirects",))


MADE_UP = DialectEntry(
    "madeup",
    MadeUp,
    MadeUpSettings,
    "Made-up Images",
    mounts=(DefaultMount("/madeup"), DefaultMount("/madeup-blue", {"shade": "blue"})),
    samples=(Sample("wide sample", "wide=3"),),
)


def _appearances(folder: Path) -> Iterator[tuple[str, Any]]:
    # Imported after the dialect is registered: these modules derive their lists from the registry.
    from typer.testing import CliRunner  # noqa: PLC0415 - see above

    from cropmark.cli.main import app  # noqa: PLC0415 - see above
    from cropmark.config.loader import load_settings  # noqa: PLC0415 - see above
    from tests.conformance.against_server import base_options  # noqa: PLC0415 - see above
    from tests.conformance.runner.cases import dialect_of  # noqa: PLC0415 - see above

    sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
    import documents  # noqa: PLC0415 - see above

    file = folder / "cropmark.toml"
    file.write_text('[madeup]\nshade = "red"\n[[site]]\nprefix = "/own"\ndialect = "madeup"\nsource = "."\n')
    loaded = load_settings(file, environ={})
    yield "setting", loaded.settings.section(MadeUpSettings).shade
    by_variable = load_settings(file, environ={"CROPMARK_MADEUP__SHADE": "gold"})
    yield "variable", by_variable.settings.section(MadeUpSettings).shade
    yield "site", loaded.settings.site[0].dialect
    yield "documents", dict(documents.documents())
    yield "help", CliRunner().invoke(app, ["explain", "--help"], env={"COLUMNS": "200"}).output
    yield "responses", asyncio.run(_responses(folder))
    yield "runner", [dialect_of({"id": "a-madeup-1"}, Path("combinations.jsonl")), *base_options("http://a")]


async def _responses(folder: Path) -> dict[str, str]:
    from cropmark.config.settings import Settings  # noqa: PLC0415 - see above
    from cropmark.server.wiring import open_server  # noqa: PLC0415 - see above

    settings = Settings(folder=folder, cache_dir=folder / "cache", data_dir=folder / "data", renderers=1, sandbox="off")
    async with open_server(settings) as server:
        transport = httpx.ASGITransport(server.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://a.example") as client:
            page = await client.get("/_playground/data")
            targets = {path: await client.get(path) for path in ("/madeup/a%2Fb?wide=3", "/madeup-blue/a?wide=4")}
            name = next(folder.glob("*.jpg")).name
            facts = [await client.get(f"/madeup/{name}?info") for _ in range(2)]
            missing = await client.get("/madeup/missing.jpg?info")
    found = {path: response.headers.get("location", "") for path, response in targets.items()}
    found["facts"] = facts[0].text
    found["facts type"] = facts[0].headers["content-type"]
    found["facts cache"] = " ".join(response.headers["server-timing"].split(",")[0] for response in facts)
    found["facts missing"] = str(missing.status_code)
    return {"/": page.text, **found}


if __name__ == "__main__":
    registry.DIALECTS = (*registry.DIALECTS, MADE_UP)  # type: ignore[misc]  # Final, except in this process
    print(json.dumps(dict(_appearances(Path(sys.argv[1])))))
