"""What a loss is: its value for each example, the mean over them, and what it asks of data and model.

A loss is written as the function that gives one number an example. `loss` makes of it the public function
(output, y) → mean, and a record in ``LOSSES``. The mean, weighted or not, is taken in `average` alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from undertow import primitives as P
from undertow.errors import ArgumentError, DataError, ShapeError
from undertow.graph import show_shape
from undertow.nn.configured import Setting, read_settings
from undertow.spelling import offer
from undertow.trace import argument_names

_ROUNDED = 8  # units of the last place by which sums and quotients of a few numbers may be off

PerExample = Callable[..., Any]


@dataclass(frozen=True, repr=False)
class Loss:
    """A loss and what it asks of the data and of the model's end; callable as ``loss(output, y, weights=None)``.

    Attributes:
        name: its name, or that of the user's function.
        function: ``function(output, y)`` → one number; those of ``LOSSES`` take ``weights=`` too.
        task: ``"regression"``, ``"binary"``, ``"categorical"``, or ``"own"`` for a user's function.
        logits: the model's output is z, not p.
        settings: those that were given, plain data.
        per_example: ``per_example(output, y)`` → (m,); None for a user's function.
        end: the activation that makes p of z, for losses that go with one; None for others.
        decision: ``decision(outputs, settings)`` → predictions, where the task does not say it.
        advise: ``advise(settings, end)`` → what is odd about a model that ends in this activation, or None.
    """

    name: str
    function: Callable[..., Any]
    task: str
    logits: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    per_example: PerExample | None = None
    end: str | None = None
    decision: Callable[[Any, Mapping[str, Any]], Any] | None = None
    advise: Callable[[Mapping[str, Any], str], str | None] | None = None

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={value!r}' for key, value in self.settings.items())})"

    def __call__(self, output: Any, y: Any, weights: Any = None) -> Any:
        """Compute the mean loss of outputs, weighted if there are weights (m,)."""
        return self.function(output, y) if weights is None else self.function(output, y, weights=weights)

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Copy and pickle a built-in loss by its description: its functions are made by a decorator."""
        known = LOSSES.get(self.name)
        if known is None or known.task != self.task:
            return super().__reduce__()
        return find_record, (self.describe(),)

    @property
    def knows_probabilities(self) -> bool:
        """Whether the outputs are probabilities of classes, or logits of them."""
        return self.end is not None

    def on_logits(self) -> Loss:
        """Return the same loss of z instead of p; itself if it is one of z, or of neither."""
        if self.logits or self.end is None:
            return self
        return configure(LOSSES[f"{self.name}_with_logits"], self.settings)

    def decide(self, outputs: Any) -> Any:
        """Make predictions of outputs: labels for classes, else values in the units of y."""
        if self.decision is not None:
            return self.decision(outputs, self.settings)
        if self.task == "categorical":
            return np.argmax(outputs, axis=1)
        if self.task == "binary":
            labels = (outputs > (0 if self.logits else 0.5)).astype(np.int64)
            return labels[:, 0] if labels.shape[1:] == (1,) else labels
        return outputs

    def describe(self) -> dict[str, Any]:
        """Describe the loss as plain data for JSON: ``{"name": "huber", "delta": 2.0}``."""
        return {"name": self.name, **self.settings}


LOSSES: Final[dict[str, Loss]] = {}


def loss(
    task: str,
    *,
    logits: bool = False,
    end: str | None = None,
    decision: Callable[[Any, Mapping[str, Any]], Any] | None = None,
    advise: Callable[[Mapping[str, Any], str], str | None] | None = None,
    **known: Setting,
) -> Callable[[PerExample], Callable[..., Any]]:
    """Make a public loss of a function of its values for each example, and enter it into ``LOSSES``.

    The function made takes (output, y, weights=None) and the settings by name, and returns the mean. With
    settings alone, ``huber(delta=2.0)``, it returns a `Loss` that has them.

    Args:
        task: see `Loss`; so are logits, end, decision and advise.
        logits: the first argument is z.
        end: the activation that makes p of z.
        decision: how predictions are made of outputs.
        advise: what is odd about the end of a model.
        known: what each setting may be.

    Returns:
        A decorator.

    Source: derived here.

    Example:
        >>> LOSSES["huber"].task, LOSSES["huber"].per_example(np.array([3.0]), np.array([0.0]))
        ('regression', array([2.5]))
    """

    def decorate(per_example: PerExample) -> Callable[..., Any]:
        name = per_example.__name__

        def apply(output: Any, y: Any, weights: Any, settings: dict[str, Any]) -> Any:
            if output is None and y is None and weights is None:
                return configure(LOSSES[name], settings)
            if y is None or output is None:
                given = f"; a setting is given by name: {name}({next(iter(known))}=…)" if known else ""
                raise ArgumentError(f"{name} is called with one array alone. Give the output and the target{given}.")
            found = read_settings(name, known, settings)
            return average(per_example(_as_array(output), _as_array(y), **found), weights)

        function: Callable[..., Any]
        if argument_names(per_example, 1) == ["z"]:

            def function(z: Any = None, y: Any = None, *, weights: Any = None, **_settings: Any) -> Any:
                return apply(z, y, weights, _settings)
        else:

            def function(p: Any = None, y: Any = None, *, weights: Any = None, **_settings: Any) -> Any:
                return apply(p, y, weights, _settings)

        functools.update_wrapper(function, per_example, updated=())
        setattr(function, "known_settings", known)  # noqa: B010 (mypy knows no attributes of functions)
        LOSSES[name] = Loss(name, function, task, logits, {}, per_example, end, decision, advise)
        return function

    return decorate


def _as_array(x: Any) -> Any:
    """A list or a column of a frame as an array; what can be computed with as it came."""
    return x if x is None or isinstance(x, P.Traced | np.ndarray | np.generic | int | float) else np.asarray(x)


def configure(found: Loss, settings: Mapping[str, Any]) -> Loss:
    """Return a loss of ``LOSSES`` with settings.

    Args:
        found: the loss.
        settings: by name.

    Returns:
        The loss that has them; itself if there are none.

    Raises:
        ArgumentError: ``huber has no setting 'd'. It has delta.``, ``huber: delta is -1. Give a number above 0.``

    Source: derived here.

    Example:
        >>> configure(LOSSES["huber"], {"delta": 2}).describe()
        {'name': 'huber', 'delta': 2}
    """
    base = LOSSES[found.name]
    read = read_settings(found.name, getattr(base.function, "known_settings", {}), settings)
    if not read:
        return base
    function = functools.partial(base.function, **read)
    functools.update_wrapper(function, base.function)
    per_example = functools.partial(base.per_example, **read) if base.per_example else None
    return Loss(base.name, function, base.task, base.logits, read, per_example, base.end, base.decision, base.advise)


def average(e: Any, weights: Any = None) -> Any:
    """Take the mean over the batch, or the weighted mean Σ w e / Σ w.

    Args:
        e: the loss of each example, (m,).
        weights: 0 or more for each example, (m,), or None.

    Returns:
        One number of the dtype of e.

    Raises:
        ShapeError: ``weights is (3, 1), but e is (3,). …``
        DataError: ``weights holds -1.0. …``, or their sum is 0.

    Source: derived here.

    Example:
        >>> average(np.array([1.0, 4.0])), average(np.array([1.0, 4.0]), np.array([2, 1]))
        (np.float64(2.5), np.float64(2.0))
    """
    if weights is None:
        return np.mean(e)
    if not isinstance(weights, P.Traced):
        weights = np.asarray(weights)
    if P.shape_of(weights) != P.shape_of(e):
        raise ShapeError(
            f"weights is {show_shape(P.shape_of(weights))}, but there are the losses {show_shape(P.shape_of(e))}. "
            "Give one weight for each example, in one axis."
        )
    if not isinstance(weights, P.Traced):
        wrong = ~(weights >= 0) | ~np.isfinite(weights)
        if wrong.any():
            raise DataError(f"weights holds {weights[wrong][0]}. Give numbers of 0 or more.")
        if weights.size and not weights.any():
            raise DataError("weights are all 0, and 0/0 is no mean. Give at least one example a weight.")
    w = weights.astype(P.dtype_of(e))
    return np.sum(w * e) / np.sum(w)


def sum_columns(e: Any) -> Any:
    """Sum what is not the batch axis.

    Args:
        e: (m, …).

    Returns:
        (m,).

    Source: derived here.

    Example:
        >>> sum_columns(np.ones((2, 3)))
        array([3., 3.])
    """
    axes = tuple(range(1, len(P.shape_of(e))))
    return np.sum(e, axis=axes) if axes else e


def check_same(name: str, what: str, p: Any, y: Any) -> None:
    """Refuse an output and a target of two shapes, which would broadcast.

    Args:
        name: of the loss.
        what: the output is called: ``"p"``, ``"z"``.
        p: the output.
        y: the target.

    Raises:
        ShapeError: ``huber: p is (3, 1), y is (3,): they would broadcast to something else. Give y[:, None], …``

    Source: derived here.

    Example:
        >>> check_same("huber", "p", np.zeros(3), np.zeros(3))
    """
    a, b = P.shape_of(p), P.shape_of(y)
    if a == b and a:
        return
    if len(a) == 2 and a[1] == 1 and len(b) == 1:
        remedy = "Give y[:, None], or a model output with its last axis removed."
    elif len(b) == 2 and b[1] == 1 and len(a) == 1:
        remedy = "Give y[:, 0]."
    else:
        remedy = f"Give y the shape of {what}, with a batch axis first."
    raise ShapeError(
        f"{name}: {what} is {show_shape(a)}, y is {show_shape(b)}: they would broadcast to something else. {remedy}"
    )


def check_target(name: str, y: Any, accepts: Callable[[Any], Any], wanted: str) -> None:
    """Refuse targets that a loss cannot have; a traced target is checked before tracing.

    Args:
        name: of the loss.
        y: the target.
        accepts: which elements of an array are right.
        wanted: what the target holds, and the remedy.

    Raises:
        DataError: ``poisson: y holds -1.0, but …``

    Source: derived here.

    Example:
        >>> check_target("poisson", np.ones(3), lambda y: y >= 0, "counts are 0 or more.")
    """
    if isinstance(y, P.Traced):
        return
    wrong = ~np.asarray(accepts(np.asarray(y)))
    if wrong.any():
        raise DataError(f"{name}: y holds {np.asarray(y)[wrong][0]}, but {wanted}")


def check_probabilities(name: str, y: Any) -> None:
    """Refuse targets outside of [0, 1].

    Args:
        name: of the loss.
        y: the target.

    Raises:
        DataError: ``binary_cross_entropy: y holds 2, but targets are 0, 1 or a probability. …``

    Source: derived here.

    Example:
        >>> check_probabilities("binary_cross_entropy", np.array([0, 1]))
    """
    remedy = "targets are 0, 1 or a probability. Give the classes as 0 and 1."
    check_target(name, y, lambda y: (y >= 0) & (y <= 1), remedy)


def read_probabilities(name: str, p: Any) -> Any:
    """Refuse outputs that are no probabilities, whose logarithm would be no number; traced ones are not looked at.

    Args:
        name: of the loss, which has another one of logits.
        p: the output; NaN is let through, as the loss of a training that diverged.

    Returns:
        p. 0 and 1, and what is less than 8 units of float32's last place beyond them, count as the nearest number
        between them, since rounding makes these of a p that is: the loss stays finite, and 0 · log 0 does not come up.

    Raises:
        DataError: ``categorical_cross_entropy: p holds -1.5, but probabilities are 0 to 1. If these are logits, …``

    Source: derived here.

    Example:
        >>> read_probabilities("binary_cross_entropy", np.array([0.0, 0.5, 1.0]))
        array([2.22507386e-308, 5.00000000e-001, 1.00000000e+000])
    """
    if isinstance(p, P.Traced):
        return p
    p = np.asarray(p)
    if p.dtype.kind not in "fc":
        p = p.astype(np.float64)
    limits, size = np.finfo(p.dtype), p.real
    off = _ROUNDED * max(limits.eps, np.finfo(np.float32).eps)  # float64 may hold what float32 has computed
    wrong = (size < -off) | (size > 1 + off)
    if wrong.any():
        found = size[wrong][0]
        shown = f"{found:g}" if f"{found:g}" not in ("0", "1") else repr(float(found))
        other = f"{name}_with_logits"
        raise DataError(f"{name}: p holds {shown}, but probabilities are 0 to 1. If these are logits, use {other}.")
    return p if p.dtype.kind == "c" else np.clip(p, limits.tiny, 1 - limits.epsneg)


def read_classes(name: str, what: str, p: Any, y: Any) -> Any:
    """Make rows of probabilities of a target of classes, after checking it.

    Args:
        name: of the loss.
        what: the output is called: ``"p"``, ``"z"``.
        p: the output, (m, K).
        y: rows, (m, K), or integer labels, (m,).

    Returns:
        (m, K).

    Raises:
        ShapeError: p and y do not go together.
        DataError: ``categorical_cross_entropy: y holds the label 4, but p has 4 classes, 0 to 3.``

    Source: derived here.

    Example:
        >>> read_classes("categorical_hinge", "z", np.zeros((1, 2)), np.array([1]))
        array([[0., 1.]])
    """
    a, b = P.shape_of(p), P.shape_of(y)
    if len(a) != 2:
        raise ShapeError(f"{name}: {what} is {show_shape(a)}. Give it a row an example and a column a class.")
    if len(b) == 1 and P.dtype_of(y).kind in "iub":
        if a[0] != b[0]:
            raise ShapeError(f"{name}: {what} is {show_shape(a)}, y is {show_shape(b)}. Give one label for each row.")
        return _one_hot(name, what, y, a[1], P.dtype_of(p))
    if a != b:
        raise ShapeError(
            f"{name}: {what} is {show_shape(a)}, y is {show_shape(b)}. Give y one column for each of the "
            f"{a[1]} classes (one-hot), or integer labels of one axis."
        )
    return y


def _one_hot(name: str, what: str, y: Any, n_classes: Any, dtype: np.dtype[Any]) -> Any:
    """Labels (m,) as one-hot rows (m, n_classes)."""
    if not isinstance(y, P.Traced):
        y = np.asarray(y)
        outside = (y < 0) | (y >= n_classes)
        if outside.any():
            raise DataError(
                f"{name}: y holds the label {y[outside][0]}, but {what} has {n_classes} classes, 0 to {n_classes - 1}."
                + (" An example that is to be left out has the weight 0." if y[outside][0] < 0 else "")
            )
        y = y.astype(np.int64)
    return P.one_hot(y, n_classes, dtype)


def find_record(loss: Any) -> Loss | None:
    """Find a built-in loss by name, function, record or description.

    Args:
        loss: ``"huber"``, ``huber``, ``huber(delta=2.0)`` or ``{"name": "huber", "delta": 2.0}``.

    Returns:
        The loss, or None where it is a function of the user's own.

    Raises:
        ArgumentError: ``there is no loss 'mse'. …``, or settings that it has not.

    Source: derived here.

    Example:
        >>> find_record({"name": "huber", "delta": 2.0}).settings
        {'delta': 2.0}
    """
    if isinstance(loss, Loss):
        return loss
    if callable(loss):
        return next((record for record in LOSSES.values() if record.function is loss), None)
    name, settings = loss, {}
    if isinstance(loss, Mapping):
        name, settings = loss.get("name"), {key: value for key, value in loss.items() if key != "name"}
    if not isinstance(name, str) or name not in LOSSES:
        raise ArgumentError(f"there is no loss {name!r}. {offer(name, LOSSES)}, or a function of (output, y).")
    return configure(LOSSES[name], settings)
