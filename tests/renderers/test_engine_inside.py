"""The engine at work inside the sandbox: every format in and out, and the networks."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from fractions import Fraction
from pathlib import Path

import pytest
import pyvips

from cropmark.analysis import models
from cropmark.model.formats import READABLE, WRITABLE, Format, sniffed
from cropmark.model.problems import SourceUnusable
from cropmark.model.values import Pixels, Size
from cropmark.plan.plan import Choice, Output, Plan
from cropmark.plan.steps import Resize
from cropmark.ports import OpenSource, Rendered, SourceVersion
from cropmark.renderers.group import ExitReason
from cropmark.renderers.pool import Pool
from cropmark.renderers.tasks import Sandbox
from tests.renderers.conftest import killed_and_replaced

PICTURES = Path(__file__).parents[2] / "examples" / "images"
PHOTO = PICTURES / "astronaut.jpg"
POLICY = Sandbox.REQUIRE if sys.platform == "linux" else Sandbox.TRY

Opens = Callable[[bytes], OpenSource]


@pytest.fixture
def opens(tmp_path: Path) -> Opens:
    def opened(data: bytes) -> OpenSource:
        file = tmp_path / str(len(list(tmp_path.iterdir())))
        file.write_bytes(data)
        descriptor = os.open(file, os.O_RDONLY)
        return OpenSource(descriptor, len(data), SourceVersion(f"files:{file.name}", "1"), lambda: os.close(descriptor))

    return opened


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    pool = Pool(1, sandbox=POLICY, models=models.load)
    await pool.start()
    yield pool
    await pool.close()


def to(kind: Format, width: int = 200) -> Plan:
    return Plan((Resize(Pixels(Fraction(width)), None),), Output((Choice(kind),)))


async def rendered(pool: Pool, source: OpenSource, plan: Plan) -> Rendered:
    made = await pool.render([source], plan)
    assert isinstance(made, Rendered)
    return made


async def test_every_format_goes_out_and_comes_in(pool: Pool, opens: Opens) -> None:
    photo = opens(PHOTO.read_bytes())
    for kind in sorted(WRITABLE, key=lambda f: f.value):
        made = await rendered(pool, photo, to(kind))
        assert sniffed(made.body) is kind
        assert made.facts.size == Size(200, 200)
        again = opens(made.body)
        assert (await pool.inspect(again)).format is kind
        assert (await rendered(pool, again, to(Format.JPEG, 50))).facts.size == Size(50, 50)
    assert pool.state().restarts == {}


async def test_tiff_comes_in(pool: Pool, opens: Opens) -> None:
    """The one format that is read and not written."""
    assert {Format.TIFF} == READABLE - WRITABLE
    tiff = opens(pyvips.Image.black(300, 100, bands=3).write_to_buffer(".tif"))
    assert (await rendered(pool, tiff, to(Format.JPEG))).facts.source is not None


async def test_a_broken_picture_is_refused_and_its_renderer_replaced(pool: Pool, opens: Opens) -> None:
    photo = PHOTO.read_bytes()
    before = pool.pids()
    with pytest.raises(SourceUnusable):
        await pool.render([opens(photo[: len(photo) // 2])], to(Format.JPEG))
    assert (await rendered(pool, opens(photo), to(Format.JPEG))).facts.size == Size(200, 200)
    assert pool.pids() != before
    assert pool.state().restarts == {ExitReason.SPENT: 1}


async def test_the_same_bytes_from_every_renderer(pool: Pool, opens: Opens) -> None:
    """check_27: what is made after a replacement is what was made before."""
    photo = opens(PHOTO.read_bytes())
    first = await rendered(pool, photo, to(Format.WEBP))
    await killed_and_replaced(pool)
    assert (await rendered(pool, photo, to(Format.WEBP))).body == first.body


@pytest.mark.skipif(models.available() is not None, reason="the extra `smart` is not installed")
async def test_the_networks_run_in_the_sandbox_and_leave_nothing_open(pool: Pool, opens: Opens) -> None:
    """check_25, check_26: with telemetry on, onnxruntime would keep a database open and a thread that calls home."""
    found = await pool.analyze(opens(PHOTO.read_bytes()))
    assert found.analysis is not None
    assert len(found.analysis.faces) == 1
    if sys.platform == "linux":
        for pid in pool.pids():
            assert {d.name for d in Path(f"/proc/{pid}/fd").iterdir()} == {"0", "1", "2"}
    with pytest.raises(SourceUnusable):
        await pool.analyze(opens(b"no picture at all"))
