"""Clipping bounds what it promises to bound, keeps what it need not change, and refuses NaN by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from undertow import optim
from undertow.errors import TrainingError


@given(arrays(np.float64, 5, elements=st.floats(-1e150, 1e150)), st.floats(1e-3, 1e3))
def test_the_global_norm_never_exceeds_the_limit_and_the_direction_stays(g, limit):
    """The clipped norm is min(norm, limit), computed by hypot, and the result is a multiple of g."""
    clipped = np.concatenate(optim.clip_by_global_norm(limit)((g[:2], g[2:])))
    norm = np.hypot.reduce(g)
    assert np.hypot.reduce(clipped) == pytest.approx(min(norm, limit), rel=1e-9)
    if norm > 0:
        np.testing.assert_allclose(clipped, g * (min(norm, limit) / norm), rtol=1e-9)


def test_the_global_norm_is_that_of_torch():
    """PyTorch's clip_grad_norm_ gives the same gradients, up to its 1e-6 in the denominator."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    g = [rng.standard_normal((3, 4)), rng.standard_normal(4)]
    p = [torch.zeros(x.shape, dtype=torch.float64, requires_grad=True) for x in g]
    for t, x in zip(p, g, strict=True):
        t.grad = torch.tensor(x)
    torch.nn.utils.clip_grad_norm_(p, 0.5)
    for t, x in zip(p, optim.clip_by_global_norm(0.5)(g), strict=True):
        np.testing.assert_allclose(x, t.grad.numpy(), rtol=1e-5)


def test_squares_do_not_overflow_in_float32():
    """Gradients of 1e30, whose squares float32 cannot hold, are scaled to the limit."""
    (g,) = optim.clip_by_global_norm(1.0)((np.array([3e30, 4e30], np.float32),))
    assert g.dtype == np.float32
    np.testing.assert_allclose(g, [0.6, 0.8], rtol=1e-6)


def test_clipping_by_value_bounds_every_entry():
    """Entries outside ±limit become ±limit, others stay, float32 stays, the caller's array stays."""
    g = np.array([-3.0, 0.25, 3.0], np.float32)
    (clipped,) = optim.clip_by_value(0.5)((g,))
    np.testing.assert_array_equal(clipped, np.array([-0.5, 0.25, 0.5], np.float32))
    assert clipped.dtype == np.float32 and g[0] == -3


@pytest.mark.parametrize("clip", [optim.clip_by_value(1.0), optim.clip_by_global_norm(1.0)], ids=lambda c: c.name)
@pytest.mark.parametrize(("bad", "kind"), [(np.nan, "NaN"), (np.inf, "infinite")])
def test_a_gradient_that_is_not_finite_is_named(clip, bad, kind):
    """Clipping would hide an infinity and spread a NaN: both are errors that name the parameter."""
    with pytest.raises(TrainingError, match=rf"the gradient of \['b'\] is not finite \(1 of 2 entries, {kind}\)"):
        clip({"a": np.ones(3), "b": np.array([1.0, bad]), "f": abs})
