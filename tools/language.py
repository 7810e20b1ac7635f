"""Lists docstrings, comments, strings and Markdown lines that are not plain technical English.

`python tools/language.py [PATH ...]` prints one line per finding and exits with 1 if there are any; without paths it
reads the whole repository. `--count` prints totals only. The rules are those of STYLE, "Language"; the table below
gives the reason for each. A proper use of a listed word is allowed as a phrase in ALLOWED, never by dropping the word.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern, the reason it is listed, and the words to use instead."""

    name: str
    pattern: re.Pattern[str]
    reason: str
    instead: str


def _rule(name: str, pattern: str, reason: str, instead: str) -> Rule:
    return Rule(name, re.compile(pattern, re.IGNORECASE), reason, instead)


# fmt: off
RULES = (
    _rule("free relative",
          r"\bwhat(ever)?\b(?=,? (is|was|are|were|it|its|he|they|we|you|i|a|an|the|this|that|these|those|one|each|all|may|might|can|cannot|could"
          r"|must|has|have|had|does|do|did|will|would|should|there|no|not|nothing|becomes?|became|makes?|made|comes?|came|goes|went|holds?"
          r"|lies|stands|stays|follows|counts?|needs?|remains|differs?|only|another|others?|clients?|callers?|somebody|people|libvips"
          r"|[a-z]+s)\b)",
          "the reader must work out which thing is meant", "name the thing: the image, the request, the entry"),
    _rule("nameless person",
          r"\b(whoever|whomever|somebody|someone|nobody|no one|anybody|anyone|everybody)\b"
          r"|\bwho (asks?|asked|has|is|may|wants?|reads?|calls?|made|makes|holds?|waits?|comes|gave|knows|does|uses?|writes?|sends?|sees|needs?)\b",
          "software has clients, callers, operators and processes", "the client, the caller, another process; or the passive"),
    _rule("stand, lie",
          r"\b(stands?|stood|standing|lies|lie|lay|lying)\b",
          "a value does not stand or lie anywhere", "is, is stored, is at, holds"),
    _rule("tell",
          r"\b(tells?|telling|told)\b",
          "says neither return, report nor log", "return, report, log, send, show"),
    _rule("keep",
          r"\b(keeps?|keeping|kept)\b",
          "says neither cache, store nor retain", "cache, store, retain, leave unchanged"),
    _rule("is no X",
          r"\b(is|are|was|were|be) (no|none)\b",
          "an archaic negation", "is not a X, is absent, has no X"),
    _rule("beside, behind",
          r"\b(beside|besides|behind)\b",
          "used for next to, after and in addition", "with, after, as well as, next to"),
    _rule("anew, at once, meanwhile",
          r"\b(anew|at once|meanwhile|afresh)\b",
          "ambiguous: immediately, together, or again", "again, immediately, at the same time, in the background"),
    _rule("goes out, comes in",
          r"\b(go|goes|going|went|gone) out\b|\b(come|comes|coming|came) in\b",
          "the direction depends on the reader's position", "is sent, is received, expires"),
    _rule("hear, believe, blame",
          r"\b(hears?|heard|hearing|believes?|believed|blames?|blamed|bury|buried|strangers?)\b",
          "programs receive, trust and quarantine", "receives, trusts, quarantines, reaps, untrusted"),
    _rule("so many, so long",
          r"\b(so many|so long|so much|that many)\b",
          "the quantity is not named", "N, up to N seconds, the limit"),
    _rule("mend",
          r"\b(mends?|mended|mending)\b",
          "one word for one idea", "fix"),
    _rule("may be had, laid, but for",
          r"\b(be had|is had|are had|laid|but for|as it were|for ever|dear|dearer|costly|walls?|ere|lest|thereof|whose)\b",
          "archaic or metaphorical", "is available, drawn on, except, expensive, forever, of which"),
)
"""Patterns that apply to every text."""

OPENING = _rule(
    "opening word",
    r"\A(what|how|whether|where|of|who|whose|which|why|when)\b",
    "a docstring's first line states what the function returns or does",
    "a noun for the value (`The box that …`), a verb for the act (`Store …`), `True if …`",
)
"""Applies to the first word of a docstring."""

ALLOWED = (
    # phrase                                                       why it is proper
    (r"\bkeep-?alives?\b",                                         "HTTP's own term"),
    (r"\bstale-while-revalidate\b",                                "HTTP's own term"),
    (r"\bkeep(s|ing)? (its|the|their) (aspect ratio|shape|proportions|order)\b", "the image term"),
    (r"\baspect ratio is kept\b",                                  "the image term"),
    (r"\bstands? for\b",                                           "in a table of codes or abbreviations"),
    (r"\bwrite-behind\b",                                          "the cache term"),
    (r"\bbehind (a|an|the|one|its|your|two|nginx|Varnish|Cloudflare|Fastly|CDNs?|prox(y|ies)|load balancers?)\b[ a-z]*",
                                                                   "network topology: behind a proxy, a CDN, a balancer"),
    (r"\bis no longer\b|\bare no longer\b|\bwas no longer\b|\bbe no longer\b", "plain English for a state that ended"),
    (r"\b(is|are|be) no (more|less|fewer|larger|smaller|greater|longer|later|earlier|older|wider|taller|higher|lower|slower|faster|better|worse|different)\b( than)?",
                                                                   "a comparison"),
    (r"\bso long as\b",                                            "a condition"),
    (r"\bWhat's (new|changed)\b",                                  "a heading"),
    (r"\bcrop region lies outside the image\b",                   "Fastly's own warning text"),
)
"""Phrases with a listed word that stay, with the reason."""
# fmt: on

_ALLOWED = re.compile("|".join(f"(?:{pattern})" for pattern, _ in ALLOWED), re.IGNORECASE)
_CODE = re.compile(r"``[^`]*``|`[^`]*`|\]\([^)]*\)|https?://\S+|\"[^\"]{0,40}\"")
_EXCLUDED = re.compile(
    r"tests/conformance/cases/|tests/data/|/node_modules/|\.venv|\.peers/|^build/|^LICENSE|examples/images/CREDITS|tools/language\.py|tests/tools/"
)


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text: `kind` is docstring, comment, string or markdown."""

    path: str
    line: int
    kind: str
    text: str


def texts_of(path: Path) -> Iterator[Text]:
    """Every docstring, comment and prose string of a Python file, or every line of a Markdown file."""
    name = path.resolve().relative_to(ROOT).as_posix() if path.resolve().is_relative_to(ROOT) else path.as_posix()
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        yield from _markdown(name, source)
    else:
        yield from _python(name, source)


def _markdown(name: str, source: str) -> Iterator[Text]:
    fenced = False
    for number, line in enumerate(source.splitlines(), 1):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        elif not fenced and line.strip():
            yield Text(name, number, "markdown", line)


def _python(name: str, source: str) -> Iterator[Text]:
    tree = ast.parse(source)
    docstrings = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for statement in body:  # also the strings under a constant or a field, which document it
            if isinstance(statement, ast.Expr) and _is_text(statement.value):
                docstrings.add(id(statement.value))
                yield Text(name, statement.lineno, "docstring", str(statement.value.value))  # type: ignore[attr-defined]  # _is_text
    for node in ast.walk(tree):
        if _is_text(node) and id(node) not in docstrings and _is_prose(str(node.value)):  # type: ignore[attr-defined]  # _is_text
            yield Text(name, node.lineno, "string", str(node.value))  # type: ignore[attr-defined]  # _is_text
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Text(name, token.start[0], "comment", token.string.lstrip("#! "))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_prose(text: str) -> bool:
    """True for text that people read: three words or more, and no code, SQL or markup."""
    words = re.findall(r"[A-Za-z]{2,}", text)
    return (
        len(words) >= 3 and " " in text and not re.search(r"^\s*(SELECT|import|from|def|class|<)|[{};]\s*$|\n.*=", text)
    )


def findings_of(text: Text) -> list[tuple[Rule, str]]:
    """Each rule that the text breaks, with the words that break it."""
    plain = _ALLOWED.sub(" ", _CODE.sub(" code ", text.text))
    found = [(rule, match[0]) for rule in RULES if (match := rule.pattern.search(plain))]
    if text.kind == "docstring" and (match := OPENING.pattern.search(text.text.strip())):
        found.append((OPENING, match[0]))
    return found


def files_of(paths: list[Path]) -> Iterator[Path]:
    """The Python and Markdown files below the paths, without material that was handed over as it is."""
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            name = (
                file.resolve().relative_to(ROOT).as_posix() if file.resolve().is_relative_to(ROOT) else file.as_posix()
            )
            if file.suffix in (".py", ".md") and not _EXCLUDED.search(name):
                yield file


def main(arguments: list[str]) -> int:
    """Print the findings; the exit status is 1 if there are any."""
    count_only = "--count" in arguments
    paths = [Path(argument) for argument in arguments if not argument.startswith("-")]
    totals: Counter[str] = Counter()
    for file in files_of(paths or [ROOT]):
        for text in texts_of(file):
            found = findings_of(text)
            if not found:
                continue
            totals[text.kind] += 1
            if not count_only:
                rules = "; ".join(f"{rule.name} ({words!r} → {rule.instead})" for rule, words in found)
                print(f"{text.path}:{text.line}: {text.kind}: {rules}: {' '.join(text.text.split())[:120]}")
    if totals:
        print("not plain English: " + ", ".join(f"{n} {kind}s" for kind, n in sorted(totals.items())), file=sys.stderr)
    return 1 if totals else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
