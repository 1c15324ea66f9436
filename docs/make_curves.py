"""Draws deep-networks.svg of what deep-networks.md trains. Needs matplotlib: pip install matplotlib."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

HERE = Path(__file__).parent
CURVES = {
    "sigmoid": ("30 layers, sigmoid", "#D55E00", "-"),
    "relu": ("30 layers, ReLU", "#0072B2", "-"),
    "residual": ("100 layers, residual", "#009E73", "-"),
    "clipped": ("10 layers, large weights, clipped", "#CC79A7", "--"),
}


def main() -> None:
    """Run the page, and draw the histories that it leaves."""
    text = (HERE / "deep-networks.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for block in re.findall(r"```python\n(.*?)```", text, re.S):
            exec(block, names)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, (label, colour, style) in CURVES.items():
        rows = names[name].history
        axes.plot(
            [row["epoch"] for row in rows], [row["loss"] for row in rows], style, color=colour, label=label, marker="."
        )
    axes.axhline(2.302585, color="#666666", linewidth=0.8, linestyle=":")
    axes.annotate("ln 10: guessing", (8, 2.302585), (0, 3), textcoords="offset points", ha="center", fontsize=8)
    axes.set(xlabel="epoch", ylabel="training loss (nats)", yscale="log")
    axes.legend(frameon=False)
    figure.savefig(HERE / "deep-networks.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
