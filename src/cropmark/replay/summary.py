"""Summarizes a replay: counts URLs and requests by outcome and by parameter pattern, and finds the worst URLs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from cropmark.replay.results import Outcome, UrlResult
from cropmark.replay.targets import pattern_of

# The worst first: an image that is absent is worse than one that differs.
_BADNESS: Final = {
    Outcome.MISSING: 6,
    Outcome.ERROR: 5,
    Outcome.SIZE: 4,
    Outcome.IMAGE: 3,
    Outcome.FORMAT: 2,
    Outcome.BYTES: 1,
}


@dataclass(frozen=True, slots=True)
class PatternSummary:
    """The outcomes of all URLs with the same pattern of parameters, such as `format=webp&width=N`."""

    pattern: str
    outcomes: tuple[tuple[Outcome, int], ...]
    requests: int
    mean: float | None
    """The largest mean difference of the pixels among these URLs; None if no pixels were compared."""
    example: str

    @property
    def urls(self) -> int:
        return sum(count for _, count in self.outcomes)

    @property
    def bad(self) -> int:
        """Number of URLs that are neither identical nor visually equal."""
        return sum(count for outcome, count in self.outcomes if not outcome.is_good)


@dataclass(frozen=True, slots=True)
class Summary:
    """The number of URLs and of requests in the log for each outcome, and the summary of each pattern.

    The pattern with the most bad URLs is first.
    """

    urls: tuple[tuple[Outcome, int], ...]
    requests: tuple[tuple[Outcome, int], ...]
    patterns: tuple[PatternSummary, ...]

    @property
    def is_good(self) -> bool:
        return all(outcome.is_good for outcome, _ in self.urls)

    @property
    def good_share(self) -> float:
        """The share, from 0 to 1, of the log's requests with a good outcome, such as visually equal images."""
        total = sum(count for _, count in self.requests)
        return sum(count for outcome, count in self.requests if outcome.is_good) / total if total else 1.0

    def to_json(self) -> dict[str, Any]:
        """The summary as a JSON object."""
        patterns = [
            {
                "pattern": one.pattern,
                "outcomes": {outcome.value: count for outcome, count in one.outcomes},
                "requests": one.requests,
                "mean": one.mean,
                "example": one.example,
            }
            for one in self.patterns
        ]
        return {
            "urls": {outcome.value: count for outcome, count in self.urls},
            "requests": {outcome.value: count for outcome, count in self.requests},
            "good_share": self.good_share,
            "patterns": patterns,
        }


def summarize(results: Iterable[UrlResult]) -> Summary:
    """The summary of the results of all URLs."""
    urls, requests, by_pattern = Counter[Outcome](), Counter[Outcome](), dict[str, list[UrlResult]]()
    for result in results:
        urls[result.outcome] += 1
        requests[result.outcome] += result.requests
        by_pattern.setdefault(pattern_of(result.target), []).append(result)
    patterns = [_pattern_summary(pattern, members) for pattern, members in by_pattern.items()]
    patterns.sort(key=lambda one: (-one.bad, -one.requests, one.pattern))
    return Summary(_in_order(urls), _in_order(requests), tuple(patterns))


def worst(results: Iterable[UrlResult], limit: int) -> tuple[UrlResult, ...]:
    """The results of at most `limit` URLs with the worst outcomes.

    First the worst URL of each parameter pattern, then all other bad URLs.
    """
    bad = sorted((one for one in results if one.outcome in _BADNESS), key=_badness, reverse=True)
    firsts, others, seen = list[UrlResult](), list[UrlResult](), set[str]()
    for result in bad:
        pattern = pattern_of(result.target)
        (others if pattern in seen else firsts).append(result)
        seen.add(pattern)
    return tuple([*firsts, *others][:limit])


def _badness(result: UrlResult) -> tuple[int, float, int]:
    return _BADNESS[result.outcome], result.mean or 0.0, result.requests


def _pattern_summary(pattern: str, members: list[UrlResult]) -> PatternSummary:
    outcomes = Counter(one.outcome for one in members)
    means = [one.mean for one in members if one.mean is not None]
    example = max(members, key=lambda one: (_BADNESS.get(one.outcome, 0), one.mean or 0.0))
    return PatternSummary(
        pattern,
        _in_order(outcomes),
        sum(one.requests for one in members),
        max(means, default=None),
        example.target,
    )


def _in_order(counts: Counter[Outcome]) -> tuple[tuple[Outcome, int], ...]:
    return tuple((outcome, counts[outcome]) for outcome in Outcome if counts[outcome])
