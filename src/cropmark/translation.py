"""Translates a request of one dialect to other dialects: serializes it, parses it again, and compares the Plans.

The other dialect's writer proposes queries. Each proposal is parsed like any request of that dialect. Its Plan is
compared with the expected Plan, for every client (by its Accept header) and every kind of source that both dialects
read. Plans are compared in the normal form of geometry.normalize: the Steps that apply to that kind of source, and the
encoding of the result (format, quality if it has an effect, lossless, progressive, palette, frames, metadata).

Not compared: limits, readable formats and their fallbacks, warnings, and the rule that sends the original if
re-encoding gains nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from cropmark.dialects.dialect import Dialect, DialectQuery, ImageRequest, Response, Unsupported
from cropmark.explanation import summarize
from cropmark.geometry.normalize import SAMPLE_INFOS, NormalizedPlan, normalized_plans
from cropmark.geometry.recipe import Encoding
from cropmark.model.formats import Format, Info
from cropmark.model.problems import BadRequest, Problem
from cropmark.plan.equivalents import with_covering_resizes
from cropmark.plan.plan import Order
from cropmark.plan.steps import AnyStep, Overflow

CLIENTS: Final = ("", "image/webp", "image/avif", "image/avif,image/webp")
"""The compared Accept headers, one for each kind of client that a dialect distinguishes."""


@dataclass(frozen=True, slots=True)
class Translation:
    """A request translated to a dialect.

    If `differs` is empty, the translation is equivalent for every client and every kind of source. Otherwise it has a
    sentence for each difference. If the dialect cannot express the request, `query` has the value None, and `differs`
    has the reasons.
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
    """Translate a request, which is in `dialect`, to each of the other dialects.

    With `accept`, requests are compared only for the client with this Accept header; without it, for every client.
    Raises the Problem that `dialect` reports for the request.
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
    checked: list[CheckedTranslation] = []
    for query in proposals.queries:
        checked.append(CheckedTranslation.of(query, expected, request, other, clients))
        if checked[-1].distance == 0:
            break
    best = min(checked, key=lambda translation: translation.cost)
    return Translation(other.name, best.query if best.is_near else None, best.sentences(other.name, clients))


def _combined_order(orders: Sequence[Order]) -> Order:
    """The first Order with a Plan, extended by the encoding choices of all clients' Plans.

    So a dialect's writer finds all formats and qualities in one Order.
    """
    plans = [order.plan for order in orders if order.plan is not None]
    if not plans:
        return orders[0]
    choices = dict.fromkeys(choice for plan in plans for choice in plan.output.choices)
    first = next(order for order in orders if order.plan is not None)
    output = replace(plans[0].output, choices=tuple(choices))
    return replace(first, plan=replace(plans[0], output=output))


# ------------------------------------------------------------------------------------------------ comparison

PlansBySource = Mapping[Info, NormalizedPlan]
"""The normalized Plan for every kind of readable source."""


def _plans_by_client(orders: Sequence[Order]) -> list[PlansBySource]:
    """The normalized Plans for each client. Clients with equal Plans share one normalized Plan."""
    plans: list[PlansBySource] = []
    for at, order in enumerate(orders):
        same = next((n for n in range(at) if orders[n].plan == order.plan), None)
        plans.append(plans[same] if same is not None else normalized_plans(order.plan))
    return plans


@dataclass(frozen=True, slots=True)
class TranslationPair:
    """The expected and the actual Plan, for one kind of source and one client."""

    client: int
    info: Info
    expected: NormalizedPlan
    actual: NormalizedPlan
    formats: frozenset[Format] = frozenset()
    """The formats expected for this kind of source, for any client; more than one if the format is negotiated."""

    @property
    def is_equal(self) -> bool:
        return self.expected == self.actual

    @property
    def is_near(self) -> bool:
        """True if the Plans differ only slightly.

        They may differ in the encoding, by less than a pixel, and in crops that reach outside the image. The format
        must be equal to the expected format for this client or for another client.
        """
        return self._steps_are_near and self.actual.encoding.format in self.formats | {self.expected.encoding.format}

    @property
    def _steps_are_near(self) -> bool:
        # Compared first: equal steps need no approximate form, which takes most of the time of a translation.
        one, two = self.expected, self.actual
        return one.steps == two.steps or one.approximate_steps == two.approximate_steps

    @property
    def distance(self) -> float:
        """The weighted number of differences. Steps and the format count more, a different quality counts less."""
        if self.is_equal:
            return 0
        one, two = self.expected, self.actual
        crops = (one.steps != two.steps) + (not self._steps_are_near) * _WEIGHT
        others = (one.frames != two.frames) + (one.is_stored != two.is_stored)
        return crops + others + _encoding_distance(one.encoding, two.encoding)


def _encoding_distance(one: Encoding, two: Encoding) -> float:
    if one.format is not two.format:
        return _WEIGHT  # their other fields cannot be compared
    flags = sum(bool(getattr(one, f.name) != getattr(two, f.name)) for f in fields(Encoding) if f.name != "quality")
    # Qualities a few points apart look the same: 3 counts as 0.03, 10 and more as 1.
    return flags + min(1.0, abs(one.quality - two.quality) ** 3 / 1000.0)


@dataclass(frozen=True, slots=True)
class CheckedTranslation:
    """A proposed query and its comparison with the expected Plans.

    `rejection` is the reason why the query cannot be compared; None if it was compared.
    """

    query: DialectQuery
    pairs: tuple[TranslationPair, ...]
    distance: float
    """The sum of the distances of all pairs: 0 if all Plans are equal, infinite for a rejected query.

    Each source format has the same weight, although some formats have more kinds of source than others.
    """
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
        """Parse the query with the other dialect, and compare it for each client."""
        proposed = ImageRequest(query.endpoint or request.path, query.text, dict(query.headers), base=request.base)
        try:
            actual = _plans_by_client(_orders(other, proposed, clients))
        except Problem as problem:
            return cls(query, (), math.inf, f"{other.name} refuses it: {problem.detail}")
        formats = {
            info: frozenset(plans[info].encoding.format for plans in expected if info in plans) for info in SAMPLE_INFOS
        }
        pairs = tuple(
            TranslationPair(client, info, one[info], two[info], formats[info])
            for client, (one, two) in enumerate(zip(expected, actual, strict=True))
            for info in one
            if info in two
        )
        return cls(query, pairs, _sum_of_distances(pairs))

    @property
    def cost(self) -> float:
        """A number by which proposals are ranked; the lowest is best. 0 only if the distance is 0.

        It is the rounded distance, plus 1/10 for each parameter of the query.
        """
        return round(self.distance, 1) + self.query.text.count("=") / 10 if self.distance else 0

    @property
    def is_near(self) -> bool:
        """True if the translation is close enough to be returned.

        Its pairs must be near for at least half of the source formats.
        """
        if self.rejection is not None:
            return False
        kinds = Counter(pair.info.format for pair in self.pairs)
        near = sum(1 / kinds[pair.info.format] for pair in self.pairs if pair.is_near)
        return near >= len(kinds) / 2

    def sentences(self, name: str, clients: Sequence[str]) -> tuple[str, ...]:
        """A sentence for each difference, with the sources and clients to which it applies."""
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
        """The sources and clients to which a sentence applies, in parentheses. Empty if it applies to all."""
        if len(pairs) == len(self.pairs):
            return ""
        note = f" (from {', '.join(self._sources({pair.info for pair in pairs}))}"
        numbers = sorted({pair.client for pair in pairs})
        if len(numbers) == len(clients):
            return f"{note})"
        return f"{note}, for clients that accept {' or '.join(clients[n] or 'nothing newer' for n in numbers)})"

    def _sources(self, infos: Set[Info]) -> Iterator[str]:
        """Yields the names of the sources in `infos`.

        If all kinds of a format are in `infos`, only the format is named.
        """
        for name in dict.fromkeys(pair.info.format for pair in self.pairs):
            all_kinds = dict.fromkeys(pair.info for pair in self.pairs if pair.info.format is name)
            kinds = [info for info in all_kinds if info in infos]
            if len(kinds) == len(all_kinds):
                yield name.value
            else:
                yield from map(describe_source, kinds)


def _sum_of_distances(pairs: Sequence[TranslationPair]) -> float:
    kinds = Counter(pair.info.format for pair in pairs)
    # Most clients share their normalized Plans, so that a few different pairs appear several times.
    found: dict[tuple[int, int], float] = {}
    total = 0.0
    for pair in pairs:
        plans = id(pair.expected), id(pair.actual)
        if plans not in found:
            found[plans] = pair.distance
        total += found[plans] / kinds[pair.info.format]
    return total


MAX_SENTENCES: Final = 8
_WEIGHT: Final = 4


# ------------------------------------------------------------------------------------------------ differences


def describe_source(info: Info) -> str:
    """A kind of source in words, such as `progressive jpeg` or `animated webp with alpha, lossless`."""
    words = ["animated"] * info.animated + ["progressive"] * info.progressive + [info.format.value]
    text = " ".join(words) + (" with alpha" if info.alpha else "")
    can_be_lossy = info.format.value == "webp"
    return text + (", lossless" if can_be_lossy and info.lossless else "")


def differences(pair: TranslationPair, name: str) -> Iterator[str]:
    """Yields a sentence for each difference of a pair. `name` is the dialect of the translation."""
    if pair.expected.steps != pair.actual.steps:
        yield from _step_differences(pair.expected.steps, pair.actual.steps, name)
    one, two = (_describe_output(plan, pair.info) for plan in (pair.expected, pair.actual))
    if one != two:
        yield f"Output: expected {one}, {name} gives {two}"
    if pair.expected.encoding.metadata != pair.actual.encoding.metadata:
        one, two = (_describe_metadata(plan.encoding) for plan in (pair.expected, pair.actual))
        yield f"Output.metadata: expected {one}, {name} keeps {two}"


def _step_differences(expected: tuple[AnyStep, ...], actual: tuple[AnyStep, ...], name: str) -> Iterator[str]:
    if with_covering_resizes(expected) == with_covering_resizes(actual):
        yield f"Crop: the window in {name} differs by less than a pixel of the source"
        return
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


def _describe_output(plan: NormalizedPlan, info: Info) -> str:
    """The encoding in words, such as `webp at 85`, `gif of the first frame` or `the stored bytes`."""
    if plan.is_stored:
        return "the stored bytes"
    encoding = plan.encoding
    words = ["lossless"] * encoding.lossless + ["progressive"] * encoding.progressive + [encoding.format.value]
    words += ["with a palette"] * encoding.palette
    if encoding.quality != _NO_QUALITY:
        words.append(f"at {encoding.quality}")
    if info.animated and plan.frames == 1:
        words.append("of the first frame")
    return " ".join(words)


def _describe_metadata(encoding: Encoding) -> str:
    return " and ".join(sorted(keep.value for keep in encoding.metadata)) or "nothing"


_NO_QUALITY: Final = 100
