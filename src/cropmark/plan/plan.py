"""Plan and Order: all that a request asks for, as one frozen value, and the fingerprint that tells Plans apart."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from fractions import Fraction
from functools import cache

from cropmark.model.formats import READABLE, Format
from cropmark.plan.source import SourceFilter, SourceRequest
from cropmark.plan.steps import AnyStep, Crop, Focus, Resize


class TriState(Enum):
    """A property of the result that may be asked for, refused, or taken from the source."""

    YES = "yes"
    NO = "no"
    AS_SOURCE = "as_source"


@dataclass(frozen=True, slots=True)
class Choice:
    """One encoding that would do; the first whose conditions hold is taken.

    `format` None is the source's own. It is passed over for sources of the kinds in `skipped_for`, where the build
    cannot write it, where it would lose an animation and `keeps_animation` is set, and where an AVIF is past
    `Limits.avif_area`, which is refused with `refuse_beyond`. `missed` is the warning for whoever asked for it by name
    and gets the next one.
    """

    format: Format | None = None
    quality: int | None = None
    """1 to 100; None: the encoder's default for the format."""
    lossless: TriState = TriState.NO
    """For WebP and AVIF; AS_SOURCE is lossless from a lossless source."""
    progressive: TriState = TriState.NO
    palette: bool = False
    """PNG of up to 256 colors with 8-bit alpha."""
    keeps_animation: bool = False
    first_frame: bool = False
    """Of an animation only that, as Output.first_frame says it of every choice."""
    skipped_for: tuple[SourceFilter, ...] = ()
    refuse_beyond: bool = False
    """Asked for by name: past its area it is refused, not passed over."""
    warning_if_skipped: str | None = None


class KeepMetadata(Enum):
    """What of the metadata stays: everything else is removed."""

    COPYRIGHT = "copyright"
    ICC = "icc"
    """The source's profile, pixels not converted to sRGB."""


@dataclass(frozen=True, slots=True)
class Output:
    """How the result is encoded.

    `first_frame`: of an animation only that. `same`: the original goes out where nothing would be changed (no Op, the
    source's own encoding, no quality that counts), for sources of these kinds. `larger`: the original goes out where
    nothing but the encoding's quality changed, the source stood upright, and the result has more bytes than the source.
    """

    choices: tuple[Choice, ...] = (Choice(),)
    keeps: frozenset[KeepMetadata] = frozenset()
    """COPYRIGHT only from JPEG to JPEG, ICC in every format that can hold a profile."""
    first_frame: bool = False
    same_is_original: tuple[SourceFilter, ...] = ()
    larger_is_original: bool = False


class OverLimit(Enum):
    """What becomes of a result whose sides are past the limit."""

    REFUSE = "refuse"
    SHRINK = "shrink"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a source and a result may be; at a limit still passes."""

    source_bytes: int = 50 * 2**20
    source_side: int = 12_000
    source_frames: int = 1_000
    source_pixels: int = 150_000_000
    """Width times height times frames, checked on the header."""
    side: int = 8_192
    beyond: OverLimit = OverLimit.REFUSE
    animation_area: int | None = 8_192 * 8_192
    """All frames of a result together."""
    avif_area: int | None = 4_096 * 4_096


class Fallback(Enum):
    """What goes out for a source that cannot be transformed."""

    ORIGINAL = "original"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class RequestWarning:
    """Something odd that did not stop the answer: the parameter in the dialect's spelling, and a short sentence."""

    parameter: str
    text: str

    def __str__(self) -> str:
        """The parameter's name before the text, unless the text begins with it."""
        return self.text if self.text.startswith(f"{self.parameter} ") else f"{self.parameter}: {self.text}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps and an Output; no picture known yet.

    `unread` is what goes out for a format outside `reads`, `unusable` for a source that is past a limit or broken.
    """

    steps: tuple[AnyStep, ...] = ()
    output: Output = Output()
    reads: frozenset[Format] = READABLE
    limits: Limits = Limits()
    on_unsupported: Fallback = Fallback.PROBLEM
    on_unusable: Fallback = Fallback.PROBLEM

    @property
    def wants_analysis(self) -> bool:
        """Whether a Step asks the content where to look."""
        return any(isinstance(s, Crop | Resize) and s.focus is Focus.SMART for s in self.steps)

    def fingerprint(self) -> str:
        """64 hex digits: equal for equal Plans, in every process; different for different ones."""
        return hashlib.sha256(_told(self).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the answer is sent; nothing here changes the picture."""

    negotiated: bool = False
    """Accept could have changed the answer: Vary says so, also on fallbacks, 304 and errors."""
    never_for: tuple[SourceFilter, ...] = ()
    """Pictures that are not negotiated all the same."""
    versioned: bool = False
    """The URL names one version for ever."""
    private: bool = False
    """Never cached or shared."""
    untrusted: bool = False
    """The bytes are a stranger's (uploads, PixLab's img): never decoded beside a site's own files."""
    filename: str | None = None
    max_age_s: int | None = None
    """At most so long; None: the site's setting alone."""
    as_origin: bool = False
    """A source's own Cache-Control, where its origin sent one, is the answer's."""
    rate: tuple[str, int] | None = None
    """Under which name requests that miss the cache are counted, and how many a second may; None: as the site says."""


@dataclass(frozen=True, slots=True)
class Order:
    """All that a request asks for. Without a plan: the stored bytes of the first source as they are."""

    sources: tuple[SourceRequest, ...]
    plan: Plan | None
    delivery: Delivery = Delivery()
    warnings: tuple[RequestWarning, ...] = ()


def _told(value: object) -> str:
    """A text of the value in which every part is tagged with its class, so that no two values share one."""
    match value:
        case Enum():
            return f"{type(value).__name__}.{value.name}"
        case None | bool() | int():
            return repr(value)
        case str():
            return f"str{len(value)}:{value}"
        case tuple():
            return f"({','.join(map(_told, value))})"
        case frozenset():
            return f"{{{','.join(sorted(map(_told, value)))}}}"
        case _ if is_dataclass(value) and not isinstance(value, type):
            told = ",".join(f"{name}={_told(getattr(value, name))}" for name in _names(type(value)))
            return f"{type(value).__name__}({told})"
        case Fraction():  # last: to ask whether something is an abstract number takes longer than all the others
            return f"Fraction({value.numerator}/{value.denominator})"
        case _:
            raise TypeError(f"a Plan holds no {type(value).__name__}")


@cache
def _names(kind: type) -> tuple[str, ...]:
    """A dataclass' fields."""
    return tuple(field.name for field in fields(kind))
