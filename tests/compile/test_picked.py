"""Products that read a batch's rows where all examples are: to the last bit what they compute of a gathered batch."""

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim, trees
from undertow.compile import picked, resident
from undertow.compile import threads as known
from undertow.compile.product_args import ARGS
from undertow.errors import ArgumentError
from undertow.train.step import make_step


def train(X, layers, rows, threads=1, change=lambda x: x, epochs=2):
    """Train and return what is left, and what the step's calls are called."""
    before = ut.get_threads()
    ut.set_threads(threads)
    try:
        model = nn.initialize(nn.Sequential(*layers), 0, X.dtype)
        y = np.random.default_rng(1).integers(0, 3, len(X))
        rule = optim.momentum(0.01)
        step = make_step(lambda m, X, y: nn.categorical_cross_entropy_with_logits(m(change(X)), y), rule, None)
        session = step.open(model, step.init(model), X, y, rows)
        losses = [session.run(np.random.default_rng(i).permutation(len(X)), rows) for i in range(epochs)]
        program = session.resident.prepare(rows)
        left = [x for x in trees.flatten(session.values())[0] if not callable(x)]
        return [*losses, *left], [call.what for call in program.calls], program
    finally:
        ut.set_threads(before)


def layers(n_in, width=20):
    return [nn.Dense(n_in, width), "tanh", nn.Dense(width, 3)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("rows", "n_in", "width"), [(64, 700, 16), (37, 513, 20), (7, 1031, 13), (3, 257, 65)])
def test_nothing_changes_but_the_gathering(rows, n_in, width, threads, dtype, monkeypatch):
    X = np.random.default_rng(0).normal(size=(5 * rows, n_in)).astype(dtype)
    monkeypatch.setattr(known, "usable_processors", lambda: 3)
    results = []
    for pick in (lambda *args: False, picked.pick_rows):
        monkeypatch.setattr(resident, "pick_rows", pick)
        results.append(train(X, layers(n_in, width), rows, threads))
    (gathered, usual, _), (read, fewer, program) = results
    for a, b in zip(gathered, read, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (usual.count("the batch"), fewer.count("the batch")) == (2, 1)
    parts = any(call.args[ARGS.index("count")] == threads for call in program.calls if len(call.args) > len(ARGS) + 1)
    # Each thread adds up the terms of its own examples where that is less than what it would read of others.
    assert parts == ((rows, threads) == (64, 2) or threads == 1)


@pytest.mark.parametrize(
    ("change", "width"), [(lambda x: x * 2 + 1, 20), (lambda x: x[:, ::-1], 20), (lambda x: x, 8)],
    ids=["read by a loop", "read backwards", "few columns"],
)  # fmt: skip
def test_what_else_reads_the_batch_gets_it(change, width):
    X = np.random.default_rng(0).normal(size=(96, 300)).astype(np.float32)
    found, calls, _ = train(X, layers(300, width), 32, change=change)
    assert calls.count("the batch") == 2
    expected, *_ = train(np.ascontiguousarray(change(X)), layers(300, width), 32)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_profile_is_of_the_rows_that_were_last_read():
    X = np.random.default_rng(0).normal(size=(96, 300)).astype(np.float32)
    model = nn.initialize(nn.Sequential(*layers(300)), 0)
    y = np.zeros(96, np.int64)
    step = make_step(lambda m, X, y: nn.categorical_cross_entropy_with_logits(m(X), y), optim.momentum(0.01), None)
    session = step.open(model, step.init(model), X, y, 32)
    program = session.resident.prepare(32)
    with pytest.raises(ArgumentError, match="profile: the program has not run yet"):
        program.profile(1)
    session.run(np.arange(96), 32)
    assert len(program.profile(1).kernels) == len(program.own)
