"""Writes animations as mp4 with the extra `video`: H.264, encoded by the libx264 in PyAV.

One thread encodes one frame after the other, into a file in memory. The sandbox allows all system calls for this.
"""

from __future__ import annotations

from fractions import Fraction
from importlib import import_module
from io import BytesIO
from pkgutil import walk_packages
from types import ModuleType
from typing import Any, Final

import pyvips
from pyvips import Image

from cropmark.engine.image import DecodedImage
from cropmark.geometry.h264 import LEVELS, sufficient_level
from cropmark.model.extras import VIDEO
from cropmark.model.values import Size
from cropmark.plan.plan import Video

_NOT_NEEDED: Final = ("av.__main__", "av.datasets")
_MILLISECOND: Final = Fraction(1, 1000)
_UNSHOWN_MS: Final = 10
_USUAL_MS: Final = 100
"""Browsers show a frame of an animated image for 100 ms if the file says 10 ms or less."""
_CRF: Final = 23
_PRESET: Final = "veryfast"
_QUICK_PRESET: Final = "superfast"
_MUXER: Final = {
    "movflags": "faststart",  # the index first: a player can start before it has the whole file
    "fflags": "+bitexact",  # equal frames give equal bytes
    "video_track_timescale": "1000",
}
_BT709: Final = 1
_SRGB_CURVE: Final = 13
_LIMITED_RANGE: Final = 1

_codec: ModuleType | None = None


def load_codec() -> None:
    """Load PyAV with all its modules, if the extra is installed.

    This must happen before the process enters the sandbox, which forbids it.
    """
    global _codec  # noqa: PLW0603 - a process has one set of codecs
    if _codec is None and VIDEO.package is not None:
        _codec = import_module(VIDEO.package.module)
        for part in walk_packages(_codec.__path__, "av."):  # it imports some of them when they are used first
            if part.name not in _NOT_NEEDED:
                import_module(part.name)


def encoded(image: DecodedImage, video: Video, *, low_effort: bool = False) -> bytes:
    """The animation as an mp4. Equal frames give equal bytes. Raises pyvips.Error.

    The sides of the frames must be even. The video is played once: an mp4 cannot store a number of repetitions.
    """
    if _codec is None:
        raise pyvips.Error("mp4: the extra `video` is not installed (pip install 'cropmark[video]')")
    durations_ms = [each if each > _UNSHOWN_MS else _USUAL_MS for each in image.delays_ms]
    try:
        return _film(_codec, image.frames, durations_ms, _options(image, durations_ms, video, low_effort=low_effort))
    except MemoryError as error:  # also a class of PyAV
        raise MemoryError from error
    except (_codec.FFmpegError, ValueError) as error:
        raise pyvips.Error(f"mp4: {error}") from error


def _options(image: DecodedImage, durations_ms: list[int], video: Video, *, low_effort: bool) -> dict[str, str]:
    """The options of the H.264 encoder. The bit rate stays below the limit of the level."""
    size = Size(image.frames[0].width, image.frames[0].height)
    level = sufficient_level(size, video.level, min(durations_ms))
    return {
        "preset": _QUICK_PRESET if low_effort else _PRESET,
        "crf": str(_CRF),
        "profile": video.profile.value,
        "level": f"{level // 10}.{level % 10}",
        "maxrate": f"{LEVELS[level].kilobits_per_s}k",
        "bufsize": f"{LEVELS[level].buffered_kilobits}k",
    }


def _film(codec: ModuleType, frames: tuple[Image, ...], durations_ms: list[int], options: dict[str, str]) -> bytes:
    file = BytesIO()
    # To move the index to the front, the muxer reads its own file through a second handle.
    with codec.open(file, "w", format="mp4", options=_MUXER, io_open=lambda *_: BytesIO(file.getvalue())) as output:
        rate = Fraction(1000 * len(frames), sum(durations_ms)).limit_denominator(1000)
        stream = output.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
        context = stream.codec_context
        context.time_base, context.thread_count = _MILLISECOND, 1
        context.colorspace = context.color_primaries = _BT709
        context.color_trc, context.color_range = _SRGB_CURVE, _LIMITED_RANGE
        shown_for: dict[int, int] = {}
        start_ms = 0
        for frame, duration_ms in zip(frames, durations_ms, strict=True):
            shown_for[start_ms] = duration_ms
            _write(output, stream.encode(_picture(codec, frame, start_ms)), shown_for)
            start_ms += duration_ms
        _write(output, stream.encode(None), shown_for)
    return file.getvalue()


def _write(output: Any, packets: list[Any], shown_for: dict[int, int]) -> None:
    for packet in packets:
        packet.duration = shown_for.pop(packet.pts)
        output.mux(packet)


def _picture(codec: ModuleType, frame: Image, start_ms: int) -> Any:
    """The frame for the encoder: in BT.709, and with half the resolution for color."""
    pixels = bytes(frame.bandjoin(255).write_to_memory())
    picture = codec.VideoFrame.from_bytes(pixels, frame.width, frame.height, "rgba")
    picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG", threads=1)
    picture.pts, picture.time_base = start_ms, _MILLISECOND
    return picture
