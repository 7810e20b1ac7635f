"""The pages in a real browser: an image becomes a copied URL by mouse and by keyboard, and axe-core finds no fault."""

from __future__ import annotations

import importlib.util
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Route, expect

from cropmark.library.store import LibraryStore
from cropmark.server.library import LIBRARY_FOLDER
from tests.browser import CHROMIUM, chromium
from tests.builders import encode
from tests.library.builders import PRODUCTION, add_asset, create_shop
from tests.requirements import require
from tests.web.server_process import Running, running

HAS_AXE = importlib.util.find_spec("axe_playwright_python") is not None

pytestmark = require("chromium", CHROMIUM is not None)

WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
EXPLAIN = "/_explain?url=%2Ffastly%2Fwide.jpg%3Fcrop%3D1%3A1%26width%3D50%26pad%3D2%26wdith%3D9"
CLIPBOARD = ("clipboard-read", "clipboard-write")
WAIT_MS = 30_000
expect.set_options(timeout=WAIT_MS)  # the default is for a machine that is not busy with other tests
PAGES = ("/", EXPLAIN, "/fastly/wide.jpg?width=0", "/nothing", "/_sign-in")


SHORT_PAUSES = "const later = setTimeout; window.setTimeout = (run, ms) => later(run, ms / 8);"
"""The pauses of the page and of shown(), in the same order."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def context(browser: Browser, server: Running) -> Iterator[BrowserContext]:
    """A context in which every request to another host, and every complaint of the console, fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=CLIPBOARD)
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        # A failed image is reported as an error of the console. The page shows it, and tests expect it.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    def local_only(request: Request) -> None:
        if not request.url.startswith((server.address, "data:", "blob:")):
            complaints.append(request.url)

    context.add_init_script(SHORT_PAUSES)
    context.on("console", hear)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("request", local_only)  # not a route: each request would wait for this process
    yield context
    context.close()
    assert complaints == []


def opened(context: BrowserContext, server: Running, fragment: str = "") -> Page:
    """The playground, when its script has drawn the controls and the first result is there."""
    page = context.new_page()
    page.goto(f"{server.address}/{fragment and '#'}{fragment}")
    page.wait_for_selector("#original-facts:not(:empty)")
    shown(page)
    return page


def shown(page: Page) -> None:
    """Waits until the result of the last change is shown."""
    page.wait_for_selector("html[data-ready]", state="attached")
    # Changes are rendered after a pause of 150 ms. The page's own timers keep their order on a slow machine.
    page.evaluate("new Promise(done => setTimeout(done, 200))")
    page.wait_for_selector("#result:not([aria-busy])", state="attached")
    page.evaluate("new Promise(done => setTimeout(done, 50))")


def result(page: Page) -> str:
    return page.locator("#result-facts").inner_text()


def test_a_change_of_a_control_changes_image_and_url(context: BrowserContext, server: Running) -> None:
    page = opened(context, server, "/fastly/wide.jpg")
    page.get_by_label("width", exact=True).fill("120")
    page.get_by_label("format", exact=True).select_option("webp")
    shown(page)
    assert re.match(r"120 × 60, WEBP, .*smaller", result(page))
    assert page.input_value("#url") == f"{server.address}/fastly/wide.jpg?width=120&format=webp"
    assert page.url.endswith("#/fastly/wide.jpg?width=120&format=webp")
    page.get_by_role("button", name="Copy", exact=True).click()
    assert page.evaluate("navigator.clipboard.readText()") == page.input_value("#url")
    code = page.locator("#code").inner_text()
    assert code.count("width=") == 6
    assert "640w" in code
    assert 'card = "width=120&format=webp"' in page.locator("#toml").inner_text()
    kontent = page.locator("#translations dt:has-text('kontent') + dd")
    assert "w=120" in kontent.inner_text()


def test_code_for_pages_has_the_shape_of_the_image(context: BrowserContext, server: Running) -> None:
    page = opened(context, server, "/kontent/wide.jpg?w=40&h=30&fit=crop&auto=format")
    codes = {}
    for name in ("<img srcset>", "<picture>", "Next.js", "Nuxt", "Astro"):
        page.locator("#snippet").select_option(name)
        codes[name] = page.locator("#code").inner_text()
    assert "?w=640&amp;h=480&amp;fit=crop&amp;auto=format 640w" in codes["<img srcset>"]
    assert "?w=640&amp;h=480&amp;fit=crop&amp;fm=avif 640w" in codes["<picture>"]
    for name in ("Next.js", "Nuxt", "Astro"):
        expected = "/kontent/${src}?w=${width}&h=${Math.round(width * 0.75)}&fit=crop&auto=format`"
        assert expected in codes[name], name
    image = re.search(r'src="[^"]*(/kontent/[^"]*)"', codes["<img srcset>"])
    assert image is not None
    assert server.get(image[1].replace("&amp;", "&")).status_code == 200


# fmt: off
FRAGMENTS = [
    # fragment                             path
    ("/fastly/a%2520b.jpg",                "a%20b.jpg"),
    ("/fastly/a%23b%3Fc%25/d.jpg?width=9", "a#b?c%/d.jpg"),
    ("/fastly/a%20b.jpg?x=%252B%2B%26",    "a b.jpg"),
]
# fmt: on


def test_the_fragment_is_the_url(context: BrowserContext, server: Running) -> None:
    """It is decoded once: the page's URL is the same after it has read the fragment."""
    page = opened(context, server, "/fastly/wide.jpg")
    for fragment, path in FRAGMENTS:
        page.goto(f"{server.address}/#{fragment}")
        expect(page.locator("#path")).to_have_value(path)
        expect(page.locator("#url")).to_have_value(server.address + fragment)


def test_by_keyboard_alone_to_a_copied_url(context: BrowserContext, server: Running) -> None:
    page = opened(context, server)

    def tab_to(element: str, limit: int = 60) -> None:
        for _ in range(limit):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == element:
                return
        raise AssertionError(f"Tab does not reach {element}")

    tab_to("path")
    page.keyboard.press("Control+A")
    page.keyboard.type("wide.jpg")
    tab_to("selection")
    for key in ("ArrowRight", "Shift+ArrowLeft", "Enter"):
        page.keyboard.press(key)
    shown(page)
    tab_to("p-width")
    page.keyboard.type("80")
    shown(page)
    tab_to("copy")
    page.keyboard.press("Enter")
    page.get_by_text("URL copied.").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"{server.address}/fastly/wide.jpg?crop=192,100,x108,y50&width=80"
    reply = server.get(copied.removeprefix(server.address))
    assert reply.status_code == 200
    assert "odim=80x42" in reply.headers["fastly-io-info"]


# fmt: off
DRAWN = [
    # dialect       tool            the query after a box from 1/4 to 3/4 of both sides of 400x200
    ("fastly",       "crop",        "crop=200,100,x100,y50"),
    ("fastly",       "focal point", "crop=1:1,offset-x50,offset-y50"),
    ("fastly",       "trim",        "trim=50,100,50,100"),
    ("contentstack", "crop",        "crop=200,100,x100,y50"),
    ("kontent",      "crop",        "rect=100,50,200,100"),
    ("kontent",      "focal point", "fit=crop&crop=focalpoint&fp-x=0.500&fp-y=0.500&w=400&h=400"),
]
# fmt: on


def test_boxes_are_drawn_on_the_original(context: BrowserContext, server: Running) -> None:
    page = opened(context, server, "/fastly/wide.jpg")
    for dialect, tool, query in DRAWN:
        page.goto(f"{server.address}/#/{dialect}/wide.jpg")  # the page stays: only its fragment changes
        expect(page.locator("#original-facts")).to_contain_text("400 × 200")
        shown(page)
        page.get_by_role("radio", name=tool).check()
        page.locator("#original").scroll_into_view_if_needed()
        box = page.locator("#original").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 3 / 4, box["y"] + box["height"] * 3 / 4)
        page.mouse.up()
        expect(page.locator("#url")).to_have_value(f"{server.address}/{dialect}/wide.jpg?{query}")


def test_errors_and_warnings_are_at_their_parameter(context: BrowserContext, server: Running) -> None:
    page = opened(context, server, "/fastly/wide.jpg?width=0")
    width = page.get_by_label("width", exact=True)
    assert width.get_attribute("aria-invalid") == "true"
    assert "write 200, 0.5 or 50p" in page.locator("[data-name=width] .error").inner_text()
    assert "Fix:" in page.locator("#messages").inner_text()
    width.fill("50")
    shown(page)
    assert width.get_attribute("aria-invalid") is None
    assert page.locator("#messages").inner_text() == ""
    page.goto(f"{server.address}/#/fastly/wide.jpg?wdith=50")
    shown(page)
    assert "did you mean width?" in page.locator("#messages").inner_text()


def test_an_uploaded_image_is_rendered_and_not_kept(
    context: BrowserContext, server: Running, tmp_path: Path, pictures: Path
) -> None:
    own = tmp_path / "mine.jpg"
    own.write_bytes((pictures / "wide.jpg").read_bytes())
    page = opened(context, server, "/fastly/tall.png?width=40")
    page.set_input_files("#file", own)
    shown(page)
    assert result(page).startswith("40 × 20, JPEG")
    assert "not on the server" in page.locator("#copied").inner_text()
    assert server.get("/fastly/mine.jpg").status_code == 404


def test_faces_and_subject_of_an_uploaded_image(context: BrowserContext, server: Running) -> None:
    page = opened(context, server, "/fastly/wide.jpg?crop=2:1,smart")
    page.set_input_files("#file", Path("examples/images/astronaut.jpg"))
    shown(page)
    page.locator("#smart summary").click()
    expect(page.locator("#focal")).to_contain_text("Faces: 1.")
    assert page.evaluate("document.getElementById('analysis').naturalWidth") == 512
    assert page.locator("#links").is_hidden(), "their URLs need the image on the server"


def test_the_endpoints_of_pixlab(context: BrowserContext, server: Running) -> None:
    """The image is one of the folder, the URL has a place for the key, and the link shares all of it."""
    page = opened(context, server, "/fastly/wide.jpg?width=40")
    page.locator("#site").select_option(label="PixLab (/pixlab)")
    shown(page)
    assert result(page).startswith("200 × 150, ")
    page.get_by_label("width", exact=True).fill("60")
    page.get_by_label("height", exact=True).fill("30")
    shown(page)
    assert result(page).startswith("60 × 30, JPEG")
    assert page.url.endswith("#/pixlab/crop?img=/fastly/wide.jpg&x=0&y=0&width=60&height=30")
    image = f"{server.address}/fastly/wide.jpg"
    url = f"{server.address}/pixlab/crop?img={image}&x=0&y=0&width=60&height=30&key=YOUR_KEY"
    assert page.input_value("#url") == url
    assert "-F 'width=60' -F 'height=30'" in page.locator("#code").inner_text()
    page.locator("#endpoint").select_option("resize")
    shown(page)
    assert page.url.endswith("#/pixlab/resize?img=/fastly/wide.jpg&width=60&height=30")
    assert page.locator(".tools fieldset").is_hidden(), "resize takes no box"
    assert page.get_by_label("x", exact=True).count() == 0
    again = opened(context, server, "/pixlab/smartresize?img=/kontent/tall.png&width=20&height=0")
    assert result(again).startswith("20 × 60, ")
    fastly = again.locator("#translations dt:has-text('fastly') + dd")
    assert "width=20" in fastly.inner_text()


def test_the_image_of_an_endpoint_is_fetched_once(context: BrowserContext, server: Running) -> None:
    """The rendition and its explanation are requested together, each with the image in its body."""
    fetched: list[str] = []

    def note(request: Request) -> None:
        if request.resource_type == "fetch":
            fetched.append(f"{request.method} {request.url}")

    context.on("request", note)
    page = opened(context, server, "/pixlab/crop?img=/fastly/wide.jpg&x=5&y=5&width=60&height=30")
    page.get_by_label("width", exact=True).fill("50")
    shown(page)
    assert result(page).startswith("50 × 30")
    assert fetched.count(f"GET {server.address}/fastly/wide.jpg") == 1
    assert fetched.count(f"HEAD {server.address}/fastly/wide.jpg") == 1


def test_an_image_that_cannot_be_fetched_is_not_sent(context: BrowserContext, server: Running) -> None:
    """It is fetched again for the next change."""
    sent: list[str] = []
    failures = [503]

    def fail_once(route: Route) -> None:
        if failures and (route.request.method, route.request.resource_type) == ("GET", "fetch"):
            route.fulfill(status=failures.pop(), body="busy")
        else:
            route.fallback()

    context.route("**/fastly/wide.jpg", fail_once)
    context.on("request", lambda each: sent.append(each.url) if each.method == "POST" else None)
    page = context.new_page()
    page.goto(f"{server.address}/#/pixlab/crop?img=/fastly/wide.jpg&x=5&y=5&width=60&height=30")
    expect(page.locator("#messages")).to_contain_text("503: busy")
    assert sent == []
    page.get_by_label("width", exact=True).fill("50")
    expect(page.locator("#result-facts")).to_contain_text("50 × 30")
    expect(page.locator("#messages")).to_be_empty()


def test_the_code_for_pixlab_works(context: BrowserContext, server: Running, pictures: Path) -> None:
    page = opened(context, server, "/pixlab/crop?img=/fastly/wide.jpg&x=5&y=5&width=60&height=30")
    key = re.search(r"PixLab key until the server stops: (\S+)", server.greeting)
    assert key is not None
    page.locator("#snippet").select_option("Python")
    code = page.locator("#code").inner_text().replace("YOUR_KEY", key[1])
    values = re.search(r"data=(\{.*\})", code)
    assert values is not None
    with (pictures / "wide.jpg").open("rb") as image:
        address = f"{server.address}/pixlab/crop"
        assert json.dumps(address) in code
        reply = httpx.post(address, data=json.loads(values[1]), files={"file": image}, trust_env=False)
    assert Image.open(io.BytesIO(reply.content)).size == (60, 30)


@pytest.fixture(scope="module")
def library_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, str]]:
    """A server over a library with one published image, and the path of the image."""
    shop = create_shop(tmp_path_factory.mktemp("shop"))
    store = LibraryStore.open(shop.data / LIBRARY_FOLDER)
    body = encode(Image.new("RGB", (80, 60), (10, 200, 90)), "JPEG")
    asset = add_asset(store, shop.place, body, publishing=PRODUCTION)
    store.close()
    path = f"v3/assets/{shop.stack.api_key}/{asset.uid}/{asset.version.file_uid}/owl.jpg"
    with running("--data", str(shop.data), cache=tmp_path_factory.mktemp("library") / "cache") as found:
        yield found, path


def test_an_image_of_the_library_is_chosen_from_a_list(browser: Browser, library_server: tuple[Running, str]) -> None:
    server, path = library_server
    page = browser.new_page()
    page.goto(server.address)
    shown(page)
    page.get_by_role("button", name="owl.jpg").click()
    page.get_by_label("width", exact=True).fill("40")
    shown(page)
    assert result(page).startswith("40 × 30, JPEG")
    expected = f"{server.address}/contentstack/{path}?environment=production&width=40"
    assert page.input_value("#url") == expected
    assert server.get(expected.removeprefix(server.address)).status_code == 200
    page.get_by_role("button", name="Clear all").click()
    assert page.input_value("#url") == expected.removesuffix("&width=40"), "without the environment it is not found"
    page.locator("#site").select_option(label="Kontent.ai Image Transformation (/kontent), library")
    shown(page)
    assert result(page).startswith("80 × 60")
    page.close()


def test_the_result_is_compared_with_the_original(context: BrowserContext, server: Running) -> None:
    page = opened(context, server, "/fastly/wide.jpg?width=50")
    assert page.locator("#under").is_hidden()
    page.get_by_label("Compare with the original").fill("40")
    assert page.evaluate("getComputedStyle(document.getElementById('under')).clipPath") == "inset(0px 60% 0px 0px)"


# fmt: off
VIEWS = [
    # width, colors   pages
    (375,    "dark",  PAGES),
    (768,    "light", ("/",)),
    (1440,   "light", ("/", EXPLAIN)),
]
# fmt: on


@require("axe", HAS_AXE)
@pytest.mark.parametrize(("width", "scheme", "pages"), VIEWS)
def test_pages_are_accessible_and_fit_the_screen(
    browser: Browser, server: Running, width: int, scheme: Literal["dark", "light"], pages: tuple[str, ...]
) -> None:
    """No violation of WCAG 2.2 AA that axe-core finds, and nothing is wider than the screen."""
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - absent where these tests are skipped

    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    for path in pages:
        page = context.new_page()
        page.goto(server.address + path)
        if path == "/":
            shown(page)
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        found = Axe().run(page, options={"runOnly": list(WCAG), "resultTypes": ["violations"]}).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in found] == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    context.close()


@require("axe", HAS_AXE)
def test_axe_finds_the_fault_of_a_page_without_labels(browser: Browser) -> None:
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - absent where these tests are skipped

    page = browser.new_page()
    page.set_content("<html lang=en><title>x</title><main><h1>x</h1><input></main></html>")
    found = Axe().run(page, options={"runOnly": list(WCAG)}).response["violations"]
    assert "label" in [each["id"] for each in found]
    page.close()


def test_targets_have_at_least_24_px(context: BrowserContext, server: Running) -> None:
    page = opened(context, server)
    small = page.evaluate(
        """[...document.querySelectorAll("button, input:not([type=hidden]), select, summary, #links a")]
        .filter((each) => each.offsetParent)
        .map((each) => [each.id || each.textContent, each.closest("label")?.offsetHeight ?? each.offsetHeight])
        .filter(([, height]) => height < 24)"""
    )
    assert small == []
