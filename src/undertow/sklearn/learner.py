"""Epochs of compiled steps on arrays or sparse matrices, with what stays between them kept in the program's memory."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from undertow import trees
from undertow.nn.mode import example_keys
from undertow.optim import Clip, Optimizer, with_scale
from undertow.primitives import count_of
from undertow.sklearn.programs import borrow, give_back
from undertow.trace.where import frames_of_ours
from undertow.train.diverged import is_finite
from undertow.train.interrupt import hold_interrupts
from undertow.train.objective import Objective, Target, total_of
from undertow.train.outside import Reading
from undertow.train.session import NotFinite, Session
from undertow.train.setup import draws_numbers
from undertow.train.step import Step

if TYPE_CHECKING:
    from undertow.sklearn.recording import FitRecorder

Array = NDArray[Any]
SETTLE: Final = 16  # epochs after which a failed step is no longer looked for from the beginning
DENSE_BYTES: Final = 1 << 26  # a sparse matrix is made dense in blocks of at most this size


@dataclass(frozen=True)
class PenalisedLoss(Objective):
    """The loss of a batch with scikit-learn's penalty: ½ α Σ W² over the number of examples, or the sum of weights.

    Attributes:
        alpha: its factor α.
    """

    alpha: float = 0.0

    def __call__(self, model: Any, X: Any, target: Target) -> Any:
        """Compute it."""
        value = super().__call__(model, X, target)
        if not self.alpha:
            return value
        count = count_of(X, (0,)) if target.weights is None else total_of(target.weights)
        return value + Objective(self.loss, l2=self.alpha).penalty(model) / count


@dataclass(frozen=True)
class Rule:
    """What a step does.

    Attributes:
        loss: what it makes small.
        optimizer: the update.
        clip: a clipping rule, or None.
        key: what compiled steps are known by; None where functions of the user's own take part.
        recorder: records the gradient flow, or None.
    """

    loss: PenalisedLoss
    optimizer: Optimizer
    clip: Clip | None = None
    key: Hashable | None = None
    recorder: FitRecorder | None = None


class Learner:
    """A model that learns, epoch after epoch.

    Args:
        rule: what a step does.
        model: before the first step.
        state: of the optimizer; None before the first step.
        X: inputs, (n, d), an array or a sparse matrix whose rows can be taken.
        y: targets as the loss takes them, (n, …).
        weights: of the examples, (n,), or None.
        batch_size: examples a step.
        seed: of what layers draw.

    Attributes:
        state: of the optimizer, as `values` left it.
        n_steps: how many were done.
    """

    def __init__(
        self, rule: Rule, model: Any, state: Any, X: Any, y: Array, weights: Array | None, batch_size: int, seed: int
    ) -> None:
        self.rule, self.model, self.X = rule, model, X
        self.target, self.batch_size, self.seed = Target(y, weights), batch_size, seed
        self.step: Step = borrow(rule.key, lambda: self._make_step(rule))
        self.reading = Reading(rule.loss.loss.function, model)
        self.state = self.step.init(model) if state is None else state
        self.keys = draws_numbers(model, dense(X[:2]))
        self.session: Any = None
        self.n_steps = self.epochs = 0
        self.losses = np.empty(0)

    def _make_step(self, rule: Rule) -> Step:
        observer = None if rule.recorder is None else rule.recorder.observer
        return Step(rule.loss, rule.optimizer, rule.clip, observer=observer)

    def some(self, n: int) -> Array:
        """Return up to n of the inputs."""
        return np.ascontiguousarray(dense(self.X[:n]))

    def keys_of(self, n: int) -> Array | None:
        """Return keys of random numbers for n examples, if layers draw any."""
        return example_keys(self.seed, 0, min(n, len(self.target.y))) if self.keys else None

    def epoch(self, order: NDArray[np.int64], after_step: Any = None) -> float:
        """Do the steps of an epoch.

        Args:
            order: of the examples, (n,).
            after_step: is called with (number of the step, its loss, the model); steps are then done one at a time.

        Returns:
            The mean of the losses before each step, weighted as the examples are.

        Raises:
            NotFinite: a loss or a clipped gradient is not finite.
            KeyboardInterrupt: Ctrl-C came; the steps until then were done.
        """
        self.epochs += 1
        found: list[Array] = []
        try:
            for session, rows in self._sessions(order):
                size = self.batch_size if after_step else len(rows)
                for first in range(0, len(rows), size):
                    found.append(self._run(session, rows[first : first + size]))
                    if after_step:
                        self.values()
                        after_step(len(found), float(found[-1][-1]), self.model)
        except NotFinite as error:
            error.losses = np.concatenate([*found, error.losses])  # of all steps of the epoch before it
            raise
        self.losses = found[0] if len(found) == 1 else np.concatenate(found)
        return self._mean(self.losses, order)

    def _run(self, session: Any, rows: Array) -> Array:
        with hold_interrupts() as held:
            losses: Array = session.run(rows, self.batch_size)
        self.n_steps += len(losses)
        if self.rule.recorder is not None:
            self.rule.recorder.after_run(session)
        if held:
            raise KeyboardInterrupt
        return losses

    def _sessions(self, order: Array) -> Iterator[tuple[Any, Array]]:
        """Sessions and the rows of their steps: one session that stays, unless examples change from epoch to epoch."""
        if not issparse(self.X):
            if self.session is None or self.keys or self.epochs % SETTLE == 0 or self.reading.has_changed():
                self.values()
                self._open(self.X, self._drawn(self.target))
            yield self.session, order
            return
        rows_at_once = max(1, DENSE_BYTES // (self.X.shape[1] * self.X.dtype.itemsize * self.batch_size))
        size = rows_at_once * self.batch_size
        target = self._drawn(self.target)
        for first in range(0, len(order), size):
            rows = order[first : first + size]
            self.values()
            leaves, rebuild = trees.flatten(target)
            self._open(dense(self.X[rows]), rebuild([leaf[rows] for leaf in leaves]))
            yield self.session, np.arange(len(rows))

    def _drawn(self, target: Target) -> Target:
        """The target with keys of random numbers for this epoch, if layers draw any."""
        return target._replace(keys=example_keys(self.seed, self.epochs, len(target.y))) if self.keys else target

    def _open(self, X: Array, target: Target) -> None:
        if told := self.reading.heed(self.step):
            warnings.warn(told, UserWarning, stacklevel=frames_of_ours())
        with self.reading.noting(self.step.gradient):
            self.session = self.step.open(self.model, self.state, X, target, min(self.batch_size, len(X)))

    def _mean(self, losses: Array, order: Array) -> float:
        losses, weights = losses.astype(np.float64), self.target.weights
        if weights is None:
            last = len(order) - self.batch_size * (len(losses) - 1)
            return float(self.batch_size * losses[:-1].sum() + last * losses[-1]) / len(order)
        starts = np.arange(len(losses)) * self.batch_size
        counts = np.add.reduceat(weights[order].astype(np.float64), starts)
        total = float(counts.sum())
        return float(losses @ counts) / total if total else math.nan

    def values(self) -> Any:
        """Return the model after the last step; `state` is the optimizer's then."""
        if self.session is not None:
            self.model, self.state = self.session.values()
        return self.model

    def before_spoiled(self) -> tuple[Any, Any] | None:
        """Go back to before the last step where it has made parameters not finite; return its batch, else None."""
        if is_finite(self.values()) or self.session is None or (batch := self.session.step_back()) is None:
            return None
        return batch if is_finite(self.values()) else None

    def set_scale(self, scale: float) -> None:
        """Multiply the rate of the next steps by a number; the rule's optimizer is one that `scaled` made."""
        self.values()
        self.state = with_scale(self.state, scale)
        self.session = None

    def close(self) -> None:
        """Give back what was borrowed; the arrays of the data are let go of."""
        self.values()
        for resident in self.step._programs.values():
            if resident is not None:
                resident.release()
        if isinstance(self.session, Session):
            self.session.resident.release()
        self.session = None
        give_back(self.rule.key, self.step)


def dense(X: Any) -> Array:
    """Make an array of a sparse matrix; an array stays."""
    return X.toarray() if issparse(X) else X


__all__ = ["Learner", "NotFinite", "PenalisedLoss", "Rule", "dense"]
