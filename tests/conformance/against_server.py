"""Start a server over the cases' pictures and run the cases against it: `make conformance`.

Passes its own arguments on to run.py, so `--only 'fastly-crop-*' -v` works here too.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
CORPUS = HERE.parent / "data" / "corpus" / "photos"
KEY = "conformance-key"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    arguments = sys.argv[1:]
    run = [sys.executable, str(HERE / "run.py")]
    cases = [a for i, a in enumerate(arguments) if a == "--cases" or (i and arguments[i - 1] == "--cases")]
    with tempfile.TemporaryDirectory() as folder:
        sources, corpus = Path(folder, "sources"), ["--corpus", str(CORPUS)]
        subprocess.run([*run, *cases, "--make-only", str(sources), *corpus], check=True, stdout=subprocess.DEVNULL)
        port, images = free_port(), free_port()
        environment = {
            **os.environ,
            "CROPMARK_CACHE_DIR": str(Path(folder, "cache")),
            "CROPMARK_DATA_DIR": str(Path(folder, "data")),
            "CROPMARK_PIXLAB_KEY": KEY,
            "CROPMARK_ACCESS_LOG": "off",
            "CROPMARK_WEB_ALLOW": f"127.0.0.1:{images}",
        }
        command = [sys.executable, "-m", "cropmark.cli.main", "serve", str(sources), "--port", str(port)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as server:
            try:
                _wait_for(f"http://127.0.0.1:{port}/readyz", server)
                base = f"http://127.0.0.1:{port}"
                bases = [f"--base={d}={base}/{d}" for d in ("fastly", "contentstack", "kontent", "pixlab")]
                listen = ["--img-listen", f"127.0.0.1:{images}", "--key", KEY]
                told = subprocess.run(
                    [*run, "--sources", str(sources), *corpus, *bases, *listen, *arguments], check=False
                )
                return told.returncode
            finally:
                server.send_signal(signal.SIGTERM)
                server.wait(30)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if server.poll() is not None:
            sys.exit(f"the server ended with {server.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    sys.exit("the server was not ready within 30 s")


if __name__ == "__main__":
    sys.exit(main())
