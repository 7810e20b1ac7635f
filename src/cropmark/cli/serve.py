"""cropmark serve: starts the server and prints its addresses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from urllib.parse import quote

import typer
from rich.style import Style
from rich.text import Text

from cropmark.cli.options import ConfigFile, Data, fail, out

if TYPE_CHECKING:
    from cropmark.config.loader import LoadedSettings
    from cropmark.server.run import RunningServer
    from cropmark.server.wiring import Server

SAMPLE_QUERIES = (
    "crop=16:9&width=640",
    "width=400&height=400&fit=crop&format=webp",
    "crop=4:5,smart&width=480&saturation=-40",
)


def serve(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of images. Without it, the configuration must define sites.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0: any free port.", show_default="8000")] = None,
    config: ConfigFile = None,
    fronts: Annotated[
        int | None, typer.Option(help="Number of front processes.", show_default="one for each four CPUs")
    ] = None,
    renderers: Annotated[
        int | None, typer.Option(help="Number of renderer processes.", show_default="the CPUs available")
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of the disk cache.")] = None,
    data: Data = None,
    require_sandbox: Annotated[
        bool, typer.Option("--require-sandbox", help="Do not start unless the sandbox is fully active.")
    ] = False,
) -> None:
    """Start the image server."""
    sandbox = "require" if require_sandbox else None
    network = {"host": host, "port": port}
    folders = {"folder": folder, "cache_dir": cache, "data_dir": data}
    _run(config, {**network, **folders, "fronts": fronts, "renderers": renderers, "sandbox": sandbox})


def _run(config: Path | None, overrides: dict[str, Any]) -> None:
    from cropmark.config.errors import InvalidConfiguration
    from cropmark.config.loader import load_settings
    from cropmark.runtime.logging import configure_logging
    from cropmark.server import library
    from cropmark.server.errors import StartupError
    from cropmark.server.run import run

    def reload_settings() -> LoadedSettings:
        return load_settings(config, overrides)

    try:
        loaded = reload_settings()
    except InvalidConfiguration as error:
        if os.environ.get("CROPMARK_LOG_FORMAT", "") == "json":  # the file that may set it is invalid
            _fail_as_json(str(error))
        raise
    settings = loaded.settings
    as_json = settings.log_format == "json"
    fail_start = _fail_as_json if as_json else fail
    if settings.folder is None and not settings.site and not library.exists(settings):
        fail_start("there is nothing to serve | name a folder of images: cropmark serve FOLDER", 2)
    configure_logging(settings.log_format)
    try:
        run(loaded, reload_settings=reload_settings, on_started=_log_greeting if as_json else _print_greeting)
    except (StartupError, InvalidConfiguration) as error:
        fail_start(str(error))


def _fail_as_json(text: str, code: int = 1) -> NoReturn:
    """Log `text` as JSON and exit with `code`. Each line of `text` has the form `cause | fix`."""
    import structlog

    from cropmark.runtime.logging import configure_logging

    configure_logging("json")
    for line in text.splitlines():
        cause, _, fix = line.partition(" | ")
        structlog.get_logger("cropmark.server").critical("start failed", reason=cause, fix=fix.removeprefix("fix: "))
    raise SystemExit(code)


def _log_greeting(running: RunningServer) -> None:
    """Log the URLs of the sites, the URL of the operator paths, and a new PixLab key."""
    import structlog

    server, address = running.server, _url_base(running)
    sites = {site.name: list(site.hosts) or [f"{address}{site.prefix}/"] for site in server.sites}
    more = {} if server.new_pixlab_key is None else {"pixlab_key_until_stop": server.new_pixlab_key}
    if running.admin_address:
        more["operator_paths"] = f"{running.admin_address}/"
    structlog.get_logger("cropmark.server").info("serving", sites=sites, **more)


def _print_greeting(running: RunningServer) -> None:
    """Print the server's address, and its sites, or the folder with sample links."""
    server, address = running.server, _url_base(running)
    out.print("[bold]cropmark[/]: Listening on", _link(f"{address}/") if address else running.address, highlight=False)
    if running.admin_address:
        out.print(f"  operator paths at {running.admin_address}/", highlight=False, soft_wrap=True)
    if server.new_pixlab_key is not None:
        out.print(f"  PixLab key until the server stops: {server.new_pixlab_key}", highlight=False, soft_wrap=True)
    if server.folder is None:
        _print_sites(server, address)
    else:
        _print_folder(server, address)
    out.print("  Stop with Ctrl-C.", style="dim")


def _url_base(running: RunningServer) -> str:
    """The server's base URL for links; empty if it listens on a Unix socket, which a browser cannot open."""
    return "" if running.address.startswith("unix:") else running.address


def _print_sites(server: Server, address: str) -> None:
    for site in server.sites:
        where = ", ".join(site.hosts) or f"{address}{site.prefix}/"
        out.print(f"  {site.name}: {site.dialect.name} at {where}", highlight=False, markup=False)
    for prefix, hosts in server.pixlab:
        out.print(f"  pixlab at {', '.join(hosts) or address}{prefix}/", highlight=False, markup=False)


def _print_folder(server: Server, address: str) -> None:
    assert server.folder is not None
    names = server.folder.images(10_000)
    noun = "image" if len(names) == 1 else "images"
    summary = f"  {len(names)} {noun} in {server.folder.root}, disk cache in {server.cache_dir}"
    out.print(summary, highlight=False, markup=False)
    if not names:
        out.print("  [yellow]No images yet:[/] put JPEG, PNG, WebP, GIF or AVIF files into the folder.")
        return
    if not address:
        return
    keys = next((site.access.keys for site in server.sites if site.prefix == "/fastly"), None)
    for index, query in enumerate(SAMPLE_QUERIES):
        path = f"/fastly/{quote(names[index % len(names)])}?{query}"
        out.print(" ", _link(address + (keys.sign(path) if keys else path)), highlight=False, soft_wrap=True)


def _link(url: str) -> Text:
    """A URL that can be clicked in a terminal.

    It has no rich markup, because brackets in a file name or an IPv6 address would break that.
    """
    return Text(url, Style(link=url))
