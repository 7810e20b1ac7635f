"""Parameters that spell a complete Step: the text of a Step is read as that Step again."""

from __future__ import annotations

from typing import Any

import pytest

from cropmark.dialects.contentstack import params as contentstack
from cropmark.dialects.contentstack.steps import BEFORE_OVERLAY as CONTENTSTACK_EFFECTS
from cropmark.dialects.fastly import params as fastly
from cropmark.dialects.fastly.steps import AFTER_OVERLAY, BEFORE_OVERLAY
from cropmark.dialects.params import StepParameter

TABLES = {"fastly": fastly.PARAMETERS, "contentstack": contentstack.PARAMETERS}
STEP_PARAMETERS = [
    pytest.param(parameter, id=f"{dialect}-{parameter.name}")
    for dialect, table in TABLES.items()
    for parameter in table
    if isinstance(parameter, StepParameter)
]


@pytest.mark.parametrize("parameter", STEP_PARAMETERS)
def test_the_text_of_the_example_is_read_as_the_same_step(parameter: StepParameter[Any]) -> None:
    step = parameter.read(parameter.name, parameter.doc.example)
    assert isinstance(step, parameter.step)
    assert parameter.read(parameter.name, parameter.format(step)) == step


@pytest.mark.parametrize(
    ("ordered", "table"),
    [(BEFORE_OVERLAY + AFTER_OVERLAY, fastly.PARAMETERS), (CONTENTSTACK_EFFECTS, contentstack.PARAMETERS)],
)
def test_the_order_of_steps_names_parameters_of_the_table(
    ordered: tuple[StepParameter[Any], ...], table: tuple[object, ...]
) -> None:
    assert set(map(id, ordered)) <= set(map(id, table))
