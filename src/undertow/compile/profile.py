"""Where the time of a program goes, kernel by kernel, beside what the processor could do at best."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from undertow.compile.cache import find_kernels, name_of
from undertow.compile.driver import ENTRY, WAIT
from undertow.compile.ir import Module
from undertow.compile.product_args import begin_kernel

if TYPE_CHECKING:
    from undertow.compile.program import Program

COPIED = (1 << 14, 1 << 18, 1 << 22, 1 << 27)  # bytes read and written by the copies that caches are measured with


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
        copy_bytes: by how many bytes are read and written, those a second where that is done again and again: what a
            cache holds comes from there.
    """

    kernels: list[KernelTime]
    product_flops: dict[str, float]
    copy_bytes: dict[int, float]

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show the table in a notebook, not the numbers it is made of."""
        printer.text(str(self))

    @classmethod
    def measure(cls, program: Program, rounds: int = 20) -> Profile:
        """Time each call of a program while it runs as ever, many times over: what a program keeps changes by it.

        Args:
            program: one that has run: its arguments and results are in place.
            rounds: how often it runs; the median of each call counts.
        """
        kernels = []
        with program.lock:
            times = list(_time_calls(program, rounds))
        for i, seconds in zip(program.own, times, strict=True):
            call = program.calls[i]
            threads = program.plan.threads if call.shared else 1
            kernels.append(KernelTime(call.what, seconds, call.flops, call.moved, threads, call.kind))
        return cls(kernels, {kind: _product_flops(kind) for kind in {k.kind for k in kernels} - {""}}, _copy_bytes())

    def __str__(self) -> str:
        total = sum(k.seconds for k in self.kernels) or 1.0
        lines = [f"{'µs':>9} {'share':>6} {'GFlop/s':>8} {'GB/s':>7} {'of limit':>8}  what"]
        slowest = list(self.copy_bytes.values())[-1]
        for k in self.kernels:
            least = k.moved / next((rate for size, rate in self.copy_bytes.items() if k.moved <= size), slowest)
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
        *within, _ = [f"{rate / 1e9:.0f} GB/s up to {size >> 10:,} KiB" for size, rate in self.copy_bytes.items()]
        limits = ", ".join([*rates, *within, f"{slowest / 1e9:.0f} GB/s from memory"])
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
def _copy_bytes() -> dict[int, float]:
    """Bytes a second of copies of several sizes, on one thread."""
    return {size: _copy_rate(size) for size in COPIED}


def _copy_rate(size: int) -> float:
    """Bytes a second of a copy that reads and writes so many bytes, again and again."""
    from undertow.compile.function import compile

    copy: Any = compile(lambda x: -x)
    copy(np.ones(size // 8, np.float32))
    program = copy.program
    repeats = max(1, (1 << 22) // size)
    best = min(_time(lambda: program.run_by(0, len(program.calls), repeats, True)) for _ in range(8))
    return size * repeats / best


def _time_calls(program: Program, rounds: int) -> Iterator[float]:
    """The time of each call of a program, in its order: operations that NumPy does stand between runs of others."""
    start = program.own.start
    for i in (*[i for i in program.own if program.calls[i].node is not None], program.own.stop):
        if start < i:
            yield from _time_run(program, start, i, rounds)
        if i < program.own.stop:
            numpy_does = partial(program.let_numpy_do, program.calls[i].node)
            yield float(np.median([_time(numpy_does) for _ in range(rounds)]))
        start = i + 1


def _time_run(program: Program, start: int, stop: int, rounds: int) -> Iterator[float]:
    """The time of calls that follow each other, which the first thread notes before each of them and after the last.

    Where threads are waited for before a call, that counts to the one before it.
    """
    name = name_of("stamp")
    stamp = find_kernels({name: (write_stamp, "stamp")})[name]
    n = stop - start + 2  # the last two stamps tell what a stamp takes
    noted = np.zeros((rounds + 1, n, 2), np.int64)
    place = np.array([noted.ctypes.data], np.int64)
    table = np.zeros((2 * n - 2, ENTRY), np.int64)
    table[:, :2] = stamp, place.ctypes.data
    table[:-2:2, 2] = program.table[start:stop, 2] & WAIT
    table[1:-2:2] = program.table[start:stop]
    table[1:-2:2, 2] &= ~WAIT
    # Alone, as such a program would run that is too small to be shared; the first round wakes the threads.
    alone = not any(call.shared for call in program.calls[start:stop])
    program.run_table(table.ctypes.data, len(table), rounds + 1, alone)
    seconds = np.diff(noted[1:] @ (1.0, 1e-9), axis=1)
    *kernels, own = np.median(seconds, axis=0)
    for taken in kernels:
        yield max(float(taken - own), 1e-9)


def write_stamp(module: Module) -> None:
    """Write the kernel that notes the time: seconds, and nanoseconds, at a place that it moves on.

    Args:
        module: where it goes.
    """
    e = begin_kernel(module, "stamp")
    module.declarations["clock_gettime"] = "declare i32 @clock_gettime(i32, ptr)"
    place = e.load(e.args["args"], "ptr")
    e.line(f"call i32 @clock_gettime(i32 {time.CLOCK_MONOTONIC}, ptr {place.text})")
    e.store(e.address(place, 2, "i64"), e.args["args"])
    e.finish()


def _time(call: Any) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
