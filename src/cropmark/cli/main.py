"""The command line. Every failure is one line with its fix, never a traceback."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cropmark.cli import assets, images, keys, migrate, serve, stacks
from cropmark.cli.options import ConfigFile, DialectCommand, fail, out, read_settings
from cropmark.config.errors import InvalidConfiguration
from cropmark.model.problems import Problem

if TYPE_CHECKING:
    from urllib.error import HTTPError

app = typer.Typer(
    help="Images from URLs: crop, resize, adjust and convert by query, in the dialects of several services.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(help="Show or check the configuration.", no_args_is_help=True)
app.command()(serve.serve)
app.command(cls=DialectCommand)(images.render)
app.command(cls=DialectCommand)(images.explain)
app.command()(migrate.translate)
app.command()(migrate.compare)
app.add_typer(assets.app, name="assets")
app.add_typer(stacks.app, name="stacks")
app.add_typer(keys.app, name="keys")
app.add_typer(config_app, name="config")


def main() -> None:
    """The console script."""
    _open_standard_streams()
    try:
        app()
    except (Problem, InvalidConfiguration) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _open_standard_streams() -> None:
    """Open the standard streams that are closed.

    Some supervisors start us without them. The first sockets would get their numbers, which libuv never closes.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - open until the process ends


@app.command()
def purge(
    source: Annotated[str | None, typer.Option(help="Path of one source, such as summer/beach.jpg.")] = None,
    prefix: Annotated[str | None, typer.Option(help="All sources with a path that begins with this prefix.")] = None,
    url: Annotated[str | None, typer.Option(help="URL of one variant.")] = None,
    server: Annotated[str, typer.Option(help="Address of the running server.")] = "http://127.0.0.1:8000",
    token: Annotated[str | None, typer.Option(envvar="CROPMARK_ADMIN_TOKEN", help="The admin token.")] = None,
) -> None:
    """Purge variants from the caches of a running server."""
    options = {"source": source, "prefix": prefix, "url": url}
    selection = {name: value for name, value in options.items() if value is not None}
    if len(selection) != 1:
        fail("expected one of --source, --prefix and --url | name what to purge", 2)
    if not token:
        fail("purging needs the admin token | set CROPMARK_ADMIN_TOKEN, here and for the server", 2)
    match _post_purge(server, selection, token):
        case {"purged": int(count)}:
            out.print(f"{count} variants purged", highlight=False)
        case _:
            fail(f"{server} responds but is not a cropmark server | name the server with --server")


def _post_purge(server: str, selection: dict[str, str], token: str) -> object:
    """The server's JSON response."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        request = Request(f"{server.rstrip('/')}/admin/purge", json.dumps(selection).encode(), headers)  # noqa: S310 - the operator's own server
        with urlopen(request, timeout=30) as response:  # noqa: S310 - the operator's own server
            return json.load(response)
    except HTTPError as error:
        fail(f"the server rejected the request: {_detail(error)}")
    except (OSError, HTTPException, ValueError) as error:
        fail(f"no response from {server}: {error} | name the server with --server")


def _detail(error: HTTPError) -> str:
    """The detail and the fix of an error response, or the status line if the response is not a Problem."""
    try:
        problem = json.load(error)
        return f"{problem['detail']} | {problem.get('fix', '')}"
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return str(error)


@app.command()
def sign(
    url: Annotated[str, typer.Argument(help="The URL of an image as clients send it, with or without host.")],
    expires: Annotated[
        str | None, typer.Option(help="Lifetime of the signature: 90s, 15m, 1h, 7d.", show_default="unlimited")
    ] = None,
    key_id: Annotated[str | None, typer.Option("--key-id", help="Id of the key.", show_default="the first key")] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="File with the key in its first line, instead of the configuration's keys.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Sign an image URL with a key from signing_keys."""
    from cropmark.config import signing_keys

    try:
        keyring = (
            signing_keys.read_keyring(key_file) if key_file else signing_keys.url_keyring(read_settings(config), url)
        )
        if keyring is None:
            fail("no key for this URL | set signing_keys for the server or its site, or name a --key-file")
        signed = signing_keys.sign_url(url, keyring, expires, key_id)
    except OSError as error:
        fail(f"{key_file} cannot be read: {error.strerror} | name another file with --key-file")
    except ValueError as error:
        fail(f"{error} | see docs/signing.md", 2)
    out.print(signed, highlight=False, soft_wrap=True, markup=False)


@config_app.command("show")
def config_show(config: ConfigFile = None) -> None:
    """Print every setting with its value and origin. Secrets are masked."""
    from cropmark.config.loader import load_settings

    table = Table("setting", "value", "from", box=None, pad_edge=False, header_style="bold")
    for origin in load_settings(config).origins:
        style = None if origin.origin != "default" else "dim"
        table.add_row(origin.name, escape(origin.value), escape(origin.origin), style=style)
    out.print(table)


@config_app.command("check")
def config_check(config: ConfigFile = None) -> None:
    """Check the configuration; print each error with its line and a fix."""
    from cropmark.config.loader import load_settings
    from cropmark.server.check import find_issues

    loaded = load_settings(config)
    if issues := tuple(find_issues(loaded)):
        raise InvalidConfiguration(issues)
    where = escape(str(loaded.file or "environment and defaults, without a file"))
    out.print(f"[green]OK[/]: {where}", highlight=False)


@app.command()
def doctor(
    config: ConfigFile = None,
    fix: Annotated[bool, typer.Option("--fix", help="Remove files that a crash left in the library.")] = False,
) -> None:
    """Check this machine: libraries, codecs, sandbox, folders, memory. Prints OK, WARN or FAIL, and a fix."""
    from cropmark.cli.doctor import Status, checks

    styles = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "red"}
    failed = False
    for check in checks(read_settings(config), fix=fix):
        failed = failed or check.status is Status.FAIL
        status = check.status.value
        fix_line = f"\n      [dim]{escape(check.fix)}[/]" if check.fix else ""
        line = f"[{styles[check.status]}]{status:4}[/]  {escape(check.what)}{fix_line}"
        out.print(line, highlight=False, soft_wrap=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
