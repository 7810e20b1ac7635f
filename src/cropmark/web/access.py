"""What a request must pass before its dialect reads it, and what an order must keep to: keys, presets, widths.

path, query as they came ─keys─▶ the query that was signed ─presets─▶ what the dialect reads ─▶ Order ─widths─▶ Order
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from cropmark.model.problems import BadRequest, Forbidden
from cropmark.model.values import Length, Pixels
from cropmark.plan.plan import Order, Plan, RequestWarning
from cropmark.plan.steps import AnyStep, Resize
from cropmark.security.signing import Keyring, VerifiedQuery

_NAMED = b"preset="


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """A site's rules; the defaults let everything pass."""

    keys: Keyring | None = None
    presets: Mapping[str, str] = field(default_factory=dict)
    """Queries by name. `?preset=NAME` stands for one; nothing may stand beside it."""
    presets_only: bool = False
    """Nothing but a preset's name, or exactly its query, passes."""
    widths: tuple[int, ...] = ()
    """The only widths that a resize gives, rising; what is asked for is rounded up to one of them."""
    most_pixels: int | None = None
    """Of a source in all frames, where the dialect would take more; None: as the dialect says."""

    def authorize(self, path: bytes, query: bytes, now_s: float) -> VerifiedQuery:
        """The query to be read. Raises Refused, Expired, and BadOrder for a preset that there is not."""
        allowed = VerifiedQuery(query) if self.keys is None else self.keys.check(path, query, now_s)
        return replace(allowed, query=self._meant(allowed.query)) if self.presets or self.presets_only else allowed

    def _meant(self, query: bytes) -> bytes:
        if query.startswith(_NAMED) and b"&" not in query:
            name = query.removeprefix(_NAMED).decode("latin-1")
            if name not in self.presets:
                raise BadRequest(
                    f"preset: there is none of the name {name[:80]!r}", fix="use one of this site's presets"
                )
            return self.presets[name].encode()
        if self.presets_only and query not in {text.encode() for text in self.presets.values()}:
            raise Forbidden("this site makes its presets only", fix="write ?preset=NAME")
        return query

    def constrain(self, order: Order) -> Order:
        """The order within the server's bounds, its sizes on the ladder, with a warning where one of them was not."""
        if order.plan is None:
            return order
        plan, warnings = self._bounded(order.plan), order.warnings
        if self.widths:
            steps = tuple(self._on_ladder(step) for step in plan.steps)
            warnings += tuple(_told(new) for old, new in zip(plan.steps, steps, strict=True) if old != new)
            plan = replace(plan, steps=steps)
        return replace(order, plan=plan, warnings=warnings)

    def _bounded(self, plan: Plan) -> Plan:
        if self.most_pixels is None or plan.limits.source_pixels <= self.most_pixels:
            return plan
        return replace(plan, limits=replace(plan.limits, source_pixels=self.most_pixels))

    def _on_ladder(self, step: AnyStep) -> AnyStep:
        """A resize at the next width of the ladder, its shape kept; what asks for no pixels stays as it is."""
        if not isinstance(step, Resize) or (asked := _asked(step)) is None:
            return step
        rung = next((width for width in self.widths if width >= asked), self.widths[-1])
        factor = rung / asked
        return (
            replace(step, width=_times(step.width, factor), height=_times(step.height, factor)) if factor != 1 else step
        )


def _told(step: AnyStep) -> RequestWarning:
    assert isinstance(step, Resize)  # the ladder changes nothing else
    return RequestWarning(step.parameter, f"rounded to {_asked(step)} px, one of this site's widths")


def _asked(step: Resize) -> Fraction | None:
    """The width asked for in pixels of the result, of a resize by its height alone that; None: it is a share."""
    sides = [side.count for side in (step.width, step.height) if isinstance(side, Pixels)]
    return sides[0] * step.dpr if sides else None


def _times(length: Length | None, factor: Fraction) -> Length | None:
    return Pixels(length.count * factor) if isinstance(length, Pixels) else length
