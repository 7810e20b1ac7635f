"""Small pictures for tests of the server."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def make_pictures(folder: Path) -> Path:
    """wide.jpg 400x200, tall.png 100x300 with alpha, moving.gif of 3 frames, and files that are no pictures."""
    gradient = Image.linear_gradient("L").resize((400, 200))
    Image.merge("RGB", (gradient, gradient.rotate(180), gradient)).save(folder / "wide.jpg", quality=90)
    Image.new("RGBA", (100, 300), (200, 40, 10, 128)).save(folder / "tall.png")
    frames = [Image.new("RGB", (64, 48), (80 * i, 10, 200 - 60 * i)) for i in range(3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:], duration=80, loop=0)
    (folder / "notes.txt").write_text("no picture\n")
    (folder / "broken.jpg").write_bytes((folder / "wide.jpg").read_bytes()[:900])
    (folder / "drawing.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>')
    (folder / "with space & more").mkdir()
    Image.new("RGB", (20, 20), (1, 2, 3)).save(folder / "with space & more" / "ä.png")
    return folder
