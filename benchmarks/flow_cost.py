"""What it costs to measure, in every step, all numbers of which a record of the gradient flow is made.

``python -m benchmarks.flow_cost [--workloads S M L D] [--threads 1 2] [--rounds 60] [--parts]``

all: measured by the steps; record: and made a record of, which a training does every 50 ms.
Steps with and without are done in turn, block after block, in one process. Printed: microseconds a step without and
with; the ratio of the medians of all blocks; that of the fastest blocks; and the median of the ratios of neighbouring
blocks, which is what a machine that others use as well disturbs least.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
from benchmarks.training.peers.undertow_steps import build, loss_of
from benchmarks.training.workloads import BETA1, BETA2, EPSILON, MOMENTUM, WORKLOADS, Workload

import undertow as ut
from undertow.flow.layers import read_layers
from undertow.flow.observe import make_observer
from undertow.flow.recorder import Recorder
from undertow.train.step import Observer, make_step

ALLOWED = {"S": 1.25, "M": 1.10, "D": 1.10, "L": 1.03, "XL": 1.03}


def open_session(workload: Workload, observer: Observer | None) -> Any:
    """Begin a training of a workload."""
    if workload.optimizer == "momentum":
        optimizer = ut.optim.momentum(workload.rate, MOMENTUM)
    else:
        optimizer = ut.optim.adam(workload.rate, BETA1, BETA2, EPSILON)
    clip = None if workload.clip is None else ut.optim.clip_by_global_norm(workload.clip)
    step = make_step(loss_of, optimizer, clip, observer=observer)
    model = ut.nn.Sequential(*build(workload.layers, iter(workload.initial())))
    return step.open(model, step.init(model), *workload.data, workload.batch)


def measure(
    workload: Workload, variants: dict[str, Observer | None], rounds: int, threads: int, block: float
) -> dict[str, list[float]]:
    """Measure sessions in turn.

    Args:
        workload: what to train.
        variants: by name, what observes.
        rounds: blocks of each.
        block: seconds of a block, about.
        threads: how many work; one is measured by the time that it had a processor.

    Returns:
        Of each variant the seconds a step of every block.
    """
    sessions = {name: open_session(workload, observer) for name, observer in variants.items()}
    order = workload.order(0)
    for session in sessions.values():
        session.run(order[: 64 * workload.batch], workload.batch)  # compiles, and looks for the data in memory
    started, tried = time.perf_counter(), min(64, workload.steps)
    session.run(order[: tried * workload.batch], workload.batch)
    steps = int(np.clip(block * tried / (time.perf_counter() - started), 1, workload.steps))
    clock = time.process_time if threads == 1 else time.perf_counter
    recorder = Recorder(read_layers(session.model, workload.data[0][:4]))
    found: dict[str, list[float]] = {name: [] for name in sessions}
    for i in range(rounds):
        names = list(sessions)
        for name in names if i % 2 else reversed(names):
            session = sessions[name]
            session.done.clear()  # of what was done, nothing has to be done again
            started = clock()
            session.run(order[: steps * workload.batch], workload.batch)
            if name == "record":
                recorder.add_steps(session.told, session.results, recorder.rows.n + 1, 1, workload.rate)
                recorder.rows.thin()
            found[name].append((clock() - started) / steps)
    return found


def parts_of(observer: Observer) -> dict[str, Observer | None]:
    """The observers that measure a part of the numbers each."""

    def only(wanted: str) -> Observer:
        return lambda *args: {name: x for name, x in observer(*args).items() if name.split(".")[1] in wanted.split()}

    return {wanted: only(wanted) for wanted in ("z", "h", "delta", "dW db", "W", "update")}


def show(workload: Workload, threads: int, rounds: int, parts: bool, block: float) -> bool:
    """Print the rows of a workload; tell whether it costs no more than allowed."""
    ut.set_threads(threads)
    model = ut.nn.Sequential(*build(workload.layers, iter(workload.initial())))
    observer = make_observer(read_layers(model, workload.data[0][:4]))
    variants: dict[str, Observer | None] = {"plain": None, "all": observer, "record": observer}
    found = measure(workload, variants | (parts_of(observer) if parts else {}), rounds, threads, block)
    plain, fine = found["plain"], True
    for name, times in found.items():
        if name != "plain":
            pairs = statistics.median(b / a for a, b in zip(plain, times, strict=True))
            medians, fastest = statistics.median(times) / statistics.median(plain), min(times) / min(plain)
            print(
                f"{workload.name:3} {threads:7} {name:8} {min(plain) * 1e6:11.2f} {min(times) * 1e6:11.2f} "
                f"{medians:8.3f} {fastest:8.3f} {pairs:8.3f} {ALLOWED.get(workload.name, 1.1):8.2f}",
                flush=True,
            )
            fine = fine and (name != "record" or min(pairs, fastest) <= ALLOWED.get(workload.name, 1.1))
    return fine


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", nargs="+", default=["S", "M", "D", "L", "XL"], choices=sorted(WORKLOADS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--block", type=float, default=50, help="milliseconds, as between two looks of a training")
    parser.add_argument("--parts", action="store_true", help="what each quantity costs by itself, too")
    args = parser.parse_args()
    print("    threads what      µs without     µs with  medians  fastest    pairs  allowed")
    for name in args.workloads:
        workload = WORKLOADS[name]
        for threads in args.threads:
            show(workload, threads, min(args.rounds, 20) if name == "XL" else args.rounds, args.parts, args.block / 1e3)


if __name__ == "__main__":
    main()
