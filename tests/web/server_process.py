"""A real server for tests: `cropmark serve` as a user starts it, on a free port of the loopback address."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.command import Command, start
from tests.processes import renderers

TOKEN = "test-admin-token-0123456789abcdef"
_ADDRESS = re.compile(r"Listening on (http://\S+?)/?\s")

PATIENCE = {
    "CROPMARK_REQUEST_DEADLINE_S": "100",
    "CROPMARK_RENDER_TIMEOUT_S": "100",
    "CROPMARK_ANALYSIS_TIMEOUT_S": "30",
}
"""Ten times the defaults, which are for a machine that is not busy with other tests. Tests of a time limit set it."""
WAIT_S = 120
"""Seconds after which a test gives up waiting for a response."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server process, and its output at the start."""

    process: Command | subprocess.Popen[bytes]
    address: str
    greeting: str
    log: Path

    def get(self, path: str, *, headers: Mapping[str, str] | None = None, method: str = "GET") -> httpx.Response:
        """The response to a path, which is sent unchanged."""
        with httpx.Client(trust_env=False, timeout=WAIT_S) as client:
            request = client.build_request(method, self.address + "/", headers=dict(headers or {}))
            request.extensions["target"] = path.encode("latin-1")
            return client.send(request)

    def post(self, path: str, *, json: object, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return httpx.post(self.address + path, json=json, headers=dict(headers or {}), trust_env=False, timeout=WAIT_S)

    def purge(self, **what: object) -> httpx.Response:
        return self.post("/admin/purge", json=what, headers={"Authorization": f"Bearer {TOKEN}"})

    def renderers(self) -> list[int]:
        """Process ids of the server's renderers."""
        return sorted(renderers(self.process.pid))


@contextmanager
def running(
    *arguments: str,
    cache: Path,
    environment: Mapping[str, str] | None = None,
    renderers: int = 1,
    fronts: int = 1,
    under: Sequence[str] = (),
    program: str = "",
    port: int = 0,
) -> Iterator[Running]:
    """A started server. It is stopped at the end, and killed after 15 s.

    `under` is a command that starts it. `program` has the lines of Python that run in its place, as for tests.command.
    """
    log = cache.parent / f"{cache.name}.log"
    serve = ["serve", "--fronts", str(fronts), *arguments, "--port", str(port), "--cache", str(cache)]
    serve += ["--renderers", str(renderers)]
    given = {k: v for k, v in os.environ.items() if not k.startswith("CROPMARK_")}
    settings = {
        "CROPMARK_ADMIN_TOKEN": TOKEN,
        **PATIENCE,
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "200",
    }
    whole = {**given, **settings, **(environment or {})}
    process: Command | subprocess.Popen[bytes]
    with log.open("w") as errors:
        if under:
            command = [*under, sys.executable, "-m", "cropmark.cli.main", *serve]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=whole)
        else:
            process = start(serve, errors, environment=whole, program=program)
        try:
            greeting = _greeting(process, log)
            found = _ADDRESS.search(greeting)
            assert found is not None, greeting
            yield Running(process, found[1], greeting, log)
        finally:
            _stop(process)


def _greeting(process: Command | subprocess.Popen[bytes], log: Path) -> str:
    """The server's output until it accepts requests."""
    assert process.stdout is not None
    reply, end = b"", time.monotonic() + 60
    while b"Ctrl-C" not in reply and time.monotonic() < end:
        ready, _, _ = select.select([process.stdout], [], [], 0.5)
        piece = os.read(process.stdout.fileno(), 65536) if ready else b""
        reply += piece
        if ready and not piece:
            raise AssertionError(f"the server ended: {reply.decode()}\n{log.read_text()}")
    return reply.decode()


def _stop(process: Command | subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
