"""cropmark render, explain and info: commands for one image, without a server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.tree import Tree

from cropmark.cli.options import ConfigFile, DialectName, err, fail, out, read_settings

if TYPE_CHECKING:
    from cropmark.dialects.dialect import ImageRequest
    from cropmark.explanation import Explanation
    from cropmark.plan.plan import Order

Query = Annotated[str, typer.Argument(help="The query of a URL: the text after its question mark.")]
STANDARD_OUTPUT = Path("-")
Accept = Annotated[str, typer.Option(help="The client's Accept header.")]


def render(
    source: Annotated[Path, typer.Argument(help="The image file.")],
    query: Query,
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write; - is standard output.")],
    dialect: DialectName = "fastly",
    accept: Accept = "",
    config: ConfigFile = None,
) -> None:
    """Render one image without a server."""
    from cropmark import api

    settings = read_settings(config)
    image = api.render(source, query, dialect=dialect, accept=accept, suffix=output.suffix, settings=settings)
    _write(output, image.body, "-o")
    for warning in image.warnings:
        err.print(f"[yellow]warning:[/] {escape(warning)}", highlight=False)
    size = f"{image.size}, " if image.size else ""
    # A pipe may lead to our own standard output, where nothing may follow the image.
    console = out if output.is_file() else err
    target = "standard output" if output == STANDARD_OUTPUT else output
    console.print(
        f"{target}: {size}{image.media_type}, {len(image.body):,} bytes",
        highlight=False,
        markup=False,
    )


def explain(
    query: Query,
    dialect: DialectName = "fastly",
    source: Annotated[
        Path | None, typer.Option(help="An image: also prints the recipe for it, from the image's header.")
    ] = None,
    accept: Accept = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a tree.")] = False,
    draw: Annotated[
        Path | None,
        typer.Option(help="Also write this PNG: the source with faces, saliency and the smart crop's window."),
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Explain a query: its parameters, the steps, and the format of the result."""
    from cropmark import api
    from cropmark.dialects.dialect import ImageRequest

    settings = read_settings(config)
    explanation = api.explain(query, dialect=dialect, source=source, accept=accept, settings=settings)
    if as_json:
        out.print_json(json.dumps(explanation.to_json()))
    else:
        out.print(_tree(explanation, ImageRequest("", query.removeprefix("?"))))
    if explanation.problem is not None:
        raise SystemExit(1)
    if draw is not None:
        if source is None:
            fail("--draw needs an image | name it with --source", 2)
        _write(draw, api.draw(source, query, dialect=dialect, settings=settings), "--draw")


def info(
    source: Annotated[Path, typer.Argument(help="The image file.")],
    config: ConfigFile = None,
) -> None:
    """Print facts about an image as JSON: size, colors, faces, focal point and placeholders."""
    from cropmark import api

    out.print_json(json.dumps(api.info(source, settings=read_settings(config))))


def _write(path: Path, body: bytes, option: str) -> None:
    from cropmark import api

    if path == STANDARD_OUTPUT:
        sys.stdout.buffer.write(body)
        return
    try:
        api.write(path, body)
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror} | name another file with {option}")


def _tree(explanation: Explanation, request: ImageRequest) -> Tree:
    """The explanation as a tree, with a line for each parameter and each step."""
    from cropmark.explanation.parameters import Reading, parameter_readings

    query = escape(explanation.query) or "(no query)"
    tree = Tree(f"[bold]{query}[/] in {explanation.dialect}", highlight=False)
    if (problem := explanation.problem) is not None:
        tree.add(f"[red]{problem.status}[/] {escape(problem.detail)}").add(escape(problem.fix))
    readings = parameter_readings(explanation, request)
    given = (f"{r.name}={r.text}: {r.reading.value}. {r.note}" for r in readings if r.reading is not Reading.DEFAULT)
    _add_branch(tree, "parameters", given)
    defaults = (f"{r.name}: {r.text}" for r in readings if r.reading is Reading.DEFAULT)
    _add_branch(tree, "defaults", (", ".join(defaults),))
    if (order := explanation.order) is not None:
        _add_branch(tree, "warnings", map(str, (*order.warnings, *order.hints)))
        _add_result(tree, explanation, order)
        tree.add(f"fingerprint {explanation.fingerprint}", style="dim")
    if explanation.key is not None:
        tree.add(f"key {explanation.key}", style="dim")
    if explanation.cost_ms is not None:
        tree.add(f"about {explanation.cost_ms:g} ms of one core", style="dim")
    return tree


def _add_result(tree: Tree, explanation: Explanation, order: Order) -> None:
    """Add branches for the source, the steps, and the result with the reason for its format.

    Without a source, adds the possible formats in place of the result.
    """
    from cropmark.explanation import words
    from cropmark.geometry.recipe import Recipe

    resolved, infos = explanation.resolved, explanation.infos
    if explanation.media_type is not None:
        tree.add(f"{explanation.media_type}: not an image, sent unchanged")
    if infos and (info := infos[0]) is not None:
        _add_branch(tree, "source", (f"{info.size} px {info.format.value}, {info.bytes:,} bytes",))
    lines = (f"{step.before} to {step.after}: {step}" for step in words.steps_in_words(resolved, infos))
    _add_branch(tree, "steps", lines)
    if isinstance(resolved, Recipe):
        reason = words.describe_choice(order, resolved)
        result = (f"{resolved.size} px, {words.describe_encoding(resolved.encoding)}: {reason}",)
        focus = (f"crop {words.describe_focus(resolved.focus)}",) if resolved.focus else ()
        _add_branch(tree, "result", (*result, *focus, *map(str, resolved.warnings)))
    elif resolved is not None or order.plan is None:
        tree.add(escape(words.describe_choice(order, resolved)))
    elif order.plan is not None:
        formats = (each.format.value if each.format else "the source's" for each in order.plan.output.choices)
        tree.add(f"formats, the preferred one first: {', '.join(formats)}")


def _add_branch(tree: Tree, name: str, lines: Iterable[str]) -> None:
    """Add a branch with the lines that are not empty. Without such a line, add nothing."""
    texts = [escape(line) for line in lines if line]
    if texts:
        branch = tree.add(f"[cyan]{name}[/]")
        for text in texts:
            branch.add(text)
