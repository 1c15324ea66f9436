"""One system on one workload, in a process of its own that computes when it is told to.

The runner writes a JSON object a line; the worker answers with one. It is started with the system's name, the
workload's name and what to do: ``serve``, ``first`` (one step, then end) or ``fit`` (train, tell, end).
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.training.peers import SYSTEMS, NotMeasured, Training, make_product, make_training
from benchmarks.training.workloads import Workload, apply, find_workload

Answer = dict[str, Any]


class Words:
    """What it takes to apply a trained perceptron in NumPy."""

    @staticmethod
    def dense(x: Any, W: Any, b: Any) -> Any:
        return x @ W + b

    @staticmethod
    def relu(z: Any) -> Any:
        return np.maximum(z, 0)


def first_losses(training: Training, workload: Workload) -> list[float]:
    """The losses of the first steps; scikit-learn tells them only when it is asked step by step."""
    training.reset()
    own = getattr(training, "first_losses", None)
    if own is not None:
        return list(own(workload.order(0)[: workload.checked * workload.batch]))
    losses: list[float] = []
    epoch = 0
    while len(losses) < workload.checked:
        losses += training.epoch(workload.order(epoch))
        epoch += 1
    return losses[: workload.checked]


def time_best(work: Callable[[], Any], seconds: float, prepare: Callable[[], Any] = int) -> Answer:
    """Time something again and again, each time prepared anew, until it took so long in all; the best counts."""
    best, began = float("inf"), time.process_time()
    taken = busy = 0.0
    while taken < seconds:
        prepare()
        used = time.process_time()
        started = time.perf_counter()  # last: to ask for the processor's time takes as long as a small program
        work()
        once = time.perf_counter() - started
        taken += once
        busy += time.process_time() - used
        best = min(best, once)
    return {"seconds": best, "cores": busy / taken, "used": time.process_time() - began}


def time_epochs(training: Training, workload: Workload, seconds: float) -> Answer:
    """Time the first epoch, from the initial parameters, again and again until it took so long in all.

    The best of these counts: on a shared machine the others measure how often somebody else was served.
    """
    order = workload.order(0)
    answer = time_best(lambda: training.epoch(order), seconds, training.reset)
    return {**answer, "seconds": answer["seconds"] / workload.steps}


def fit(training: Training, workload: Workload) -> Answer:
    """Train all epochs, and measure how much was learned."""
    losses: list[float] = []
    for epoch in range(workload.epochs):
        losses = training.epoch(workload.order(epoch))
    X, y = workload.data
    right = np.argmax(apply(workload.layers, Words, iter(training.parameters()), X), axis=1) == y
    return {"accuracy": float(np.mean(right)), "loss": float(np.mean(losses))}


def time_products(system: str, sizes: list[int], seconds: float) -> Answer:
    """The rate of matrix products by their size, in floating-point operations a second: the best of several."""
    rates = {}
    for size in sizes:
        product = make_product(system, size)
        product()
        best, taken = float("inf"), 0.0
        while taken < seconds:
            started = time.perf_counter()
            product()
            best = min(best, time.perf_counter() - started)
            taken += time.perf_counter() - started
        rates[str(size)] = 2 * size**3 / best
    return {"rates": rates}


def peak_memory() -> int:
    """The most memory that this process held, in bytes."""
    try:  # ru_maxrss counts what the parent held when it forked
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        scale = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def version_of(system: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(SYSTEMS[system][2])
    except PackageNotFoundError:
        return "checkout"


def serve(system: str, name: str, answer: Callable[[Answer], None]) -> None:
    """Do what the lines of standard input ask for."""
    training: Any = None
    for line in sys.stdin:
        asked = json.loads(line)
        match asked["do"]:
            case "start":
                started = time.perf_counter()
                training = make_training(system, find_workload(name))
                losses = first_losses(training, find_workload(name))
                answer(
                    {"losses": losses, "start_seconds": time.perf_counter() - started, "version": version_of(system)}
                )
            case "time":
                answer({**time_epochs(training, find_workload(name), asked["seconds"]), "peak": peak_memory()})
            case "profile":
                answer(training.profile() if hasattr(training, "profile") else {})
            case "products":
                answer(time_products(system, asked["sizes"], asked["seconds"]))


def open_answers() -> Callable[[Answer], None]:
    """What writes answers to the runner; what libraries print goes to standard error, not between the answers."""
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(message: Answer) -> None:
        stream.write(json.dumps(message) + "\n")
        stream.flush()

    return answer


def main() -> None:
    """Work, and tell the runner why where it cannot be done."""
    system, name, task = sys.argv[1:4]
    answer = open_answers()
    try:
        if task == "serve":
            serve(system, name, answer)
            return
        workload = find_workload(name)
        training = make_training(system, workload)
        if task == "first":
            answer({"losses": training.epoch(workload.order(0)[: workload.batch])})
        else:
            answer({**fit(training, workload), "peak": peak_memory()})
    except (ImportError, NotMeasured) as error:
        answer({"not_measured": str(error)})


if __name__ == "__main__":
    main()
