"""Splits by group and time, and folds: partitions that keep what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from undertow.data import k_folds, split_groups, split_time
from undertow.data.folds import draw_of_text
from undertow.errors import ArgumentError, DataError, ShapeError

GROUPS = st.lists(st.integers(0, 12), min_size=2, max_size=80).filter(lambda groups: len(set(groups)) > 1)


@given(groups=GROUPS, fraction=st.floats(0.01, 0.95), seed=st.integers(0, 99))
def test_no_group_is_on_both_sides(groups, fraction, seed):
    """A partition, repeatable, whole groups on each side; the share is missed by less than the largest group."""
    train, held = split_groups(groups, fraction, seed)
    values = np.array(groups)
    assert np.array_equal(np.sort(np.concatenate((train, held))), np.arange(len(groups)))
    assert set(values[train]).isdisjoint(values[held]) and train.size and held.size
    assert abs(held.size - fraction * len(groups)) <= np.bincount(values).max()
    assert np.array_equal(split_groups(groups, fraction, seed)[1], held)


@given(times=GROUPS, fraction=st.floats(0.01, 0.95))
def test_what_is_held_out_is_later(times, fraction):
    """Every moment held out is later than all of training, and no other moment comes nearer to the share."""
    train, held = split_time(times, fraction)
    values = np.array(times)
    assert values[train].max() < values[held].min()
    sizes = [(values > moment).sum() for moment in np.unique(values)[:-1]]
    wanted = fraction * len(times)
    assert abs(held.size - wanted) == min(abs(size - wanted) for size in sizes)


@given(
    labels=st.lists(st.integers(0, 3), min_size=2, max_size=80),
    k=st.integers(2, 10),
    seed=st.integers(0, 99),
    stratified=st.booleans(),
)
def test_folds_deal_out_every_example_once(labels, k, seed, stratified):
    """Each example is held out once; folds and, where stratified, classes in folds differ by one at most."""
    n = len(labels)
    if k > n:
        with pytest.raises(ArgumentError, match=f"{k} folds of {n} examples"):
            k_folds(n, k, seed)
        return
    folds = k_folds(n, k, seed, stratify=labels if stratified else None)
    assert np.array_equal(np.sort(np.concatenate([held for _, held in folds])), np.arange(n))
    sizes = [held.size for _, held in folds]
    assert len(folds) == k and max(sizes) - min(sizes) <= 1
    for train, held in folds:
        assert np.array_equal(np.sort(np.concatenate((train, held))), np.arange(n))
    if stratified:
        for label in set(labels):
            counts = [(np.array(labels)[held] == label).sum() for _, held in folds]
            assert max(counts) - min(counts) <= 1


@given(groups=GROUPS, k=st.integers(2, 5), seed=st.integers(0, 99))
def test_folds_of_groups(groups, k, seed):
    """Each group is in one fold; too few groups are an error."""
    if k > min(len(set(groups)), len(groups)):
        with pytest.raises((DataError, ArgumentError), match="folds"):
            k_folds(len(groups), k, seed, groups=groups)
        return
    values = np.array(groups)
    folds = k_folds(len(groups), k, seed, groups=groups)
    for train, held in folds:
        assert held.size and set(values[train]).isdisjoint(values[held])
    assert sum(held.size for _, held in folds) == len(groups)


def test_folds_depend_on_the_seed():
    """Another seed deals out otherwise; scikit-learn's folds have the same sizes."""
    assert not np.array_equal(k_folds(50, 5, 0)[0][1], k_folds(50, 5, 1)[0][1])
    selection = pytest.importorskip("sklearn.model_selection")
    labels = [0] * 31 + [1] * 22
    mine = [np.bincount(np.array(labels)[held]).tolist() for _, held in k_folds(53, 5, 0, stratify=labels)]
    reference = selection.StratifiedKFold(5).split(labels, labels)
    theirs = [np.bincount(np.array(labels)[held]).tolist() for _, held in reference]
    for column in (0, 1):
        assert sorted(fold[column] for fold in mine) == sorted(fold[column] for fold in theirs)


def test_groups_and_times_of_any_kind():
    """Texts, dates and objects; missing ones, mixed types, one group alone and wrong shapes are refused."""
    days = np.array(["2024-03-01", "2024-01-01", "2024-02-01"], dtype="datetime64[D]")
    assert split_time(days, 0.3)[1].tolist() == [0]
    assert split_groups(["a", "b", "a"], 0, 0)[1].size == 0
    for call, error, message in (
        (lambda: split_groups(["a", None], 0.5, 0), DataError, "of example 1 is missing"),
        (lambda: split_time([1.0, np.nan], 0.5), DataError, "of example 1 is missing"),
        (lambda: split_time(np.array(["NaT", "2024-01-01"], dtype="M8[D]"), 0.5), DataError, "of example 0 is missing"),
        (lambda: split_groups(np.array([1, "a"], dtype=object), 0.5, 0), DataError, "differ in type"),
        (lambda: split_groups([3, 3], 0.5, 0), DataError, "all examples are of one group"),
        (lambda: split_time([3, 3], 0.5), DataError, "all examples are of one moment"),
        (lambda: split_groups([], 0.5, 0), ShapeError, "Give one for each example"),
        (lambda: split_groups([1, 2], 1.5, 0), ArgumentError, "validation fraction must be"),
        (lambda: k_folds(3, 2, 0, groups=[1, 2]), ShapeError, "there are 3 examples but groups is"),
        (lambda: k_folds(3, 2, 0, stratify=[1, 2, 1], groups=[1, 2, 3]), ArgumentError, "not both"),
        (lambda: k_folds(3, 1, 0), ArgumentError, "k must be a whole number of 2 or more"),
    ):
        with pytest.raises(error, match=message):
            call()


def test_draws_of_texts_are_even():
    """What is drawn for names is spread evenly, differs with the seed, and is the same on every machine."""
    draws = np.array([draw_of_text(f"patient {i}", 0) for i in range(2000)])
    assert np.abs(np.histogram(draws, 10, (0, 1))[0] - 200).max() < 5 * np.sqrt(200 * 0.9)
    assert draw_of_text("a", 0) != draw_of_text("a", 1)
    assert draw_of_text("a", 0) == draw_of_text("a", 0)
