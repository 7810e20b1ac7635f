"""TCP ports for servers that tests start on a fixed port."""

from __future__ import annotations

import random
import socket

# Below the range from which the kernel assigns ports to other tests at the same time.
LOWEST, HIGHEST = 20_000, 32_000


def free_port() -> int:
    """A port that is not in use now."""
    while True:
        port = random.randint(LOWEST, HIGHEST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
