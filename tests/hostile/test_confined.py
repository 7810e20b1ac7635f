"""The server as docs/security.md wants it run: no capabilities, nothing writable but its own two folders."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.builders import make_images, wait_until
from tests.library.builders import Shop, create_shop
from tests.web.server_process import Running, running

KEY = "a-key-for-tests-0123456789abcdef"
READ_ONLY = """
mount --make-rprivate /
mount --bind "$1" "$1"
findmnt --noheadings --raw --output TARGET | grep -v "^/proc" | while read -r place; do
    case "$place" in "$1"*) ;; *) mount -o remount,ro,bind "$place" ;; esac
done
shift
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""
"""In a mount namespace of its own: everything read-only but the folder $1, then the command without capabilities."""


@dataclass(frozen=True, slots=True)
class Place:
    """The writable folders, and the command prefix of the server."""

    own: Path
    under: tuple[str, ...]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    if missing := [tool for tool in ("unshare", "setpriv", "findmnt") if shutil.which(tool) is None]:
        pytest.skip(f"{missing[0]} is not installed")
    own = tmp_path / "own"
    own.mkdir()
    under = ("unshare", "--mount", "sh", "-eu", "-c", READ_ONLY, "sh", str(own))
    tried = subprocess.run([*under, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"namespaces of mounts are not permitted here: {tried.stderr.strip()[:80]}")
    return Place(own, under)


@pytest.fixture
def stack(place: Place) -> Shop:
    return create_shop(place.own / "data")


@pytest.fixture
def server(place: Place, stack: Shop, tmp_path: Path) -> Iterator[Running]:
    (tmp_path / "files").mkdir()
    files = make_images(tmp_path / "files")
    arguments = (str(files), "--data", str(stack.data), "--require-sandbox")
    settings = {"CROPMARK_PIXLAB_KEY": KEY}
    with running(*arguments, cache=place.own / "cache", environment=settings, under=place.under) as found:
        yield found


def test_check_50_no_capabilities_and_a_read_only_root(server: Running, place: Place) -> None:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    assert dict(re.findall(r"^(Cap(?:Prm|Eff|Bnd)|NoNewPrivs):\s+(\w+)", status, re.MULTILINE)) == {
        "CapPrm": "0" * 16,
        "CapEff": "0" * 16,
        "CapBnd": "0" * 16,
        "NoNewPrivs": "1",
    }
    mounts = [line.split() for line in Path(f"/proc/{server.process.pid}/mounts").read_text().splitlines()]
    options = {where: words.split(",") for _, where, _, words, *_ in mounts}  # the last at a place hides the others
    assert {where for where, words in options.items() if "rw" in words} == {"/proc", str(place.own)}

    rendered = server.get("/fastly/wide.jpg?width=100&format=png")
    assert (rendered.status_code, Image.open(io.BytesIO(rendered.content)).size) == (200, (100, 50))
    assert server.get("/readyz").json()["sandbox"]["missing"] == []
    stored = place.own / "cache" / "renditions"  # in the permitted folder, soon after the response
    wait_until(lambda: list(stored.rglob("*/*")))
    assert "hit" in server.get("/fastly/wide.jpg?width=100&format=png").headers["server-timing"]


def test_uploads_without_a_folder_for_temporary_files(server: Running, stack: Shop) -> None:
    noise = io.BytesIO()
    Image.effect_noise((1500, 1500), 80).save(noise, "PNG")
    assert noise.tell() > 2**20  # larger ones go to a file as they come
    image = ("noise.png", noise.getvalue(), "image/png")
    fields = {"key": KEY, "width": "100", "height": "50", "x": "0", "y": "0", "blob": "true"}
    with httpx.Client(base_url=server.address, trust_env=False, timeout=30) as client:
        cut = client.post("/pixlab/crop", data=fields, files={"file": image})
        stored = client.post("/v3/assets", headers=stack.headers, files={"asset[upload]": image})
    assert cut.status_code == 200, cut.text
    assert Image.open(io.BytesIO(cut.content)).size == (100, 50)
    assert stored.status_code == 201, stored.text
    assert stored.json()["asset"]["file_size"] == str(noise.tell())
