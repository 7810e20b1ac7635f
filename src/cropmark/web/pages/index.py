"""The start page: the images of the folder, each with links to sample variants in each dialect."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from cropmark.dialects.registry import entry
from cropmark.web.site import Site

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
    """The page as HTML. `names` are image paths below each site's prefix, `total` counts all images."""
    shown = "" if total <= len(names) else f" This page shows the first {len(names)}."
    items = "\n".join(_item(sites, name) for name in names)
    empty = "<p>The folder has no images yet: add JPEG, PNG, WebP, GIF or AVIF files and reload this page.</p>"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>cropmark: {escape(folder)}</title><style>{STYLE}</style></head><body>
<h1>cropmark</h1>
<p>{total} image{"" if total == 1 else "s"} in {escape(folder)}.{shown}
Each link opens a variant of the image. To change the variant, edit the query in the URL and reload.</p>
{f"<ul>{items}</ul>" if names else empty}
</body></html>
"""


def _item(sites: Sequence[Site], name: str) -> str:
    thumbnail = next((_url(site, name, entry(site.dialect.name).thumbnail) for site in sites), "")
    rows = "\n".join(f"<dt>{escape(site.dialect.name)}</dt><dd>{_links(site, name)}</dd>" for site in sites)
    return f"""<li><img src="{escape(thumbnail)}" alt="" loading="lazy">
<div><h2>{escape(name)}</h2><dl>{rows}</dl></div></li>"""


def _links(site: Site, name: str) -> str:
    links = (
        f'<a href="{escape(_url(site, name, sample.query))}">{escape(sample.label)}</a>'
        for sample in entry(site.dialect.name).samples
    )
    return ", ".join(links)


def _url(site: Site, name: str, query: str) -> str:
    return f"{site.prefix}/{quote(name)}?{query}"
