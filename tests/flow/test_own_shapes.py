"""Loops of one's own whose layers stand beside one another or pool, and whose batches look alike at a glance."""

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


@pytest.mark.parametrize("seed", range(3))
def test_units_that_are_off_because_pooled_inputs_are_alike_are_no_dead_ones(seed):
    """The largest of many positions is above 0 for all examples, and much alike: of random directions of such inputs a
    third have no example on their side, of what is pooled next to none."""
    rng = np.random.default_rng(seed)
    signals = rng.standard_normal((400, 24))
    y = signals[:, 1:].max(axis=1, keepdims=True) - signals[:, :-1].min(axis=1, keepdims=True)
    windows = np.arange(22)[:, None] + np.arange(3)

    def loss(params, X, y):
        h = np.maximum(X[:, windows] @ params["kernel"], 0).max(axis=1)
        h = np.maximum(h @ params["W"] + params["b"], 0)
        return np.mean((h @ params["out"] + params["c"] - y) ** 2)

    params = {
        "kernel": rng.standard_normal((3, 16)) * np.sqrt(2 / 3),
        "W": rng.standard_normal((16, 16)) * np.sqrt(2 / 16),
        "b": np.zeros(16),
        "out": rng.standard_normal((16, 1)) / 8,
        "c": np.full(1, y.mean()),
    }
    measured = ut.flow.recorded(loss)
    for _ in range(80):
        rows = rng.permutation(400)[:64]
        gradient = measured(params, signals[rows], y[rows])[1]
        params = ut.trees.map(lambda p, g: p - 0.01 * g, params, gradient)
    first = measured.flow.looks[0].layers[1]
    pooled = np.maximum(signals[:, windows] @ params["kernel"], 0).max(axis=1)
    share = np.mean((pooled[:64] @ rng.standard_normal((16, 4000)) <= 0).all(axis=0))
    assert first["dead"] >= 3 and first["dead_by_nature"] == pytest.approx(share, abs=0.12)
    assert "dead-units" not in [x.kind for x in measured.findings]
