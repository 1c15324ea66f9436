"""Measure systems side by side: one computes at a time, in turn, round by round."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.training.peers import CACHING, NotMeasured
from benchmarks.training.processes import Worker, WorkerFailed, run_whole
from benchmarks.training.workloads import WORKLOADS, Workload, load_digits

RTOL, RTOL_FIT, ACCURACY_STEP = 1e-4, 0.05, 0.003
PRODUCT_SIZES = [512, 2048]
LOOK = 0.03  # seconds in which to see whether the machine is busy
QUIET = 0.15  # share of the machine that others may take
ENOUGH, FEWEST = 1.5, 3  # a system that computed for so many seconds has had its rounds, but for so many of them


class LossesDiffer(Exception):
    """Systems do not compute the same; the message holds the numbers."""


@dataclass
class Measured:
    """What was measured of one system on one workload.

    Attributes:
        seconds: a step's time in each round; of F the time of the whole process.
        disturbed: the same of rounds in which others kept the machine busy; they count where there are no better ones.
        cores: how many cores it kept busy.
        start_seconds: set-up, compilation and the first steps.
        peak: bytes.
        parts: seconds of a step's matrix products and of its other kernels, each by itself, and bytes that these move.
        note: why nothing was measured, or what was not checked.
    """

    system: str
    workload: str
    threads: int
    seconds: list[float] = field(default_factory=list)
    disturbed: list[float] = field(default_factory=list)
    cores: float = 0.0
    start_seconds: float = 0.0
    peak: int = 0
    version: str = ""
    losses: list[float] = field(default_factory=list)
    accuracy: float | None = None
    parts: dict[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def median(self) -> float:
        """The median over rounds, in seconds."""
        return statistics.median(self.seconds) if self.seconds else float("nan")

    @property
    def best(self) -> float:
        """The least of all rounds, in seconds: what the work takes where nobody disturbs it."""
        return min(self.seconds, default=float("nan"))

    @property
    def spread(self) -> float:
        """The distance of the quartiles, in seconds."""
        return float(np.subtract(*np.percentile(self.seconds, [75, 25]))) if self.seconds else float("nan")

    def settle(self, rounds: int) -> None:
        """Count disturbed rounds too where there were too few quiet ones."""
        if len(self.seconds) < min(FEWEST, rounds) and self.disturbed:
            self.note = f"others kept the machine busy in {len(self.disturbed)} rounds"
            self.seconds += self.disturbed


@dataclass
class Settings:
    """What is asked for."""

    workloads: list[str]
    threads: list[int]
    systems: list[str]
    rounds: int = 7
    seconds: float = 0.1
    cold_rounds: int = 2
    patience: float = 0.2
    say: Callable[[str], None] = print


@dataclass
class Results:
    """All that was measured in one run."""

    machine: dict[str, Any]
    rows: list[Measured] = field(default_factory=list)
    products: list[dict[str, Any]] = field(default_factory=list)  # system, threads, size, rate in flop/s
    cold: list[dict[str, Any]] = field(default_factory=list)  # system, threads, empty and warm in seconds

    def best_rate(self, threads: int) -> float:
        """The best rate with so many threads, in flop/s, of a matrix product or of those inside a step."""
        products = [p["rate"] for p in self.products if p["threads"] == threads]
        steps = [
            WORKLOADS[row.workload].flops / row.best
            for row in self.rows
            if row.threads == threads and row.seconds and not WORKLOADS[row.workload].epochs
        ]
        return max([*products, *steps], default=float("nan"))

    def of(self, workload: str, threads: int) -> list[Measured]:
        """The rows of a workload."""
        return [row for row in self.rows if (row.workload, row.threads) == (workload, threads)]

    def as_data(self) -> dict[str, Any]:
        """All as plain data, medians included."""
        rows = [{**asdict(row), "median": row.median, "spread": row.spread, "best": row.best} for row in self.rows]
        return {"machine": self.machine, "rows": rows, "products": self.products, "cold": self.cold}


def check_losses(rows: list[Measured], rtol: float = RTOL) -> None:
    """LossesDiffer unless the first losses of all systems agree with those of the first, NumPy's if it is there."""
    checked = sorted((row for row in rows if row.losses), key=lambda row: row.system != "numpy")
    for row in checked[1:]:
        if not np.allclose(row.losses, checked[0].losses, rtol=rtol, atol=1e-6):
            numbers = "\n".join(f"{one.system:>14} {' '.join(f'{x:.7f}' for x in one.losses)}" for one in checked)
            raise LossesDiffer(f"{row.workload}: the losses of {row.system} and {checked[0].system} differ\n{numbers}")


def read_ticks() -> tuple[int, int]:
    """The processors' ticks since the machine started: all, and the idle ones; zeros where they cannot be seen."""
    try:
        numbers = [int(n) for n in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]
    except (OSError, IndexError, ValueError):
        return 0, 0


def busy_share(before: tuple[int, int], own_seconds: float = 0.0) -> float:
    """The share of the machine's processors that others kept busy since then."""
    total, idle = (now - then for now, then in zip(read_ticks(), before, strict=True))
    return (total - idle - own_seconds * os.sysconf("SC_CLK_TCK")) / total if total else 0.0


def used_by_children() -> float:
    """The processor time of the workers that ended, in seconds."""
    times = os.times()
    return times.children_user + times.children_system


def wait_for_quiet(patience: float) -> None:
    """Wait until others leave the machine alone and the last worker's threads have stopped spinning; not for ever."""
    until = time.monotonic() + patience
    while True:
        before = read_ticks()
        time.sleep(LOOK)
        if busy_share(before) <= QUIET or time.monotonic() >= until:
            return


def ask_for_time(worker: Worker, row: Measured, settings: Settings) -> None:
    """Time a worker when the machine is quiet, or has been waited for long enough; tell quiet rounds from others."""
    wait_for_quiet(settings.patience)
    before = read_ticks()
    answer = worker.ask(do="time", seconds=settings.seconds)
    disturbed = busy_share(before, answer["used"]) > QUIET
    (row.disturbed if disturbed else row.seconds).append(answer["seconds"])
    row.cores, row.peak = max(row.cores, answer["cores"]), answer["peak"]


def measure_rounds(workers: list[tuple[Worker, Measured]], rounds: int, steps: int, settings: Settings) -> None:
    """Time workers in turn until each has its quiet rounds, or twice as many in all; a round is so many steps."""
    for _ in range(2 * rounds):
        for worker, row in workers:
            done = len(row.seconds) + len(row.disturbed)
            computed = (sum(row.seconds) + sum(row.disturbed)) * steps
            if len(row.seconds) < rounds and not (done >= FEWEST and computed > ENOUGH):
                ask_for_time(worker, row, settings)
    for _, row in workers:
        row.settle(rounds)


def measure_steps(workload: Workload, threads: int, settings: Settings, caches: Path) -> list[Measured]:
    """Measure the steps of all systems on a workload."""
    rows, workers = [], {}
    try:
        for system in settings.systems:
            row = Measured(system, workload.name, threads)
            rows.append(row)
            worker = Worker(system, workload.name, "serve", threads, caches)
            try:
                answer = worker.ask(do="start")
            except (NotMeasured, WorkerFailed) as error:
                row.note = str(error)
                settings.say(f"  {system}: not measured: {row.note}")
                continue
            workers[system] = (worker, row)
            row.losses, row.start_seconds, row.version = (
                answer["losses"], answer["start_seconds"], answer["version"],
            )  # fmt: skip
        check_losses(rows)
        rounds = min(settings.rounds, workload.rounds)
        measure_rounds(list(workers.values()), rounds, workload.steps, settings)
        for worker, row in workers.values():
            row.parts = worker.ask(do="profile")
    finally:
        for worker, _ in workers.values():
            worker.close()
    return rows


def measure_fits(workload: Workload, threads: int, settings: Settings, caches: Path) -> list[Measured]:
    """Measure whole processes that train; caches of compiled code are warm after a first, untimed one."""
    rows = [Measured(system, workload.name, threads) for system in settings.systems]
    rounds = min(settings.rounds, workload.rounds)
    for timed in [False] + [True] * 2 * rounds:
        for row in rows:
            if row.note or len(row.seconds) >= rounds or (not timed and row.system not in CACHING):
                continue
            wait_for_quiet(settings.patience)
            before, used = read_ticks(), used_by_children()
            try:
                answer, _, seconds = run_whole(row.system, workload.name, "fit", threads, caches)
            except (NotMeasured, WorkerFailed) as error:
                row.note = str(error)
                settings.say(f"  {row.system}: not measured: {row.note}")
                continue
            if timed:
                disturbed = busy_share(before, used_by_children() - used) > QUIET
                (row.disturbed if disturbed else row.seconds).append(seconds)
                row.accuracy, row.peak, row.losses = answer["accuracy"], answer["peak"], [answer["loss"]]
    for row in rows:
        row.settle(rounds)
    check_losses(rows, RTOL_FIT)
    accuracies = {row.system: row.accuracy for row in rows if row.accuracy is not None}
    if accuracies and max(accuracies.values()) - min(accuracies.values()) > ACCURACY_STEP:
        raise LossesDiffer(f"{workload.name}: the training accuracies differ: {accuracies}")
    return rows


def measure_products(threads: int, settings: Settings, caches: Path) -> list[dict[str, Any]]:
    """Measure the matrix products of all systems that have one."""
    found = []
    for system in settings.systems:
        if system in ("torch_compile", "jax_scan", "sklearn", "autograd"):
            continue  # the products of torch, jax and numpy
        worker = Worker(system, "S", "serve", threads, caches)
        try:
            wait_for_quiet(10 * settings.patience)
            rates = worker.ask(do="products", sizes=PRODUCT_SIZES, seconds=0.3)["rates"]
        except (NotMeasured, WorkerFailed) as error:
            settings.say(f"  {system}: not measured: {error}")
            continue
        worker.close()
        found += [{"system": system, "threads": threads, "size": int(n), "rate": rate} for n, rate in rates.items()]
    return found


def measure_cold(name: str, threads: int, settings: Settings) -> list[dict[str, Any]]:
    """Measure from a process's start to its first finished step, with empty and with warm caches."""
    times: dict[str, tuple[list[float], list[float]]] = {system: ([], []) for system in settings.systems}
    for _ in range(settings.cold_rounds):
        for system in list(times):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    for kind in (0, 1) if system in CACHING else (1,):
                        times[system][kind].append(run_whole(system, name, "first", threads, Path(folder))[1])
                except (NotMeasured, WorkerFailed) as error:
                    settings.say(f"  {system}: not measured: {error}")
                    del times[system]
    return [
        {
            "system": system, "workload": name, "threads": threads,
            "empty": statistics.median(empty or warm), "warm": statistics.median(warm),
        }
        for system, (empty, warm) in times.items()
        if warm
    ]  # fmt: skip


def make_digits(folder: Path) -> None:
    """Write the digits where every system finds them, so that loading them costs all the same."""
    os.environ.pop("BENCHMARK_DIGITS", None)
    try:
        from undertow.data import load_digits as load

        digits = load()
        X, y = digits.X, digits.y
    except ImportError:
        X, y = load_digits(1797)
    np.save(folder / "digits.npy", np.column_stack([np.rint(X * 16), y]).astype(np.float32))
    os.environ["BENCHMARK_DIGITS"] = str(folder / "digits.npy")


def measure(settings: Settings, show: Callable[[Results, str, int], None], machine: dict[str, Any]) -> Results:
    """Measure all that is asked for; ``show`` is called after each workload."""
    results = Results(machine)
    with tempfile.TemporaryDirectory() as folder:
        caches = Path(folder)
        make_digits(caches)
        for threads in settings.threads:
            settings.say(f"Matrix products, {threads} thread{'s' * (threads > 1)}")
            results.products += measure_products(threads, settings, caches)
            for name in settings.workloads:
                workload = WORKLOADS[name]
                settings.say(f"{name}: {workload.title}, {threads} thread{'s' * (threads > 1)}")
                kind = measure_fits if workload.epochs else measure_steps
                results.rows += kind(workload, threads, settings, caches)
                show(results, name, threads)
        if settings.cold_rounds and "M" in settings.workloads:
            settings.say("Cold start: a process's start to its first finished step of M")
            results.cold = measure_cold("M", max(settings.threads), settings)
    return results
