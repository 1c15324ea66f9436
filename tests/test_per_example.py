"""Per-example gradients equal a loop over batches of one, on networks as people write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import undertow as ut
from networks import arguments, cases
from undertow import trees
from undertow.graph import Graph
from undertow.per_example import _evaluate
from undertow.primitives import REGISTRY
from undertow.trace import trace_function

FUNCTIONS, ARGUMENTS = cases(np), arguments()


def batch_sizes(args: Any) -> set[int]:
    return {np.shape(x)[0] for arg in args[1:] for x in trees.flatten(arg)[0] if np.ndim(x)}


# picked_classes holds the positions of a whole batch; no batch of one fits it
NAMES = sorted(name for name in FUNCTIONS if len(batch_sizes(ARGUMENTS[name])) == 1 and name != "picked_classes")


@pytest.mark.parametrize("name", NAMES)
def test_rows_equal_the_gradients_of_batches_of_one(name: str) -> None:
    """Row i is the gradient of the loss for example i alone."""
    f, (params, *data) = FUNCTIONS[name], ARGUMENTS[name]
    (m,) = batch_sizes(ARGUMENTS[name])
    found = trees.flatten(ut.per_example_grad(f)(params, *data))[0]
    for i in range(m):
        one = [trees.map(lambda x, i=i: x[i : i + 1] if np.ndim(x) else x, arg) for arg in data]
        wanted = trees.flatten(ut.grad(f)(params, *one))[0]
        for rows, row in zip(found, wanted, strict=True):
            if isinstance(row, np.ndarray):
                np.testing.assert_allclose(rows[i], row, rtol=1e-9, atol=1e-12)


def test_integer_labels_and_their_mean() -> None:
    """Softmax and cross-entropy by integer labels: rows average to the gradient of the batch."""
    rng = np.random.default_rng(0)
    W, X, y = rng.normal(size=(4, 3)), rng.normal(size=(6, 4)), rng.integers(0, 3, 6)

    def loss(W: Any, X: Any, y: Any) -> Any:
        z = X @ W
        return -np.mean((z - np.log(np.sum(np.exp(z), axis=1, keepdims=True)))[np.arange(len(y)), y])

    rows = ut.per_example_grad(loss)(W, X, y)
    assert rows.shape == (6, 4, 3)
    np.testing.assert_allclose(rows.mean(axis=0), ut.grad(loss)(W, X, y), rtol=1e-10)


SAMPLES = [
    pytest.param(primitive, number, id=f"{primitive.name}-{number}")
    for primitive in REGISTRY.values()
    for number in range(len(primitive.samples()))
]


@pytest.mark.parametrize(("primitive", "number"), SAMPLES)
def test_each_operation_treats_examples_apart(primitive: Any, number: int) -> None:
    """An operation on three examples at once equals three operations, with any one argument alike for all."""
    sample = primitive.samples()[number]
    places = [i for i, x in enumerate(sample.args) if isinstance(x, np.ndarray)]
    if not places or len(places) != len(sample.args):
        pytest.skip("numbers are alike for all examples")
    try:
        traced = trace_function(lambda *args: primitive(*args, **sample.params), sample.args)
    except ut.UndertowError:
        pytest.skip("its shape depends on values")
    graph = Graph(traced.graph.inputs, traced.graph.outputs)
    for shared in (None, *(places if len(places) > 1 else ())):
        rows = [
            x if i == shared else np.stack([x, x[..., ::-1] if np.ndim(x) else x, x]) for i, x in enumerate(sample.args)
        ]
        each = [[x if i == shared else x[example] for i, x in enumerate(rows)] for example in range(3)]
        try:
            wanted = [primitive.forward(*one, **sample.params) for one in each]
        except ValueError:  # what is reversed is no argument of NumPy's, such as the edges of bins
            continue
        (found,) = _evaluate(graph, rows, [i != shared for i in places], 3)
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


WINDOWS = np.lib.stride_tricks.sliding_window_view
RARE = {
    "einsum": lambda W, X: np.mean(np.einsum("ij,jk->ik", X, W) ** 2),
    "einsum of rows": lambda W, X: np.mean(np.einsum("ij,jk,il->kl", X, W, X) ** 2),
    "convolution": lambda W, X: np.mean(np.einsum("nik,kj->nij", WINDOWS(X, 3, axis=1), W) ** 2),
    "windows": lambda W, X: np.mean(WINDOWS(X @ W, 2, axis=1) ** 3),
    "tensordot": lambda W, X: np.mean(np.tensordot(X, W, 1) ** 2),
    "sort": lambda W, X: np.mean(np.sort(X @ W, axis=1)[:, 0] ** 2),
    "median": lambda W, X: np.mean(np.median(X @ W, axis=1) ** 2),
    "pad": lambda W, X: np.mean(np.pad(X @ W, ((0, 0), (1, 1)), mode="edge") ** 2),
    "solve": lambda W, X: np.mean(np.linalg.solve(W.T @ W + np.eye(4), (X @ W).T) ** 2),
    "determinant": lambda W, X: np.mean(np.linalg.det(np.einsum("ij,ik->ijk", X @ W, X @ W) + np.eye(4))),
}


@pytest.mark.parametrize("name", RARE)
def test_any_operation_may_stand_in_a_loss(name: str) -> None:
    """Row i is the derivative of the loss of example i alone, by central differences of NumPy's own run."""
    rng = np.random.default_rng(3)
    W, X = rng.normal(size=(3, 4)), rng.normal(size=(5, 3))
    found = ut.per_example_grad(RARE[name])(W, X)
    assert found.shape == (5, 3, 4)
    for i in range(5):
        wanted = np.empty_like(W)
        for place in np.ndindex(W.shape):
            step = np.zeros_like(W)
            step[place] = 1e-6
            up, down = (RARE[name](W + sign * step, X[i : i + 1]) for sign in (1, -1))
            wanted[place] = (up - down) / 2e-6
        np.testing.assert_allclose(found[i], wanted, rtol=1e-5, atol=1e-7)


def test_what_has_no_batch_is_told() -> None:
    """No batch size, two of them, or a branch on values: an error with the reason."""
    with pytest.raises(ut.ShapeError, match="their first axes are 2, 3"):
        ut.per_example_grad(lambda w, x, y: w)(1.0, np.ones(2), np.ones(3))
    with pytest.raises(ut.ShapeError, match="their first axes are none"):
        ut.per_example_grad(lambda w, x: w * x)(1.0, 2.0)
    with pytest.raises(ut.ControlFlowError):
        ut.per_example_grad(lambda w, x: w if np.sum(x) > 0 else w * w)(1.0, np.ones(3))


def test_a_function_written_for_one_example_is_told_so() -> None:
    """As vmap takes it: the error says with which shape the function is called."""
    with pytest.raises(ut.ShapeError, match=r"x is \(1, 3\).* batches of one row, here \(1, 3\): write it for a batch"):
        ut.per_example_grad(lambda w, x, y: (w @ x - y) ** 2)(np.ones(3), np.ones((4, 3)), np.ones(4))
    with pytest.raises(ut.NonScalarError, match=r"batches of one row"):
        ut.per_example_grad(lambda w, x, y: (x @ w - y) ** 2)(np.ones(3), np.ones((4, 3)), np.ones(4))
