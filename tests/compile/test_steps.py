"""Steps of training, compiled: the same as by NumPy, in the same memory, to the same last bit each time."""

import gc
import resource

import numpy as np
import pytest

import undertow as ut
from compiled_graphs import ones_by_numpy
from undertow import nn, optim, trees
from undertow.compile.resident import Resident
from undertow.trace import trace_function
from undertow.train.session import NotFinite, PlainSession
from undertow.train.step import make_step

RULES = [optim.sgd(0.1), optim.momentum(0.05), optim.adam(0.01)]
CLIPS = [None, optim.clip_by_global_norm(0.5), optim.clip_by_value(0.01)]


def make(rule=RULES[2], clip=None, dtype=np.float32, width=16):
    model = nn.initialize(nn.Sequential(nn.Dense(6, width), "tanh", nn.Dense(width, 3)), 0, dtype)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(103, 6)).astype(dtype), rng.integers(0, 3, 103)
    step = make_step(lambda m, X, y: nn.categorical_cross_entropy_with_logits(m(X), y), rule, clip)
    return step, model, step.init(model), X, y


def leaves(tree):
    return [leaf for leaf in trees.flatten(tree)[0] if not callable(leaf)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("clip", CLIPS, ids=str)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_steps_are_those_of_numpy(rule, clip, dtype):
    step, model, state, X, y = make(rule, clip, dtype)
    order = np.random.default_rng(1).permutation(103)
    plain, compiled = PlainSession(step, model, state, X, y), step.open(model, state, X, y, 20)
    bound = 2e-4 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(compiled.run(order, 20), plain.run(order, 20), rtol=bound)
    for found, wanted in zip(leaves(compiled.values()), leaves(plain.values()), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=bound, atol=bound / 100)
    assert step.uncompiled is None and np.array_equal(leaves(model)[0], leaves(make(rule, clip, dtype)[1])[0])


def test_the_same_steps_in_other_portions_are_the_same_to_the_last_bit():
    order = np.random.default_rng(1).permutation(103)
    results = []
    for portions in ([order], [order[:60], order[60:]], [order[i : i + 20] for i in range(0, 103, 20)]):
        step, model, state, X, y = make()
        session = step.open(model, state, X, y, 20)
        losses = np.concatenate([session.run(rows, 20) for rows in portions])
        results.append([losses, *leaves(session.values())])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("size", [1, 7, 103])
def test_any_batch_size(size):
    step, model, state, X, y = make()
    order = np.arange(103)
    losses = step.open(model, state, X, y, size).run(order, size)
    np.testing.assert_allclose(losses, PlainSession(step, model, state, X, y).run(order, size), rtol=2e-3)


def test_a_loss_that_is_not_finite_leaves_what_was_before_it():
    step, model, state, X, y = make(optim.sgd(0.1))
    X = X.copy()
    X[50] = np.nan
    session = step.open(model, state, X, y, 10)
    session.run(np.arange(20), 10)
    with pytest.raises(NotFinite) as error:
        session.run(np.arange(20, 103), 10)
    assert len(error.value.losses) == 3 and np.isnan(error.value.loss)
    np.testing.assert_array_equal(error.value.X, X[50:60])
    again = step.open(model, state, X, y, 10)
    again.run(np.arange(50), 10)
    for a, b in zip(leaves(session.values()), leaves(again.values()), strict=True):
        np.testing.assert_array_equal(a, b)


def test_ten_thousand_steps_take_no_more_memory():
    step, model, state, X, y = make(width=8)
    session = step.open(model, state, X, y, 4)
    order = np.tile(np.arange(100), 10)
    session.run(order, 4)
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(40):
        session.run(order, 4)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4096  # kB


def test_parameters_are_updated_where_they_lie_and_memory_is_tight():
    step, model, state, X, y = make(optim.adam(), optim.clip_by_global_norm(1.0), width=64)
    session = step.open(model, state, X, y, 20)
    ut.set_threads(1)
    try:
        program = session.resident.prepare(20)
    finally:
        ut.set_threads(None)
    outputs = program.plan.outputs[session.resident.n_results :]
    kept = [made for made in outputs if made.role == "input"]
    assert len(kept) == len(outputs)  # no copy of a parameter, nor of what the optimizer keeps
    assert program.memory.arena <= 1.2 * program.memory.least


def test_equal_layers_share_their_kernels():
    def kernels(depth):
        model = nn.Sequential(*[nn.Residual(nn.Dense(8, 8), "tanh") for _ in range(depth)], nn.Dense(8, 3))
        model = nn.initialize(model, 0, np.float32)
        step = make_step(lambda m, X, y: nn.categorical_cross_entropy_with_logits(m(X), y), optim.adam())
        X, y = np.ones((20, 8), np.float32), np.zeros(20, int)
        session = step.open(model, step.init(model), X, y, 20)
        session.run(np.arange(20), 20)
        program = session.resident.prepare(20)
        return len(program.plan.kernels), len(program.calls)

    few, many = kernels(3), kernels(40)
    assert many[0] == few[0] and many[1] > 8 * few[1] / 2


def test_a_loss_that_asks_for_values_is_trained_by_numpy_and_told(capsys):
    def loss(p, y):
        return np.mean((p - y) ** 2) if np.sum(p) > 0 else np.mean(np.abs(p - y))

    X = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    run = ut.train(nn.Sequential(nn.Dense(1, 1)), (X, 3 * X), loss=loss, epochs=2, validation=None)
    assert len(run.history) == 2
    assert "Not all of a step is compiled: the loss asks for values" in capsys.readouterr().out


def test_what_numpy_does_within_a_step_is_told(capsys):
    def loss(p, y):
        return np.mean((p - y) ** 2 * ones_by_numpy(y))

    X = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    run = ut.train(nn.Sequential(nn.Dense(1, 1)), (X, 3 * X), loss=loss, epochs=30, validation=None, batch_size=8)
    assert run.history[-1]["loss"] < run.history[0]["loss"]
    assert "NumPy does" in capsys.readouterr().out


def test_values_that_change_places_are_not_overwritten():
    graph = trace_function(lambda a, b, x: (np.sum(x), b, a), (np.zeros(2), np.ones(2), np.ones((4, 2)))).graph
    resident = Resident(graph, 2, 1)
    resident.load([np.array([1.0, 2.0]), np.array([3.0, 4.0])])
    (sums,) = resident.run([np.ones((8, 2))], np.arange(8), 4, 0, 1)
    a, b = resident.copies()
    assert (a.tolist(), b.tolist(), sums.tolist()) == ([3, 4], [1, 2], [8])


PAIRS = [
    (activation, loss)
    for i, activation in enumerate(sorted(nn.ACTIVATIONS))
    for j, loss in enumerate(sorted(nn.LOSSES))
    if (i + j) % 4 == 0
]


@pytest.mark.parametrize(("activation", "loss"), PAIRS)
def test_every_activation_and_loss_compiles(activation, loss):
    """Each with every fourth of the others: they do not meet in a kernel, for a layer lies between them."""
    record = nn.LOSSES[loss]
    ending = [] if record.logits or record.end is None else [record.end]
    n = 1 if record.task == "binary" else 3
    width, rate = (2 * n, 0.001) if loss == "gaussian" else (n, 0.05)  # means and variances, with which 0.05 diverges
    model = nn.initialize(nn.Sequential(nn.Dense(5, 7), activation, nn.Dense(7, width), *ending), 0, np.float32)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(53, 5)).astype(np.float32)
    y = rng.integers(0, 3, 53) if record.task == "categorical" else rng.integers(0, 2, (53, n)).astype(np.float32)
    # Not Adam: where terms of a gradient cancel, one sum of them is 0, another 1e-9, and Adam's step is of either size.
    step = make_step(lambda m, X, y: nn.LOSSES[loss].function(m(X), y), optim.momentum(rate))
    state, order = step.init(model), np.arange(53)
    losses = step.open(model, state, X, y, 10).run(order, 10)
    np.testing.assert_allclose(losses, PlainSession(step, model, state, X, y).run(order, 10), rtol=1e-4, atol=1e-6)
    assert step.uncompiled is None
