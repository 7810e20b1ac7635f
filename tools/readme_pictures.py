"""Makes the README's pictures again: the playground as a screenshot, and the responses to three URLs of the README.

Needs Chromium. Run it after a visible change of the playground: `.venv/bin/python tools/readme_pictures.py`.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
from PIL import Image
from playwright.sync_api import sync_playwright

ROOT: Final = Path(__file__).resolve().parent.parent
PICTURES: Final = ROOT / "docs" / "images"
MAX_BYTES: Final = 150_000
SIZE: Final = (1280, 1120)
SHOWN: Final = "/fastly/kangaroo.jpg?crop=16:9,smart&width=480&format=webp"
_URL: Final = re.compile(r"<http://127\.0\.0\.1:8000(/[^>]+)> \| !\[[^\]]*\]\(docs/images/([^)]+)\)")


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with _server() as address:
        for path, name in urls((ROOT / "README.md").read_text("utf-8")):
            (PICTURES / name).write_bytes(httpx.get(address + path, timeout=60).raise_for_status().content)
        (PICTURES / "playground.webp").write_bytes(_screenshot(address))


def urls(readme: str) -> list[tuple[str, str]]:
    """The URLs of the README with a picture, each as its path and the name of the picture's file."""
    return _URL.findall(readme)


def _screenshot(address: str) -> bytes:
    """The playground as WebP of at most MAX_BYTES."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, color_scheme="light")
        page.goto(f"{address}/#{SHOWN}")
        page.wait_for_selector("#result-facts:not(:empty)", timeout=120_000)
        page.wait_for_load_state("networkidle")
        png = page.screenshot()
        browser.close()
    for quality in (80, 70, 60, 50):
        body = io.BytesIO()
        Image.open(io.BytesIO(png)).save(body, "WEBP", quality=quality, method=6)
        if body.tell() <= MAX_BYTES:
            return body.getvalue()
    raise SystemExit(f"the screenshot is larger than {MAX_BYTES:,} bytes")


@contextmanager
def _server() -> Iterator[str]:
    """A started server over the sample images; its address."""
    with tempfile.TemporaryDirectory() as state:
        command = [str(ROOT / ".venv" / "bin" / "cropmark"), "serve", str(ROOT / "examples" / "images"), "--port", "0"]
        folders = {"CROPMARK_CACHE_DIR": f"{state}/cache", "CROPMARK_DATA_DIR": f"{state}/data"}
        environment = {**os.environ, **folders, "PYTHONUNBUFFERED": "1", "CROPMARK_ACCESS_LOG": "off"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if found := re.search(r"Listening on (http://[^/\s]+)", line):
                    yield found[1]
                    return
            raise SystemExit("the server did not start")
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
