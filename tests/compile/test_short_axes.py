"""Arrays of all pairs whose last axis is short, computed the other way round: against plain NumPy."""

import numpy as np
import pytest

import undertow as ut
from undertow.compile.short_axes import count_short


def distances(p, q):
    d = p[:, None] - q[None]
    return np.sqrt(np.sum(d * d, axis=-1) + 0.1)


def lennard_jones(p, q):
    d = p[:, None] - q[None]
    d = d - 6 * np.round(d / 6)
    r = np.sum(d * d, axis=-1) + 0.3
    return np.sum(np.where(r < 6.25, 2 / r**3, 0))


def forces(p, q):
    """A row is divided by what it has one of, and summed over the others."""
    d = p[:, None] - q[None]
    r = np.sqrt(np.sum(d * d, axis=-1, keepdims=True) + 0.2)
    return np.sum(d / r**3, axis=1)


def largest(p, q):
    d = np.abs(p[:, None] - q[None])
    return np.sum(np.max(d, axis=-1)) + np.mean(np.min(d, axis=(0, 2))) + np.sum(np.prod(d, axis=2, keepdims=True))


def parts(p, q):
    """Coordinates are read one by one, too."""
    d = p[:, None] - q[None]
    return np.sum(np.sin(d[..., 0]) * d[:, :, 1]) + np.sum(d**2)


def shifted(p, q):
    """A constant with coordinates, a mask without, numbers, and a row of one number."""
    d = np.tanh(p[:, None] - q[None] + np.arange(3.0)[None, None, : p.shape[1]])
    return np.sum(d * np.eye(len(p), len(q))[:, :, None] - 0.5 * np.sum(d, axis=2, keepdims=True) ** 2)


def outer(p, q):
    """Two short axes: each pair has a small matrix."""
    m = p[:, None, :, None] * q[None, :, None, :]
    return np.sum(m * m, axis=(2, 3)) + np.sum(np.exp(-m), axis=(-1, -2))


def counted(p, q):
    """Booleans and whole numbers."""
    near = np.abs(p[:, None] - q[None]) < 0.5
    return np.sum(np.all(near, axis=-1) * 1.0) + np.sum(np.sum(near, axis=2) ** 2) + 0 * np.sum(p)


FUNCTIONS = [distances, lennard_jones, forces, largest, parts, shifted, outer, counted]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("sizes", [(40, 50, 3), (33, 64, 2), (1, 70, 3), (45, 32, 1)], ids=str)
def test_values_and_gradients_are_those_of_numpy(function, sizes):
    """The gradients are those of the program that NumPy evaluates, where nothing is turned."""
    n, m, c = sizes
    rng = np.random.default_rng(n)
    p, q = rng.standard_normal((n, c)), rng.standard_normal((m, c))
    if function is parts and c < 2:
        pytest.skip("has no second coordinate")
    wanted = function(p, q)
    assert np.allclose(ut.compile(function)(p, q), wanted, rtol=1e-12, atol=1e-12)

    def loss(p, q):
        return np.sum(np.cos(function(p, q)))

    value, gradients = ut.value_and_grad(loss, wrt=(0, 1), compile=True)(p, q)
    plain, expected = ut.value_and_grad(loss, wrt=(0, 1))(p, q)
    assert np.isclose(value, np.sum(np.cos(wanted)), rtol=1e-11) and np.isclose(value, plain, rtol=1e-11)
    for found, right in zip(gradients, expected, strict=True):
        assert np.allclose(found, right, rtol=1e-9, atol=1e-10 * (1 + np.abs(right).max()))


def test_float32_and_what_is_not_finite():
    """NaN and infinity go where NumPy's go."""
    rng = np.random.default_rng(0)
    p, q = rng.standard_normal((50, 3)).astype("f"), rng.standard_normal((60, 3)).astype("f")
    p[3, 1], q[7, 2] = np.nan, np.inf
    found, wanted = ut.compile(distances)(p, q), distances(p, q)
    assert found.dtype == np.float32 and np.allclose(found, wanted, rtol=1e-6, equal_nan=True)


def test_coordinates_go_first_where_all_that_is_copied_is_small():
    """The kernels of pairs are of arrays whose first axis is the coordinates'; where the pairs are given, none is."""
    pairs = ut.compile(distances)
    points = np.random.default_rng(1).standard_normal((64, 3))
    pairs(points, points)
    copied = [x.what for x in pairs.profile(points, points, rounds=1).kernels if "concatenate" in x.what]
    assert len(copied) == 2, "the coordinates of p and of q, which do not know that they are the same"
    given = ut.compile(lambda d: np.sqrt(np.sum(d * d, axis=-1)))
    d = np.random.default_rng(2).standard_normal((64, 64, 3))
    assert np.allclose(given(d), np.sqrt(np.sum(d * d, axis=-1)), rtol=1e-14)
    assert not [x.what for x in given.profile(d, rounds=1).kernels if "concatenate" in x.what]


def test_which_axes_are_short():
    """Those at the end, of few elements in all, behind one that fills vectors."""
    assert count_short((200, 200, 3)) == 1
    assert count_short((200, 200, 2, 4)) == 2
    assert count_short((200, 200, 5, 4)) == 0, "5 × 4 passes are too many, and behind 4 alone there are 5"
    assert count_short((200, 3, 200)) == 0
    assert count_short((200, 200, 8)) == 0
    assert count_short((3, 3)) == 0 and count_short(()) == 0
    assert count_short((200, 1)) == 0
