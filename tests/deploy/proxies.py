"""Starts the reverse proxies of deploy/ for tests, with their configuration as it is except for addresses and paths."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

DEPLOY = Path(__file__).parents[2] / "deploy"
OPERATOR_PATHS = ("/admin/purge", "/metrics", "/metrics?x=1", "/readyz", "/_explain?url=/fastly/wide.jpg", "/%6Detrics")
LIKE_OPERATOR_PATHS = ("/admin", "/administration.jpg", "/metrics.png", "/readyzfoo?x", "/fastly/_/admin/a.jpg")
"""Paths of images, which the proxies pass to the server."""


@contextmanager
def running_proxy(command: list[str], address: str, log: Path) -> Iterator[None]:
    """The proxy, until it answers at its address, and its end."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        _wait_for_answer(process, address, log)
        yield
    finally:
        process.terminate()
        process.wait(15)


def _wait_for_answer(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{address}/healthz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """The text with each first string replaced. Fails if the configuration no longer contains one."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text
