"""deploy/Containerfile: the image runs read-only, as an unprivileged user and without capabilities, and serves images.

`tools/image TAG` builds it; TESTED_IMAGE names the tag. The tests run it without a container engine: in namespaces of
its own, with the user, environment, command and volumes that the image's configuration declares.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.builders import make_images
from tests.requirements import require

IMAGE = os.environ.get("TESTED_IMAGE", "")
pytestmark = [
    require("image", bool(IMAGE) and os.geteuid() == 0 and shutil.which("buildah") is not None),
    pytest.mark.xdist_group("image"),
]
ROOT = Path(__file__).parents[2]
TOKEN = "token-of-the-image-0123456789-0123456789"

RUN = """
set -eu
root=$1 user=$2 images=$3; shift 3
mount --make-rprivate /
mount --bind "$root" "$root"
mount -o remount,ro,bind "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount --rbind /dev "$root/dev"
for volume in $VOLUMES; do mount -t tmpfs -o "size=64m,uid=${user%%:*},gid=${user##*:}" tmpfs "$root$volume"; done
mount --bind -o ro "$images" "$root/srv/images"
exec chroot --userspec="$user" "$root" /usr/bin/setpriv --no-new-privs --inh-caps=-all -- "$@"
"""


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@dataclass(frozen=True, slots=True)
class Image:
    """The file system and the configuration of a built image."""

    root: Path
    config: dict[str, Any]

    def environment(self) -> list[str]:
        return [*self.config["Env"], f"CROPMARK_ADMIN_TOKEN={TOKEN}"]


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    described = json.loads(_output("buildah", "inspect", "--type", "image", IMAGE))
    container = _output("buildah", "from", IMAGE)
    try:
        root = Path(_output("buildah", "mount", container))
        yield Image(root, described["Docker"]["config"])
    finally:
        _output("buildah", "rm", container)


@dataclass(frozen=True, slots=True)
class Container:
    """The running image: the process that waits for it, and its address."""

    process: subprocess.Popen[bytes]
    address: str
    image: Image
    log: Path

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, with the environment of the image, as a health check does."""
        inside = _children(self.process.pid)[0]
        enter = ["nsenter", "--target", str(inside), "--mount", "--pid", "--root", "--wd", "--"]
        return subprocess.run(
            [*enter, "/usr/bin/env", "-i", *self.image.environment(), *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )


def _children(pid: int) -> list[int]:
    """Process ids of the direct children."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture(scope="module")
def container(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    folder = tmp_path_factory.mktemp("image")
    images = folder / "images"
    images.mkdir()
    make_images(images)
    for path in (folder, images, *images.rglob("*")):
        path.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = [*image.environment(), f"CROPMARK_PORT={port}", "CROPMARK_RENDERERS=1"]
    command = [*image.config["Entrypoint"], *image.config["Cmd"]]
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child=SIGTERM", "sh", "-c", RUN, "run"]
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*unshare, str(image.root), image.config["User"], str(images), "/usr/bin/env", "-i", *settings, *command],
            stdout=out,
            stderr=out,
            env={**os.environ, "VOLUMES": " ".join(image.config["Volumes"])},
        )
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}", process, log)
        yield Container(process, f"http://127.0.0.1:{port}", image, log)
    finally:
        for child in _children(process.pid) if process.poll() is None else ():
            os.kill(child, signal.SIGTERM)
        process.wait(30)


def _wait_until_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{address}/readyz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(log.read_text())


def test_it_serves_an_image_in_its_sandbox(container: Container) -> None:
    response = httpx.get(f"{container.address}/wide.jpg?width=64&format=webp", trust_env=False, timeout=30)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/webp"
    token = {"Authorization": f"Bearer {TOKEN}"}
    ready = httpx.get(f"{container.address}/readyz", headers=token, trust_env=False).json()
    assert ready["ready"] is True
    assert ready["sandbox"] == {"mode": "require", "complete": True, "missing": []}


def test_it_is_read_only_and_unprivileged(container: Container) -> None:
    (inside,) = _children(container.process.pid)
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{inside}/status").read_text().splitlines())
    assert status["Uid"].split() == ["10001"] * 4
    assert status["Gid"].split() == ["10001"] * 4
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    written = container.execute("/bin/sh", "-c", "echo x >/etc/x; echo x >/tmp/x; echo x >/opt/cropmark/x")
    assert written.stderr.count("Read-only file system") == 3


def test_the_health_check_of_the_image_passes(container: Container) -> None:
    kind, *command = container.image.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    port = container.address.rpartition(":")[2]
    checked = container.execute("/usr/bin/env", f"CROPMARK_PORT={port}", *command)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_log_is_json_from_the_first_line_to_the_last(container: Container) -> None:
    lines = container.log.read_text().splitlines()
    assert lines
    assert all(isinstance(json.loads(line), dict) for line in lines)


def test_it_contains_no_build_tools(image: Image) -> None:
    tools = ("pip", "gcc", "git", "curl")
    assert not [tool for tool in tools if (image.root / "opt/cropmark/bin" / tool).exists()]
    assert not [tool for tool in tools if (image.root / "usr/bin" / tool).exists()]
