"""A training that may be changed: model, data and settings, and what each kind of remedy makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.errors import ArgumentError, UndertowError
from undertow.flow import changes, widths
from undertow.flow.rules.written import lengthened
from undertow.nn import bias_from_frequencies, drop_final_activation, final_activation, initialize
from undertow.nn.from_data import start_near
from undertow.nn.structure import read_dtype
from undertow.optim import build_clip, build_optimizer
from undertow.optim.wrappers import describe_optimizer
from undertow.spelling import did_you_mean
from undertow.train.plan import Plan

Array = NDArray[Any]
LIMITS: Final = {"norm": "clip_by_global_norm", "value": "clip_by_value"}


@dataclass(frozen=True)
class Attempt:
    """A training to be made.

    Attributes:
        model: its parameters None, but for those that were given by hand.
        train: X, y and weights (or None) to train on.
        held: the same of the rows held out, or None.
        plan: the settings.
        unit: mean and deviation of the target where it was scaled: predictions are brought back by them.
        same_loss: whether the loss is that of the run.
        longer: by which factor the training is longer than the run.
        classes: whether the targets are classes.
    """

    model: Any
    train: tuple[Array, Array, Array | None]
    held: tuple[Array, Array, Array | None] | None
    plan: Plan
    unit: tuple[Array, Array] | None = None
    same_loss: bool = True
    longer: float = 1.0
    classes: bool = False

    def on(self, change: Callable[[Array], Array]) -> Attempt:
        """Change the inputs of all rows."""
        X, y, w = self.train
        held = None if self.held is None else (change(self.held[0]), *self.held[1:])
        return replace(self, train=(change(X), y, w), held=held)

    def with_plan(self, **settings: Any) -> Attempt:
        """Change settings."""
        return replace(self, plan=replace(self.plan, **settings))


Change = Callable[[Attempt, Mapping[str, Any]], Attempt]
CHANGES: Final[dict[str, Change]] = {}


def apply_change(attempt: Attempt, name: str, settings: Mapping[str, Any]) -> Attempt:
    """Change a training as a remedy says.

    Args:
        attempt: the training.
        name: of the change: ``"activation"``, ``"rate"``, …
        settings: its settings, as plain data; see `Remedy`.

    Returns:
        The changed training.

    Raises:
        ArgumentError: ``there is no change 'activaton'. …``; it cannot be made of this training.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense, Sequential
        >>> X, y = np.zeros((4, 2), np.float32), np.zeros(4, np.int64)
        >>> old = Attempt(Sequential(Dense(2, 3), "sigmoid", Dense(3, 2)), (X, y, None), None, Plan(loss="huber"))
        >>> apply_change(old, "activation", {"to": "relu"}).model
        Sequential(Dense(2, 3), relu, Dense(3, 2))
    """
    if name not in CHANGES:
        raise ArgumentError(
            f"there is no change {name!r}. {did_you_mean(name, CHANGES)}There are {', '.join(CHANGES)}."
        )
    try:
        return CHANGES[name](attempt, settings)
    except KeyError as error:
        raise ArgumentError(f"the change {name!r} says no {error}, only {dict(settings)}.") from None


def _enter(name: str) -> Callable[[Change], Change]:
    def enter(change: Change) -> Change:
        CHANGES[name] = change
        return change

    return enter


# ---- the model --------------------------------------------------------------------------------


@_enter("activation")
def _activation(a: Attempt, s: Mapping[str, Any]) -> Attempt:
    if s.get("where") == "output":
        return replace(a, model=changes.with_end(a.model, None if s["to"] in (None, "identity") else s["to"]))
    return replace(a, model=changes.with_activation(a.model, s["to"], s.get("from"), s.get("paths") or ()))


@_enter("initialisation")
def _initialisation(a: Attempt, s: Mapping[str, Any]) -> Attempt:
    if "output" in s:
        dtype = read_dtype(a.train[0].dtype if a.plan.dtype is None else a.plan.dtype)
        return replace(a, model=start_near(a.model, _best_constant(a), dtype=dtype))
    if "gains" in s:
        return replace(a, model=changes.with_gains(a.model))
    return replace(a, model=changes.with_initialisation(a.model, s.get("to", "auto"), s.get("paths") or ()))


def _best_constant(a: Attempt) -> Array:
    """The biases by which a model begins with what is known without inputs."""
    X, y, _ = a.train
    if a.classes:
        labels = y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else np.ravel(y).astype(np.int64)
        n_out = np.shape(initialize(a.model, 0, X.dtype)(X[:1]))[-1]
        return bias_from_frequencies(labels, n_out)
    return np.atleast_1d(np.asarray(y, np.float64).mean(axis=0))


@_enter("residual")
def _residual(a: Attempt, s: Mapping[str, Any]) -> Attempt:
    return replace(a, model=changes.with_residuals(a.model))


@_enter("normalisation")
def _normalisation(a: Attempt, s: Mapping[str, Any]) -> Attempt:
    return replace(a, model=changes.with_normalisation(a.model, s.get("to", "layer")))


@_enter("width")
def _width(a: Attempt, s: Mapping[str, Any]) -> Attempt:
    return replace(a, model=widths.with_width(a.model, int(s["least"])))


@_enter("dropout")
def _dropout(a: Attempt, s: Mapping[str, Any]) -> Attempt:
    return replace(a, model=changes.with_dropout(a.model, float(s.get("to", 0.2))))


# ---- the steps --------------------------------------------------------------------------------


@_enter("clipping")
def _clipping(a: Attempt, s: Mapping[str, Any]) -> Attempt:
    kind = "value" if "value" in s else "norm"
    limit = s.get(kind, s.get("limit", s.get("to")))
    if limit is None:
        if a.plan.clip is None:
            raise ArgumentError("nothing is clipped.")
        return a.with_plan(clip=None)
    return a.with_plan(clip=build_clip({"name": LIMITS[kind], "limit": float(limit)}))


@_enter("rate")
def _rate(a: Attempt, s: Mapping[str, Any]) -> Attempt:
    optimizer: Any = a.plan.optimizer
    settings = {"name": s["optimizer"]} if "optimizer" in s else describe_optimizer(optimizer)
    rate = settings.get("rate")
    if "optimizer" in s:
        settings |= {"rate": float(s["rate"])} if "rate" in s else {}
    elif "constant" in s:
        settings["rate"] = float(s["constant"])
    elif rate is None:
        raise ArgumentError(f"{optimizer!r} has no single learning rate.")
    else:
        settings["rate"] = _scaled_rate(rate, s)
    if "momentum" in s:
        settings["beta" if "beta" in settings else "beta1"] = float(s["momentum"])
    return a.with_plan(optimizer=build_optimizer(settings))


def _scaled_rate(rate: Any, s: Mapping[str, Any]) -> Any:
    """A rate, or a schedule, that is so many times larger, or whose largest is so large."""
    if isinstance(rate, Mapping):
        inner = rate.get("rate", rate.get("then"))
        if inner is None:
            raise ArgumentError(f"the schedule {rate.get('schedule')} has no single rate.")
        return {**rate, "rate" if "rate" in rate else "then": _scaled_rate(inner, s)}
    return float(s["to"]) if "to" in s else float(rate) * float(s.get("factor", 1.0))


@_enter("batch_size")
def _batch_size(a: Attempt, s: Mapping[str, Any]) -> Attempt:
    size = s["to"] if "to" in s else a.plan.batch_size * s["factor"]
    return a.with_plan(batch_size=max(int(size), 1))


@_enter("epochs")
def _epochs(a: Attempt, s: Mapping[str, Any]) -> Attempt:
    now = a.plan.epochs
    if now is None:
        raise ArgumentError("the training does not go by epochs.")
    wanted = int(s["to"] if "to" in s else now * s["factor"])
    optimizer: Any = a.plan.optimizer
    rate = optimizer.settings.get("rate")
    if isinstance(rate, Mapping):
        optimizer = build_optimizer({**describe_optimizer(optimizer), "rate": lengthened(rate, wanted / now)})
    return replace(a.with_plan(epochs=wanted, optimizer=optimizer), longer=wanted / now)


@_enter("early_stopping")
def _early_stopping(a: Attempt, s: Mapping[str, Any]) -> Attempt:
    return a.with_plan(early_stopping=int(s.get("patience", 5)))


@_enter("l2")
def _l2(a: Attempt, s: Mapping[str, Any]) -> Attempt:
    return a.with_plan(l2=float(s["to"]))


@_enter("regularisation")
def _regularisation(a: Attempt, s: Mapping[str, Any]) -> Attempt:
    for name in ("l1", "l2", "max_norm"):
        a = a.with_plan(**{name: float(s[name])}) if name in s else a
    if "decay" in s:
        optimizer: Any = a.plan.optimizer
        a = a.with_plan(optimizer=build_optimizer(_decaying(describe_optimizer(optimizer), float(s["decay"]))))
    if "label_smoothing" in s:
        loss: Any = a.plan.loss
        told = {"name": loss} if isinstance(loss, str) else loss
        if not isinstance(told, dict):
            told = {"name": loss.name, **loss.settings}
        a = replace(a.with_plan(loss={**told, "label_smoothing": float(s["label_smoothing"])}), same_loss=False)
    if "noise" in s:
        a = replace(a, model=changes.with_noise(a.model, "Noise", float(s["noise"])))
    if "dropout" not in s:
        return a
    try:
        return replace(a, model=changes.with_noise(a.model, "Dropout", float(s["dropout"])))
    except ArgumentError:
        return _dropout(a, {"to": s["dropout"]})


def _decaying(told: Mapping[str, Any], decay: float) -> dict[str, Any]:
    """An update rule with another weight decay, also within wrappers."""
    if isinstance(told.get("optimizer"), Mapping):
        return {**told, "optimizer": _decaying(told["optimizer"], decay)}
    return {**told, "decay": decay}


# ---- the data and the loss --------------------------------------------------------------------


@_enter("scaling")
def _scaling(a: Attempt, s: Mapping[str, Any]) -> Attempt:
    X = np.asarray(a.train[0], np.float64)
    mean, deviation = X.mean(axis=0), X.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    dtype = a.train[0].dtype
    return a.on(lambda X: ((np.asarray(X, np.float64) - mean) / deviation).astype(dtype))


@_enter("target_scaling")
def _target_scaling(a: Attempt, s: Mapping[str, Any]) -> Attempt:
    X, y, w = a.train
    if a.classes:
        raise ArgumentError("the target is a class, no number.")
    mean, deviation = (getattr(np.asarray(y, np.float64), name)(axis=0) for name in ("mean", "std"))
    deviation = np.where(deviation > 0, deviation, 1.0)
    scaled: Callable[[Array], Array] = lambda y: ((y - mean) / deviation).astype(X.dtype)  # noqa: E731
    held = None if a.held is None else (a.held[0], scaled(a.held[1]), a.held[2])
    return replace(a, train=(X, scaled(y), w), held=held, unit=(mean, deviation))


@_enter("loss")
def _loss(a: Attempt, s: Mapping[str, Any]) -> Attempt:
    if s.get("turn"):
        own: Any = a.plan.loss
        if getattr(own, "task", None) != "own":
            raise ArgumentError(f"the loss is {getattr(own, 'name', own)}, no function of your own.")
        return replace(a.with_plan(loss=lambda output, y: -own(output, y)), same_loss=False)
    to, model = s["to"], a.model
    end = final_activation(model)
    if "end" in s:
        model = changes.with_end(model, s["end"])
    elif end is not None and "cross_entropy" in str(to):
        wanted = "softmax" if str(to).startswith("categorical") else "sigmoid"
        model = model if end == wanted else drop_final_activation(model)
    return replace(a.with_plan(loss=to, metrics=None), model=model, same_loss=False)


@_enter("weights")
def _weights(a: Attempt, s: Mapping[str, Any]) -> Attempt:
    return a.with_plan(class_weights=s.get("to", "balanced"))


@_enter("data")
def _data(a: Attempt, s: Mapping[str, Any]) -> Attempt:
    if s.get("drop_constant"):
        X = a.train[0].reshape(len(a.train[0]), -1)
        kept = X.std(axis=0) > 0
        if X.shape == a.train[0].shape and (narrower := widths.with_inputs(a.model, int(kept.sum()))) is not None:
            return replace(a.on(lambda X: X[:, kept]), model=narrower)
        return a.on(lambda X: np.where(kept.reshape(X.shape[1:]), X, 0).astype(X.dtype))
    if s.get("drop_shared") and a.held is not None:
        seen = {row.tobytes() for row in np.ascontiguousarray(a.held[0])}
        left = np.array([row.tobytes() not in seen for row in np.ascontiguousarray(a.train[0])])
        if not left.any():
            raise ArgumentError("every row that is trained on is held out too.")
        X, y, w = a.train
        return replace(a, train=(X[left], y[left], None if w is None else w[left]))
    raise ArgumentError("it takes other data, or a look at them.")


def combine(attempt: Attempt, steps: Iterable[tuple[str, Mapping[str, Any]]]) -> Attempt:
    """Make several changes, one after the other; those that do not go together with the ones before are left out."""
    for name, settings in steps:
        try:
            attempt = apply_change(attempt, name, settings)
        except UndertowError:
            continue
    return attempt
