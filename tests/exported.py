"""Models of every kind, and what runs their exports."""

import types
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import undertow as ut
from undertow import nn


@dataclass(eq=False)
class LayerNorm:
    """Rows brought to mean 0 and variance 1, then scaled."""

    gamma: Any
    beta: Any
    epsilon: float = 1e-5

    def __call__(self, x):
        mean = np.mean(x, axis=-1, keepdims=True)
        scaled = (x - mean) / np.sqrt(np.var(x, axis=-1, keepdims=True) + self.epsilon)
        return scaled * self.gamma + self.beta


@dataclass(eq=False)
class Embedding:
    """Whole numbers to vectors, their mean over a row."""

    table: Any

    def __call__(self, x):
        vectors = np.take(self.table, x.astype(np.int64), axis=0)
        return np.mean(vectors, axis=1)


@dataclass(eq=False)
class Attention:
    """Scaled dot products between the positions of a sequence of 4, in one head."""

    Q: Any
    K: Any
    V: Any

    def __call__(self, x):
        sequence = x.reshape(x.shape[0], 4, -1)
        q, k, v = sequence @ self.Q, sequence @ self.K, sequence @ self.V
        weights = ut.softmax(q @ np.swapaxes(k, 1, 2) / q.shape[-1] ** 0.5, axis=-1)
        mixed = weights @ v
        return mixed.reshape(x.shape[0], -1)


@dataclass(eq=False)
class Convolution:
    """Windows of a signal times kernels, then the largest of each channel."""

    W: Any

    def __call__(self, x):
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (1, 1))), self.W.shape[0], axis=1)
        return np.max(np.einsum("mnk,kc->mnc", windows, self.W), axis=1)


def gelu(z):
    return 0.5 * z * (1 + np.tanh(0.7978845608 * (z + 0.044715 * z**3)))


def mish_like(z):
    return z * np.tanh(ut.softplus(z)) + np.where(z > 0, np.log1p(np.abs(z)), np.expm1(-np.abs(z)))


def clipped(z):
    parts = np.split(z, 2, axis=1)
    return np.concatenate([np.clip(parts[0], -1, 1) ** 2, np.minimum(parts[1][:, ::-1], 0.5)], axis=1)


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


MODELS = {
    "a stack": nn.Sequential(nn.Dense(6, 8), "relu", nn.Residual(nn.Dense(8, 8), "tanh"), nn.Dense(8, 3)),
    "activations": nn.Sequential(
        nn.Dense(6, 8), "sigmoid", nn.Dense(8, 8), gelu, nn.Dense(8, 8), mish_like, nn.Dense(8, 6), clipped,
        nn.Dense(6, 6, bias=False), "identity", nn.Dense(6, 3),
    ),
    "softmax at the end": nn.Sequential(nn.Dense(6, 5), "tanh", nn.Dense(5, 3), "softmax"),
    "layer norm": nn.Sequential(nn.Dense(6, 8), LayerNorm(draw(8), draw(8, seed=1)), "relu", nn.Dense(8, 3)),
    "embedding": nn.Sequential(Embedding(draw(10, 4)), nn.Dense(4, 3)),
    "attention": nn.Sequential(nn.Dense(6, 12), Attention(draw(3, 5), draw(3, 5, seed=1), draw(3, 2)), nn.Dense(8, 3)),
    "every activation": nn.Sequential(
        *[x for name in nn.ACTIVATIONS for x in (nn.Dense(6, 6), name)], nn.PReLU(), nn.Dense(6, 3)
    ),
    "every container": nn.Sequential(
        nn.Concat(nn.Dense(6, 3)), nn.RMSNorm(9), nn.Dense(9, 4), nn.LayerNorm(4), nn.Parallel(nn.Dense(4, 3), "tanh"),
        nn.Dense(7, 3), nn.Reshape((3, 1)), nn.Flatten(), nn.Dropout(0.3), nn.Scale(3),
    ),
    "convolution": nn.Sequential(Convolution(draw(3, 5)), "relu", nn.Dense(5, 3)),
}  # fmt: skip


def rows_for(name: str, n: int, seed: int = 0) -> np.ndarray:
    """X for a model of ``MODELS``."""
    rng = np.random.default_rng(seed)
    if name == "embedding":
        return rng.integers(0, 10, (n, 6)).astype(np.float32)
    return rng.normal(size=(n, 6)).astype(np.float32)


def train_shortly(model: Any, X: np.ndarray, loss: str = "categorical_cross_entropy", **settings: Any) -> ut.Run:
    """A run of one epoch on targets that follow from X."""
    y = (np.abs(X).sum(axis=1) * 7).astype(np.int64) % 3
    if loss == "binary_cross_entropy":
        y = (y > 1)[:, None].astype(np.float32)
    elif loss != "categorical_cross_entropy":
        y = X @ np.ones((X.shape[1], 2), np.float32)
    settings = {"epochs": 1, "batch_size": 16, "validation": None, "progress": False, **settings}
    return ut.train(model, (X, y), loss=loss, **settings)


@cache
def run_of(name: str) -> ut.Run:
    """A run of a model of ``MODELS``; nobody changes it."""
    return train_shortly(MODELS[name], rows_for(name, 48))


def load_source(path: Path) -> types.ModuleType:
    """Run an exported file without Undertow."""
    text = path.read_text(encoding="utf-8")
    assert "undertow" not in [line.split()[1] for line in text.splitlines() if line.startswith(("import ", "from "))]
    module = types.ModuleType("exported_model")
    module.__file__ = str(path)
    exec(compile(text, str(path), "exec"), vars(module))
    return module
