"""Large stills of sources with a palette, at every size that is written."""

from __future__ import annotations

import numpy as np
import pytest

from cropmark.engine import load, save
from cropmark.engine.image import DecodedImage
from cropmark.engine.render import render
from cropmark.engine.save import encode
from cropmark.geometry.recipe import Encoding
from cropmark.model.formats import Format
from cropmark.model.values import Size
from cropmark.plan.plan import Output, Plan
from cropmark.plan.steps import Resize
from cropmark.ports import Rendered
from tests.engine.images import frame_of, saved, seen, slopes
from tests.engine.test_small import waves
from tests.geometry.plans import px


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_large_palette_image_has_at_most_three_times_the_bytes(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(save, "MAX_WHOLE_FEW_COLORS", 10**6)
    body = saved(waves(1100, 1000).quantize(32), kind)
    outcome = render([body], Plan((Resize(px(1099), None),), Output()))
    assert isinstance(outcome, Rendered)
    assert len(outcome.body) <= 3 * len(body)
    before, after = (seen(each, "RGB")[:990:9, :1090:9].astype(int) for each in (body, outcome.body))
    assert np.abs(after - before).mean() < 6


# Without a limit, the PNG of this frame has 0.015 bytes per pixel, and the GIF 0.27.
@pytest.mark.parametrize(("kind", "down", "most_per_pixel"), [(Format.PNG, 17, 0.01), (Format.GIF, 9, 0.15)])
def test_no_frame_is_too_large_to_be_reduced(kind: Format, down: int, most_per_pixel: float) -> None:
    """Once, PNGs above 32 MP and GIFs above 16 MP were not reduced."""
    frame = frame_of(slopes(256, 256)).replicate(32, down)
    most = int(most_per_pixel * frame.width * frame.height)
    body = encode(DecodedImage((frame,)), Encoding(kind, 85, max_bytes=most))
    assert len(body) <= most
    assert load.info_of(body).size == Size(frame.width, frame.height)


def test_transparent_pixels_of_a_large_gif_stay_transparent() -> None:
    pixels = np.concatenate([slopes(256, 256), np.full((256, 256, 1), 255, np.uint8)], axis=2)
    pixels[:, :100, 3] = 127
    frame = frame_of(pixels).replicate(8, 8)
    body = encode(DecodedImage((frame,)), Encoding(Format.GIF, 85, max_bytes=10**6))
    shown = seen(body, "RGBA")[-256:, -256:]
    assert np.array_equal(shown[..., 3] < 128, pixels[..., 3] < 128)
    assert np.abs(shown[:, 100:, :3].astype(int) - pixels[:, 100:, :3]).mean() < 12
