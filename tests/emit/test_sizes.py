"""A written program says for which sizes it holds, where sizes stand in it as numbers."""

import random

import numpy as np
import pytest

import undertow as ut


def draw(*shapes):
    rng = np.random.default_rng(3)
    return tuple(rng.normal(size=shape) for shape in shapes)


def _two_batches(w, a, b):
    return np.mean((a @ w) ** 2) + np.mean((b @ w) ** 2)


def _series(a, x):
    return np.mean((x[1:] - a * x[:-1]) ** 2)


def _steps(w, x):
    h = np.zeros(x.shape[1:])
    for t in range(len(x)):
        h = np.tanh(x[t] + h * w)
    return np.mean(h**2)


def _decayed(w, x):
    return np.mean(np.sum(x @ w, axis=1)) + 0.1 * np.mean(w**2)


@pytest.mark.parametrize(
    ("f", "first", "others"),
    [
        (_two_batches, [(4,), (5, 4), (9, 4)],
         [[(4,), (6, 4), (9, 4)], [(4,), (5, 4), (3, 4)], [(7,), (5, 7), (9, 7)]]),
        (_series, [(), (20,)], [[(), (10,)], [(), (2,)]]),
        (_steps, [(), (4, 6, 3)], [[(), (4, 3, 3)], [(), (4, 6, 8)], [(), (5, 6, 3)]]),
        (_decayed, [(4, 3), (6, 4)], [[(4, 3), (9, 4)], [(4, 5), (6, 4)], [(2, 3), (6, 2)]]),
        (lambda w, x: np.mean((np.tanh(x @ w)) ** 2), [(4, 1), (6, 5, 4)], [[(4, 1), (6, 7, 4)], [(4, 2), (6, 5, 4)]]),
        (lambda w, x, y: np.mean((x @ w - y) ** 2), [(4, 1), (6, 4), (6, 1)],
         [[(4, 1), (6, 4), (6, 3)], [(9, 1), (3, 9), (3, 1)]]),
    ],
)  # fmt: skip
def test_with_arrays_of_other_sizes_a_program_is_right_or_refuses(f, first, others):
    """Against the engine's gradient at those arrays."""
    right = 0
    for shapes in [first, *others]:
        bp = ut.backprop(f, *draw(*first))
        args = draw(*shapes)
        try:
            loss, cache = bp.forward(*args)
        except ValueError as refused:
            assert "with other sizes" in str(refused)
            assert shapes != first
            continue
        value, gradient = ut.value_and_grad(f)(*args)
        np.testing.assert_allclose(loss, value)
        np.testing.assert_allclose(bp.backward(cache), gradient)
        right += 1
    assert right >= 1


def test_widths_that_are_no_number_in_the_program_may_be_others():
    def loss(params, X, y):
        h = np.tanh(X @ params["W"])
        return np.mean(np.sum((h @ params["V"] - y) ** 2, axis=1))

    def args(m, *widths):
        a, b, c = widths
        W, V, X, y = draw((a, b), (b, c), (m, a), (m, c))
        return {"W": W, "V": V}, X, y

    bp = ut.backprop(loss, *args(6, 5, 4, 3))
    assert "raise" not in bp.source
    given = args(9, 2, 8, 7)
    gradient = bp.backward(bp.forward(*given)[1])
    for name, found in ut.grad(loss)(*given).items():
        np.testing.assert_allclose(gradient[name], found)


def test_sixty_layers_of_one_width_ask_the_data_alone():
    def loss(params, X, y):
        for W in params:
            X = np.tanh(X @ W)
        return np.mean((X - y) ** 2)

    W, X, y = draw((4, 4), (5, 4), (5, 4))
    source = ut.backprop(loss, [W] * 60, X, y).source
    assert "if X.shape[1:] != (4,) or y.shape[1:] != (4,):" in source


def test_numbers_from_outside_that_have_changed_are_no_sizes():
    """The program keeps what it was derived with; its widths are still free."""
    rate = 0.5

    def loss(w, x):
        return np.sum((x @ w) ** 2) * rate

    bp = ut.backprop(loss, *draw((3,), (5, 3)))
    rate = 0.7
    assert "raise" not in bp.source and "* 0.5" in bp.source
    w, x = draw((4,), (9, 4))
    np.testing.assert_allclose(bp.backward(bp.forward(w, x)[1]), x.T @ (x @ w))


@pytest.mark.filterwarnings("ignore:.*draws random numbers")
def test_random_numbers_are_no_sizes_and_are_not_drawn_for_the_source():
    rng = np.random.default_rng(1)

    def loss(w, x):
        return np.sum((x @ w + rng.normal() + np.random.rand() + random.random()) ** 2)

    bp = ut.backprop(loss, *draw((3,), (5, 3)))
    before = rng.bit_generator.state, np.random.get_state()[1:3], random.getstate()
    assert "raise" not in bp.source
    after = rng.bit_generator.state, np.random.get_state()[1:3], random.getstate()
    np.testing.assert_equal(after, before)
