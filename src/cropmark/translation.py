"""Translates a request of one dialect to other dialects: serialize it, parse it again, compare.

A dialect's writer proposes queries. Each is parsed like any request of that dialect, and its Plan is compared with
the expected one for every client (by its Accept header) and every kind of source that both dialects read. Plans are
compared in the normal form of geometry.normalize: the Steps that apply to that kind of source, and the encoding of the
result (format, quality if it has an effect, lossless, progressive, palette, frames, metadata). Not compared: limits,
readable formats and their fallbacks, the rule that sends the original if re-encoding gains nothing, and warnings.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from cropmark.dialects.dialect import Dialect, DialectQuery, ImageRequest, Response, Unsupported
from cropmark.explanation import summarize
from cropmark.geometry.normalize import NormalizedPlan, normalized_plans
from cropmark.geometry.recipe import Encoding
from cropmark.model.formats import Info
from cropmark.model.problems import BadRequest, Problem
from cropmark.plan.plan import Order
from cropmark.plan.steps import AnyStep, Overflow

CLIENTS: Final = ("", "image/webp", "image/avif", "image/avif,image/webp")
"""Accept headers, one for each kind of client that a dialect distinguishes."""
DEFAULT_PATHS: Final = {"pixlab": "crop"}
"""The path of a request that is given as a query only, by dialects with endpoints."""


@dataclass(frozen=True, slots=True)
class Translation:
    """A request translated to a dialect.

    With an empty `differs` it is equivalent for every client and every kind of source; otherwise `differs` has a
    sentence for each difference. Without a query the dialect cannot express the request; `differs` gives the reasons.
    """

    dialect: str
    query: DialectQuery | None
    differs: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        return self.query is not None and not self.differs

    def to_json(self) -> dict[str, Any]:
        """The translation as a JSON object."""
        members: dict[str, Any] = {"dialect": self.dialect, "same": self.same}
        if self.query is not None:
            members["query"] = self.query.text
            members |= {"endpoint": self.query.endpoint} if self.query.endpoint else {}
            members |= {"headers": dict(self.query.headers)} if self.query.headers else {}
        return members | ({"differs": list(self.differs)} if self.differs else {})


def translations(
    request: ImageRequest, dialect: Dialect, others: Iterable[Dialect], *, accept: str | None = None
) -> tuple[Translation, ...]:
    """The request translated to each of the other dialects. Raises the Problem that its own dialect reports.

    `accept` None: compare for every client; otherwise only for the client with this Accept header.
    """
    clients = CLIENTS if accept is None else (accept,)
    orders = _orders(dialect, request, clients)
    return tuple(_translate(orders, request, other, clients) for other in others)


def _orders(dialect: Dialect, request: ImageRequest, clients: Sequence[str]) -> tuple[Order, ...]:
    """The Order for each client. Raises BadRequest if the dialect returns a Response instead."""
    return tuple(_order(dialect, replace(request, headers={**request.headers, "accept": client})) for client in clients)


def _order(dialect: Dialect, request: ImageRequest) -> Order:
    order = dialect.order(request)
    if isinstance(order, Response):
        raise BadRequest(f"{dialect.name} returns a response with status {order.status}, not an image")
    return order


def _translate(orders: Sequence[Order], request: ImageRequest, other: Dialect, clients: Sequence[str]) -> Translation:
    proposals = other.serialize(_combined_order(orders))
    if isinstance(proposals, Unsupported):
        return Translation(other.name, None, proposals.reasons)
    expected = _plans_by_client(orders)
    best = CheckedTranslation.of(proposals.queries[0], expected, request, other, clients)
    for query in proposals.queries[1:]:
        if best.distance == 0:
            break
        checked = CheckedTranslation.of(query, expected, request, other, clients)
        best = min(best, checked, key=lambda translation: translation.distance)
    return Translation(other.name, best.query if best.is_near else None, best.sentences(other.name, clients))


def _combined_order(orders: Sequence[Order]) -> Order:
    """The first Order with a Plan, with the choices of all Plans: a writer finds all formats and qualities in it."""
    plans = [order.plan for order in orders if order.plan is not None]
    if not plans:
        return orders[0]
    choices = dict.fromkeys(choice for plan in plans for choice in plan.output.choices)
    first = next(order for order in orders if order.plan is not None)
    output = replace(plans[0].output, choices=tuple(choices))
    return replace(first, plan=replace(plans[0], output=output))


# ------------------------------------------------------------------------------------------------ comparison

PlansBySource = Mapping[Info, NormalizedPlan]
"""The normalized Plan for every kind of readable source; empty if the stored bytes are sent."""


def _plans_by_client(orders: Sequence[Order]) -> list[PlansBySource]:
    """The normalized Plans for each client. Equal Plans, which most clients share, are normalized once."""
    plans: list[PlansBySource] = []
    for at, order in enumerate(orders):
        same = next((n for n in range(at) if orders[n].plan == order.plan), None)
        plans.append(plans[same] if same is not None else normalized_plans(order.plan) if order.plan else {})
    return plans


@dataclass(frozen=True, slots=True)
class TranslationPair:
    """The expected and the actual Plan for one kind of source and one client."""

    client: int
    info: Info
    expected: NormalizedPlan
    actual: NormalizedPlan

    @property
    def is_equal(self) -> bool:
        return self.expected == self.actual

    @property
    def is_near(self) -> bool:
        """True if only crops that reach outside and the encoding within the same format differ."""
        return (
            self.expected.ignoring_overflow == self.actual.ignoring_overflow
            and self.expected.encoding.format is self.actual.encoding.format
        )

    @property
    def distance(self) -> int:
        """The number of differences; Steps and the format have a higher weight."""
        if self.is_equal:
            return 0
        one, two = self.expected, self.actual
        crops = (one.steps != two.steps) + (one.ignoring_overflow != two.ignoring_overflow) * _WEIGHT
        format_ = (one.encoding.format is not two.encoding.format) * _WEIGHT
        encoding = sum(bool(getattr(one.encoding, f.name) != getattr(two.encoding, f.name)) for f in fields(Encoding))
        return crops + format_ + encoding + (one.frames != two.frames)


@dataclass(frozen=True, slots=True)
class CheckedTranslation:
    """A proposed query, compared with the expected Plans; `rejection` is the reason why it cannot be compared."""

    query: DialectQuery
    pairs: tuple[TranslationPair, ...]
    rejection: str | None = None

    @classmethod
    def of(
        cls,
        query: DialectQuery,
        expected: Sequence[PlansBySource],
        request: ImageRequest,
        other: Dialect,
        clients: Sequence[str],
    ) -> CheckedTranslation:
        """The query, parsed by the other dialect and compared for each client."""
        proposed = ImageRequest(query.endpoint or request.path, query.text, dict(query.headers), base=request.base)
        try:
            actual = _plans_by_client(_orders(other, proposed, clients))
        except Problem as problem:
            return cls(query, (), f"{other.name} refuses it: {problem.detail}")
        for one, two in zip(expected, actual, strict=True):
            if bool(one) is not bool(two):
                return cls(query, (), _GIVES_STORED if one else _GIVES_ENCODED)
        pairs = (
            TranslationPair(client, info, one[info], two[info])
            for client, (one, two) in enumerate(zip(expected, actual, strict=True))
            for info in one
            if info in two
        )
        return cls(query, tuple(pairs))

    @property
    def distance(self) -> float:
        """0 if all pairs are equal; each source format has the same weight, independent of its number of kinds."""
        if self.rejection is not None:
            return math.inf
        kinds = Counter(pair.info.format for pair in self.pairs)
        return sum(pair.distance / kinds[pair.info.format] for pair in self.pairs)

    @property
    def is_near(self) -> bool:
        """True if the translation is close enough to return: near for at least half of the source formats."""
        if self.rejection is not None:
            return False
        kinds = Counter(pair.info.format for pair in self.pairs)
        near = sum(1 / kinds[pair.info.format] for pair in self.pairs if pair.is_near)
        return near >= len(kinds) / 2

    def sentences(self, name: str, clients: Sequence[str]) -> tuple[str, ...]:
        """A sentence for each difference, with the sources and clients that it applies to."""
        if self.rejection is not None:
            return (self.rejection,)
        by_sentence: dict[str, list[TranslationPair]] = {}
        for pair in self.pairs:
            for sentence in differences(pair, name):
                by_sentence.setdefault(sentence, []).append(pair)
        sentences = [text + self._scope_note(pairs, clients) for text, pairs in by_sentence.items()]
        more = len(sentences) - MAX_SENTENCES
        return (*sentences[:MAX_SENTENCES], *((f"and {more} more",) if more > 0 else ()))

    def _scope_note(self, pairs: Sequence[TranslationPair], clients: Sequence[str]) -> str:
        """The sources and clients that a sentence applies to, in parentheses; empty if to all."""
        if len(pairs) == len(self.pairs):
            return ""
        note = f" (from {', '.join(self._sources({pair.info for pair in pairs}))}"
        numbers = sorted({pair.client for pair in pairs})
        if len(numbers) == len(clients):
            return f"{note})"
        return f"{note}, for clients that accept {' or '.join(clients[n] or 'nothing newer' for n in numbers)})"

    def _sources(self, infos: Set[Info]) -> Iterator[str]:
        """The source format if all of its kinds are in `infos`, otherwise the kinds that are."""
        for name in dict.fromkeys(pair.info.format for pair in self.pairs):
            all_kinds = dict.fromkeys(pair.info for pair in self.pairs if pair.info.format is name)
            kinds = [info for info in all_kinds if info in infos]
            if len(kinds) == len(all_kinds):
                yield name.value
            else:
                yield from map(describe_source, kinds)


_GIVES_ENCODED: Final = "Plan: expected the stored bytes, but this dialect encodes every response"
_GIVES_STORED: Final = "Plan: this dialect sends the stored bytes for the same request"
MAX_SENTENCES: Final = 8
_WEIGHT: Final = 4


# ------------------------------------------------------------------------------------------------ differences


def describe_source(info: Info) -> str:
    """The kind of source in words: `progressive jpeg`, `animated webp with alpha, lossless`."""
    words = ["animated"] * info.animated + ["progressive"] * info.progressive + [info.format.value]
    text = " ".join(words) + (" with alpha" if info.alpha else "")
    can_be_lossy = info.format.value == "webp"
    return text + (", lossless" if can_be_lossy and info.lossless else "")


def differences(pair: TranslationPair, name: str) -> Iterator[str]:
    """A sentence for each difference of a pair; `name` is the dialect of the translation."""
    if pair.expected.steps != pair.actual.steps:
        yield from _step_differences(pair.expected.steps, pair.actual.steps, name)
    one, two = (_describe_encoding(plan.encoding, plan.frames, pair.info) for plan in (pair.expected, pair.actual))
    if one != two:
        yield f"Output: expected {one}, {name} gives {two}"
    if pair.expected.encoding.metadata != pair.actual.encoding.metadata:
        one, two = (_describe_metadata(plan.encoding) for plan in (pair.expected, pair.actual))
        yield f"Output.metadata: expected {one}, {name} keeps {two}"


def _step_differences(expected: tuple[AnyStep, ...], actual: tuple[AnyStep, ...], name: str) -> Iterator[str]:
    names = [[type(step).__name__ for step in steps] for steps in (expected, actual)]
    if names[0] != names[1]:
        missing, added = Counter(names[0]) - Counter(names[1]), Counter(names[1]) - Counter(names[0])
        yield from (f"{step}: {name} leaves it out" for step in sorted(missing.elements()))
        yield from (f"{step}: {name} adds it" for step in sorted(added.elements()))
        return
    for one, two in zip(expected, actual, strict=True):
        for field in fields(one):
            if getattr(one, field.name) != getattr(two, field.name):
                yield _field_difference(one, two, field.name, name)


def _field_difference(one: AnyStep, two: AnyStep, field: str, name: str) -> str:
    expected, actual = getattr(one, field), getattr(two, field)
    if isinstance(expected, Overflow):
        return f"Crop.overflow: outside the image it {_OVERFLOWS[expected]}; in {name} it {_OVERFLOWS[actual]}"
    return f"{type(one).__name__}.{field}: expected {summarize(expected)}, {name} has {summarize(actual)}"


_OVERFLOWS: Final = {
    Overflow.REFUSE: "is refused",
    Overflow.CLIP: "is clipped, or left out if it is completely outside",
    Overflow.CLIP_OR_REFUSE: "is clipped, or refused if it is completely outside",
    Overflow.CLIP_OR_ORIGINAL: "is clipped, or gives the original if it is completely outside",
}


def _describe_encoding(encoding: Encoding, frames: int, info: Info) -> str:
    """The encoding in words: `webp at 85`, `progressive jpeg at 70`, `gif of the first frame`."""
    words = ["lossless"] * encoding.lossless + ["progressive"] * encoding.progressive + [encoding.format.value]
    words += ["with a palette"] * encoding.palette
    if encoding.quality != _NO_QUALITY:
        words.append(f"at {encoding.quality}")
    if info.animated and frames == 1:
        words.append("of the first frame")
    return " ".join(words)


def _describe_metadata(encoding: Encoding) -> str:
    return " and ".join(sorted(keep.value for keep in encoding.metadata)) or "nothing"


_NO_QUALITY: Final = 100
