"""The systems measured, one module each: ``make(workload, variant)`` gives a `Training`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np
from benchmarks.training.workloads import Workload
from numpy.typing import NDArray

Array = NDArray[Any]

# By name: the module, its variant, and the distribution whose version is told.
SYSTEMS: Final[dict[str, tuple[str, str, str]]] = {
    "undertow": ("undertow_steps", "", "undertow"),
    "numpy": ("numpy_by_hand", "", "numpy"),
    "torch": ("pytorch", "eager", "torch"),
    "torch_compile": ("pytorch", "compile", "torch"),
    "jax": ("jax_steps", "step", "jax"),
    "jax_scan": ("jax_steps", "scan", "jax"),
    "sklearn": ("scikit_learn", "", "scikit-learn"),
    "autograd": ("autograd_steps", "", "autograd"),
}
CACHING: Final = frozenset({"undertow", "torch_compile", "jax", "jax_scan"})  # who can keep compiled code on disk


class NotMeasured(Exception):
    """A system cannot do a workload; the message says why."""


class Training(Protocol):
    """A training that begins at the workload's initial parameters."""

    def reset(self) -> None:
        """Go back to the initial parameters and a new optimizer state."""

    def epoch(self, order: Array) -> list[float]:
        """Do as many whole batches as ``order`` gives, and return when all is computed: the loss of each."""

    def parameters(self) -> list[Array]:
        """The parameters now, in the workload's order."""


def make_training(system: str, workload: Workload) -> Training:
    """Make the training of a system; ImportError where the system is missing."""
    module, variant, _ = SYSTEMS[system]
    made: Training = importlib.import_module(f"benchmarks.training.peers.{module}").make(workload, variant)
    return made


def make_product(system: str, size: int) -> Callable[[], Any]:
    """Make the product of two float32 matrices of size × size as a system computes it."""
    module = importlib.import_module(f"benchmarks.training.peers.{SYSTEMS[system][0]}")
    if not hasattr(module, "product"):
        raise NotMeasured(f"{system} has no matrix product of its own")
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((size, size), dtype=np.float32) for _ in range(2))
    product: Callable[[], Any] = module.product(a, b)
    return product
