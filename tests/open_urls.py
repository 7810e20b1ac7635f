"""Opens the URLs that `make run` prints, and those of the README: `python3 -m tests.open_urls OUTPUT PORT`.

The file OUTPUT has what `make run` has printed so far. Needs no package, and ends with an error if a URL fails.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from urllib.request import urlopen

WAIT_S = 120
IMAGES = 7
"""The images that the README and the greeting show, at least."""


def greeting(output: Path) -> str:
    """The output of the server until it accepts requests."""
    end = time.monotonic() + WAIT_S
    while "Ctrl-C" not in output.read_text("utf-8") and time.monotonic() < end:
        time.sleep(0.1)
    return output.read_text("utf-8")


def main(output: Path, port: str) -> None:
    printed = greeting(output)
    print(printed)
    readme = Path("README.md").read_text("utf-8").replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    urls = {*re.findall(r"http://[^\s\"]+", printed), *re.findall(r"<(http://127[^\s>]+)>", readme)}
    images = 0
    for url in sorted(urls):
        with urlopen(url, timeout=30) as response:
            kind, size = response.headers["Content-Type"], len(response.read())
            print(f"{response.status} {kind} {size:,} bytes {url}")
            images += kind.startswith("image/")
    if images < IMAGES:
        sys.exit(f"{images} images, expected {IMAGES}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
