"""The table of a dialect's parameters: each has its documentation and its reader; parse_params() reads them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from cropmark.dialects.dialect import ParameterDoc
from cropmark.dialects.grammar import UnknownWord
from cropmark.model.problems import BadValue
from cropmark.plan.plan import RequestWarning

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class ParsedParams:
    """The values of a query's parameters by name, and a warning for each value that was ignored."""

    values: Mapping[str, object]
    warnings: tuple[RequestWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class Parameter(Generic[T_co]):
    """A parameter: its documentation, and the reader that turns its text into a value."""

    doc: ParameterDoc
    read: Callable[[str, str], T_co]
    """Called with the parameter's name and its text. Raises BadValue."""
    ignores_unknown: bool = False
    """True if an unknown word is ignored with a warning."""

    @property
    def name(self) -> str:
        return self.doc.name

    def of(self, parsed: ParsedParams) -> T_co | None:
        """This parameter's value; None if it is absent or was ignored."""
        # Sound: parse_params() stores under this name only values of this parameter's reader.
        return cast("T_co | None", parsed.values.get(self.name))


def parse_params(
    parameters: Iterable[Parameter[object]], texts: Mapping[str, str], *, strict: bool = True
) -> ParsedParams:
    """The values of all parameters that have a text, in the order of the table; other texts are dropped.

    Raises BadValue for the first malformed text if `strict`; otherwise it is ignored with a warning.
    """
    values: dict[str, object] = {}
    warnings: list[RequestWarning] = []
    for parameter in parameters:
        if parameter.name not in texts:
            continue
        try:
            values[parameter.name] = parameter.read(parameter.name, texts[parameter.name])
        except BadValue as problem:
            is_ignored = parameter.ignores_unknown and isinstance(problem, UnknownWord)
            if strict and not is_ignored:
                raise
            warnings.append(RequestWarning(parameter.name, f"ignored, expected {problem.expected}"))
    return ParsedParams(values, tuple(warnings))


# ------------------------------------------------------------------------------------------------ patterns

# Parts of the regular expressions in the JSON Schema of a dialect. They only approximate the readers.
NUM = r"([0-9]+\.?[0-9]*|\.[0-9]+)"
DIM = rf"{NUM}p?"
RATIO = rf"{NUM}:{NUM}"
SHAPE = rf"({DIM},{DIM}|{RATIO})"
PLACE = rf"(,(offset-)?[xy]{DIM})*"
EDGES = rf"{DIM}(,{DIM}){{0,3}}"
COLOR = rf"([0-9A-Fa-f]{{3}}|[0-9A-Fa-f]{{6}}|[0-9]+,[0-9]+,[0-9]+(,{NUM})?)"
SIGNED = rf"[+-]?{NUM}"


def anchored(pattern: str) -> str:
    """The pattern, matched against the complete value."""
    return f"^{pattern}$"


def one_of(words: Iterable[str]) -> str:
    """The pattern of one of these words. They have no special characters other than dots."""
    return anchored(f"({'|'.join(word.replace('.', '[.]') for word in words)})")
