"""From the settings of an estimator to a model of `undertow.nn`, with its first parameters."""

from __future__ import annotations

import copy
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.errors import ArgumentError
from undertow.nn import (
    BatchNorm,
    Dense,
    Dropout,
    LayerNorm,
    Residual,
    Sequential,
    drop_final_activation,
    final_activation,
    initialize,
    is_initialized,
    list_layers,
)
from undertow.sklearn.settings import read_widths, spread

NORMS: Final = {"batch": BatchNorm, "layer": LayerNorm}
RENAMED: Final = {"logistic": "sigmoid"}


def build_network(settings: Any, n_in: int, n_out: int, rng: np.random.RandomState, dtype: np.dtype[Any]) -> Any:
    """Build the model and fill its parameters.

    Without an initialiser they are drawn as scikit-learn draws them, number for number, so that the same
    random_state gives the same network.

    Args:
        settings: the estimator.
        n_in: the number of features.
        n_out: the number of outputs.
        rng: what is drawn from.
        dtype: of the parameters.

    Returns:
        The model; it gives logits, or values.

    Raises:
        ArgumentError: a setting that cannot be meant; a model of one's own that takes or gives other widths.

    Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward networks, AISTATS 2010, eq. 16,
        for the biases too, as scikit-learn has it.

    Example:
        >>> from undertow.sklearn import MLPClassifier
        >>> build_network(MLPClassifier(layers=[8], dropout=0.1), 4, 3, np.random.RandomState(0), np.dtype("float32"))
        Sequential(Dense(4, 8), relu, Dropout(rate=0.1), Dense(8, 3))
    """
    if settings.layers is not None and np.ravel(settings.hidden_layer_sizes).tolist() != [100]:
        raise ArgumentError(
            f"layers is {settings.layers!r:.80} and hidden_layer_sizes {settings.hidden_layer_sizes!r:.80}, which are "
            "two names of one thing. Give one of them, and leave the other out."
        )
    if _is_own(settings.layers):
        model = _own_model(settings)
    else:
        model = _network_of_widths(settings, n_in, n_out, rng, dtype)
    if not is_initialized(model):
        model = initialize(model, int(rng.randint(np.iinfo(np.int32).max)), dtype)
    _check_fit(model, n_in, n_out, dtype)
    return model


def _is_own(layers: Any) -> bool:
    """Whether ``layers`` is a model or a list of layers, not of widths."""
    if isinstance(layers, list | tuple):
        return any(not isinstance(item, int | float | np.number) for item in layers)
    return layers is not None and not isinstance(layers, int | np.integer | np.ndarray)


def _own_model(settings: Any) -> Any:
    for name, usual in (("dropout", 0.0), ("norm", None), ("residual", False), ("initialiser", None)):
        if getattr(settings, name) != usual:
            raise ArgumentError(f"layers is a model, so {name} has no place to go. Put it into the model.")
    layers = settings.layers
    model = Sequential(*layers) if isinstance(layers, list | tuple) else copy.copy(layers)
    if isinstance(model, type) or not callable(model):
        raise ArgumentError(f"layers is {layers!r}. Give widths such as [64, 32], layers of undertow.nn, or a model.")
    return model


def logits_of(model: Any, end: str | None) -> Any:
    """Take the activation off that a model ends in, if it is the one that makes p of z for the loss."""
    return drop_final_activation(model) if end is not None and final_activation(model) == end else model


def _network_of_widths(
    settings: Any, n_in: int, n_out: int, rng: np.random.RandomState, dtype: np.dtype[Any]
) -> Sequential:
    widths = read_widths(settings)
    n = len(widths)
    activations = spread("activation", settings.activation, n)
    dropouts = spread("dropout", settings.dropout, n)
    if settings.norm is not None and settings.norm not in NORMS:
        raise ArgumentError(f"norm is {settings.norm!r}. Use 'batch', 'layer' or None.")
    items: list[Any] = []
    for fan_in, width, activation, dropout in zip([n_in, *widths][:n], widths, activations, dropouts, strict=True):
        block: list[Any] = [_dense(settings.initialiser, fan_in, width, activation, rng, dtype)]
        if settings.norm is not None:
            block.append(NORMS[settings.norm](width))
        if activation != "identity":
            block.append(RENAMED.get(activation, activation) if isinstance(activation, str) else activation)
        if dropout:
            block.append(Dropout(dropout))
        items += [Residual(*block, projection="auto")] if settings.residual else block
    last = activations[-1] if activations else settings.activation
    return Sequential(*items, _dense(settings.initialiser, widths[-1] if n else n_in, n_out, last, rng, dtype))


def _dense(
    init: Any, fan_in: int, fan_out: int, activation: Any, rng: np.random.RandomState, dtype: np.dtype[Any]
) -> Dense:
    """A layer; without an initialiser, with the numbers that scikit-learn would draw."""
    if init is not None:
        return Dense(fan_in, fan_out, init=init)
    bound = np.sqrt((2.0 if activation == "logistic" else 6.0) / (fan_in + fan_out))
    W = rng.uniform(-bound, bound, (fan_in, fan_out)).astype(dtype, copy=False)
    return Dense(fan_in, fan_out, W=W, b=rng.uniform(-bound, bound, fan_out).astype(dtype, copy=False))


def _check_fit(model: Any, n_in: int, n_out: int, dtype: np.dtype[Any]) -> None:
    """Refuse a model that does not take the features, or does not give the outputs."""
    found = np.shape(model(np.zeros((2, n_in), dtype)))
    if found != (2, n_out):
        gives = f"(m, {', '.join(map(str, found[1:]))})" if len(found) > 1 else f"{found}"
        raise ArgumentError(
            f"layers gives {gives}, but the targets need (m, {n_out}). Let its last layer be Dense(…, {n_out})."
        )


def dense_layers(model: Any) -> list[Dense]:
    """List the fully connected layers of a model, first to last."""
    return [layer for _, layer in list_layers(model) if isinstance(layer, Dense)]


def put_arrays(model: Any, name: str, arrays: list[NDArray[Any]]) -> Any:
    """Return a copy of a model whose fully connected layers have other weights (``"W"``) or biases (``"b"``)."""
    layers = dense_layers(model)
    if len(arrays) != len(layers):
        raise ArgumentError(f"there are {len(layers)} layers, but {len(arrays)} arrays. Give one a layer.")
    memo: dict[int, Any] = {}
    for layer, array in zip(layers, arrays, strict=True):
        new = copy.copy(layer)
        setattr(new, name, np.asarray(array))
        memo[id(layer)] = new
    return copy.deepcopy(model, memo)


class LayerArrays(list[NDArray[Any]]):
    """The weights or the biases of an estimator's layers, one of which can be replaced: ``coefs_[0] = W``."""

    def __init__(self, arrays: list[NDArray[Any]], estimator: Any, name: str) -> None:
        super().__init__(arrays)
        self._estimator, self._name = estimator, name

    def __setitem__(self, index: Any, value: Any) -> None:
        """Replace an array, or several, in the estimator too."""
        super().__setitem__(index, value)
        arrays = list(getattr(self._estimator, self._name))
        arrays[index] = value
        setattr(self._estimator, self._name, arrays)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the arrays alone."""
        return list, (list(self),)
