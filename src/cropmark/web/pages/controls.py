"""Derives the playground's controls from the documentation of a dialect's parameters."""

from __future__ import annotations

import re
from typing import Any, Final

from cropmark.dialects.dialect import ParameterDoc
from cropmark.dialects.registry import DialectEntry

_WORD: Final = re.compile(r"[a-z0-9_+-]+")
_RANGE: Final = re.compile(r"(-?[0-9.]+) ?\.\. ?(-?[0-9.]+)(?= |$)")
_MAX_SLIDER: Final = 2000
"""Largest value of a slider; the text field next to it accepts larger values too."""
WIDTHS: Final = ("width", "w")
"""The names of the width parameter, which a srcset varies."""

FINDING: Final[dict[str, tuple[str, ...]]] = {"contentstack": ("environment", "branch")}
"""A dialect's parameters that find the image: the original needs them too."""

SELECTIONS: Final[dict[str, dict[str, dict[str, str]]]] = {
    "fastly": {
        "crop": {"crop": "{width},{height},x{left},y{top}"},
        "focal point": {"crop": "{ratio},offset-x{across},offset-y{down}"},
        "trim": {"trim": "{top},{right},{bottom},{left}"},
    },
    "contentstack": {
        "crop": {"crop": "{width},{height},x{left},y{top}"},
        "focal point": {"crop": "{ratio},offset-x{across},offset-y{down}"},
        "trim": {"trim": "{top},{right},{bottom},{left}"},
    },
    "kontent": {
        "crop": {"rect": "{left},{top},{width},{height}"},
        "focal point": {
            "fit": "crop",
            "crop": "focalpoint",
            "fp-x": "{share_x}",
            "fp-y": "{share_y}",
            "w": "{default}",
            "h": "{default}",
        },
    },
    "pixlab": {"crop": {"x": "{left}", "y": "{top}", "width": "{width}", "height": "{height}"}},
}
"""A dialect's parameters for a box or a point that is drawn on the image, in pixels, percent or shares of the source.

`{default}` is a number for a parameter that has no value yet, `{ratio}` the ratio of the current crop, or 1:1.
"""


def dialect_controls(entry: DialectEntry) -> list[dict[str, Any]]:
    """The controls for all parameters of the dialect.

    The parameters in the dialect's samples are first, then those in SELECTIONS; both are marked as `common`.
    """
    used = [pair.partition("=")[0] for sample in entry.samples for pair in sample.query.split("&")]
    common = list(dict.fromkeys((*used, *(name for tool in SELECTIONS.get(entry.name, {}).values() for name in tool))))
    controls = {doc.name: {**control(doc), "common": doc.name in common} for doc in entry.cls.params}
    first = [controls.pop(name) for name in common if name in controls]
    return [*first, *controls.values()]


def request_controls(entry: DialectEntry) -> dict[str, list[dict[str, Any]]]:
    """The controls for each endpoint that renders an image, by the endpoint's name."""
    by_name = {doc.name: doc for doc in entry.cls.params}
    return {
        endpoint: [{**control(by_name[name]), "common": True} for name in names]
        for endpoint, names in entry.requests.items()
    }


def control(doc: ParameterDoc) -> dict[str, Any]:
    """The control for a parameter: its kind (`choice`, `range`, `color` or `text`), and the texts to show."""
    example = doc.example.removeprefix(f"{doc.name}=")
    shown = {"name": doc.name, "about": doc.about, "default": doc.default, "example": example, "source": doc.source}
    shown["grammar"] = doc.grammar
    words = doc.grammar.split(" | ")
    found = _RANGE.match(doc.grammar)
    if all(_WORD.fullmatch(word) for word in words) and (len(words) > 1 or example.endswith(words[0])):
        return {**shown, "kind": "choice", "options": words}
    if "RGB" in doc.grammar or doc.name.endswith("color"):
        return {**shown, "kind": "color"}
    if found is None:
        return {**shown, "kind": "text"}
    least, most = float(found[1]), min(float(found[2]), _MAX_SLIDER)
    step = 1 if most - least > 10 and found[1].lstrip("-").isdigit() else 0.1
    return {**shown, "kind": "range", "min": least, "max": most, "step": step}
