"""Start a server over the cases' sources and run the cases against it: `make conformance`.

Passes its arguments on to run.py, so `--only 'fastly-crop-*' -v` works here too.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from cropmark.dialects.registry import DIALECTS

HERE = Path(__file__).resolve().parent
CORPUS = HERE.parent / "data" / "corpus" / "photos"
KEY = "conformance-key"
_SITES = """
[[site]]
prefix = "/fastly-down"
dialect = "fastly"
source = "{sources}"
settings = {{ rounding = "down" }}

[[site]]
prefix = "/fastly-p3"
dialect = "fastly"
source = "{sources}"
colors = "p3"

[[site]]
prefix = "/kontent-p3"
dialect = "kontent"
source = "{sources}"
colors = "keep"

[[site]]
prefix = "/fastly-animated"
dialect = "fastly"
source = "{sources}"
settings = {{ animated_auto = true }}

[[site]]
prefix = "/fastly-video"
dialect = "fastly"
source = "{sources}"
settings = {{ allow_video = true, animated_auto = true }}

[[site]]
prefix = "/fastly-hdr"
dialect = "fastly"
source = "{sources}"
hdr = "keep"

[[site]]
prefix = "/fastly-svg"
dialect = "fastly"
source = "{sources}"
svg = "rasterize"

[[site]]
prefix = "/contentstack-svg"
dialect = "contentstack"
source = "{sources}"
svg = "rasterize"

[[site]]
prefix = "/kontent-svg"
dialect = "kontent"
source = "{sources}"
svg = "rasterize"
"""
"""Sites with other settings than the mount of their dialect; runner/cases.py has their names."""


def main() -> int:
    arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder, "sources")
        runner = [sys.executable, str(HERE / "run.py"), "--corpus", str(CORPUS)]
        make = [*runner, *_cases_option(arguments), "--make-only", str(sources)]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
        port, image_port = _free_port(), _free_port()
        config = Path(folder, "cropmark.toml")
        config.write_text(_SITES.format(sources=sources))
        serve = ["serve", str(sources), "--port", str(port), "--config", str(config)]
        command = [sys.executable, "-m", "cropmark.cli.main", *serve]
        environment = {**os.environ, **_settings(Path(folder), image_port)}
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as server:
            try:
                _wait_until_ready(f"http://127.0.0.1:{port}/readyz", server)
                listen = ["--img-listen", f"127.0.0.1:{image_port}", "--key", KEY]
                bases = base_options(f"http://127.0.0.1:{port}")
                run = [*runner, "--sources", str(sources), *bases, *listen, *arguments]
                return subprocess.run(run, check=False).returncode
            finally:
                server.send_signal(signal.SIGTERM)
                server.wait(30)


def base_options(server: str) -> list[str]:
    """run.py's --base options for each dialect that the server mounts without further configuration.

    A case's dialect is the first segment of the mount: `/fastly`, `/imagor`, `/iiif/3`.
    """
    mounts = (mount.prefix for entry in DIALECTS for mount in entry.mounts)
    sites = re.findall('prefix = "(.*)"', _SITES)
    names = dict.fromkeys(prefix.split("/")[1] for prefix in (*mounts, *sites))
    return [f"--base={name}={server}/{name}" for name in names]


def _settings(folder: Path, image_port: int) -> dict[str, str]:
    return {
        "CROPMARK_CACHE_DIR": str(folder / "cache"),
        "CROPMARK_DATA_DIR": str(folder / "data"),
        "CROPMARK_PIXLAB_KEY": KEY,
        "CROPMARK_ACCESS_LOG": "off",
        "CROPMARK_ALLOW_PRIVATE_HOSTS": f"127.0.0.1:{image_port}",
    }


def _cases_option(arguments: list[str]) -> list[str]:
    """The --cases options among the arguments, in both spellings."""
    return [
        argument
        for index, argument in enumerate(arguments)
        if argument.startswith("--cases") or (index and arguments[index - 1] == "--cases")
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if server.poll() is not None:
            sys.exit(f"the server ended with {server.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=1) as response:
                if response.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    sys.exit("the server was not ready within 30 s")


if __name__ == "__main__":
    sys.exit(main())
