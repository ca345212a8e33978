"""Take a picture of a page in Chromium with the network cut off.

    python -m tests.browser.shoot _build/html/index.html --theme dark --width 375 --out shot.png

Prints the page's errors and every request that would have left the page's own host.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page, Route, sync_playwright

from tests import chromium
from tests.patience import PATIENCE

LOCAL_HOSTS = ("127.0.0.1", "localhost")
TYPESET = "() => window.MathJax && MathJax.startup ? MathJax.startup.promise.then(() => true) : true"


def is_local(url: str) -> bool:
    """True where fetching `url` leaves neither the machine nor the page."""
    parts = urlsplit(url)
    return parts.scheme in ("file", "data", "blob", "about") or parts.hostname in LOCAL_HOSTS


def watch(page: Page, messages: list[str], outside: list[str]) -> None:
    """Block what is not local, and note errors and blocked requests."""

    def gate(route: Route) -> None:
        if is_local(route.request.url):
            route.continue_()
        else:
            outside.append(route.request.url)
            route.abort()

    page.route("**/*", gate)
    page.on("console", lambda message: messages.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: messages.append(str(error)))


def choose_theme(page: Page, theme: str) -> None:
    """The system's preference, and the theme's own switch, before the page is read."""
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.add_init_script(f"try {{ localStorage.setItem('theme', '{theme}'); localStorage.setItem('mode', '{theme}'); }} catch (error) {{}}")


def settle(page: Page) -> None:
    """Wait until the page's scripts have run, its mathematics is set and its fonts are there."""
    page.wait_for_load_state("load")
    page.evaluate(TYPESET)
    page.evaluate("() => document.fonts.ready.then(() => true)")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", help="a file, or an address on 127.0.0.1; may end in #a-hash")
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--scale", type=float, default=1.0, help="device pixels a CSS pixel")
    parser.add_argument("--selector", help="only this element")
    parser.add_argument("--full", action="store_true", help="the whole page, not only the first screen")
    parser.add_argument("--out", default="shot.png")
    options = parser.parse_args(arguments)

    address, _, fragment = options.page.partition("#")
    if "://" not in address:
        address = Path(address).resolve().as_uri()
    messages: list[str] = []
    outside: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox"], timeout=1000 * PATIENCE)
        page = browser.new_page(viewport={"width": options.width, "height": options.height}, device_scale_factor=options.scale)
        page.set_default_timeout(1000 * PATIENCE)
        watch(page, messages, outside)
        choose_theme(page, options.theme)
        page.goto(address + (f"#{fragment}" if fragment else ""))
        settle(page)
        if options.selector:
            page.locator(options.selector).first.screenshot(path=options.out)
        else:
            page.screenshot(path=options.out, full_page=options.full)
        sideways = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        browser.close()
    for message in messages:
        print("console error:", message)
    for url in outside:
        print("outside request:", url)
    if sideways > 0:
        print(f"the page scrolls sideways by {sideways} px")
    print(options.out)
    return 1 if messages or outside else 0


if __name__ == "__main__":
    sys.exit(main())
