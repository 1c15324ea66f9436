"""What the batches of a loop of one's own hold: columns that are constant, and how often each class comes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow import trees
from undertow.flow.ends import MOVES
from undertow.flow.facts import measure_columns
from undertow.flow.program import are_classes
from undertow.graph import Graph, Node
from undertow.trace import is_array_like

Array = NDArray[Any]
PICKING: Final = ("getitem", "take", "take_along_axis", "one_hot", "equal")  # what reads numbers as names
CLASSES: Final = 50  # beyond which numbers are no names
TRIED: Final = 20  # rows of a class for which the answer is asked, and classes that may be answered
EVEN: Final = 1.5  # what one class counts by what another does, up to which both count the same


class Constant:
    """Which columns of the inputs have been the same in all batches so far, and whether batches differ at all."""

    def __init__(self) -> None:
        self.first: Array | None = None
        self.same: Array = np.zeros(0, bool)
        self.drawn = False  # whether batches differ
        self._last: Array | None = None

    def compare(self, args: Sequence[Any]) -> None:
        """Note whether a batch is another one than the last, by the first of its arrays."""
        first = next((x for x in trees.flatten(tuple(args))[0] if is_array_like(x) and np.ndim(x)), None)
        if not self.drawn and first is not None:
            self.drawn = self._last is not None and not np.array_equal(self._last, first)
            self._last = np.array(first)

    def add(self, X: Array | None) -> None:
        """Take in the inputs of a batch, (m, …); None where they are not known."""
        if X is None or not len(X):
            return
        rows = X.reshape(len(X), -1)
        if self.first is None:
            self.first, self.same = rows[0].astype(np.float64), np.ones(rows.shape[1], bool)
        elif rows.shape[1] != len(self.first):
            self.same = np.zeros_like(self.same)  # of sequences of different lengths
            return
        left = np.flatnonzero(self.same)
        if len(left):
            far = np.abs(rows[:, left] - self.first[left]) > 1e-6 * np.abs(self.first[left])
            self.same[left[far.any(axis=0)]] = False

    def told(self, X: Array) -> dict[str, Any]:
        """Measure the columns of the last batches, of which those are constant that have been so in all.

        Args:
            X: the inputs of the last batches, (m, n), floating.

        Returns:
            ``columns`` and ``n_features``, as of `undertow.train`.

        Source: derived here.

        Example:
            >>> made = Constant()
            >>> for X in (np.array([[1.0, 5.0], [2.0, 5.0]]), np.array([[3.0, 5.0]])):
            ...     made.add(X)
            >>> made.told(np.array([[3.0, 5.0], [3.0, 5.0]]))["columns"]["constant"]
            [1]
        """
        found = measure_columns(X, X)
        if len(self.same) == X.shape[1]:
            kept = [i for i in found["constant"] if self.same[i]]
            values = dict(zip(found["constant"], found["constant_values"], strict=True))
            found |= {
                "constant": kept,
                "n_constant": int(self.same.sum()),
                "constant_values": [values[i] for i in kept],
            }
        return {"columns": found, "n_features": X.shape[1]}


class Labels:
    """Counts how often each class comes, where the targets are classes.

    Attributes:
        place: that of the targets among the arrays of a batch; None where they are not known.
        picked: whether the loss reads them as names of classes.
    """

    def __init__(self) -> None:
        self.place: int | None = None
        self.picked = False
        self.counts: dict[int, int] = {}
        self.wide = 0  # the number of classes of rows (m, K)
        self.sure = True

    def read(self, graph: Graph, given: Sequence[Node], place: int | None, inputs: int | None) -> None:
        """Look in the program which array holds the targets, and how the loss reads them."""
        if place is None or place == inputs or not -len(given) <= place < len(given):
            return
        self.place, made = place, {given[place]}
        for node in graph.nodes:
            if not made.isdisjoint(node.inputs):
                name = getattr(node.op, "name", "")
                self.picked = self.picked or (name in PICKING and (name == "equal" or node.inputs[0] not in made))
                if name in MOVES:
                    made.add(node)

    def add(self, args: Sequence[Any]) -> None:
        """Take in the targets of a batch."""
        if not self.sure or (y := target_of(args, self.place)) is None:
            return
        names = self._names(y)
        if names is None:
            self.sure = False
            return
        for label, n in zip(*np.unique(names, return_counts=True), strict=True):
            self.counts[int(label)] = self.counts.get(int(label), 0) + int(n)
        self.sure = len(self.counts) <= CLASSES

    def _names(self, y: Array) -> Array | None:
        """The class of each row; None where the targets are none."""
        if y.ndim == 2 and y.shape[1] > 1:
            hard = y.dtype.kind in "fiub" and are_classes(y) and bool(np.isin(y, (0, 1)).all())
            self.wide = y.shape[1]
            return np.argmax(y, axis=1) if hard else None
        if y.ndim not in (1, 2) or y.dtype.kind not in "fiub":
            return None
        flat = y.ravel()
        if np.isin(flat, (-1, 0, 1)).all() and len(np.unique(flat)) <= 2:
            return flat.astype(np.int64)
        return flat.astype(np.int64) if self.picked and y.dtype.kind in "iu" and flat.min() >= 0 else None

    def told(self) -> dict[str, Any]:
        """Return the classes and how often each came, as ``facts["target"]`` of docs/flow.md.

        Returns:
            ``kind``, ``n_classes``, ``counts``, ``priors`` and ``given_as``; nothing where targets are no classes.

        Source: derived here.

        Example:
            >>> made = Labels()
            >>> made.place = 1
            >>> made.add((np.zeros((4, 2)), np.array([0.0, 1.0, 0.0, 0.0])))
            >>> made.told()["priors"]
            [0.75, 0.25]
        """
        if not self.sure or not self.counts or (len(self.counts) == 1 and not (self.wide or self.picked)):
            return {}
        labels = list(range(self.wide)) if self.wide else sorted(self.counts)
        counts = [self.counts.get(label, 0) for label in labels]
        priors = [n / sum(counts) for n in counts]
        return {"kind": "classes", "n_classes": len(labels), "counts": counts, "priors": priors, "given_as": labels}


def target_of(args: Sequence[Any], place: int | None) -> Array | None:
    """Return the targets of a batch; None where they are not known.

    Args:
        args: what a loss is given beside the parameters.
        place: that of the targets among its arrays.

    Returns:
        An array, or None.

    Source: derived here.
    """
    leaves = [x for x in trees.flatten(tuple(args))[0] if is_array_like(x)]
    if place is None or not -len(leaves) <= place < len(leaves) or not np.ndim(leaves[place]):
        return None
    return np.asarray(leaves[place])


def ask_rare(
    loss: Callable[..., Any],
    params: Any,
    batches: Collection[Sequence[Any]],
    place: int,
    told: dict[str, Any],
    rare: Sequence[int],
) -> dict[str, Any] | None:
    """Measure what a loop does for rare classes: whether its loss counts them more, and how often it knows them.

    With parameters of 0 most networks answer the same for all classes, so that the loss of a target tells what its
    class counts. For a row, that class is the answer for which the loss is lowest.

    Args:
        loss: a function (params, …) → one number.
        params: as they are now.
        batches: what else it was given, in the last calls.
        place: that of the targets among the arrays of a batch.
        told: what `Labels.told` returned.
        rare: the places of the rare classes among all.

    Returns:
        ``weighed``, and for each rare class, in ``found``, how many rows were asked and the share that was known; None
        where other arrays belong to the rows, which may be weights, or the loss cannot be computed for other targets.

    Source: derived here.
    """
    with suppress(Exception), np.errstate(all="ignore"):  # a user's function may ask more of targets than their shape
        common = int(np.argmax(told["counts"]))
        leaves = [x for x in trees.flatten(tuple(next(iter(batches))))[0] if is_array_like(x) and np.ndim(x)]
        if len(leaves) > 2 or told["n_classes"] > TRIED:
            return None
        zero = trees.map(lambda w: np.zeros_like(w) if is_array_like(w) else w, params)
        args = next(iter(batches))
        rows = np.arange(len(np.asarray(target_of(args, place))))
        losses = [float(loss(zero, *_put(args, place, rows, told, k))) for k in (rare[0], common)]
        if not np.isfinite(losses).all() or min(losses) <= 0:
            return None
        known: dict[int, tuple[int, float]] = {}
        for k in rare:
            hits = list(_answers(loss, params, batches, place, told, k))
            known[k] = len(hits), float(np.mean(hits)) if hits else 0.0
        return {"weighed": losses[0] / losses[1] > EVEN, "found": {str(k): list(x) for k, x in known.items()}}
    return None


def _answers(
    loss: Callable[..., Any], params: Any, batches: Collection[Sequence[Any]], place: int, told: dict[str, Any], k: int
) -> list[bool]:
    """For rows of a class, whether the loss is lowest for that class."""
    hits: list[bool] = []
    for args in batches:
        y = np.asarray(target_of(args, place))
        names = np.argmax(y, axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.ravel().astype(np.int64)
        for row in np.flatnonzero(names == told["given_as"][k])[: TRIED - len(hits)]:
            rows = np.array([row])
            losses = [float(loss(params, *_put(args, place, rows, told, i))) for i in range(told["n_classes"])]
            hits.append(int(np.argmin(losses)) == k)
    return hits


def _put(args: Sequence[Any], place: int, rows: Array, told: dict[str, Any], k: int) -> Any:
    """A batch in which some rows have another class."""
    leaves, rebuild = trees.flatten(tuple(args))
    at = [i for i, x in enumerate(leaves) if is_array_like(x)][place]
    y = np.array(leaves[at])
    y[rows] = np.eye(told["n_classes"], dtype=y.dtype)[k] if y.ndim == 2 and y.shape[1] > 1 else told["given_as"][k]
    return rebuild([y if i == at else x for i, x in enumerate(leaves)])
