"""cropmark health, purge and doctor: commands for operators of a server."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from cropmark.cli.options import ConfigFile, fail, out, read_settings

if TYPE_CHECKING:
    from urllib.error import HTTPError

    from cropmark.cli.doctor import Check

HEALTH_TIMEOUT_S = 5


def health(
    url: Annotated[
        str | None,
        typer.Option("--url", help="Address of the running server.", show_default="this machine, the configured port"),
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Check that a running server is ready for requests. Exits with 1 if the server is not ready."""
    from http.client import HTTPException
    from urllib.error import HTTPError

    from cropmark.cli.requests import open_path

    url = url or _configured_server(config)
    try:
        with open_path(url, "/readyz", timeout_s=HEALTH_TIMEOUT_S) as response:
            state = json.load(response)
    except HTTPError as error:
        state = _json_or_empty(error)
        if "ready" not in state:
            fail(f"{url} responds with {error.code} but is not a cropmark server | name the server with --url")
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        fail(f"no response from {url}: {reason} | start the server, or name it with --url")
    if not (isinstance(state, dict) and state.get("ready")):
        fail(f"{url} is not ready: {_reason(state)} | see {url.rstrip('/')}/readyz and the server log")
    out.print(f"{url} is ready", highlight=False, soft_wrap=True, markup=False)


def _configured_server(config: Path | None) -> str:
    """The address at which the configured server serves its operator paths, such as /readyz."""
    from cropmark.config.addresses import admin_url

    return admin_url(read_settings(config))


def _json_or_empty(error: HTTPError) -> dict[str, Any]:
    try:
        body = json.load(error)
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}


def _reason(state: Any) -> str:
    """The reason why a server is not ready, from the JSON of /readyz."""
    match state:
        case {"stopping": True}:
            return "it is stopping"
        case {"renderers": {"alive": 0}}:
            return "no renderer is alive"
        case {"library": {"ready": False}}:
            return "the library's database does not respond"
        case _:
            return "it cannot serve images"


def purge(
    source: Annotated[str | None, typer.Option(help="Path of one source, such as summer/beach.jpg.")] = None,
    prefix: Annotated[str | None, typer.Option(help="All sources with a path that begins with this prefix.")] = None,
    url: Annotated[str | None, typer.Option(help="URL of one variant.")] = None,
    tag: Annotated[
        str | None, typer.Option(help="All sources with this key from their origin, or all of the site with this name.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All variants and originals.")] = False,
    soft: Annotated[
        bool, typer.Option("--soft", help="Serve old variants from memory and disk until new ones are rendered.")
    ] = False,
    server: Annotated[
        str | None,
        typer.Option(help="Address of the running server.", show_default="this machine, the configured port"),
    ] = None,
    token: Annotated[str | None, typer.Option(envvar="CROPMARK_ADMIN_TOKEN", help="The admin token.")] = None,
    config: ConfigFile = None,
) -> None:
    """Purge variants from the caches of a running server, and from all servers that share its Redis."""
    options = {"source": source, "prefix": prefix, "url": url, "tag": tag, "all": everything or None}
    selection = {name: value for name, value in options.items() if value is not None}
    if len(selection) != 1:
        fail("expected one of --source, --prefix, --url, --tag and --all | name what to purge", 2)
    if not token:
        fail("purging needs the admin token | set CROPMARK_ADMIN_TOKEN, here and for the server", 2)
    server = server or _configured_server(config)
    match _post_purge(server, {**selection, **({"soft": True} if soft else {})}, token):
        case {"purged": int(count), **rest}:
            out.print(f"{count} {'variant' if count == 1 else 'variants'} purged", highlight=False)
            if "other_servers" in rest:
                out.print("Redis does not respond: other servers purge when it responds again", highlight=False)
        case _:
            fail(f"{server} responds but is not a cropmark server | name the server with --server")


def _post_purge(server: str, selection: dict[str, object], token: str) -> object:
    """Send a purge to the server, and return its JSON response.

    Exits if the server rejects the purge or does not respond.
    """
    from http.client import HTTPException
    from urllib.error import HTTPError

    from cropmark.cli.requests import open_path

    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        body = json.dumps(selection).encode()
        with open_path(server, "/admin/purge", timeout_s=30, body=body, headers=headers) as response:
            return json.load(response)
    except HTTPError as error:
        fail(f"the server rejected the request: {_detail(error)}")
    except (OSError, HTTPException, ValueError) as error:
        fail(f"no response from {server}: {error} | name the server with --server")


def _detail(error: HTTPError) -> str:
    """The `detail` and `fix` of an error response as `detail | fix`; without them, the status of the response."""
    try:
        problem = json.load(error)
        return f"{problem['detail']} | {problem.get('fix', '')}"
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return str(error)


def doctor(
    config: ConfigFile = None,
    fix: Annotated[bool, typer.Option("--fix", help="Remove files that a crash left in the library.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check this machine and the configuration. Prints OK, WARN or FAIL for each check, with a fix.

    Exits with 1 if a check fails.
    """
    from cropmark.cli.doctor import Status, checks

    results = []
    for check in checks(read_settings(config), fix=fix):
        results.append(check)
        if not as_json:
            _print_check(check)
    if as_json:
        rows = [{**dataclasses.asdict(check), "status": check.status.value} for check in results]
        sys.stdout.write(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    sys.exit(1 if any(check.status is Status.FAIL for check in results) else 0)


_STYLES = {"OK": "green", "WARN": "yellow", "FAIL": "red"}


def _print_check(check: Check) -> None:
    status = check.status.value
    fix_line = f"\n      [dim]{escape(check.fix)}[/]" if check.fix else ""
    out.print(f"[{_STYLES[status]}]{status:4}[/]  {escape(check.what)}{fix_line}", highlight=False, soft_wrap=True)
