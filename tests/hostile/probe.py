"""Requests one image from a server repeatedly, in its own process, and reports the response times.

    python -m tests.hostile.probe 127.0.0.1 8000 '/fastly/good.jpg?width=100'

Runs until its standard input is closed, then prints one line of JSON: response times in milliseconds, and the delays
of this process's own wake-ups, which are caused by the machine, not by the server.
"""

from __future__ import annotations

import http.client
import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

NAP_S = 0.01


@dataclass(slots=True)
class Hits:
    """The measurements of a probe."""

    took_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    wrong: int = 0

    def summary(self) -> dict[str, float]:
        return {
            "hits": len(self.took_ms),
            "wrong": self.wrong,
            "p50_ms": part(self.took_ms, 0.5),
            "p99_ms": part(self.took_ms, 0.99),
            "worst_ms": part(self.took_ms, 1),
            "late_p99_ms": part(self.late_ms, 0.99),
        }


def part(values: list[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    return round(sorted(values)[min(len(values) - 1, int(len(values) * share))], 2) if values else 0.0


def probe(host: str, port: int, path: str) -> Hits:
    """Measure hits until standard input closes. Every body must equal the first one."""
    hits, right = Hits(), b""
    connection = http.client.HTTPConnection(host, port, timeout=30)
    while not select.select([sys.stdin], [], [], 0)[0]:
        slept = time.perf_counter()
        time.sleep(NAP_S)
        began = time.perf_counter()
        hits.late_ms.append((began - slept - NAP_S) * 1000)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        hits.took_ms.append((time.perf_counter() - began) * 1000)
        right = right or body
        hits.wrong += response.status != 200 or body != right
    return hits


@contextmanager
def probing(address: str, path: str) -> Iterator[dict[str, float]]:
    """Run a probe in the background; the mapping is filled at the end. `address` is http://HOST:PORT."""
    host, _, port = address.removeprefix("http://").partition(":")
    command = [sys.executable, "-m", "tests.hostile.probe", host, port, path]
    reported: dict[str, float] = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield reported
        except BaseException:
            process.kill()
            raise
        out, _ = process.communicate(timeout=60)
        reported |= json.loads(out)


if __name__ == "__main__":
    print(json.dumps(probe(sys.argv[1], int(sys.argv[2]), sys.argv[3]).summary()))
