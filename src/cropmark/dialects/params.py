"""A dialect's table: each parameter's row in the reference stands beside its reader, and one walk reads them all."""

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
    """What a query asks for: the value read for each parameter that is there, and what was ignored with a warning."""

    values: Mapping[str, object]
    warnings: tuple[RequestWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class Parameter(Generic[T_co]):
    """A parameter: how it is described, and how its text becomes a value.

    `read` gets the parameter's name and its text. `forgives`: an unknown word is ignored with a warning.
    """

    doc: ParameterDoc
    read: Callable[[str, str], T_co]
    ignores_unknown: bool = False

    @property
    def name(self) -> str:
        return self.doc.name

    def of(self, parsed: ParsedParams) -> T_co | None:
        """This parameter's value; None where it is absent or was ignored."""
        # Sound, since only this row's reader writes under this row's name: asked_of().
        return cast("T_co | None", parsed.values.get(self.name))


def parse_params(
    parameters: Iterable[Parameter[object]], texts: Mapping[str, str], *, strict: bool = True
) -> ParsedParams:
    """Every row's value, in the order of the table, from the texts by name; what the table lacks is dropped.

    Raises BadValue for the first malformed one; unless `refuses`, it is ignored with a warning.
    """
    found: dict[str, object] = {}
    warnings: list[RequestWarning] = []
    for row in parameters:
        if row.name not in texts:
            continue
        try:
            found[row.name] = row.read(row.name, texts[row.name])
        except BadValue as problem:
            forgiven = row.ignores_unknown and isinstance(problem, UnknownWord)
            if strict and not forgiven:
                raise
            warnings.append(RequestWarning(row.name, f"ignored, expected {problem.expected}"))
    return ParsedParams(found, tuple(warnings))


# ------------------------------------------------------------------------------------------------ patterns

# Pieces of the regular expressions that rows show in their JSON Schema. The readers are the rule, these the summary.
NUM = r"([0-9]+\.?[0-9]*|\.[0-9]+)"
DIM = rf"{NUM}p?"
RATIO = rf"{NUM}:{NUM}"
SHAPE = rf"({DIM},{DIM}|{RATIO})"
PLACE = rf"(,(offset-)?[xy]{DIM})*"
EDGES = rf"{DIM}(,{DIM}){{0,3}}"
COLOR = rf"([0-9A-Fa-f]{{3}}|[0-9A-Fa-f]{{6}}|[0-9]+,[0-9]+,[0-9]+(,{NUM})?)"
SIGNED = rf"[+-]?{NUM}"


def anchored(pattern: str) -> str:
    """The pattern of a whole value."""
    return f"^{pattern}$"


def one_of(words: Iterable[str]) -> str:
    """The pattern of one of these words; they hold no special characters but dots."""
    return anchored(f"({'|'.join(word.replace('.', '[.]') for word in words)})")
