"""The emitted backward pass against the lesson's formulas, variable by variable, for every loss the lesson names."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import undertow as ut

# ---- the lesson's functions ------------------------------------------------------------------------


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def relu(z: Any) -> Any:
    return np.maximum(0, z)


def tanh(z: Any) -> Any:
    return np.tanh(z)


def identity(z: Any) -> Any:
    return z


def softmax_rows(z: Any) -> Any:
    e = np.exp(z - np.max(z, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def softmax_columns(z: Any) -> Any:
    e = np.exp(z - np.max(z, axis=0, keepdims=True))
    return e / np.sum(e, axis=0, keepdims=True)


def softmax_vector(z: Any) -> Any:
    e = np.exp(z - np.max(z))
    return e / np.sum(e)


SLOPES = {  # of the hidden layer, from z and h
    sigmoid: lambda z, h: h * (1 - h),
    relu: lambda z, h: (z > 0) * 1.0,
    tanh: lambda z, h: 1 - h**2,
}


def half_square(y: Any, p: Any, m: int) -> Any:
    return 0.5 * np.sum((p - y) ** 2)


def mean_square(y: Any, p: Any, m: int) -> Any:
    return np.mean((y - p) ** 2)


def half_mean_square(y: Any, p: Any, m: int) -> Any:
    return np.sum((p - y) ** 2) / (2 * m)


def binary(y: Any, p: Any, m: int) -> Any:
    return -np.sum(y * np.log(p) + (1 - y) * np.log(1 - p)) / m


def categorical(y: Any, p: Any, m: int) -> Any:
    return -np.sum(y * np.log(p)) / m


# The loss, the output's activation by layout, and the lesson's dz2 from p, y and m.
OUTPUTS: dict[str, tuple[Any, Any, Any]] = {
    "half square": (half_square, identity, lambda p, y, m: p - y),
    "half square of a sigmoid": (half_square, sigmoid, lambda p, y, m: (p - y) * p * (1 - p)),
    "mean square": (mean_square, identity, lambda p, y, m: 2 / y.size * (p - y)),
    "mean square of a sigmoid": (mean_square, sigmoid, lambda p, y, m: 2 / y.size * (p - y) * p * (1 - p)),
    "half mean square": (half_mean_square, identity, lambda p, y, m: (p - y) / m),
    "binary cross-entropy": (binary, sigmoid, lambda p, y, m: (p - y) / m),
    "categorical cross-entropy": (categorical, "softmax", lambda p, y, m: (p - y) / m),
}
TERMS = ("dz2", "dW2", "db2", "dh1", "dz1", "dW1", "db1")
each = pytest.mark.parametrize("output", OUTPUTS)
hidden = pytest.mark.parametrize("h", SLOPES, ids=lambda h: h.__name__)


def locals_of_backward(bp: ut.Backprop, *args: Any) -> dict[str, Any]:
    """Execute the emitted module, with backward made to return its local variables and what it returned."""
    head, tail = bp.source.rsplit("    return ", 1)
    returned, _, rest = tail.partition("\n")
    assert "def backward" in head
    source = f"{head}    result = ({returned.split('  #')[0]})\n    return locals()\n{rest}"
    module: dict[str, Any] = {}
    exec(compile(source, "lesson", "exec"), module)
    found: dict[str, Any] = module["backward"](module["forward"](*args)[1])
    return found


def assert_terms(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Each of the lesson's seven terms is a local variable of its name; a bias that is its dz may share the line."""
    for name, gradient in zip(("dW1", "db1", "dW2", "db2"), found["result"], strict=True):
        np.testing.assert_allclose(gradient, wanted[name], rtol=1e-11, atol=1e-14, err_msg=name)
    for name in TERMS:
        if name not in found and name[1] == "b" and wanted[name] is wanted[f"dz{name[2]}"]:
            continue
        assert name in found, f"{name} is not a local variable of backward: {sorted(found)}"
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-11, atol=1e-14, err_msg=name)


@each
@hidden
def test_rows_of_examples(output: str, h: Any) -> None:
    """``X @ W + b``: dz2, dW2 = h1ᵀ dz2, db2 = Σ dz2, dh1 = dz2 W2ᵀ, dz1 = dh1 ⊙ h′, dW1 = Xᵀ dz1, db1 = Σ dz1."""
    loss, out, delta = OUTPUTS[output]
    out = softmax_rows if out == "softmax" else out
    rng = np.random.default_rng(1)
    params = rng.normal(size=(5, 7)), rng.normal(size=7), rng.normal(size=(7, 3)), rng.normal(size=3)

    def network(params: Any, X: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        z1 = X @ W1 + b1
        h1 = h(z1)
        z2 = h1 @ W2 + b2
        p = out(z2)
        return loss(y, p, X.shape[0])

    bp = ut.backprop(network, params, rng.normal(size=(12, 5)), np.eye(3)[rng.integers(0, 3, 12)])
    for m in (12, 1, 30):
        X, y = rng.normal(size=(m, 5)), np.eye(3)[rng.integers(0, 3, m)]
        W1, b1, W2, b2 = params
        z1 = X @ W1 + b1
        h1 = h(z1)
        p = out(h1 @ W2 + b2)
        dz2 = delta(p, y, m)
        dh1 = dz2 @ W2.T
        dz1 = dh1 * SLOPES[h](z1, h1)
        wanted = {
            "dz2": dz2, "dW2": h1.T @ dz2, "db2": np.sum(dz2, axis=0), "dh1": dh1,
            "dz1": dz1, "dW1": X.T @ dz1, "db1": np.sum(dz1, axis=0),
        }  # fmt: skip
        assert_terms(locals_of_backward(bp, params, X, y), wanted)


@each
@hidden
def test_one_example_with_weights_first(output: str, h: Any) -> None:
    """``np.dot(W, x) + b`` of a vector: dW is the outer product of dz and what came in, db is dz itself."""
    loss, out, delta = OUTPUTS[output]
    out = softmax_vector if out == "softmax" else out
    rng = np.random.default_rng(2)
    params = rng.normal(size=(7, 5)), rng.normal(size=7), rng.normal(size=(3, 7)), rng.normal(size=3)
    x, y = rng.normal(size=5), np.array([0.0, 1.0, 0.0])

    def network(params: Any, x: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        z1 = np.dot(W1, x) + b1
        h1 = h(z1)
        z2 = np.dot(W2, h1) + b2
        p = out(z2)
        return loss(y, p, 1)

    W1, b1, W2, b2 = params
    z1 = W1 @ x + b1
    h1 = h(z1)
    p = out(W2 @ h1 + b2)
    dz2 = delta(p, y, 1)
    dh1 = W2.T @ dz2
    dz1 = dh1 * SLOPES[h](z1, h1)
    wanted = {
        "dz2": dz2, "dW2": np.outer(dz2, h1), "db2": dz2, "dh1": dh1,
        "dz1": dz1, "dW1": np.outer(dz1, x), "db1": dz1,
    }  # fmt: skip
    # Where the row sums of y stay, p Σy − y is what the formula is for any y; here they sum to 1.
    assert_terms(locals_of_backward(ut.backprop(network, params, x, y), params, x, y), wanted)


@each
@hidden
def test_columns_of_examples(output: str, h: Any) -> None:
    """``np.dot(W, X) + b`` with an example a column: dW = dz h ᵀ, db the sum over columns, kept as a column."""
    loss, out, delta = OUTPUTS[output]
    out = softmax_columns if out == "softmax" else out
    rng = np.random.default_rng(3)
    params = rng.normal(size=(7, 5)), rng.normal(size=(7, 1)), rng.normal(size=(3, 7)), rng.normal(size=(3, 1))

    def network(params: Any, X: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        z1 = np.dot(W1, X) + b1
        h1 = h(z1)
        z2 = np.dot(W2, h1) + b2
        p = out(z2)
        return loss(y, p, X.shape[1])

    X, y = rng.normal(size=(5, 12)), np.eye(3)[rng.integers(0, 3, 12)].T
    W1, b1, W2, b2 = params
    z1 = W1 @ X + b1
    h1 = h(z1)
    p = out(W2 @ h1 + b2)
    dz2 = delta(p, y, 12)
    dh1 = W2.T @ dz2
    dz1 = dh1 * SLOPES[h](z1, h1)
    wanted = {
        "dz2": dz2, "dW2": dz2 @ h1.T, "db2": np.sum(dz2, axis=1, keepdims=True), "dh1": dh1,
        "dz1": dz1, "dW1": dz1 @ X.T, "db1": np.sum(dz1, axis=1, keepdims=True),
    }  # fmt: skip
    assert_terms(locals_of_backward(ut.backprop(network, params, X, y), params, X, y), wanted)


@each
def test_the_lines_stand_in_the_lessons_order(output: str) -> None:
    """From the output backward: dz2 before dW2, db2 and dh1, these before dz1, that before dW1 and db1."""
    loss, out, _ = OUTPUTS[output]
    out = softmax_rows if out == "softmax" else out

    def network(params: Any, X: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        z1 = X @ W1 + b1
        h1 = np.tanh(z1)
        z2 = h1 @ W2 + b2
        p = out(z2)
        return loss(y, p, X.shape[0])

    args = (np.ones((5, 7)), np.ones(7), np.ones((7, 3)), np.ones(3)), np.ones((12, 5)), np.ones((12, 3))
    source = ut.backprop(network, *args).source
    lines = re.findall(r"^    (d\w+) = ", source[source.index("def backward") :], flags=re.MULTILINE)
    place = {name: i for i, name in enumerate(lines)}
    place.setdefault("dz2", -1)  # where the loss itself needs p − y, the forward pass has it already
    assert set(TERMS) <= set(place)
    assert "dz2" in source
    assert place["dz2"] < min(place["dW2"], place["db2"], place["dh1"])
    assert place["dh1"] < place["dz1"] < min(place["dW1"], place["db1"])
    first = next(line for line in source.splitlines() if line.strip().startswith("dz1 = "))
    assert "dh1 * (1 - h1 ** 2)" in first
