"""What to expect of a model before it is trained: theory beside an untrained forward and backward pass."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow import trees
from undertow.errors import ArgumentError, DataError
from undertow.flow.averages import Signal, measure_signal
from undertow.flow.expected import LayerForecast, Pair
from undertow.flow.findings import Finding
from undertow.flow.gaussian import is_elementwise
from undertow.flow.layers import FlowLayer, read_layers, walk
from undertow.flow.meanfield import FixedPoint, depth_scale, fixed_point
from undertow.flow.signals import Observed, Theory
from undertow.flow.verdicts import Verdict, compared, judge, whole_factor
from undertow.nn import Loss, PReLU, find_loss, initialize
from undertow.nn.mode import call_inner, example_keys, training
from undertow.nn.structure import read_dtype
from undertow.train.derive import Gradient, numbers_of
from undertow.train.objective import Objective, Target
from undertow.train.setup import check_model, draws_numbers
from undertow.train.task import make_task

LOOKED_AT: Final = 256


@dataclass(eq=False, repr=False)
class Forecast:
    """What theory and an untrained pass say about a model; made by `forecast`. Printed, it is a table.

    Attributes:
        layers: a row for each layer, first to last.
        verdicts: in plain words; the first is the most serious.
        depth: how many layers one after the other the gradient passes.
        xi: −1/ln χ for the mean χ over this depth: in so many layers the mean square of δ falls by e; negative where
            it grows.
        end: where the signals would end in a network of many layers like the most frequent one, or None.
        loss: the loss whose gradient was measured; None for a random gradient at the output.
        n_examples: how many examples were looked at.
        notes: what theory does not cover.
    """

    layers: list[LayerForecast]
    verdicts: list[Verdict]
    depth: int
    xi: float
    end: FixedPoint | None
    loss: str | None
    n_examples: int
    notes: list[str] = field(default_factory=list)

    @property
    def fine(self) -> bool:
        """Whether nothing stands in the way of the gradient."""
        return all(verdict.kind == "fine" for verdict in self.verdicts)

    @property
    def findings(self) -> list[Finding]:
        """What is wrong, with evidence and remedies; see `undertow.flow.forecast_findings`."""
        from undertow.flow.forecast_findings import findings

        return findings(self)

    def plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        told = {"depth": self.depth, "xi": self.xi, "loss": self.loss, "n_examples": self.n_examples}
        rows = [asdict(row) for row in self.layers]
        verdicts = [asdict(verdict) for verdict in self.verdicts]
        return {**told, "layers": rows, "verdicts": verdicts, "findings": [x.plain() for x in self.findings]}

    def __rich_console__(self, console: Any, options: Any) -> Any:
        from rich.text import Text

        from undertow.flow.forecast_table import forecast_table, forecast_words

        yield forecast_table(self, options.max_width)
        yield Text(forecast_words(self, options.max_width))

    def __repr__(self) -> str:
        from undertow.flow.forecast_table import forecast_text

        return forecast_text(self)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        from undertow.flow.forecast_table import forecast_html

        return forecast_html(self)


def forecast(
    model: Any,
    X: ArrayLike,
    y: ArrayLike | None = None,
    loss: str | Loss | Callable[..., Any] | None = None,
    seed: int = 0,
) -> Forecast:
    """Say what becomes of signals and gradients in a model before it is trained.

    Args:
        model: of layers; parameters that are None are filled in a copy.
        X: inputs, (m, …); at most 256 rows are looked at.
        y: targets as `undertow.train` takes them, or None.
        loss: what to train by; with y. Without it a random gradient is sent back from the output.
        seed: of the parameters that are filled, of the rows and of the random gradient.

    Returns:
        Rows of theory and measurement, and verdicts.

    Raises:
        ArgumentError: y without a loss or the other way round; a model that cannot be called.
        DataError: ``forecast: X holds no examples. …``, or numbers that are not finite.
        ShapeError: layers that do not fit X.

    Source: Schoenholz et al., Deep information propagation, ICLR 2017; the verdicts' limits derived here.

    Example:
        >>> from undertow.nn import Dense, Sequential
        >>> deep = [item for _ in range(29) for item in (Dense(64, 64), "sigmoid")]
        >>> found = forecast(Sequential(*deep, Dense(64, 10)), np.random.default_rng(0).normal(size=(100, 64)))
        >>> found.verdicts[0].kind, found.verdicts[0].factor < 1e-15, found.depth
        ('vanishes', True, 30)
    """
    check_model(model)
    if (y is None) != (loss is None):
        given, missing = ("y", "loss") if loss is None else ("loss", "y")
        raise ArgumentError(f"forecast: {given} is given without {missing}. Give both, or neither.")
    numbers = [leaf for leaf in numbers_of(trees.flatten(model)[0]) if hasattr(leaf, "dtype")]
    dtype = read_dtype(next((x.dtype for x in numbers if x.dtype.kind == "f"), np.float32))
    model = initialize(model, seed, dtype)
    if not numbers_of(trees.flatten(model)[0]):
        raise ArgumentError(f"forecast: the model {model!r} has no parameters. Give it a layer such as Dense(4, 3).")
    X, rows, n_examples = _read_inputs(X, seed, dtype)
    chosen, target = None, None
    if loss is not None:
        chosen = find_loss(loss, model)
        task = make_task(chosen, model, X)
        target = task.encode(task.read_target(_read_targets(y, n_examples)[rows]))
    observed = observe(model, X, chosen, target, seed)
    theory = Theory(observed)
    theory.follow(model, X)
    return _sum_up(model, X, theory, chosen)


def _read_inputs(X: ArrayLike, seed: int, dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[np.int64], int]:
    """The rows of X to look at, their numbers, and how many there are."""
    found = np.asarray(X)
    if found.ndim == 0 or not len(found):
        raise DataError("forecast: X holds no examples. Give an array with a row for each example.")
    rows = np.arange(len(found))
    if len(rows) > LOOKED_AT:
        rows = np.sort(np.random.default_rng([seed, 1]).choice(len(found), LOOKED_AT, replace=False))
    try:
        taken = found[rows].astype(dtype, copy=False)
    except (TypeError, ValueError):
        raise DataError("forecast: X is no array of numbers. Give an array with a row for each example.") from None
    if not np.all(np.isfinite(taken)):
        raise DataError("forecast: X holds numbers that are not finite. Fill or leave out the missing values.")
    return taken, rows, len(found)


def _read_targets(y: Any, n_examples: int) -> NDArray[Any]:
    """y as an array with a row for each example."""
    found = np.asarray(y)
    if found.ndim == 0 or len(found) != n_examples:
        raise DataError(f"forecast: X has {n_examples} rows and y is {found.shape}. Give y a row for each of X.")
    return found


def observe(model: Any, X: NDArray[Any], loss: Loss | None, target: Any, seed: int) -> dict[str, Observed]:
    """Send a batch through a model as it trains, and a gradient back.

    Args:
        model: with its parameters filled.
        X: inputs, (m, …).
        loss: the loss, or None for a gradient of independent normal numbers at the output.
        target: as the loss takes it.
        seed: of random numbers.

    Returns:
        What each layer gave and the gradient by it, by path; without gradients where Python code asks for values.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense, Sequential
        >>> model = initialize(Sequential(Dense(2, 3), "tanh"))
        >>> found = observe(model, np.ones((4, 2), np.float32), None, None, 0)
        >>> sorted(found), found["layers[0]"].ct.shape
        (['', 'layers[0]', 'layers[1]'], (4, 3))
    """
    keys = example_keys(seed, 0, len(X)) if draws_numbers(model, X) else None
    if loss is None:
        shape = make_task(Loss("probe", _probe, "own"), model, X).output_shape
        target = np.random.default_rng([seed, 2]).standard_normal((len(X), *shape)).astype(X.dtype)
    function = _probe if loss is None else Objective(loss)
    leaves, rebuild = trees.flatten(model)
    with np.errstate(all="ignore"):
        seen = Gradient(function, observe=True).of_leaves(leaves, rebuild, X, Target(target, keys=keys)).seen
        found = {path: Observed(np.asarray(value), np.asarray(ct)) for path, (value, ct) in seen.items()}
        with training(keys, observe=True) as made:
            call_inner("", model, X)
    for path, value in made.seen or ():
        if path not in found and isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim:
            found[path] = Observed(value)
    return found


def _probe(model: Any, X: Any, target: Target) -> Any:
    """A loss whose gradient by the output is the target."""
    return np.sum(call_inner("", model, X) * target.y)


def _sum_up(model: Any, X: NDArray[Any], theory: Theory, loss: Loss | None) -> Forecast:
    """Lay theory and measurement side by side."""
    layers = [x for x in read_layers(model, X[:2]) if x.path in theory.observed and x.kind != "parameter"]
    main = [layer for layer in layers if layer.within is None and layer.kind != "watched"] or layers
    last = main[-1] if main else None
    rows = _with_factors([_row(layer, last, theory) for layer in layers])
    path = compared(rows)
    xi = depth_scale(whole_factor(path).best ** (2 / (len(path) - 1))) if len(path) > 1 else math.nan
    notes = list(theory.uncovered.values())
    end = _end_of_depth(rows, dict(walk(model)), theory)
    return Forecast(rows, judge(rows), len(path), xi, end, None if loss is None else loss.name, len(X), notes)


def _with_factors(rows: list[LayerForecast]) -> list[LayerForecast]:
    """Rows with χ, from each layer of the main path to the next."""
    found = list(rows)
    main = [i for i, row in enumerate(rows) if row.layer.within is None]
    for here, after in itertools.pairwise(main):
        pairs = zip(rows[here].length, rows[after].length, strict=True)
        found[here] = replace(rows[here], chi=Pair(*(_ratio(a * a, b * b) for a, b in pairs)))
    return found


def _end_of_depth(rows: list[LayerForecast], items: dict[str, Any], theory: Theory) -> FixedPoint | None:
    """Where signals would end if the network went on like most of its hidden layers; None if they are too different."""
    if any(row.layer.kind != "Dense" for row in rows):
        return None
    kinds: dict[Any, list[LayerForecast]] = {}
    for row in rows[:-1]:
        if row.layer.activation is not None and 0 < row.sigma_w2 < math.inf and not row.note:
            kinds.setdefault((row.layer.activation, round(2 * math.log(row.sigma_w2))), []).append(row)
    most = max(kinds.values(), key=len, default=[])
    if len(most) < 2 or 2 * len(most) < len(rows) - 1:
        return None
    activation = items[most[0].layer.h_path]
    if isinstance(activation, PReLU) or not is_elementwise(activation):
        return None
    weights = [theory.weights[row.layer.path] for row in most]
    return fixed_point(activation, *(float(np.median(values)) for values in zip(*weights, strict=True)))


def _row(layer: FlowLayer, last: FlowLayer | None, theory: Theory) -> LayerForecast:
    """The row of a layer; gradients by those of the last."""
    observed, after = theory.observed[layer.path], theory.observed.get(layer.h_path)
    signal, signal_after = theory.signals.get(layer.path), theory.signals.get(layer.h_path)
    delta = Pair(math.nan, math.nan)
    if last is not None:
        predicted = _ratio(theory.gradients.get(layer.path, math.nan), theory.gradients.get(last.path, math.nan))
        measured = _ratio(observed.ct_square, theory.observed[last.path].ct_square)
        delta = Pair(math.sqrt(predicted), math.sqrt(measured))
    sizes = math.prod(layer.shape) / math.prod(last.shape) if last is not None else 1.0
    return LayerForecast(
        layer,
        Pair(_root(signal), math.sqrt(observed.square)),
        Pair(_root(signal_after), math.nan if after is None else math.sqrt(after.square)),
        Pair(math.nan, math.nan),
        delta,
        Pair(*(x * math.sqrt(sizes) for x in delta)),
        Pair(math.nan if signal is None else signal.cosine, measure_signal(observed.value).cosine),
        theory.weights.get(layer.path, (math.nan, 0.0))[0],
        theory.uncovered.get(layer.path, ""),
    )


def _root(signal: Signal | None) -> float:
    """The root mean square of a signal."""
    square = math.nan if signal is None else float(np.mean(signal.square))
    return math.sqrt(square) if square >= 0 else math.nan


def _ratio(a: float, b: float) -> float:
    """a / b of mean squares; NaN where that is not known."""
    return a / b if b > 0 and math.isfinite(a) else math.nan
