"""Loops of one's own whose layers stand beside one another, and whose batches look alike at a glance."""

import numpy as np
import pytest

import undertow as ut
from undertow.flow.mixed import held_of


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("shortcut", [0.0, 1.0])
def test_queries_and_keys_whose_gradients_fade_are_no_gradient_that_explodes(shortcut):
    """Dong et al., Attention is not all you need, ICML 2021, theorem 2.2: attention upon attention makes all places of
    a sequence alike, doubly exponentially. So weights of attention become even, and queries and keys get no gradient;
    that of the values stays as it is."""
    rng = np.random.default_rng(0)
    width, depth = 16, 6

    def loss(params, X, y):
        h = X
        for block in params["blocks"]:
            q, k, v = h @ block["q"], h @ block["k"], h @ block["v"]
            h = shortcut * h + softmax(q @ np.swapaxes(k, 1, 2) / np.sqrt(width)) @ v
        return np.mean((h.mean(axis=1) @ params["out"] - y) ** 2)

    blocks = [{name: rng.standard_normal((width, width)) / np.sqrt(width) for name in "qkv"} for _ in range(depth)]
    params = {"blocks": blocks, "out": rng.standard_normal((width, 1)) / np.sqrt(width) / (1 + 7 * shortcut)}
    measured = ut.flow.recorded(loss)
    for _ in range(60):
        X = rng.standard_normal((32, 8, width))
        gradient = measured(params, X, X.mean(axis=1)[:, :1] * 3)[1]
        params = ut.trees.map(lambda p, g: p - 0.01 * g, params, gradient)
    flow = measured.flow
    size = dict(zip([x.name for x in flow.layers], flow.stat("delta.rms")[0], strict=True))
    if not shortcut:
        assert size["X @ q1"] > 1e3 * size["h5 @ q6"]
        assert size["X @ v1"] < 3 * size["h5 @ v6"]
    assert not [x.cause for x in measured.findings if x.kind == "exploding"]


@pytest.mark.parametrize("first", [0.0, 1.0])
def test_batches_of_64_rows_whose_first_column_is_the_same_are_not_taken_for_one(first):
    """Every 64th part of 64 rows is their first column, and that is 1 where it is the bias, or an edge of images."""
    rng = np.random.default_rng(0)
    a, b = (np.concatenate([np.full((64, 1), first), rng.standard_normal((64, 9))], axis=1) for _ in range(2))
    assert held_of([a]) != held_of([b]) and held_of([a]) == held_of([a.copy()])


def test_batches_of_rows_that_are_nearly_all_0_are_not_taken_for_one():
    rng = np.random.default_rng(0)
    a, b = (np.eye(1000)[rng.integers(0, 1000, 64)] for _ in range(2))
    assert held_of([a]) != held_of([b]) and held_of([a]) == held_of([a.copy()])
