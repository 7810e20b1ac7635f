"""cropmark, an image server: `from cropmark import render, explain` renders without the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cropmark.api import explain, render

__all__ = ["explain", "render"]


def __getattr__(name: str) -> Any:
    # On first use: a renderer process imports this package too and must not load the web stack.
    if name in __all__:
        from cropmark import api  # noqa: PLC0415 - imported on first use

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
