"""A process that has added a message to an outbox, and runs until it is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ADD = """
import json, sys
from pathlib import Path
from cropmark.fleet.outbox import Outbox, message_name
name, message = message_name(), json.loads(sys.argv[2])
Outbox(Path(sys.argv[1])).add(name, {**message, "name": name} if "name" in message else message)
print("added", flush=True)
sys.stdin.read()
"""


@contextmanager
def sender(folder: Path, message: Mapping[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """The process; a `name` in the message becomes that of the message."""
    command = [sys.executable, "-c", _ADD, str(folder), json.dumps(message)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"added\n"
        yield process
