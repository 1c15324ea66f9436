"""Layers, activations, initialisers and losses: plain NumPy code over parameter trees."""

from undertow.nn.activations import ACTIVATIONS, identity, relu, sigmoid, softmax, tanh
from undertow.nn.initialisers import (
    INITIALISERS,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    normal,
    zeros,
)
from undertow.nn.layers import Dense, Residual, Sequential
from undertow.nn.losses import (
    LOSSES,
    Loss,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    categorical_cross_entropy,
    categorical_cross_entropy_with_logits,
    find_loss,
    half_squared_error,
    mean_squared_error,
)
from undertow.nn.structure import (
    build_model,
    describe_model,
    drop_final_activation,
    final_activation,
    initialize,
    is_initialized,
    list_layers,
)

__all__ = [
    "Dense",
    "Residual",
    "Sequential",
    "initialize",
    "is_initialized",
    "list_layers",
    "describe_model",
    "build_model",
    "final_activation",
    "drop_final_activation",
    "ACTIVATIONS",
    "identity",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
    "INITIALISERS",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "normal",
    "zeros",
    "LOSSES",
    "Loss",
    "find_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "categorical_cross_entropy",
    "categorical_cross_entropy_with_logits",
    "half_squared_error",
    "mean_squared_error",
]
