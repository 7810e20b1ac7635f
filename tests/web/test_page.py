"""The start page in a real browser: images are shown, links lead to variants, nothing is blocked or broken."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, sync_playwright

from tests.requirements import require
from tests.web.server_process import Running

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = require("chromium", CHROMIUM is not None)

QUIET = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield found
        found.close()


@pytest.mark.parametrize("width", [360, 1280])
def test_every_image_is_shown(browser: Browser, server: Running, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    page.on("console", hear)
    page.goto(server.address, wait_until="networkidle")
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.wait_for_load_state("networkidle")
    shown = page.evaluate("[...document.images].map(i => [i.src, i.naturalWidth])")
    assert len(shown) >= 4
    # A broken image and a drawing are served unchanged; the browser may not show them.
    assert [src for src, wide in shown if not wide and "broken" not in src and "drawing" not in src] == []
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def test_a_link_leads_to_its_variant(browser: Browser, server: Running) -> None:
    page = browser.new_page()
    page.goto(server.address)
    page.get_by_role("link", name="16:9, WebP").last.click()
    page.wait_for_load_state()
    assert "crop=16:9" in page.url
    assert page.evaluate("document.images[0].naturalWidth") > 0
    page.close()
