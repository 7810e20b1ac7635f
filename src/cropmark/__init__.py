"""cropmark, an image server. `render` and `explain` work without the server.

`sign` and `srcset` build URLs for the pages of a site.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cropmark.api import explain, render
    from cropmark.links import sign, srcset

__all__ = ["explain", "render", "sign", "srcset"]

_MODULES = {
    "explain": "cropmark.api",
    "render": "cropmark.api",
    "sign": "cropmark.links",
    "srcset": "cropmark.links",
}


def __getattr__(name: str) -> Any:
    # On first use: a renderer process imports this package too and must not load the web stack.
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
