"""What can be seen of a trained network without any rule: is it broken, is it healthy, what else is plainly so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from benchmarks.diagnosis.case import Case

from undertow import nn
from undertow.errors import UndertowError
from undertow.train import Diverged, Run, train

CLEAR, FAINT = 1.5, 1.15  # the loss on rows held out, at the end by its least beyond luck: over-fitting
DEAD, SOME_DEAD = 0.25, 0.05  # the share of dead units in a layer
RARE, NEGLECTED = 0.1, 0.1  # a class by the commonest; how much more rarely it is found than the others
RELUS = (nn.relu, nn.relu6)


def fit(arguments: dict[str, Any], flow: bool = False) -> Run:
    """Train, and return the run also where it diverged."""
    try:
        return train(**arguments, flow=flow)
    except Diverged as error:
        assert error.run is not None
        return error.run


def held_out(run: Run, arguments: dict[str, Any]) -> tuple[Any, Any]:
    """The rows by which a training is judged: those held out, else those trained on."""
    from undertow.data import split

    X, y = arguments["data"]
    given = arguments.get("validation", 0.1)
    if isinstance(given, tuple):
        return given
    labels = y if run.settings.get("task") in ("binary", "categorical") and np.ndim(y) == 1 else None
    _, rows = split(len(X), given, run.settings["seed"], labels)
    return (X[rows], y[rows]) if len(rows) else (X, y)


def score(run: Run, arguments: dict[str, Any]) -> float:
    """The share of right answers, or of the variance that is explained (at least −1); −1 where it diverged."""
    if run.stopped == "diverged":
        return -1.0
    X, y = held_out(run, arguments)
    try:
        outputs = np.asarray(run.outputs(X), np.float64)
    except UndertowError:
        return -1.0
    if y.ndim == 1 and y.dtype.kind == "i":
        labels = outputs.argmax(axis=1) if outputs.ndim == 2 and outputs.shape[1] > 1 else run.predict(X)
        return float(np.mean(np.ravel(labels) == y))
    if y.ndim == 2 and set(np.unique(y)) == {0.0, 1.0} and (y.sum(axis=1) == 1).all():
        return float(np.mean(outputs.argmax(axis=1) == y.argmax(axis=1)))
    y = np.asarray(y, np.float64).reshape(outputs.shape)
    spread = float(np.mean((y - y.mean(axis=0)) ** 2))
    error = float(np.mean((outputs - y) ** 2))
    return max(1 - error / spread, -1.0) if math.isfinite(error) else -1.0


def start(arguments: dict[str, Any]) -> float:
    """The loss before training."""
    model = nn.initialize(arguments["model"], arguments.get("seed", 0), arguments["data"][0].dtype)
    loss = nn.find_loss(arguments["loss"], model)
    X, y = arguments["data"]
    outputs = np.asarray(model(X))
    return float(loss(outputs, y.reshape(outputs.shape) if outputs.shape[-1] == 1 and y.ndim == 1 else y))


def is_broken(case: Case, run: Run) -> bool:
    """Whether a network does worse than its healthy twin, where it is meant to."""
    if case.worse == "start":
        return start(case.train_arguments()) > 1.5 * start(case.twin_arguments())
    if case.worse in ("", "seen"):
        return True
    own, twin = case.train_arguments(), case.twin_arguments()
    other = fit(twin)
    if score(run, own) < score(other, twin) - 0.03:
        return True
    same = all(name not in case.twin for name in ("loss", "data"))
    return same and _last(run) > 1.3 * _last(other)


def _last(run: Run) -> float:
    """The loss of the last epoch, on rows held out if there are any."""
    row = run.history[-1] if run.history else {"loss": math.inf}
    return float(row.get("validation_loss", row["loss"]))


def observe(case: Case, run: Run) -> tuple[set[str], set[str]]:
    """The kinds that are plainly so in a trained network, and those that are so a little.

    A network of the first is not healthy, whatever was intended; neither is a false alarm.
    """
    clear, faint = set[str](), set[str]()
    note = lambda kind, value, low, high: (clear if value >= high else faint if value >= low else set()).add(kind)  # noqa: E731
    losses = [row.get("validation_loss", math.nan) for row in run.history]
    if len(losses) > 2 and not np.isnan(losses).any():
        best = int(np.argmin(losses))
        least = max(losses[best] + lucky(losses), 1e-9)
        end = float(np.mean(losses[-max(len(losses) // 5, 1) :]))
        learns_on = run.history[-1]["loss"] < 0.9 * run.history[best]["loss"]
        early = "early_stopping" in case.settings
        note("over-fitting", end / least if learns_on and not early else 0.0, FAINT, CLEAR)
    if run.stopped != "diverged":
        note("dead-units", _dead_share(run, case.data[0]), SOME_DEAD, DEAD)
        if case.healthy and score(run, case.train_arguments()) < _chance(case) + 0.2:
            clear.add("plateau")
        if "imbalanced-classes" in case.must and neglects_classes(run, case):
            clear.add("imbalanced-classes")
    else:
        clear |= {"non-finite", "step-too-large"} if case.healthy else set()
    return clear, faint


def neglects_classes(run: Run, case: Case) -> bool:
    """Whether rare classes are found more rarely than the others, on rows held out that hold enough of each."""
    X, y = held_out(run, case.train_arguments())
    trained = np.bincount(case.data[1], minlength=int(y.max()) + 1)
    outputs = np.asarray(run.outputs(X), np.float64)
    labels = outputs.argmax(axis=1) if outputs.shape[1] > 1 else np.ravel(run.predict(X))
    found = np.array([np.mean(labels[y == k] == k) for k in range(len(trained))])
    rare = trained < RARE * trained.max()
    return bool(found[rare].min() < found[~rare].mean() - NEGLECTED)


def lucky(losses: list[float]) -> float:
    """By how much the least of so many losses lies below the others by luck, which is no sign of over-fitting.

    The least of n numbers with normal noise lies √(2 ln n) deviations below their mean; the deviation is read from
    second differences, which hold √6 of it and nothing of a trend.
    """
    deviation = float(np.median(np.abs(np.diff(losses, 2)))) / (0.6745 * math.sqrt(6))
    return deviation * math.sqrt(2 * math.log(len(losses)))


def _chance(case: Case) -> float:
    """The score of the best constant answer."""
    y = case.data[1]
    return float(np.bincount(y).max() / len(y)) if y.dtype.kind == "i" else 0.0


def _dead_share(run: Run, X: Any) -> float:
    """The largest share, in any layer, of relu units that give 0 for every row."""
    dtype = run.settings["dtype"]
    with nn.training(nn.example_keys(0, 0, len(X)), observe=True) as made, np.errstate(all="ignore"):
        run.model(np.asarray(X, dtype))
    from undertow.flow.layers import walk

    items = dict(walk(run.model))
    shares = [np.mean(np.all(h == 0, axis=0)) for path, h in made.seen or () if any(items[path] is f for f in RELUS)]
    return float(max(shares, default=0.0))
