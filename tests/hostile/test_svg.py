"""check_33: a server with `svg = "rasterize"` and the hostile SVGs of the corpus."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from cropmark.model.formats import Format, sniff_format
from tests.hostile import polyglots, seeds
from tests.hostile.responses import Kind, seen
from tests.hostile.slowness import slowness
from tests.web.server_process import Running, running

TIMEOUT_S = 2.0
DRAWN = {
    "plain.svg", "script.svg", "onload.svg", "file.svg", "web.svg", "include.svg", "paint-data.svg",
    "import-data.svg", "huge-filter.svg", "matrix.svg", "dashes.svg", "tiny-pattern.svg",
}  # fmt: skip
"""The drawings that a browser shows too, without the files that they refer to."""
MAY_BE_DRAWN = {"noise.svg", "masks.svg", "huge-viewbox.svg", "many.svg"}
"""Drawings with a long render: the answer depends on the machine."""
SLOW = polyglots.SVG % (
    b'<filter id="f">%b</filter>' % (b'<feTurbulence baseFrequency="0.01" numOctaves="10"/>' * 20) + polyglots.FILTERED
)
HOSTILE = {n: d for n, d in polyglots.drawings().items() if sniff_format(d[:4096]) is Format.SVG}

WIDTHS = {name: 30 + number for number, name in enumerate(HOSTILE)}
"""A width of the good image for each drawing: the renderer must have survived to make it."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("svg")
    (folder / "files").mkdir()
    for name, data in {**HOSTILE, "slow.svg": SLOW, "good.png": seeds.torn_seeds()["plain.png"]}.items():
        (folder / "files" / name).write_bytes(data)
    settings = {"CROPMARK_RENDER_TIMEOUT_S": str(TIMEOUT_S), "CROPMARK_SVG": "rasterize"}
    with running(str(folder / "files"), cache=folder / "cache", environment=settings, renderers=1) as found:
        yield found


@pytest.mark.parametrize("name", HOSTILE)
def test_check_33_a_hostile_drawing_costs_its_own_request_only(server: Running, name: str) -> None:
    began = time.perf_counter()
    answer = found(server, f"/fastly/{name}?width=48&format=png")
    assert time.perf_counter() - began < (TIMEOUT_S + 3) * slowness()
    judged = seen(answer, HOSTILE[name])
    assert judged.wrong == ()
    if name not in MAY_BE_DRAWN:
        assert (judged.kind is Kind.MADE) == (name in DRAWN), answer.text[:200]
    good = found(server, f"/fastly/good.png?width={WIDTHS[name]}")
    assert (good.status_code, good.headers["server-timing"].partition(",")[0]) == (200, "cache;desc=miss")
    assert server.process.poll() is None


def test_check_33_a_drawing_that_takes_too_long_ends(server: Running) -> None:
    """Its cost cannot be foreseen: noise of 20 filters at the size of the result."""
    began = time.perf_counter()
    answer = server.get("/fastly/slow.svg?width=3000&enable=upscale&format=png")
    judged = seen(answer, SLOW)
    assert "was not rendered within 2 s" in answer.text
    assert time.perf_counter() - began < (TIMEOUT_S + 3) * slowness()
    assert (judged.kind, judged.wrong) == (Kind.REFUSED, ())
    assert found(server, "/fastly/good.png?width=21").status_code == 200
    assert server.process.poll() is None


def found(server: Running, path: str) -> httpx.Response:
    """The answer, asked for again while a renderer is replaced."""
    answer = server.get(path)
    for _ in range(20):
        if answer.status_code != 503 or answer.headers.get("retry-after") not in ("1", "2"):
            break
        time.sleep(1)
        answer = server.get(path)
    return answer
