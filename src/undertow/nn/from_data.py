"""Initial parameters that look at the data: layer-sequential unit variance, and biases of class frequencies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from undertow.errors import ArgumentError, DataError
from undertow.nn.class_weights import read_labels
from undertow.nn.initialisers import normal
from undertow.nn.layer import walk_layers
from undertow.nn.layers import Dense
from undertow.nn.orthogonal import orthogonal
from undertow.nn.parameters import map_layers
from undertow.nn.structure import initialize

M = TypeVar("M")


@dataclass(eq=False, repr=False)
class _Measured(Dense):
    """A Dense layer that remembers how far its last output spread."""

    def __call__(self, x: Any) -> Any:
        z = super().__call__(x)
        self.deviation = float(np.std(z, dtype=np.float64))
        return z


def lsuv(
    model: M, X: ArrayLike, seed: int = 0, dtype: DTypeLike = np.float32, tolerance: float = 0.01, max_passes: int = 10
) -> M:
    """Initialise so that each Dense layer's output has variance 1 on a batch: layer-sequential unit variance.

    The weights of Dense layers, also those that are there, become orthogonal; then, first to last, each
    is divided by the deviation of what the layer gives for X. Biases stay (0 where they are None), and
    layers of other kinds are initialised as usual.

    Args:
        model: a model of layers, also nested; a layer used twice is not supported.
        X: a batch of inputs, (m, …), some hundred examples that stand for all.
        seed: 0 or more, for the orthogonal weights.
        dtype: float32 or float64, of the parameters.
        tolerance: how far the deviation may be from 1.
        max_passes: how often a layer is rescaled at most.

    Returns:
        A new model.

    Raises:
        ArgumentError: ``lsuv: the model has no Dense layer. …``
        DataError: ``lsuv: layer 1, Dense(4, 8), gives the same number for every example. …``

    Source: Mishkin and Matas, All you need is a good init, ICLR 2016, algorithm 1.

    Example:
        >>> X = np.random.default_rng(0).uniform(3, 5, (200, 4)).astype(np.float32)
        >>> from undertow.nn import Sequential
        >>> model = lsuv(Sequential(Dense(4, 8), "relu", Dense(8, 8)), X)
        >>> bool(abs(model.layers[0](X).std() - 1) < 0.01), bool(abs(model(X).std() - 1) < 0.01)
        (True, True)
    """
    model = initialize(model, seed, dtype)
    rng = np.random.default_rng([seed, 0x15])
    measured: list[_Measured] = []

    def measure(layer: Dense) -> Dense:
        kind = np.asarray(layer.W).dtype
        values = {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer)}
        measured.append(_Measured(**{**values, "W": orthogonal((layer.fan_in, layer.fan_out), rng, kind)}))
        return measured[-1]

    model = _map_dense(model, measure)
    if not measured or not callable(model):
        raise ArgumentError("lsuv: the model has no Dense layer. Give a model such as Sequential(Dense(4, 8), 'relu').")
    X = np.asarray(X, measured[0].W.dtype)
    for number, layer in enumerate(measured, 1):
        for _ in range(max_passes):
            model(X)
            if not 0 < getattr(layer, "deviation", 0.0) < np.inf:
                raise DataError(
                    f"lsuv: layer {number}, Dense({layer.fan_in}, {layer.fan_out}), gives the same number for every "
                    "example, or none that is finite. Give X more and other examples."
                )
            if abs(layer.deviation - 1) < tolerance:
                break
            layer.W = (layer.W / layer.deviation).astype(layer.W.dtype)
    return _map_dense(model, lambda layer: Dense(layer.fan_in, layer.fan_out, layer.bias, layer.init, layer.W, layer.b))


def _map_dense(model: Any, change: Callable[[Dense], Dense]) -> Any:
    """A model in which each Dense layer is changed, first to last."""
    return map_layers(model, lambda layer: change(layer) if isinstance(layer, Dense) else layer)


def bias_from_frequencies(y: ArrayLike, n_classes: int | None = None) -> NDArray[np.float64]:
    """Make the biases of the last layer with which softmax or sigmoid gives the frequencies of the classes.

    Training then does not begin with learning them: log f_k of each class, or for two classes of one
    output the logit log(f / (1 − f)). A class that does not occur counts as half an example.

    Args:
        y: labels 0 … n_classes − 1, (m,) or (m, 1), or one-hot rows, (m, n_classes).
        n_classes: how many outputs there are; 1 for a single output of the two classes 0 and 1; None for
            the largest label and one.

    Returns:
        Biases, (n_classes,).

    Raises:
        DataError: ``bias_from_frequencies: y holds the label 3, but the 3 classes are 0 to 2.``

    Source: Karpathy, A recipe for training neural networks, 2019 ("init well"); derived here.

    Example:
        >>> p = np.exp(bias_from_frequencies([0, 0, 0, 1]))
        >>> p, bias_from_frequencies([0, 0, 0, 1], n_classes=1).round(4)
        (array([0.75, 0.25]), array([-1.0986]))
    """
    labels, n_found = read_labels("bias_from_frequencies", y, 2 if n_classes == 1 else n_classes)
    counts = np.maximum(np.bincount(labels, minlength=n_found), 0.5)
    if n_classes == 1:
        return np.log(counts[1:] / counts[:1])
    return np.log(counts / counts.sum())


def start_near(model: M, bias: NDArray[Any], scale: float = 0.1, dtype: DTypeLike = np.float32) -> M:
    """Let a model begin by giving nearly a constant: small weights in its last dense layer, and these biases.

    Args:
        model: a model whose last layer with parameters is a Dense one with biases.
        bias: (fan_out,): log frequencies of classes, or means of numbers.
        scale: the deviation of what the weights give, for inputs of deviation 1.
        dtype: of the biases, that which the weights will have.

    Returns:
        The model; the weights of that layer are still to be drawn, and all else is as it was.

    Raises:
        ArgumentError: the model does not end so.

    Source: Karpathy, A recipe for training neural networks, 2019 ("init well").

    Example:
        >>> from undertow.nn import Sequential
        >>> start_near(Sequential(Dense(4, 2)), np.array([0.0, -1.0])).layers[0].b
        array([ 0., -1.], dtype=float32)
    """
    *_, last = [None, *walk_layers(model)]
    if not isinstance(last, Dense) or not last.bias or last.fan_out != len(bias):
        raise ArgumentError("the model does not end in a dense layer with a bias for each output.")
    init = normal(deviation=scale / last.fan_in**0.5)
    made = dataclasses.replace(last, init=init, W=None, b=np.asarray(bias, dtype))
    return _map_dense(model, lambda layer: made if layer is last else layer)


def start_at_frequencies(
    model: M, y: ArrayLike, seed: int = 0, dtype: DTypeLike = np.float32, scale: float | None = None
) -> M:
    """Set the biases of a model's last Dense layer so that it begins by predicting how often each class occurs.

    Exactly so for an example whose activations before that layer are 0, and nearly so for weights that
    are small.

    Args:
        model: a model whose last layer with parameters is a Dense one with biases, before softmax, sigmoid or
            nothing; what is None is initialised.
        y: labels, as for `bias_from_frequencies`; with one output the classes are 0 and 1.
        seed: for `initialize`.
        dtype: for `initialize`.
        scale: draws small weights for that layer, with this deviation of what they give for inputs of deviation 1;
            None leaves its weights as they are.

    Returns:
        A new model.

    Raises:
        ArgumentError: ``start_at_frequencies: the model does not end in a Dense layer with biases. …``

    Source: as `bias_from_frequencies`.

    Example:
        >>> from undertow.nn import Sequential
        >>> model = start_at_frequencies(Sequential(Dense(4, 2), "softmax"), [0, 0, 0, 1])
        >>> model(np.zeros((1, 4), np.float32))
        array([[0.75, 0.25]], dtype=float32)
        >>> small = start_at_frequencies(Sequential(Dense(400, 2)), [0, 1], scale=0.1)  # a deviation of 0.1/√400
        >>> bool(0.0045 < np.std(small.layers[0].W) < 0.0055)
        True
    """
    filled = initialize(model, seed, dtype)
    *_, last = [None, *walk_layers(filled)]
    if not isinstance(last, Dense) or last.b is None:
        raise ArgumentError(
            "start_at_frequencies: the model does not end in a Dense layer with biases. Give it one, or set the "
            "biases yourself, see bias_from_frequencies."
        )
    b = bias_from_frequencies(y, last.fan_out).astype(last.b.dtype)
    if scale is not None:
        return initialize(start_near(filled, b, scale, b.dtype), seed, b.dtype)
    changed = dataclasses.replace(last, b=b)
    return _map_dense(filled, lambda layer: changed if layer is last else layer)
