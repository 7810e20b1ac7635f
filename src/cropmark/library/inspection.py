"""Finds the format, size or media type of a file that is to be stored."""

from __future__ import annotations

from cropmark.model.assets import UploadInfo
from cropmark.model.formats import READABLE
from cropmark.ports import OpenSource, Renderers
from cropmark.runtime.reads import source_format, source_media_type


async def inspect_file(source: OpenSource, renderers: Renderers, name: str) -> UploadInfo:
    """The format and size of an image, or the media type of another file. Finds neither for an unknown type.

    Raises Problems; a broken image raises SourceUnusable.
    """
    format_ = source_format(source)
    if format_ is None:
        return UploadInfo(name, None, None, source_media_type(source, name))
    if format_ not in READABLE:
        return UploadInfo(name, format_, None)
    info = await renderers.inspect(source, untrusted=True)
    return UploadInfo(name, info.format, info.size)
