"""Measures the figures of docs/formats.md: `python benchmarks/formats.py`. Needs the extras `motion` and `video`.

A panning photograph as GIF, WebP, AVIF and mp4: bytes, and CPU time of the whole render. Photographs with made-up
highlights, as Ultra HDR JPEGs: bytes with and without the gain map. Bytes depend on the images, times on the machine.
"""

from __future__ import annotations

import os
import statistics
import time

os.environ.setdefault("VIPS_CONCURRENCY", "1")

import pyvips
from bench.images import NAMES, joined, mosaic
from bench.results import table

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.dialects.fastly.settings import FastlySettings
from cropmark.engine import load
from cropmark.engine.render import render
from cropmark.model.formats import Colors
from cropmark.plan.plan import Order, Plan
from cropmark.ports import Rendered

FRAMES, WIDTH, HEIGHT, STEP = 20, 240, 180, 12
ROUNDS = 5
FASTLY = Fastly(FastlySettings(animated_auto=True, allow_video=True))


def plan_of(query: str, accept: str = "", *, gain_map: bool = False) -> Plan:
    order = FASTLY.order(ImageRequest("a.gif", query, {"accept": accept}))
    assert isinstance(order, Order)
    plan = order.with_colors(Colors.KEEP if gain_map else Colors.SRGB, gain_map=gain_map).plan
    assert plan is not None
    return plan


def measured(source: bytes, plan: Plan) -> tuple[Rendered, float]:
    """The result, and the median of the seconds of CPU."""
    taken = []
    for _ in range(ROUNDS):
        began = time.process_time()
        found = render([source], plan)
        taken.append(time.process_time() - began)
    assert isinstance(found, Rendered)
    return found, statistics.median(taken)


def panning() -> bytes:
    """A window that moves over a photograph, as a GIF."""
    photo = mosaic(WIDTH + FRAMES * STEP, HEIGHT, NAMES.index("gc_toucan"))
    frames = [photo.crop(STEP * at, 0, WIDTH, HEIGHT) for at in range(FRAMES)]
    return bytes(joined(frames).gifsave_buffer(effort=7))


def ultra_hdr(photo: pyvips.Image) -> bytes:
    """An Ultra HDR JPEG, with up to four times the light where the photograph is bright."""
    light = photo.colourspace("scrgb")
    brightness = light.bandmean()
    gain = 1 + (brightness > 0.5).ifthenelse((brightness - 0.5) * 6, 0)
    return bytes((light * gain).cast("float").copy(interpretation="scrgb").uhdrsave_buffer(Q=90))


def main() -> None:
    film = panning()
    bright = {name: ultra_hdr(mosaic(1200, 840, at)) for at, name in enumerate(NAMES)}
    load.prepare()
    rows = []
    for accept in ("image/gif", "image/webp", "image/avif", "video/mp4"):
        found, seconds = measured(film, plan_of("format=auto&width=240", accept))
        rows.append((found.format.value, f"{len(found.body) / 1000:,.0f} kB", f"{seconds:.2f} s"))
    heads = (f"{FRAMES} frames of {WIDTH}x{HEIGHT} px", "size", "CPU time")
    print(table(heads, rows), end="\n\n")
    rows = []
    for name, source in bright.items():
        for width in (1200, 600):
            query = f"width={width}&format=jpg"
            without, kept = (len(measured(source, plan_of(query, gain_map=keep))[0].body) for keep in (False, True))
            rows.append((f"{name}, {width} px", f"{without / 1000:.0f} kB", f"{(kept - without) / kept:.0%}"))
    print(table(("Ultra HDR", "without the gain map", "part of the gain map"), rows))


if __name__ == "__main__":
    main()
