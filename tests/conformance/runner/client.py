"""HTTP: turns a case into a request, sends it, and serves the sources that PixLab fetches by URL."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import json
import re
import socketserver
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.conformance.runner.cases import Case, CaseError, as_list, has_source, overlay_path, source_name, source_path
from tests.conformance.runner.formats import MEDIA_TYPES, sniff

_BOUNDARY = "cropmark-conformance-5c1a"
_MAX_RETRIES = 5  # of a request that is rejected with 429 and Retry-After
_MAX_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class Target:
    """The server under test, and the choices of the command line that shape requests."""

    bases: dict[str, str]  # dialect -> base URL
    sources: Path
    image_base: str | None  # the server that PixLab's sources are fetched from
    overlay_path: str = "host"  # or "base"
    key: str = "conformance-key"  # PixLab's
    imgix_token: str = "conformance-token"
    timeout_s: float = 60
    jobs: int = 2


@dataclass(frozen=True, slots=True)
class Reply:
    """The server's response to a case."""

    status: int
    headers: httpx.Headers
    body: bytes
    seconds: float = 0


class Client:
    """Sends cases. Query and path reach the server exactly as the case spells them."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._client = httpx.Client(
            timeout=target.timeout_s,
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_connections=max(4, target.jobs)),
        )
        self._client.headers.clear()
        self._client.headers.update({"User-Agent": "conformance", "Accept-Encoding": "identity"})

    def send(self, case: Case, dialect: str) -> Reply:
        """The response to a case. Raises CaseError, httpx.HTTPError."""
        base = self.target.bases[dialect].rstrip("/")
        if dialect == "pixlab" or "params" in case:
            return self._send_pixlab(case, base)
        root = urllib.parse.urlsplit(base).path
        if case.get("url"):
            path = root + "/" + self._filled(case["url"], case, root).lstrip("/")
        else:
            query = self._filled(case.get("query", "") or "", case, root)
            path = root + "/" + urllib.parse.quote(source_path(case)) + ("?" + query if query else "")
        headers = {
            name: self._filled(value, case, root) if isinstance(value, str) else value
            for name, value in (case.get("headers") or {}).items()
        }
        body = case.get("body")
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        return self._request(
            case.get("method", "GET"), base, self._signed(path), headers, text.encode() if text else None
        )

    def follow(self, link: str, dialect: str) -> Reply:
        """The response for a link that a result names."""
        response = self._client.get(urllib.parse.urljoin(self.target.bases[dialect] + "/", link))
        return Reply(response.status_code, response.headers, response.content)

    def _request(
        self, method: str, base: str, path: str, headers: dict[str, Any], content: bytes | None = None
    ) -> Reply:
        """Send one request; a 429 with Retry-After is tried again."""
        host = urllib.parse.urlsplit(base)
        sent = {"accept": ("Accept", "*/*")} | {name.lower(): (name, value) for name, value in headers.items()}
        fields = {name: str(value) for name, value in sent.values() if value is not None}
        request = self._client.build_request(method, f"{host.scheme}://{host.netloc}/", headers=fields, content=content)
        request.extensions["target"] = _request_target(path)
        for attempt in range(_MAX_RETRIES + 1):
            started = time.monotonic()
            response = self._client.send(request)
            if response.status_code != 429 or "Retry-After" not in response.headers or attempt == _MAX_RETRIES:
                break
            time.sleep(min(_MAX_WAIT_S, float(response.headers["Retry-After"] or 1)))
        return Reply(response.status_code, response.headers, response.content, time.monotonic() - started)

    def _filled(self, text: str, case: Case, root: str) -> str:
        """The text with {overlay} and {source} replaced by URL paths."""
        if "{overlay}" in text:
            if not case.get("second_source"):
                raise CaseError("{overlay} without second_source")
            prefix = "" if self.target.overlay_path == "base" else root
            text = text.replace("{overlay}", prefix + "/" + overlay_path(case))
        return text.replace("{source}", root + "/" + source_path(case))

    def _signed(self, path: str) -> str:
        """The path with {s} replaced by imgix's signature of the text before it; {s:QUERY} signs path and QUERY."""
        bare = path.partition("?")[0]

        def signature(match: re.Match[str]) -> str:
            signed = path[: match.start()].removesuffix("s=")[:-1] if match[1] is None else f"{bare}?{match[1]}"
            return hashlib.md5((self.target.imgix_token + signed).encode()).hexdigest()

        return re.sub(r"\{s(?::([^}]*))?\}", signature, path)

    def _send_pixlab(self, case: Case, base: str) -> Reply:
        endpoint = urllib.parse.urlsplit(base).path + "/" + case.get("endpoint", "crop").strip("/")
        given = case.get("headers") or {}
        headers = {name: value.replace("{key}", self.target.key) for name, value in given.items()}
        params = self._pixlab_params(case)
        pairs = [(name, _as_text(item)) for name, value in params.items() for item in as_list(value)]
        form = urllib.parse.urlencode(pairs)
        match case.get("method", "GET"):
            case "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" as method:
                return self._request(method, base, f"{endpoint}?{form}", headers)
            case "POST" | "POST-form":
                content_type, body = "application/x-www-form-urlencoded", form.encode()
            case "POST-json":
                content_type, body = "application/json", json.dumps(params).encode()
            case "POST-multipart":
                content_type, body = f"multipart/form-data; boundary={_BOUNDARY}", self._multipart(case, pairs)
            case method:
                raise CaseError(f"unknown method {method!r}")
        return self._request("POST", base, endpoint, {"Content-Type": content_type, **headers}, body)

    def _pixlab_params(self, case: Case) -> dict[str, Any]:
        """The case's params with `img` and `key`; a null leaves the field out."""
        params = dict(case.get("params") or {})
        image_base = (self.target.image_base or "").rstrip("/")
        if "img" not in params and case.get("source") and case.get("method") != "POST-multipart":
            params["img"] = f"{image_base}/{urllib.parse.quote(source_path(case))}"
        if image_base:
            urls = {"{img_base}": image_base, "{source}": f"{image_base}/{urllib.parse.quote(source_path(case))}"}
            if case.get("second_source"):
                urls["{overlay}"] = f"{image_base}/{overlay_path(case)}"
            params = _filled(params, urls)
        params.setdefault("key", self.target.key)
        return {name: value for name, value in params.items() if value is not None}

    def _multipart(self, case: Case, pairs: list[tuple[str, str]]) -> bytes:
        parts = [
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in pairs
        ]
        if has_source(case):
            data = (self.target.sources / source_path(case)).read_bytes()
            types = (MEDIA_TYPES[name][0] for name in sniff(data) if name in MEDIA_TYPES)
            head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{source_name(case)}"\r\n'
            head += f"Content-Type: {next(types, 'application/octet-stream')}\r\n\r\n"
            parts.append(head.encode() + data + b"\r\n")
        return b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()


def _filled(value: Any, texts: dict[str, str]) -> Any:
    """The JSON value with each placeholder in its strings replaced by its text."""
    match value:
        case str():
            for placeholder, text in texts.items():
                value = value.replace(placeholder, text)
            return value
        case list():
            return [_filled(member, texts) for member in value]
        case dict():
            return {name: _filled(member, texts) for name, member in value.items()}
        case _:
            return value


@contextlib.contextmanager
def static_server(folder: Path, listen: str) -> Iterator[str]:
    """Serve a folder at HOST:PORT, or at a free port if that one is taken; yields the base URL."""
    host, _, port = listen.rpartition(":")
    handler = functools.partial(_StaticFiles, directory=str(folder))
    try:
        server = _StaticServer((host or "127.0.0.1", int(port)), handler)
    except OSError:
        server = _StaticServer((host or "127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{server.server_address[0]!s}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class _StaticFiles(http.server.SimpleHTTPRequestHandler):
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {
        ".webp": "image/webp",
        ".avif": "image/avif",
    }

    def log_message(self, *_: Any) -> None:
        pass


class _StaticServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def _request_target(text: str) -> bytes:
    """The text as it is, except for bytes that a request line cannot hold: those are percent-encoded."""
    return b"".join(bytes([byte]) if 0x21 <= byte <= 0x7E else b"%%%02X" % byte for byte in text.encode("utf-8"))


def _as_text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
