"""Checks with another decoder, in its own process, that responses are images: `python -m tests.hostile.judge FOLDER`.

Every frame of every file in the folder is decoded completely. A file that crashes this process has no verdict, which
counts as broken.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict of the other decoder: its name for the format and the size, or the reason why the image is broken."""

    kind: str
    width: int
    height: int
    frames: int
    why: str = ""


def judged(folder: Path) -> dict[str, Judged]:
    """By name, all files of a folder."""
    command = [sys.executable, "-m", "tests.hostile.judge", str(folder)]
    reported = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    return {name: Judged(*values) for name, values in map(json.loads, reported.stdout.splitlines())}


def _look(path: Path) -> Judged:
    try:
        with Image.open(path) as image:
            frames = getattr(image, "n_frames", 1)
            for frame in range(frames):
                image.seek(frame)
                image.load()
            return Judged(image.format or "", image.width, image.height, frames)
    except Exception as error:  # noqa: BLE001 - any error of the decoder means a broken image
        return Judged("", 0, 0, 0, f"{type(error).__name__}: {error}")


def main() -> None:
    Image.MAX_IMAGE_PIXELS = 200_000_000
    for path in sorted(Path(sys.argv[1]).iterdir()):
        found = _look(path)
        print(json.dumps([path.name, [found.kind, found.width, found.height, found.frames, found.why]]), flush=True)


if __name__ == "__main__":
    main()
