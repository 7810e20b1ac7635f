"""The command line. Every failure is one line with its mend, never a traceback."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.style import Style
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from cropmark.cli import assets, keys, migrate
from cropmark.config.loader import InvalidConfiguration, LoadedSettings, configured
from cropmark.explanation import Explanation, short
from cropmark.geometry.recipe import Recipe
from cropmark.model.problems import Problem

app = typer.Typer(
    help="Make pictures from URLs: crop, resize, adjust and convert by query, in four vendors' dialects.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(help="Show or check the configuration.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(assets.app, name="assets")
app.add_typer(keys.app, name="keys")

out = Console(emoji=False)
err = Console(stderr=True, emoji=False)

ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file; ./cropmark.toml where it is.")]
DialectName = Annotated[str, typer.Option("--dialect", "-d", help="fastly, contentstack or kontent.")]
DIALECTS = ("fastly", "contentstack", "kontent")


def main() -> None:
    """The console script."""
    _have_standard_streams()
    try:
        app()
    except (Problem, InvalidConfiguration) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _have_standard_streams() -> None:
    """Some supervisors start without them: the first sockets would take their numbers, which libuv never closes."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - until the process ends


def _fail(text: str, code: int = 1) -> NoReturn:
    for line in text.splitlines():
        what, _, mend = line.partition(" | ")
        mend = mend.removeprefix("fix: ")
        err.print(f"[red]cropmark:[/] {escape(what)}", highlight=False, soft_wrap=True)
        if mend:
            err.print(f"          {escape(mend)}", highlight=False, soft_wrap=True, style="dim")
    sys.exit(code)


@app.command()
def serve(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of pictures; without one the configuration names sites.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0: a free one. [default: 8000]")] = None,
    config: ConfigFile = None,
    renderers: Annotated[int | None, typer.Option(help="Renderer processes. [default: one a core]")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of the disk cache.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of what must be kept.")] = None,
    require_sandbox: Annotated[
        bool, typer.Option("--require-sandbox", help="Refuse to start without a whole sandbox.")
    ] = False,
) -> None:
    """Serve pictures, made from their URLs."""
    from cropmark.runtime.logging import set_up  # noqa: PLC0415 - the web stack is loaded by serve alone
    from cropmark.server.library import is_there  # noqa: PLC0415 - as below
    from cropmark.server.run import run  # noqa: PLC0415
    from cropmark.server.sites import StartupError  # noqa: PLC0415

    overrides = {
        "folder": folder,
        "host": host,
        "port": port,
        "renderers": renderers,
        "cache_dir": cache,
        "data_dir": data,
        "sandbox": "require" if require_sandbox else None,
    }

    def reread() -> LoadedSettings:
        return configured(config, overrides)

    found = reread()
    if found.settings.folder is None and not found.settings.site and not is_there(found.settings):
        _fail("there is nothing to serve | name a folder of pictures: cropmark serve FOLDER", 2)
    set_up(found.settings.log_format)
    try:
        run(found, reread=reread, started=_greeting)
    except StartupError as error:
        _fail(str(error))


def _greeting(started: Any) -> None:
    """What a person sees first: the folder, how many pictures, and three links to click."""
    server, address = started.server, started.address
    out.print("[bold]cropmark[/] answers at", _link(f"{address}/"), highlight=False)
    if server.new_pixlab_key is not None:
        out.print(f"  PixLab's key until the server stops: {server.new_pixlab_key}", highlight=False, soft_wrap=True)
    if server.folder is None:
        for site in server.sites:
            where = ", ".join(site.hosts) or f"{address}{site.prefix}/"
            out.print(f"  {site.name}: {site.dialect.name} at {where}", highlight=False, markup=False)
        for prefix, hosts in server.pixlab:
            out.print(f"  pixlab at {', '.join(hosts) or address}{prefix}/", highlight=False, markup=False)
        out.print("  Stop with Ctrl-C.", style="dim")
        return
    names = server.folder.pictures(10_000)
    told = f"  {len(names)} pictures in {server.folder.root}, renditions kept in {server.cache_dir}"
    out.print(told, highlight=False, markup=False)
    if not names:
        out.print("  [yellow]No pictures there yet:[/] put some JPEG, PNG, WebP, GIF or AVIF files in it.")
    queries = (
        "crop=16:9&width=640",
        "width=400&height=400&fit=crop&format=webp",
        "crop=4:5,smart&width=480&saturation=-40",
    )
    for number, query in enumerate(queries if names else ()):
        from urllib.parse import quote  # noqa: PLC0415

        path = f"/fastly/{quote(names[number % len(names)])}?{query}"
        keys = next((site.access.keys for site in server.sites if site.prefix == "/fastly"), None)
        url = address + (keys.sign(path) if keys else path)
        out.print(" ", _link(url), highlight=False, soft_wrap=True)
    out.print("  Stop with Ctrl-C.", style="dim")


def _link(url: str) -> Text:
    """A URL to click. Not by markup, which an IPv6 address and a picture's name would break."""
    return Text(url, Style(link=url))


@app.command()
def render(
    source: Annotated[Path, typer.Argument(help="The picture's file.")],
    query: Annotated[str, typer.Argument(help="What a URL would have behind its question mark.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the result is written.")],
    dialect: DialectName = "fastly",
    accept: Annotated[str, typer.Option(help="The client's Accept header.")] = "",
    config: ConfigFile = None,
) -> None:
    """Make one picture without a server."""
    from cropmark import api  # noqa: PLC0415 - the engine is loaded by those that use it

    settings = configured(config).settings
    picture = api.render(source, query, dialect=_dialect(dialect), accept=accept, settings=settings)
    _write(output, picture.body, "-o")
    for warning in picture.warnings:
        err.print(f"[yellow]warning:[/] {escape(warning)}", highlight=False)
    size = f"{picture.size}, " if picture.size else ""
    # A pipe may be our own standard output, where nothing may follow the picture.
    told = out if output.is_file() else err
    told.print(f"{output}: {size}{picture.media_type}, {len(picture.body):,} bytes", highlight=False, markup=False)


def _write(path: Path, body: bytes, option: str) -> None:
    from cropmark import api  # noqa: PLC0415 - loaded already by whoever made the body

    try:
        api.write(path, body)
    except OSError as error:
        _fail(f"{path} cannot be written: {error.strerror} | name another file with {option}")


@app.command()
def explain(
    query: Annotated[str, typer.Argument(help="What a URL has behind its question mark.")],
    dialect: DialectName = "fastly",
    source: Annotated[
        Path | None, typer.Option(help="A picture: also tells what its header makes of the query.")
    ] = None,
    accept: Annotated[str, typer.Option(help="The client's Accept header.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a tree.")] = False,
    draw: Annotated[
        Path | None, typer.Option(help="Also draw faces, subject and window of a smart crop on the source: a PNG.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Tell what a query means, step by step."""
    from cropmark import api  # noqa: PLC0415

    settings = configured(config).settings
    told = api.explain(query, dialect=_dialect(dialect), source=source, accept=accept, settings=settings)
    if as_json:
        out.print_json(json.dumps(told.plain()))
    else:
        out.print(_tree(told))
    if told.problem is not None:
        sys.exit(1)
    if draw is not None:
        if source is None:
            _fail("there is nothing to draw on | name the picture with --source", 2)
        _write(draw, api.draw(source, query, dialect=dialect, settings=settings), "--draw")


def _tree(told: Explanation) -> Tree:
    """What a query means, a line a Step and a line an Op."""
    tree = Tree(f"[bold]{escape(told.query) or '(no query)'}[/] in {told.dialect}", highlight=False)
    if told.problem is not None:
        tree.add(f"[red]{told.problem.status}[/] {escape(told.problem.detail)}").add(escape(told.problem.fix))
    if told.order is not None:
        _branch(tree, "sources", told.order.sources)
        if told.order.plan is None:
            tree.add("the original, byte for byte")
        else:
            _branch(tree, "steps", told.order.plan.steps)
            _branch(tree, "encodings that would do, first come", told.order.plan.output.choices)
        _branch(tree, "warnings", map(str, told.order.warnings))
        tree.add(f"fingerprint {told.fingerprint}", style="dim")
    _branch(tree, "headers", told.infos)
    match told.resolved:
        case Recipe() as recipe:
            ops = _branch(tree, f"recipe, {recipe.size}", recipe.ops) or tree.add("recipe: nothing but encoding")
            ops.add(escape(short(recipe.encoding)))
            _branch(tree, "warnings", map(str, recipe.warnings))
            if recipe.focus:
                tree.add(f"window placed by {escape(recipe.focus)}")
        case None:
            pass
        case other:
            tree.add(escape(short(other)))
    if told.key is not None:
        tree.add(f"key {told.key}", style="dim")
        tree.add(f"about {told.cost_ms:g} ms of one core", style="dim")
    return tree


def _branch(tree: Tree, name: str, values: Iterable[Any]) -> Tree | None:
    lines = [escape(value if isinstance(value, str) else short(value)) for value in values if value is not None]
    if not lines:
        return None
    branch = tree.add(f"[cyan]{name}[/]")
    for line in lines:
        branch.add(line)
    return branch


app.command()(migrate.translate)
app.command()(migrate.compare)


@app.command()
def purge(
    source: Annotated[str | None, typer.Option(help="Path of one source, such as summer/beach.jpg.")] = None,
    prefix: Annotated[str | None, typer.Option(help="All sources whose path begins so.")] = None,
    url: Annotated[str | None, typer.Option(help="One rendition by its URL.")] = None,
    server: Annotated[str, typer.Option(help="The running server.")] = "http://127.0.0.1:8000",
    token: Annotated[str | None, typer.Option(envvar="CROPMARK_ADMIN_TOKEN", help="The admin token.")] = None,
) -> None:
    """Make a running server forget renditions."""
    asked = {k: v for k, v in {"source": source, "prefix": prefix, "url": url}.items() if v is not None}
    if len(asked) != 1:
        _fail("expected one of --source, --prefix and --url | name what is to be forgotten", 2)
    if not token:
        _fail("purging needs the admin token | set CROPMARK_ADMIN_TOKEN, here and for the server", 2)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        request = urllib.request.Request(f"{server.rstrip('/')}/admin/purge", json.dumps(asked).encode(), headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the operator's own server
            told = json.load(answer)
    except urllib.error.HTTPError as error:
        _fail(f"the server refused: {_detail(error)}")
    except (OSError, HTTPException, ValueError) as error:
        _fail(f"no answer from {server}: {error} | name the server with --server")
    match told:
        case {"purged": int(count)}:
            out.print(f"{count} renditions forgotten", highlight=False)
        case _:
            _fail(f"{server} answers, but is no cropmark server | name the server with --server")


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        told = json.load(error)
        return f"{told['detail']} | {told.get('fix', '')}"
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return str(error)


@app.command()
def sign(
    url: Annotated[str, typer.Argument(help="A picture's URL as it goes over the wire, with host or without.")],
    expires: Annotated[
        str | None, typer.Option(help="How long it holds: 90s, 15m, 1h, 7d. [default: for ever]")
    ] = None,
    key_id: Annotated[str | None, typer.Option("--key-id", help="Id of the key. [default: the first key]")] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="File with the key in its first line, in place of the configuration's keys.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Sign a picture's URL, as signing_keys of the configuration ask for it."""
    from cropmark.config import signing_keys  # noqa: PLC0415 - quick to load, but needed by sign alone

    try:
        keys = (
            signing_keys.ring_in(key_file) if key_file else signing_keys.keyring_for(configured(config).settings, url)
        )
        if keys is None:
            _fail("no keys sign this URL | set signing_keys, for the server or its site, or name a --key-file")
        out.print(signing_keys.signed(url, keys, expires, key_id), highlight=False, soft_wrap=True, markup=False)
    except OSError as error:
        _fail(f"{key_file} cannot be read: {error.strerror} | name another file with --key-file")
    except ValueError as error:
        _fail(f"{error} | see docs/signing.md", 2)


@config_app.command("show")
def config_show(config: ConfigFile = None) -> None:
    """Every setting, its value, and where that came from; secrets are masked."""
    found = configured(config)
    table = Table("setting", "value", "from", box=None, pad_edge=False, header_style="bold")
    for origin in found.origins:
        style = None if origin.came_from != "default" else "dim"
        table.add_row(origin.name, escape(origin.value), escape(origin.came_from), style=style)
    out.print(table)


@config_app.command("check")
def config_check(config: ConfigFile = None) -> None:
    """Say everything that is wrong with the configuration, with line and mend."""
    from cropmark.server.check import mistakes  # noqa: PLC0415 - needed by check alone

    found = configured(config)
    if wrong := tuple(mistakes(found)):
        raise InvalidConfiguration(wrong)
    where = escape(str(found.file or "no file, environment and defaults"))
    out.print(f"[green]good[/]: {where}", highlight=False)


@app.command()
def doctor(
    config: ConfigFile = None,
    mend: Annotated[bool, typer.Option("--mend", help="Remove what a crash left behind in the library.")] = False,
) -> None:
    """Look at this machine: libraries, codecs, sandbox, folders, memory; each line good or bad with the mend."""
    from cropmark.cli.doctor import Check, findings  # noqa: PLC0415

    marks: dict[bool | None, str] = {True: "[green]good[/]", False: "[red]bad[/] ", None: "[yellow]note[/]"}

    def show(found: Check) -> None:
        mend = f"\n       [dim]{escape(found.fix)}[/]" if found.fix else ""
        out.print(f"{marks[found.status]}  {escape(found.what)}{mend}", highlight=False, soft_wrap=True)

    good = _all_shown(findings(configured(config).settings, mend=mend), show)
    sys.exit(0 if good else 1)


def _all_shown(found: Any, show: Callable[[Any], None]) -> bool:
    good = True
    for one in found:
        show(one)
        good = good and one.status is not False
    return good


def _dialect(name: str) -> str:
    if name not in DIALECTS:
        _fail(f"there is no dialect {name!r} | write one of {', '.join(DIALECTS)}", 2)
    return name


if __name__ == "__main__":
    main()
