"""Write the documents that come from code; with --check only say whether they are up to date.

docs/dialects/<name>.md and .schema.json from the Param tables, docs/configuration.md from the settings,
docs/cli.md from the command line, docs/errors.md from the Problem tree, docs/openapi-management.json from the calls.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import sys
from collections.abc import Iterator
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from typer.main import get_command
from typer.testing import CliRunner

from cropmark.cli import main as cli
from cropmark.config.loader import PREFIX, Settings, SiteSettings, format_value, field_types, environment_variables
from cropmark.dialects.contentstack.dialect import Contentstack
from cropmark.dialects.dialect import ParameterDoc
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.dialects.fastly.overlays import MONTAGE_HEADER, OVERLAY_HEADER
from cropmark.dialects.kontent.dialect import Kontent
from cropmark.dialects.pixlab.dialect import PixLab
from cropmark.management.openapi import openapi
from cropmark.model.problems import PROBLEMS_BY_CODE

ROOT = Path(__file__).resolve().parent.parent
MADE = "<!-- Made by `make docs` from the code; change it there. -->\n"
TITLES = {
    "fastly": "Fastly Image Optimizer",
    "contentstack": "Contentstack Image Delivery",
    "kontent": "Kontent.ai Image Transformation",
    "pixlab": "PixLab",
}


BUCKET = """
## A bucket for the library, and for results

`library_store = "s3://bucket/prefix"` puts the library's files into a bucket, which several servers may share, and `pixlab_store` the
results behind PixLab's links. Where it is and the keys to it are told as Amazon's own tools have them, in the environment, not in the file:

| variable | |
| --- | --- |
| `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` | The key; left out only with `allow_instance_credentials = true`, on a machine of Amazon's that has a role. |
| `AWS_SESSION_TOKEN` | With a key that lasts for a while only. |
| `AWS_REGION` | Such as `eu-central-1`; `us-east-1` if left out. |
| `AWS_ENDPOINT` | The address of another maker's store, such as `https://minio.example.com`; Amazon's if left out. |
| `AWS_ALLOW_HTTP` | `true` for an endpoint that begins with `http://`. |
| `AWS_VIRTUAL_HOSTED_STYLE_REQUEST` | `true` where the store wants the bucket's name in the host. |

The key must be allowed to list the bucket, and to get, put and delete its objects. Files above 5 MiB are put in parts: a
lifecycle rule that removes unfinished uploads after a day keeps what a crash may leave from adding up. A server does
not start where the bucket does not answer, and `cropmark doctor` compares it with the database. `gs://` and `az://` are reached by
the same library with the variables of their makers (`GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME`, …); the
project's tests run against S3 alone. `file:///folder` is a folder, also a mounted one."""


def documents() -> Iterator[tuple[str, str]]:
    """Every generated document: its path below docs/, and its text."""
    for dialect in (Fastly, Contentstack, Kontent, PixLab):
        yield f"dialects/{dialect.name}.md", _parameters(dialect.name, dialect.params) + _in_headers(dialect)
        yield f"dialects/{dialect.name}.schema.json", _json_schema(dialect.name, dialect.params)
    yield "configuration.md", _configuration()
    yield "cli.md", _cli()
    yield "errors.md", _errors()
    yield "openapi-management.json", json.dumps(openapi(), indent=2) + "\n"


def _parameters(name: str, params: tuple[ParameterDoc, ...]) -> str:
    return f"""{MADE}
# {TITLES[name]}: parameters

{len(params)} parameters. A [JSON Schema]({name}.schema.json) of the same table is for editors and tests.

{_table(params)}
"""


def _in_headers(dialect: Any) -> str:
    """Parameters that a header brings as a query string."""
    if dialect is not Fastly:
        return ""
    return f"""
## In the header `{OVERLAY_HEADER}`

{_table(Fastly.overlay_params)}

## In the header `{MONTAGE_HEADER}`

{_table(Fastly.montage_params)}
"""


def _table(params: tuple[ParameterDoc, ...]) -> str:
    rows = "\n".join(
        f"| `{p.name}` | {_cell(p.grammar)} | {_cell(p.default)} | {_cell(p.about)} | `{_code(_whole(p))}` | {_source(p.source)} |"
        for p in params
    )
    return f"""| parameter | values | default | what it does | example | read on |
| --- | --- | --- | --- | --- | --- |
{rows}"""


def _whole(p: ParameterDoc) -> str:
    """The example as it stands in a URL."""
    return p.example if p.example.partition("=")[0] == p.name or "&" in p.example else f"{p.name}={p.example}"


def _value(p: ParameterDoc) -> str:
    """The example's value of this parameter alone."""
    return dict(parse_qsl(_whole(p), keep_blank_values=True)).get(p.name, p.example)


def _source(url: str) -> str:
    return f"[page]({url})" if url.startswith("http") else _cell(url)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _code(text: str) -> str:
    return text.replace("|", "\\|")


def _json_schema(name: str, params: tuple[ParameterDoc, ...]) -> str:
    properties = {
        p.name: {"type": "string", "description": p.about, "examples": [_value(p)]}
        | ({"pattern": p.pattern} if p.pattern else {})
        for p in params
    }
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{TITLES[name]} parameters",
        "type": "object",
        "properties": properties,
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _configuration() -> str:
    top = [name for name in Settings.model_fields if field_types(type(getattr(Settings(), name))) is None]
    lines = [
        MADE,
        "# Configuration\n",
        "A TOML file (`--config`, or `cropmark.toml` in the working folder), then environment variables, then the command",
        "line; the later wins. `cropmark config show` tells every value and where it came from, `cropmark config check`",
        "every mistake with its line.\n",
        "| setting | variable | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for name in top:
        info = Settings.model_fields[name]
        variable = f"{PREFIX}{name.upper()}"
        told = f"`{variable}`" if variable in environment_variables() else "–"
        lines.append(f"| `{name}` | {told} | {_default(info.default)} | {_cell(info.description or '')} |")
    lines.append(BUCKET)
    for name, info in Settings.model_fields.items():
        if name in top:
            continue
        lines += [
            f"\n## `[{name}]`\n",
            f"{info.description}\n",
            "| setting | variable | default | meaning |",
            "| --- | --- | --- | --- |",
        ]
        meanings = _meanings(type(info.default))
        for f in dataclasses.fields(info.default):
            value = getattr(info.default, f.name)
            words = (
                f" ({' · '.join(f'`{format_value(one)}`' for one in type(value))})" if isinstance(value, Enum) else ""
            )
            variable = f"{PREFIX}{name.upper()}__{f.name.upper()}"
            lines.append(f"| `{f.name}` | `{variable}` | {_default(value)}{words} | {_cell(meanings[f.name])} |")
    lines += [
        "\n## `[[site]]`\n",
        f"{SiteSettings.__doc__}\n",
        "| setting | default | meaning |",
        "| --- | --- | --- |",
    ]
    for name, info in SiteSettings.model_fields.items():
        default = "needed" if info.is_required() else _default(info.get_default(call_default_factory=True))
        lines.append(f"| `{name}` | {default} | {_cell(info.description or '')} |")
    return "\n".join(lines) + "\n"


def _meanings(section: type) -> dict[str, str]:
    """The docstring under each field of a section of settings, all of which have one."""
    (body,) = ast.parse(inspect.getsource(section)).body
    assert isinstance(body, ast.ClassDef)
    return {
        name: " ".join(about.split())
        for field, text in pairwise(body.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr)
        for name, about in [(field.target.id, ast.literal_eval(text.value))]
    }


def _default(value: Any) -> str:
    text = format_value(value)
    return f"`{_code(text)}`" if text not in ("", "-", "{}") else "–"


def _cli() -> str:
    parts = [MADE, "# Command line\n"]
    names = ("cropmark", *_commands(get_command(cli.app), "cropmark"))
    parts += [f"## `{name}`\n\n```\n{_help(name.split()[1:])}\n```\n" for name in names]
    return "\n".join(parts)


def _commands(command: Any, words: str) -> Iterator[str]:
    """Every command, with the groups that it is in before it."""
    inner = getattr(command, "commands", {})
    for name, one in inner.items():
        yield from _commands(one, f"{words} {name}")
    if not inner:
        yield words


def _help(words: list[str]) -> str:
    cli.app.rich_markup_mode = None
    told = CliRunner().invoke(
        cli.app, [*words, "--help"], env={"COLUMNS": "100", "TERMINAL_WIDTH": "100"}, prog_name="cropmark"
    )
    return "\n".join(line.rstrip() for line in told.output.strip().splitlines())


def _errors() -> str:
    lines = [
        MADE,
        "# Errors\n",
        "What went wrong, by code, with the status that it has before a dialect gives it its own (the dialects' pages and",
        "`Accept: application/json` show those). A body names the parameter, what was expected, what came, and the mend.\n",
        "| code | status | kind | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for code, kind in sorted(PROBLEMS_BY_CODE.items()):
        parent = kind.__mro__[1].__name__
        about = (kind.__doc__ or "").strip().splitlines()
        lines.append(f"| `{code}` | {kind.status} | {kind.__name__} < {parent} | {about[0] if about else ''} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    check = "--check" in sys.argv[1:]
    stale = []
    for name, text in documents():
        path = ROOT / "docs" / name
        if path.is_file() and path.read_text("utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    for name in stale:
        print(f"docs/{name} {'is not up to date: run make docs' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
