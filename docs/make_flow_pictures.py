"""Draws the pictures of vanishing-and-exploding.md. Needs matplotlib: pip install matplotlib."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

HERE = Path(__file__).parent
BLUE, RED, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
GUESSING = float(np.log(10))


def main() -> None:
    """Run the page, and draw the runs that it leaves."""
    matplotlib.rcParams.update({"svg.hashsalt": "undertow", "svg.fonttype": "none", "font.size": 9})
    matplotlib.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})
    runs = run_page()
    for name, draw in PICTURES.items():
        figure = Figure(figsize=(7.6, 3.2), layout="constrained")
        draw(figure, runs)
        figure.savefig(HERE / f"flow-{name}.svg", metadata={"Date": None})


def run_page() -> dict[str, Any]:
    """Return the names that the examples of the page leave."""
    text = (HERE / "vanishing-and-exploding.md").read_text(encoding="utf-8")
    page = types.ModuleType("page")
    sys.modules["page"] = page
    with contextlib.redirect_stdout(io.StringIO()):
        for block in re.findall(r"```python\n(.*?)```", text, re.S):
            exec(compile(block, "page.py", "exec"), page.__dict__)
    return page.__dict__


def draw_vanishing(figure: Figure, runs: dict[str, Any]) -> None:
    """The stack of sigmoids, and what helps."""
    curves = [("sigmoid", RED, "sigmoid"), ("relu", BLUE, "ReLU, He"), ("residual", GREEN, "sigmoid, residual")]
    left, right = figure.subplots(1, 2)
    profile(left, runs, curves, "delta.rms", "δ")
    losses(right, runs, curves)


def draw_hidden(figure: Figure, runs: dict[str, Any]) -> None:
    """Weights that are too small for tanh."""
    curves = [("small", RED, "U(−1/√n, 1/√n)"), ("glorot", BLUE, "Glorot")]
    left, right = figure.subplots(1, 2, sharey=True)
    profile(left, runs, curves, "delta.rms", "δ")
    profile(right, runs, curves, "dW.rms", "dW")
    right.tick_params(labelleft=True)


def draw_exploding(figure: Figure, runs: dict[str, Any]) -> None:
    """Weights that are too large."""
    curves = [("exploded", RED, "deviation 0.3"), ("clipped", PURPLE, "the same, clipped"), ("relu", BLUE, "He")]
    left, right = figure.subplots(1, 2)
    profile(left, runs, [curves[0], curves[2]], "delta.rms", "δ")
    losses(right, runs, curves)
    right.set_ylim(0.15, 1000)  # the loss without clipping leaves the picture


def draw_dead(figure: Figure, runs: dict[str, Any]) -> None:
    """The share of zeros of each hidden layer over the steps."""
    for axes, (name, label) in zip(
        figure.subplots(1, 2, sharey=True), [("hasty", "rate 0.1"), ("calm", "rate 0.003")], strict=True
    ):
        flow = runs[name].flow
        for i, colour in enumerate((BLUE, GREEN, PURPLE)):
            axes.plot(flow.steps, flow.stat("zeros")[:, i], color=colour, label=f"layer {i + 1}", linewidth=1.2)
        axes.axhline(0.5, color="#666666", linewidth=0.8, linestyle=":")
        axes.set(title=label, xlabel="step", ylabel="share of h that is 0", ylim=(0, 1))
        axes.tick_params(labelleft=True)
        axes.legend(loc="lower right")


def draw_saturation(figure: Figure, runs: dict[str, Any]) -> None:
    """Histograms of h before the first step."""
    for axes, (name, label, colour) in zip(
        figure.subplots(1, 2), [("flat", "deviation 1", RED), ("steep", "Glorot", BLUE)], strict=True
    ):
        found = runs[name].flow.looks[0].layers[1]["histograms"]["h"]
        edges, counts = np.array(found["edges"]), np.array(found["counts"])
        axes.bar(edges[:-1], counts / counts.sum(), np.diff(edges), align="edge", color=colour)
        axes.set(
            title=f"{label}, layer 2 before training", xlabel="h", ylabel="share of the values", xlim=(-1.05, 1.05)
        )


def profile(axes: Axes, runs: dict[str, Any], curves: Iterable[tuple[str, str, str]], stat: str, name: str) -> None:
    """Draw a size by layer at the first step."""
    marks = iter("osD^")
    for run, colour, label in curves:
        flow = runs[run].flow
        kept = [i for i, layer in enumerate(flow.layers) if layer.kind != "Residual"]
        sizes = flow.stat(stat)[0, kept]
        axes.plot(range(1, len(kept) + 1), sizes, color=colour, marker=next(marks), markersize=4, label=label)
        axes.set_xticks(range(1, len(kept) + 1))
    axes.set(yscale="log", xlabel="layer", ylabel=f"RMS of {name} at the first step")
    axes.legend()


def losses(axes: Axes, runs: dict[str, Any], curves: Iterable[tuple[str, str, str]]) -> None:
    """Draw the loss over the steps, smoothed a little."""
    for run, colour, label in curves:
        flow = runs[run].flow
        loss = flow.scalars["loss"]
        smooth = loss if len(loss) < 20 else np.exp(np.convolve(np.log(loss), np.ones(5) / 5, "valid"))
        axes.plot(flow.steps[: len(smooth)], smooth, color=colour, label=label, linewidth=1.4)
    axes.axhline(GUESSING, color="#666666", linewidth=0.8, linestyle=":")
    axes.annotate("ln 10: guessing", (1, GUESSING), (0, 3), textcoords="offset points", fontsize=7)
    axes.set(yscale="log", xlabel="step", ylabel="loss (nats)")
    axes.legend()


PICTURES = {
    "vanishing": draw_vanishing,
    "hidden": draw_hidden,
    "exploding": draw_exploding,
    "dead": draw_dead,
    "saturation": draw_saturation,
}

if __name__ == "__main__":
    main()
