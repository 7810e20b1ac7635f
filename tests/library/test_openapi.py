"""Every response of the management API matches its OpenAPI description; schemathesis generates the requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cropmark.management.openapi import openapi
from tests.library.builders import Shop
from tests.web.server_process import Running

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

schema = schemathesis.openapi.from_dict(openapi())


def test_the_description_in_the_documents_is_this_one() -> None:
    path = Path(__file__).parents[2] / "docs" / "openapi-management.json"
    assert json.loads(path.read_text("utf-8")) == openapi()


@pytest.mark.parametrize(
    ("body", "valid"), [({}, False), ({"asset": {}}, True), ({"version": 1}, True), ({"version": 0}, False)]
)
def test_an_update_has_the_changed_fields(body: dict[str, Any], valid: bool) -> None:
    content = openapi()["paths"]["/v3/assets/{uid}"]["put"]["requestBody"]["content"]
    assert jsonschema_rs.is_valid(content["application/json"]["schema"], body) is valid


@schema.parametrize()
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_every_response_matches_the_description(
    case: schemathesis.Case[Any], library_server: Running, shop: Shop, request: pytest.FixtureRequest
) -> None:
    case.call_and_validate(base_url=library_server.address, headers=shop.headers, checks=CHECKS, timeout=30)
