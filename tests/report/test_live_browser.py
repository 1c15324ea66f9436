"""The live page in a browser, where Chromium and Playwright are there: fed, held, controlled, and cut off."""

import os
import re
import time

import pytest

pytest.importorskip("uvicorn")

from live_pages import PATIENCE, Writer, served
from undertow.report.live import read_wish
from undertow.report.live.control import DONE
from undertow.train.history import HistoryFile
from undertow.train.lock import FolderLock

pytest.importorskip("playwright.sync_api")

DRAWN = "() => document.querySelector('main').innerText"


def wait(page, pattern):
    end = time.monotonic() + PATIENCE
    while not re.search(pattern, told := page.inner_text(".live .tell")):
        assert time.monotonic() < end, told
        page.wait_for_timeout(20)
    return told


def drawn(page):
    """What a page shows once that has not changed for half a second."""
    end, shown = time.monotonic() + PATIENCE, None
    while (now := page.evaluate(DRAWN)) != shown:
        assert time.monotonic() < end
        shown = now
        page.wait_for_timeout(500)
    return shown


def test_a_page_that_was_fed_shows_what_a_new_one_shows(tmp_path, visit):
    """Part after part, beyond 400 columns: in the end the page is that of one who comes then."""
    writer = Writer(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with served(tmp_path) as (url, _):
        page = visit(url)
        wait(page, "No training has begun|gone")
        page.wait_for_selector("#findings >> text=No step is recorded yet.")
        page.wait_for_selector("#outcome >> text=no predictions to compare")
        lock = FolderLock(tmp_path / "checkpoints")
        for _ in range(30):
            writer.write(20)
            page.wait_for_timeout(30)
        wait(page, "Live.*step 600")
        page.click("text=Hold the page")
        held = drawn(page)
        writer.write(20)
        wait(page, "step 620")
        page.wait_for_timeout(600)
        assert page.evaluate(DRAWN) == held
        page.click("text=Let the page go on")
        lock.release()
        writer.end()
        wait(page, "Ended")
        other = visit(url)
        wait(other, "Ended")
        end = time.monotonic() + PATIENCE
        while drawn(page) != drawn(other):
            assert time.monotonic() < end
        assert drawn(page) != held
        assert "620" in page.inner_text("#summary")


def test_a_page_controls_and_finds_its_server_again(tmp_path, visit):
    writer = Writer(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    lock = FolderLock(tmp_path / "checkpoints")
    done = HistoryFile(tmp_path / DONE)
    done.append({"action": "begin", "process": os.getpid(), "scale": 1.0})
    writer.write(20)
    with served(tmp_path, control=True, token="secret-token") as (url, _):
        page = visit(url)
        assert page.url == url.split("?")[0]  # the token is in the address no more
        wait(page, "Live")
        assert page.is_disabled("text=Resume training")
        page.click("text=Pause training")
        wait(page, "A control was sent")
        assert read_wish(tmp_path).paused
        done.append({"action": "pause"})
        wait(page, "Paused")
        page.fill("#live-factor", "0.25")
        page.keyboard.press("Enter")
        wait(page, "A control was sent")
        done.append({"action": "rate", "scale": 0.25})
        wait(page, r"0\.25 times the planned one")
        page.click("text=Stop training")
        wait(page, "A control was sent")
        assert read_wish(tmp_path).stop
        lock.release()
        wait(page, "Waiting")
        assert page.is_disabled("text=Stop training")
        page.reload()  # by the cookie
        wait(page, "Waiting")
    wait(page, "Not connected.*server of this page has ended")


def test_a_page_says_that_its_server_was_started_again_with_another_token(tmp_path, new_page):
    Writer(tmp_path).write(20)
    with served(tmp_path, control=True, token="first-token") as (url, _):
        page = new_page()
        page.goto(url)
        wait(page, "Waiting")
    wait(page, "Not connected.*server of this page has ended")
    port = int(url.split(":")[2].split("/")[0])
    with served(tmp_path, control=True, token="second-token", port=port) as (again, _):
        wait(page, "started again and does not know this page. Open the address")
        page.goto(again)
        wait(page, "Waiting")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing(tmp_path, new_page, settle, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    Writer(tmp_path).write(20)
    with served(tmp_path, control=True) as (url, _):
        page = new_page(
            viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce"
        )
        page.goto(url)
        wait(page, "Waiting")
        settle(page)
        found = axe.Axe().run(page, context=".live")
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
