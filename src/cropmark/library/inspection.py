"""Finds the format and size, or the media type, of a file before it is stored."""

from __future__ import annotations

from cropmark.model.assets import UploadInfo
from cropmark.model.formats import READABLE
from cropmark.ports import OpenSource, Renderers
from cropmark.runtime.reads import source_format, source_media_type


async def inspect_file(source: OpenSource, renderers: Renderers, name: str) -> UploadInfo:
    """The format and size of an image, or the media type of another file. An unknown type has neither.

    An image has no size if cropmark cannot read its format. Raises Problems, such as SourceUnusable for a broken image.
    """
    format_ = source_format(source)
    if format_ is None:
        return UploadInfo(name, None, None, source_media_type(source, name))
    if format_ not in READABLE:
        return UploadInfo(name, format_, None)
    info = await renderers.inspect(source, untrusted=True)
    return UploadInfo(name, info.format, info.size)
