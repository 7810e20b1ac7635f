"""Source images: drawn from a case's description, encoded and written for the server."""

from __future__ import annotations

import functools
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.conformance.runner.cases import Case, CaseError, has_source, overlay_path, source_path
from tests.engine.images import p3_profile

Pixels = npt.NDArray[np.uint8]  # H x W x 3 (RGB) or 4 (RGBA)
Source = dict[str, Any]  # the `source` object of a case

_ORIENTATION = 0x0112  # the Exif tag
_PROFILES = {"p3": p3_profile}
_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16 + 1 / 32


def make_sources(cases: list[Case], folder: Path, corpus: Path | None) -> list[str]:
    """Write the images of all cases below `folder`; returns a message for each that could not be made."""
    problems: list[str] = []
    for case in filter(has_source, cases):
        images = [(source_path(case), case["source"])]
        if case.get("second_source"):
            images.append((overlay_path(case), case["second_source"]))
        for path, source in images:
            try:
                data = source_bytes(source, corpus)
            except (CaseError, KeyError, ValueError, OSError) as error:
                problems.append(f"{case['id']}: cannot make {path}: {type(error).__name__} {error}")
                continue
            if data is not None:
                _write_if_changed(folder / path, data)
    return problems


def source_bytes(source: Source, corpus: Path | None) -> bytes | None:
    """The encoded image; None if it is a corpus file that is not available."""
    if source.get("kind") == "file":
        file = corpus / source["name"] if corpus else None
        return file.read_bytes() if file and file.is_file() else None
    return _encode_json(json.dumps(source, sort_keys=True))


def encode(source: Source) -> bytes:
    """The drawn frames in the source's format, with its Exif orientation."""
    frames, name = draw(source), source.get("format", "png")
    has_alpha = frames[0].shape[2] == 4
    options: dict[str, Any] = {}
    if "orientation" in source:
        exif = Image.Exif()
        exif[_ORIENTATION] = int(source["orientation"])
        options["exif"] = exif.tobytes()
    if name in ("jpeg", "jpg", "pjpeg") and (has_alpha or len(frames) > 1):
        raise CaseError("JPEG has no alpha" if has_alpha else "JPEG has no frames")
    if name == "gif" and "exif" in options:
        raise CaseError("GIF has no Exif")
    if "profile" in source:
        options["icc_profile"] = _PROFILES[source["profile"]]()
    options |= _encoder_options(name, source, has_alpha)
    images = [_with_palette(frame) if name in ("gif", "png8") else Image.fromarray(frame) for frame in frames]
    if len(images) > 1:
        options |= {"save_all": True, "append_images": images[1:], "duration": int(source.get("duration", 100))}
        if name in ("webp", "apng", "png"):
            options["loop"] = 0
    buffer = io.BytesIO()
    images[0].save(buffer, **options)
    return buffer.getvalue()


def draw(source: Source) -> list[Pixels]:
    """The frames of a source as stored pixels, before any Exif orientation."""
    pixels, alpha = _kind_pixels(source)
    if source.get("alpha"):
        alpha = np.zeros(pixels.shape[:2], np.uint8)
        alpha[:, pixels.shape[1] // 2 :] = 255
    count = max(1, int(source.get("frames", 1)))
    frames: list[Pixels] = []
    for index in range(count):
        frame = pixels.copy()
        if count > 1:
            frame[..., 2] = min(255, 20 * index)
        frames.append(frame if alpha is None else np.dstack([frame, alpha]))
    return frames


def _kind_pixels(source: Source) -> tuple[Pixels, Pixels | None]:
    """The RGB pixels of one frame, and the alpha plane that the kind itself brings."""
    width, height, kind = int(source["width"]), int(source["height"]), source["kind"]
    pixels = np.empty((height, width, 3), np.uint8)
    match kind:
        case "gradient":
            pixels[..., 0] = np.rint(255 * (np.arange(width) + 0.5) / width).astype(np.uint8)[None, :]
            pixels[..., 1] = np.rint(255 * (np.arange(height) + 0.5) / height).astype(np.uint8)[:, None]
            pixels[..., 2] = 128
            return pixels, None
        case "exact":
            if width > 4096 or height > 4096:
                raise CaseError("an exact source is at most 4096 x 4096")
            x, y = np.arange(width)[None, :], np.arange(height)[:, None]
            pixels[..., 0], pixels[..., 1], pixels[..., 2] = x % 256, y % 256, 16 * (x // 256) + y // 256
            return pixels, None
        case "solid":
            color = list(source["color"])
            pixels[:] = color[:3]
            return pixels, np.full((height, width), color[3], np.uint8) if len(color) == 4 else None
        case "framed":
            return _framed(pixels, source)
        case _:
            raise CaseError(f"unknown kind {kind!r}")


def _framed(pixels: Pixels, source: Source) -> tuple[Pixels, Pixels | None]:
    background, color = list(source["background"]), list(source["color"])
    left, top, width, height = source["box"]
    inside = (slice(top, top + height), slice(left, left + width))
    pixels[:] = background[:3]
    pixels[inside] = color[:3]
    if len(background) != 4 and len(color) != 4:
        return pixels, None
    alpha = np.full(pixels.shape[:2], background[3] if len(background) == 4 else 255, np.uint8)
    alpha[inside] = color[3] if len(color) == 4 else 255
    return pixels, alpha


def _encoder_options(name: str, source: Source, has_alpha: bool) -> dict[str, Any]:
    match name:
        case "jpeg" | "jpg" | "pjpeg":
            quality = int(source.get("quality", 95))
            return {"format": "JPEG", "quality": quality, "subsampling": 0, "progressive": name == "pjpeg"}
        case "gif":
            transparent = {"transparency": 255, "disposal": 2} if has_alpha else {}
            return {"format": "GIF", "optimize": False, "loop": 0, **transparent}
        case "png" | "apng":
            return {"format": "PNG", "compress_level": 6}
        case "png8":
            return {"format": "PNG", **({"transparency": bytes([255] * 255 + [0])} if has_alpha else {})}
        case "webp":
            return {"format": "WEBP", "lossless": True, "exact": True, "quality": 60, "method": 2}
        case "avif":
            return {"format": "AVIF", "quality": 100, "subsampling": "4:4:4", "speed": 8}
        case "bmp" | "tiff":
            return {"format": name.upper()}
        case _:
            raise CaseError(f"cannot make a source of format {name!r}")


def _with_palette(frame: Pixels) -> Image.Image:
    """A frame with a palette: exact up to 255 colors, else the two ramps dithered to 15 levels each."""
    height, width = frame.shape[:2]
    rgb = frame[..., :3].astype(np.int32)
    packed = (rgb[..., 0] << 16) | (rgb[..., 1] << 8) | rgb[..., 2]
    colors, inverse = np.unique(packed, return_inverse=True)
    if len(colors) <= 255:
        palette = [(int(color) >> shift) & 255 for color in colors for shift in (16, 8, 0)]
        index = inverse.reshape(height, width).astype(np.uint8)
    else:
        threshold = np.tile(_BAYER, (height // 4 + 1, width // 4 + 1))[:height, :width]
        red, green = (
            np.clip(np.floor(rgb[..., band] / 255 * 14 + threshold), 0, 14).astype(np.uint8) for band in (0, 1)
        )
        index = red * 15 + green
        steps = [round(level * 255 / 14) for level in range(15)]
        palette = [value for r in steps for g in steps for value in (r, g, int(rgb[0, 0, 2]))]
    if frame.shape[2] == 4:
        index = np.where(frame[..., 3] < 128, 255, index).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(index)).convert("L")
    image.putpalette(palette + [0] * (768 - len(palette)))
    if frame.shape[2] == 4:
        image.info["transparency"] = 255
    return image


@functools.lru_cache(maxsize=256)
def _encode_json(source: str) -> bytes:
    return encode(json.loads(source))


def _write_if_changed(file: Path, data: bytes) -> None:
    if file.is_file() and file.stat().st_size == len(data) and file.read_bytes() == data:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
