"""The result of reading each parameter of a request: understood, changed, ignored, refused, unknown, or its default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from cropmark.dialects import grammar, registry
from cropmark.dialects.dialect import ImageRequest, ParameterDoc
from cropmark.explanation.explain import Explanation
from cropmark.model.problems import Problem


class Reading(Enum):
    """The result of reading a parameter."""

    UNDERSTOOD = "understood"
    CHANGED = "understood, changed"
    IGNORED = "ignored"
    REFUSED = "refused"
    UNKNOWN = "not a parameter"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class ParameterReading:
    """A parameter with its text in the request, or with its default, and the result of reading it."""

    name: str
    text: str
    reading: Reading
    note: str
    """A warning, a suggestion or the fix; the parameter's description if it was understood or has its default."""
    doc: ParameterDoc | None = None


def parameter_readings(explanation: Explanation, request: ImageRequest) -> tuple[ParameterReading, ...]:
    """The parameters of the request in order, then the dialect's other parameters with their defaults."""
    docs = {doc.name: doc for doc in registry.entry(explanation.dialect).cls.params}
    texts = _texts(request)
    given = tuple(_given(name, text, docs.get(name), explanation) for name, text in texts.items())
    absent = (
        ParameterReading(doc.name, doc.default, Reading.DEFAULT, doc.about, doc)
        for doc in docs.values()
        if doc.name not in texts
    )
    return (*given, *absent)


def _texts(request: ImageRequest) -> Mapping[str, str]:
    try:
        return grammar.query_values(request.query)
    except Problem:  # too long: the dialect reports it
        return {}


def _given(name: str, text: str, doc: ParameterDoc | None, explanation: Explanation) -> ParameterReading:
    problem, notes = explanation.problem, tuple(_notes(name, explanation))
    if problem is not None and problem.parameter == name:
        return ParameterReading(name, text, Reading.REFUSED, f"{problem.detail}. {problem.fix}", doc)
    if doc is None and name not in registry.entry(explanation.dialect).parameter_names:
        return ParameterReading(name, text, Reading.UNKNOWN, "; ".join(notes) or "it changes nothing")
    if grammar.is_blank(text):
        return ParameterReading(name, text, Reading.IGNORED, "it has no value", doc)
    if any(note.startswith("ignored") for note in notes):
        return ParameterReading(name, text, Reading.IGNORED, "; ".join(notes), doc)
    if notes:
        return ParameterReading(name, text, Reading.CHANGED, "; ".join(notes), doc)
    return ParameterReading(name, text, Reading.UNDERSTOOD, doc.about if doc else "", doc)


def _notes(name: str, explanation: Explanation) -> Iterator[str]:
    """The texts of the warnings and hints about this parameter."""
    if explanation.order is None:
        return
    warnings = (*explanation.order.warnings, *explanation.order.hints)
    resolved = getattr(explanation.resolved, "warnings", ())
    yield from (warning.text for warning in (*warnings, *resolved) if warning.parameter == name)
