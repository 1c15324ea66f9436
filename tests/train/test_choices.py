"""What is chosen for a table is within bounds and changes with its size in one direction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from undertow import nn, optim
from undertow.train.choices import choose_other, choose_other_of_many, choose_refit, choose_settings, choose_validation
from undertow.train.table_network import complete, make_optimizer
from undertow.train.table_settings import TableSettings

ROWS = st.integers(1, 10**8)
TASKS = st.sampled_from(["classification", "regression"])


@given(ROWS, st.integers(1, 10**5), TASKS, st.integers(1, 1000))
def test_settings_are_within_bounds(n, p, task, n_classes):
    """Names that there are, and numbers that a training accepts."""
    found = choose_settings(n, p, task, n_classes)
    assert found.activation in nn.ACTIVATIONS and found.optimizer in optim.OPTIMIZERS
    assert found.schedule in optim.SCHEDULES
    assert all(16 <= size <= 512 for size in found.hidden) and 1 <= len(found.hidden) <= 3
    assert found.hidden == sorted(found.hidden, reverse=True)
    assert 0 <= found.dropout < 0.5 and 0 < found.rate <= 0.01 and 0.01 <= found.decay <= 1
    assert 16 <= found.batch_size <= 256 and found.batch_size & (found.batch_size - 1) == 0
    assert 0 <= found.warmup < found.epochs / 10 and 0 < found.early_stopping < found.epochs


@given(ROWS, ROWS, TASKS)
def test_larger_tables_get_larger_batches_and_fewer_epochs(n, m, task):
    """More rows: no smaller batches, no more epochs, no smaller network."""
    small, large = (choose_settings(rows, 20, task, 2) for rows in sorted((n, m)))
    assert small.batch_size <= large.batch_size
    assert small.epochs >= large.epochs and small.early_stopping >= large.early_stopping
    assert sum(small.hidden) <= sum(large.hidden) and small.decay >= large.decay


@given(st.integers(1, 10**5), st.integers(1, 10**5), ROWS, TASKS)
def test_more_columns_get_no_less_decay(p, q, n, task):
    """As many rows, more columns that could be noise."""
    few, many = (choose_settings(n, columns, task, 2).decay for columns in sorted((p, q)))
    assert few <= many and choose_settings(n, n, task, 2).decay >= min(1, 200 / n) - 0.01


@given(st.integers(40 * 16, 40 * 256), TASKS)
def test_an_epoch_of_a_small_table_has_about_40_steps(n, task):
    """Within a factor √2, by which powers of two are off at most."""
    steps = n / choose_settings(n, 5, task, 2).batch_size
    assert 40 / 2**0.5 * 0.999 <= steps <= 40 * 2**0.5 * 1.001


@given(ROWS, ROWS)
def test_the_share_held_out_falls_while_its_rows_grow(n, m):
    """A larger table holds out no larger a share."""
    small, large = sorted((n, m))
    assert 0.02 <= choose_validation(large) <= choose_validation(small) <= 0.2


@pytest.mark.parametrize("n", [1000, 60_000, 60_001, 100_000, 10**6])
def test_enough_rows_are_held_out(n):
    """An accuracy is known to 4 % or better by its standard error, of large tables to 0.6 %."""
    error = 0.5 / np.sqrt(n * choose_validation(n))
    assert error < (0.006 if n > 60_000 else 0.041)


def test_all_but_large_tables_are_trained_on_again():
    """The second training costs as much as the first; above 60,000 rows fewer than a seventh are held out."""
    assert [choose_refit(n) for n in (10, 500, 60_000, 60_001, 10**6)] == [True, True, True, False, False]


def test_the_other_training_of_a_large_table_has_dropout_where_the_first_ended_early():
    """Which is the dropout of tables a little smaller."""
    assert choose_other_of_many(20_000, 0.0, True) == {"dropout": choose_settings(19_999, 20, "classification").dropout}
    assert choose_other_of_many(20_000, 0.0, False) == choose_other_of_many(20_000, 0.2, True) == {}
    assert choose_other_of_many(19_999, 0.2, True) is None


@pytest.mark.parametrize(("task", "n", "hidden", "dropout", "rate"), [
    ("classification", 999, [128], 0.1, 0.003),
    ("classification", 1000, [128, 64], 0.2, 0.005),
    ("regression", 1999, [128, 64], 0.1, 0.01),
    ("regression", 2000, [128, 64], 0.2, 0.01),
    ("regression", 20_000, [256, 128], 0.0, 0.01),
])  # fmt: skip
def test_classes_take_a_second_layer_and_more_dropout_from_1000_rows_on(task, n, hidden, dropout, rate):
    """As docs/command-line.md says."""
    found = choose_settings(n, 20, task, 2)
    assert (found.hidden, found.dropout, found.rate) == (hidden, dropout, rate)


@given(st.none() | st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.2]), st.floats(0, 2))
def test_the_other_training_of_classes_has_more_decay_or_little_noise(decay, dropout, unexplained):
    found = choose_other(decay, dropout, unexplained, "classification")
    if unexplained >= 0.2:
        assert found == ({"decay": 1.0} if decay is not None and decay < 1 else {})
    elif decay is not None and decay >= 0.1:
        assert found == {"decay": 0.01}
    else:
        assert found == ({"dropout": 0.0} if dropout else {})


@given(st.none() | st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.2]), st.floats(0, 2), st.floats(0, 2))
def test_the_other_training_differs(decay, dropout, unexplained, trained):
    """By less noise where little is unexplained, or where it is as much of the rows trained on and not the most; else
    by more decay, up to 1; not at all where there is no more.
    """
    found = choose_other(decay, dropout, unexplained, trained=trained)
    if dropout and (unexplained < 0.05 or (unexplained < 0.2 and trained > 0.8 * unexplained)):
        assert found == {"dropout": 0.0}
    elif decay is None or decay >= 1:
        assert found == {}
    else:
        assert 0.3 <= found.get("decay", 1) <= 1 and found.get("decay", 1) > decay
        assert found or decay > 0.99


RULES = st.sampled_from([*optim.OPTIMIZERS, "adamw:decay=0.3", "adamw:beta2=0.9", "nadam:decay=0.1"])
TOLD = st.builds(
    TableSettings,
    optimizer=st.none() | RULES,
    schedule=st.none() | st.sampled_from(["constant", "cosine"]),
    decay=st.none() | st.just(0.0),
    steps=st.none() | st.just(70),
    hidden=st.none() | st.just([]) | st.just([8]),
    average=st.none() | st.just(0.5),
)


@given(TOLD, ROWS, ROWS, TASKS)
def test_what_is_complete_stays_as_it_is(told, n, m, task):
    """A config.toml that is read again, for all rows or to go on, chooses nothing else: not from other rows either."""
    classifies = task == "classification"
    once = complete(told, choose_settings(n, 20, task, 2), classifies, n)
    assert complete(once, choose_settings(m, 3, task, 2), classifies, m) == once


@pytest.mark.parametrize(
    ("told", "decay"),
    [
        ({"optimizer": "adamw"}, 0.01),  # as in Python: optim.adamw()
        ({"optimizer": "adamw:beta2=0.9"}, 0.01),
        ({"optimizer": "adamw", "decay": 0.0}, 0.0),
        ({"optimizer": "adamw:decay=0.3"}, 0.3),
        ({"optimizer": "adamw:decay=0.3", "schedule": "cosine"}, 0.3),
        ({"optimizer": "adamw:decay=0.3", "decay": 0.2}, 0.2),
        ({"schedule": "cosine"}, 1.0),
        ({}, 1.0),
        ({"optimizer": "nadam"}, 0.0),
    ],
)
def test_the_decay_that_is_told_is_taken(told, decay):
    """That of the rule, that of --decay, else that of the optimizer; the chosen one where nothing is told."""
    settings = complete(TableSettings(**told), choose_settings(100, 50, "regression", 1), False, 100)
    assert make_optimizer(settings, 100).settings.get("decay", 0.0) == decay


@pytest.mark.parametrize(
    ("hidden", "dropout"), [([], 0.0), ([9], 0.2), ([9] * 2, 0.2), ([9] * 4, 0.1), ([9] * 10, 0.04), (None, 0.2)]
)
def test_more_than_two_layers_share_the_dropout_of_two(hidden, dropout):
    choice = choose_settings(5000, 20, "classification", 3)
    assert complete(TableSettings(hidden=hidden), choice, True, 5000).dropout == dropout
    assert complete(TableSettings(hidden=hidden, dropout=0.3), choice, True, 5000).dropout == 0.3
