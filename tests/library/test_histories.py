"""No upload is lost, and none is served where it is not published: random histories against a model, with crashes.

A crash is an exception in the middle of a call. Then the library is opened again, as a new process does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import event

from cropmark.library import garbage
from cropmark.library.lookup import FoundVersion, read_address
from cropmark.library.store import LibraryStore
from cropmark.model.assets import Asset, BranchRef, Listing, PublishRequest
from cropmark.plan.source import PublishScope
from cropmark.ports import OpenSource
from tests.library.builders import add_asset, open_source, replace_asset

ENVIRONMENTS = ("production", "staging")
BODIES = (b"a", b"b", b"c")
"""Few, so that assets share bytes; deleting the last one removes them."""

QUICK = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""A folder in memory, if possible: these tests are not about a power failure, so they need no disk."""

Bodies = st.sampled_from(BODIES)
Environments = st.sampled_from(ENVIRONMENTS)
Numbers = st.integers(0, 10)


class Crash(Exception):
    """The power failed."""


@dataclass
class Modelled:
    """The expected state of an asset."""

    uid: str
    files: list[tuple[str, bytes]]
    current: dict[str, int] = field(default_factory=dict)
    """The published version by environment."""
    ever: dict[str, set[int]] = field(default_factory=dict)


class Histories(RuleBasedStateMachine):
    """A library on SQLite and in a folder, and its model."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="cropmark-histories-", dir=QUICK))
        self.store = LibraryStore.open(self.folder)
        self.place = BranchRef(self.store.new_stack("shop").api_key)
        for environment in ENVIRONMENTS:
            self.store.new_environment(self.place.stack, environment)
        self.assets: list[Modelled] = []

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    # ------------------------------------------------------------------------------------------ rules

    @rule(body=Bodies, environment=st.none() | Environments)
    def upload(self, body: bytes, environment: str | None) -> None:
        published = PublishRequest((environment,)) if environment else None
        self.assets.append(_modelled(add_asset(self.store, self.place, body, publishing=published), body, environment))

    @precondition(lambda self: bool(self.assets))
    @rule(which=Numbers, body=Bodies)
    def replace(self, which: int, body: bytes) -> None:
        asset = self._asset(which)
        new = replace_asset(self.store, self.place, asset.uid, body)
        asset.files.append((new.version.file_uid, body))
        assert new.newest == len(asset.files)

    @precondition(lambda self: bool(self.assets))
    @rule(which=Numbers, environment=Environments, number=Numbers)
    def publish(self, which: int, environment: str, number: int) -> None:
        asset = self._asset(which)
        version = number % len(asset.files) + 1
        self.store.publish(self.place, asset.uid, PublishRequest((environment,), version=version), "tester")
        asset.current[environment] = version
        asset.ever.setdefault(environment, set()).add(version)

    @precondition(lambda self: bool(self.assets))
    @rule(which=Numbers, environment=Environments)
    def unpublish(self, which: int, environment: str) -> None:
        asset = self._asset(which)
        self.store.unpublish(self.place, asset.uid, PublishRequest((environment,)), "tester")
        asset.current.pop(environment, None)

    @precondition(lambda self: bool(self.assets))
    @rule(which=Numbers)
    def delete(self, which: int) -> None:
        asset = self._asset(which)
        self.store.delete(self.place, asset.uid)
        self.assets.remove(asset)

    @precondition(lambda self: bool(self.assets))
    @rule(which=Numbers, body=Bodies, act=st.sampled_from(["upload", "replace", "delete", "publish"]), at=Numbers)
    def crash(self, which: int, body: bytes, act: str, at: int) -> None:
        """A call that ends at the n-th thing it does to disk or database: it has done all, or nothing."""
        asset = self._asset(which)
        before = self._known()
        with contextlib.suppress(Crash), _failing(self.store, at):
            match act:
                case "upload":
                    add_asset(self.store, self.place, body)
                case "replace":
                    replace_asset(self.store, self.place, asset.uid, body)
                case "delete":
                    self.store.delete(self.place, asset.uid)
                case _:
                    self.store.publish(self.place, asset.uid, PublishRequest(ENVIRONMENTS), "tester")
        self.store.close()
        self.store = LibraryStore.open(self.folder)
        self._learn(before, asset, act, body)

    @rule()
    def tidy(self) -> None:
        garbage.collect_garbage(self.store, min_age_s=0)
        assert garbage.check(self.store).orphans == ()

    # ------------------------------------------------------------------------------------------ invariants

    @invariant()
    def every_version_has_its_bytes(self) -> None:
        assert garbage.check(self.store).missing == ()

    @invariant()
    def delivery_is_as_the_model_says(self) -> None:
        for asset in self.assets:
            for number, (file_uid, body) in enumerate(asset.files, 1):
                assert self._served(asset.uid, file_uid, None) == body
                for environment in ENVIRONMENTS:
                    there = environment in asset.current and number in asset.ever[environment]
                    assert self._served(asset.uid, file_uid, environment) == (body if there else None)
            for environment in ENVIRONMENTS:
                current = asset.current.get(environment)
                wanted = asset.files[current - 1][1] if current else None
                assert self._served(asset.uid, None, environment) == wanted

    # ------------------------------------------------------------------------------------------ helpers

    def _asset(self, which: int) -> Modelled:
        return self.assets[which % len(self.assets)]

    def _served(self, uid: str, file_uid: str | None, environment: str | None) -> bytes | None:
        path = f"v3/assets/{self.place.stack}/{uid}" + (f"/{file_uid}/owl.jpg" if file_uid else "")
        address = read_address(path)
        assert address is not None
        outcome = self.store.find(address, PublishScope(environment)).outcome
        if not isinstance(outcome, FoundVersion):
            return None
        descriptor = self.store.open_file(outcome.digest)
        try:
            return os.read(descriptor, 10)
        finally:
            os.close(descriptor)

    def _known(self) -> set[str]:
        return {asset.uid for asset in self.assets}

    def _listed(self) -> list[str]:
        return [item.entry.uid for item in self.store.list_entries(self.place, Listing(limit=1000)).items]

    def _learn(self, before: set[str], asset: Modelled, act: str, body: bytes) -> None:
        """Whichever of the two it was, old or new, and nothing between them."""
        now = set(self._listed())
        match act:
            case "upload":
                fresh = now - before
                assert len(fresh) <= 1
                for uid in fresh:
                    self.assets.append(_modelled(self.store.asset(self.place, uid), body, None))
            case "delete":
                assert before - now <= {asset.uid}
                self.assets = [one for one in self.assets if one.uid in now]
            case "replace":
                found = self.store.asset(self.place, asset.uid)
                assert found.newest - len(asset.files) in (0, 1)
                if found.newest > len(asset.files):
                    asset.files.append((found.version.file_uid, body))
            case _:
                published = {
                    p.environment_name: p.version for p in self.store.asset(self.place, asset.uid).publications
                }
                newest = len(asset.files)
                assert published in (asset.current, dict.fromkeys(ENVIRONMENTS, newest))
                for name, version in published.items():
                    asset.current[name] = version
                    asset.ever.setdefault(name, set()).add(version)


def _modelled(asset: Asset, body: bytes, environment: str | None) -> Modelled:
    found = Modelled(asset.uid, [(asset.version.file_uid, body)])
    if environment is not None:
        found.current[environment] = 1
        found.ever[environment] = {1}
    return found


@contextlib.contextmanager
def _failing(store: LibraryStore, at: int) -> Iterator[None]:
    """The power fails at the n-th statement, commit, or touch of a file."""
    left = [at]

    def count(*_: Any, **__: Any) -> None:  # as each hook is called
        left[0] -= 1
        if left[0] < 0:
            raise Crash

    class Failing:
        """The store's blobs, with a crash before and after each call."""

        def __getattr__(self, name: str) -> Any:  # an attribute of the blob store
            found = getattr(blobs, name)

            def touched(*arguments: Any) -> Any:  # as above
                count()
                result = found(*arguments)
                count()
                return result

            return touched

    blobs = store.blobs
    store.blobs = Failing()
    hooks = [(name, count) for name in ("before_cursor_execute", "commit")]
    for name, hook in hooks:
        event.listen(store.database.engine, name, hook)
    try:
        yield
    finally:
        store.blobs = blobs
        for name, hook in hooks:
            event.remove(store.database.engine, name, hook)


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


def test_an_upload_during_a_deletion_of_the_same_bytes_stores_them(tmp_path: Path) -> None:
    """The other asset goes between the upload's bytes and its row."""
    store = LibraryStore.open(tmp_path)
    place = BranchRef(store.new_stack("shop").api_key)
    old = add_asset(store, place, b"same")
    put = store.blobs.put
    calls = []

    def interrupted(digest: str, source: OpenSource) -> None:
        put(digest, source)
        calls.append(digest)
        if len(calls) == 1:
            store.delete(place, old.uid)

    store.blobs.put = interrupted  # type: ignore[method-assign]  # for this test
    new = add_asset(store, place, b"same")
    assert len(calls) == 2
    os.close(store.open_file(new.version.file.digest))
    store.close()


def test_orphans_are_found_and_removed(tmp_path: Path) -> None:
    store = LibraryStore.open(tmp_path)
    place = BranchRef(store.new_stack("shop").api_key)
    kept = add_asset(store, place, b"kept")
    source = open_source(b"orphan")
    store.blobs.put("ab" * 32, source)
    source.close()
    assert garbage.check(store).orphans == ("ab" * 32,)
    assert garbage.collect_garbage(store) == 0  # too young: another process may be about to add a version of it
    assert garbage.collect_garbage(store, min_age_s=0) == 1
    store.blobs.remove(kept.version.file.digest)
    assert garbage.check(store).missing == (kept.version.file.digest,)
    store.close()
