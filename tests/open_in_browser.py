"""Open a page in a headless browser, with no network, at several widths, and print what was seen as JSON.

    python open_in_browser.py PAGE BROWSER FOLDER NAME

In a process of its own, so that a browser that hangs can be stopped. Screenshots go to FOLDER/NAME-WIDTH.png.
"""

import json
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTHS = {390: 844, 1280: 900}
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"),
    *("--disable-component-update", "--disable-sync"),
)
LOOK = """() => ({
    scroll: document.documentElement.scrollWidth,
    client: document.documentElement.clientWidth,
    images: [...document.images].map(i => [i.naturalWidth, i.alt]),
    broken: [...document.querySelectorAll('a[href^="#"]')].map(a => a.getAttribute('href').slice(1))
        .filter(id => !document.getElementById(id)),
    contents: document.querySelectorAll('nav a').length,
    levels: [...document.querySelectorAll('h1, h2, h3, h4')].map(h => Number(h.tagName[1])),
    wider: [...document.querySelectorAll('main *')].filter(e => !e.closest('.box, pre, svg')
        && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.tagName),
})"""


def look(page_path, browser, folder, name):
    seen = {}
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=browser, args=list(QUIET), timeout=30_000)
        for width, height in WIDTHS.items():
            context = chromium.new_context(viewport={"width": width, "height": height}, offline=True)
            page = context.new_page()
            messages, requests = [], []
            page.on("console", lambda message, to=messages: to.append(message.text))
            page.on("pageerror", lambda error, to=messages: to.append(str(error)))
            page.on("request", lambda request, to=requests: to.append(request.url[:80]))
            page.on("requestfailed", lambda request, to=messages: to.append(f"failed: {request.url[:80]}"))
            page.goto(page_path.as_uri(), timeout=20_000)
            page.evaluate("Promise.all([...document.images].map(image => image.decode()))")
            seen[width] = {**page.evaluate(LOOK), "messages": messages, "requests": requests}
            page.screenshot(path=folder / f"{name}-{width}.png", full_page=True, timeout=20_000)
            context.close()
        chromium.close()
    return seen


if __name__ == "__main__":
    page_path, browser, folder, name = sys.argv[1:]
    print(json.dumps(look(Path(page_path).resolve(), browser, Path(folder), name)))
