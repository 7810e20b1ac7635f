"""One dialect's request in another's words: written there, read back, and held against what was meant.

Nothing is taken on trust. A dialect's writer proposes queries; each is read by that dialect as any request is, and its
Plan compared with the first one for every client (what an Accept header may name) and every kind of source that both
dialects read. Compared is what geometry.meaning makes of them: the Steps as they apply to that kind, in a normal form,
and the encoding that comes out (format, quality where one counts, losslessness, progression, palette, frames, metadata
that stays). Not compared is what no caller asks for: limits, which sources are read, what goes out for those that are
not, when an original goes out because nothing is gained, and the words of warnings.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from cropmark.dialects.dialect import Dialect, DialectQuery, ImageRequest, Unsupported
from cropmark.explanation import short
from cropmark.geometry.normalize import NormalizedPlan, meanings
from cropmark.geometry.recipe import Encoding
from cropmark.model.formats import Info
from cropmark.model.problems import Problem
from cropmark.plan.plan import Order
from cropmark.plan.steps import AnyStep, Overflow

CLIENTS: Final = ("", "image/webp", "image/avif", "image/avif,image/webp")
"""Accept headers of every sort of client that a dialect tells apart."""
PATHS: Final = {"pixlab": "crop"}
"""What a request without a path asks for, in dialects whose path is an endpoint."""


@dataclass(frozen=True, slots=True)
class Translation:
    """A request in a dialect's words.

    Without `differs` it means the same to every client and for every kind of source; with it, but for what stands
    there. Without a query there are no words for it, and `differs` says for what.
    """

    dialect: str
    query: DialectQuery | None
    differs: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        return self.query is not None and not self.differs

    def plain(self) -> dict[str, Any]:
        """The whole as JSON would have it."""
        told: dict[str, Any] = {"dialect": self.dialect, "same": self.same}
        if self.query is not None:
            told["query"] = self.query.text
            told |= {"endpoint": self.query.endpoint} if self.query.endpoint else {}
            told |= {"headers": dict(self.query.headers)} if self.query.headers else {}
        return told | ({"differs": list(self.differs)} if self.differs else {})


def translations(
    ask: ImageRequest, spoken: Dialect, others: Iterable[Dialect], *, accept: str | None = None
) -> tuple[Translation, ...]:
    """The request in each of the other dialects. Raises the Problem that `spoken` refuses it with.

    `accept` None: for every client; else for the one that sends it.
    """
    clients = CLIENTS if accept is None else (accept,)
    wanted = _read(spoken, ask, clients)
    return tuple(_translated(wanted, ask, other, clients) for other in others)


def _read(dialect: Dialect, ask: ImageRequest, clients: Sequence[str]) -> tuple[Order, ...]:
    return tuple(dialect.order(replace(ask, headers={**ask.headers, "accept": client})) for client in clients)


def _translated(wanted: Sequence[Order], ask: ImageRequest, other: Dialect, clients: Sequence[str]) -> Translation:
    said = other.serialize(_all_told(wanted))
    if isinstance(said, Unsupported):
        return Translation(other.name, None, said.reasons)
    meant = _meanings(wanted)
    best = CheckedTranslation.of(said.queries[0], meant, ask, other, clients)
    for query in said.queries[1:]:
        if best.distance == 0:
            break
        best = min(best, CheckedTranslation.of(query, meant, ask, other, clients), key=lambda held: held.distance)
    return Translation(other.name, best.query if best.is_near else None, best.told(other.name, clients))


def _all_told(wanted: Sequence[Order]) -> Order:
    """What the first client that gets a picture made asks for, and behind it, for their qualities, what the others get.

    Where some get the stored bytes, what the others get tells more.
    """
    plans = [order.plan for order in wanted if order.plan is not None]
    if not plans:
        return wanted[0]
    choices = dict.fromkeys(choice for plan in plans for choice in plan.output.choices)
    first = next(order for order in wanted if order.plan is not None)
    output = replace(plans[0].output, choices=tuple(choices))
    return replace(first, plan=replace(plans[0], output=output))


# ------------------------------------------------------------------------------------------------ held against

Meanings = Mapping[Info, NormalizedPlan]
"""What every kind of source that is read becomes; empty where the stored bytes go out."""


def _meanings(orders: Sequence[Order]) -> list[Meanings]:
    """One for each client; most dialects mean the same for most of them."""
    found: list[Meanings] = []
    for at, order in enumerate(orders):
        like = next((n for n in range(at) if orders[n].plan == order.plan), None)
        found.append(found[like] if like is not None else meanings(order.plan) if order.plan else {})
    return found


@dataclass(frozen=True, slots=True)
class TranslationPair:
    """What one kind of source becomes for one client: what was meant, and what the translation makes of it."""

    client: int
    info: Info
    meant: NormalizedPlan
    found: NormalizedPlan

    @property
    def like(self) -> bool:
        return self.meant == self.found

    @property
    def is_near(self) -> bool:
        """Whether nothing differs but crops that reach outside, and how well the format is encoded."""
        return (
            self.meant.ignoring_overflow == self.found.ignoring_overflow
            and self.meant.encoding.format is self.found.encoding.format
        )

    @property
    def distance(self) -> int:
        """How many things differ; a Step and the format weigh most."""
        if self.like:
            return 0
        meant, found = self.meant, self.found
        crops = (meant.steps != found.steps) + (meant.ignoring_overflow != found.ignoring_overflow) * _WEIGHT
        format_ = (meant.encoding.format is not found.encoding.format) * _WEIGHT
        how = sum(bool(getattr(meant.encoding, f.name) != getattr(found.encoding, f.name)) for f in fields(Encoding))
        return crops + format_ + how + (meant.frames != found.frames)


@dataclass(frozen=True, slots=True)
class CheckedTranslation:
    """A proposal held against what was meant; `refused` says why there is nothing to hold."""

    query: DialectQuery
    pairs: tuple[TranslationPair, ...]
    refused: str | None = None

    @classmethod
    def of(
        cls, query: DialectQuery, meant: Sequence[Meanings], ask: ImageRequest, other: Dialect, clients: Sequence[str]
    ) -> CheckedTranslation:
        """The query as the other dialect reads it."""
        again = ImageRequest(query.endpoint or ask.path, query.text, dict(query.headers), base=ask.base)
        try:
            found = _meanings(_read(other, again, clients))
        except Problem as problem:
            return cls(query, (), f"{other.name} refuses it: {problem.detail}")
        for was, made in zip(meant, found, strict=True):
            if bool(was) is not bool(made):
                return cls(query, (), _ASKS_ENCODING if was else _ASKS_STORED)
        pairs = (
            TranslationPair(client, info, was[info], made[info])
            for client, (was, made) in enumerate(zip(meant, found, strict=True))
            for info in was
            if info in made
        )
        return cls(query, tuple(pairs))

    @property
    def distance(self) -> float:
        """0 where all are alike; every format of sources counts alike, however many kinds of it there are."""
        if self.refused is not None:
            return math.inf
        kinds = Counter(pair.info.format for pair in self.pairs)
        return sum(pair.distance / kinds[pair.info.format] for pair in self.pairs)

    @property
    def is_near(self) -> bool:
        """Whether it is worth telling: near at least for half of the sources, by format."""
        if self.refused is not None:
            return False
        kinds = Counter(pair.info.format for pair in self.pairs)
        near = sum(1 / kinds[pair.info.format] for pair in self.pairs if pair.is_near)
        return near >= len(kinds) / 2

    def told(self, name: str, clients: Sequence[str]) -> tuple[str, ...]:
        """What it does otherwise, a sentence for all sources and clients that differ alike."""
        if self.refused is not None:
            return (self.refused,)
        alike: dict[str, list[TranslationPair]] = {}
        for pair in self.pairs:
            for what in differences(pair, name):
                alike.setdefault(what, []).append(pair)
        told = [what + self._whose(pairs, clients) for what, pairs in alike.items()]
        more = len(told) - MOST_SENTENCES
        return (*told[:MOST_SENTENCES], *((f"and {more} more",) if more > 0 else ()))

    def _whose(self, pairs: Sequence[TranslationPair], clients: Sequence[str]) -> str:
        """Which sources and clients a sentence is about; nothing where it is about all."""
        if len(pairs) == len(self.pairs):
            return ""
        told = f" (from {', '.join(self._sources({pair.info for pair in pairs}))}"
        numbers = sorted({pair.client for pair in pairs})
        if len(numbers) == len(clients):
            return f"{told})"
        return f"{told}, for clients that accept {' or '.join(clients[n] or 'nothing newer' for n in numbers)})"

    def _sources(self, infos: Set[Info]) -> Iterator[str]:
        """Each format whose every kind is there, else those kinds of it that are."""
        for name in dict.fromkeys(pair.info.format for pair in self.pairs):
            all_kinds = dict.fromkeys(pair.info for pair in self.pairs if pair.info.format is name)
            there = [info for info in all_kinds if info in infos]
            if len(there) == len(all_kinds):
                yield name.value
            else:
                yield from map(kind, there)


_ASKS_STORED: Final = "Plan: the stored bytes are asked for, and here every answer is encoded"
_ASKS_ENCODING: Final = "Plan: here the same asks for nothing but the stored bytes"
MOST_SENTENCES: Final = 8
_WEIGHT: Final = 4


# ------------------------------------------------------------------------------------------------ what differs


def kind(info: Info) -> str:
    """The kind of source in words: `progressive jpeg`, `animated webp with alpha, lossless`."""
    words = ["animated"] * info.animated + ["progressive"] * info.progressive + [info.format.value]
    told = " ".join(words) + (" with alpha" if info.alpha else "")
    may_be_either = info.format.value == "webp"
    return told + (", lossless" if may_be_either and info.lossless else "")


def differences(pair: TranslationPair, name: str) -> Iterator[str]:
    """What one pair differs in, a sentence each."""
    if pair.meant.steps != pair.found.steps:
        yield from _of_steps(pair.meant.steps, pair.found.steps, name)
    meant, found = (_encoding(m.encoding, m.frames, pair.info) for m in (pair.meant, pair.found))
    if meant != found:
        yield f"Output: {meant} was meant, {name} makes {found}"
    if pair.meant.encoding.keeps != pair.found.encoding.keeps:
        was, made = (_kept(m.encoding) for m in (pair.meant, pair.found))
        yield f"Output.keeps: {was} was to stay of the metadata, {name} keeps {made}"


def _of_steps(meant: tuple[AnyStep, ...], found: tuple[AnyStep, ...], name: str) -> Iterator[str]:
    was, made = ([type(step).__name__ for step in steps] for steps in (meant, found))
    if was != made:
        left_out, added = (sorted((Counter(a) - Counter(b)).elements()) for a, b in ((was, made), (made, was)))
        yield from (f"{step}: {name} leaves it out" for step in left_out)
        yield from (f"{step}: {name} does it, though it was not meant" for step in added)
        return
    for one, two in zip(meant, found, strict=True):
        for field in fields(one):
            if getattr(one, field.name) != getattr(two, field.name):
                yield _of_field(one, two, field.name, name)


def _of_field(one: AnyStep, two: AnyStep, field: str, name: str) -> str:
    was, made = getattr(one, field), getattr(two, field)
    if isinstance(was, Overflow):
        return f"Crop.overflow: outside the picture it {_OVERFLOWS[was]}; in {name} it {_OVERFLOWS[made]}"
    return f"{type(one).__name__}.{field}: {short(was)} was meant, {name} has {short(made)}"


_OVERFLOWS: Final = {
    Overflow.REFUSE: "is refused",
    Overflow.CLIP: "is clipped, or left out where nothing of it lies inside",
    Overflow.CLIP_OR_REFUSE: "is clipped, or refused where nothing of it lies inside",
    Overflow.CLIP_OR_ORIGINAL: "is clipped, or gives the original where nothing of it lies inside",
}


def _encoding(how: Encoding, frames: int, info: Info) -> str:
    """The encoding in words: `webp at 85`, `progressive jpeg at 70`, `gif of the first frame`."""
    words = ["lossless"] * (how.lossless) + ["progressive"] * how.progressive + [how.format.value]
    words += ["of a palette"] * how.palette
    if how.quality != _NO_QUALITY:
        words.append(f"at {how.quality}")
    if info.animated and frames == 1:
        words.append("of the first frame")
    return " ".join(words)


def _kept(how: Encoding) -> str:
    return " and ".join(sorted(keep.value for keep in how.keeps)) or "nothing"


_NO_QUALITY: Final = 100
