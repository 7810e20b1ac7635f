"""The servers in the comparison: cropmark, and its peers in their default configuration."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import machine
from bench.images import ROOT, Wanted
from bench.servers import Missing, Peer, Started

HERE = ROOT / "benchmarks"
PLACE = HERE / ".peers"
EARLIER = "56156be"
"""The commit that the goal for all sizes of an image refers to."""


# ---------------------------------------------------------------------------------------------- cropmark


def _cropmark_version() -> str:
    reported = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return f"at {reported.stdout.strip()}" if reported.returncode == 0 else "unreleased"


def _cropmark(images: Path, port: int, place: Path) -> Started:
    command = [sys.executable, "-m", "cropmark.cli.main", "serve", str(images), "--port", str(port)]
    return Started([*command, "--cache", str(place / "cache"), "--data", str(place / "data")])


def _cropmark_path(wanted: Wanted) -> str:
    quality = "" if wanted.quality is None else f"&quality={wanted.quality}"
    spelling = "jpg" if wanted.format == "jpeg" else wanted.format
    return f"/fastly/{wanted.name}?width={wanted.width}&format={spelling}{quality}"


def _earlier_installed() -> str:
    """Extract and install the commit EARLIER, with the packages that it pins. Raises Missing in a shallow clone."""
    place = PLACE / EARLIER
    mark = place / ".venv" / ".ready-run"
    if not mark.exists():
        place.mkdir(parents=True, exist_ok=True)
        archive = place / "archive.tar"
        _run(["git", "-C", str(ROOT), "archive", "--output", str(archive), EARLIER], ROOT)
        _run(["tar", "--extract", "--file", str(archive)], place)
        archive.unlink()
        _run(["tools/setup", "run"], place)
    return "before the work on cache misses"


def _earlier(images: Path, port: int, place: Path) -> Started:
    command = [str(PLACE / EARLIER / ".venv" / "bin" / "python"), "-m", "cropmark.cli", "serve", str(images)]
    return Started([*command, "--port", str(port), "--cache", str(place / "cache"), "--data", str(place / "data")])


# ---------------------------------------------------------------------------------------------- node


def _node_package(name: str) -> Callable[[], str]:
    def install() -> str:
        if shutil.which("npm") is None or shutil.which("node") is None:
            raise Missing("Node.js is missing; on Debian: apt-get install nodejs npm")
        ours, place = HERE / "peers" / name, PLACE / name
        mark, lock = place / "installed.json", (ours / "package-lock.json").read_bytes()
        shutil.copytree(ours, place, dirs_exist_ok=True)
        if not mark.exists() or mark.read_bytes() != lock:
            _run(["npm", "ci", "--no-audit", "--no-fund"], place)
            mark.write_bytes(lock)
        reported: dict[str, str] = json.loads((place / "node_modules" / name / "package.json").read_text())
        return reported["version"]

    return install


def _sharp(*how: str) -> Callable[[Path, int, Path], Started]:
    def start(images: Path, port: int, place: Path) -> Started:
        return Started(["node", str(PLACE / "sharp" / "server.mjs"), str(images), str(port), *how])

    return start


def _ipx(images: Path, port: int, place: Path) -> Started:
    script = str(PLACE / "ipx" / "node_modules" / "ipx" / "bin" / "ipx.mjs")
    return Started(["node", script, "serve", "--dir", str(images), "--port", str(port), "--host", "127.0.0.1"])


def _is_animated(wanted: Wanted) -> bool:
    return wanted.name.endswith(".gif")


def _ipx_path(wanted: Wanted) -> str | None:
    if _is_animated(wanted):
        return None  # animations are compared with sharp only
    quality = "" if wanted.quality is None else f",q_{wanted.quality}"
    return f"/w_{wanted.width},f_{wanted.format}{quality}/{wanted.name}"


# ---------------------------------------------------------------------------------------------- thumbor


def python_of(name: str) -> Path:
    """The interpreter of a peer's own environment, made where it is missing. Raises Missing."""
    pinned, place = HERE / "peers" / name / "requirements.txt", PLACE / name
    mark = place / "installed.txt"
    python = place / "bin" / "python"
    if mark.exists() and mark.read_bytes() == pinned.read_bytes():
        return python
    _run([sys.executable, "-m", "venv", "--clear", str(place)], HERE)
    _run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(pinned)], HERE)
    mark.write_bytes(pinned.read_bytes())
    return python


def _thumbor_installed() -> str:
    python = python_of("thumbor")
    reported = "from importlib.metadata import version as v; print(v('thumbor'), 'on Pillow', v('pillow'))"
    return subprocess.run([str(python), "-c", reported], capture_output=True, text=True, check=True).stdout.strip()


def _thumbor(images: Path, port: int, place: Path) -> Started:
    settings = place / "thumbor.conf"
    settings.write_text(
        "LOADER = 'thumbor.loaders.file_loader'\n"
        f"FILE_LOADER_ROOT_PATH = {str(images)!r}\n"
        "STORAGE = 'thumbor.storages.no_storage'\n"
    )
    script = str(PLACE / "thumbor" / "bin" / "thumbor")
    return Started([script, "-i", "127.0.0.1", "-p", str(port), "-c", str(settings), "--processes", "2"])


def _thumbor_path(wanted: Wanted) -> str | None:
    if _is_animated(wanted):
        return None  # animations are compared with sharp only
    quality = "" if wanted.quality is None else f":quality({wanted.quality})"
    return f"/unsafe/{wanted.width}x0/filters:format({wanted.format}){quality}/{wanted.name}"


# ---------------------------------------------------------------------------------------------- nginx


def _nginx_filter_installed() -> str:
    if not machine.install("libnginx-mod-http-image-filter"):
        raise Missing("on Debian, as root: apt-get install libnginx-mod-http-image-filter")
    return _nginx_version()


def _nginx_installed() -> str:
    if machine.tool("nginx", "nginx-light") is None:
        raise Missing("on Debian, as root: apt-get install nginx-light")
    return _nginx_version()


def _nginx_version() -> str:
    binary = shutil.which("nginx")
    if binary is None:
        raise Missing("on Debian, as root: apt-get install nginx-light")
    reported = subprocess.run([binary, "-v"], capture_output=True, text=True, check=True).stderr
    return reported.strip().rpartition("/")[2]


NGINX = """{modules}
{user}
worker_processes {workers}; daemon off; pid {place}/pid; error_log {place}/errors;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  types {{ image/jpeg jpg; image/webp webp; }}
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  server {{ listen 127.0.0.1:{port} backlog=1024; root {images}; {more} }}
}}
"""
RESIZE = """location ~ "^/resize/(?<width>[0-9]+)/(?<quality>[0-9]+)/(?<name>[a-z0-9.-]+)$" {{
    alias {images}/$name; image_filter resize $width -; image_filter_jpeg_quality $quality;
    image_filter_buffer 32M; }}"""


def _nginx(workers: int, *, resizes: bool) -> Callable[[Path, int, Path], Started]:
    def start(images: Path, port: int, place: Path) -> Started:
        module = "/usr/lib/nginx/modules/ngx_http_image_filter_module.so"
        settings = place / "nginx.conf"
        settings.write_text(
            NGINX.format(
                modules=f"load_module {module};" if resizes else "",
                # Else the workers of an nginx that root started may not read our folder.
                user=f"user {getpass.getuser()};" if os.geteuid() == 0 else "",
                workers=workers,
                place=place,
                port=port,
                images=images,
                more=RESIZE.format(images=images) if resizes else "",
            )
        )
        return Started([shutil.which("nginx") or "nginx", "-e", str(place / "errors"), "-c", str(settings)])

    return start


def _nginx_path(wanted: Wanted) -> str | None:
    if wanted.format != "jpeg" or _is_animated(wanted):
        return None  # it answers in the format that it reads
    return f"/resize/{wanted.width}/{wanted.quality or 75}/{wanted.name}"


def _run(command: Sequence[str], folder: Path) -> None:
    """Raises Missing with the last that a failing command said."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"{' '.join(command[:3])} failed: {(done.stderr or done.stdout)[-300:]}")


def _sharp_path(wanted: Wanted) -> str:
    return f"/{wanted.width}/{wanted.format}/{wanted.quality or 0}/{wanted.name}"


def _equal_path(wanted: Wanted) -> str | None:
    return _sharp_path(wanted) if wanted.format in ("avif", "png") else None


def _static_path(wanted: Wanted) -> str:
    return f"/{wanted.name}"


# fmt: off
CROPMARK = Peer("cropmark",           _cropmark_version,       _cropmark,                 _cropmark_path)
BEFORE   = Peer(f"cropmark {EARLIER}", _earlier_installed,     _earlier,                  _cropmark_path)
SHARP    = Peer("sharp",              _node_package("sharp"),  _sharp(),                  _sharp_path)
CAREFUL  = Peer("sharp, careful",     _node_package("sharp"),  _sharp("careful"),         _sharp_path)
EQUAL    = Peer("sharp, equal",       _node_package("sharp"),  _sharp("equal"),           _equal_path)
IPX      = Peer("IPX",                _node_package("ipx"),    _ipx,                      _ipx_path)
THUMBOR  = Peer("thumbor",            _thumbor_installed,      _thumbor,                  _thumbor_path)
FILTER   = Peer("nginx image_filter", _nginx_filter_installed, _nginx(2, resizes=True),   _nginx_path)
STATIC   = Peer("nginx, one worker",  _nginx_installed,        _nginx(1, resizes=False),  _static_path)
STATIC_2 = Peer("nginx, two workers", _nginx_installed,        _nginx(2, resizes=False),  _static_path)
# fmt: on
RENDERING = (CROPMARK, SHARP, CAREFUL, EQUAL, IPX, THUMBOR, FILTER)
ABSENT = (
    "imgproxy and imagor are not compared: they are Go programs without packages, and must be built from source "
    "against the headers of libvips. sharp and IPX come from npm, thumbor from PyPI, nginx from Debian."
)
