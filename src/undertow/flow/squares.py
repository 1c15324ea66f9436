"""Targets of a loop of one's own whose loss is one of squares: their scale, and what is learned of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow import trees
from undertow.flow.facts import measure_numbers
from undertow.trace import is_array_like
from undertow.train.derive import Gradient

Array = NDArray[Any]
KEPT: Final = 200_000  # numbers of targets that are kept
LEAST: Final = 4  # targets of a batch
EXACT: Final = 1e-3  # part of the gradient's change that may be otherwise


class Squares:
    """Reads the targets and outputs of a loss that is c/2 Σ (f − y)², whatever else is added that y has no part in.

    Such a loss is known by its gradient by the targets, c (y − f): it changes by c d where y changes by d, and tells f.

    Attributes:
        place: that of the targets among the arrays of a batch; None where the loss is none of squares.
        output_rms: root mean square of the outputs in the first batch.
    """

    def __init__(self, loss: Callable[..., Any]) -> None:
        self.loss = loss
        self.place: int | None = None
        self.output_rms = 0.0
        self._at, self._kept, self._size = 0, list[Array](), 0

    def read(self, params: Any, args: Sequence[Any], place: int | None) -> None:
        """Look in the first batch whether the loss is one of squares.

        Args:
            params: the parameters.
            args: what else the loss is given.
            place: that of the targets, see `undertow.flow.program.find_targets`.
        """
        self.place = place
        y = None if (given := self.targets(args)) is None else np.asarray(given)
        if y is None or y.dtype.kind != "f" or y.size < LEAST or not np.isfinite(y).all():
            self.place = None
            return
        with suppress(Exception), np.errstate(all="ignore"):  # a user's function may ask more of targets
            found = self._outputs(self._gradient(), params, args, y)
            if found is not None:
                self.output_rms = float(np.sqrt(np.mean(np.square(found))))
                return
        self.place = None

    def add(self, args: Sequence[Any]) -> None:
        """Keep the targets of a batch."""
        y = None if self.place is None or self._size > KEPT else self.targets(args)
        if y is not None and (not self._kept or np.shape(y)[1:] == self._kept[0].shape[1:]):
            rows = max(KEPT // max(np.size(y[:1]), 1), 1)
            self._kept.append(np.array(y[:rows], np.float64))
            self._size += self._kept[-1].size

    def told(self, params: Any, batches: Iterable[Sequence[Any]]) -> dict[str, Any]:
        """Measure the targets, and what is learned of them.

        Args:
            params: as they are now.
            batches: what else the loss was given, in the last calls.

        Returns:
            ``mean``, ``std``, ``largest``, ``least``, ``most`` and ``far`` as of the targets of `undertow.train`, the
            ``output_rms`` in the first batch, and the share of the last targets' variance that is ``learned``; nothing
            where the loss is none of squares.

        Source: derived here.

        Example:
            >>> X, y = np.arange(8.0)[:, None], 100 + np.arange(8.0)
            >>> squares = Squares(lambda w, X, y: np.mean((X[:, 0] * w - y) ** 2))
            >>> squares.read(1.0, (X, y), 1)
            >>> squares.add((X, y))
            >>> found = squares.told(1.0, [(X, y)])
            >>> found["mean"], round(found["output_rms"] ** 2, 6), found["learned"] < 0
            ([103.5], 17.5, True)
        """
        if self.place is None or not self._kept:
            return {}
        y = np.concatenate([x.reshape(len(x), -1) for x in self._kept])
        left = whole = 0.0
        gradient = self._gradient()
        with suppress(Exception), np.errstate(all="ignore"):
            for args in batches:
                if (given := self.targets(args)) is None:
                    return {}
                targets = np.asarray(given, np.float64)
                outputs = self._outputs(gradient, params, args, targets)
                if outputs is None and not all(
                    np.isfinite(x).all() for x in trees.flatten(params)[0] if is_array_like(x)
                ):
                    left, whole = 1.0, 1.0  # it has diverged, and knows nothing
                    break
                if outputs is None:
                    return {}
                left += float(np.sum((targets - outputs) ** 2))
                whole += float(np.sum((targets.reshape(len(targets), -1) - y.mean(axis=0)) ** 2))
        learned = 1 - left / whole if whole > 0 else 1.0
        return {**measure_numbers(y), "output_rms": self.output_rms, "learned": learned}

    def targets(self, args: Sequence[Any]) -> Any:
        """Return the targets of a batch as they were given; None where the loss is none of squares.

        Args:
            args: what the loss is given beside the parameters.

        Returns:
            An array, or None.

        Source: derived here.
        """
        leaves, _ = trees.flatten(tuple(args))
        places = [i for i, x in enumerate(leaves) if is_array_like(x)]
        if self.place is None or not -len(places) <= self.place < len(places):
            return None
        self._at = places[self.place]
        return leaves[self._at] if np.size(leaves[self._at]) and np.ndim(leaves[self._at]) else None

    def _gradient(self) -> Gradient:
        """The gradient by the targets, of the loss as it is now: what it reads from outside may have changed."""
        return Gradient(lambda y, given, _: self.loss(given[0], *_put(given[1], self._at, y)))

    def _outputs(self, gradient: Gradient, params: Any, args: Sequence[Any], y: Array) -> Array | None:
        """The outputs for a batch; None where the loss is none of squares."""
        wide = y.astype(np.float64)
        moved = np.random.default_rng(0).standard_normal(y.shape) * (wide.std() or 1.0)
        given = params, tuple(args)
        here, there = (np.asarray(gradient(x, given, ())[1], np.float64) for x in (wide, wide + moved))
        change = there - here
        c = float(np.vdot(change, moved) / np.vdot(moved, moved))
        if not c > 0 or np.linalg.norm(change - c * moved) > EXACT * np.linalg.norm(change):
            return None
        return wide - here / c


def _put(args: Sequence[Any], at: int, y: Any) -> Any:
    """What a loss is given, with other targets."""
    leaves, rebuild = trees.flatten(args)
    return rebuild([y if i == at else x for i, x in enumerate(leaves)])
