"""Decoding of response bodies, with Pillow and pyvips, which must agree, and of videos with ffmpeg."""

from __future__ import annotations

import io
import json
import subprocess
import warnings
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyvips
from PIL import Image, ImageOps

from tests.conformance.runner.formats import IMAGES, LOSSY, sniff

_ORIENTATION = 0x0112  # the Exif tag
_MAX_FRAMES = 40  # as many frames are decoded at most


@dataclass(slots=True)
class BodyImage:
    """A decoded body: its frames (RGBA, upright), its size as shown, and the errors of the decoders."""

    data: bytes
    names: set[str]
    frames: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    frame_count: int | None = None
    width: int | None = None
    height: int | None = None
    orientation: int = 1
    problems: list[str] = field(default_factory=list)

    @property
    def lossy(self) -> bool:
        return bool(self.names & LOSSY)


def decode(data: bytes) -> BodyImage:
    """Decode a body. A broken one has `problems`; one that is not an image has no width."""
    image = BodyImage(data, sniff(data))
    if "mp4" in image.names:
        _decode_with_ffmpeg(image)
        return image
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _decode_with_pillow(image)
        if image.names & (IMAGES | {"svg"}):
            _decode_with_vips(image)
    return image


def _decode_with_pillow(image: BodyImage) -> None:
    try:
        opened = Image.open(io.BytesIO(image.data))
        image.frame_count = getattr(opened, "n_frames", 1)
        image.orientation = opened.getexif().get(_ORIENTATION, 1) or 1
        for index in range(min(image.frame_count, _MAX_FRAMES)):
            opened.seek(index)
            frame: Image.Image = ImageOps.exif_transpose(opened) if image.orientation != 1 else opened
            if frame.mode in ("I;16", "I;16B", "I"):
                frame = Image.fromarray((np.asarray(frame).astype(np.uint32) >> 8).astype(np.uint8))
            image.frames.append(np.asarray(frame.convert("RGBA")))
        image.height, image.width = image.frames[0].shape[:2]
    except Exception as error:  # noqa: BLE001 - any exception of a decoder is a result of the case
        image.frames = []
        if image.names & IMAGES:
            image.problems.append(f"Pillow cannot decode it ({type(error).__name__}: {str(error)[:80]})")


def _decode_with_ffmpeg(image: BodyImage) -> None:
    read = {"input": image.data, "capture_output": True, "check": True}
    try:
        probe = ["ffprobe", "-v", "error", "-show_entries", "stream=width,height", "-of", "json", "-"]
        (stream,) = json.loads(subprocess.run(probe, **read).stdout)["streams"]  # type: ignore[call-overload]
        pixels = ["ffmpeg", "-v", "error", "-i", "-", "-vsync", "0", "-f", "rawvideo", "-pix_fmt", "rgba", "-"]
        frames = subprocess.run(pixels, **read).stdout  # type: ignore[call-overload]
    except FileNotFoundError:
        image.problems.append("a video needs ffmpeg, which is not installed")
    except (subprocess.CalledProcessError, ValueError) as error:
        image.problems.append(f"ffmpeg cannot decode it ({error})")
    else:
        image.width, image.height = stream["width"], stream["height"]
        image.frames = list(np.frombuffer(frames, np.uint8).reshape(-1, stream["height"], stream["width"], 4))
        image.frame_count = len(image.frames)


def _decode_with_vips(image: BodyImage) -> None:
    try:
        options = {"n": -1} if image.names & {"gif", "webp"} else {}
        # By name for AVIF: libvips does not detect sequences, of which it decodes the first frame.
        load = pyvips.Image.heifload_buffer if "avif" in image.names else pyvips.Image.new_from_buffer
        arguments = (image.data,) if "avif" in image.names else (image.data, "")
        opened = load(*arguments, fail_on="truncated", access="sequential", **options)
        fields = opened.get_fields()
        height = opened.get("page-height") if "page-height" in fields else opened.height
        pages = opened.height // height if options else None
        opened.avg()  # decodes all of it
        orientation = opened.get("orientation") if "orientation" in fields else 1
        if not image.frames:
            image.width, image.height, image.frame_count = opened.width, height, pages or 1
            image.frames = [_first_frame(image.data)]
        elif orientation == image.orientation:
            size = (height, opened.width) if orientation in (5, 6, 7, 8) else (opened.width, height)
            _compare_decoders(image, size, pages)
    except Exception as error:  # noqa: BLE001 - any exception of a decoder is a result of the case
        text = str(error).strip().splitlines()[0][:80] if str(error) else repr(error)
        image.problems.append(f"pyvips cannot decode it ({text})")


def _first_frame(data: bytes) -> npt.NDArray[np.uint8]:
    frame = pyvips.Image.new_from_buffer(data, "").colourspace("srgb")
    with_alpha = frame.bandjoin(255) if frame.bands == 3 else frame
    return np.asarray(with_alpha.cast("uchar").numpy())


def _compare_decoders(image: BodyImage, size: tuple[int, int], pages: int | None) -> None:
    if size != (image.width, image.height):
        image.problems.append(f"Pillow reads {image.width}x{image.height}, pyvips {size[0]}x{size[1]}")
    if pages and image.frame_count and pages != image.frame_count:
        image.problems.append(f"Pillow reads {image.frame_count} frames, pyvips {pages}")
