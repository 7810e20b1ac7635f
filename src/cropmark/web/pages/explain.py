"""The page that explains a URL: its parameters, its steps with drawings, the format, the cache and the cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import zip_longest
from urllib.parse import quote

from cropmark.dialects.dialect import ImageRequest
from cropmark.explanation import Explanation, step_counts
from cropmark.explanation.explain import PICTURE
from cropmark.explanation.parameters import ParameterReading, Reading, parameter_readings
from cropmark.explanation.words import (
    describe_choice,
    describe_encoding,
    describe_focus,
    steps_in_words,
    without_type_names,
)
from cropmark.geometry.recipe import Recipe
from cropmark.model.values import Size
from cropmark.pipeline import Delivered
from cropmark.translation import Translation
from cropmark.web.pages.drawing import frame_drawing, step_drawing
from cropmark.web.pages.layout import document


@dataclass(frozen=True, slots=True)
class ExplainedUrl:
    """The data of the page. `delivered` is the result of the explained request, None if the request fails."""

    url: str
    link: str
    """Path and query of the URL on this server."""
    request: ImageRequest
    explanation: Explanation
    delivered: Delivered | None
    translations: Sequence[Translation] = ()


def page(told: ExplainedUrl) -> str:
    """The page as HTML."""
    parts = (
        _problem(told),
        _result(told),
        _parameters(parameter_readings(told.explanation, told.request)),
        _steps(told),
        _smart_crop(told),
        _format(told.explanation),
        _costs(told),
        _translations(told.translations),
    )
    return document(
        "Why this image?",
        f"""<main><h1>Why this image?</h1>
<p class="url"><a href="{escape(told.link)}"><code>{escape(told.url)}</code></a></p>
{"".join(parts)}
<p><a href="/_explain?format=json&amp;url={quote(told.link, safe="")}">This explanation as JSON</a> ·
<a href="/_playground#{escape(quote(told.link, safe="/?&=,:;@+$!*%"))}">Open in the playground</a></p></main>""",
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>" if body else ""


def _problem(told: ExplainedUrl) -> str:
    problem, response = told.explanation.problem, told.explanation.response
    if problem is not None:
        return (
            f'<p class="problem"><strong>{problem.status}:</strong> {escape(problem.detail)}</p>'
            f"<p><strong>Fix:</strong> {escape(problem.fix)}</p>"
        )
    if response is not None:
        where = "".join(f"{escape(name)}: {escape(value)}" for name, value in response.headers)
        return f"<p>The service responds with status {response.status} and no image. {where}</p>"
    return ""


def _result(told: ExplainedUrl) -> str:
    delivered = told.delivered
    if delivered is None:
        return ""
    record = delivered.record
    source, size = record.facts.source, record.facts.size
    words = [f"{record.length:,} bytes", record.media_type, f"{size} px" if size else ""]
    if source is not None and source.bytes:
        saved = 1 - record.length / source.bytes
        words.append(f"{abs(saved):.0%} {'smaller' if saved >= 0 else 'larger'} than the source")
        words.append(f"from {source.size} px {source.format.value.upper()}, {source.bytes:,} bytes")
    image = ""
    if record.media_type.startswith("image/"):
        image = f'<img class="preview" src="{escape(told.link)}" alt="The image at this URL">'
    return f"<p>{escape(', '.join(filter(None, words)))}</p>{image}"


def _parameters(rows: Iterable[ParameterReading]) -> str:
    rows = tuple(rows)
    given = "".join(_row(row) for row in rows if row.reading is not Reading.DEFAULT)
    absent = tuple(row for row in rows if row.reading is Reading.DEFAULT)
    table = _table(("Parameter", "Value", "Reading", "Note"), given) if given else "<p>The query has no parameters.</p>"
    defaults = _table(("Parameter", "Default", "Effect"), "".join(_default_row(row) for row in absent))
    more = f"<details><summary>{len(absent)} parameters with their defaults</summary>{defaults}</details>"
    return _section("Parameters", table + more * bool(absent))


def _table(heads: Sequence[str], rows: str) -> str:
    cells = "".join(f'<th scope="col">{head}</th>' for head in heads)
    return (
        f'<div class="scroll" role="region" aria-label="{heads[0]}s: {", ".join(heads[1:]).lower()}" tabindex="0">'
        f"<table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(row: ParameterReading) -> str:
    kind = row.reading.name.lower()
    return (
        f'<tr><th scope="row">{_name(row)}</th><td><code>{escape(row.text)}</code></td>'
        f'<td><span class="reading {kind}">{row.reading.value}</span></td><td>{_prose(row.note)}</td></tr>'
    )


def _default_row(row: ParameterReading) -> str:
    return f'<tr><th scope="row">{_name(row)}</th><td>{_prose(row.text)}</td><td>{_prose(row.note)}</td></tr>'


def _prose(text: str) -> str:
    """The text as HTML. Words in backticks become <code> elements."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))


def _name(row: ParameterReading) -> str:
    name = f"<code>{escape(row.name)}</code>"
    return f'<a href="{escape(row.doc.source)}">{name}</a>' if row.doc else name


def _steps(told: ExplainedUrl) -> str:
    """The section about the operations: each in words, with a drawing and a picture of the resulting frame."""
    explanation, infos = told.explanation, told.explanation.infos
    if not infos or infos[0] is None:
        return ""
    info = infos[0]
    turned = ", turned upright" if info.orientation > 1 else ""
    words = f"The source: {info.size} px {info.format.value.upper()}{turned}"
    start = f"<li>{_picture(told, 0, info.size)}<p>{words}</p>{frame_drawing(info.size)}</li>"
    shown = zip_longest(steps_in_words(explanation.resolved, infos), step_counts(explanation))
    steps = "".join(
        f"<li>{_picture(told, count, step.after)}<p>{escape(str(step).capitalize())}<br>"
        f'<span class="quiet">{step.before} → {step.after} px</span></p>{step_drawing(step)}</li>'
        for step, count in shown
    )
    return _section("Steps", f'<ol class="steps">{start}{steps}</ol>')


def _picture(told: ExplainedUrl, count: int | None, size: Size) -> str:
    """The <img> of the frame after `count` steps; empty for None, or if the explained request fails.

    `size` is the size of that frame.
    """
    if count is None or told.delivered is None:
        return ""
    scale = min(1, PICTURE.width / size.width, PICTURE.height / size.height)
    width, height = (max(1, round(side * scale)) for side in (size.width, size.height))
    source = f"/_explain.png?step={count}&amp;url={quote(told.link, safe='')}"
    alt = f"The frame after step {count}" if count else "The source"
    return f'<img src="{source}" width="{width}" height="{height}" loading="lazy" alt="{alt}">'


def _format(explanation: Explanation) -> str:
    order, resolved = explanation.order, explanation.resolved
    if order is None or (resolved is None and order.plan is not None):
        return ""
    reason = escape(describe_choice(order, resolved))
    if not isinstance(resolved, Recipe):
        return _section("Format", f"<p>{reason[:1].upper()}{reason[1:]}.</p>")
    return _section("Format", f"<p>{escape(describe_encoding(resolved.encoding))}: {reason}.</p>")


def _smart_crop(told: ExplainedUrl) -> str:
    """The section about a smart crop: its placement in words, and a drawing of the faces and the subject.

    Empty if the request has no smart crop.
    """
    resolved = told.explanation.resolved
    if not isinstance(resolved, Recipe) or not resolved.focus:
        return ""
    words = f"<p>The crop is {escape(describe_focus(resolved.focus))}.</p>"
    if resolved.focus.startswith("center"):
        return _section("Smart crop", words)
    drawing = (
        f'<img class="preview" src="/_explain.png?url={quote(told.link, safe="")}" alt="The source with its faces">'
    )
    legend = '<p class="quiet">Green: faces. Pink: the subject. Dark: cut off.</p>'
    return _section("Smart crop", f"{words}{drawing}{legend}")


def _costs(told: ExplainedUrl) -> str:
    explanation, delivered = told.explanation, told.delivered
    if explanation.key is None:
        return ""
    rows = [("Cache key", f"<code>{explanation.key}</code>")]
    if explanation.cost_ms is not None:
        rows.append(("Estimated cost", f"{explanation.cost_ms:g} ms of one core"))
    if delivered is not None:
        rows.append(("This time", escape(delivered.cache_status.replace("-", ", from "))))
        rows += [(name.capitalize(), f"{ms:.1f} ms") for name, ms in delivered.timing.stages]
    return _section("Cache and time", f"<dl>{''.join(f'<dt>{name}</dt><dd>{text}</dd>' for name, text in rows)}</dl>")


def _translations(translations: Sequence[Translation]) -> str:
    items = "".join(_translation(each) for each in translations)
    return _section("In other services", f"<dl>{items}</dl>" if items else "")


def _translation(each: Translation) -> str:
    if each.query is None:
        query = "<em>cannot be expressed</em>"
    else:
        endpoint = f"{each.query.endpoint}: " if each.query.endpoint else ""
        query = f"<code>{escape(endpoint + each.query.text)}</code>"
    differences = "".join(f"<li>{escape(without_type_names(text))}</li>" for text in each.differs)
    notes = f"<ul>{differences}</ul>" if differences else " (equivalent)"
    return f"<dt>{escape(each.dialect)}</dt><dd>{query}{notes}</dd>"
