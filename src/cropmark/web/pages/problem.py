"""The error page for browsers in development: the error, its fix, and links."""

from __future__ import annotations

from html import escape
from http import HTTPStatus
from urllib.parse import quote

from cropmark.dialects import registry
from cropmark.dialects.dialect import ParameterDoc
from cropmark.model.problems import Problem
from cropmark.web.pages.layout import document


def page(problem: Problem, status: int, *, dialect: str | None, url: str) -> str:
    """The page as HTML. `url` is the path and query of the request.

    `dialect` is the name of the dialect of its site; None if the request belongs to no site.
    """
    phrase = HTTPStatus(status).phrase
    fix = f"<p><strong>Fix:</strong> {escape(problem.fix)}</p>" if problem.fix else ""
    links = "".join(f"<li>{link}</li>" for link in _links(problem, dialect, url))
    return document(
        f"{status} {phrase}",
        f"""<main class="narrow"><h1>{status} {escape(phrase)}</h1>
<p class="problem">{escape(problem.detail)}</p>{fix}
<p>Requested: <code>{escape(url)}</code></p>
<ul>{links}</ul>
<p class="quiet">Only a browser's navigation to a server in development gets this page. Every other request gets the
error as the service sends it.</p></main>""",
    )


def _links(problem: Problem, dialect: str | None, url: str) -> list[str]:
    links = []
    doc = dialect and _doc(dialect, problem.parameter)
    if doc:
        text = f"Documentation of <code>{escape(doc.name)}</code>"
        links.append(f'<a href="{escape(doc.source)}">{text}</a>: <code>{escape(doc.grammar)}</code>')
    if dialect:
        links.append(f'<a href="/_explain?url={quote(url, safe="")}">Explain this URL</a>, parameter by parameter')
        links.append(f'<a href="/_playground#{escape(quote(url, safe="/?&=,:;@+$!*%"))}">Open it in the playground</a>')
    return [*links, '<a href="/">Start page</a>']


def _doc(dialect: str, parameter: str | None) -> ParameterDoc | None:
    return next((doc for doc in registry.entry(dialect).cls.params if doc.name == parameter), None)
