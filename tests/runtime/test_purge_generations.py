"""Generations of purged sources."""

from __future__ import annotations

import pytest

from cropmark.runtime.purge_generations import PurgeGenerations

A, B = "files:sky/a.jpg", "files:sky/b.jpg"

# fmt: off
PURGES = [
    # prefix                A       B
    ("files:sky/a.jpg\n",   True,   False),
    ("files:sky/a.jpg",     True,   False),   # also covers a.jpg2
    ("files:sky/",          True,   True),
    ("",                    True,   True),
    ("files:sea/",          False,  False),
    ("files:sky/a",         True,   False),
    ("files:sky/a\n",       False,  False),   # exactly "sky/a"
]
# fmt: on


@pytest.mark.parametrize(("prefix", "covers_a", "covers_b"), PURGES)
def test_a_purge_increases_the_generations_it_covers(prefix: str, covers_a: bool, covers_b: bool) -> None:
    generations = PurgeGenerations()
    generations.add(prefix)
    assert (generations.of(A) > 0, generations.of(B) > 0) == (covers_a, covers_b)


def test_each_purge_increases_the_generation() -> None:
    generations = PurgeGenerations(start=1_800_000_000_000)
    seen = [generations.of(A)]
    for prefix in (A, "files:", A):
        generations.add(prefix)
        seen.append(generations.of(A))
    assert seen == [0, 1_800_000_000_001, 1_800_000_000_002, 1_800_000_000_003]
    assert generations.purges == 3


def test_past_the_limit_all_sources_get_a_new_generation() -> None:
    generations = PurgeGenerations(limit=3)
    generations.add(A)
    last = generations.of(A)
    for n in range(10):
        generations.add(f"files:{n}")
        assert generations.of(A) >= last
        last = generations.of(A)
    assert generations.of("files:never purged") > 0
