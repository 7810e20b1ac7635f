"""Delivery from a secured stack over HTTP, as the vendor's page has it."""

from __future__ import annotations

import pytest

from cropmark.assets import KeyKind, Place, Scope
from cropmark.library.keys import new_secret
from cropmark.library.store import Store
from tests.library.making import PRODUCTION, Shop, added, picture
from tests.web.running import Running


@pytest.fixture(scope="module")
def secured(own_shop: Shop) -> tuple[str, str, str]:
    """An asset's address, the token for production, and one for staging."""
    store = Store.opened(own_shop.data / "library")
    try:
        place = Place(store.new_stack("secured", secured=True).api_key)
        asset = added(store, place, picture(), "owl.png", published=PRODUCTION)
        tokens = []
        for environment in ("production", "staging"):
            token = new_secret(KeyKind.DELIVERY)
            store.new_key(KeyKind.DELIVERY, environment, Scope(place.stack, (environment,)), token)
            tokens.append(token)
        return f"/v3/assets/{place.stack}/{asset.uid}/{asset.version.file_uid}/owl.png", tokens[0], tokens[1]
    finally:
        store.close()


def test_tokens_open_their_environment(library_server: Running, secured: tuple[str, str, str]) -> None:
    path, token, other = secured
    # fmt: off
    rows = [
        # query                                               status  error_code
        ("environment=production",                               401, 105),
        (f"environment=production&access_token={'x' * 50}",      401, 105),
        (f"environment=production&access_token={other}",         403, 162),
        (f"access_token={token}",                                403, 162),
        (f"environment=production&access_token={token}",         200, None),
        ("environment=production",                               401, 105),   # a rendition that is cached opens nothing
    ]
    # fmt: on
    for query, status, number in rows:
        answer = library_server.get(f"{path}?{query}&width=20")
        assert answer.status_code == status, (query, answer.text)
        assert number is None or answer.json()["error_code"] == number


def test_answers_are_private_also_when_they_are_cached(library_server: Running, secured: tuple[str, str, str]) -> None:
    path, token, _ = secured
    for _ in range(2):
        answer = library_server.get(f"{path}?environment=production&access_token={token}&width=21")
        assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["x-cache"] == "HIT"


def test_overlays_are_left_out_with_a_warning(library_server: Running, secured: tuple[str, str, str]) -> None:
    path, token, _ = secured
    answer = library_server.get(f"{path}?environment=production&access_token={token}&width=22&overlay={path}")
    assert answer.status_code == 200
    assert "overlay" in answer.headers["x-cropmark-warning"]
    assert token not in library_server.log.read_text()
