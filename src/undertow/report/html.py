"""A report as one HTML file: what it shows as JSON, the code that draws it, and nothing from a network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from numpy.typing import ArrayLike

from undertow.errors import ArgumentError
from undertow.flow.own import OwnRecorder
from undertow.flow.record import Flow
from undertow.report.contents import report_data
from undertow.report.recorded import Recorded
from undertow.train import Run
from undertow.train.files import read_path, write_whole

ASSETS: Final = Path(__file__).parent / "assets"
VENDOR: Final = ("vendor/d3.min.js", "vendor/plot.umd.min.js")
SCRIPTS: Final = ("page.js", "summary.js", "curves.js", "map.js", "profile.js", "distributions.js", "outcome.js",
                  "report.js")  # fmt: skip
SECTIONS: Final = ("walk",)
MOST: Final = 3_000_000  # bytes of a page
TOO_LARGE: Final = (
    "The walk through the backward pass is left out: with it, this page would be larger than 3 MB. undertow explain "
    "prints it."
)
DATA_ID: Final = "undertow-report-data"


class Section(NamedTuple):
    """Something that another module puts into a page.

    Attributes:
        html: what stands in the section; trusted, so whoever makes it escapes what users wrote.
        css: rules.
        js: a script; it runs after the report is drawn.
        data: plain data, which the script finds as JSON in the element ``<name>-data``.
    """

    html: str
    css: str = ""
    js: str = ""
    data: Any = None


def write_report(
    source: Run | Flow | OwnRecorder | Recorded | str | Path,
    path: str | Path,
    *,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    sections: Mapping[str, Section | tuple[Any, ...]] | None = None,
    remarks: Sequence[str] = (),
) -> Path:
    """Write a report on a training as one HTML file, which needs no network.

    Args:
        source: a run, its record, or the folder of one, which may still be training or have been killed; or what was
            read of it already.
        path: the file, ``report.html``; its folder is made if missing, a file that is there is replaced.
        X: examples to compare predictions on, (m, …), best those held out; None for no comparison.
        y: their targets, (m,) or (m, K).
        sections: what other modules put into the page, by the name of the place: ``"walk"``; left out, with a remark,
            where the page would be larger than 3 MB.
        remarks: what else is to be said above the page.

    Returns:
        The path.

    Raises:
        ArgumentError: ``a report is made of a run or of its folder, not of a list. …``; X without y; another place.
        RunError: the folder holds no run, or a damaged one; ``report.html cannot be written: …``
        DataError, ShapeError: X and y are not what the model takes.

    Source: derived here.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     written = write_report(Run(None, [{"epoch": 1, "loss": 0.5}]), Path(folder) / "report.html")
        ...     written.name, written.stat().st_size < 3_000_000
        ('report.html', True)
    """
    target = read_path(path, "the file of a report")
    if (X is None) != (y is None):
        raise ArgumentError("a report compares predictions of X with y. Give both, or neither.")
    data = report_data(source, X=X, y=y)
    data["remarks"] += remarks
    page = render_page(data, sections=sections).encode()
    if sections and len(page) > MOST:
        data["remarks"].append(TOO_LARGE)
        page = render_page(data).encode()
    write_whole(target, page)
    return target


def render_page(
    data: Any,
    *,
    sections: Mapping[str, Section | tuple[Any, ...]] | None = None,
    scripts: tuple[str, ...] = (),
    connect: str = "'none'",
) -> str:
    """Make the page of a report.

    Args:
        data: of `report_data`.
        sections: as `write_report` takes them.
        scripts: more scripts, which run last; ``undertowReport.render(data)`` draws the page again.
        connect: where the page may connect to, as a content security policy says it: ``"'self'"`` for a live page.

    Returns:
        The HTML.

    Raises:
        ArgumentError: ``a report has no place 'wlak'. There are walk.``

    Source: W3C, Content Security Policy Level 3, §§ 2.3.1 and 8.4: scripts are named by their SHA-256.
    """
    given = {name: Section(*piece) for name, piece in (sections or {}).items()}
    for name in given:
        if name not in SECTIONS:
            raise ArgumentError(f"a report has no place {name!r}. There are {', '.join(SECTIONS)}.")
    code = [*_library(), *(_keep_open(text, "script") for text in (*(x.js for x in given.values()), *scripts) if text)]
    blocks = [_data_block(DATA_ID, data)]
    blocks += [_data_block(f"{name}-data", piece.data) for name, piece in given.items() if piece.data is not None]
    policy = (
        f"default-src 'none'; script-src {' '.join(map(_hash, code))}; style-src 'unsafe-inline'; img-src data:; "
        f"font-src data:; connect-src {connect}; base-uri 'none'; form-action 'none'"
    )
    fill = {
        "policy": html.escape(policy),
        "title": html.escape(str(data["summary"]["title"])),
        "style": "\n".join([_read("report.css"), *(_keep_open(piece.css, "style") for piece in given.values())]),
        "walk": given["walk"].html if "walk" in given else "",
        "walk_hidden": "" if "walk" in given else "hidden",
        "data": "\n".join(blocks),
        "scripts": "\n".join(f"<script>{text}</script>" for text in code),
    }
    return re.sub("@@([a-z_]+)@@", lambda place: fill[place[1]], _read("report.html"))


def embed_json(data: Any) -> str:
    r"""Write plain data as JSON that may stand in a script element of a page.

    Args:
        data: plain data without numbers that are not finite.

    Returns:
        ASCII text without ``<``, ``>`` and ``&``, so that no text in it can end the element or begin a comment.

    Source: WHATWG, HTML, § 4.12.1.3, Restrictions for contents of script elements.

    Example:
        >>> embed_json({"layer": "</script><!--"})
        '{"layer":"\\u003c/script\\u003e\\u003c!--"}'
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _data_block(name: str, data: Any) -> str:
    return f'<script type="application/json" id="{name}">{embed_json(data)}</script>'


def _hash(script: str) -> str:
    """A script's name in the policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _keep_open(text: str, element: str) -> str:
    r"""A script or style that does not end its element: ``<\/`` is ``</`` in its strings."""
    return re.sub(f"</(?={element})", r"<\\/", text, flags=re.IGNORECASE)


@cache
def _library() -> tuple[str, ...]:
    """The scripts of every report: the libraries as they are, and what draws."""
    return (*map(_read, VENDOR), "\n".join(map(_read, SCRIPTS)))


@cache
def _read(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8").replace("\r\n", "\n")
