"""The command `cropmark`, which collects all subcommands. A failure prints its cause and a fix, not a traceback."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cropmark.cli import assets, batch, config, images, keys, library, migrate, operate, replay, serve, stacks, warm
from cropmark.cli.options import ConfigFile, DialectCommand, fail, out, read_settings
from cropmark.config.errors import InvalidConfiguration
from cropmark.model.problems import Problem

if TYPE_CHECKING:
    from cropmark.security.signing import Keyring

app = typer.Typer(
    help="Images from URLs: crop, resize, adjust and convert by query, in the dialects of several services.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(serve.serve)
app.command(cls=DialectCommand)(images.render)
app.command(cls=DialectCommand)(images.explain)
app.command()(images.info)
app.command()(migrate.translate)
app.command()(migrate.compare)
app.command()(warm.warm)
app.command()(replay.replay)
app.command()(batch.batch)
app.command()(operate.health)
app.command()(operate.purge)
app.command()(operate.doctor)
app.add_typer(assets.app, name="assets")
app.add_typer(library.app, name="library")
app.add_typer(stacks.app, name="stacks")
app.add_typer(keys.app, name="keys")
app.add_typer(config.app, name="config")


def _print_version(value: bool) -> None:
    if value:
        out.print(f"cropmark {metadata.version('cropmark')}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    from cropmark.runtime.logging import log_to_standard_error

    log_to_standard_error()


def main() -> None:
    """Run the command line. This is the entry point of the console script `cropmark`."""
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
    """Open /dev/null in place of each closed standard stream.

    Some supervisors start the process without standard streams. The first sockets would then get the descriptors 0 to
    2, which libuv never closes.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - open until the process ends


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
    from cropmark.links import sign_url

    try:
        keyring = signing_keys.read_keyring(key_file) if key_file else _configured_keyring(config, url)
        if keyring is None:
            fail("no key for this URL | set signing_keys for the server or its site, or name a --key-file")
        signed = sign_url(url, keyring, expires, key_id)
    except OSError as error:
        fail(f"{key_file} cannot be read: {error.strerror} | name another file with --key-file")
    except ValueError as error:
        fail(f"{error} | see docs/signing.md", 2)
    out.print(signed, highlight=False, soft_wrap=True, markup=False)


def _configured_keyring(config: Path | None, url: str) -> Keyring | None:
    """The keys with which the server would check the signature of the URL; None if the URL needs no signature."""
    from cropmark.config import signing_keys
    from cropmark.server import library as library_server

    settings = read_settings(config)
    mounts = [at.mount for at in library_server.library_mounts(settings)] if library_server.exists(settings) else []
    return signing_keys.url_keyring(settings, url, mounts)


if __name__ == "__main__":
    main()
