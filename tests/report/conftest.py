"""A browser for the tests of pages: Chromium of the system, driven by Playwright; skipped where either is missing."""

from __future__ import annotations

import os
import shutil

import pytest

PATIENCE = 120_000  # ms after which a test gives up waiting
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")  # Playwright's loop must not run while other modules run one
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("there is no Chromium")
    playwright.expect.set_options(timeout=PATIENCE)
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=path, args=["--no-sandbox"], timeout=PATIENCE)
        yield opened
        opened.close()


@pytest.fixture
def new_page(browser):
    """Make a page in a context of its own, which ends with the test."""
    contexts = []

    def make(**options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        return context.new_page()

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def visit(new_page):
    """Open a page at an address; in the end nothing stood in its console, and it asked for nothing but itself."""
    wrong = []

    def open_page(url, **options):
        page = new_page(**options)
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        own = (url.split("?")[0], "data:", "blob:")
        page.on("request", lambda request: None if request.url.startswith(own) else wrong.append(request.url))
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(url)
        return page

    yield open_page
    assert not wrong


@pytest.fixture
def settle():
    """Let a page draw what it puts off to the next frames, and end what moves; what moves for ever does not."""
    frames = """async () => {
      const frame = () => new Promise((done) => requestAnimationFrame(done));
      for (let i = 0; i < 3; i++) await frame();
      const ends = (motion) => Number.isFinite(motion.effect.getComputedTiming().endTime);
      await Promise.allSettled(document.getAnimations().filter(ends).map((motion) => motion.finished));
      await frame();
    }"""
    return lambda page: page.evaluate(frames)


@pytest.fixture
def hold_clock():
    """Stop the clock of a page: what it waits for comes when the clock is told to run."""

    def hold(page):
        page.clock.install(time=0)
        page.clock.pause_at(1)

    return hold
