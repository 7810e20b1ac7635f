"""Attacks on a started server, with the seconds and megabytes that each takes: python benchmarks/attacks.py [S2 O9].

Needs PYTHONPATH=. and prints a table, in which `before` is commit 56156be, as issue 12 measured it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import httpx
import pyvips
from bench.machine import peak_bytes
from PIL import Image
from tests.processes import children, resident_bytes
from tests.web.server_process import Running, running

HIT = "/fastly/photo.jpg?width=100"


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def timed(server: Running, path: str) -> tuple[int, float]:
    began = time.perf_counter()
    return server.get(path).status_code, time.perf_counter() - began


def s2(server: Running, _: Path) -> str:
    slow = "/fastly/photo.jpg?width=8192&height=8192&enable=upscale&blur=100&sharpen=a10,r10,t0"
    statuses = [timed(server, f"{slow}&quality={quality}")[0] for quality in (80, 81)]
    began = time.perf_counter()
    while timed(server, "/fastly/photo.jpg?width=90")[0] != 200:
        time.sleep(0.2)
    return f"{statuses}, then the image after {time.perf_counter() - began:.1f} s"


def post_24(at: tuple[str, int]) -> Counter[bytes]:
    """The statuses of 24 bodies of 0.8 MB that are sent at the same time, without a key."""
    body = b'{"x":[' + b",".join([b"[0]"] * 200_000) + b"]}"
    head = b"POST /pixlab/v1/crop HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"

    def status(_: int) -> bytes:
        with socket.create_connection(at, timeout=60) as client, contextlib.suppress(ConnectionError):
            client.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            return client.recv(99)[9:12]
        return b"cut"

    with ThreadPoolExecutor(24) as pool:
        return Counter(pool.map(status, range(24)))


def s4(server: Running, _: Path) -> str:
    timed(server, HIT)
    at, hits, began = httpx.URL(server.address), [0.0], time.perf_counter()
    with ProcessPoolExecutor(1) as pool:
        posted = pool.submit(post_24, (at.host, at.port or 80))
        while not posted.done():
            hits.append(timed(server, HIT)[1])
    statuses = {status.decode(): count for status, count in posted.result().items()}
    return f"24 bodies in {time.perf_counter() - began:.1f} s {statuses}; hits up to {max(hits):.2f} s"


def s5(server: Running, _: Path) -> str:
    at, pid, told = httpx.URL(server.address), server.process.pid, []
    for what, width in (("9 MB", 1749), ("200 kB", 255)):
        path = f"/fastly/noise.png?width={width}&format=png"
        server.get(path)
        before, open_before, began = resident_bytes(pid), descriptors(pid), time.perf_counter()
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(socket.socket()) for _ in range(200)]
            for client in clients:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect((at.host, at.port))
                client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            time.sleep(5)
            grown_mb = (resident_bytes(pid) - before) / 1e6
            while descriptors(pid) > open_before + 10 and time.perf_counter() - began < 90:
                for client in clients:  # each trickles
                    with contextlib.suppress(OSError):
                        client.recv(20, socket.MSG_DONTWAIT)
                time.sleep(1)
            told.append(f"{grown_mb:.0f} MB for 200 clients of {what}, for {time.perf_counter() - began:.0f} s")
    before = resident_bytes(pid)
    with httpx.Client(trust_env=False) as http:
        for number in range(9000):
            http.head(server.address + HIT, headers={"Accept": f"image/x-{number}"})
    return "; ".join([*told, f"{(resident_bytes(pid) - before) / 1e6:+.0f} MB for 9,000 Accept headers"])


def beyond_limits(server: Running, file: Path, query: str) -> str:
    status, seconds = timed(server, f"/fastly/{file.name}?{query}")
    peak_mb = max(peak_bytes(pid) for pid in children(server.process.pid)) / 1e6
    return f"{status} for {file.stat().st_size:,} bytes, peak of a renderer {peak_mb:.0f} MB, {seconds:.2f} s"


def s6(server: Running, images: Path) -> str:
    Image.new("P", (16_000, 16_000)).save(images / "huge.gif")
    return beyond_limits(server, images / "huge.gif", "crop=1:1,smart&width=100")


def s9(server: Running, images: Path) -> str:
    pyvips.Image.black(19_000, 7_000, bands=3).tiffsave(str(images / "huge.tif"), compression="none")
    return beyond_limits(server, images / "huge.tif", "width=100")


def o9(server: Running, images: Path) -> str:
    pyvips.Image.gaussnoise(6_000, 5_000).cast("uchar").jpegsave(str(images / "30mp.jpg"), Q=50)
    before = set(children(server.process.pid))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda width: timed(server, f"/fastly/30mp.jpg?width={width}"), range(1000, 1004)))
    ended = len(before - set(children(server.process.pid)))
    statuses = dict(Counter(status for status, _ in found))
    return f"{statuses}, {max(s for _, s in found):.1f} s, {ended} kills; then {timed(server, HIT)[0]}"


ATTACKS = {
    "S2": (s2, "the image is blocked for 600 s"),
    "S4": (s4, "24 bodies in 19.9 s; hits up to 2.6 s"),
    "S5": (s5, "2,500 MB for 200 clients of 9 MB, without end; +260 MB for 9,000 Accept headers"),
    "S6": (s6, "1,100 MB, 3 s"),
    "S9": (s9, "852 MB"),
    "O9": (o9, "four kills, then always 503"),
}
SETTINGS = {"S2": {"CROPMARK_RENDER_TIMEOUT_S": "2"}, "O9": {"CROPMARK_MEMORY_LIMIT_BYTES": str(320 * 2**20)}}

if __name__ == "__main__":
    print("| attack | before | now |\n| --- | --- | --- |")
    for name in sys.argv[1:] or ATTACKS:
        attack, known = ATTACKS[name]
        with tempfile.TemporaryDirectory() as folder:
            (pictures := Path(folder) / "images").mkdir()
            Image.radial_gradient("L").resize((2000, 1500)).convert("RGB").save(pictures / "photo.jpg")
            Image.frombytes("RGB", (1750, 1750), os.urandom(1750 * 1750 * 3)).save(pictures / "noise.png")
            with running(str(pictures), cache=Path(folder) / "cache", environment=SETTINGS.get(name, {})) as started:
                print(f"| {name} | {known} | {attack(started, pictures)} |", flush=True)
