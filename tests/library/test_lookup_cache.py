"""The rules for using a lookup in memory, without a database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cropmark.library.changes import ChangeFeed
from cropmark.library.database import Change, ChangeKind
from cropmark.library.lookup import FoundVersion, asset_not_found
from cropmark.library.lookup_cache import MAX_FEED_AGE_S, CachedLookup, LookupCache
from cropmark.model.problems import SourceNotFound
from cropmark.plan.source import SitePath
from cropmark.ports import SourceVersion

STALE_S = 300.0
REF, OTHER, ABSENT = SitePath("ours"), SitePath("other"), SitePath("absent")
FOUND = FoundVersion("stack", "ours", "file", "digest", 1, 0, private=False)


class Cache(LookupCache):
    """A cache with two known assets and an absent one, at the library's clock 5, and a clock of its own."""

    def __init__(self, stale_s: float = STALE_S) -> None:
        self.now_s = 1000.0
        super().__init__(lambda: self.now_s, stale_s)
        self.apply(ChangeFeed(5, (), reset=True, due=False))
        for ref in (REF, OTHER):
            self.put(ref, lookup(asset=ref.path))
        self.put(ABSENT, CachedLookup(5, "stack", "", asset_not_found(), None))

    def after(self, seconds: float) -> Cache:
        self.now_s += seconds
        return self

    def changed(self, kind: ChangeKind, *, stack: str = "stack", uid: str = "ours") -> Cache:
        """After a poll that received this change."""
        self.apply(ChangeFeed(6, (Change(6, kind, stack, uid),), reset=False, due=False))
        return self

    def scheduled(self, seconds: float) -> Cache:
        """After a poll that received the time at which the first asset will be unpublished."""
        self.apply(ChangeFeed(5, (), reset=False, due=False, unpublishing_in_ms={"ours": int(seconds * 1000)}))
        return self

    def away(self, seconds: float = MAX_FEED_AGE_S + 1) -> Cache:
        """This long after the last successful poll; one since has failed."""
        self.after(seconds).poll_failed()
        return self


def lookup(n: int = 5, asset: str = "ours") -> CachedLookup:
    found = replace(FOUND, asset=asset)
    return CachedLookup(n, "stack", asset, found, SourceVersion(found.identity, found.digest))


def usable(cache: LookupCache) -> set[str]:
    """The paths with a lookup that may be used. A deleted asset counts as not usable."""
    paths = set()
    for ref in (REF, OTHER, ABSENT):
        try:
            if cache.get(ref) is not None:
                paths.add(ref.path)
        except SourceNotFound:
            pass
    return paths


BOTH = {"ours", "other"}
ALL = {"ours", "other", "absent"}
# fmt: off
CASES = {
    "just polled":                            (Cache(), ALL),
    "the next poll is late":                  (Cache().after(MAX_FEED_AGE_S + 0.1), set()),  # queries the database
    "a poll failed, the last was just now":   (Cache().away(0.1), ALL),
    "away":                                   (Cache().away(), ALL),
    "away for as long as allowed":            (Cache().away(STALE_S), ALL),
    "away for longer":                        (Cache().away(STALE_S + 1), set()),
    "away, and nothing stale is allowed":     (Cache(0).away(), set()),
    "published, then away":                   (Cache().changed(ChangeKind.ASSET).away(), {"other"}),
    "unpublished, then away":                 (Cache().changed(ChangeKind.WITHDRAWN).away(), {"other"}),
    "deleted, then away":                     (Cache().changed(ChangeKind.DELETED).away(), {"other"}),
    "its stack changed, then away":           (Cache().changed(ChangeKind.STACK, uid="").away(), set()),
    "another stack changed, then away":       (Cache().changed(ChangeKind.STACK, stack="no", uid="").away(), BOTH),
    "keys changed, then away":                (Cache().changed(ChangeKind.KEYS, stack="", uid="").away(), set()),
    "unpublished by a schedule while away":   (Cache().scheduled(60).away(61), {"other", "absent"}),
    "to be unpublished later":                (Cache().scheduled(60).away(59), ALL),
}
# fmt: on


@pytest.mark.parametrize("case", CASES)
def test_usable_lookups(case: str) -> None:
    cache, expected = CASES[case]
    assert usable(cache) == expected


def test_a_change_of_its_own_counts_before_it_is_polled() -> None:
    cache = Cache().away()
    cache.mark_changed([Change(6, ChangeKind.WITHDRAWN, "stack", "ours")])
    assert usable(cache) == {"other"}
    cache.apply(ChangeFeed(5, (), reset=False, due=False))  # it was rolled back: the database is asked
    cache.put(REF, lookup(6))
    assert usable(cache) == {"ours", "other"}


def test_keys_that_were_rolled_back_do_not_disable_the_cache() -> None:
    cache = Cache()
    cache.mark_changed([Change(6, ChangeKind.KEYS, "", "")])
    cache.put(REF, lookup(5))
    assert usable(cache) == set()
    cache.apply(ChangeFeed(5, (), reset=False, due=False))
    cache.put(REF, lookup(5))
    assert usable(cache) == {"ours"}


@pytest.mark.parametrize(
    "change",
    [
        ChangeFeed(6, (Change(6, ChangeKind.KEYS, "", ""),), reset=False, due=False),
        ChangeFeed(6, (), reset=True, due=False),
    ],
)
def test_a_lookup_that_began_before_is_not_stored(change: ChangeFeed) -> None:
    """It may have used a key that has been revoked since, or missed a change."""
    cache = Cache()
    cache.apply(change)
    cache.put(REF, lookup(5))
    assert usable(cache) == set()
    cache.put(REF, lookup(6))
    assert usable(cache) == {"ours"}


def test_a_lookup_offered_for_a_failing_query_obeys_the_same_rules() -> None:
    assert Cache().after(STALE_S).stale(REF) is not None
    assert Cache().after(STALE_S + 1).stale(REF) is None
    assert Cache().changed(ChangeKind.WITHDRAWN).stale(REF) is None
    assert Cache().changed(ChangeKind.DELETED).stale(REF) is None


def test_stale_uses_are_counted() -> None:
    cache = Cache()
    usable(cache)
    assert cache.stale_uses == 0
    usable(cache.away())
    assert cache.stale_uses == 3
