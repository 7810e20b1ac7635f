"""Applies a site's access rules: signature and preset before the dialect reads the query, allowed widths after it.

path and query ─signature─▶ query without signature ─preset─▶ query for the dialect ─▶ Order ─allowed widths─▶ Order
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from urllib.parse import unquote_plus

from cropmark.dialects import grammar
from cropmark.model.problems import BadRequest, Forbidden
from cropmark.model.values import Length, Pixels
from cropmark.plan.plan import Order, Plan, RequestWarning
from cropmark.plan.steps import AnyStep, Resize
from cropmark.security.signing import Keyring, VerifiedQuery

_PRESET = "preset"


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """The access rules of a site. The defaults allow every request."""

    keys: Keyring | None = None
    presets: Mapping[str, str] = field(default_factory=dict)
    """Queries by preset name. `?preset=NAME` in a URL is replaced by the preset's query; the other parameters of the
    URL override those of the preset."""
    presets_only: bool = False
    """True: only `?preset=NAME` and the exact queries of presets are allowed."""
    parameters: Collection[str] | None = None
    """Names of the dialect's parameters. `presets_only` rejects them unless they spell out a preset's query, and
    ignores all other names. None: every name is a parameter."""
    allowed_widths: tuple[int, ...] = ()
    """Widths to which an image may be resized, in ascending order. Any other width is rounded up to the next of them,
    at most to the largest. Empty: every width is allowed."""
    image_headers_from_anyone: bool = True
    """False: headers that change the image are read from trusted proxies only. A site with keys, presets or allowed
    widths always reads them from trusted proxies only, because neither a signature nor a preset covers them."""
    max_source_pixels: int | None = None
    """Largest number of pixels of a source, in all frames together; None: only the dialect's limit applies."""

    def reads_image_headers(self, *, from_trusted_proxy: bool) -> bool:
        """True if the site reads request headers that change the image; False if it ignores them.

        `from_trusted_proxy`: the request comes from a trusted proxy.
        """
        is_open = self.keys is None and not (self.presets or self.presets_only or self.allowed_widths)
        return from_trusted_proxy or (self.image_headers_from_anyone and is_open)

    def authorize(self, path: bytes, query: bytes, now_s: float) -> VerifiedQuery:
        """Check the signature and the preset, and return the query for the dialect.

        Raises Forbidden and SignatureExpired, and BadRequest for an unknown preset.
        """
        allowed = self.verify_signature(path, query, now_s)
        return (
            replace(allowed, query=self._resolve_preset(allowed.query))
            if self.presets or self.presets_only
            else allowed
        )

    def verify_signature(self, path: bytes, query: bytes, now_s: float) -> VerifiedQuery:
        """Check the signature only, and return the query without it. Raises Forbidden and SignatureExpired.

        URLs below /_info are checked this way: they need no preset.
        """
        return VerifiedQuery(query) if self.keys is None else self.keys.check(path, query, now_s)

    def _resolve_preset(self, query: bytes) -> bytes:
        """The query with `preset=NAME` replaced by the query of that preset. Raises BadRequest and Forbidden."""
        name, pairs = _split_preset(query)
        rest = tuple(pair for pair in pairs if not self._is_absent(*_split_pair(pair)))
        preset = None if name is None else self._preset(name)
        if self.presets_only:
            return self._allowed_query(preset, query, rest)
        # The preset first: of a repeated parameter the last one counts, in every dialect.
        return query if preset is None else b"&".join(text for text in (preset, *rest) if text)

    def _allowed_query(self, preset: bytes | None, query: bytes, rest: tuple[bytes, ...]) -> bytes:
        """The preset's query, for a site that serves presets only.

        A URL either names a preset or contains the exact query of a preset. Parameters that the dialect ignores are
        removed. Raises Forbidden for any other query.
        """
        known = tuple(pair for pair in rest if self._is_parameter(_split_pair(pair)[0]))
        if preset is not None and not known:
            return preset
        queries = {text.encode() for text in self.presets.values()}
        for spelled in (query, b"&".join(known)):
            if preset is None and spelled in queries:
                return spelled
        raise Forbidden("this site serves its presets only", fix="write ?preset=NAME without other parameters")

    def _preset(self, name: str) -> bytes:
        if name not in self.presets:
            raise BadRequest(
                f"preset: expected a preset of this site, got {name[:80]!r}", fix="use one of this site's presets"
            )
        return self.presets[name].encode()

    def _is_absent(self, name: str, value: str) -> bool:
        """True for a parameter with an empty value, such as `width=`. It does not override the preset."""
        return grammar.is_blank(value) and self._is_parameter(name)

    def _is_parameter(self, name: str) -> bool:
        return self.parameters is None or name in self.parameters

    def constrain(self, order: Order) -> Order:
        """The order with the site's allowed widths and limit of source pixels, and a warning for each changed width."""
        if order.plan is None:
            return order
        plan, warnings = self._limit_source_pixels(order.plan), order.warnings
        if self.allowed_widths:
            steps = tuple(self._at_allowed_width(step) for step in plan.steps)
            warnings += tuple(_width_warning(new) for old, new in zip(plan.steps, steps, strict=True) if old != new)
            # Steps other than a resize, and shares, get their size from the source: the geometry bounds the result.
            plan = replace(plan, steps=steps, limits=replace(plan.limits, allowed_widths=self.allowed_widths))
        return replace(order, plan=plan, warnings=warnings)

    def _limit_source_pixels(self, plan: Plan) -> Plan:
        if self.max_source_pixels is None or plan.limits.source_pixels <= self.max_source_pixels:
            return plan
        return replace(plan, limits=replace(plan.limits, source_pixels=self.max_source_pixels))

    def _at_allowed_width(self, step: AnyStep) -> AnyStep:
        """The resize step, scaled to the next larger allowed width, or to the largest if none is larger.

        A resize without a size in pixels, and any other step, is returned unchanged.
        """
        if not isinstance(step, Resize) or (requested := _requested_width(step)) is None:
            return step
        allowed = next((width for width in self.allowed_widths if width >= requested), self.allowed_widths[-1])
        factor = allowed / requested
        return (
            replace(step, width=_scaled(step.width, factor), height=_scaled(step.height, factor))
            if factor != 1
            else step
        )


def _split_preset(query: bytes) -> tuple[str | None, tuple[bytes, ...]]:
    """The name in the last `preset=NAME` of the query, or None, and the other parameters, still percent-encoded."""
    name: str | None = None
    rest: list[bytes] = []
    for pair in query.lstrip(b"?").split(b"&"):
        # Contentstack's SDKs append `?width=200` to a URL that has a query already.
        head, _, appended = pair.partition(b"?")
        if _split_pair(head)[0] == _PRESET:
            name = _split_pair(head)[1]
            rest.append(appended)
        else:
            rest.append(pair)
    return name, tuple(rest)


def _split_pair(pair: bytes) -> tuple[str, str]:
    """The decoded name and value of a parameter; bytes that are not UTF-8 become U+FFFD."""
    name, _, value = pair.decode("latin-1").partition("=")
    return unquote_plus(name), unquote_plus(value)


def _width_warning(step: AnyStep) -> RequestWarning:
    assert isinstance(step, Resize)  # no other step is changed
    return RequestWarning(step.parameter, f"rounded to {_requested_width(step)} px, one of this site's widths")


def _requested_width(step: Resize) -> Fraction | None:
    """The requested width in pixels, times the dpr; the height if only that is in pixels; None if neither is."""
    sides = [side.count for side in (step.width, step.height) if isinstance(side, Pixels)]
    return sides[0] * step.dpr if sides else None


def _scaled(length: Length | None, factor: Fraction) -> Length | None:
    return Pixels(length.count * factor) if isinstance(length, Pixels) else length
