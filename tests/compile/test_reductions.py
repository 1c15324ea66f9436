"""Reductions of what may have no elements, and with options: compiled, they give what NumPy gives."""

import numpy as np
import pytest

import undertow as ut

PAIRS = [
    ((4, 1, 5), (1, 0, 5)),
    ((0, 1, 5), (1, 3, 1)),
    ((4, 1, 0), (3, 1)),
    ((4, 1), (1, 0)),
    ((2, 1, 3, 1), (1, 0, 1, 4)),
]
AXES = [1, -1, (0, 1), None]
X = np.random.default_rng(0).normal(size=(3, 4))
MASKS = [np.array([False]), np.array([True, False, False, True]), X[:, :1] > 0, X > 9, np.zeros((1, 4), bool)]


def same(f, *args):
    with np.errstate(all="ignore"):
        wanted = f(*args)
    found = ut.compile(f)(*args)
    assert (np.shape(found), np.asarray(found).dtype) == (np.shape(wanted), np.asarray(wanted).dtype)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize(("a", "b"), PAIRS, ids=str)
@pytest.mark.parametrize("axis", AXES, ids=str)
def test_of_no_elements(a, b, axis):
    a, b = np.ones(a), np.ones(b)
    for f in (np.sum, np.any):
        same(lambda a, b, f=f: f(a - b, axis=axis), a, b)
    for f, start in ((np.max, 0.5), (np.min, -np.inf)):
        same(lambda a, b, f=f, start=start: f(a - b, axis=axis, initial=start, where=a > 0, keepdims=True), a, b)


@pytest.mark.parametrize("mask", MASKS, ids=["nothing", "columns", "rows", "none", "no column"])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_quantifiers_of_what_a_mask_leaves(mask, axis):
    for f in (np.any, np.all):
        same(lambda x, f=f: f(x > 0, axis=axis, where=mask, keepdims=True), X)
        same(lambda x, m, f=f: f(x, axis=axis, where=m), X * (X > 0), mask)


@pytest.mark.filterwarnings("ignore:Degrees of freedom")
@pytest.mark.parametrize("f", [np.var, np.std, np.nanvar, np.nanstd])
@pytest.mark.parametrize("ddof", [3, 6])
@pytest.mark.parametrize("axis", [0, None])
def test_more_is_taken_off_than_there_are_numbers(f, ddof, axis):
    same(lambda x: f(x, axis=axis, ddof=ddof), X)
    same(lambda x: f(x, axis=axis, ddof=ddof, where=X > -0.5), X)


@pytest.mark.parametrize("start", [np.nan, 0.5, np.inf])
def test_extrema_that_skip_nan_skip_it_as_the_number_they_begin_with(start):
    x = np.where(X > 1, np.nan, X)
    for f in (np.nanmax, np.nanmin):
        same(lambda x, f=f: f(x, axis=1, initial=start), x)
        same(lambda x, f=f: f(x, initial=start, where=x < 0), x)
