"""nginx with the configuration of deploy/, in front of servers of a test."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.proxies import DEPLOY, replaced, running_proxy
from tests.ports import free_port

MAIN = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/upstream.conf;
    include {folder}/cropmark.conf;
}}
"""


@contextmanager
def running_nginx(folder: Path, servers: Sequence[str], port: int = 0, *, cache: bool = True) -> Iterator[str]:
    """The address of nginx, which passes requests on to `servers`, each `host:port`; without `cache`, all of them."""
    port = port or free_port()
    upstream = (DEPLOY / "nginx" / "upstream.conf").read_text()
    lines = " ".join(f"server {server} max_fails=0;" for server in servers)
    (folder / "upstream.conf").write_text(replaced(upstream, ("server 127.0.0.1:8000 max_fails=0;", lines)))
    text = replaced(
        (DEPLOY / "nginx" / "cropmark.conf").read_text(),
        ("/var/cache/nginx/cropmark", str(folder / "store")),
        ("listen 80 default_server", f"listen 127.0.0.1:{port} default_server"),
        ("proxy_cache cropmark;", f"proxy_cache {'cropmark' if cache else 'off'};"),
    )
    (folder / "cropmark.conf").write_text(text)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user))
    command = ["nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log"), "-p", str(folder)]
    with running_proxy(command, f"http://127.0.0.1:{port}", folder / "log"):
        yield f"http://127.0.0.1:{port}"
