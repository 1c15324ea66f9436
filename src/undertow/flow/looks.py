"""A closer look at a network at a chosen step: histograms, dead and saturated units, ranks, the gradient's noise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow import trees
from undertow.flow.layers import FlowLayer, first_calls, walk
from undertow.flow.products import KIND
from undertow.flow.record import FLAT, RELUS, Look
from undertow.graph import evaluate
from undertow.nn import Dropout, Noise, Sequential
from undertow.nn.mode import call_inner, example_keys, training
from undertow.trace import is_array_like
from undertow.train.derive import Gradient, number_paths, numbers_of, take_rows

Array = NDArray[Any]
N_EXAMPLES: Final = 256  # that are looked at
FIRST_MARK: Final = 50  # steps before the first look within a training
N_RANK: Final = 128  # of them whose rank is measured
N_DIRECTIONS: Final = 128  # in which a unit may look at random
N_NOISE: Final = 16  # of them whose gradients are taken one by one
N_PASS: Final = 20_000  # over which a unit must give nothing but 0 to be dead
BINS: Final = 40
N_BINNED: Final = 20_000  # numbers that go into a histogram
N_LISTED: Final = 50  # dead units that are listed
LONGEST: Final = 10_000  # operations that this takes
LARGEST: Final = 30_000_000  # numbers of gradients that are computed one by one


def due_mark(last: int, step: int) -> int | None:
    """Return the latest of the marks 50, 150, 500, 1500, … between two steps, at which a look is due; None without.

    Example:
        >>> [due_mark(step - 25, step) for step in (25, 50, 75, 150, 175, 500)]
        [None, 50, None, 150, None, 500]
    """
    mark, found = FIRST_MARK, None
    while mark <= step:
        found = mark if mark > last else None
        mark = 3 * mark if str(mark)[0] == "5" else mark // 3 * 10
    return found


def is_round(mark: int | None) -> bool:
    """Tell whether the noise of the gradient is measured at a mark as well: 50, 500, 5000, …"""
    return mark is not None and str(mark)[0] == "5"


def take_look(
    gradient: Gradient, layers: Sequence[FlowLayer], model: Any, X: Array, target: Any, *, step: int, epoch: int,
    whole: Array | None = None, noise: bool = True, inputs: int | None = None,
    given: Mapping[str, Any] | None = None,
) -> Look:  # fmt: skip
    """Look at a network as it is now.

    Args:
        gradient: of the training, observing.
        layers: what to look at.
        model: with its parameters.
        X: examples, (m, …).
        target: what else belongs to them.
        step: how many steps were done.
        epoch: the number of the epoch.
        whole: all training examples, on which units that give 0 are tried again; None for no more than X.
        noise: whether to measure the noise of the gradient.
        inputs: which of several arrays X holds the inputs; None for the first one.
        given: what layers are given, by their paths, where that is not what the one before gives.

    Returns:
        The look.

    Source: derived here; noise scale: McCandlish et al. 2018, eq. 2.8 and appendix A.1; effective rank: Roy and
        Vetterli 2007.
    """
    leaves, rebuild = trees.flatten(model)
    paths = number_paths(model)
    with np.errstate(all="ignore"):
        outcome = gradient.of_leaves(leaves, rebuild, X, target)
        numbers = dict(zip(paths, numbers_of(leaves), strict=True))
        grads = {paths[i]: np.asarray(g) for i, g in outcome.grads.items()}
        arrays = [x for x in trees.flatten(X)[0] if is_array_like(x)]
        first = arrays[inputs] if inputs is not None else next((x for x in arrays if np.ndim(x)), np.zeros((1, 1)))
        entering: Any = units_of(first)
        before: float | None = effective_rank(entering[:N_RANK])
        found: list[dict[str, Any]] = []
        last, items = first, dict(walk(model))
        for layer in layers:
            given_to = _given_to(layer.path, items, outcome.seen)
            if given_to is not None and given_to is not last:  # functions that are no layers stand between
                entering, last = units_of(given_to), given_to
                before = effective_rank(entering[:N_RANK])
            seen = outcome.seen if layer.kind != "parameter" else {}  # its name may be that of a watched value
            z, delta = seen.get(layer.path, (None, None))
            h = seen.get(layer.h_path, (z,))[0]
            found.append(_look_at(layer, z, h, delta, before, numbers, grads))
            if not step and layer.kind in ("Dense", KIND) and layer.activation in RELUS:
                units = units_of(given[layer.path]) if given and layer.path in given else entering
                found[-1]["dead_by_nature"] = share_dead_by_nature(units[:N_RANK])
            if h is not None:
                before, entering, last = found[-1]["rank"], units_of(h), h
        suspects = {layer.h_path: row for layer, row in zip(layers, found, strict=True) if row["dead"]}
        if suspects and whole is not None and len(whole) > len(first):
            _confirm(model, whole, suspects)
        scale = _noise_scale(gradient, model, X, target, grads) if noise else None
    return Look(step, epoch, len(first), float(outcome.loss), scale, found)


def _given_to(path: str, items: Mapping[str, Any], seen: Mapping[str, Any]) -> Any:
    """What a layer is given, where it stands behind another item of a sequence; None where it does not.

    Items that draw numbers are passed over.
    """
    start, _, number = path.rpartition("[")
    around = items.get(path.rpartition(".")[0])
    if not isinstance(around, Sequential) or not number[:-1].isdigit():
        return None
    places = [f"{start}[{k}]" for k in reversed(range(int(number[:-1])))]
    place = next((x for x in places if not isinstance(items.get(x), Dropout | Noise)), None)
    return seen[place][0] if place is not None and place in seen else None


def _look_at(
    layer: FlowLayer, z: Any, h: Any, delta: Any, before: float | None, numbers: dict[str, Any], grads: dict[str, Array]
) -> dict[str, Any]:
    """What is seen of one layer."""
    W, dW = (None, None) if layer.weights is None else (numbers[layer.weights], grads.get(layer.weights))
    arrays = {"z": z, "h": h if layer.h_path != layer.path else None, "delta": delta, "W": W, "dW": dW}
    row: dict[str, Any] = {
        "histograms": {name: histogram(x) for name, x in arrays.items() if x is not None and np.size(x)},
        **{f"{name}_rms": _rms(x) for name, x in (arrays | {"h": h}).items()},
        "b_rms": None if layer.bias is None else _rms(numbers.get(layer.bias)),
        **dict.fromkeys((
            "units", "dead", "dead_units", "saturated_units", "zeros", "saturated", "rank", "rank_of_input",
            "constant_units", "identical", "h_mean", "correlation",
        )),
    }  # fmt: skip
    if layer.kind == "parameter" and W is not None and np.ndim(W) in (1, 2) and dW is not None:
        as_matrix = (np.size(W), 1) if np.ndim(W) == 1 else np.shape(W)  # w in h @ w reads units as rows do
        row["alike"] = alike_units(np.reshape(W, as_matrix), np.reshape(dW, as_matrix))
    if h is None or not np.size(h):
        return row
    units = units_of(h)
    n = units.shape[1]
    spread = units.max(axis=0) - units.min(axis=0)
    constant = spread <= 1e-6 * np.maximum(np.abs(units).max(axis=0), 1e-30)
    row |= {
        "units": n, "h_mean": float(units.mean(dtype=np.float64)), "zeros": float(np.mean(units == 0)),
        "constant_units": int(constant.sum()), "identical": count_identical(units[:, ~constant]),
        "rank": effective_rank(units[:N_RANK]), "rank_of_input": before,
        "correlation": mean_cosine(units[:N_RANK]),
    }  # fmt: skip
    if layer.activation in RELUS:
        dead = np.flatnonzero(~(units != 0).any(axis=0))
        row |= {"dead": len(dead), "dead_units": dead[:N_LISTED].tolist()}
    if layer.activation in FLAT:
        low, high = FLAT[layer.activation]
        flat = (units < low) | (units > high)
        row |= {"saturated": float(flat.mean()), "saturated_units": int(flat.all(axis=0).sum())}
    return row


def units_of(h: Any) -> Array:
    """Bring values to (examples, units): further axes of examples, as those of a sequence, count as examples.

    Example:
        >>> units_of(np.zeros((4, 5, 3))).shape, units_of(np.zeros(4)).shape
        ((20, 3), (4, 1))
    """
    array = np.asarray(h)
    return array.reshape(-1, array.shape[-1]) if array.ndim > 1 else array.reshape(-1, 1)


def histogram(x: Any) -> dict[str, list[Any]] | None:
    """Count numbers in bins of equal width; of very many, every k-th. None where none is finite.

    Example:
        >>> sum(histogram(np.arange(10.0))["counts"])
        10
    """
    values = np.ravel(x)
    values = values[:: max(1, len(values) // N_BINNED)]
    values = values[np.isfinite(values)].astype(np.float64)
    if not len(values):
        return None
    values = np.clip(values, -1e300, 1e300)  # the width of the bins is to be finite
    low, high = float(values.min()), float(values.max())
    least = 1e-6 * max(abs(low), abs(high), 1e-300)  # narrower bins than float64 has numbers for cannot be counted
    if high - low < least:
        low, high = low - least, high + least
    counts, edges = np.histogram(values, BINS, (low, high))
    return {"edges": [float(f"{edge:.6g}") for edge in edges], "counts": counts.tolist()}


def effective_rank(units: Array) -> float | None:
    """Measure in how many directions examples differ: exp of the entropy of the shares of their variance.

    Args:
        units: (examples, units).

    Returns:
        Between 1 and the smaller of both; 0.0 where all examples are the same; None where numbers are not finite.

    Source: Roy and Vetterli, The effective rank, EUSIPCO 2007, with squared singular values about the mean.

    Example:
        >>> round(effective_rank(np.eye(4)), 6), effective_rank(np.ones((4, 3)))
        (3.0, 0.0)
    """
    values = units.astype(np.float64)
    largest = np.abs(values).max(initial=0.0)
    if not math.isfinite(largest):
        return None
    values = values / largest if largest else values
    values = values - values.mean(axis=0)
    if np.abs(values).max(initial=0.0) < 1e-6:
        return 0.0
    if values.shape[1] > values.shape[0]:
        values = values.T
    power = np.clip(np.linalg.eigvalsh(values.T @ values), 0.0, None)
    share = power[power > 1e-12 * power.max()] / power.sum()
    return float(math.exp(-np.sum(share * np.log(share))))


def count_identical(units: Array) -> int:
    """Count the units that give, for every example, what another one gives (to 1e-6).

    Example:
        >>> count_identical(np.array([[1.0, 1.0, 2.0], [3.0, 3.0, 0.0]]))
        2
    """
    if units.shape[1] < 2:
        return 0
    probe = np.random.default_rng(0).uniform(0.5, 1.5, len(units))
    told = probe @ units.astype(np.float64)
    size = probe @ np.abs(units.astype(np.float64))
    order = np.argsort(told)
    near = np.abs(np.diff(told[order])) <= 1e-6 * np.maximum(size[order][1:], 1e-30)
    same = np.concatenate([[False], near]) | np.concatenate([near, [False]])
    return int(same.sum())


def share_dead_by_nature(units: Array) -> float:
    """Estimate the share of relu units that give 0 for all examples merely because these are alike.

    Args:
        units: (examples, inputs), what comes into the layer.

    Returns:
        The share of random directions, with biases of 0, along which no example lies above 0. 0.0 where numbers are
        not finite.

    Source: derived here.

    Example:
        >>> ray = np.arange(1.0, 9.0)[:, None] * np.ones((1, 40))
        >>> 0.4 < share_dead_by_nature(ray) < 0.6, share_dead_by_nature(np.concatenate([ray, -ray]))
        (True, 0.0)
    """
    size = float(np.abs(units).max(initial=0.0))
    if not 0 < size < math.inf:
        return 0.0
    directions = np.random.default_rng(0).standard_normal((units.shape[1], N_DIRECTIONS))
    return float(np.mean((units.astype(np.float64) / size @ directions <= 0).all(axis=0)))


def alike_units(W: Array, dW: Array) -> list[dict[str, Any]]:
    """Measure along both axes of a matrix how many slices equal another one, in the matrix and in the gradient.

    Slices without a gradient are left out, as those of inputs that are 0, unless there is none at all.

    Args:
        W: (n, k), weights.
        dW: (n, k), the loss's gradient by them.

    Returns:
        For the rows and for the columns: ``n``, and ``share`` that equal another one.

    Source: derived here.

    Example:
        >>> alike_units(np.ones((3, 2)), np.array([[1.0, 1.0], [2.0, 2.0], [0.0, 0.0]]))
        [{'n': 3, 'share': 0.0}, {'n': 2, 'share': 1.0}]
    """
    found = []
    both = [x / max(float(np.abs(x).max(initial=0.0)), 1e-300) for x in (W.astype(np.float64), dW.astype(np.float64))]
    for axis in (0, 1):
        w, g = (np.moveaxis(x, axis, 1) for x in both)
        kept = (g != 0).any(axis=0)
        kept = kept if kept.any() else ~kept
        share = count_identical(np.concatenate([w, g])[:, kept]) / int(kept.sum())
        found.append({"n": W.shape[axis], "share": float(share) if np.isfinite([*both[0], *both[1]]).all() else 0.0})
    return found


def mean_cosine(units: Array) -> float | None:
    """Measure how alike examples have become: the mean cosine of the angle between two of them.

    Example:
        >>> round(mean_cosine(np.eye(4)), 6), round(mean_cosine(np.ones((4, 3))), 6)
        (0.0, 1.0)
    """
    norm = np.sqrt(np.sum(np.square(units, dtype=np.float64), axis=1))
    kept = (norm > 0) & np.isfinite(norm)
    n = int(kept.sum())
    if n < 2:
        return None
    total = np.sum(units[kept] / norm[kept, None], axis=0, dtype=np.float64)
    return float((np.dot(total, total) - n) / (n * (n - 1)))


def _confirm(model: Any, whole: Array, suspects: dict[str, dict[str, Any]]) -> None:
    """Count as dead only what gives 0 over all examples."""
    alive: dict[str, Array] = {}
    for seen in _pass(model, whole[:N_PASS]):
        for path in suspects:
            if path in seen:
                lives = (units_of(seen[path]) != 0).any(axis=0)
                alive[path] = alive[path] | lives if path in alive else lives
    for path, lives in alive.items():
        dead = np.flatnonzero(~lives)
        suspects[path] |= {"dead": len(dead), "dead_units": dead[:N_LISTED].tolist()}


def _pass(model: Any, X: Array, rows: int = 2048) -> Iterator[dict[str, Any]]:
    """What layers give for all examples, portion by portion."""
    for first in range(0, len(X), rows):
        part = X[first : first + rows]
        with training(example_keys(0, 0, len(part)), observe=True) as made:
            call_inner("", model, part)
        yield first_calls(made.seen or ())


def _noise_scale(gradient: Gradient, model: Any, X: Array, target: Any, grads: dict[str, Array]) -> float | None:
    """tr Σ / |G|² from the gradients of single examples; None where they cannot be had."""
    n = min(N_NOISE, len(X))
    if n < 2 or sum(g.size for g in grads.values()) * n > LARGEST:
        return None
    leaves, rebuild = trees.flatten(model)
    try:
        program = gradient.program_for(leaves, rebuild, X[:1], take_rows(target, slice(1)))
    except Exception:  # the loss is the user's, and may be one of pairs or of places in the batch
        return None
    if program is None or not program.graph.symbols() or program.replaced or n * len(program.graph.nodes) > LONGEST:
        return None  # it holds for one batch size, or looks at the batch as a whole
    total: dict[int, Any] = {}
    squares = 0.0
    numbers = numbers_of(leaves)
    for i in range(n):
        batch = [x for tree in (X[i : i + 1], take_rows(target, slice(i, i + 1))) for x in trees.flatten(tree)[0]]
        one = program.take_apart(evaluate(program.graph, [*numbers, *batch])).grads
        squares += sum(_square(g) for g in one.values())
        total = {key: total.get(key, 0.0) + g for key, g in one.items()}
    of_mean = sum(_square(g / n) for g in total.values())
    spread = (squares - n * of_mean) / (n - 1)  # tr Σ
    size = sum(map(_square, grads.values())) - spread / len(X)  # |G|² without what the noise adds to it
    scale = spread / size if size > 0 else math.inf
    return float(scale) if math.isfinite(scale) and scale >= 0 else None


def _square(g: Any) -> float:
    return float(np.sum(np.square(g, dtype=np.float64)))


def _rms(x: Any) -> float | None:
    """The root mean square; None where there is nothing."""
    if x is None or not np.size(x):
        return None
    return math.sqrt(_square(x) / np.size(x)) if np.isfinite(x).all() else math.nan
