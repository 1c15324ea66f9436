"""The live page: the page of a report, and a script that feeds it."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Final, NamedTuple

from undertow.report.contents import report_data
from undertow.report.html import render_page
from undertow.train.run import Run

ASSETS: Final = Path(__file__).parent / "assets"
SETTINGS: Final = "undertow-live"  # the name of the meta element in which the script finds what it needs


class Page(NamedTuple):
    """A page and what it may do.

    Attributes:
        text: the HTML.
        policy: its content security policy.
    """

    text: str
    policy: str


def make_page(name: str, page_token: str, control: bool) -> Page:
    """Make the live page of a run.

    Args:
        name: of the run.
        page_token: what it shows when it writes.
        control: whether it has controls.

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
    text = render_page(data, scripts=(script,), connect="'self'")
    told = {"name": name, "control": control, "token": page_token if control else ""}
    style = (ASSETS / "live.css").read_text(encoding="utf-8")
    head = f'<meta name="{SETTINGS}" content="{html.escape(json.dumps(told))}">\n<style>\n{style}</style>\n</head>'
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    policy = html.unescape(found[1]) if found else "default-src 'none'"
    return Page(text.replace("</head>", head, 1), f"{policy}; frame-ancestors 'none'")
