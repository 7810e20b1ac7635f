"""Order and Plan: a parsed request as one frozen value, and the fingerprint that identifies a Plan."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum
from fractions import Fraction
from functools import cache
from typing import ClassVar

from cropmark.model.formats import READABLE, Colors, Format, Info
from cropmark.plan.source import SourceFilter, SourceRequest
from cropmark.plan.steps import AnyStep, Crop, Focus, Resize


class TriState(Enum):
    """A property of the result, such as its losslessness: on, off, or the same as in the source."""

    YES = "yes"
    NO = "no"
    AS_SOURCE = "as_source"


class H264Profile(Enum):
    """The profile of an H.264 video: the set of coding tools that its decoder must support."""

    BASELINE = "baseline"
    MAIN = "main"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Video:
    """The H.264 profile and level of an mp4.

    The level bounds the size of a frame, the pixels per second and the bits per second.
    """

    profile: H264Profile = H264Profile.BASELINE
    level: int | None = None
    """Ten times the number of the level; None for 3.0. A video that exceeds the level gets the lowest that fits."""


@dataclass(frozen=True, slots=True)
class EncodingChoice:
    """One possible encoding of the result. The first choice that applies is used.

    A `format` of None means the format of the source. A choice does not apply if:

    - the source matches `skipped_for`
    - the format cannot be written
    - `keep_animation` is set, and the animation would be lost
    - the result would be an mp4 of one frame
    - the result would be an AVIF above `Limits.avif_area`; with `refuse_over_limit` this is an error instead

    A choice that does not apply adds `warning_if_skipped` to the result.
    """

    format: Format | None = None
    quality: int | None = None
    """1 to 100; None for the default of the format."""
    lossless: TriState = TriState.NO
    """For WebP, AVIF and JPEG XL. With AS_SOURCE the result is lossless if the source is."""
    progressive: TriState = TriState.NO
    palette: bool = False
    """Write a PNG with a palette of up to 256 colors, each with 8-bit alpha."""
    compact: bool = False
    """For JPEG: spend more time on a smaller file of the same quality."""
    video: Video | None = None
    """The options of an mp4; None for the defaults."""
    keep_animation: bool = False
    first_frame: bool = False
    """Write only the first frame of an animation. Output.first_frame has this effect for every choice."""
    skipped_for: tuple[SourceFilter, ...] = ()
    refuse_over_limit: bool = False
    """Raise OutputTooLarge for an AVIF above its area limit instead of trying the next choice."""
    warning_if_skipped: str | None = None


class KeepMetadata(Enum):
    """The metadata to copy to the result; all other metadata is removed."""

    COPYRIGHT = "copyright"
    ICC = "icc"
    """The source's color profile; pixels are not converted to sRGB."""


@dataclass(frozen=True, slots=True)
class Output:
    """The encoding of the result: the possible encodings, and when the original is sent instead.

    - `first_frame`: only the first frame of an animation is written.
    - `same_is_original`: if the request changes nothing, the original is sent for sources that match one of these
      filters. A request changes nothing if the Recipe has no Op, the result has the source's encoding, and the query
      has no quality that this encoder uses.
    - `larger_is_original`: the original is sent if only the quality changes, the source is upright, and the result has
      more bytes than the source.
    """

    choices: tuple[EncodingChoice, ...] = (EncodingChoice(),)
    metadata: frozenset[KeepMetadata] = frozenset()
    """COPYRIGHT is copied only from JPEG to JPEG, ICC to every format that supports profiles."""
    colors: Colors = Colors.SRGB
    """GIF has no profiles, so it is always sRGB. ICC in `metadata` takes precedence."""
    gain_map: bool = False
    """Preserve the gain map of a JPEG in a JPEG."""
    first_frame: bool = False
    same_is_original: tuple[SourceFilter, ...] = ()
    larger_is_original: bool = False


class OverLimit(Enum):
    """The reaction to a result above a limit: of its sides, or of the area of an animation."""

    REFUSE = "refuse"
    SHRINK = "shrink"
    """Scale the result down, with a warning."""
    SHRINK_LARGE_SOURCE = "shrink_large_source"
    """SHRINK if the source is itself above the limit, so that the request is not the cause of the size; else REFUSE."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of sources and results. A value equal to its limit is allowed."""

    source_bytes: int = 50 * 2**20
    source_side: int = 12_000
    source_frames: int = 1_000
    source_pixels: int = 150_000_000
    """Width times height times frames, checked with the header before decoding."""
    side: int = 8_192
    over_limit: OverLimit = OverLimit.REFUSE
    animation_area: int | None = 8_192 * 8_192
    """The limit of the pixels in all frames of a result together; None for any number."""
    avif_area: int | None = 4_096 * 4_096
    allowed_widths: tuple[int, ...] = ()
    """The widths that a result may have if its size differs from the source's, in ascending order; empty for any width.
    """


class Fallback(Enum):
    """The response for a source that cannot be transformed: the original or an error."""

    ORIGINAL = "original"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class RequestWarning:
    """A warning in a successful response: the parameter as the dialect spells it, and a short text."""

    parameter: str
    text: str

    def __str__(self) -> str:
        """The warning as `parameter: text`; the text alone if it already begins with the parameter's name."""
        return self.text if self.text.startswith(f"{self.parameter} ") else f"{self.parameter}: {self.text}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The Steps and the Output of a request, independent of any image.

    `on_unsupported` applies to a source in a format outside `reads`. `on_unusable` applies to a source that is broken
    or above a limit.
    """

    steps: tuple[AnyStep, ...] = ()
    output: Output = Output()
    reads: frozenset[Format] = READABLE
    limits: Limits = Limits()
    on_unsupported: Fallback = Fallback.PROBLEM
    on_unusable: Fallback = Fallback.PROBLEM

    @property
    def needs_analysis(self) -> bool:
        """True if a Step places its window by the content of the image."""
        return any(isinstance(s, Crop | Resize) and s.focus is Focus.SMART for s in self.steps)

    def fingerprint(self) -> str:
        """A SHA-256 in hex that identifies the Plan: equal for equal Plans, different for different Plans.

        It is the same in every process.
        """
        return hashlib.sha256(_canonical_text(self).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Delivery:
    """Options of the response that do not change the image."""

    negotiated: bool = False
    """The Accept header may influence the response. So every response has Vary, even a fallback, a 304 or an error."""
    not_negotiated_for: tuple[SourceFilter, ...] = ()
    """Sources that are not negotiated even if `negotiated` is set."""
    versioned: bool = False
    """The URL identifies one version of the source, so that the response never changes."""
    private: bool = False
    """The response is never stored in our caches, and is sent as private."""
    untrusted: bool = False
    """The source is untrusted (uploads, PixLab's img): it is never decoded in a process that decodes a site's files."""
    filename: str | None = None
    max_age_s: int | None = None
    """Upper bound on max-age in seconds; None: only the site's setting applies."""
    use_origin_cache_control: bool = False
    """Send the Cache-Control of the source's origin, if it sent one, with the response."""
    rate: tuple[str, int] | None = None
    """The rate limit for cache misses: counter name and requests per second; None: the site's setting."""

    def for_document(self) -> Delivery:
        """The options for a document about the image: without negotiation and without a file name."""
        return replace(self, negotiated=False, not_negotiated_for=(), filename=None)


@dataclass(frozen=True, slots=True)
class FactsDocument:
    """A document about the first source that needs only its header, such as IIIF's info.json.

    `name` is part of the cache key. It identifies the document among those of all dialects, and contains the parameters
    of the document. `serialize` is pure and returns the body.
    """

    name: str
    serialize: Callable[[Info], bytes] = field(compare=False, repr=False)
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class InfoDocument:
    """A JSON document with all facts about the first source: its header, colors, faces, and placeholders."""

    reads: frozenset[Format] = READABLE
    limits: Limits = Limits()
    """A source beyond these limits, or in a format that `reads` does not contain, is an error."""
    media_type: ClassVar[str] = "application/json"

    @property
    def name(self) -> str:
        """The name of the document, which is part of the cache key.

        It must be changed whenever the facts about an image change.
        """
        return "info/2"

    @property
    def plan(self) -> Plan:
        """A plan without Steps that accepts the same sources as this document."""
        return Plan(reads=self.reads, limits=self.limits)


@dataclass(frozen=True, slots=True)
class Order:
    """A parsed request for an image (`plan`) or for a document about the source (`facts`).

    Without a plan and facts, the stored bytes of the first source are sent unchanged.
    """

    sources: tuple[SourceRequest, ...]
    plan: Plan | None
    delivery: Delivery = Delivery()
    warnings: tuple[RequestWarning, ...] = ()
    hints: tuple[RequestWarning, ...] = ()
    """Warnings about probable mistakes that the vendor ignores silently. They are sent in development, and are part of
    explanations."""
    facts: FactsDocument | InfoDocument | None = None

    def __post_init__(self) -> None:
        if self.plan is not None and self.facts is not None:
            raise ValueError("expected a plan or a document of facts, got both")
        if self.facts is not None and len(self.sources) != 1:
            raise ValueError(f"a document of facts is about one source, got {len(self.sources)}")

    def with_colors(self, colors: Colors, *, gain_map: bool) -> Order:
        """The order with this color space of the result, and with or without a gain map."""
        if self.plan is None or (self.plan.output.colors, self.plan.output.gain_map) == (colors, gain_map):
            return self
        output = replace(self.plan.output, colors=colors, gain_map=gain_map)
        return replace(self, plan=replace(self.plan, output=output))

    def with_svg(self, *, is_read: bool) -> Order:
        """The order with a plan that also reads SVG; unchanged if `is_read` is False."""
        if self.plan is None or not is_read:
            return self
        return replace(self, plan=replace(self.plan, reads=self.plan.reads | {Format.SVG}))


def _canonical_text(value: object) -> str:
    """The value as text. Different values have different texts, because every part contains the name of its class."""
    match value:
        case Enum():
            return f"{type(value).__name__}.{value.name}"
        case None | bool() | int():
            return repr(value)
        case str():
            return f"str{len(value)}:{value}"
        case tuple():
            return f"({','.join(map(_canonical_text, value))})"
        case frozenset():
            return f"{{{','.join(sorted(map(_canonical_text, value)))}}}"
        case _ if is_dataclass(value) and not isinstance(value, type):
            members = ",".join(f"{name}={_canonical_text(getattr(value, name))}" for name in _field_names(type(value)))
            return f"{type(value).__name__}({members})"
        case Fraction():  # last, because isinstance() of an abstract number class is slower than all cases above
            return f"Fraction({value.numerator}/{value.denominator})"
        case _:
            raise TypeError(f"unexpected {type(value).__name__} in a Plan")


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))
