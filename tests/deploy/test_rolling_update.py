"""Two servers with nginx in front are replaced one after the other while clients request images: no request fails."""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import httpx

from tests.builders import make_images
from tests.deploy.nginx import running_nginx
from tests.ports import free_port
from tests.requirements import require
from tests.web.server_process import running

pytestmark = require("nginx", shutil.which("nginx") is not None)

DELAY = {"CROPMARK_DRAIN_DELAY_S": "0.5"}


class _Clients:
    """Threads that request a new size of an image again and again, and count the responses by status."""

    def __init__(self, address: str, count: int) -> None:
        self.statuses: Counter[int | str] = Counter()
        self._address = address
        self._stop = threading.Event()
        self._widths = iter(range(20, 100_000))
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(count)]

    def __enter__(self) -> _Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            while not self._stop.is_set():
                with self._lock:
                    width = next(self._widths)
                try:
                    status: int | str = client.get(f"{self._address}/fastly/wide.jpg?width={width}").status_code
                except httpx.TransportError as error:
                    status = repr(error)
                with self._lock:
                    self.statuses[status] += 1

    def wait_for(self, more: int) -> None:
        """Return when `more` further responses have arrived."""
        wanted, deadline = self.statuses.total() + more, time.monotonic() + 60
        while self.statuses.total() < wanted:
            assert time.monotonic() < deadline, self.statuses
            time.sleep(0.01)


def test_no_request_fails_while_two_servers_are_replaced(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    make_images(images)
    ports = (free_port(), free_port())

    def start(stack: ExitStack, port: int) -> None:
        stack.enter_context(running(str(images), cache=tmp_path / f"cache-{port}", environment=DELAY, port=port))

    with ExitStack() as everything:
        stacks = [everything.enter_context(ExitStack()) for _ in ports]
        for stack, port in zip(stacks, ports, strict=True):
            start(stack, port)
        address = everything.enter_context(running_nginx(tmp_path, [f"127.0.0.1:{port}" for port in ports]))
        with _Clients(address, 4) as clients:
            clients.wait_for(20)
            for stack, port in zip(stacks, ports, strict=True):
                stack.close()  # SIGTERM, and wait for the end
                start(stack, port)
                clients.wait_for(20)
    assert set(clients.statuses) == {200}, clients.statuses
