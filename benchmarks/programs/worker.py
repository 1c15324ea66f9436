"""One system on one program, in a process of its own: ``start`` compiles and answers, ``time`` measures."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from benchmarks.programs.catalogue import use
from benchmarks.programs.program import PROGRAMS, Array, Function, Program
from benchmarks.training.worker import open_answers, peak_memory, time_best, version_of

Run = Callable[[], Any]  # gives the value and its gradients


def square(x: Array) -> Any:
    """What each system compiles first, so that its own start is not counted among the times of compiling."""
    return (x * x).sum()


def with_undertow(function: Function, arguments: list[Array], wrt: tuple[int, ...]) -> Run:
    """Undertow's gradient."""
    import undertow

    gradient = undertow.value_and_grad(function, wrt=wrt, compile=True)
    return lambda: gradient(*arguments)


def with_jax(function: Function, arguments: list[Array], wrt: tuple[int, ...]) -> Run:
    """JAX's gradient; integers are of 32 bits, as is its custom, where floats are."""
    import jax

    jax.config.update("jax_enable_x64", any(x.dtype == np.float64 for x in arguments))
    if os.environ.get("NPROC") == "1":  # else one core computes while another one already prepares the next call
        jax.config.update("jax_cpu_enable_async_dispatch", False)
    use(jax.numpy)
    gradient = jax.jit(jax.value_and_grad(function, argnums=wrt))
    placed = [jax.numpy.asarray(x) for x in arguments]
    return lambda: jax.block_until_ready(gradient(*placed))


SYSTEMS: dict[str, Callable[[Function, list[Array], tuple[int, ...]], Run]] = {
    "undertow": with_undertow,
    "jax": with_jax,
}


def start(system: str, program: Program, path: str) -> tuple[Run, dict[str, Any]]:
    """Compile, and write the value and the gradients to a file; Undertow's process computes NumPy's value too."""
    arguments = program.make()
    answer: dict[str, Any] = {"version": version_of(system)}
    if system == "undertow":
        answer["numpy"] = float(program.function(*arguments))
    SYSTEMS[system](square, [np.ones(3, program.dtype)], (0,))()
    started = time.perf_counter()
    run = SYSTEMS[system](program.function, arguments, program.wrt)
    value, gradients = run()
    answer["start_seconds"] = time.perf_counter() - started
    np.savez(path, *[np.asarray(x) for x in (value, *gradients)])
    return run, answer


def main() -> None:
    """Do what the lines of standard input ask for."""
    system, name = sys.argv[1:3]
    answer, run = open_answers(), None
    warnings.simplefilter("ignore")  # what NumPy says of a large exponent is of no concern here
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if asked["do"] == "start":
                run, said = start(system, PROGRAMS[name], asked["path"])
                answer(said)
            elif run is not None:
                answer({**time_best(run, asked["seconds"]), "peak": peak_memory()})
        except Exception as error:  # whatever it is, it is told beside the other programs' numbers
            answer({"not_measured": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
