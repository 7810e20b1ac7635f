"""Finds the known word that a misspelt word probably means."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from typing import Final

MAX_CHARS: Final = 40
"""Longer texts are cut before the comparison: its time grows with the square of their length."""
_CUTOFF: Final = 0.7


def nearest(text: str, known: Collection[str]) -> str | None:
    """The known word that is most similar to the text; None if no word is similar."""
    word = text[:MAX_CHARS].lower()
    reordered = (each for each in known if sorted(each) == sorted(word))  # `dor` for `dpr`: too short for a ratio
    return min(reordered, default=None) or next(iter(get_close_matches(word, known, n=1, cutoff=_CUTOFF)), None)
