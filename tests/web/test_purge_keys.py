"""Headers for caches in front of the server: keys for purges, s-maxage, stale-while-revalidate."""

from __future__ import annotations

from pathlib import Path

import pytest

from cropmark.config.settings import Settings
from cropmark.pipeline import PurgeTarget, source_targets
from cropmark.plan.plan import Delivery, Order, Plan
from cropmark.plan.source import SitePath, SourceRequest
from cropmark.ports import Purge, PurgeKind, Record, SourceVersion
from cropmark.runtime.metrics import Metrics
from cropmark.server.sites import build_sites
from cropmark.sources.files import FolderSource
from cropmark.sources.freshness import MAX_KEYS_BYTES, origin_keys
from cropmark.sources.original_cache import OriginalCache
from cropmark.web.purge_keys import cdn_purge, key_header
from cropmark.web.response import cache_control, image_headers
from cropmark.web.site import CacheLifetimes
from tests.web.asgi_client import fastly

VERSION = SourceVersion("files:summer/sky/blue.jpg", "1", keys="product-1 shoes")
RECORD = Record("image/jpeg", '"x"', 3, versions=(VERSION,))
ORDER = Order((SourceRequest(SitePath("summer/sky/blue.jpg")),), Plan())


def keys_of(identity: str, name: str = "surrogate-key") -> set[str]:
    record = Record("image/jpeg", '"x"', 3, versions=(SourceVersion(identity, "1"),))
    return set(key_header(name, "shop", record)[1].decode().split(" "))


@pytest.mark.parametrize(("name", "separator"), [("surrogate-key", " "), ("cache-tag", ",")])
def test_the_header_has_the_site_the_source_and_the_keys_of_the_origin(name: str, separator: str) -> None:
    headers = dict(image_headers(fastly(key_header=name), ORDER, RECORD, cached=True))
    keys = headers[name.encode()].decode().split(separator)
    assert keys[0] == "fastly"
    assert [key for key in keys if key in ("product-1", "shoes")] == ["product-1", "shoes"]
    assert sum(key.startswith("s-") for key in keys) == 1
    assert sum(key.startswith("f-") for key in keys) == 3  # files:, files:summer/, files:summer/sky/
    assert not {b"surrogate-key", b"cache-tag"} & dict(image_headers(fastly(), ORDER, RECORD, cached=True)).keys()


# fmt: off
COVERED = [
    # kind               value                  identity                      covered
    (PurgeKind.SOURCE,   "sky/blue.jpg",        "files:sky/blue.jpg",         True),
    (PurgeKind.SOURCE,   "sky/blue.jpg",        "files:sky/green.jpg",        False),
    (PurgeKind.PREFIX,   "sky/",                "files:sky/blue.jpg",         True),
    (PurgeKind.PREFIX,   "sky/",                "files:sea/blue.jpg",         False),
    (PurgeKind.PREFIX,   "sky/bl",              "files:sky/blue.jpg",         True),
    (PurgeKind.PREFIX,   "",                    "files:sky/blue.jpg",         True),
    (PurgeKind.PREFIX,   "a/" * 30,             "files:" + "a/" * 40 + "x",   True),
    (PurgeKind.TAG,      "shop",                "files:sky/blue.jpg",         True),
]
# fmt: on


@pytest.mark.parametrize(("kind", "value", "identity", "covered"), COVERED)
def test_a_purge_of_the_cdn_covers_the_responses(kind: PurgeKind, value: str, identity: str, covered: bool) -> None:
    source = FolderSource(Path("/"))
    below = kind is PurgeKind.PREFIX
    targets = [] if kind is PurgeKind.TAG else source_targets(source, SitePath(value), below=below)
    found = cdn_purge(Purge(kind, value, soft=True), targets)
    assert bool(set(found.keys) & keys_of(identity)) is covered
    assert found.soft


def test_a_purge_of_an_origins_image_covers_every_query() -> None:
    found = cdn_purge(Purge(PurgeKind.SOURCE, "a.jpg"), [PurgeTarget("source:web:https://o.example/a.jpg\n")])
    assert set(found.keys) <= keys_of("web:https://o.example/a.jpg?width=1")
    assert cdn_purge(Purge(PurgeKind.ALL), []).everything
    assert cdn_purge(Purge(PurgeKind.URL, "/fastly/a.jpg"), []).path == "/fastly/a.jpg"


def test_the_keys_of_an_origin_are_bounded() -> None:
    assert origin_keys({"Surrogate-Key": "a b a", "Cache-Tag": "c, d"}) == "a b c d"
    assert origin_keys({"Surrogate-Key": "good b\u00e4d"}) == "good"
    assert len(origin_keys({"Surrogate-Key": " ".join(f"key-{n}" for n in range(9999))})) <= MAX_KEYS_BYTES
    assert origin_keys({}) == ""


SWR = "stale-while-revalidate=30"

# fmt: off
CONTROL = [
    # delivery                     record changes          expires   value
    (Delivery(),                   {},                     None,     f"public, max-age=60, s-maxage=600, {SWR}"),
    (Delivery(versioned=True),     {},                     None,     f"public, max-age=31536000, {SWR}"),
    (Delivery(max_age_s=50),       {},                     None,     "public, max-age=50, s-maxage=50"),
    (Delivery(),                   {"expires_s": 1.0},     None,     "public, max-age=10, s-maxage=10"),
    (Delivery(),                   {},                     20.5,     "public, max-age=20, s-maxage=20"),
    (Delivery(private=True),       {},                     None,     "private, no-store"),
]
# fmt: on


@pytest.mark.parametrize(("delivery", "changes", "expires_in_s", "value"), CONTROL)
def test_cache_control(delivery: Delivery, changes: dict[str, float], expires_in_s: float | None, value: str) -> None:
    site = fastly(lifetimes=CacheLifetimes(60, shared_s=600, stale_while_revalidate_s=30))
    record = Record("image/jpeg", '"x"', 3, **changes)  # type: ignore[arg-type]
    assert cache_control(site, Order(ORDER.sources, Plan(), delivery), record, expires_in_s) == value


def test_a_site_overrides_the_settings_of_the_server(tmp_path: Path) -> None:
    settings = Settings(
        s_maxage_s=600,
        key_header="cache-tag",
        site=(
            {"prefix": "/a", "dialect": "fastly", "source": str(tmp_path)},
            {"prefix": "/b", "dialect": "fastly", "source": str(tmp_path), "s_maxage_s": 5, "key_header": "off"},
        ),
    )
    originals = OriginalCache(tmp_path / "originals")
    one, two = build_sites(settings, None, originals, None, Metrics())
    assert (one.lifetimes.shared_s, one.key_header) == (600, "cache-tag")
    assert (two.lifetimes.shared_s, two.key_header) == (5, "")
