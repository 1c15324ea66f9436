"""How a step's time, and the wait before the first, grow with the depth of a network, beside its peers.

``python -m benchmarks.depth [--depths 2 8 32 128] [--systems undertow torch jax_scan] [--markdown FILE]``

The network: N times [LayerNorm, Dense 64, tanh, residual], batch 64, Adam, clipping by global norm, on one thread.
Every system has a process of its own and empty caches of compiled code. Set-up is from the imported library to the
first ten losses. A system that took longer than ``--most`` seconds for that is not asked for greater depths.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.training.peers import SYSTEMS, NotMeasured
from benchmarks.training.processes import PATIENCE, Worker, WorkerFailed
from benchmarks.training.report import describe_machine, show_time

Found = dict[tuple[str, int], tuple[float, float]]  # by system and depth: seconds of set-up, seconds of a step

PAGE = """# Depth

A network of N blocks [LayerNorm, Dense 64, tanh, residual], batch 64, Adam, clipping by global norm, one thread; every
system in a process of its own, with empty caches of compiled code, measured in turn.
`python -m benchmarks.depth --markdown docs/depth.md` writes this page.

*Set-up* is from the imported library to the first ten losses: tracing, differentiating and compiling. Undertow writes
and compiles a kernel once for all layers that need it, and otherwise plans a graph that grows with the depth. *Beside a
line* is how far a step's time lies from the straight line through all depths (least squares of relative distances).
Parameters, gradients and both of Adam's moments of 64 blocks are {held:.1f} MiB, beside their activations: what does
not fit into a core's own cache comes from the shared one. An empty place: not asked for, or no answer within
{patience:.0f} s.

{machine}

"""


def measure(systems: list[str], depths: list[int], rounds: int, most: float) -> Found:
    """Measure set-up and steps.

    Args:
        systems: names of `SYSTEMS`.
        depths: numbers of blocks, growing.
        rounds: how often a step is measured, in turn.
        most: seconds of set-up above which a system is not asked for greater depths.

    Returns:
        What was measured.
    """
    found: Found = {}
    left = list(systems)
    for depth in depths:
        workers, setups = {}, {}
        with tempfile.TemporaryDirectory() as caches:
            for system in list(left):
                try:
                    worker = Worker(system, f"deep-{depth}", "serve", 1, Path(caches) / system)
                    setups[system] = worker.ask(do="start")["start_seconds"]
                except (NotMeasured, WorkerFailed) as error:
                    print(f"{system} at {depth}: {error}", flush=True)
                    left.remove(system)
                    continue
                workers[system] = worker
                if setups[system] > most:
                    left.remove(system)
            steps: dict[str, list[float]] = {system: [] for system in workers}
            for _ in range(rounds):
                for system, worker in workers.items():
                    steps[system].append(worker.ask(do="time", seconds=0.2)["seconds"])
            for system, worker in workers.items():
                worker.close()
                found[system, depth] = setups[system], statistics.median(steps[system])
                print(f"{depth:>4} {system:>9}  set-up {show_time(setups[system]):>8}  "
                      f"step {show_time(found[system, depth][1])}", flush=True)  # fmt: skip
    return found


def beside_line(depths: list[int], seconds: list[float]) -> list[float]:
    """How far each time lies from a straight line through all, by parts of the line.

    Args:
        depths: (n,) numbers of blocks.
        seconds: (n,) times of a step.

    Returns:
        (n,) relative distances; the line is that of least relative distances squared.
    """
    times = np.array(seconds)
    terms = np.stack([np.ones(len(times)), np.array(depths, float)], axis=1)
    line = terms @ np.linalg.lstsq(terms / times[:, None], np.ones(len(times)), rcond=None)[0]
    return list(times / line - 1)


def to_lines(found: Found, systems: list[str], depths: list[int]) -> list[list[str]]:
    """The cells of the table, its head first."""
    head = ["blocks", *(f"{name} {what}" for what in ("set-up", "step") for name in systems), "beside a line"]
    own = [depth for depth in depths if ("undertow", depth) in found]
    beside = dict(zip(own, beside_line(own, [found["undertow", depth][1] for depth in own]), strict=True))
    lines = [head]
    for depth in depths:
        cells = [str(depth)]
        for i in range(2):
            for system in systems:
                value = found.get((system, depth), (math.nan, math.nan))[i]
                cells.append("" if math.isnan(value) else show_time(value))
        lines.append([*cells, f"{round(100 * beside[depth], 1) + 0:+.1f} %" if depth in beside else ""])
    return lines


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.depth")
    parser.add_argument("--depths", type=int, nargs="+", default=[2, 4, 8, 16, 32, 64, 128])
    parser.add_argument("--systems", nargs="+", default=["undertow", "torch", "jax_scan"], choices=list(SYSTEMS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--most", type=float, default=60.0)
    parser.add_argument("--markdown", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measure, print, write the page."""
    asked = read_arguments()
    found = measure(asked.systems, sorted(asked.depths), asked.rounds, asked.most)
    lines = to_lines(found, asked.systems, sorted(asked.depths))
    sizes = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        print("  ".join(f"{cell:>{size}}" for cell, size in zip(line, sizes, strict=True)))
    if asked.markdown:
        machine: dict[str, Any] = describe_machine()
        rows = ["| " + " | ".join(line) + " |" for line in (lines[0], ["---"] * len(lines[0]), *lines[1:])]
        cores = f"{machine['cores']} core{'s' * (machine['cores'] > 1)}"
        told = f"{machine['processor']}, {cores}, Python {machine['python']}."
        page = PAGE.format(machine=told, patience=PATIENCE, held=64 * (64 * 64 + 3 * 64) * 4 * 4 / 2**20)
        asked.markdown.write_text(page + "\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
