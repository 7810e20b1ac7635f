"""The start page: the pictures of the folder, each with a few variants to click."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from cropmark.web.site import Site

# fmt: off
VARIANTS: dict[str, tuple[tuple[str, str], ...]] = {
    "fastly": (
        ("small",       "width=320"),
        ("16:9, WebP",  "crop=16:9&width=480&format=webp"),
        ("smart 1:1",   "crop=1:1,smart&width=320"),
        ("portrait",    "width=300&height=400&fit=crop"),
        ("black, white", "width=320&bw=atkinson&format=png8"),
        ("blurred",     "width=320&blur=12&saturation=-60"),
    ),
    "contentstack": (
        ("small",       "width=320"),
        ("padded",      "width=320&pad=20&bg-color=ffcc00"),
        ("smart 4:5",   "crop=4:5,smart&width=320"),
    ),
    "kontent": (
        ("small",       "w=320"),
        ("focal point", "w=320&h=320&fit=crop&crop=focalpoint&fp-x=0.3&fp-y=0.3&fp-z=2"),
        ("smart",       "w=480&h=160&fit=crop&crop=smart"),
    ),
}
# fmt: on
THUMBNAILS = {
    "fastly": "crop=16:9,smart&width=480",
    "contentstack": "crop=16:9,smart&width=480",
    "kontent": "w=480&h=270&fit=crop&crop=smart",
}

STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent) }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 76rem }
h1 { font-size: 1.6rem; margin: 0 }
p { max-width: 46rem; opacity: .8 }
ul { list-style: none; margin: 2rem 0 0; padding: 0; display: grid; gap: 1.5rem;
     grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)) }
li { border: 1px solid var(--line); border-radius: 10px; overflow: hidden }
li img { display: block; width: 100%; aspect-ratio: 16 / 9; object-fit: cover; background: var(--line) }
div { padding: .75rem 1rem 1rem }
h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere }
dl { display: grid; grid-template-columns: auto 1fr; gap: .15rem .75rem; margin: .5rem 0 0; font-size: .87rem }
dt { opacity: .65 } dd { margin: 0 }
a { color: inherit }
"""


def page(sites: Sequence[Site], names: Sequence[str], total: int, folder: str) -> str:
    """The page as HTML. `names` are paths below each site's prefix, `total` how many pictures there are in all."""
    shown = "" if total <= len(names) else f" The first {len(names)} are shown."
    items = "\n".join(_item(sites, name) for name in names)
    empty = "<p>No pictures yet: put some JPEG, PNG, WebP, GIF or AVIF files there and reload.</p>"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>cropmark: {escape(folder)}</title><style>{STYLE}</style></head><body>
<h1>cropmark</h1>
<p>{total} picture{"" if total == 1 else "s"} in {escape(folder)}.{shown}
Every link below is a picture made from its URL: change the query and reload.</p>
{f"<ul>{items}</ul>" if names else empty}
</body></html>
"""


def _item(sites: Sequence[Site], name: str) -> str:
    thumbnail = next((_url(site, name, THUMBNAILS[site.dialect.name]) for site in sites), "")
    rows = "\n".join(f"<dt>{escape(site.dialect.name)}</dt><dd>{_links(site, name)}</dd>" for site in sites)
    return f"""<li><img src="{escape(thumbnail)}" alt="" loading="lazy">
<div><h2>{escape(name)}</h2><dl>{rows}</dl></div></li>"""


def _links(site: Site, name: str) -> str:
    links = (
        f'<a href="{escape(_url(site, name, query))}">{escape(label)}</a>'
        for label, query in VARIANTS.get(site.dialect.name, ())
    )
    return ", ".join(links)


def _url(site: Site, name: str, query: str) -> str:
    return f"{site.prefix}/{quote(name)}?{query}"
