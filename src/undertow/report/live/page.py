"""The live page: the page of a report, and a script that feeds it."""

from __future__ import annotations

import html
import json
import re
import threading
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from undertow.report.contents import report_data
from undertow.report.html import Section, render_page
from undertow.report.live.files import stamp
from undertow.report.live.model import make_walk
from undertow.train.checkpoint import RECORD
from undertow.train.keeper import FOLDER
from undertow.train.run import Run

ASSETS: Final = Path(__file__).parent / "assets"
SECONDS: Final = 5.0  # between two pages that are made, at least
SETTINGS: Final = "undertow-live"  # the name of the meta element in which the script finds what it needs


class Page(NamedTuple):
    """A page and what it may do.

    Attributes:
        text: the HTML.
        policy: its content security policy.
    """

    text: str
    policy: str


def make_page(name: str, page_token: str, control: bool, walk: Section | None = None) -> Page:
    """Make the live page of a run.

    Args:
        name: of the run.
        page_token: what it shows when it writes.
        control: whether it has controls.
        walk: the walk through the backward pass, or None where there is no model yet.

    Returns:
        The page, without data: they come by the stream.

    Source: derived here.

    Example:
        >>> "connect-src 'self'" in make_page("a", "secret", False).policy
        True
    """
    data = report_data(Run(None, [], stopped=""))
    data["summary"]["title"] = name
    script = (ASSETS / "live.js").read_text(encoding="utf-8")
    sections = {} if walk is None else {"walk": walk}
    text = render_page(data, sections=sections, scripts=(script,), connect="'self'")
    told = {"name": name, "control": control, "token": page_token if control else ""}
    style = (ASSETS / "live.css").read_text(encoding="utf-8")
    head = f'<meta name="{SETTINGS}" content="{html.escape(json.dumps(told))}">\n<style>\n{style}</style>\n</head>'
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    policy = html.unescape(found[1]) if found else "default-src 'none'"
    return Page(text.replace("</head>", head, 1), f"{policy}; frame-ancestors 'none'")


class Pages:
    """The page as it is when somebody opens it: its walk has the parameters of the last checkpoint.

    Args:
        folder: of the run.
        name: of the run.
        page_token: see `make_page`.
        control: see `make_page`.

    Source: derived here.

    Example:
        >>> pages = Pages(Path("no-such-run"), "a", "secret", False)
        >>> pages.current() is pages.current()
        True
    """

    def __init__(self, folder: Path, name: str, page_token: str, control: bool) -> None:
        self.folder, self.told = folder, (name, page_token, control)
        self._page: Page | None = None
        self._seen: Any = None
        self._made = 0.0
        self._lock = threading.Lock()

    def current(self) -> Page:
        """Return the page; it is made anew where there is a new checkpoint, and not again and again."""
        with self._lock:
            seen = stamp(self.folder / RECORD), stamp(self.folder / FOLDER)
            old = time.monotonic() - self._made > SECONDS
            if self._page is None or (seen != self._seen and old):
                self._page = make_page(*self.told, make_walk(self.folder))
                self._seen, self._made = seen, time.monotonic()
            return self._page
