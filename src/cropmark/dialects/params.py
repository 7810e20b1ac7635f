"""The types of a dialect's table of parameters, and parse_params(), which parses a query with such a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from cropmark.dialects.dialect import ParameterDoc
from cropmark.dialects.grammar import UnknownWord
from cropmark.model.problems import BadValue
from cropmark.plan.plan import RequestWarning
from cropmark.plan.steps import AnyStep

T_co = TypeVar("T_co", covariant=True)
StepT = TypeVar("StepT", bound=AnyStep)


@dataclass(frozen=True, slots=True)
class ParsedParams:
    """The values of a query's parameters by name, and a warning for each parameter that was ignored."""

    values: Mapping[str, object]
    warnings: tuple[RequestWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class Parameter(Generic[T_co]):
    """A parameter of a dialect: its documentation, and the function that turns its text into a value."""

    doc: ParameterDoc
    read: Callable[[str, str], T_co]
    """Called with the parameter's name and its text. Raises BadValue."""
    ignores_unknown: bool = False
    """True if an unknown word is ignored with a warning, even by a strict parse_params()."""
    is_modifier: bool = False
    """True if the parameter alone changes no image: it modifies another parameter, or selects the asset."""

    @property
    def name(self) -> str:
        return self.doc.name

    def of(self, parsed: ParsedParams) -> T_co | None:
        """The value of this parameter in a parsed query; None if the parameter is absent or was ignored."""
        # Sound: parse_params() stores under this name only values of this parameter's reader.
        return cast("T_co | None", parsed.values.get(self.doc.name))


@dataclass(frozen=True, slots=True)
class StepParameter(Parameter[StepT | None], Generic[StepT]):
    """A parameter that describes a complete Step. `cropmark translate` writes such a Step as this parameter."""

    step: type[StepT] = field(kw_only=True)
    format: Callable[[StepT], str] = field(kw_only=True)
    """The text that `read` turns into this Step. Raises UnsupportedValue."""


def single_steps(parameters: Iterable[StepParameter[Any]], parsed: ParsedParams) -> tuple[AnyStep, ...]:
    """The Steps of the `parameters` that the query has, in the order of `parameters`."""
    return tuple(step for parameter in parameters if (step := parameter.of(parsed)) is not None)


def parse_params(
    parameters: Iterable[Parameter[object]], texts: Mapping[str, str], *, strict: bool = True
) -> ParsedParams:
    """Parse the `texts` of a query (decoded, by name) with the readers of the `parameters`.

    A text with an unknown name is ignored. If `strict`, raises BadValue for the first malformed text. Otherwise
    malformed texts are ignored with a warning.
    """
    values: dict[str, object] = {}
    warnings: list[RequestWarning] = []
    for parameter in parameters if texts else ():
        name = parameter.doc.name
        if name not in texts:
            continue
        try:
            values[name] = parameter.read(name, texts[name])
        except BadValue as problem:
            is_ignored = parameter.ignores_unknown and isinstance(problem, UnknownWord)
            if strict and not is_ignored:
                raise
            warnings.append(RequestWarning(name, f"ignored, expected {problem.expected}"))
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
    """The pattern with anchors, so that it must match the complete value."""
    return f"^{pattern}$"


def one_of(words: Iterable[str]) -> str:
    """A pattern that matches any of the words. The words may contain dots, but no other special characters."""
    return anchored(f"({'|'.join(word.replace('.', '[.]') for word in words)})")
