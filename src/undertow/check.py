"""Check a gradient against numeric ones: the complex step where it holds, else extrapolated differences."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from undertow import trees
from undertow.differentiate import value_and_grad
from undertow.errors import ArgumentError, DataError, GradientError, NonScalarError
from undertow.keywords import explain_keywords
from undertow.mistakes import LeafCheck, common_factor, explain, is_transposed, refuse_misfits, rows_of, with_own_names
from undertow.nan_gradient import explain_nan
from undertow.trace import argument_names, describe_function
from undertow.trace.chosen import check_function, check_positions

Loss = Callable[[np.ndarray], Any]  # a scalar function of one flat float64 (or complex128) array

_MOST_ENTRIES = 64  # of one array that are checked one by one; larger ones are sampled, and checked along directions


@dataclass(frozen=True, repr=False)
class GradientReport:
    """What `check_gradient` found, an array a row; true if all is right."""

    rows: tuple[LeafCheck, ...]
    tolerance: float
    names: Callable[[], dict[str, str]] = field(default=dict, compare=False)  # asked for when it is shown: traces f

    def __bool__(self) -> bool:
        return all(row.relative_error <= self.tolerance for row in self.rows)

    @property
    def worst(self) -> LeafCheck | None:
        """The row with the largest relative error; None if there was nothing to check."""
        return max(self.rows, key=lambda row: row.relative_error, default=None)

    def __repr__(self) -> str:
        head = ("parameter", "entry", "gradient", "numeric", "relative error", "method", "checked")
        called = self.names()
        cells = [head] + [
            (called.get(r.name, r.name), "direction" if r.entry is None else str(list(r.entry)), f"{r.gradient:.10g}",
             f"{r.numeric:.10g}", f"{r.relative_error:.1e}", r.method, str(r.checked))
            for r in self.rows
        ]  # fmt: skip
        wide = [max(len(row[i]) for row in cells) for i in range(len(head))]
        lines = ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, wide, strict=True)).rstrip() for row in cells]
        verdict = "the gradient is right" if self else "THE GRADIENT IS WRONG"
        if not any(row.checked for row in self.rows):
            verdict = "there was nothing to check"
        worst = 0.0 if self.worst is None else self.worst.relative_error
        constant = [row.name for row in self.rows if row.method == "constant"]
        if constant:
            lines.append(f"note: the function does not change with {', '.join(constant)} at these arguments")
        return "\n".join([*lines, f"{verdict} (tolerance {self.tolerance:.0e}, worst relative error {worst:.1e})"])


@explain_keywords
def check_gradient(
    f: Callable[..., Any],
    *args: Any,
    wrt: int | tuple[int, ...] = 0,
    gradient: Callable[..., Any] | None = None,
    tolerance: float = 1e-6,
    seed: int = 0,
    raises: bool = True,
) -> GradientReport:
    """Compare a gradient with numeric derivatives, in float64.

    Args:
        f: a NumPy function that returns one number.
        args: its arguments; floats are checked in float64 whatever dtype they have.
        wrt: the position of the argument to differentiate by, or several.
        gradient: a gradient of your own to check, ``gradient(*args)``; Undertow's unless given.
        tolerance: the largest relative error that counts as right.
        seed: chooses the random directions and the sampled entries of large arrays.
        raises: raise where wrong, instead of only reporting it.

    Returns:
        A report with the worst entry of each array; true if all are right; printable.

    Raises:
        GradientError: a derivative is wrong; names parameter, entry, both values, the relative error, and what the
            mistake looks like: a factor of the batch size, a sign, a transpose, rows that were not added up.
        NonScalarError: f does not return one number.
        ArgumentError: ``the value of loss is nan at these arguments, …``; f is random; a setting out of range.

    Source:
        Squire & Trapp (1998), SIAM Review 40(1), doi 10.1137/S003614459631241X (complex step);
        Ridders (1982), Advances in Engineering Software 4(2) (extrapolated differences).

    Example:
        >>> import numpy as np
        >>> report = check_gradient(lambda w: np.sum(np.tanh(w) ** 2), np.array([0.3, -1.2]))
        >>> bool(report)
        True
    """
    check_function(f)
    positions = check_positions(f, wrt if isinstance(wrt, tuple) else (wrt,), len(args))
    _check_settings(gradient, tolerance, seed)
    exact = [trees.map_leaves(_to_float64, arg) for arg in args]
    if gradient is None:
        value, grads = value_and_grad(f, tuple(positions))(*exact)
    else:
        with np.errstate(all="ignore"):
            value = f(*exact)
        _number(value)
        grads = gradient(*exact)
        if not isinstance(wrt, tuple):
            grads = (grads,)
    if not np.isfinite(_number(value)):
        raise ArgumentError(
            f"the value of {describe_function(f)} is {_number(value):g} at these arguments, where there is no gradient "
            "to check. Look for NaN in the arguments, log of 0 or of a negative number, and 0/0."
        )
    _check_repeats(f, exact)
    rng = np.random.default_rng(seed)
    rows: list[LeafCheck] = []
    for i, grad_tree in zip(positions, grads, strict=True):
        leaves, rebuild = trees.flatten(exact[i])
        refuse_misfits(f, exact, positions, i, grad_tree)
        grad_leaves, _ = trees.flatten(grad_tree)
        names = [argument_names(f, len(args))[i] + path for path in trees.paths(exact[i])]
        for k, (leaf, grad_leaf, name) in enumerate(zip(leaves, grad_leaves, names, strict=True)):
            if not isinstance(leaf, float | np.ndarray | np.floating) or np.asarray(leaf).dtype.kind != "f":
                continue
            loss = _restrict(f, exact, i, leaves, rebuild, k)
            if np.size(leaf):
                rows.append(_check_leaf(loss, np.ravel(leaf), np.ravel(grad_leaf), np.shape(leaf), name, rng))
            else:
                rows.append(LeafCheck(name, None, 0.0, 0.0, 0.0, "empty", 0))
    report = GradientReport(tuple(rows), tolerance, lambda: with_own_names(f, exact, positions))
    w = report.worst
    if raises and not report and w is not None:
        where = "along a random direction" if w.entry is None else f"at entry {list(w.entry)}"
        called = report.names()
        hints = explain(rows, tolerance, called, rows_of(exact, positions))
        if gradient is None and np.isnan(w.gradient):
            hints += f"\nthe gradient is NaN{explain_nan(f, exact, {}, tuple(positions))}"
        raise GradientError(
            f"the gradient of {getattr(f, '__name__', 'f')} by {called.get(w.name, w.name)} is wrong {where}: it is "
            f"{w.gradient:.10g}, the numeric derivative ({w.method}) is {w.numeric:.10g}, relative error "
            f"{w.relative_error:.1e}\n{report}{hints}"
        )
    return report


def _check_repeats(f: Callable[..., Any], args: Sequence[Any]) -> None:
    """ArgumentError where a function does not return the same number twice: differences of it would be noise."""
    with np.errstate(all="ignore"):
        once, again = _number(f(*args)), _number(f(*args))
    if once != again and not (np.isnan(once) and np.isnan(again)):
        raise ArgumentError(
            f"{describe_function(f)} returned {once:.10g} and then {again:.10g} for the same arguments, so there is no "
            f"derivative to compare with. Draw random numbers before, and pass them as an argument, or seed them "
            "inside."
        )


def _check_settings(gradient: Any, tolerance: Any, seed: Any) -> None:
    """ArgumentError where a setting is out of range."""
    if gradient is not None and not callable(gradient):
        raise ArgumentError(f"gradient is {gradient!r}. Give a function of the same arguments, or None for Undertow's.")
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float | np.number) or not 0 <= tolerance < np.inf:
        raise ArgumentError(f"tolerance must be a number of 0 or more and finite, got {tolerance!r}.")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ArgumentError(f"seed must be a whole number of 0 or more, got {seed!r}.")


def _restrict(
    f: Callable[..., Any], args: list[Any], i: int, leaves: list[Any], rebuild: trees.Rebuild, k: int
) -> Loss:
    """Make f a function of one array alone, flat: leaf k of argument i."""
    shape = np.shape(leaves[k])

    def loss(flat: np.ndarray) -> Any:
        new = [_own(leaf) for leaf in leaves]
        new[k] = flat.reshape(shape).copy() if shape else flat[0]
        others = [trees.map_leaves(_own, arg) for arg in args]
        return f(*others[:i], rebuild(new), *others[i + 1 :])

    return loss


def _own(leaf: Any) -> Any:
    """Copy an array: a function may write to its arguments, and is called many times here."""
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf


def _to_float64(leaf: Any) -> Any:
    dtype = getattr(leaf, "dtype", None)
    return leaf.astype(np.float64) if dtype is not None and dtype.kind == "f" else leaf


def _check_leaf(
    loss: Loss, x: np.ndarray, grad: np.ndarray, shape: tuple[int, ...], name: str, rng: np.random.Generator
) -> LeafCheck:
    """Compare entries one by one, all or a sample, then whole random directions; return the worst."""
    entries = np.arange(x.size)
    directions: list[tuple[tuple[int, ...] | None, np.ndarray]] = []
    if x.size > _MOST_ENTRIES:
        entries = rng.choice(x.size, _MOST_ENTRIES // 4, replace=False)
        usual = float(np.median(np.abs(x))) or 1.0
        sizes = np.where(x == 0, usual, np.abs(x))  # a direction moves each entry by a part of its own size
        directions = [(None, d / np.linalg.norm(d)) for d in rng.normal(size=(4, x.size)) * sizes]
    for entry in entries:
        unit = np.zeros(x.size)
        unit[entry] = 1.0
        directions.append((tuple(int(j) for j in np.unravel_index(entry, shape)), unit))
    noise = 1e-12 * float(np.max(np.abs(grad), initial=0.0)) if np.all(np.isfinite(grad)) else 0.0
    worst: LeafCheck | None = None
    blur: float | None = None
    constant = True
    pairs: list[tuple[float, float]] = []  # of the entries: the derivative that is checked, and the numeric one
    for index, direction in directions:
        own = float(grad @ direction) if np.all(np.isfinite(grad)) else float(grad[np.argmax(direction)])
        found = numeric, error, method = numeric_derivative(loss, x, direction, own)
        difference = abs(own - numeric)
        if difference > error + noise or method == "kink":  # unless it is rounding that looks so
            blur = _blur(loss, x) if blur is None else blur
            numeric, error, method = numeric_derivative(loss, x, direction, own, blur) if blur else found
            difference = abs(own - numeric)
        relative = 0.0 if difference <= error + noise else difference / max(abs(own), abs(numeric))
        relative = float("inf") if not np.isfinite(difference) and own != numeric else relative
        constant = constant and own == numeric == 0 and method != "kink" and _is_flat(loss, x, direction)
        if index is not None:
            pairs.append((own, numeric))
        row = LeafCheck(name, index, own, numeric, relative, method, len(directions))
        if worst is None or relative > worst.relative_error:
            worst = row
    assert worst is not None
    mine, found = np.array(pairs).T
    factor, turned = common_factor(mine, found), is_transposed(grad, shape, entries, found)
    worst = dataclasses.replace(worst, factor=factor, transposed=turned and worst.relative_error > 0)
    return dataclasses.replace(worst, method="constant") if constant else worst


def _is_flat(loss: Loss, x: np.ndarray, direction: np.ndarray) -> bool:
    """Tell whether nothing changes along a direction; at the bottom of a valley the derivative is 0 too."""
    moved = direction != 0
    h = 1e-2 * max(0.1, float(np.max(np.abs(x[moved] / direction[moved]), initial=0.0)))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _number(loss(x)) in (_beside(loss, x + h * direction), _beside(loss, x - h * direction))


def _blur(loss: Loss, x: np.ndarray) -> float:
    """Measure the rounding of a function's value: how far it moves as the last digits of its arguments do.

    A sum of n terms is rounded by up to n ε times the sum of their sizes, however small it is itself: of terms that
    cancel, its own size says nothing.

    Source: Higham, Accuracy and Stability of Numerical Algorithms, 2002, eq. 4.4 (the bound), section 26.3.2 (measured
        by disturbing the last digits).
    """
    rng = np.random.default_rng(0)
    digits = 4 * float(np.finfo(np.float64).eps) * np.where(x == 0, float(np.max(np.abs(x))) or 1.0, np.abs(x))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        here = _number(loss(x))
        moved = [abs(_beside(loss, x + digits * rng.uniform(-1.0, 1.0, x.size)) - here) for _ in range(16)]
    return 4 * max((x for x in moved if np.isfinite(x)), default=0.0)


def numeric_derivative(
    loss: Loss, x: np.ndarray, direction: np.ndarray, expected: float, blur: float = 0.0
) -> tuple[float, float, str]:
    """Differentiate numerically along a direction.

    Args:
        loss: a function of a flat array.
        x: where.
        direction: along which.
        expected: the derivative that is being checked.
        blur: how far a value of the function is off by rounding, where that is more than its last digit.

    Returns:
        The derivative, an estimate of its error, and how it was found.
    """
    moved = direction != 0
    size = float(np.max(np.abs(x[moved] / direction[moved]), initial=0.0))  # a step of this size doubles an entry
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exact = complex_step(loss, x, direction)
        found: list[tuple[float, float]] = []
        # Large steps lose the fewest digits; small ones stay on one side of a kink and inside the function's domain.
        steps = (1e-2 * max(0.1, size), 1e-4 * max(0.1, size), 1e-6 * max(0.1, size), 1e-2 * size)
        for h in filter(None, steps):
            slope, error = extrapolated_difference(loss, x, direction, h, blur)
            if not np.isfinite(slope):
                continue
            if exact is not None and abs(exact - slope) <= 10 * error + 1e-5 * abs(slope):
                unseen = abs(expected - slope) <= error or _is_unseen(loss, x, direction, exact, expected, steps, blur)
                return exact, _rounding(loss, x, direction, exact, expected if unseen else exact), "complex step"
            if abs(expected - slope) <= error <= 1e-6 * max(abs(slope), abs(expected)):
                return slope, error, "differences"
            found.append((slope, error))
        if not found and exact is not None:
            return exact, 1e-14 * abs(exact) + 1e-40, "complex step"
        h = 1e-6 * max(1.0, size)
        low, high = _one_sided(loss, x, direction, h)
        gap = high - low  # at a kink it stays as the step shrinks; by curvature it shrinks with the step
        near = _one_sided(loss, x, direction, h / 4)
        slack = 1e-6 * max(abs(low), abs(high))
        is_kink = gap > 1e-3 * max(abs(low), abs(high)) + 4 * blur / h and near[1] - near[0] > gap / 2
        if is_kink and low - slack <= expected <= high + slack:
            return expected, 0.0, "kink"
    slope, error = min(found, key=lambda pair: pair[1], default=(float("nan"), 0.0))
    return slope, error, "differences"


def _one_sided(loss: Loss, x: np.ndarray, direction: np.ndarray, h: float) -> tuple[float, float]:
    """Return the slopes to the left and to the right, the smaller first."""
    here = _number(loss(x))
    left = (here - _beside(loss, x - h * direction)) / h
    right = (_beside(loss, x + h * direction) - here) / h
    return min(left, right), max(left, right)


def complex_step(loss: Loss, x: np.ndarray, direction: np.ndarray) -> float | None:
    """Return Im f(x + ih) / h, which loses no digits; None where f does not take complex numbers."""
    h = 1e-30
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)  # a cast to real loses the derivative
            result = loss(x + 1j * h * direction)
    except Exception:  # whatever a user's function does with complex numbers, it then has no complex step
        return None
    return float(np.imag(result)) / h if np.iscomplexobj(result) else None


def _is_unseen(
    loss: Loss,
    x: np.ndarray,
    direction: np.ndarray,
    exact: float,
    expected: float,
    steps: tuple[float, ...],
    blur: float,
) -> bool:
    """Tell whether differences, which have the digits of f's value alone, are as far off as two derivatives are."""
    if abs(expected - exact) <= 1e-14 * abs(exact) + 1e-40:
        return False
    found = (extrapolated_difference(loss, x, direction, h, blur) for h in filter(None, steps))
    return any(abs(expected - exact) <= 10 * max(error, abs(slope - exact)) for slope, error in found)


def _rounding(loss: Loss, x: np.ndarray, direction: np.ndarray, exact: float, expected: float) -> float:
    """Estimate the error of a complex step: how far it moves as the last digits of the arguments and of the step do.

    Terms that cancel, as in a sum of standardised numbers, leave a derivative that is rounding and nothing else.
    """
    least = 1e-14 * abs(exact) + 1e-40
    if abs(expected - exact) <= least:
        return least
    rng = np.random.default_rng(0)
    digits = 4 * float(np.finfo(np.float64).eps) * np.where(x == 0, float(np.max(np.abs(x))) or 1.0, np.abs(x))
    moved = []
    for _ in range(8):
        scale = rng.uniform(0.5, 1.0)  # what is linear in x is rounded in the step alone, wherever x is
        found = complex_step(loss, x + digits * rng.choice([-1.0, 1.0], x.size), scale * direction)
        if found is not None and np.isfinite(found):
            moved.append(abs(found / scale - exact))
    return max(least, 32 * max(moved, default=0.0))  # a backward pass adds other terms up, which cancel too


def extrapolated_difference(
    loss: Loss, x: np.ndarray, direction: np.ndarray, h: float, blur: float = 0.0
) -> tuple[float, float]:
    """Extrapolate central differences from step h to 0 by Ridders' method; return the slope and its error estimate."""
    best, error = float("nan"), float("inf")
    before: list[float] = []
    for row in range(8):
        right, left = _beside(loss, x + h * direction), _beside(loss, x - h * direction)
        now = [(right - left) / (2 * h)]
        rounding = max(float(np.finfo(np.float64).eps) * max(abs(right), abs(left)), blur) / h  # the digits there are
        factor = 4.0
        for k in range(row):
            now.append((factor * now[k] - before[k]) / (factor - 1))
            factor *= 4.0
            estimate = max(abs(now[k + 1] - now[k]), abs(now[k + 1] - before[k])) + rounding
            if estimate < error:
                best, error = now[k + 1], estimate
        before, h = now, h / 2
    return best, 2 * error


def _beside(loss: Loss, x: np.ndarray) -> float:
    """The number at a place beside the one that is looked at; NaN where it is outside of the function's domain."""
    try:
        return _number(loss(x))
    except DataError:  # a loss refuses what is no probability
        return float("nan")


def _number(result: Any) -> float:
    if not isinstance(result, float | int | complex | np.generic | np.ndarray):
        raise NonScalarError(f"the function returned {type(result).__name__}, not one number.")
    if np.shape(result) != ():
        raise NonScalarError(f"the function returned an array of shape {np.shape(result)}, not one number.")
    return float(np.real(result))
