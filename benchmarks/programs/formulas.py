"""Formulas that many programs share. JAX's arrays take no ``np.add.at``: `sum_at` is the one place that knows it."""

from __future__ import annotations

import numpy as np


def softmax(z, axis=-1):
    """exp(z) / Σ exp(z)."""
    e = np.exp(z - np.max(z, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def log_softmax(z, axis=-1):
    """The logarithm of softmax."""
    z = z - np.max(z, axis=axis, keepdims=True)
    return z - np.log(np.sum(np.exp(z), axis=axis, keepdims=True))


def log_sum_exp(z, axis):
    """log Σ exp(z)."""
    most = np.max(z, axis=axis, keepdims=True)
    return np.squeeze(most, axis) + np.log(np.sum(np.exp(z - most), axis=axis))


def sigmoid(z):
    """1 / (1 + exp(−z))."""
    return 1 / (1 + np.exp(-z))


def softplus(z):
    """log(1 + exp(z))."""
    return np.logaddexp(0, z)


def gelu(z):
    """The tanh form of GELU."""
    return 0.5 * z * (1 + np.tanh(0.7978845608 * (z + 0.044715 * z**3)))


def layer_norm(x, gain, bias):
    """Rows with mean 0 and variance 1, then scaled and shifted."""
    centred = x - np.mean(x, axis=-1, keepdims=True)
    variance = np.mean(centred**2, axis=-1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * gain + bias


def unit_rows(x):
    """Rows of length 1."""
    return x / np.sqrt(np.sum(x * x, axis=-1, keepdims=True) + 1e-6)


def cross_entropy(scores, labels):
    """The mean of −log softmax(scores) at integer labels."""
    return -np.mean(np.take_along_axis(log_softmax(scores), labels[..., None], axis=-1))


def squared_distances(x, y):
    """‖xᵢ − yⱼ‖² of all rows, (rows of x, rows of y)."""
    return np.sum((x[:, None] - y[None]) ** 2, axis=-1)


def sum_at(places, values, n):
    """Add each row of ``values`` to the row of n zeros that its place names."""
    if np.__name__ == "jax.numpy":
        return np.zeros((n, *values.shape[1:]), values.dtype).at[places].add(values)
    total = np.zeros_like(values, shape=(n, *values.shape[1:]))
    np.add.at(total, places, values)
    return total
