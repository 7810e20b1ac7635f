"""Writes the HTML report of a replay, with the worst images of both servers side by side.

The report is one file without scripts, which loads nothing. Its images are requested again, and a renderer makes small
copies of them, so that the report contains no bytes from a server.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from html import escape
from typing import Final

from cropmark.model.formats import Format
from cropmark.model.problems import Problem
from cropmark.model.values import Pixels
from cropmark.plan.plan import EncodingChoice, Output, Plan
from cropmark.plan.steps import Resize
from cropmark.ports import Rendered
from cropmark.renderers.pool import Pool
from cropmark.replay.fetch import FetchedBody, new_session
from cropmark.replay.results import Outcome, ReplayOptions, UrlResult
from cropmark.replay.run import fetch_both, urls_of
from cropmark.replay.summary import PatternSummary, Summary
from cropmark.replay.targets import ReadLog, ReplayTarget

MAX_PATTERNS: Final = 200
MAX_FAILURES: Final = 500
_WIDTH: Final = 480
_SMALL: Final = Plan((Resize(Pixels(Fraction(_WIDTH)), None),), Output((EncodingChoice(Format.WEBP),)))


@dataclass(frozen=True, slots=True)
class ShownPair:
    """A URL in the report with the images of the new server (`here`) and of the old one (`there`), as WebP.

    None: the server did not send an image.
    """

    result: UrlResult
    here: bytes | None
    there: bytes | None


async def draw_pairs(results: Sequence[UrlResult], options: ReplayOptions, pool: Pool) -> tuple[ShownPair, ...]:
    """Request the images of the results again from both servers, and make small copies of them for the report."""
    pairs = []
    async with new_session() as session:
        for result in results:
            with ExitStack() as stack:
                target = ReplayTarget(result.target, result.host, result.requests)
                here, there = await fetch_both(session, target, options, stack)
                pairs.append(ShownPair(result, await _small(here, pool), await _small(there, pool)))
    return tuple(pairs)


async def _small(response: FetchedBody | str | None, pool: Pool) -> bytes | None:
    if not isinstance(response, FetchedBody) or response.status != 200 or not response.source.bytes:
        return None
    try:
        drawn = await pool.render([response.source], _SMALL, untrusted=True)
    except Problem:
        return None
    return drawn.body if isinstance(drawn, Rendered) else None


# ------------------------------------------------------------------------------------------------ HTML

_HEAD: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>cropmark replay</title>
<style>
:root { color-scheme: light dark; --line: #8884; --good: #2a7d46; --bad: #c0392b; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 0 auto; padding: 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
.facts { display: flex; flex-wrap: wrap; gap: .75rem; padding: 0; list-style: none; }
.facts li { border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .9rem; }
.facts b { display: block; font-size: 1.5rem; }
.good b, td.good { color: var(--good); } .bad b, td.bad { color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
code { font-size: .875rem; overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; border-top: 1px solid var(--line); padding: 1rem 0; }
.pair header { grid-column: 1 / -1; } figure { margin: 0; } figcaption { font-size: .875rem; overflow-wrap: anywhere; }
.pair img { max-width: 100%; background: repeating-conic-gradient(#8883 0 25%, #0000 0 50%) 0 0 / 1rem 1rem; }
.none { border: 1px dashed var(--line); padding: 2rem 1rem; text-align: center; }
</style>
"""


def html_report(
    log: ReadLog, options: ReplayOptions, summary: Summary, pairs: Sequence[ShownPair], failures: Sequence[UrlResult]
) -> str:
    """The report as one HTML file."""
    against = f" compared with <code>{escape(options.against)}</code>" if options.against else ""
    parts = [
        _HEAD,
        f"<h1>Replay on <code>{escape(options.server)}</code>{against}</h1>",
        _facts(log, options, summary),
        _pattern_table(summary.patterns),
        _pairs(pairs, options),
        _failure_table(failures),
        "</html>\n",
    ]
    return "\n".join(parts)


def _facts(log: ReadLog, options: ReplayOptions, summary: Summary) -> str:
    requests = dict(summary.requests)
    tiles = [
        f'<li class="{"good" if outcome.is_good else "bad"}"><b>{count:,}</b>{escape(outcome.value)}<br>'
        f"<small>{requests[outcome]:,} requests</small></li>"
        for outcome, count in summary.urls
    ]
    skipped = "; ".join(f"{count:,} {reason}" for reason, count in log.skipped)
    unused = f" Not used: {escape(skipped)}." if skipped else ""
    accept = f" Accept header: <code>{escape(options.accept)}</code>." if options.accept else ""
    return (
        f"<p>{100 * summary.good_share:.2f} % of the log's image requests are for images that are identical or "
        f"visually equal: the mean difference of the pixels is at most {options.tolerance:g} of 255.{accept}</p>"
        f'<ul class="facts">{"".join(tiles)}</ul>'
        f"<p>{log.lines:,} lines, {len(log.targets):,} distinct image URLs.{unused}</p>"
    )


def _pattern_table(patterns: Sequence[PatternSummary]) -> str:
    rows = [_pattern_row(pattern) for pattern in patterns[:MAX_PATTERNS]]
    more = len(patterns) - MAX_PATTERNS
    note = f"<p>{more:,} more patterns are in results.jsonl.</p>" if more > 0 else ""
    return (
        '<h2>By parameters</h2><div class="scroll"><table><tr><th>parameters<th class="number">URLs'
        '<th class="number">requests<th>outcome<th class="number">largest mean difference<th>example</tr>'
        f"{''.join(rows)}</table></div>{note}"
    )


def _pattern_row(pattern: PatternSummary) -> str:
    outcomes = "<br>".join(f"{count:,} {escape(outcome.value)}" for outcome, count in pattern.outcomes)
    mean = "" if pattern.mean is None else f"{pattern.mean:.2f}"
    return (
        f'<tr><td><code>{escape(pattern.pattern)}</code><td class="number">{pattern.urls:,}<td class="number">'
        f'{pattern.requests:,}<td class="{"bad" if pattern.bad else "good"}">{outcomes}<td class="number">{mean}'
        f"<td><code>{escape(pattern.example)}</code></tr>"
    )


def _pairs(pairs: Sequence[ShownPair], options: ReplayOptions) -> str:
    if not pairs:
        return ""
    return "<h2>The worst, side by side</h2>" + "".join(_pair(pair, options) for pair in pairs)


def _pair(pair: ShownPair, options: ReplayOptions) -> str:
    result = pair.result
    here, there = urls_of(ReplayTarget(result.target, result.host, result.requests), options)
    psnr = "" if result.psnr_db is None else f", PSNR {result.psnr_db:.1f} dB"
    mean = "" if result.mean is None else f": mean difference {result.mean:.2f} of 255{psnr}"
    return (
        f'<section class="pair"><header><b>{escape(result.outcome.value)}</b>{mean}, {result.requests:,} '
        f"{'request' if result.requests == 1 else 'requests'}</header>"
        f"{_figure('there', there or '', result.there, pair.there)}"
        f"{_figure('here', here, result.here, pair.here)}</section>"
    )


def _figure(name: str, url: str, facts: str, body: bytes | None) -> str:
    image = (
        f'<img alt="{name}" src="data:image/webp;base64,{b64encode(body).decode()}">'
        if body is not None
        else '<div class="none">no image</div>'
    )
    return f"<figure>{image}<figcaption>{name}: {escape(facts)}<br><code>{escape(url)}</code></figcaption></figure>"


def failures_of(results: Iterable[UrlResult]) -> tuple[UrlResult, ...]:
    """The results of URLs for which a server has no image, the most requested URL first."""
    failed = [one for one in results if one.outcome in (Outcome.MISSING, Outcome.ERROR, Outcome.FAILED_THERE)]
    return tuple(sorted(failed, key=lambda one: -one.requests))


def _failure_table(failures: Sequence[UrlResult]) -> str:
    if not failures:
        return ""
    rows = [
        f'<tr><td><code>{escape(one.key)}</code><td class="number">{one.requests:,}<td class="bad">'
        f"{escape(one.outcome.value)}<td>{escape(one.there)}<td>{escape(one.here)}</tr>"
        for one in failures[:MAX_FAILURES]
    ]
    more = len(failures) - MAX_FAILURES
    note = f"<p>{more:,} more are in results.jsonl.</p>" if more > 0 else ""
    return (
        '<h2>Missing and failed</h2><div class="scroll"><table><tr><th>URL<th class="number">requests<th>outcome'
        f"<th>there<th>here</tr>{''.join(rows)}</table></div>{note}"
    )
