"""What the estimators have in common: fitting, predicting, and the attributes that scikit-learn's have."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from undertow.compile import threads
from undertow.errors import ArgumentError, DataError
from undertow.nn import Loss
from undertow.nn.structure import read_dtype
from undertow.optim import Optimizer, scaled
from undertow.sklearn.fitting import Fitting, Held
from undertow.sklearn.lbfgs import fit_lbfgs
from undertow.sklearn.learner import DENSE_BYTES, Learner, PenalisedLoss, Rule, dense
from undertow.sklearn.network import LayerArrays, build_network, dense_layers, logits_of, put_arrays
from undertow.sklearn.precision import choose_dtype
from undertow.sklearn.programs import FORWARD
from undertow.sklearn.recording import open_recorder
from undertow.sklearn.settings import check_settings
from undertow.sklearn.solvers import choose_optimizer
from undertow.sklearn.targets import Target, refuse_texts
from undertow.train.callbacks import read_hooks
from undertow.train.objective import Target as BatchTarget
from undertow.train.run import Run
from undertow.train.task import Task

Array = NDArray[Any]
FLOATS = (np.float64, np.float32)


def keep_settings(estimator: Any, given: dict[str, Any]) -> None:
    """Set an attribute for each argument of the constructor, as scikit-learn asks for."""
    for name in estimator._get_param_names():
        setattr(estimator, name, given[name])


def is_stochastic(estimator: Any) -> bool:
    """Tell whether an estimator can be fitted part by part; AttributeError where it cannot."""
    if estimator.solver == "lbfgs" and estimator.optimizer is None:
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic. Use another solver."
        )
    return True


class BaseNetwork(BaseEstimator, ABC):
    """A network as a scikit-learn estimator; see `MLPClassifier` and `MLPRegressor`."""

    @abstractmethod
    def _read_targets(self, y: Any, first: bool) -> tuple[Target, Array]:
        """Read targets: how they go with the loss, and y as it is scored."""

    def _weights_of_classes(self, y: Any, weights: Array | None, incremental: bool) -> Array | None:
        """Weights of the examples by their classes, which count as much as their other weights say."""
        return None

    # ---- fitting ------------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool = False) -> Any:
        check_settings(self)
        first = not hasattr(self, "model_") or (not self.warm_start and not incremental)
        if isinstance(self, RegressorMixin):
            refuse_texts(type(self).__name__, y)
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, dtype=FLOATS, reset=first,
            y_numeric=isinstance(self, RegressorMixin),
        )  # fmt: skip
        self._has_sparse_labels, y = issparse(y), dense(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        weights = _read_weights(sample_weight, X)
        target, scored = self._read_targets(y, first)
        by_class = self._weights_of_classes(y, weights, incremental)
        if by_class is not None:
            weights = by_class.astype(X.dtype) if weights is None else weights * by_class.astype(X.dtype)
        rng = check_random_state(self.random_state)
        by_lbfgs = self.solver == "lbfgs" and self.optimizer is None
        with threads_for(self.n_threads):
            if first:
                dtype = X.dtype if by_lbfgs else choose_dtype(X, scored)
                self._begin(target, X.shape[1], rng, read_dtype(dtype if self.dtype is None else self.dtype))
            X, weights = X.astype(self._dtype, copy=False), None if weights is None else weights.astype(self._dtype)
            if issparse(X):
                X = X.tocsr()
                X = X.toarray() if X.shape[0] * X.shape[1] * X.dtype.itemsize <= DENSE_BYTES else X
            if weights is not None and target.loss.per_example is None:
                raise ArgumentError(
                    f"the loss {target.loss.name} gives one number for a batch, so examples cannot be weighed. Use a "
                    "loss of undertow.nn, or leave sample_weight and class_weight out."
                )
            self._train(target, np.ascontiguousarray(X) if not issparse(X) else X, scored, weights, rng, incremental)
        return self

    def _begin(self, target: Target, n_in: int, rng: Any, dtype: np.dtype[Any]) -> None:
        """Build the network, and forget what an earlier one told."""
        model = build_network(self, n_in, target.n_outputs, rng, dtype)
        self.model_ = logits_of(model, target.loss.end)
        self._dtype = dtype
        self.n_outputs_ = target.n_outputs
        self.n_layers_ = len(dense_layers(self.model_)) + 1
        self.out_activation_ = target.out_activation
        self.n_iter_ = self.t_ = 0
        self._history: list[dict[str, Any]] = []
        self._state: Any = None
        if self.solver == "lbfgs" and self.optimizer is None:
            return
        self.loss_curve_: list[float] = []
        self._no_improvement_count = 0
        self._best, self._best_value = self.model_, -np.inf
        held = self.early_stopping
        self.validation_scores_: list[float] | None = [] if held else None
        self.validation_loss_curve_: list[float] | None = [] if held else None
        self.best_validation_score_ = -np.inf if held else None
        self.best_loss_ = None if held else np.inf

    def _train(self, target: Target, X: Any, scored: Array, weights: Array | None, rng: Any, incremental: bool) -> None:
        by_lbfgs = self.solver == "lbfgs" and self.optimizer is None
        if by_lbfgs and self.flow:
            raise ArgumentError(
                "flow=True records training steps, and solver='lbfgs' does none. Use another solver, or flow=False."
            )
        optimizer = (
            choose_optimizer(self) if not by_lbfgs else Optimizer("lbfgs", lambda params: (), lambda *args: args)
        )
        hooks = read_hooks(self.callbacks)
        if self._lowers_rate() or any(hasattr(callback, "scale") for callback in hooks.callbacks):
            optimizer = scaled(optimizer)
        loss = PenalisedLoss(target.loss, alpha=float(self.alpha))
        rule = Rule(loss, optimizer, self.clip, self._key(loss, optimizer))
        settings = self._describe(target, optimizer, X)
        if by_lbfgs:
            batch = BatchTarget(target.encode(scored, self._dtype), weights)
            self.model_ = fit_lbfgs(self, rule, dense(X), batch, settings, target.offset)
            self.run_ = self._make_run(settings, "finished")
            return
        held = None
        if self.early_stopping:
            if incremental:
                raise ValueError("partial_fit does not support early_stopping=True")
            X, scored, weights, held = self._hold_out(target, X, scored, weights, rng)
        if not incremental or not hasattr(self, "_scale"):
            self._state, self._scale = None, 1.0
        batch_size, encoded = self._read_batch_size(len(scored)), target.encode(scored, self._dtype)
        settings["batch_size"] = batch_size
        if self.alpha:  # the same penalty as `undertow.train` has it
            settings["l2"] = float(self.alpha) / batch_size
        if self.flow:
            recorder = open_recorder(self, self.model_, dense(X[:2]), self.learning_rate_init, incremental)
            rule = replace(rule, key=None, recorder=recorder)
        learner = Learner(rule, self.model_, self._state, X, encoded, weights, batch_size, self._seed())
        if rule.recorder is not None:
            task = Task(target.loss, np.shape(self.model_(learner.some(2)))[1:], self._dtype)
            rule.recorder.begin(learner, task, None if held is None else (dense(held.X), held.encoded), settings)
        fitting = Fitting(self, learner, target, held, hooks, rng, settings)
        try:
            fitting.run(1 if incremental else self.max_iter, incremental)
        finally:
            learner.close()
        self.model_, self._state = fitting.model, learner.state if incremental else None
        self.run_ = self._make_run(settings, fitting.stopped)

    def _hold_out(self, target: Target, X: Any, scored: Array, weights: Array | None, rng: Any) -> tuple[Any, ...]:
        """Split off what is held out, as scikit-learn does."""
        stratify = scored if target.kind == "binary" else None
        rows = np.arange(len(scored))
        if stratify is not None:
            labels, counts = np.unique(stratify, return_counts=True)
            if counts.min() < 2:
                few = [str(self.classes_[int(label)]) for label in labels[counts < 2]]
                raise ValueError(
                    f"The least populated classes in y have only {counts.min()} member, and early_stopping holds out "
                    f"rows of each class. Classes with too few members are: {few}. Give more rows of them, or "
                    f"early_stopping=False."
                )
        if stratify is not None and min(len(rows) * self.validation_fraction, len(rows)) < 2:
            raise ValueError(
                f"early_stopping holds out {self.validation_fraction:g} of {len(rows)} rows, which is less than one of "
                f"each class. Give a larger validation_fraction, more rows, or early_stopping=False."
            )
        kept, out = train_test_split(rows, random_state=rng, test_size=self.validation_fraction, stratify=stratify)
        if len(out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        take = lambda rows: None if weights is None else weights[rows]  # noqa: E731
        held = Held(X[out], scored[out], target.encode(scored[out], self._dtype), take(out))
        return X[kept], scored[kept], take(kept), held

    def _read_batch_size(self, n: int) -> int:
        if self.batch_size == "auto":
            return min(200, n)
        if self.batch_size > n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=5
            )
        return int(min(self.batch_size, n))

    def _lowers_rate(self) -> bool:
        """Whether ``learning_rate`` counts: it does for sgd alone."""
        given = self.optimizer is not None or self.schedule is not None
        return self.solver == "sgd" and self.learning_rate != "constant" and not given

    def _seed(self) -> int:
        """Of what layers draw: the same for the same random_state."""
        return int(self.random_state) if isinstance(self.random_state, int | np.integer) else 0

    def _key(self, loss: PenalisedLoss, optimizer: Optimizer) -> Any:
        """What compiled steps are known by; None where functions of the user's own take part."""
        wanted = self.solver if self.optimizer is None else self.optimizer
        own_rate = self.schedule is not None and self.schedule.name == "function"
        if loss.loss.task == "own" or not isinstance(wanted, str) or own_rate:
            return None
        return repr(loss.loss), loss.alpha, wanted, self.nesterovs_momentum, repr(optimizer.settings), repr(self.clip)

    # ---- what is told -------------------------------------------------------------------------

    def _describe(self, target: Target, optimizer: Optimizer, X: Any) -> dict[str, Any]:
        """The settings of the run, as plain data."""
        loss: Loss = target.loss
        inner = optimizer.settings.get("optimizer")
        rule = inner if optimizer.name == "scaled" else {"name": optimizer.name, **optimizer.settings}
        return {
            "loss": loss.name, "task": loss.task, "logits": loss.logits, "loss_settings": dict(loss.settings),
            "optimizer": rule, "clip": None if self.clip is None else {"name": self.clip.name, **self.clip.settings},
            "epochs": self.max_iter, "batch_size": self.batch_size, "seed": self._seed(), "dtype": str(self._dtype),
            "validation": self.validation_fraction if self.early_stopping else None, "metrics": [],
            "n_examples": int(X.shape[0]), "alpha": float(self.alpha),
        }  # fmt: skip

    def _make_run(self, settings: dict[str, Any], stopped: str) -> Run:
        stopped = "finished" if stopped == "converged" else stopped
        recorder = getattr(self, "_recorder", None) if self.flow else None
        record = None if recorder is None else recorder.current()
        return Run(self.model_, self._history, [], settings, stopped, forward=FORWARD, record=record)

    @property
    def coefs_(self) -> list[Array]:
        """The weights W of each fully connected layer, (fan_in, fan_out)."""
        return self._arrays("W")

    @coefs_.setter
    def coefs_(self, arrays: list[Array]) -> None:
        self.model_ = put_arrays(self._fitted_model("coefs_"), "W", arrays)

    @property
    def intercepts_(self) -> list[Array]:
        """The biases b of each fully connected layer, (fan_out,)."""
        return self._arrays("b")

    @intercepts_.setter
    def intercepts_(self, arrays: list[Array]) -> None:
        self.model_ = put_arrays(self._fitted_model("intercepts_"), "b", arrays)

    def _arrays(self, name: str) -> list[Array]:
        attribute = "coefs_" if name == "W" else "intercepts_"
        layers = dense_layers(self._fitted_model(attribute))
        return LayerArrays([getattr(layer, name) for layer in layers], self, attribute)

    def _fitted_model(self, name: str) -> Any:
        if "model_" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}: it is not fitted yet.")
        return self.model_

    # ---- predicting ---------------------------------------------------------------------------

    def _outputs(self, X: Any) -> Array:
        """What the network gives for X (m, d): logits or values."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=FLOATS, reset=False)
        given, X = X.dtype, X.astype(self._dtype, copy=False)
        with threads_for(self.n_threads):
            if not issparse(X):
                outputs: Array = FORWARD(self.model_, np.ascontiguousarray(X))
                return outputs.astype(given, copy=False)
            X, rows = X.tocsr(), max(1, DENSE_BYTES // (X.shape[1] * X.dtype.itemsize))
            parts = [FORWARD(self.model_, X[at : at + rows].toarray()) for at in range(0, X.shape[0], rows)]
        return np.concatenate(parts).astype(given, copy=False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _read_weights(weights: Any, X: Any) -> Array | None:
    """Weights of the examples, (n,): finite, 0 or more, not all 0."""
    if weights is None:
        return None
    try:
        found = np.asarray(weights, X.dtype)
    except (TypeError, ValueError):
        raise DataError("sample_weight holds values that are no numbers. Give one number an example.") from None
    if found.ndim == 0:
        found = np.full(X.shape[0], found)
    if found.ndim != 1:
        raise DataError(f"sample_weight is {found.shape}. Sample weights must be 1D array or scalar.")
    if found.shape != (X.shape[0],):
        raise DataError(f"sample_weight.shape == {found.shape}, expected {(X.shape[0],)}! Give one weight an example.")
    if not np.isfinite(found).all() or (found < 0).any():
        raise DataError("sample_weight holds values that are negative or not finite. Give weights of 0 or more.")
    if not found.any():
        raise DataError("Sample weights must contain at least one non-zero number: all are zero.")
    return found


@contextmanager
def threads_for(n: int | None) -> Iterator[None]:
    """Use n threads within the block; None leaves it at what `undertow.set_threads` said."""
    before = threads._chosen
    if n is not None:
        threads.set_threads(int(n))
    try:
        yield
    finally:
        threads._chosen = before
