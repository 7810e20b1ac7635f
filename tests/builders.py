"""Shared builders for tests: lengths, clocks, image files, open sources, and waiting for a condition."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from cropmark.model.values import Pixels, Share
from cropmark.ports import OpenSource, SourceVersion


def px(count: float | str) -> Pixels:
    """A length in pixels, exact: `px("12.5")`."""
    return Pixels(Fraction(str(count)))


def share(part: str) -> Share:
    """A share of a side, exact: `share("1/3")`."""
    return Share(Fraction(part))


@dataclass
class Clock:
    """A clock that the test sets, in seconds since 1970."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


WAIT_S = 30.0
"""Seconds after which a condition is not expected to become true anymore, also on a machine with other load."""


async def until(condition: Callable[[], object], within_s: float = WAIT_S) -> float:
    """Wait until the condition is true; returns the seconds it took. Fails after `within_s`."""
    began_s = time.perf_counter()
    while not condition():
        assert time.perf_counter() - began_s < within_s, "the condition did not become true"
        await asyncio.sleep(0.001)
    return time.perf_counter() - began_s


def wait_until(condition: Callable[[], object], within_s: float = WAIT_S) -> float:
    """The same for tests without an event loop."""
    began_s = time.perf_counter()
    while not condition():
        assert time.perf_counter() - began_s < within_s, "the condition did not become true"
        time.sleep(0.005)
    return time.perf_counter() - began_s


def open_file(path: Path, version: SourceVersion | None = None) -> OpenSource:
    """The file as an open source. Unlike from_fd(), its close() fails when it is called twice."""
    descriptor = os.open(path, os.O_RDONLY)
    size = os.fstat(descriptor).st_size
    return OpenSource(
        descriptor, size, version or SourceVersion(f"files:{path.name}", "1"), lambda: os.close(descriptor)
    )


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The image as a file of Pillow's format `kind`, such as "JPEG"."""
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def make_images(folder: Path) -> Path:
    """Write wide.jpg (400x200), tall.png (100x300, alpha), moving.gif (3 frames), and files that are not images."""
    gradient = Image.linear_gradient("L").resize((400, 200))
    Image.merge("RGB", (gradient, gradient.rotate(180), gradient)).save(folder / "wide.jpg", quality=90)
    Image.new("RGBA", (100, 300), (200, 40, 10, 128)).save(folder / "tall.png")
    frames = [Image.new("RGB", (64, 48), (80 * i, 10, 200 - 60 * i)) for i in range(3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:], duration=80, loop=0)
    (folder / "notes.txt").write_text("not an image\n")
    (folder / "broken.jpg").write_bytes((folder / "wide.jpg").read_bytes()[:900])
    (folder / "drawing.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>')
    (folder / "with space & more").mkdir()
    Image.new("RGB", (20, 20), (1, 2, 3)).save(folder / "with space & more" / "ä.png")
    return folder
