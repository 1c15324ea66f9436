"""Time `ut.grad` itself: tracing and differentiating at once, nothing compiled. Peers side by side, in one run.

Run from the repository root, with the extra ``bench``: ``python benchmarks/eager.py``. It prints medians and ratios:
a chain of 140 operations on one number, where all is overhead, and arrays of 100,000, where all is arithmetic.
advect is measured where it is installed (it needs Python 3.12); PyTorch runs eagerly, on as many threads as it takes.
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import undertow as ut

ROUNDS, REPEATS = 15, 7


def chain(np: Any) -> Callable[[Any], Any]:
    """140 operations on one number."""

    def f(x: Any) -> Any:
        for _ in range(20):
            x = np.tanh(np.exp(-np.sin(x * 1.01 + 0.1)) ** 2) - 0.2
        return x

    return f


def arrays(np: Any) -> dict[str, Callable[[Any], Any]]:
    """What is done to arrays of 100,000."""

    def likelihood(x: Any) -> Any:
        return np.sum(np.tanh(x) * np.exp(-x * x) + np.log(1 + x * x))

    def logistic(x: Any) -> Any:
        return np.mean(np.log(1 + np.exp(-x)) + 0.1 * x * x)

    def polynomial(x: Any) -> Any:
        return np.sum((x - 1) * (x + 2) * x)

    def normalised(x: Any) -> Any:
        z = (x - np.mean(x)) / np.sqrt(np.var(x) + 1e-5)
        return np.sum(np.sin(z))

    return {f.__name__: f for f in (likelihood, logistic, polynomial, normalised)}


def libraries() -> dict[str, tuple[Any, Callable[..., Any], Callable[[Any], Any]]]:
    """By name: its NumPy, its grad, and what makes its array of an array."""
    found: dict[str, Any] = {"undertow": (np, ut.grad, lambda x: x)}
    for name in ("autograd", "advect"):
        try:
            module = importlib.import_module(name)
            numpy = importlib.import_module(f"{name}.numpy") if name == "autograd" else np
        except ImportError:
            print(f"{name} is not installed")
            continue
        found[name] = (numpy, module.grad, lambda x: x)
    try:
        import torch
    except ImportError:
        print("torch is not installed")
        return found

    def torch_grad(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def gradient(x: Any) -> Any:
            x = x.detach().requires_grad_()
            return torch.autograd.grad(f(x), x)[0]

        return gradient

    class TorchNumPy:
        """The functions used here by NumPy's names."""

        sum, mean, tanh, exp, log, sin, sqrt = (
            torch.sum, torch.mean, torch.tanh, torch.exp, torch.log, torch.sin, torch.sqrt,
        )  # fmt: skip
        var = staticmethod(lambda x: torch.var(x, correction=0))

    found["torch"] = (TorchNumPy, torch_grad, lambda x: torch.tensor(x, dtype=torch.float64))
    return found


def median_time(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Time calls in turn, round by round; the median over rounds of the best of a few repeats, in seconds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            best = float("inf")
            for _ in range(REPEATS):
                start = time.perf_counter()
                call()
                best = min(best, time.perf_counter() - start)
            times[name].append(best)
    return {name: statistics.median(values) for name, values in times.items()}


def report(title: str, seconds: dict[str, float]) -> None:
    """Print a line: each library's time, and how many times the forward pass that is."""
    forward = seconds.pop("forward")
    cells = [f"{name} {t * 1e3:8.3f} ms ({t / forward:5.1f}×)" for name, t in seconds.items()]
    print(f"{title:<12} forward {forward * 1e3:7.3f} ms   " + "   ".join(cells))


def main() -> None:
    """Print the table."""
    peers = libraries()
    print(f"NumPy {np.__version__}, Undertow {ut.__version__}; medians of {ROUNDS}; × the forward pass in NumPy")

    def calls(f: str | None, x: Any) -> dict[str, Callable[[], Any]]:
        made: dict[str, Callable[[], Any]] = {}
        for name, (numpy, grad, convert) in peers.items():
            function = chain(numpy) if f is None else arrays(numpy)[f]
            gradient, value = grad(function), convert(x)
            made[name] = lambda gradient=gradient, value=value: gradient(value)
            if name == "undertow":
                made = {"forward": lambda function=function: function(x), **made}
        return made

    report("140 scalars", median_time(calls(None, 0.5)))
    x = np.random.default_rng(0).normal(size=100_000)
    for name in arrays(np):
        report(name, median_time(calls(name, x)))


if __name__ == "__main__":
    main()
