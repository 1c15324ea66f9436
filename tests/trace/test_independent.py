"""A result that does not depend on what it is differentiated by is warned of; others are not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import undertow as ut

W = np.ones(3)
SAYS = r"does not depend on w, so the gradient by w is 0\. Compute it of the argument w"


def loses(w, x):
    return np.sum(W * x)


def test_a_gradient_by_what_is_never_used():
    for derive in (ut.grad, ut.value_and_grad, lambda f: ut.grad(f, compile=True)):
        with pytest.warns(UserWarning, match=SAYS) as seen:
            derive(loses)(np.ones(3), np.ones(3))
        assert [x.filename for x in seen] == [__file__]


@pytest.mark.parametrize(
    "f",
    [
        lambda w: 5.0 if w[0] > 5 else 0.0,
        lambda w: float(int(w[0])),
        lambda w: W[0] if np.all(w > 0) else np.sum(w),
        lambda w: float(sum(1 for x in w if x > 0)),
    ],
    ids=["branch", "int", "all", "count"],
)
def test_a_branch_has_no_slope(f):
    """The result depends on the argument, and is a constant around it."""
    with pytest.warns(
        UserWarning, match="depends on w at most by way of a branch or a whole number, .* by w is 0"
    ) as seen:
        np.testing.assert_array_equal(ut.grad(f)(np.ones(3)), np.zeros(3))
    assert len(seen) == 1 and "does not depend" not in str(seen[0].message)


def test_a_backward_pass_by_what_is_never_used():
    with pytest.warns(UserWarning, match=SAYS):
        ut.backprop(loses, np.ones(3), np.ones(3))


def test_it_is_said_once_and_of_all_arguments():
    gradient = ut.grad(lambda a, b, c: c * c, (0, 1))
    with pytest.warns(UserWarning, match="does not depend on a and b, .* Compute it of the arguments a and b"):
        gradient(1.0, 2.0, 3.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradient(1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    "f",
    [
        lambda w: np.sum(ut.stop_gradient(w) ** 2),
        lambda w: np.sum(np.floor(w)),
        lambda w: w[0] * 1.0,
        lambda w: np.sum(w[:0]),
        lambda w: np.sum(3 * w),
    ],
    ids=["stopped", "flat", "a part", "an empty part", "linear"],
)
def test_others_are_not_warned_of(f):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ut.grad(f)(np.ones(3))
        ut.backprop(f, np.ones(3))


def test_second_derivatives_of_what_is_linear_are_0_and_no_surprise():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ut.grad(ut.grad(lambda x: 3 * x))(1.0) == 0
        assert ut.hessian(lambda x: np.sum(3 * x))(np.ones(2)).tolist() == [[0, 0], [0, 0]]
        assert ut.grad(lambda x: ut.grad(lambda y: 3 * y)(x) + x)(1.0) == 1
