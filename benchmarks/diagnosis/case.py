"""A network, its data and settings, and what is known to be wrong with it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from benchmarks.diagnosis.data import Task

from undertow import nn

KINDS: Final = (
    "vanishing",
    "exploding",
    "dead-units",
    "born-dead-layer",
    "saturation",
    "non-finite",
    "rank-collapse",
    "identical-units",
    "initial-loss",
    "step-too-large",
    "step-too-small",
    "oscillation",
    "plateau",
    "over-fitting",
    "over-regularised",
    "turned-sign",
    "input-not-scaled",
    "constant-columns",
    "target-not-scaled",
    "imbalanced-classes",
    "loss-activation-mismatch",
    "always-clipped",
    "tiny-batch-normalisation",
    "leakage",
)
HEALTHY: Final = "healthy"


@dataclass
class Case:
    """One network of the bench.

    Attributes:
        name: what it is, for tables.
        model: not initialised, but for what is broken by hand.
        data: (X, y).
        settings: of `undertow.train`.
        must: the kinds that a diagnosis has to find.
        may: the kinds that follow from these, or are the same thing seen from another side.
        cause: the paths of layers any of which is a right answer to "where does it come from"; empty where no single
            layer is the cause.
        twin: what is different in its healthy twin: model, data, and settings.
        worse: by what the twin must be better: ``"score"`` on rows held out, ``"start"`` (the loss before training),
            or ``""`` where nothing of the kind is meant; ``"seen"`` where the trained network itself must show it.
    """

    name: str
    model: Any
    data: tuple[Any, ...]
    settings: dict[str, Any]
    must: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()
    cause: tuple[str, ...] = ()
    twin: dict[str, Any] = field(default_factory=dict)
    worse: str = "score"
    kind: str = HEALTHY

    @property
    def healthy(self) -> bool:
        return not self.must

    def train_arguments(self) -> dict[str, Any]:
        return {"model": self.model, "data": self.data, "progress": False, **self.settings}

    def twin_arguments(self) -> dict[str, Any]:
        return {**self.train_arguments(), **self.twin}


Make = Callable[[np.random.Generator], Iterator[Case]]
MAKERS: Final[dict[str, Make]] = {}


def makes(kind: str) -> Callable[[Make], Make]:
    """Enter a function that yields the cases of a kind; a decorator."""

    def enter(make: Make) -> Make:
        MAKERS[kind] = make
        return make

    return enter


def make_cases(seed: int, only: str | None = None) -> list[Case]:
    """Make the networks of the bench, all drawn from one seed."""
    found = []
    for kind, make in MAKERS.items():
        if only in (None, kind):
            for case in make(np.random.default_rng([seed, zlib.crc32(kind.encode())])):
                case.kind = kind
                found.append(case)
    return found


def broken(
    task: Task,
    model: Any,
    settings: dict[str, Any],
    must: str,
    may: str = "",
    cause: Any = (),
    /,
    what: str = "",
    worse: str = "score",
    **twin: Any,
) -> Case:
    """A case that is broken in one way, named by its task and what was done."""
    settings = {"loss": task.loss, "validation": 0.2, **settings}
    return Case(
        f"{what}, {task.name}",
        model,
        task.data,
        settings,
        frozenset({must}),
        frozenset(may.split()),
        (cause,) if isinstance(cause, str) else tuple(cause),
        twin,
        worse,
    )


def healthy(task: Task, model: Any, what: str, may: str = "", **settings: Any) -> Case:
    """A case that is well, named by its task and what is different in it."""
    settings = {"loss": task.loss, "validation": 0.2, **settings}
    return Case(f"{what}, {task.name}", model, task.data, settings, may=frozenset(may.split()))


def pick(rng: np.random.Generator, options: Any) -> Any:
    """One of several."""
    return options[int(rng.integers(len(options)))]


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between two, even on a logarithmic scale; with two digits, as people write them."""
    return float(f"{np.exp(rng.uniform(np.log(low), np.log(high))):.2g}")


def network(
    n_in: int,
    hidden: list[int],
    n_out: int,
    activation: Any,
    *,
    init: Any = "auto",
    norm: Any = None,
    residual: bool = False,
    dropout: float = 0.0,
    end: Any = None,
) -> nn.Sequential:
    """A network of dense layers; ``init`` is that of the hidden ones."""
    layers: list[Any] = []
    width = n_in
    for size in hidden:
        block = [nn.Dense(width, size, init=init), *([norm(size)] if norm else []), activation]
        block += [nn.Dropout(dropout)] if dropout else []
        layers += [nn.Residual(*block)] if residual and width == size else block
        width = size
    return nn.Sequential(*layers, nn.Dense(width, n_out), *([end] if end else []))


def fill(layer: nn.Dense, seed: int, bias: Any) -> nn.Dense:
    """A dense layer with biases given by hand; its weights are still to be drawn."""
    return nn.Dense(layer.fan_in, layer.fan_out, init=layer.init, b=np.full(layer.fan_out, bias, np.float32))


def put(model: nn.Sequential, index: int, layer: Any) -> nn.Sequential:
    """The same network with another layer in one place."""
    layers = list(model.layers)
    layers[index] = layer  # also counted from the end
    return nn.Sequential(*layers)
