"""Splits and minibatches: deterministic, complete, and fair to every class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.data import Batches, split
from undertow.errors import ArgumentError, DataError, ShapeError


@given(n=st.integers(1, 200), fraction=st.floats(0, 0.999), seed=st.integers(0, 2**40))
def test_split_is_a_partition(n, fraction, seed):
    """Training and validation hold every example once, training one at least, and both are repeatable."""
    train, held = split(n, fraction, seed)
    assert np.array_equal(np.sort(np.concatenate((train, held))), np.arange(n))
    assert train.size >= 1 and train.dtype == held.dtype == np.int64
    assert (held.size > 0) == (fraction > 0 and n >= 2)
    again = split(n, fraction, seed)
    assert np.array_equal(train, again[0]) and np.array_equal(held, again[1])


@given(
    labels=st.lists(st.integers(0, 5), min_size=2, max_size=150),
    fraction=st.floats(0.01, 0.95),
    seed=st.integers(0, 1000),
)
def test_stratified_split_keeps_every_class_in_training(labels, fraction, seed):
    """Each class stays in training, and its held-out share is within one example of the fraction."""
    labels = np.array(labels)
    classes, counts = np.unique(labels, return_counts=True)
    if counts.max() == 1:
        with pytest.raises(DataError, match="a single example"):
            split(len(labels), fraction, seed, stratify=labels)
        return
    train, held = split(len(labels), fraction, seed, stratify=labels)
    assert set(labels[train]) == set(classes)
    assert held.size >= 1
    expected = np.clip(round(len(labels) * fraction), 1, len(labels) - 1)
    assert held.size == min(expected, (counts - 1).sum())
    if np.all(counts * expected / len(labels) <= counts - 1):
        shares = np.array([(labels[held] == label).sum() for label in classes])
        assert np.all(np.abs(shares - counts * expected / len(labels)) < 1 + 1e-9)


def test_stratified_split_agrees_with_scikit_learn():
    """Where the shares are whole numbers, each class gives as many examples as in scikit-learn's split."""
    selection = pytest.importorskip("sklearn.model_selection")
    labels = np.repeat(["a", "b", "c"], [50, 30, 20])
    _, held = split(100, 0.2, 0, stratify=labels)
    _, reference = selection.train_test_split(np.arange(100), test_size=0.2, stratify=labels, random_state=0)
    assert sorted(labels[held]) == sorted(labels[reference])


def test_split_depends_on_the_seed():
    """Another seed holds out other examples."""
    assert not np.array_equal(split(100, 0.3, 0)[1], split(100, 0.3, 1)[1])


@pytest.mark.parametrize("fraction", [-0.1, 1, 1.5, float("nan"), float("inf"), "half", None])
def test_silly_fractions_are_refused(fraction):
    """A fraction outside 0 ≤ fraction < 1 is an ArgumentError."""
    with pytest.raises(ArgumentError, match="validation fraction must be 0 or more and less than 1"):
        split(10, fraction, 0)


def test_split_refuses_wrong_arguments():
    """No examples, a negative seed and labels of another length are refused."""
    with pytest.raises(ArgumentError, match="n must be a whole number of 1 or more"):
        split(0, 0.1, 0)
    with pytest.raises(ArgumentError, match="seed must be"):
        split(5, 0.1, -1)
    with pytest.raises(ShapeError, match=r"there are 5 examples but stratify is \(4,\)"):
        split(5, 0.1, 0, stratify=[0, 1, 0, 1])
    with pytest.raises(DataError, match="differ in type"):
        split(2, 0.5, 0, stratify=np.array([1, "a"], dtype=object))


@settings(deadline=None)
@given(m=st.integers(1, 60), size=st.integers(1, 70), seed=st.integers(0, 99), epoch=st.integers(0, 99))
def test_an_epoch_takes_every_example_once(m, size, seed, epoch):
    """The batches of an epoch hold every example once, with its own target, the short last batch included."""
    X = np.arange(2 * m, dtype=np.float32).reshape(m, 2)
    batches = Batches(X, np.arange(m), size, seed)
    taken = list(batches.epoch(epoch))
    assert len(taken) == len(batches) == -(-m // size)
    assert [len(y) for _, y in taken[:-1]] == [size] * (len(taken) - 1)
    assert sorted(np.concatenate([y for _, y in taken])) == list(range(m))
    for X_batch, y_batch in taken:
        assert np.array_equal(X_batch, X[y_batch])
        assert X_batch.flags.c_contiguous and X_batch.dtype == np.float32


def test_order_follows_from_seed_and_epoch_alone():
    """The order of an epoch is the documented permutation, whatever was drawn before."""
    batches = Batches(np.zeros((10, 1)), np.arange(10), 3, seed=7)
    list(batches.epoch(0))
    expected = np.random.default_rng([7, 4]).permutation(10)
    assert np.array_equal(np.concatenate([y for _, y in batches.epoch(4)]), expected)
    assert not np.array_equal(batches.order(0), batches.order(1))


def test_start_resumes_within_an_epoch():
    """An epoch begun at batch k gives the batches of the whole epoch from k on."""
    batches = Batches(np.zeros((10, 1)), np.arange(10), 3, seed=1)
    whole = [y.tolist() for _, y in batches.epoch(2)]
    for start in range(6):
        assert [y.tolist() for _, y in batches.epoch(2, start=start)] == whole[start:]


def test_without_shuffling_batches_are_views_in_order():
    """Without shuffling the order is that of the arrays and nothing is copied."""
    X = np.arange(10.0)[:, None]
    batches = Batches(X, np.arange(10), 4, seed=0, shuffle=False)
    taken = list(batches.epoch(3))
    assert [y.tolist() for _, y in taken] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert all(np.shares_memory(X, X_batch) for X_batch, _ in taken)


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_of_fortran_arrays_are_contiguous(shuffle):
    """Column-major inputs give C-contiguous batches too."""
    X = np.asfortranarray(np.arange(12.0).reshape(4, 3))
    for X_batch, y_batch in Batches(X, X, 2, seed=0, shuffle=shuffle).epoch(0):
        assert X_batch.flags.c_contiguous and np.array_equal(X_batch, y_batch)


def test_batches_refuse_wrong_arguments():
    """Leading sizes that differ are a ShapeError with both; empty arrays and silly sizes are refused."""
    with pytest.raises(ShapeError, match=r"X is \(150, 4\), y is \(149,\): their leading sizes 150 and 149 differ"):
        Batches(np.zeros((150, 4)), np.zeros(149), 32, 0)
    with pytest.raises(ShapeError, match="both need a batch axis"):
        Batches(np.zeros((1, 4)), np.float64(3), 32, 0)
    with pytest.raises(DataError, match="there are no examples"):
        Batches(np.zeros((0, 4)), np.zeros(0), 32, 0)
    for size in (0, -1, 2.5, True):
        with pytest.raises(ArgumentError, match="batch_size must be a whole number of 1 or more"):
            Batches(np.zeros((3, 4)), np.zeros(3), size, 0)
    with pytest.raises(ArgumentError, match="epoch must be"):
        Batches(np.zeros((3, 4)), np.zeros(3), 2, 0).epoch(-1)


def test_none_is_no_share():
    with pytest.raises(
        ArgumentError, match=r"less than 1, got None\. Give a share such as 0\.2; 0 holds nothing out\."
    ):
        split(10, None, 0)
