"""cropmark makes pictures from URLs: `from cropmark import render, explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cropmark.api import explain, render

__all__ = ["explain", "render"]


def __getattr__(name: str) -> Any:
    # Lazily: a renderer imports this package too and must not load the web stack.
    if name in __all__:
        from cropmark import api  # noqa: PLC0415 - the import is what is put off

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
