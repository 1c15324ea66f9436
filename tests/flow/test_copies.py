"""Rows that are shared across the parts are held against what chance makes of the values of the columns."""

import numpy as np
import pytest

import undertow as ut
from made_flows import made_flow
from undertow import nn, optim
from undertow.flow import diagnose
from undertow.flow.copies import measure_copies

RNG = np.random.default_rng(3)
N = 1000
CLASSES = RNG.integers(0, 2, N)


def one_hot(*sizes):
    return np.hstack([np.eye(k)[RNG.integers(0, k, N)] for k in sizes])


def parties():
    """Sixteen votes that go by the party, as those of a parliament."""
    return (RNG.uniform(size=(N, 16)) < np.where(CLASSES[:, None] == 1, 0.93, 0.1)).astype(float)


NATURAL = {
    "four bits": RNG.integers(0, 2, (N, 4)).astype(float),
    "ten bits": RNG.integers(0, 2, (N, 10)).astype(float),
    "rare bits": (RNG.uniform(size=(N, 12)) < 0.08).astype(float),
    "one word of 10": one_hot(10),
    "one word of 300": one_hot(300),
    "words of 3, 5, 7 and 4": one_hot(3, 5, 7, 4),
    "votes": parties(),
    "whole numbers": RNG.integers(0, 20, (N, 2)).astype(float),
    "rounded numbers that go together": np.round(2 * (RNG.standard_normal((N, 1)) + 0.4 * RNG.standard_normal((N, 4)))),
}


def split(X, y):
    order = RNG.permutation(len(X))
    held, train = order[: len(X) // 5], order[len(X) // 5 :]
    return (X[train], y[train]), (X[held], y[held])


def is_leak(train, held):
    facts = {**measure_copies(train, held), "n_validation": len(held[0])}
    return "leakage" in [x.kind for x in diagnose(made_flow(facts=facts))]


@pytest.mark.parametrize("name", NATURAL)
def test_rows_that_repeat_by_nature_are_no_leak(name):
    train, held = split(NATURAL[name], CLASSES)
    facts = measure_copies(train, held)
    assert facts["shared_rows"] > 10
    assert not is_leak(train, held)


@pytest.mark.parametrize("name", NATURAL)
@pytest.mark.parametrize(
    "decide", [lambda z: z, lambda z: (z > z.mean()).astype(int), np.zeros_like], ids=["sum", "class", "constant"]
)
def test_nor_are_those_with_a_target_that_follows_from_them(name, decide):
    X = NATURAL[name]
    assert not is_leak(*split(X, decide(X @ np.arange(1.0, X.shape[1] + 1))))


@pytest.mark.parametrize("name", NATURAL)
def test_numbers_to_predict_that_are_not_rounded_do_not_repeat_by_chance(name):
    """No two rows agree in them, so those that do were copied, however few values the columns have."""
    rows, y = np.tile(np.arange(N), 2), RNG.standard_normal(N)
    train, held = split(NATURAL[name][rows], y[rows])
    assert measure_copies(train, held)["shared_by_chance"] < 0.01 and is_leak(train, held)


@pytest.mark.parametrize("n_words", [0, 1, 3])
def test_a_rare_class_that_was_multiplied_does_not_make_its_own_coincidences(n_words):
    """Three measured columns: without copies no two rows agree, and those with them are 21 times the rare class."""
    rng = np.random.default_rng(0)
    X = np.hstack([rng.standard_normal((N, 3)), np.eye(4)[rng.integers(0, 4, N)][:, :n_words]])
    y = (rng.uniform(size=N) < 0.045).astype(int)
    rows = np.concatenate([np.flatnonzero(y == 0), np.repeat(np.flatnonzero(y), 21)])
    assert len(np.unique(X, axis=0)) == N
    train, held = split(X[rows], y[rows])
    assert measure_copies(train, held)["shared_by_chance"] == 0 and is_leak(train, held)


@pytest.mark.parametrize("name", ["ten bits", "words of 3, 5, 7 and 4", "rounded numbers that go together"])
def test_rows_held_out_that_were_put_into_such_a_table_are_a_leak(name):
    (X, y), held = split(NATURAL[name], CLASSES)
    assert is_leak((np.vstack([X, held[0]]), np.concatenate([y, held[1]])), held)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 1.0])
def test_rows_that_were_there_twice_before_the_split_are_a_leak(share):
    """Training rows then repeat half as often as rows held out are shared: that alone says nothing."""
    X = RNG.standard_normal((N, 8))
    rows = np.concatenate([np.arange(N), np.arange(round(share * N))])
    train, held = split(X[rows], CLASSES[rows])
    facts = measure_copies(train, held)
    assert 0.3 < facts["repeated_rows"] / (facts["shared_rows"] / len(held[0])) < 0.9
    assert facts["shared_by_chance"] == 0 and is_leak(train, held)


def test_a_rare_class_that_was_multiplied_before_the_split_is_a_leak_and_after_it_none():
    X, rare = RNG.standard_normal((N, 6)), np.arange(30)
    y = (np.arange(N) < 30).astype(int)
    many = np.concatenate([np.arange(N), np.tile(rare, 9)])
    assert is_leak(*split(X[many], y[many]))
    train, held = split(X, y)
    rows = np.concatenate([np.arange(len(train[0])), np.tile(np.flatnonzero(train[1]), 9)])
    assert not is_leak((train[0][rows], train[1][rows]), held)


def test_one_column_of_many_values_among_words_tells_copies():
    X = np.hstack([one_hot(20, 30), RNG.standard_normal((N, 1))])
    rows = np.concatenate([np.arange(N), np.arange(300)])
    assert is_leak(*split(X[rows], CLASSES[rows])) and not is_leak(*split(X, CLASSES))


def test_numbers_to_predict_that_follow_from_few_values():
    X = NATURAL["four bits"]
    assert not is_leak(*split(X, X @ np.array([1.0, 2.0, 4.0, 8.0])))


@pytest.mark.parametrize("name", ["ten bits", "one word of 10"])
def test_a_training_on_a_table_of_few_values_is_told_nothing_of_leaks(name):
    X = NATURAL[name].astype(np.float32)
    model = nn.Sequential(nn.Dense(X.shape[1], 8), "tanh", nn.Dense(8, 2))
    settings = {"loss": "categorical_cross_entropy", "validation": 0.2, "epochs": 1, "progress": False}
    run = ut.train(model, (X, CLASSES), optimizer=optim.adam(1e-2), **settings)
    assert run.flow.facts["shared_rows"] > 10 and "leakage" not in [x.kind for x in run.findings]


@pytest.mark.parametrize(("columns", "values", "rows"), [(10, 2, 300), (8, 4, 300), (5, 5, 400), (4, 10, 300)])
@pytest.mark.parametrize("times", [2, 4])
def test_a_table_of_few_values_whose_rows_all_came_several_times_is_a_leak(columns, values, rows, times):
    """Chance is not raised by copies of neighbours: it would let as many rows coincide as in the table itself."""
    rng = np.random.default_rng(columns)
    X, y = rng.integers(0, values, (rows, columns)).astype(float), rng.integers(0, 2, rows)
    alone = split(X, y)
    assert not is_leak(*alone)
    several = split(np.tile(X, (times, 1)), np.tile(y, times))
    assert is_leak(*several)
    V = 2.0 * values**columns  # rows that there could be, all equally probable
    natural = 1 - (1 - 1 / V) ** rows
    told = measure_copies(*several)["shared_by_chance"]  # that of the window which explains most
    assert natural - 0.02 < told < 3 * natural + 0.02


@pytest.mark.parametrize("values", [3, 10, 50])
@pytest.mark.parametrize("classes", [2, 5, None])
def test_a_single_column_of_few_values_from_which_the_target_follows_is_no_leak(values, classes):
    """Every kind of row is seen in training then: each value has about N / values rows, drawn one by one."""
    X = RNG.integers(0, values, (N, 1)).astype(float)
    y = X[:, 0] ** 2 / 7 if classes is None else np.minimum(X[:, 0] * classes // values, classes - 1).astype(int)
    train, held = split(X, y)
    assert np.isin(held[0], train[0]).all() and not is_leak(train, held)


@pytest.mark.parametrize("times", [2, 4])
@pytest.mark.parametrize("classes", [2, 5])
def test_a_single_column_whose_rows_all_came_several_times_is_a_leak(times, classes):
    X = RNG.standard_normal((N, 1))
    y = np.digitize(X[:, 0], np.linspace(-1, 1, classes - 1)) if classes > 2 else (X[:, 0] > 0).astype(int)
    assert not is_leak(*split(X, y)) and is_leak(*split(np.tile(X, (times, 1)), np.tile(y, times)))
    few, y = RNG.integers(0, 9, (N, 1)).astype(float), RNG.standard_normal(N)  # not rounded, so copied
    assert is_leak(*split(np.tile(few, (times, 1)), np.tile(y, times)))


def test_a_single_column_of_few_values_and_a_target_that_hardly_follows_is_no_leak():
    X = RNG.integers(0, 50, (2500, 1)).astype(float)
    y = np.clip((X[:, 0] / 50 + 0.1 * RNG.standard_normal(2500)) * 5, 0, 4.9).astype(int)
    assert not is_leak(*split(X, y))
