"""Above which probability one of two classes is decided for: of a rare one, half is seldom the right one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.data.wording import list_names, suggest_name
from undertow.errors import ArgumentError
from undertow.train.class_metrics import place_of_class, rare_class
from undertow.train.metric import Predictions


@dataclass(frozen=True)
class Threshold:
    """Where one of two classes is decided for.

    Args:
        place: of the class, 0 or 1.
        label: its name.
        value: the probability above which it is.

    Example:
        >>> Threshold(1, "yes", 0.2).decide(np.array([[0.7, 0.3], [0.8, 0.2]])).tolist()
        [1, 0]
    """

    place: int
    label: Any
    value: float

    def decide(self, probabilities: NDArray[Any]) -> NDArray[np.int64]:
        """The class numbers, (m,), of probabilities of both classes (m, 2), or of class 1, (m,) or (m, 1)."""
        p = probabilities
        if p.ndim == 1 or p.shape[1] == 1:
            p = np.ravel(p)
            p = p if self.place else 1 - p
        else:
            p = p[:, self.place]
        return np.where(p > self.value, self.place, 1 - self.place).astype(np.int64)

    def apply(self, found: Predictions) -> Predictions:
        """The same predictions with other classes decided on."""
        assert found.probabilities is not None
        return replace(found, labels=self.decide(found.probabilities))

    def tell(self) -> str:
        """Say what it does."""
        return f"{self.label!r} is predicted where its probability is above {self.value:g}."


def read_threshold(given: Any, run: Any, loss: Any, classes: Sequence[Any]) -> Threshold | None:
    """Read a threshold.

    Args:
        given: a probability, as a number or a text, of the rarer of two classes (see `rare_class`); ``"yes=0.2"`` or
            ``{"yes": 0.2}``; None for none.
        run: that predicts.
        loss: it was trained with.
        classes: their names, in order.

    Returns:
        The threshold, or None.

    Raises:
        ArgumentError: there are not two classes, or no probabilities of them; no such class; no probability.

    Source: derived here.

    Example:
        >>> from undertow.nn import LOSSES
        >>> from undertow.train import Run
        >>> read_threshold("yes=0.2", Run("a model"), LOSSES["categorical_cross_entropy"], ["no", "yes"])
        Threshold(place=1, label='yes', value=0.2)
    """
    if given is None or isinstance(given, Threshold):
        return given
    names = [str(label) for label in classes]
    if len(names) != 2:
        what = f"this run knows {len(names)} classes" if names else "this run predicts a number"
        raise ArgumentError(f"a threshold decides between two classes, but {what}. Leave it out.")
    if not loss.knows_probabilities:
        raise ArgumentError(
            f"a threshold is one of probabilities, but this run was trained with {loss.name}, which knows none. Train "
            "with categorical_cross_entropy."
        )
    label, number = _take_apart(given, names)
    if label is None:
        label = names[rare_class(run)]
    place = place_of_class(label, names)
    if place is None:
        raise ArgumentError(
            f"the threshold {_show(given)} names no class: {suggest_name(label, names)}. The classes are "
            f"{list_names(names)}. Write {names[1]}=0.2."
        )
    try:
        value = float(number)
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value <= 1 or isinstance(number, bool | np.bool_):
        raise ArgumentError(
            f"the threshold {_show(given)} is no probability. Give one from 0 to 1, such as 0.2, or {names[1]}=0.2."
        )
    return Threshold(place, classes[place], value)


def _take_apart(given: Any, names: Sequence[str]) -> tuple[str | None, Any]:
    """The class that is named, if one is, and its number."""
    if isinstance(given, Mapping):
        if len(given) != 1:
            raise ArgumentError(
                f"the threshold {_show(given)} names {len(given)} classes. Name one: {{{names[1]!r}: 0.2}}."
            )
        ((label, number),) = given.items()
        return str(label), number
    if isinstance(given, str) and "=" in given:
        label, _, number = given.rpartition("=")
        return label.strip(), number
    return None, given


def _show(given: Any) -> str:
    return str(given)[:60]
