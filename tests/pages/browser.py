"""A real browser, without a window, that notes every error and every request of a page."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = (
    "no Chromium on this machine; on Debian: apt-get update && apt-get install -y chromium, and "
    "elsewhere name it in CHROMIUM"
)


def chromium() -> str | None:
    """Return the path of the system's browser."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


needs_browser = pytest.mark.skipif(chromium() is None, reason=MISSING)


class Opened:
    """An open page: `page` of playwright, and what went wrong on it."""

    def __init__(self, page):
        self.page = page
        self.wrong: list[str] = []
        page.on("console", lambda told: self.wrong.append(f"{told.type}: {told.text}"))
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self.wrong.append(f"dialog: {dialog.message}"))
        page.on("requestfailed", lambda request: self.wrong.append(f"failed: {request.url}"))
        page.on("request", self._note)

    def _note(self, request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.wrong.append(f"request: {request.url}")

    def look(self, path: Path) -> None:
        """Open a file, and wait until it stands."""
        self.page.goto(path.absolute().as_uri())

    def as_seen_at(self, width_px: int, scheme: str) -> None:
        """Show the page at a width, light or dark; nothing may be wider than the window."""
        self.page.set_viewport_size({"width": width_px, "height": 900})
        self.page.emulate_media(color_scheme=scheme)
        widest = self.page.evaluate("document.documentElement.scrollWidth")
        assert widest <= width_px
        ground = self.page.evaluate("getComputedStyle(document.body).backgroundColor")
        levels = [int(level) for level in ground.strip("rgb()").split(",")]
        assert (max(levels) < 60) == (scheme == "dark"), ground

    def pixels(self, selector: str) -> str:
        """Return the picture of a canvas."""
        return self.page.locator(selector).first.evaluate("canvas => canvas.toDataURL()")


@contextmanager
def browser() -> Iterator[Opened]:
    """Open a browser with one empty page."""
    from playwright.sync_api import sync_playwright  # starts a process of its own

    with sync_playwright() as started:
        window = started.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            page = window.new_page()
            page.set_default_timeout(120_000)  # of a machine that does other things too
            yield Opened(page)
        finally:
            window.close()
