"""What a look measures, on networks whose faults are known."""

import math

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim
from undertow.flow import flow_table
from undertow.flow.looks import count_identical, due_mark, effective_rank, mean_cosine
from undertow.flow.show import flow_html, flow_rows

RNG = np.random.default_rng(2)
X = RNG.standard_normal((700, 6)).astype(np.float32)
y = RNG.standard_normal((700, 2)).astype(np.float32)
SETTINGS = {"loss": "mean_squared_error", "optimizer": optim.sgd(1e-12), "progress": False, "epochs": 1}


def first_look(model, **more):
    return ut.train(model, (X, y), **{**SETTINGS, **more}).flow.looks[0]


def test_units_that_give_nothing_for_all_examples_are_dead():
    model = nn.initialize(nn.Sequential(nn.Dense(6, 20), "relu", nn.Dense(20, 2)))
    model.layers[0].b[[3, 11]] = -1e3
    row = first_look(model).layers[0]
    assert (row["units"], row["dead"], row["dead_units"]) == (20, 2, [3, 11])
    h = np.maximum(X @ model.layers[0].W + model.layers[0].b, 0)
    assert row["zeros"] == pytest.approx(np.mean(h == 0), abs=0.02)


def test_a_unit_is_dead_only_if_it_is_so_for_every_training_example():
    model = nn.initialize(nn.Sequential(nn.Dense(6, 4), "relu", nn.Dense(4, 2)))
    model.layers[0].W[:, 0], model.layers[0].b[0] = 0, -1.0
    model.layers[0].W[0, 0] = 1.0
    rare = np.full((700, 6), 0.1, np.float32)
    rare[-1, 0] = 5.0  # the only example for which unit 0 is on; a look takes some of all
    seen = [ut.train(model, (np.roll(rare, k, 0), y), **SETTINGS, validation=None).flow.looks[0] for k in (0, 300)]
    assert all(0 not in look.layers[0]["dead_units"] for look in seen)


def test_saturated_constant_and_identical_units():
    model = nn.initialize(nn.Sequential(nn.Dense(6, 10), "tanh", nn.Dense(10, 2)))
    W, b = model.layers[0].W, model.layers[0].b
    W[:, 0] = 0  # constant
    b[1] = 50.0  # saturated
    W[:, 3] = W[:, 2]
    row = first_look(model).layers[0]
    assert row["saturated_units"] == 1 and row["constant_units"] == 2 and row["identical"] == 2


def test_ranks_and_angles_against_singular_values():
    values = RNG.standard_normal((40, 12)) * np.linspace(0.1, 3, 12)
    share = np.linalg.svd(values - values.mean(axis=0), compute_uv=False) ** 2
    share /= share.sum()
    assert effective_rank(values) == pytest.approx(math.exp(-np.sum(share * np.log(share))), rel=1e-9)
    assert effective_rank(np.outer(RNG.standard_normal(9), RNG.standard_normal(5))) == pytest.approx(1, abs=1e-6)
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    cosines = (unit @ unit.T)[~np.eye(40, dtype=bool)]
    assert mean_cosine(values) == pytest.approx(cosines.mean(), rel=1e-9)
    assert count_identical(values) == 0 and count_identical(values[:, [0, 1, 0, 2, 2, 2]]) == 5


def test_histograms_hold_every_number():
    model = nn.initialize(nn.Sequential(nn.Dense(6, 10), "tanh", nn.Dense(10, 2)))
    look = first_look(model)
    for layer, W in zip(look.layers, (model.layers[0].W, model.layers[2].W), strict=True):
        found = layer["histograms"]["W"]
        counts, edges = np.histogram(W.astype(float), 40)
        assert found["counts"] == counts.tolist() and found["edges"] == pytest.approx(
            edges.tolist(), rel=1e-5, abs=1e-6
        )
        assert {"z", "delta", "dW"} <= set(layer["histograms"])


def test_the_noise_scale_is_that_of_gradients_taken_one_by_one():
    model = nn.initialize(nn.Sequential(nn.Dense(6, 2)), dtype=np.float64)
    look = first_look(model, validation=None, dtype="float64", batch_size=700)
    e = X.astype(float) @ model.layers[0].W - y
    each = np.concatenate([np.einsum("ni,nj->nij", X, e).reshape(700, -1), e], axis=1)
    spread, mean = each.var(axis=0, ddof=1).sum(), each.mean(axis=0)
    wanted = spread / (mean @ mean)
    assert look.noise_scale == pytest.approx(wanted, rel=0.6)  # an estimate from 16 examples


def test_looks_come_at_the_first_end_of_an_epoch_after_each_mark():
    looks = ut.train(nn.Dense(6, 2), (X, y), **{**SETTINGS, "epochs": 30, "batch_size": 32}).flow.looks
    assert [look.step for look in looks] == [0, 60, 160, 500, 600]  # 20 steps an epoch
    assert [step for step in range(1, 2001) if due_mark(step - 1, step)] == [50, 150, 500, 1500]


@pytest.mark.parametrize("rows", ["neighbours", "all 20"])
def test_a_loss_that_a_single_row_or_more_than_a_batch_cannot_have_is_looked_at_in_a_batch(rows):
    """A look takes up to 256 examples, and 16 one by one: such a loss trains as before, with what can be measured."""

    def loss(output, target):
        if rows == "neighbours":
            return np.mean((output[0] - output[1]) ** 2) + np.mean((output - target) ** 2)
        z = output.reshape(20, 2)
        return -np.mean(ut.log_softmax(z @ z.T, axis=1)[np.arange(20), (np.arange(20) + 1) % 20])

    own = {**SETTINGS, "loss": loss, "batch_size": 20, "validation": None}
    model = nn.initialize(nn.Sequential(nn.Dense(6, 2)))
    run = ut.train(model, (X, y), **own)
    look = run.flow.looks[0]
    assert look.noise_scale is None and "failed" not in run.flow.facts
    assert look.n_examples == (256 if rows == "neighbours" else 20)
    bare = ut.train(model, (X, y), **own, flow=False)
    np.testing.assert_array_equal(run.model.layers[0].W, bare.model.layers[0].W)


def test_a_table_shows_every_layer_and_escapes_names(capsys):
    from rich.console import Console

    class Odd(nn.Dense):
        def __repr__(self):
            return "<script>alert(1)</script>"

    flow = ut.train(nn.Sequential(Odd(6, 4), "relu", nn.Dense(4, 2)), (X, y), **SETTINGS).flow
    assert [row["layer"] for row in flow_rows(flow)][1] == "2  Dense(4, 2)"
    assert "<script>" not in flow_html(flow) and "&lt;script&gt;" in flow._repr_html_()
    console = Console(width=140, record=True)
    console.print(flow)
    text = console.export_text()
    assert "2  Dense(4, 2)" in text and "█" in text and flow_table(flow).row_count == 2


@pytest.mark.parametrize("step", ["a", 2.5, True, -1, [1], float("nan"), np.array([1])])
def test_a_step_that_is_none_is_told(step):
    """By whatever takes the number of a step; whole numbers of NumPy and of any size are steps."""
    flow = ut.train(nn.Sequential(nn.Dense(6, 2)), (X, y), **SETTINGS).flow
    for ask in (flow.look, flow.at, lambda step: flow_table(flow, step), lambda step: flow_html(flow, step)):
        with pytest.raises(ut.ArgumentError, match=r"step must be a whole number .* This record has steps 1 to 10"):
            ask(step)
    assert flow.look(np.int64(3)).step == 0 and flow.at(10**30) == len(flow) - 1 and flow.at(np.uint8(2)) == 1
    with pytest.raises(ut.ArgumentError, match="It has no steps yet"):
        type(flow).empty(flow.layers).look("a")
