"""The engine inside the sandbox: every input and output format, and the networks."""

from __future__ import annotations

import os
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from struct import pack

import pytest
import pytest_asyncio
import pyvips
from PIL import Image

from cropmark.analysis import models
from cropmark.engine.tiff import Lab
from cropmark.model.extras import HEIF, VIDEO
from cropmark.model.formats import READABLE, TRAITS, WRITABLE, CmykConversion, Format, begins_as, sniff_format
from cropmark.model.problems import OutputTooLarge, SourceTooLarge, SourceUnusable
from cropmark.model.values import Pixels, Size
from cropmark.plan.plan import EncodingChoice, Fallback, H264Profile, Limits, Output, Plan, Video
from cropmark.plan.steps import Crop, Dimensions, Offset, Resize
from cropmark.ports import AnalysisResult, OpenSource, Passthrough, Rendered
from cropmark.renderers.group import ExitReason
from cropmark.renderers.pool import Pool, PoolConfig
from cropmark.renderers.tasks import Sandbox
from tests.builders import encode, open_file, px
from tests.engine import heic_files
from tests.engine.test_declared_colors import FLATS, RAMPS
from tests.engine.test_repair import COMPLETED
from tests.engine.test_tiff import samples, tiff_of
from tests.renderers.conftest import kill_and_wait

IMAGES = Path(__file__).parents[2] / "examples" / "images"
PHOTO = IMAGES / "astronaut.jpg"
POLICY = Sandbox.REQUIRE if sys.platform == "linux" else Sandbox.TRY

pytestmark = pytest.mark.asyncio(loop_scope="module")

Opens = Callable[[bytes], OpenSource]


@pytest.fixture
def opens(tmp_path: Path) -> Opens:
    def opened(data: bytes) -> OpenSource:
        file = tmp_path / str(len(list(tmp_path.iterdir())))
        file.write_bytes(data)
        return open_file(file)

    return opened


@pytest_asyncio.fixture(loop_scope="module")
async def pool() -> AsyncIterator[Pool]:
    """A pool for a test that ends a worker or measures its memory."""
    pool = Pool(PoolConfig(1, sandbox=POLICY), models=models.load_models)
    await pool.start()
    yield pool
    await pool.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_pool() -> AsyncIterator[Pool]:
    """The pool of all other tests. None of its workers may end."""
    pool = Pool(PoolConfig(1, sandbox=POLICY))
    await pool.start()
    yield pool
    await pool.close()


def to(kind: Format, width: int = 200) -> Plan:
    return Plan((Resize(Pixels(Fraction(width)), None),), Output((EncodingChoice(kind),)))


async def rendered(pool: Pool, source: OpenSource, plan: Plan) -> Rendered:
    rendition = await pool.render([source], plan)
    assert isinstance(rendition, Rendered)
    return rendition


async def test_every_format_is_written_and_read(shared_pool: Pool, opens: Opens) -> None:
    photo = opens(PHOTO.read_bytes())
    for kind in sorted(WRITABLE - {Format.MP4}, key=lambda f: f.value):
        rendition = await rendered(shared_pool, photo, to(kind))
        assert sniff_format(rendition.body) is kind
        assert rendition.facts.size == Size(200, 200)
        again = opens(rendition.body)
        assert (await shared_pool.inspect(again)).format is kind
        assert (await rendered(shared_pool, again, to(Format.JPEG, 50))).facts.size == Size(50, 50)
    assert shared_pool.state().restarts == {}


async def test_tiff_is_read(shared_pool: Pool, opens: Opens) -> None:
    """With BMP, the formats that are read and not written without an extra."""
    assert {Format.TIFF, Format.BMP} == {kind for kind in READABLE - WRITABLE if TRAITS[kind].extra is None}
    tiff = opens(pyvips.Image.black(300, 100, bands=3).write_to_buffer(".tif"))
    assert (await rendered(shared_pool, tiff, to(Format.JPEG))).facts.source is not None


@pytest.mark.skipif(VIDEO.package is None, reason="the extra `video` is not installed")
@pytest.mark.parametrize("profile", H264Profile)
async def test_an_mp4_is_written(shared_pool: Pool, opens: Opens, profile: H264Profile) -> None:
    first, *others = (Image.open(PHOTO).resize((96, 64)).rotate(30 * number) for number in range(20))
    gif = opens(encode(first, "GIF", save_all=True, append_images=others, duration=50))
    rendition = await rendered(
        shared_pool, gif, Plan(output=Output((EncodingChoice(Format.MP4, video=Video(profile)),)))
    )
    assert (rendition.format, rendition.facts.frames) == (Format.MP4, 20)
    assert begins_as(rendition.body, Format.MP4)
    assert shared_pool.state().restarts == {}


async def test_bmp_is_read(shared_pool: Pool, opens: Opens) -> None:
    for mode in ("RGB", "RGBA", "P", "1"):
        bitmap = opens(encode(Image.new(mode, (300, 100)), "BMP"))
        assert (await rendered(shared_pool, bitmap, to(Format.JPEG))).facts.source is not None
    assert shared_pool.state().restarts == {}


@pytest.mark.skipif(HEIF.package is None, reason="the extra `heif` is not installed")
async def test_heic_is_read(shared_pool: Pool, opens: Opens) -> None:
    for body in (heic_files.file("photo"), heic_files.hdr(), heic_files.grid()):
        assert (await shared_pool.inspect(opens(body))).format is Format.HEIC
        assert (await rendered(shared_pool, opens(body), to(Format.JPEG, 50))).facts.size is not None
    assert shared_pool.state().restarts == {}


async def test_svg_is_drawn_with_its_images(opens: Opens) -> None:
    """Nothing is opened for it inside the sandbox. Text needs fonts, so such a file is not drawn."""
    inner = "".join(
        f'<image width="8" height="8" href="data:image/png;base64,{b64encode(encode(image, kind)).decode()}"/>'
        for image, kind in ((Image.new("RGB", (8, 8), "red"), "JPEG"), (Image.new("RGB", (8, 8), "blue"), "PNG"))
    )
    root = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8">'
    pool = Pool(PoolConfig(1, sandbox=POLICY, reads_svg=True))
    plan = replace(to(Format.PNG, 80), reads=READABLE | {Format.SVG}, on_unsupported=Fallback.ORIGINAL)
    await pool.start()
    result = await rendered(pool, opens(f"{root}{inner}</svg>".encode()), plan)
    with_text = await pool.render([opens(f"{root}<text>a</text></svg>".encode())], plan)
    not_read = await pool.render([opens(f"{root}{inner}</svg>".encode())], replace(plan, reads=READABLE))
    await pool.close()
    assert pyvips.Image.pngload_buffer(result.body)(40, 40)[:3] == [0, 0, 255]
    assert isinstance(with_text, Passthrough)
    assert isinstance(not_read, Passthrough)
    assert pool.state().restarts == {}


async def test_declared_colors_and_completed_files(shared_pool: Pool, opens: Opens) -> None:
    """These paths run Python code that no other format runs: nothing of it may be imported inside the sandbox."""
    lab = tiff_of(samples(Lab.CIE, 8), Lab.CIE.value)
    for body in (lab, *(body for body, _ in (*FLATS.values(), *RAMPS.values(), *COMPLETED.values()))):
        assert (await rendered(shared_pool, opens(body), to(Format.PNG, 1))).facts.size is not None
    assert shared_pool.state().restarts == {}


async def test_the_conversion_of_cmyk_is_the_pools(opens: Opens) -> None:
    cyan = opens(encode(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG", quality=100))
    for conversion, shown in ((CmykConversion.BROWSER, (0, 255, 255)), (CmykConversion.PRESS, (0, 155, 228))):
        pool = Pool(PoolConfig(1, sandbox=POLICY, cmyk=conversion))
        await pool.start()
        result = await rendered(pool, cyan, to(Format.PNG, 8))
        await pool.close()
        found = pyvips.Image.pngload_buffer(result.body)(4, 4)
        assert found == pytest.approx(shown, abs=2)


async def test_a_broken_image_is_rejected_and_its_worker_replaced(pool: Pool, opens: Opens) -> None:
    photo = PHOTO.read_bytes()
    before = pool.pids()
    with pytest.raises(SourceUnusable):
        await pool.render([opens(photo[: len(photo) // 2])], to(Format.JPEG))
    assert (await rendered(pool, opens(photo), to(Format.JPEG))).facts.size == Size(200, 200)
    assert pool.pids() != before
    assert pool.state().restarts == {ExitReason.RECYCLED: 1}


async def test_every_worker_renders_the_same_bytes(pool: Pool, opens: Opens) -> None:
    """check_27: a replacement renders the same bytes."""
    photo = opens(PHOTO.read_bytes())
    first = await rendered(pool, photo, to(Format.WEBP))
    await kill_and_wait(pool)
    assert (await rendered(pool, photo, to(Format.WEBP))).body == first.body


@pytest.mark.skipif(models.unavailable_reason() is not None, reason="the extra `smart` is not installed")
async def test_the_networks_run_in_the_sandbox_and_leave_no_file_open(pool: Pool, opens: Opens) -> None:
    """check_25, check_26: with telemetry on, onnxruntime would have a database open and a thread that calls home."""
    result = await pool.analyze(opens(PHOTO.read_bytes()), Plan())
    assert result.analysis is not None
    assert len(result.analysis.faces) == 1
    if sys.platform == "linux":
        for pid in pool.pids():
            assert {d.name for d in Path(f"/proc/{pid}/fd").iterdir()} == {"0", "1", "2"}
    with pytest.raises(SourceUnusable):
        await pool.analyze(opens(b"not an image"), Plan())


def peak_bytes(pool: Pool) -> int:
    """The most memory that any worker of the pool ever had."""
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in pool.pids()]
    return 1024 * max(int(status.partition("VmHWM:")[2].split()[0]) for status in statuses)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.skipif(models.unavailable_reason() is not None, reason="the extra `smart` is not installed")
async def test_check_58_a_source_beyond_the_limits_is_not_decoded_for_its_analysis(pool: Pool, opens: Opens) -> None:
    """A small frame on a screen of 16000 x 16000 pixels took 1.1 GB."""
    frame = encode(Image.new("P", (10, 10)), "GIF")
    result = await pool.analyze(opens(frame[:6] + pack("<HH", 16000, 16000) + frame[10:]), Plan())
    assert result == AnalysisResult(None, "the image is 16000x16000, a side may have at most 12000 px")
    few = Plan(limits=Limits(source_pixels=100))
    assert "at most 100 are read" in (await pool.analyze(opens(PHOTO.read_bytes()), few)).reason
    assert peak_bytes(pool) < 150 * 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", [Format.JPEG, Format.TIFF], ids=lambda kind: kind.value)
async def test_check_61_a_source_beyond_the_limit_takes_no_memory(pool: Pool, tmp_path: Path, kind: Format) -> None:
    """399 MB with a limit of 50 MiB took 852 MB. The file is sparse: it takes no space on the disk."""
    before = peak_bytes(pool)
    file = tmp_path / "large"
    file.write_bytes(pyvips.Image.black(300, 100, bands=3).write_to_buffer(".jpg" if kind is Format.JPEG else ".tif"))
    os.truncate(file, 400 * 2**20)
    for task in (pool.render([open_file(file)], to(Format.JPEG)), pool.render([open_file(file)], Plan())):
        with pytest.raises(SourceTooLarge, match="at most 52428800 are read"):
            await task
    assert (await pool.inspect(open_file(file))).stored_size == Size(300, 100)
    assert peak_bytes(pool) < before + 20 * 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_check_61_a_tile_of_a_large_tiff_is_read_in_place(pool: Pool, tmp_path: Path) -> None:
    """20,000 x 10,000 pixels in tiles, 200 MB. The gaps of the file are read as black tiles."""
    file = tmp_path / "tiles.tif"
    pyvips.Image.black(20_000, 10_000).tiffsave(str(file), tile=True, tile_width=256, tile_height=256)
    before = peak_bytes(pool)
    limits = Limits(source_bytes=2**40, source_side=100_000, source_pixels=10**9)
    crop = Crop(Dimensions(px(256), px(256)), x=Offset(px(9984)), y=Offset(px(7936)))
    rendition = await pool.render([open_file(file)], Plan((crop,), limits=limits))
    assert isinstance(rendition, Rendered)
    assert rendition.facts.size == Size(256, 256)
    assert peak_bytes(pool) < before + 20 * 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a renderer")
async def test_check_67_a_result_that_an_encoder_has_no_memory_for_is_refused(opens: Opens) -> None:
    pool = Pool(PoolConfig(1, sandbox=POLICY, memory_bytes=500 * 2**20))
    await pool.start()
    try:
        plan = replace(to(Format.AVIF), steps=(Resize(Pixels(Fraction(5000)), None, enlarge=True),))
        with pytest.raises(OutputTooLarge, match=r"5000x5000 as avif takes more memory than the limit"):
            await pool.render([opens(PHOTO.read_bytes())], replace(plan, limits=replace(plan.limits, avif_area=None)))
    finally:
        await pool.close()
