"""Measure programs one after another, both systems in turn, and see that they agree."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.programs.program import Array, Program
from benchmarks.programs.worker import SYSTEMS
from benchmarks.training.peers import NotMeasured
from benchmarks.training.processes import Worker, WorkerFailed
from benchmarks.training.runner import Measured, Results, Settings, measure_rounds

# How far a value may lie from another one, and a gradient from another one by its length.
BOUNDS = {"float32": 1e-3, "float64": 1e-8}


def distance(found: Array, wanted: Array) -> float:
    """‖found − wanted‖ by the longer of both, 0 where both are 0."""
    length = max(float(np.linalg.norm(found)), float(np.linalg.norm(wanted)))
    return float(np.linalg.norm(np.subtract(found, wanted, dtype=np.float64))) / length if length else 0.0


def disagreement(program: Program, found: dict[str, list[Array]], by_numpy: float) -> str:
    """Where the value or a gradient of both systems, or Undertow's value and NumPy's, differ; nothing if they agree."""
    own, other = found["undertow"], found["jax"]
    names = ["the value", *(f"the gradient by argument {i}" for i in program.wrt)]
    pairs = [(f"{name}, Undertow's and JAX's", a, b) for name, a, b in zip(names, own, other, strict=True)]
    pairs.append(("the value, Undertow's and NumPy's", own[0], np.asarray(by_numpy)))
    for name, a, b in pairs:
        if a.shape != b.shape:
            return f"{name}: shapes {a.shape} and {b.shape}"
        if not (far := distance(a, b)) <= BOUNDS[program.dtype]:
            return f"{name}: {far:.2g} apart"
    return ""


def measure_program(program: Program, threads: int, settings: Settings) -> list[Measured]:
    """Measure both systems on a program, each in a process of its own with empty caches."""
    rows = [Measured(system, program.name, threads) for system in SYSTEMS]
    workers: list[tuple[Worker, Measured]] = []
    found: dict[str, list[Array]] = {}
    by_numpy = float("nan")
    with tempfile.TemporaryDirectory() as folder:
        try:
            for row in rows:
                worker = Worker(row.system, program.name, "", threads, Path(folder), "benchmarks.programs.worker")
                workers.append((worker, row))
                path = f"{folder}/{row.system}.npz"
                try:
                    answer = worker.ask(do="start", path=path)
                except (NotMeasured, WorkerFailed) as error:
                    row.note = str(error)
                    workers.pop()
                    continue
                row.start_seconds, row.version = answer["start_seconds"], answer["version"]
                by_numpy = answer.get("numpy", by_numpy)
                with np.load(path) as arrays:
                    found[row.system] = list(arrays.values())
            if len(found) == len(rows):
                rows[0].note = disagreement(program, found, by_numpy)
            measure_rounds(workers, settings.rounds, 1, settings)
        finally:
            for worker, _ in workers:
                worker.close()
    return rows


def measure(
    programs: list[Program], settings: Settings, show: Callable[[Results, str, int], None], machine: dict[str, Any]
) -> Results:
    """Measure programs; ``show`` is called after each."""
    results = Results(machine)
    for threads in settings.threads:
        for program in programs:
            results.rows += measure_program(program, threads, settings)
            show(results, program.name, threads)
    return results
