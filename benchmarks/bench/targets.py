"""The project's performance targets, checked against the results of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.cold import Pace
from bench.parallel import Level, Srcset
from bench.peers import BEFORE, RENDERING
from bench.quality import Equal, Looks
from bench.results import table
from bench.warm import Busy, Hits, Identical, Kept

NGINX = "nginx, one worker"
RIVALS = ("sharp", "thumbor")
GOALS = (
    ("12 MP → 512 px JPEG", RIVALS, 1.05),
    ("12 MP → 800 px JPEG, quality 80", RIVALS, 1.05),
    ("12 MP → 1920 px JPEG", RIVALS, 1.05),
    ("24 MP → 1280 px JPEG", RIVALS, 1.05),
    ("12 MP → 512 px WebP", RIVALS, 1.05),
    ("12 MP → 512 px AVIF", ("sharp, equal",), 1.0),
    ("3 MP PNG → 512 px PNG", ("sharp, equal",), 1.0),
)
"""Rows, rivals, and the least quotient of their processor time and ours."""
LOST_SCORE = 1.0
"""The points of SSIMULACRA2 that a rival's image may be better in its row."""
NAMES = tuple(peer.name for peer in RENDERING)


@dataclass(slots=True)
class Found:
    """The measurements of a run; empty if not measured."""

    cold: dict[str, Mapping[str, Pace]] = field(default_factory=dict)
    srcsets: dict[str, Srcset] = field(default_factory=dict)
    levels: dict[str, dict[int, Level]] = field(default_factory=dict)
    looks: dict[str, Looks] = field(default_factory=dict)
    equal: dict[str, Equal] = field(default_factory=dict)
    limit_ms: float | None = None
    hits: dict[str, Hits] = field(default_factory=dict)
    hit_bytes: float = 0.0
    identical: Identical | None = None
    busy: Busy | None = None
    kept: list[Kept] = field(default_factory=list)

    def paces(self, beginning: str) -> Mapping[str, Pace]:
        """The result of the case with this beginning of its title."""
        return next((paces for title, paces in self.cold.items() if title.startswith(beginning)), {})


@dataclass(frozen=True, slots=True)
class Target:
    """A target: its text, the measured value, and True if it is met (None: not measured)."""

    name: str
    required: str
    measured: str
    is_met: bool | None


def at_least(name: str, required: float, measured: float | None, more: str = "") -> Target:
    """A ratio that must not be smaller."""
    if measured is None:
        return Target(name, f"≥ {required:g}×", "not measured", None)
    return Target(name, f"≥ {required:g}×", f"{measured:.2f}×{more}", measured >= required)


def at_most(name: str, required: float, unit: str, measured: float | None, more: str = "") -> Target:
    """A quantity that must not be larger."""
    if measured is None:
        return Target(name, f"≤ {required:g} {unit}", "not measured", None)
    return Target(name, f"≤ {required:g} {unit}", f"{measured:.3g} {unit}{more}", measured <= required)


def targets_table(targets: Sequence[Target]) -> str:
    word = {True: "met", False: "**missed**", None: "–"}
    return table(("", "target", "measured", ""), [(t.name, t.required, t.measured, word[t.is_met]) for t in targets])


def against_best(paces: Mapping[str, Pace], rivals: Sequence[str], ours: str = "cropmark") -> float | None:
    """The least processor time of these over ours; None if none of them took part."""
    there = [paces[name].cpu_ms for name in rivals if name in paces]
    return min(there) / paces[ours].cpu_ms if there and ours in paces else None


def targets(found: Found) -> list[Target]:
    """The targets, with their measured values."""
    rows = [
        _against(found.paces(title), title, rival, required) for title, rivals, required in GOALS for rival in rivals
    ]
    small = found.paces("1 MP → 300 px JPEG, quality 80").get("cropmark")
    rows.append(at_most("1 MP → 300 px JPEG, processor time", 5.5, "ms", small.cpu_ms if small else None))
    rows.append(_srcset(found))
    rows += [_equal(found, "WebP", 1.2, 0.05), _equal(found, "AVIF", 8, 0.25)]
    return [*rows, *_held(found)]


def _against(paces: Mapping[str, Pace], title: str, rival: str, required: float) -> Target:
    """The rival's processor time over ours, and our score less the rival's, which may be −1 at the least."""
    name = f"{title} against {rival}, SSIMULACRA2 ≥ −1"
    ratio = against_best(paces, [rival])
    if ratio is None:
        return at_least(name, required, None)
    ours, theirs = paces["cropmark"].score, paces[rival].score
    if ours is None or theirs is None:
        return at_least(name, required, ratio, ", not scored")
    is_met = ratio >= required and ours - theirs >= -LOST_SCORE
    return Target(name, f"≥ {required:g}×", f"{ratio:.2f}×, {ours - theirs:+.1f}", is_met)


def _srcset(found: Found) -> Target:
    name, required = f"all sizes of an image, time against {BEFORE.name}", "≤ 0.65×"
    ours, before = found.srcsets.get("cropmark"), found.srcsets.get(BEFORE.name)
    if ours is None or before is None:
        return Target(name, required, "not measured", None)
    ratio = ours.seconds / before.seconds
    return Target(name, required, f"{ratio:.2f}×", ratio <= 0.65)


def _equal(found: Found, word: str, required: float, bytes_limit: float) -> Target:
    equal = found.equal.get(word)
    ratio = against_best(found.paces(f"12 MP → 800 px {word}, equal quality"), ["sharp"])
    name = f"{word} at equal quality, bytes ≤ {bytes_limit:+.0%}, against sharp"
    if equal is None or ratio is None:
        return at_least(name, required, None)
    is_met = ratio >= required and equal.more_bytes <= bytes_limit
    return Target(name, f"≥ {required:g}×", f"{ratio:.2f}×, bytes {equal.more_bytes:+.0%}", is_met)


def _held(found: Found) -> list[Target]:
    identical, busy = found.identical, found.busy
    after = {kept.requests: kept.memory.proportional for kept in found.kept}
    first, last = (min(after), max(after)) if after else (0, 0)
    grown = f" ({after[last]:.0f} after {last:,})" if after else ""
    is_one = identical.renders == 1 if identical else None
    cpu_ms = found.paces("12 MP → 800 px JPEG, quality 80").get("cropmark")
    share = f"{cpu_ms.cpu_ms / found.limit_ms:.2f}×" if cpu_ms and found.limit_ms else "not measured"
    return [
        Target("500 identical cold requests: renders", "1", str(identical.renders) if identical else "–", is_one),
        at_most("the same, processor time per request", 1.5, "ms", identical.cpu_ms if identical else None),
        at_least("hits from memory against nginx static", 0.35, _hit_ratio(found, "cropmark, memory")),
        at_least("hits from disk against nginx static", 0.28, _hit_ratio(found, "cropmark, disk")),
        at_most("hit p99 while the renderers are saturated", 10, "ms", busy.p99_ms if busy else None),
        at_most(
            f"memory after {first:,} mixed requests, shared pages counted once", 300, "MiB", after.get(first), grown
        ),
        Target("cold processor time, of the libjpeg-turbo limit", "≤ 1.3× (an aim)", share, None),
    ]


def _hit_ratio(found: Found, name: str) -> float | None:
    if name not in found.hits or NGINX not in found.hits:
        return None
    return found.hits[name].rate / found.hits[NGINX].rate
