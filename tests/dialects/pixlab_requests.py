"""Requests to PixLab's endpoints."""

from __future__ import annotations

from urllib.parse import urlencode

from cropmark.dialects.dialect import ImageRequest


def image_request(endpoint: str, method: str = "GET", /, **fields: object) -> ImageRequest:
    """A request with these fields in its query, or in its body where it is a POST."""
    texts = {name: str(value) for name, value in fields.items()}
    if method == "POST":
        return ImageRequest(endpoint, method=method, fields=texts)
    return ImageRequest(endpoint, urlencode(texts), method=method)
