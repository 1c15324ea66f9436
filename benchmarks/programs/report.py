"""What was measured of the programs, as lines to print, as a page and as a plot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.programs.catalogue import GROUPS, title_of
from benchmarks.programs.program import PROGRAMS
from benchmarks.training.report import show_ratio, show_time, table
from benchmarks.training.runner import Measured, Results

BEHIND = 0.95  # a ratio below it is told as behind
LONG = 1.5  # what compiles more than so many times as long is named

PAGE_HEAD = """# Programs of many fields

Functions as they are written in NumPy: attention, recurrent networks, likelihoods, physics, linear algebra. For each,
its value and its gradient by all its float arguments, by `ut.value_and_grad(f, compile=True)` and by
`jax.jit(jax.value_and_grad(f))`: the same text, whose `np` is `numpy` or `jax.numpy`. They stand in
`benchmarks/programs/` with their sizes; `python -m benchmarks.programs --markdown docs/programs.md` writes this page.

Each program runs in two processes, one a system, with empty caches of compiled code, in turn, round by round. A time is
the least of all rounds, a ratio JAX's time by Undertow's: above 1 Undertow is faster. *Compiling* is the first call,
after that of a small function. Value and gradients of both, and NumPy's value, must agree: to 10⁻³ of their length in
float32, to 10⁻⁸ in float64. Python loops are unrolled by both; in JAX, `lax.scan` in their place would compile sooner.
Timings are those of one machine.
"""


@dataclass(frozen=True)
class Pair:
    """Both systems' measurements of one program."""

    undertow: Measured
    jax: Measured

    @property
    def name(self) -> str:
        return self.undertow.workload

    @property
    def failed(self) -> str:
        """Why there is no ratio, or that both do not agree."""
        rows = [row for row in (self.undertow, self.jax) if row.note and not told_busy(row)]
        return "; ".join(f"{row.system}: {' '.join(row.note.split()).split('. ')[0]}" for row in rows)

    @property
    def ratio(self) -> float:
        """How many times Undertow's least time JAX's is."""
        return self.jax.best / self.undertow.best


def told_busy(row: Measured) -> bool:
    """Whether a note only says that the machine was busy."""
    return row.note.startswith("others kept the machine busy")


def pairs_of(results: Results, threads: int) -> list[Pair]:
    """What was measured with so many threads, in the order of the catalogue."""
    found: dict[str, dict[str, Measured]] = {}
    for row in results.rows:
        if row.threads == threads:
            found.setdefault(row.workload, {})[row.system] = row
    return [Pair(found[name]["undertow"], found[name]["jax"]) for name in PROGRAMS if name in found]


def thread_counts(results: Results) -> list[int]:
    """The numbers of threads that were measured."""
    return list(dict.fromkeys(row.threads for row in results.rows))


def summary(pairs: list[Pair]) -> str:
    """How many programs there are, the quartiles of their ratios, and how many are behind."""
    done = [pair for pair in pairs if not pair.failed]
    told = f"{len(pairs)} programs"
    if len(done) < len(pairs):
        told += f", {len(done)} of them measured"
    if not done:
        return told + "."
    low, middle, high = np.percentile([pair.ratio for pair in done], [25, 50, 75])
    behind = sum(pair.ratio < BEHIND for pair in done)
    compiled = np.median([pair.jax.start_seconds / pair.undertow.start_seconds for pair in done])
    return (
        f"{told}: JAX takes {middle:.2f} times Undertow's time in the median (quartiles {low:.2f} and {high:.2f}); "
        f"in {behind} of them less than {BEHIND} times. It compiles {compiled:.1f} times as long in the median."
    )


def exceptions(pairs: list[Pair]) -> Iterator[str]:
    """Lines that name what is behind, compiles slowly, or failed."""
    done = [pair for pair in pairs if not pair.failed]
    if behind := sorted((pair for pair in done if pair.ratio < BEHIND), key=lambda pair: pair.ratio):
        yield "Behind JAX: " + "; ".join(f"{pair.name} (× {pair.ratio:.2f})" for pair in behind) + ".\n"
    if slow := [pair for pair in done if pair.undertow.start_seconds > LONG * pair.jax.start_seconds]:
        yield f"Compiled in more than {LONG} times JAX's time: " + "; ".join(pair.name for pair in slow) + ".\n"
    for pair in pairs:
        if pair.failed:
            yield f"Not compared: {pair.name}. {pair.failed}\n"


def print_pair(results: Results, name: str, threads: int) -> None:
    """Print what was measured of one program."""
    (pair,) = (pair for pair in pairs_of(results, threads) if pair.name == name)
    times = f"{show_time(pair.undertow.best):>9} {show_time(pair.jax.best):>9} × {pair.ratio:5.2f}"
    compiling = f"{show_time(pair.undertow.start_seconds):>8} {show_time(pair.jax.start_seconds):>8}"
    print(f"  {name:44} {times}   compiling {compiling}  {pair.failed}", flush=True)


def to_markdown(results: Results) -> str:
    """The page."""
    machine = results.machine
    versions = {row.system: row.version for row in results.rows if row.version}
    said = ", ".join(f"{system} {version}" for system, version in versions.items())
    parts = [PAGE_HEAD, f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}. {said}.\n"]
    for threads in thread_counts(results):
        pairs = pairs_of(results, threads)
        parts += [f"## {threads} thread{'s' * (threads > 1)}\n", summary(pairs) + "\n", *exceptions(pairs)]
        for group in (module.__name__.rpartition(".")[2] for module in GROUPS):
            lines = [
                [
                    f"{pair.name}, float64" if PROGRAMS[pair.name].dtype == "float64" else pair.name,
                    show_time(pair.undertow.best), show_time(pair.jax.best), show_ratio(pair.ratio),
                    show_time(pair.undertow.start_seconds), show_time(pair.jax.start_seconds),
                ]
                for pair in pairs
                if PROGRAMS[pair.name].group == group and not pair.failed
            ]  # fmt: skip
            if lines:
                heads = ["program", "Undertow", "JAX", "ratio", "compiling", "JAX compiling"]
                parts += [f"### {title_of(group)}\n", table(heads, lines) + "\n"]
    return "\n".join(parts)


def draw(results: Results, path: Path) -> None:
    """Draw the ratios of all programs, from the least to the most, a panel for each number of threads."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    counts = thread_counts(results)
    figure, panels = pyplot.subplots(len(counts), 1, figsize=(10, 3.1 * len(counts)), squeeze=False)
    for panel, threads in zip(panels[:, 0], counts, strict=True):
        ratios = sorted(pair.ratio for pair in pairs_of(results, threads) if not pair.failed)
        panel.bar(range(len(ratios)), [ratio - 1 for ratio in ratios], 1, 1, color="#0072B2")
        panel.axhline(1, color="black", linewidth=1)
        panel.set(yscale="log", xlabel="programs", ylabel="JAX's time by Undertow's")
        panel.set_title(f"{threads} thread{'s' * (threads > 1)}")
        panel.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
