"""Delivery from a secured stack over HTTP, as the vendor's page has it."""

from __future__ import annotations

import httpx
import pytest

from cropmark.library.keys import new_secret
from cropmark.library.store import LibraryStore
from cropmark.model.assets import BranchRef, KeyKind, KeyScope
from tests.library.builders import PRODUCTION, Shop, add_asset, png
from tests.web.server_process import TOKEN, Running


@pytest.fixture(scope="module")
def secured(shop: Shop) -> tuple[str, str, str]:
    """An asset's address, the token for production, and one for staging."""
    store = LibraryStore.open(shop.data / "library")
    try:
        place = BranchRef(store.new_stack("secured", secured=True).api_key)
        asset = add_asset(store, place, png(), "owl.png", publishing=PRODUCTION)
        tokens = []
        for environment in ("production", "staging"):
            token = new_secret(KeyKind.DELIVERY)
            store.new_key(KeyKind.DELIVERY, environment, KeyScope(place.stack, (environment,)), token)
            tokens.append(token)
        return f"/v3/assets/{place.stack}/{asset.uid}/{asset.version.file_uid}/owl.png", tokens[0], tokens[1]
    finally:
        store.close()


def test_tokens_permit_their_environment(library_server: Running, secured: tuple[str, str, str]) -> None:
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


def test_drafts_need_a_management_token(library_server: Running, shop: Shop) -> None:
    store = LibraryStore.open(shop.data / "library")
    try:
        place = BranchRef(store.new_stack("drafts", secured=True).api_key)
        asset = add_asset(store, place, png(77), "owl.png")
        own, reader = new_secret(KeyKind.MANAGEMENT), new_secret(KeyKind.DELIVERY)
        store.new_key(KeyKind.MANAGEMENT, "editor", KeyScope(place.stack), own)
        store.new_key(KeyKind.DELIVERY, "reader", KeyScope(place.stack, ("production",)), reader)
    finally:
        store.close()
    key, other = place.stack, shop.token
    reading = f"environment=production&access_token={reader}"
    # fmt: off
    rows = [
        # headers                                                query                            status
        ({"api_key": key, "authtoken": own},                     "",                                200),
        ({"api_key": key, "authorization": own},                 "&environment=production",         200),
        ({"api_key": key, "authorization": f"Bearer {own}"},     "&environment=production",         200),
        ({"api_key": key, "authorization": own},                 "&branch=development",             404),
        ({},                                                     "&environment=production",         401),   # cached
        ({},                                                     f"&{reading}",                     404),   # a draft
        ({"authorization": own},                                 "",                                401),
        ({"api_key": shop.stack.api_key, "authtoken": own},  "",                                401),
        ({"api_key": key, "authorization": other},               "",                                401),
        ({"api_key": key, "authorization": reader},              "",                                401),
    ]
    # fmt: on
    path = f"/v3/assets/{key}/{asset.uid}/{asset.version.file_uid}/owl.png"
    for headers, query, status in rows:
        answer = library_server.get(f"{path}?width=20{query}", headers=headers)
        assert answer.status_code == status, (headers, query, answer.text)
        assert status != 200 or answer.headers["cache-control"] == "private, no-store"
    assert own not in library_server.log.read_text()


def test_responses_are_private_also_when_they_are_cached(
    library_server: Running, secured: tuple[str, str, str]
) -> None:
    path, token, _ = secured
    for _ in range(2):
        answer = library_server.get(f"{path}?environment=production&access_token={token}&width=21")
        assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["x-cache"] == "HIT"


def test_no_file_and_no_log_holds_a_token_and_its_url_is_purged(
    library_server: Running, secured: tuple[str, str, str]
) -> None:
    path, token, _ = secured
    spelled = [("access_token", 23), ("access%5Ftoken", 24)]
    urls = [f"{path}?environment=production&{name}={token}&width={width}" for name, width in spelled]
    for url in urls:
        assert library_server.get(url).status_code == 200
    cache = library_server.log.with_suffix("")
    kept = [file.read_bytes() for file in cache.rglob("*") if file.is_file()]
    assert any(b"PNG" in body for body in kept)
    assert not any(token.encode() in body for body in kept)
    assert token not in library_server.log.read_text()
    with httpx.Client(headers={"authorization": f"Bearer {TOKEN}"}, trust_env=False, timeout=30) as admin:
        for url in urls:
            assert library_server.get(url).headers["x-cache"] == "HIT"
            assert admin.post(f"{library_server.address}/admin/purge", json={"url": url}).json() == {"purged": 1}
            assert library_server.get(url).headers["x-cache"] == "MISS"


def test_forbidden_overlays_are_omitted_with_a_warning(library_server: Running, secured: tuple[str, str, str]) -> None:
    path, token, _ = secured
    answer = library_server.get(f"{path}?environment=production&access_token={token}&width=22&overlay={path}")
    assert answer.status_code == 200
    assert "overlay" in answer.headers["x-cropmark-warning"]
    assert token not in library_server.log.read_text()
