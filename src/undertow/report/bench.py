"""How fast training steps are on this machine, beside what its matrix products could do at best."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.compile import show_config
from undertow.errors import ArgumentError
from undertow.nn import Dense, Sequential, categorical_cross_entropy_with_logits, initialize
from undertow.optim import momentum
from undertow.train.step import make_step

# Sizes of the layers, and the batch size.
WORKLOADS: dict[str, tuple[tuple[int, ...], int]] = {
    "S": ((4, 16, 3), 32),
    "M": ((64, 128, 64, 10), 64),
    "L": ((784, 512, 512, 10), 128),
    "W": ((10_000, 64, 10), 256),
    "XL": ((2048, 2048, 2048, 2048, 10), 512),
}
SECONDS, ROUNDS = 0.1, 7


def measure_step(name: str, profile: bool = False) -> str:
    """Time the training step of a fully connected network: ReLU, softmax cross-entropy, momentum, float32.

    Args:
        name: of a workload.
        profile: add a table of every kernel.

    Returns:
        A line, or a line and the table.

    Raises:
        ArgumentError: there is no such workload.
    """
    if name not in WORKLOADS:
        raise ArgumentError(f"there is no workload {name!r}. Use some of {', '.join(WORKLOADS)}.")
    sizes, rows = WORKLOADS[name]
    layers: list[Any] = [Dense(sizes[0], sizes[1])]
    for n, m in itertools.pairwise(sizes[1:]):
        layers += ["relu", Dense(n, m)]
    model = initialize(Sequential(*layers), 0, np.float32)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4 * rows, sizes[0])).astype(np.float32)
    y = rng.integers(0, sizes[-1], len(X))
    step = make_step(lambda model, X, y: categorical_cross_entropy_with_logits(model(X), y), momentum(1e-3))
    started = time.perf_counter()
    session = step.open(model, step.init(model), X, y, rows)
    session.run(np.arange(rows), rows)
    first = time.perf_counter() - started
    order = np.arange(len(X))
    once = _time(lambda: session.run(order, rows)) / 4
    order = np.tile(order, max(1, int(SECONDS / once / 4)))
    taken = [_time(lambda: session.run(order, rows)) / (len(order) // rows) for _ in range(ROUNDS)]
    flops = 2.0 * rows * (3 * sum(a * b for a, b in itertools.pairwise(sizes)) - sizes[0] * sizes[1])
    seconds = statistics.median(taken)
    text = (
        f"{name:<3} {'-'.join(map(str, sizes)):<26} batch {rows:<4} {_show(seconds):>10} a step   "
        f"{flops / seconds / 1e9:6.1f} GFlop/s   first step after {_show(first)}"
    )
    if profile:
        text += f"\n{session.resident.prepare(rows).profile()}"  # type: ignore[union-attr]
    return text


def bench(names: list[str], profile: bool, say: Callable[[str], None]) -> None:
    """Print the configuration, then a line for each workload as soon as it is measured.

    Args:
        names: of workloads.
        profile: add the kernels.
        say: what prints.
    """
    for name in names:
        if name not in WORKLOADS:
            raise ArgumentError(f"there is no workload {name!r}. Use some of {', '.join(WORKLOADS)}.")
    say(show_config())
    for name in names:
        say(measure_step(name, profile))


def _time(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _show(seconds: float) -> str:
    unit, scale = ("µs", 1e6) if seconds < 1e-3 else ("ms", 1e3) if seconds < 1 else ("s", 1.0)
    return f"{seconds * scale:.{1 if seconds * scale >= 10 else 2}f} {unit}"
