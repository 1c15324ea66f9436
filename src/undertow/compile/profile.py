"""Where the time of a program goes, kernel by kernel, beside what the processor could do at best."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from undertow.compile.program import Program

ROUND_SECONDS = 5e-3  # a kernel is repeated for so long, since waking threads takes a while


@dataclass(frozen=True)
class KernelTime:
    """One call of a program.

    Attributes:
        what: the values that it computes.
        seconds: the median time.
        flops: floating-point operations.
        moved: bytes read and written.
        threads: that share it.
        kind: of a matrix product, ``f32`` or ``f64``; else empty.
    """

    what: str
    seconds: float
    flops: float
    moved: float
    threads: int
    kind: str


@dataclass(frozen=True)
class Profile:
    """The time of every kernel.

    Attributes:
        kernels: in the order of the program.
        product_flops: by kind, operations a second of the best matrix product found on this machine, on one thread.
        copy_bytes: bytes a second of a large copy.
    """

    kernels: list[KernelTime]
    product_flops: dict[str, float]
    copy_bytes: float

    @classmethod
    def measure(cls, program: Program, rounds: int = 20) -> Profile:
        """Time each call of a program, one after the other, many times over: what a program keeps changes by it.

        Args:
            program: one that has run: its arguments and results are in place.
            rounds: how often each call is timed; the median counts.
        """
        kernels = []
        with program.lock:
            for i in program.own:
                call = program.calls[i]
                seconds, threads = _time_call(program, i, rounds), program.plan.threads if call.shared else 1
                kernels.append(KernelTime(call.what, seconds, call.flops, call.moved, threads, call.kind))
        return cls(kernels, {kind: _product_flops(kind) for kind in {k.kind for k in kernels} - {""}}, _copy_bytes())

    def __str__(self) -> str:
        total = sum(k.seconds for k in self.kernels) or 1.0
        lines = [f"{'µs':>9} {'share':>6} {'GFlop/s':>8} {'GB/s':>7} {'of limit':>8}  what"]
        for k in self.kernels:
            least = k.moved / self.copy_bytes
            if k.kind:
                least = max(least, k.flops / (self.product_flops[k.kind] * k.threads))
            lines.append(
                f"{k.seconds * 1e6:9.2f} {k.seconds / total:6.1%} {k.flops / k.seconds / 1e9:8.1f} "
                f"{k.moved / k.seconds / 1e9:7.1f} {min(least / k.seconds, 9.99):8.0%}  {k.what}"
            )
        rates = [
            f"{flops / 1e9:.0f} GFlop/s a thread in {'float32' if kind == 'f32' else 'float64'}"
            for kind, flops in sorted(self.product_flops.items())
        ]
        limits = ", ".join([*rates, f"{self.copy_bytes / 1e9:.0f} GB/s from memory"])
        lines.append(f"{total * 1e6:9.2f}  in all; limits: {limits}")
        return "\n".join(lines)


@cache
def _product_flops(kind: str) -> float:
    """Operations a second of a large product on one thread."""
    from undertow.compile.function import compile

    n = 512
    a = np.ones((n, n), np.float32 if kind == "f32" else np.float64)
    product: Any = compile(lambda a, b: a @ b)
    product(a, a)
    program = product.program
    threads = program.plan.threads if program.calls[0].shared else 1
    best = min(_time(lambda: program.run_by(0, len(program.calls), 1, threads == 1)) for _ in range(8))
    return 2.0 * n**3 / best / threads


@cache
def _copy_bytes() -> float:
    """Bytes a second of a large copy."""
    source = np.ones(1 << 22, np.float64)
    target = np.empty_like(source)
    return 2 * source.nbytes / min(_time(lambda: np.copyto(target, source)) for _ in range(5))


def _time_call(program: Program, i: int, rounds: int) -> float:
    """The time of one call of a program; threads are woken once for many repetitions of it."""
    node = program.calls[i].node
    if node is not None:
        return _median(_time(lambda: program.let_numpy_do(node)) for _ in range(rounds))
    repeats, alone = 1, not program.calls[i].shared
    for guess in (1, 30):  # the first run wakes the threads, the others tell how long it takes
        taken = max(_time(lambda n=guess: program.run_by(i, i + 1, n, alone)) / guess, 1e-8)
        repeats = max(1, min(int(ROUND_SECONDS / taken), 3000))
        if repeats < 10:
            break
    return _median(_time(lambda: program.run_by(i, i + 1, repeats, alone)) / repeats for _ in range(rounds))


def _median(times: Iterable[float]) -> float:
    from statistics import median  # which loads decimal numbers

    return median(times)


def _time(call: Any) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
