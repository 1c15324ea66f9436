"""What a loss is: its value for each example, the mean over them, and what it asks of data and model.

A loss is written as the function that gives one number an example. `loss` makes of it the public function
(output, y) → mean, and a record in ``LOSSES``. The mean, weighted or not, is taken in `average` alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from undertow import primitives as P
from undertow.errors import ArgumentError, DataError, ShapeError
from undertow.graph import show_shape
from undertow.nn.configured import Setting, read_settings
from undertow.spelling import offer
from undertow.trace import argument_names

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
        columns: of the output, for each column of the target.
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
    columns: int = 1

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
    columns: int = 1,
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
        columns: of the output, for each column of the target.
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
            return average(per_example(_as_floats(output), _as_array(y), **found), weights)

        function: Callable[..., Any]
        if argument_names(per_example, 1) == ["z"]:

            def function(z: Any = None, y: Any = None, *, weights: Any = None, **_settings: Any) -> Any:
                return apply(z, y, weights, _settings)
        else:

            def function(p: Any = None, y: Any = None, *, weights: Any = None, **_settings: Any) -> Any:
                return apply(p, y, weights, _settings)

        functools.update_wrapper(function, per_example, updated=())
        setattr(function, "known_settings", known)  # noqa: B010 (mypy knows no attributes of functions)
        LOSSES[name] = Loss(name, function, task, logits, {}, per_example, end, decision, advise, columns)
        return function

    return decorate


def _as_array(x: Any) -> Any:
    """A list or a column of a frame as an array; what can be computed with as it came."""
    return x if x is None or isinstance(x, P.Traced | np.ndarray | np.generic | int | float) else np.asarray(x)


def _as_floats(output: Any) -> Any:
    """Outputs that can be subtracted: differences of unsigned integers wrap around."""
    output = _as_array(output)
    whole = isinstance(output, np.ndarray | np.generic) and output.dtype.kind in "biu"
    return output.astype(np.float64) if whole else output


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
    return replace(base, function=function, settings=read, per_example=per_example)


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
