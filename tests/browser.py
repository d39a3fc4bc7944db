"""Pages in a real browser: Debian's Chromium without a window, driven by playwright.

A test file that uses it says so with `pytest_plugins = ["tests.browser"]`.
"""

import shutil
from collections.abc import Iterator

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
HOW_TO_GET_IT = "no Chromium: apt-get install chromium (and pip install playwright)"


class Browser:
    """A browser that keeps what its pages asked for and complained about."""

    def __init__(self, chromium):
        self.chromium = chromium
        self.requests: list[str] = []  # addresses
        self.errors: list[str] = []  # of the console, and uncaught ones

    def open(self, address: str, width: int = 1000, height: int = 900, **options):
        """Return a new page at this address (playwright's Page)."""
        page = self.chromium.new_page(viewport={"width": width, "height": height}, **options)
        page.set_default_timeout(20_000)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on(
            "console", lambda told: self.errors.append(told.text) if told.type == "error" else None
        )
        page.goto(address)
        return page


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    """The browser itself, started once for the tests of a file."""
    playwright = pytest.importorskip("playwright.sync_api", reason=HOW_TO_GET_IT)
    if not CHROMIUM:
        pytest.skip(HOW_TO_GET_IT)
    with playwright.sync_playwright() as driver:
        # Chromium has no sandbox for root, which tests in containers are.
        found = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield found
        found.close()


@pytest.fixture
def browser(chromium) -> Iterator[Browser]:
    """A `Browser`; the test fails if a page has complained."""
    found = Browser(chromium)
    yield found
    for context in chromium.contexts:
        context.close()
    assert not found.errors
