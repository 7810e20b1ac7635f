"""The row types of a dialect's table of parameters; parse_params() reads the parameters of a query with the table."""

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
    """True if an unknown word is ignored with a warning, even by a strict parse_params()."""
    is_modifier: bool = False
    """True if the parameter changes no image alone: it modifies the effect of another one, or selects the asset."""

    @property
    def name(self) -> str:
        return self.doc.name

    def of(self, parsed: ParsedParams) -> T_co | None:
        """This parameter's value; None if it is absent or was ignored."""
        # Sound: parse_params() stores under this name only values of this parameter's reader.
        return cast("T_co | None", parsed.values.get(self.doc.name))


@dataclass(frozen=True, slots=True)
class StepParameter(Parameter[StepT | None], Generic[StepT]):
    """A parameter that spells a complete Step. `cropmark translate` writes the Step with it."""

    step: type[StepT] = field(kw_only=True)
    format: Callable[[StepT], str] = field(kw_only=True)
    """The text that `read` turns into this Step. Raises UnsupportedValue."""


def single_steps(parameters: Iterable[StepParameter[Any]], parsed: ParsedParams) -> tuple[AnyStep, ...]:
    """The Steps of those `parameters` that the query has, in the order of `parameters`."""
    return tuple(step for parameter in parameters if (step := parameter.of(parsed)) is not None)


def parse_params(
    parameters: Iterable[Parameter[object]], texts: Mapping[str, str], *, strict: bool = True
) -> ParsedParams:
    """The values of the `parameters` that have a text in `texts`; texts of unknown names are dropped.

    Raises BadValue for the first malformed text if `strict`; otherwise malformed texts are ignored with a warning.
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
    """The pattern, matched against the complete value."""
    return f"^{pattern}$"


def one_of(words: Iterable[str]) -> str:
    """The pattern that matches one of these words, which may contain dots but no other special characters."""
    return anchored(f"({'|'.join(word.replace('.', '[.]') for word in words)})")
