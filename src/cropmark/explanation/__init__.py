"""Explains a request: as values and JSON, and in words for people.

explain.py     the Explanation of a request, without rendering it
words.py       Ops, encodings and reasons in plain words
parameters.py  the result of reading each parameter: understood, ignored, refused or its default
"""

from cropmark.explanation.explain import (
    Explanation,
    draw_analysis,
    explain_request,
    frame_order,
    step_counts,
    summarize,
    to_json,
    with_sources,
)

__all__ = [
    "Explanation",
    "draw_analysis",
    "explain_request",
    "frame_order",
    "step_counts",
    "summarize",
    "to_json",
    "with_sources",
]
