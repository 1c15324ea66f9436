"""What was measured, as a table to print, as Markdown, as JSON and as a plot."""

from __future__ import annotations

import json
import math
import os
import platform
from pathlib import Path
from typing import Any

from benchmarks.training.runner import Measured, Results
from benchmarks.training.workloads import WORKLOADS

PAGE_HEAD = """# Benchmarks

Whole training steps of Undertow and its peers, measured side by side, each table in one run: every system has a
process of its own with the same number of threads, the same data, initial parameters and order of examples, and
computes when it is its turn, round by round. A run fails unless the losses of the first steps agree. A variable
`OPENBLAS_CORETYPE`, which would hold NumPy to the kernels of older processors, is taken away.
`python -m benchmarks.training --markdown docs/benchmarks.md` writes this page; timings are those of one machine, ratios
are what counts.

A time is the median over rounds of the best epoch in each, ± the distance of the quartiles; beside it stands the
least of all rounds. *Limit* is the share of that time which the matrix products alone would take at the best rate
that any system reached in this run. Memory is the peak of the process; set-up is from the imported library to the
first ten losses, compilation included.
"""


def describe_machine() -> dict[str, Any]:
    """The processor, and how many cores this process may use."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"processor": name, "cores": count_cores(), "python": platform.python_version()}


def count_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def show_time(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}" if seconds * scale < 1000 else f"{seconds * scale:.0f} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def limit_share(row: Measured, results: Results) -> float:
    """How near a step comes to the time of its matrix products alone; nan for whole processes."""
    workload = WORKLOADS[row.workload]
    if workload.epochs:
        return math.nan
    return workload.flops / results.best_rate(row.threads) / row.median


def peer_ratio(rows: list[Measured]) -> tuple[str, float] | None:
    """The fastest peer, and how many times Undertow's time it takes; None without both."""
    times = {row.system: row.median for row in rows if row.seconds}
    own = times.pop("undertow", None)
    if own is None or not times:
        return None
    fastest = min(times, key=lambda system: times[system])
    return fastest, times[fastest] / own


def table_lines(rows: list[Measured], results: Results) -> list[list[str]]:
    """The cells of a workload's table, the fastest first."""
    lines = []
    for row in sorted((row for row in rows if row.seconds), key=lambda row: row.median):
        share = limit_share(row, results)
        lines.append([
            row.system, show_time(row.median), f"± {show_time(row.spread)}", show_time(row.best),
            f"{row.median / min(other.median for other in rows if other.seconds):.2f}",
            "" if math.isnan(share) else f"{100 * share:.3g} %",
            f"{row.cores:.1f}" if row.cores else "", f"{row.peak / 2**20:.0f} MiB",
            show_time(row.start_seconds) if row.accuracy is None else f"accuracy {row.accuracy:.3f}",
            "busy" if row.note else "yes",
        ])  # fmt: skip
    return lines


BOUND_HEADS = ["workload", "threads", "step", "products", "at best", "others", "GB/s", "between", "ratio", "at most"]
BOUND_HEAD = """## What bounds a step

Of Undertow's step: the time of its matrix products and of its other kernels, each kernel measured by itself, and what
comes between and around them, such as gathering the batch, fetching from another processor's cache what it has just
made, and Python between epochs. *At best* is the time of the products at the best rate of this run: no step of the same
arithmetic is faster on this processor, so that the fastest peer's time divided by it is the most that the ratio could
be. *GB/s* is what the other kernels move. F is bounded by what any process
pays: starting Python and importing, see the cold starts below.
"""


def bound_lines(results: Results) -> list[list[str]]:
    """The cells of the table of what bounds Undertow's steps."""
    lines = []
    for row in results.rows:
        peer = peer_ratio(results.of(row.workload, row.threads))
        if row.system != "undertow" or not row.parts or peer is None:
            continue
        products, others = row.parts["products"], row.parts["others"]
        least = WORKLOADS[row.workload].flops / results.best_rate(row.threads)
        lines.append([
            row.workload, str(row.threads), show_time(row.median), show_time(products), show_time(least),
            show_time(others), f"{row.parts['moved'] / others / 1e9:.0f}",
            show_time(max(row.median - products - others, 0.0)), f"{peer[1]:.2f}",
            f"{peer[1] * row.median / least:.2f}",
        ])  # fmt: skip
    return lines


GLANCE_HEAD = """## At a glance

Times of a training step, of F of a whole process; of the others how many times Undertow's time they take.
"""
GLANCE: dict[str, tuple[str, ...]] = {
    "JAX": ("jax_scan", "jax"),
    "PyTorch": ("torch", "torch_compile"),
    "scikit-learn": ("sklearn",),
    "NumPy by hand": ("numpy",),
}


def times_ours(rows: list[Measured]) -> dict[str, float]:
    """Of each peer in its fastest way how many times Undertow's time it takes, those that were measured."""
    times = {row.system: row.median for row in rows if row.seconds}
    return {
        peer: min(times[way] for way in ways if way in times) / times["undertow"]
        for peer, ways in GLANCE.items()
        if "undertow" in times and any(way in times for way in ways)
    }


def show_ratio(ratio: float) -> str:
    return f"× {ratio:.2f}" if ratio < 9.995 else f"× {ratio:.0f}"


def glance_lines(results: Results) -> list[list[str]]:
    """The cells of the table of all workloads, its head first."""
    lines = [["network", "threads", "Undertow", *GLANCE]]
    for name, threads in dict.fromkeys((row.workload, row.threads) for row in results.rows):
        ratios, workload = times_ours(results.of(name, threads)), WORKLOADS[name]
        own = [row.median for row in results.of(name, threads) if row.system == "undertow" and row.seconds]
        if own and ratios:
            cells = [show_ratio(ratios[peer]) if peer in ratios else "" for peer in GLANCE]
            told = f"{name}: {workload.title}, batch {workload.batch}"
            lines.append([told, str(threads), show_time(own[0]), *cells])
    return lines


HEADS = ["system", "time", "spread", "least", "× first", "limit", "cores", "memory", "set-up", "quiet"]


def print_table(results: Results, name: str, threads: int) -> None:
    """Print what was measured of a workload."""
    rows = results.of(name, threads)
    lines = [HEADS, *table_lines(rows, results)]
    sizes = [max(len(line[i]) for line in lines) for i in range(len(HEADS))]
    for line in lines:
        print("  " + "  ".join(f"{cell:>{size}}" for cell, size in zip(line, sizes, strict=True)).rstrip())
    if ratio := peer_ratio(rows):
        print(f"  the fastest peer, {ratio[0]}, takes {ratio[1]:.2f} times Undertow's time")
    print(flush=True)


def print_rest(results: Results) -> None:
    """Print the rates of matrix products and the cold starts."""
    for product in results.products:
        print(f"  product {product['size']}³ {product['system']:>9}, {product['threads']} threads: "
              f"{product['rate'] / 1e9:6.0f} GF/s")  # fmt: skip
    for cold in results.cold:
        print(
            f"  cold start {cold['system']:>13}: {cold['empty']:5.2f} s with empty caches, {cold['warm']:5.2f} s warm"
        )


def table(heads: list[str], lines: list[list[str]]) -> str:
    """A table in Markdown."""
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in rows)


def to_markdown(results: Results) -> str:
    """The page."""
    versions = {row.system: row.version for row in results.rows if row.version}
    machine = results.machine
    parts = [
        PAGE_HEAD,
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}. "
        + ", ".join(f"{system} {version}" for system, version in versions.items()) + ".\n",
    ]  # fmt: skip
    if len(lines := glance_lines(results)) > 1:
        parts += [GLANCE_HEAD, table(lines[0], lines[1:]) + "\n"]
    for name, threads in dict.fromkeys((row.workload, row.threads) for row in results.rows):
        rows, workload = results.of(name, threads), WORKLOADS[name]
        parts.append(f"## {name}: {workload.title}, batch {workload.batch}, {threads} thread{'s' * (threads > 1)}\n")
        parts.append(table(HEADS, table_lines(rows, results)) + "\n")
        if ratio := peer_ratio(rows):
            parts.append(f"The fastest peer, {ratio[0]}, takes {ratio[1]:.2f} times Undertow's time.\n")
    if lines := bound_lines(results):
        parts += [BOUND_HEAD, table(BOUND_HEADS, lines) + "\n"]
    if results.products:
        lines = [[p["system"], str(p["threads"]), f"{p['size']}³", f"{p['rate'] / 1e9:.0f}"] for p in results.products]
        parts += ["## Matrix products\n", table(["system", "threads", "size", "GF/s"], lines) + "\n"]
    if results.cold:
        lines = [[c["system"], f"{c['empty']:.2f} s", f"{c['warm']:.2f} s"] for c in results.cold]
        parts.append(f"## Cold start: a process's start to its first step of {results.cold[0]['workload']}\n")
        parts.append(table(["system", "empty caches", "warm caches"], lines) + "\n")
    return "\n".join(parts)


def write_json(results: Results, path: Path) -> None:
    """Write all that was measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results.as_data(), indent=1) + "\n", encoding="utf-8")


def read_json(paths: list[Path]) -> Results:
    """Read what runs on one machine wrote, as if it were one run; each workload's tables stay those of their runs."""
    results = Results({})
    for path in paths:
        data = json.loads(path.read_text(encoding="utf-8"))
        results.machine = data["machine"]
        fields = Measured.__dataclass_fields__
        results.rows += [Measured(**{key: x for key, x in row.items() if key in fields}) for row in data["rows"]]
        results.products += data["products"]
        results.cold = data["cold"] or results.cold
    return results


def draw(results: Results, path: Path) -> None:
    """Draw how many times Undertow's time each peer takes, by workload, one panel for each number of threads."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    counts = sorted({row.threads for row in results.rows})
    figure, panels = pyplot.subplots(len(counts), 1, figsize=(10, 3.1 * len(counts)), squeeze=False)
    colours = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")  # told apart by the colour-blind (Okabe and Ito)
    for panel, threads in zip(panels[:, 0], counts, strict=True):
        names = list(dict.fromkeys(row.workload for row in results.rows if row.threads == threads))
        ratios = [times_ours(results.of(name, threads)) for name in names]
        for i, (peer, colour) in enumerate(zip(GLANCE, colours, strict=True)):
            found = [(j + (i - 1.5) * 0.2, each[peer]) for j, each in enumerate(ratios) if peer in each]
            panel.bar([x for x, _ in found], [y - 1 for _, y in found], 0.2, 1, color=colour, label=peer)
            for x, y in found:
                above = "bottom" if y >= 1 else "top"
                panel.text(x, y, f"{y:.2g}" if y < 9.95 else f"{y:.0f}", ha="center", va=above, fontsize=7)
        panel.axhline(1, color="black", linewidth=1)
        panel.set(yscale="log", ylabel="times Undertow's", title=f"{threads} thread{'s' * (threads > 1)}")
        panel.set_xticks(range(len(names)), names)
        panel.spines[["top", "right"]].set_visible(False)
        panel.margins(y=0.12)
    panels[0, 0].legend(ncols=4, fontsize="small", frameon=False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
