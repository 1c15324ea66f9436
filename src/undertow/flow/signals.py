"""Mean-field theory of a whole model: what each layer is expected to give, and which gradient to get.

A signal is known by averages over the units of a layer: for each of a few examples its mean, and for each pair of
examples the mean of their products. The gradient is known by its mean square over the units, for each example, and by
how much of it lies along the value itself.
What there is no theory for (a layer of one's own, a reshaping) is measured, and theory goes on from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.flow.along import Back, Expected, fit_rows, sum_along, sum_apart
from undertow.flow.averages import Signal, activate, measure_signal
from undertow.flow.gaussian import Array, is_elementwise
from undertow.nn import BatchNorm, Concat, Dense, Dropout, LayerNorm, Noise, Parallel, PReLU, Residual, RMSNorm, Scale
from undertow.nn.activations import ACTIVATIONS, name_activation
from undertow.nn.containers import Sequential
from undertow.nn.layer import show_item, walk_layers

STANDARD_ERRORS: Final = 6.0  # a mean of weights that is farther from 0 than this did not come about by chance


@dataclass(frozen=True)
class Observed:
    """What an untrained pass gave at a place: its values, and the gradient by them if there is one."""

    value: NDArray[Any]
    ct: NDArray[Any] | None = None

    @property
    def square(self) -> float:
        """The mean square of the values."""
        return mean_square(self.value)

    @property
    def ct_square(self) -> float:
        """The mean square of the gradient; NaN where there is none."""
        return math.nan if self.ct is None else mean_square(self.ct)


def mean_square(x: NDArray[Any]) -> float:
    """Compute the mean square of an array; its numbers may be as small as float32 holds."""
    return float(np.mean(np.square(x, dtype=np.float64))) if np.size(x) else math.nan


@dataclass
class Theory:
    """What theory expects of the values and gradients within a model.

    Attributes:
        observed: what an untrained pass gave, by path.
        signals: what is expected, by path.
        gradients: the mean square of the gradient, by path, in units of that at the model's output.
        weights: σ_w² and σ_b² of each Dense layer, by path.
        uncovered: paths of what was taken from the untrained pass instead, and why.
    """

    observed: Mapping[str, Observed]
    signals: dict[str, Signal] = field(default_factory=dict)
    gradients: dict[str, float] = field(default_factory=dict)
    weights: dict[str, tuple[float, float]] = field(default_factory=dict)
    uncovered: dict[str, str] = field(default_factory=dict)

    def follow(self, model: Any, X: NDArray[Any]) -> None:
        """Expect what comes out of a model, and what gradient goes back through it.

        Args:
            model: with its parameters filled.
            X: the inputs that were observed.
        """
        with np.errstate(all="ignore"):
            signal, back = self._enter(model, "", measure_signal(X))
            back(Expected(np.ones(len(signal.products)), np.ones(len(signal.products))))

    def _enter(self, item: Any, path: str, x: Signal) -> tuple[Signal, Back]:
        """Go through one item, and note what is expected there."""
        signal, inner = self._apply(item, path, x)
        fixed = signal.directions if type(item) is BatchNorm else math.inf
        signal = replace(signal, path=path, directions=fixed)
        self.signals[path] = signal

        def back(ct: Expected) -> Expected:
            self.gradients[path] = float(np.mean(ct.square))
            found = inner(ct)
            if not np.all(np.isfinite(found.square)) and np.all(np.isfinite(ct.square)):
                found = self._measured_back(path, x)(ct)
            return fit_rows(found, len(x.products))

        return signal, back

    def _apply(self, item: Any, path: str, x: Signal) -> tuple[Signal, Back]:
        """What an item makes of a signal, and of the gradient by its output."""
        if isinstance(item, Sequential | Parallel):
            found = self._container(item, path, x)
            if found is not None:
                return found
            return self._measured(item, path, x, "what it adds is not independent of x")
        if item is ACTIVATIONS["identity"]:
            return x, lambda ct: ct
        rule = RULES.get(type(item))
        if not x.drawn and not isinstance(item, Dense):
            return self._measured(item, path, x, "")
        if rule is not None:
            return rule(self, item, path, x)
        if type(item).__name__ == "Flatten" and self._is_flat(path, x):
            return x, lambda ct: ct
        if name_activation(item) in ("softmax", "log_softmax"):  # the end: δ is told by that of the last layer
            signal, back = self._measured(item, path, x, "")

            def known(ct: Expected) -> Expected:
                found = back(ct)
                return found if np.all(np.isfinite(found.square)) else ct

            return signal, known
        if callable(item) and not hasattr(item, "shapes") and is_elementwise(item):
            return activate(item, x)
        return self._measured(item, path, x, "there is no theory for it")

    def _container(self, item: Any, path: str, x: Signal) -> tuple[Signal, Back] | None:
        """What a container makes of it; None where its parts are not independent."""
        if type(item) is Sequential:
            return self._chain(item.layers, path, x)
        if isinstance(item, Parallel):
            return _join(self, item, path, x)
        if isinstance(item, Residual):
            return _add(self, item, path, x)
        if isinstance(item, Concat):
            f, back = self._chain(item.layers, path, replace(x, path=None))
            return _side_by_side([x, f]), lambda ct: sum_apart([ct, back(ct)])
        return self._measured(item, path, x, "there is no theory for it")

    def _chain(self, layers: tuple[Any, ...], path: str, x: Signal) -> tuple[Signal, Back]:
        """Layers one after the other."""
        backs: list[Back] = []
        for i, layer in enumerate(layers):
            x, back = self._enter(layer, f"{path}{'.' if path else ''}layers[{i}]", x)
            backs.append(back)

        def back_through(ct: Expected) -> Expected:
            for back in reversed(backs):
                ct = back(ct)
            return ct

        return x, back_through

    def _measured(self, item: Any, path: str, x: Signal, why: str) -> tuple[Signal, Back]:
        """Take what was measured for what is expected; without a reason where that is what it is."""
        if why:
            self.uncovered[path] = f"{show_item(item)}: {why}"
        found = self.observed.get(path)
        if found is None:
            nothing = np.full_like(x.products, np.nan)
            return replace(x, products=nothing, mean=nothing[0]), lambda ct: ct.times(np.nan)
        return replace(measure_signal(found.value, path), drawn=bool(why) or x.drawn), self._measured_back(path, x)

    def _measured_back(self, path: str, x: Signal) -> Back:
        """By how much a gradient changed from here to the signal before, as measured."""
        after, before = self.observed.get(path), self.observed.get(x.path or "nowhere")
        ratio = math.nan
        if after is not None and before is not None and after.ct_square > 0:
            ratio = before.ct_square / after.ct_square
        return lambda ct: fit_rows(ct.times(ratio, 1.0), len(x.products), always=True)

    def _is_flat(self, path: str, x: Signal) -> bool:
        """Whether a Flatten has nothing to do."""
        found = self.observed.get(path)
        return found is not None and found.value.shape[-1] == x.units


def _dense(theory: Theory, layer: Dense, path: str, x: Signal) -> tuple[Signal, Back]:
    """z = x W + b: the mean over units of z_a z_b is σ_w² E[x_a x_b] + σ_b²."""
    W, b = np.asarray(layer.W, np.float64), None if layer.b is None else np.asarray(layer.b, np.float64)
    square = float(np.mean(W**2))
    sigma_w2, sigma_b2 = layer.fan_in * square, 0.0 if b is None else float(np.mean(b**2))
    theory.weights[path] = sigma_w2, sigma_b2
    if W.size > 1 and square > 0 and float(np.mean(W)) ** 2 * W.size > STANDARD_ERRORS**2 * square:
        return theory._measured(layer, path, x, "its weights are not random numbers of mean 0")
    products = sigma_w2 * x.products + sigma_b2
    mean = np.full_like(x.mean, 0.0 if b is None else float(np.mean(b)))
    z = replace(x, products=products, mean=mean, units=layer.fan_out, drawn=True)
    weighed = np.where(products.diagonal() > 0, sigma_w2 * x.square / products.diagonal(), 1.0)  # of z without the bias

    def back(ct: Expected) -> Expected:
        along = ct.along * weighed
        more = 1 + np.maximum(along - 1, 0.0) / layer.fan_in  # what W makes of x, it makes of δ along z
        return Expected(ct.square * (layer.fan_out * square) * more, along / more, ct.missing)

    return z, back


def _prelu(theory: Theory, layer: PReLU, path: str, x: Signal) -> tuple[Signal, Back]:
    a = float(np.mean(layer.slope))
    return activate(lambda z: np.where(z > 0, z, a * z), x)


def _dropout(theory: Theory, layer: Dropout, path: str, x: Signal) -> tuple[Signal, Back]:
    """Each number is kept with probability 1 − rate and then divided by it: squares grow, products do not."""
    grow = 1 / (1 - layer.rate)
    return _on_the_diagonal(x, x.square * grow), lambda ct: ct.times(grow)


def _noise(theory: Theory, layer: Noise, path: str, x: Signal) -> tuple[Signal, Back]:
    return _on_the_diagonal(x, x.square + layer.deviation**2), lambda ct: ct


def _on_the_diagonal(x: Signal, square: Array) -> Signal:
    products = x.products.copy()
    np.fill_diagonal(products, square)
    return replace(x, products=products)


def _scale(theory: Theory, layer: Scale, path: str, x: Signal) -> tuple[Signal, Back]:
    gain = np.asarray(layer.gain, np.float64)
    square, mean = float(np.mean(gain**2)), float(np.mean(gain))
    return replace(x, products=x.products * square, mean=x.mean * mean), lambda ct: ct.times(square)


def _layer_norm(theory: Theory, layer: LayerNorm, path: str, x: Signal) -> tuple[Signal, Back]:
    """The columns of each row get mean 0 and deviation 1; of the gradient two directions are lost."""
    variance = x.square - x.mean**2 + layer.epsilon
    centred = x.products - np.outer(x.mean, x.mean)
    return _rescaled(x, layer, centred, variance, 2)


def _rms_norm(theory: Theory, layer: RMSNorm, path: str, x: Signal) -> tuple[Signal, Back]:
    made, back = _rescaled(x, layer, x.products, x.square + layer.epsilon, 1)
    mean = x.mean / np.sqrt(x.square + layer.epsilon) * float(np.mean(layer.gain))
    return replace(made, mean=mean), back


def _rescaled(x: Signal, layer: Any, products: Array, variance: Array, lost: int) -> tuple[Signal, Back]:
    """Rows divided by their deviations, then gain and shift."""
    gain = float(np.mean(np.square(layer.gain, dtype=np.float64)))
    shift = np.zeros(1) if getattr(layer, "shift", None) is None else np.asarray(layer.shift, np.float64)
    root = np.sqrt(variance)
    products = products / np.outer(root, root) * gain + float(np.mean(shift**2))
    mean = np.full_like(x.mean, float(np.mean(shift)))
    share = max(1 - lost / x.units, 0.0) * gain
    return replace(x, products=products, mean=mean), lambda ct: ct.times(
        share / variance, 0.0
    )  # x may be scaled, and nothing changes


def _batch_norm(theory: Theory, layer: BatchNorm, path: str, x: Signal) -> tuple[Signal, Back]:
    """Each unit gets mean 0 and deviation 1 over the batch.

    The covariance of the rows, less what they have in common, has ν = (Σ λ)² / Σ λ² directions; so the variance of a
    unit over the batch is as χ² of ν degrees of freedom, and the mean of its inverse is ν / (ν − 2) times the inverse
    of its mean. Of the gradient what is the same for all rows is lost, and what lies along z: for alike rows and no
    activation (m − 2) / (m − 3) is left in all, as of Yang et al. 2019, and for relu π / (π − 1) in large batches.
    """
    r, m = len(x.products), x.n_rows
    if r < 2:
        return theory._measured(layer, path, x, "a batch of one row has no variance")
    means = (x.square + (m - 1) * (x.products.sum(axis=1) - x.square) / (r - 1)) / m  # with each of the m rows
    centred = x.products - means[:, None] - means[None, :] + means.mean()
    own = np.diagonal(centred)
    variance = max(float(np.mean(own)), 0.0) + layer.epsilon
    apart = (float(np.sum(centred**2)) - float(np.sum(own**2))) / (r * (r - 1))
    directions = m * max(float(np.mean(own)), 0.0) ** 2 / max(float(np.mean(own**2)) + (m - 1) * apart, 1e-300)
    scatter = directions / (directions - 2) if directions > 4 else 2.0
    gain, shift = (np.asarray(v, np.float64) for v in (layer.gain, layer.shift))
    products = centred / variance * float(np.mean(gain**2)) + float(np.mean(shift**2))
    factor = float(np.mean(gain**2)) * scatter / variance

    def back(ct: Expected) -> Expected:
        left = max(1 - (1 - ct.missing + ct.radial) / (m - ct.missing), 0.0)
        return Expected(ct.square * factor * left, np.ones_like(ct.along), missing=1.0)

    made = replace(x, products=products, mean=np.full(r, float(np.mean(shift))), directions=max(directions, 1.0))
    return made, back


def _sum(x: Signal, f: Signal, scale: float = 1.0) -> Signal:
    """x + scale · f for independent x and f: of their products the means of both are left."""
    crossed = np.outer(x.mean, f.mean)
    products = x.products + scale**2 * f.products + scale * (crossed + crossed.T)
    return replace(f, products=products, mean=x.mean + scale * f.mean)


def _side_by_side(parts: list[Signal]) -> Signal:
    """Columns of several signals beside one another: each average counts by its units."""
    units = sum(part.units for part in parts)
    products: Any = sum(part.units / units * part.products for part in parts)
    mean: Any = sum(part.units / units * part.mean for part in parts)
    return replace(parts[-1], products=products, mean=mean, units=units)


def _add(theory: Theory, block: Residual, path: str, x: Signal) -> tuple[Signal, Back] | None:
    """x + s f(x): q is q_x + s² q_f, and χ is 1 + s² χ_f."""
    scale = 1.0 if block.scale is None else block.scale
    if not any(isinstance(layer, Dense) for layer in walk_layers(block.f)):
        return None
    alone = replace(x, path=None)
    f, back = theory._chain(block.layers, path, alone)
    straight = alone
    back_straight: Back = _same
    if block.projection is not None:
        straight, back_straight = theory._enter(block.projection, f"{path}{'.' if path else ''}projection", alone)
    if f.products.shape != straight.products.shape:
        return None
    out, added = _sum(straight, f, scale), scale**2 * f.square
    crossed = scale * straight.mean * f.mean

    def back_sum(ct: Expected) -> Expected:
        """Both parts; where both lie along x, they add up as they are and not as squares."""
        whole = np.where(out.square > 0, out.square, 1.0)
        parts = [(part + crossed) / whole for part in (straight.square, added)]  # of ⟨x + f, δ⟩
        along = [
            ct.along * share**2 * whole / np.where(part > 0, part, 1.0)
            for share, part in zip(parts, (straight.square, added), strict=True)
        ]
        a = back_straight(replace(ct, along=along[0]))
        b = back(replace(ct, square=ct.square * scale**2, along=along[1]))
        return sum_along(a, b, x.units)

    return out, back_sum


def _same(ct: Expected) -> Expected:
    return ct


def _join(theory: Theory, block: Parallel, path: str, x: Signal) -> tuple[Signal, Back] | None:
    """Branches side by side or added; all but one must have weights of their own."""
    alone = replace(x, path=None)
    made = [theory._enter(layer, f"{path}{'.' if path else ''}{here}", alone) for here, layer in block.inner()]
    drawn = [any(isinstance(inner, Dense) for inner in walk_layers(layer)) for layer in block.layers]
    signals = [signal for signal, _ in made]
    if drawn.count(False) > 1 or len({signal.products.shape for signal in signals}) > 1:
        return None
    joined = _side_by_side(signals)
    if block.combine == "add":
        joined = signals[0]
        for signal in signals[1:]:
            joined = _sum(joined, signal)
    return joined, lambda ct: sum_apart([back(ct) for _, back in made])


RULES: Final[dict[type, Callable[..., tuple[Signal, Back]]]] = {
    Dense: _dense,
    PReLU: _prelu,
    Dropout: _dropout,
    Noise: _noise,
    Scale: _scale,
    LayerNorm: _layer_norm,
    RMSNorm: _rms_norm,
    BatchNorm: _batch_norm,
}
