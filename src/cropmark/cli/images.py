"""cropmark render and explain: one image without a server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.tree import Tree

from cropmark.cli.options import ConfigFile, DialectName, err, fail, out, read_settings

if TYPE_CHECKING:
    from cropmark.explanation import Explanation

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
    """Explain a query step by step."""
    from cropmark import api

    settings = read_settings(config)
    explanation = api.explain(query, dialect=dialect, source=source, accept=accept, settings=settings)
    if as_json:
        out.print_json(json.dumps(explanation.to_json()))
    else:
        out.print(_tree(explanation))
    if explanation.problem is not None:
        raise SystemExit(1)
    if draw is not None:
        if source is None:
            fail("--draw needs an image | name it with --source", 2)
        _write(draw, api.draw(source, query, dialect=dialect, settings=settings), "--draw")


def _write(path: Path, body: bytes, option: str) -> None:
    from cropmark import api

    if path == STANDARD_OUTPUT:
        sys.stdout.buffer.write(body)
        return
    try:
        api.write(path, body)
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror} | name another file with {option}")


def _tree(explanation: Explanation) -> Tree:
    """The explanation as a tree with a line per Step and per Op."""
    query = escape(explanation.query) or "(no query)"
    tree = Tree(f"[bold]{query}[/] in {explanation.dialect}", highlight=False)
    if (problem := explanation.problem) is not None:
        tree.add(f"[red]{problem.status}[/] {escape(problem.detail)}").add(escape(problem.fix))
    if (order := explanation.order) is not None:
        _add_branch(tree, "sources", order.sources)
        if order.plan is None:
            tree.add("the original, byte for byte")
        else:
            _add_branch(tree, "steps", order.plan.steps)
            _add_branch(tree, "acceptable encodings, the preferred one first", order.plan.output.choices)
        _add_branch(tree, "warnings", map(str, (*order.warnings, *order.hints)))
        tree.add(f"fingerprint {explanation.fingerprint}", style="dim")
    _add_branch(tree, "headers", explanation.infos)
    _add_resolved(tree, explanation.resolved)
    if explanation.key is not None:
        tree.add(f"key {explanation.key}", style="dim")
    if explanation.cost_ms is not None:
        tree.add(f"about {explanation.cost_ms:g} ms of one core", style="dim")
    return tree


def _add_resolved(tree: Tree, resolved: Any) -> None:  # one of geometry's results, or None
    from cropmark.explanation import summarize
    from cropmark.geometry.recipe import Recipe

    match resolved:
        case Recipe() as recipe:
            ops = _add_branch(tree, f"recipe, {recipe.size}", recipe.ops) or tree.add("recipe: only encoding")
            ops.add(escape(summarize(recipe.encoding)))
            _add_branch(tree, "warnings", map(str, recipe.warnings))
            if recipe.focus:
                tree.add(f"crop window placed by {escape(recipe.focus)}")
        case None:
            pass
        case _:
            tree.add(escape(summarize(resolved)))


def _add_branch(tree: Tree, name: str, values: Iterable[Any]) -> Tree | None:
    from cropmark.explanation import summarize

    lines = [escape(value if isinstance(value, str) else summarize(value)) for value in values if value is not None]
    if not lines:
        return None
    branch = tree.add(f"[cyan]{name}[/]")
    for line in lines:
        branch.add(line)
    return branch
