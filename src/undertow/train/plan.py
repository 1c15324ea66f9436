"""How a model is to be trained: all settings in one place, checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike

from undertow.errors import ArgumentError
from undertow.habits import TRAINING
from undertow.nn import Loss
from undertow.optim import Clip, Optimizer, accumulate, find_optimizer
from undertow.optim.wrappers import describe_optimizer
from undertow.spelling import did_you_mean
from undertow.train.stopping import EarlyStopping, ReduceOnPlateau

# Those that are plain data, and are told where they are not what they are by default.
SETTINGS: Final = (
    "steps", "seconds", "accumulate", "non_finite", "l1", "l2", "max_norm", "mixup", "class_weights",
    "average", "checkpoint_every", "keep", "flow",
)  # fmt: skip


_WATCHING: Final[dict[str, type[EarlyStopping] | type[ReduceOnPlateau]]] = {
    "reduce_on_plateau": ReduceOnPlateau,
    "early_stopping": EarlyStopping,
}  # settings that may be a patience alone, in the order in which they are told of an epoch


class UsualShare(float):
    """The share of data to hold out where none is told, which is told apart from the same one that is."""


HELD_OUT: Final = UsualShare(0.1)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The settings of a training; see `train` for what each means.

    Raises:
        ArgumentError: ``epochs must be a whole number of 1 or more, got 0.`` and the like.

    Source: derived here.

    Example:
        >>> Plan(loss="mean_squared_error", epochs=3).epochs
        3
    """

    loss: str | Loss | dict[str, Any] | Callable[[Any, Any], Any]
    optimizer: Optimizer | str | None = None
    epochs: int | None = None
    steps: int | None = None
    seconds: float | None = None
    batch_size: int = 64
    accumulate: int = 1
    validation: Any = HELD_OUT
    clip: Clip | None = None
    non_finite: str = "raise"
    l1: float = 0.0
    l2: float = 0.0
    max_norm: float | None = None
    mixup: float = 0.0
    class_weights: Any = None
    average: float = 0.0
    early_stopping: EarlyStopping | int | None = None
    reduce_on_plateau: ReduceOnPlateau | int | None = None
    metrics: Any = None
    callbacks: Iterable[Any] | Callable[..., Any] | None = ()
    seed: int = 0
    dtype: DTypeLike | None = None
    progress: bool = True
    checkpoint: Any = None
    checkpoint_every: int | None = None
    keep: int = 2
    flow: bool = True

    def __post_init__(self) -> None:
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        for name in ("epochs", "steps", "checkpoint_every"):
            if getattr(self, name) is not None:
                put(name, read_count(name, getattr(self, name)))
        for name in ("batch_size", "accumulate", "keep"):
            put(name, read_count(name, getattr(self, name)))
        if self.seconds is not None:
            put("seconds", read_amount("seconds", self.seconds, above=True))
        if self.epochs is None and self.steps is None and self.seconds is None:
            put("epochs", 20)
        for name in ("l1", "l2", "mixup"):
            put(name, read_amount(name, getattr(self, name)))
        if self.max_norm is not None:
            put("max_norm", read_amount("max_norm", self.max_norm, above=True))
        put("average", read_amount("average", self.average))
        if self.average >= 1:
            raise ArgumentError(f"average must be 0 or more and below 1, got {self.average!r}.")
        if self.clip is not None and not isinstance(self.clip, Clip):
            raise ArgumentError(f"clip is {self.clip!r}. Give a rule such as undertow.optim.clip_by_global_norm(1.0).")
        put("optimizer", find_optimizer(self.optimizer))
        for name, kind in _WATCHING.items():
            if not isinstance(getattr(self, name), kind | None):
                put(name, read_count(name, getattr(self, name)))

    def rule(self) -> tuple[Optimizer, Clip | None]:
        """The update rule and the clipping of a step, with gradients accumulated if they are to be."""
        optimizer: Any = self.optimizer
        if self.accumulate == 1:
            return optimizer, self.clip
        return accumulate(optimizer, self.accumulate, clip=self.clip), None

    def count_batches(self, n_examples: int | None) -> int | None:
        """Return how many batches there will be at most; None where that is not known."""
        limits = [] if self.steps is None else [self.steps]
        if self.epochs is not None and n_examples is not None:
            limits.append(self.epochs * -(-n_examples // self.batch_size))
        return min(limits) if limits else None

    def count_updates(self, n_examples: int | None) -> int | None:
        """Return how many updates there will be at most; None where that is not known."""
        n_batches = self.count_batches(n_examples)
        return None if n_batches is None else -(-n_batches // self.accumulate)

    def check_updates(self, n_examples: int | None) -> None:
        """ArgumentError where a training ends before its first update."""
        n_batches = self.count_batches(n_examples)
        if n_batches is not None and n_batches < self.accumulate:
            is_are = "is one batch" if n_batches == 1 else f"are {n_batches} batches"
            raise ArgumentError(
                f"accumulate is {self.accumulate}, but there {is_are} in all, so nothing would be "
                "learned. Let fewer batches make an update, or train for more epochs."
            )

    def watching(self, held: bool) -> list[EarlyStopping | ReduceOnPlateau]:
        """What lowers the rate and what stops early, where they are wanted. Without validation, they watch the loss."""
        found: list[EarlyStopping | ReduceOnPlateau] = []
        for name, kind in _WATCHING.items():
            wanted = getattr(self, name)
            if wanted is not None:
                column = "validation_loss" if held else "loss"
                found.append(wanted if isinstance(wanted, kind) else kind(column, patience=wanted))
        return found

    def project(self) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
        """What keeps the weights of each unit within a norm, or None."""
        limit = self.max_norm
        if limit is None:
            return None

        def project(params: dict[str, Any]) -> dict[str, Any]:
            return {path: _bound_columns(W, limit) if np.ndim(W) > 1 else W for path, W in params.items()}

        return project

    def describe(self) -> dict[str, Any]:
        """The settings as plain data, as a run keeps them."""
        optimizer: Any = self.optimizer
        share = float(self.validation) if isinstance(self.validation, UsualShare) else self.validation
        given = share is not None and not isinstance(share, int | float | np.number)
        found = {
            "optimizer": describe_optimizer(optimizer),
            "clip": None if self.clip is None else {"name": self.clip.name, **self.clip.settings},
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "seed": int(self.seed),
            "validation": "given" if given else share,
        }
        usual: dict[str, Any] = {f.name: f.default for f in fields(self)}
        for name in SETTINGS:
            value = getattr(self, name)
            if value is not None and not np.array_equal(value, usual[name]):
                found[name] = value.tolist() if isinstance(value, np.ndarray) else value
        if isinstance(self.class_weights, Mapping):  # the names of a record are texts
            found["class_weights"] = {str(label): float(weight) for label, weight in self.class_weights.items()}
        for name in _WATCHING:
            wanted = getattr(self, name)
            if wanted is not None:
                found[name] = wanted if isinstance(wanted, int) else wanted.settings()
        return found


def _bound_columns(W: Any, limit: float) -> Any:
    """Scale the weights into each unit, W[:, j], to a norm of at most ``limit``; Srivastava et al. 2014, sec. 5.1."""
    axes = tuple(range(np.ndim(W) - 1))
    norm = np.sqrt(np.sum(W * W, axis=axes, keepdims=True))
    return W * (limit / np.maximum(norm, limit))


def make_plan(settings: dict[str, Any]) -> Plan:
    """Make a plan of settings by name.

    Args:
        settings: as `train` takes them.

    Returns:
        The plan.

    Raises:
        ArgumentError: ``there is no setting 'epoch'. Did you mean 'epochs'? There are …``, or there is no loss.

    Source: derived here.

    Example:
        >>> make_plan({"loss": "mean_squared_error", "epochs": 3}).epochs
        3
    """
    names = [f.name for f in fields(Plan)]
    for name in settings:
        if name not in names:
            hint = f"{TRAINING[name]} " if name in TRAINING else did_you_mean(name, names)
            raise ArgumentError(f"there is no setting {name!r}. {hint}There are {', '.join(names)}.")
    if settings.get("loss") is None:
        raise ArgumentError(
            "a training needs a loss. Give one: loss='categorical_cross_entropy' for classes, 'binary_cross_entropy' "
            "for two, 'mean_squared_error' for numbers, or a function (output, y) → one number."
        )
    return Plan(**settings)


def read_count(name: str, value: Any) -> int:
    """Read a whole number of 1 or more.

    Args:
        name: of the argument, for the message.
        value: what was given.

    Returns:
        The number.

    Raises:
        ArgumentError: ``epochs must be a whole number of 1 or more, got 0.``

    Source: derived here.

    Example:
        >>> read_count("epochs", 3)
        3
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ArgumentError(f"{name} must be a whole number of 1 or more, got {value!r}.")
    return int(value)


def read_amount(name: str, value: Any, above: bool = False) -> float:
    """Read a finite number of 0 or more; with ``above``, it must be above 0.

    Args:
        name: of the argument, for the message.
        value: what was given.
        above: whether 0 is refused.

    Returns:
        The number.

    Raises:
        ArgumentError: ``l2 must be 0 or more and finite, got -1.``

    Source: derived here.

    Example:
        >>> read_amount("l2", 1)
        1.0
    """
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not (0 < value < math.inf if above else 0 <= value < math.inf):
        raise ArgumentError(f"{name} must be {'above 0' if above else '0 or more'} and finite, got {value!r}.")
    return float(value)
