"""The page: one file that needs nothing else, and the section that a report puts among its own."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import operator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from undertow.api import Backprop, input_values
from undertow.errors import ArgumentError
from undertow.graph import measure_sizes
from undertow.optim import Optimizer, find_optimizer
from undertow.report.walks.build import build
from undertow.report.walks.layers import Observed, backprop_of_model
from undertow.train.files import read_path, write_whole


class Section(NamedTuple):
    """What a page needs to hold a walk. Each class name begins with ``uw-``.

    Attributes:
        html: a ``<section class="uw">`` with its data within; a page may hold several.
        css: to be put into a ``<style>`` once.
        js: to be put into a ``<script>`` once, anywhere after the sections or before them.
        json: the data, as it stands in the section.
    """

    html: str
    css: str
    js: str
    json: str


@dataclass(frozen=True, eq=False)
class Walk:
    """A walk through the backward pass of a network. Made by `walk` and `walk_model`.

    Attributes:
        bp: the backward pass.
        example: the example that is shown first.
        update: the optimizer whose first step ends the walk, or None.
    """

    bp: Backprop
    example: int = 0
    update: Optimizer | None = None
    observed: list[Observed] = field(default_factory=list, repr=False)

    @cached_property
    def _data(self) -> dict[str, Any]:
        return build(self.bp, self.example, self.update, self.observed)

    def data(self) -> dict[str, Any]:
        """Return all that the page shows as plain data: source, arrays, and for each level nodes, edges, steps."""
        return self._data

    def section(self, heading: int = 2) -> Section:
        """Return the parts for a page of one's own.

        Args:
            heading: the level of the section's heading, 1 to 6.
        """
        data = as_json(self.data())
        body = asset("walk.html").replace("{title}", html.escape(self.bp.graph.title))
        body = body.replace("{h}", f"h{heading}").replace("{sub}", f"h{min(heading + 1, 6)}")
        body = body.replace("{derivation}", html.escape(self.bp.derivation()))
        return Section(body.replace("{data}", data), asset("walk.css"), asset("walk.js"), data)

    def page(self) -> str:
        """Return the whole page: one file, which loads nothing."""
        section = self.section(1)
        title = html.escape(f"The backward pass of {self.bp.graph.title}, step by step")
        policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src '{digest(section.js)}'; img-src data:"
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            f'<title>{title}</title>\n<link rel="icon" href="data:,">\n<style>\n{section.css}</style>\n</head>\n'
            f'<body class="uw-page">\n<main>\n{section.html}</main>\n<script>{section.js}</script>\n</body>\n</html>\n'
        )

    def _repr_html_(self) -> str:
        """The page within a notebook: it runs its own script alone, and reaches nothing of the notebook."""
        frame = 'sandbox="allow-scripts" style="width:100%;height:44em;border:0"'
        return f'<iframe {frame} srcdoc="{html.escape(self.page())}"></iframe>'

    def write(self, path: str | Path) -> Path:
        """Write the page to a file and return its path."""
        path = read_path(path, "the page")
        write_whole(path, self.page().encode())
        return path


@lru_cache
def asset(name: str) -> str:
    """Read a file that lies beside the code."""
    return (files("undertow.report") / "assets" / name).read_text(encoding="utf-8")


def as_json(data: Any) -> str:
    """Write JSON that can stand in a page: nothing in it ends a script or begins a comment."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def digest(script: str) -> str:
    """Return what a content security policy knows a script by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def walk(bp: Backprop, example: int = 0, update: str | Optimizer | None = None) -> Walk:
    """Make a page in which a person steps through a backward pass, value by value.

    Args:
        bp: the backward pass, of `undertow.backprop`; its numbers are those at the arguments that were traced.
        example: the row of the batch that is shown first, from 0.
        update: an optimizer whose first step ends the walk; None for none.

    Returns:
        The walk: ``.page()``, ``.write(path)``, ``.section()``, ``.data()``.

    Raises:
        ArgumentError: ``example=7: the batch has 5 rows. …``

    Source: derived here.

    Example:
        >>> import numpy as np, undertow as ut
        >>> bp = ut.backprop(lambda W, X, y: np.mean((X @ W - y) ** 2), np.ones((2, 1)), np.eye(2), np.ones((2, 1)))
        >>> [level["name"] for level in walk(bp).data()["levels"]]
        ['Values', 'Operations']
    """
    return _make(bp, example, update, [])


def walk_model(model: Any, X: Any, y: Any, loss: Any, example: int = 0, update: str | Optimizer | None = None) -> Walk:
    """Make the page of a model and a batch, with a level for its layers; see `walk`.

    Layers act as in training: normalisation looks at the batch. Dropout leaves nothing out.

    Args:
        model: a layer or container whose parameters are filled.
        X: examples, (m, …).
        y: targets as the loss takes them.
        loss: as `undertow.train` takes it.
        example: the row that is shown first.
        update: an optimizer, or None.

    Returns:
        The walk.

    Raises:
        ShapeError: ``X has 3 rows and y has 4. …``
        ArgumentError: as `walk`.

    Source: derived here.

    Example:
        >>> import numpy as np
        >>> from undertow.nn import Dense, Sequential, initialize
        >>> model = initialize(Sequential(Dense(2, 3), "tanh", Dense(3, 1)), 0)
        >>> made = walk_model(model, np.ones((4, 2), np.float32), np.ones((4, 1), np.float32), "mean_squared_error")
        >>> [node["label"] for node in made.data()["levels"][0]["nodes"]]
        ['X', 'y', 'Dense(2, 3)', 'tanh', 'Dense(3, 1)', 'loss']
    """
    bp, observed = backprop_of_model(model, X, y, loss)
    return _make(bp, example, update, observed)


def _make(bp: Backprop, example: int, update: str | Optimizer | None, observed: list[Observed]) -> Walk:
    if not isinstance(bp, Backprop):
        raise ArgumentError(
            f"walk takes a backward pass, got {type(bp).__name__}. Make one: ut.backprop(loss, params, X, y); "
            "for a model, use walk_model(model, X, y, loss)."
        )
    made = Walk(bp, operator.index(example), None if update is None else find_optimizer(update), observed)
    rows = batch_of(bp)
    if not 0 <= made.example < max(rows or 1, 1):
        what = f"the batch has {rows} rows" if rows else "there is no batch of examples"
        raise ArgumentError(f"example={example}: {what}. Give a row from 0 to {max((rows or 1) - 1, 0)}.")
    return made


def batch_of(bp: Backprop) -> int | None:
    """Return the number of examples that a backward pass was traced with; None without a batch."""
    sizes = measure_sizes(bp.graph, input_values(bp.traced, bp.args))
    return next(iter(sizes.values()), None)
