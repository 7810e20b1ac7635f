"""Ports for servers that tests start and that must be told theirs beforehand."""

from __future__ import annotations

import random
import socket

# Below what the kernel gives to whoever asks for any port: other tests do, all the time, and at the same moment.
LOWEST, HIGHEST = 20_000, 32_000


def free_port() -> int:
    """One that nobody listens on now."""
    while True:
        port = random.randint(LOWEST, HIGHEST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
