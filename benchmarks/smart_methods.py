"""Ways to place a window, for eval_smart.py: ours by a plan, as a server does it, others' by their libraries."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from importlib.util import find_spec
from typing import Protocol

import pyvips
from bench.machine import memory
from PIL import Image
from smart_corpus import Photo, ratio

from cropmark.analysis import models
from cropmark.engine.analyze import analyze
from cropmark.engine.load import info_of
from cropmark.geometry.findings import Analysis, Findings
from cropmark.geometry.recipe import Extract, Recipe
from cropmark.geometry.resolve import resolve
from cropmark.geometry.smart_crop import smart_placement
from cropmark.geometry.view import View
from cropmark.model.values import Box, Size
from cropmark.plan.plan import Plan
from cropmark.plan.steps import Crop, Focus


class Method(Protocol):
    name: str

    def window(self, photo: Photo, aspect: str) -> Box: ...


def resident_mb() -> float:
    """Resident memory of this process."""
    gc.collect()
    return memory([os.getpid()]).resident * 2**20 / 1e6


class Times:
    """Milliseconds that calls took, of this thread's CPU and by the clock."""

    def __init__(self) -> None:
        self.cpu_ms: list[float] = []
        self.clock_ms: list[float] = []

    @contextmanager
    def one(self) -> Iterator[None]:
        cpu, clock = time.thread_time(), time.perf_counter()
        yield
        self.cpu_ms.append((time.thread_time() - cpu) * 1000)
        self.clock_ms.append((time.perf_counter() - clock) * 1000)


class Cropmark:
    """The source analyzed and the plan resolved as a server does it."""

    name = "cropmark"

    def __init__(self) -> None:
        self.models = models.load_models()
        self.analyses: dict[str, Analysis] = {}
        self.analysis = Times()
        self.choice = Times()
        self.resident_mb = 0.0

    def found(self, photo: Photo) -> Analysis:
        if photo.name not in self.analyses:
            if not self.analyses:
                analyze(photo.data, self.models)  # the first one makes the networks
            with self.analysis.one():
                self.analyses[photo.name] = analyze(photo.data, self.models)
            self.resident_mb = resident_mb()
        return self.analyses[photo.name]

    def window(self, photo: Photo, aspect: str) -> Box:
        analysis = self.found(photo)
        plan = Plan(steps=(Crop(shape=ratio(aspect), focus=Focus.SMART),))
        recipe = resolve(plan, [info_of(photo.data)], Findings(analysis=analysis))
        assert isinstance(recipe, Recipe)
        size = photo.window_size(aspect)
        with self.choice.one():
            smart_placement((Fraction(size.width), Fraction(size.height)), View(photo.size), analysis)
        for op in recipe.ops:
            if isinstance(op, Extract):
                return op.box
        return Box(0, 0, photo.size.width, photo.size.height)

    def faces(self, photo: Photo) -> list[tuple[Box, float]]:
        """The detections in px of the photograph, with scores."""
        width, height = photo.size.width, photo.size.height
        return [
            (
                Box(
                    round(face.left * width),
                    round(face.top * height),
                    max(1, round(face.width * width)),
                    max(1, round(face.height * height)),
                ),
                face.score,
            )
            for face in self.found(photo).faces
        ]


class Center:
    name = "center"

    def window(self, photo: Photo, aspect: str) -> Box:
        size = photo.window_size(aspect)
        left, top = (photo.size.width - size.width) // 2, (photo.size.height - size.height) // 2
        return Box(left, top, size.width, size.height)


class Libvips:
    """vips_smartcrop on the whole photograph."""

    def __init__(self, interesting: str) -> None:
        self.name = f"libvips {interesting}"
        self.interesting = interesting

    def window(self, photo: Photo, aspect: str) -> Box:
        size = photo.window_size(aspect)
        image = pyvips.Image.new_from_buffer(photo.data, "")
        cut = image.smartcrop(size.width, size.height, interesting=self.interesting)
        return Box(-cut.xoffset, -cut.yoffset, size.width, size.height)


class SmartcropPy:
    """smartcrop.py, held to the largest window as all others are."""

    name = "smartcrop.py"

    def window(self, photo: Photo, aspect: str) -> Box:
        from smartcrop import SmartCrop  # noqa: PLC0415 -- it need not be installed

        size = photo.window_size(aspect)
        unit = 100 / min(size.width, size.height)
        with Image.open(photo.path) as image:
            found = SmartCrop().crop(
                image.convert("RGB"), round(size.width * unit), round(size.height * unit), min_scale=1
            )["top_crop"]
        return _moved_inside(Box(round(found["x"]), round(found["y"]), size.width, size.height), photo.size)


def _moved_inside(box: Box, frame: Size) -> Box:
    left = max(0, min(box.left, frame.width - box.width))
    top = max(0, min(box.top, frame.height - box.height))
    return Box(left, top, box.width, box.height)


def peers() -> list[Method]:
    found: list[Method] = [Center(), Libvips("attention"), Libvips("entropy")]
    return [*found, SmartcropPy()] if find_spec("smartcrop") else found
