"""Lists of traced values, np.array, np.r_ and np.c_: they make the same array, or the error says what does."""

import linecache
import re

import numpy as np
import pytest

import undertow as ut

NUMBER, VECTOR, MATRIX, CUBE = np.float64(0.7), np.arange(3.0) + 0.5, np.arange(6.0).reshape(2, 3), np.ones((2, 1, 2))


def run(expression, x, before=""):
    """Compute an expression of x in a function whose source is found."""
    name = f"joined_{abs(hash((expression, before)))}.py"
    source = f"def f(x):\n    {before or 'pass'}\n    return {expression}\n"
    linecache.cache[name] = len(source), None, source.splitlines(True), name
    names = {"np": np}
    exec(compile(source, name, "exec"), names)
    return names["f"](x) if x is not None else names["f"]


EXPRESSIONS = [
    ("np.array([x, 2 * x])", NUMBER, ""),
    ("np.array((x, 2 * x))", VECTOR, ""),
    ("np.array([x * i for i in range(3)])", MATRIX, ""),
    ("np.array([x, x * x], dtype=np.float32)", NUMBER, ""),
    ("np.array([[x, 1.0], [0.5, x]])", NUMBER, ""),
    ("np.array([[x, 2 * x], [x + 1, x]])", VECTOR, ""),
    ("np.array([[x, 2 * x], [x + 1, x]])", MATRIX, ""),
    ("np.array(((x, 1.0), (0.5, x)))", NUMBER, ""),
    ("np.array([(x, 1.0), (0.5, x)])", NUMBER, ""),
    ("np.array([[x * i + j for j in range(2)] for i in range(3)])", NUMBER, ""),
    ("np.array([[x * i + j for j in range(2)] for i in range(3)])", VECTOR, ""),
    ("np.array([[[x, 1.0], [x, x]], [[x, 2.0], [3.0, x]]])", NUMBER, ""),
    ("np.array([[[x, x], [x, x]], [[x, 2 * x], [x, x]]])", VECTOR, ""),
    ("np.array(parts)", NUMBER, "parts = [x, 2 * x, 3.0]"),
    ("np.array(parts)", VECTOR, "parts = (x, 2 * x)"),
    ("np.asarray(parts, dtype=np.float32)", VECTOR, "parts = [x, 2 * x]"),
    ("np.array(parts)", NUMBER, "parts = [[x, 1.0], [2.0, x * x]]"),
    ("np.array(tuple(parts))", VECTOR, "parts = [x, 2 * x]"),
    ("np.array(list(v * v for v in parts))", NUMBER, "parts = [x, 2 * x]"),
    ("np.array(x)", VECTOR, ""),
    ("np.asarray(2 * x)", VECTOR, ""),
    ("np.array(x, dtype=np.float32)", VECTOR, ""),
    ("np.r_[x, 1.0]", VECTOR, ""),
    ("np.r_[x, 2 * x]", NUMBER, ""),
    ("np.r_[x, 2 * x]", MATRIX, ""),
    ("np.r_[x, 2 * x]", CUBE, ""),
    ("np.c_[x, 2 * x]", VECTOR, ""),
    ("np.c_[x, 2 * x]", MATRIX, ""),
    ("np.c_[x, 2 * x]", CUBE, ""),
    ("np.dot([x, 1.0], [2.0, x])", NUMBER, ""),
    ("np.append(x, [x[0], 2.0])", VECTOR, ""),
    ("np.einsum('i,i->i', [x, 2.0], np.ones(2))", NUMBER, ""),
    ("np.mean([x * i for i in range(3)], axis=0)", VECTOR, ""),
    ("np.concatenate([[x * i] for i in range(3)])", NUMBER, ""),
    ("np.prod((x, 2 * x))", NUMBER, ""),
    ("np.full(3, x)", NUMBER, ""),
    ("np.full((2, 3), fill_value=x)", VECTOR, ""),
    ("np.select([t > 1], [t], x)", NUMBER, "t = np.arange(3.0)"),
    ("np.select([t > 1, t > 0], [t, 2 * t], default=x)", VECTOR, "t = np.arange(3.0)"),
    ("np.piecewise(t, [t > 1, t > 0], [lambda v: v * x, 5.0, x])", NUMBER, "t = np.arange(3.0)"),
    ("np.piecewise(t, t > 1, [g, np.square])", NUMBER, "t = np.arange(3.0); g = lambda v: v * x"),
    ("np.piecewise(t, [t > 0], [x])", NUMBER, "t = np.arange(3.0)"),
    ("np.concatenate([[x, 1.0], np.ones(2), [x]])", NUMBER, ""),
    ("np.stack([[x * i] for i in range(3)])", NUMBER, ""),
    ("np.hstack([[x, x], [x]])", NUMBER, ""),
    ("[x, 2 * x] * np.arange(2.0)", NUMBER, ""),
    ("np.ones(3) - [x * i for i in range(3)]", NUMBER, ""),
]


def check_slope(expression, x, before, wanted, remedy):
    """The value and the slope of a remedy are those of the expression, by finite differences."""
    value, pull = ut.vjp(run(remedy, None, before), x)
    assert value.shape == wanted.shape and value.dtype == wanted.dtype
    np.testing.assert_array_equal(value, wanted)
    ct = np.random.default_rng(0).normal(size=wanted.shape).astype(wanted.dtype)
    h = 1e-3
    by_differences = np.array([
        np.vdot(ct.astype(float), run(expression, x + h * e, before) - run(expression, x - h * e, before)) / (2 * h)
        for e in np.eye(x.size).reshape(x.size, *x.shape)
    ])  # fmt: skip
    np.testing.assert_allclose(np.ravel(pull(ct)[0]), by_differences, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("expression", "x", "before"), EXPRESSIONS)
def test_traced_values_are_joined_as_numbers_are(expression, x, before):
    wanted = run(expression, x, before)
    check_slope(expression, x, before, wanted, expression)
    if "piecewise" in expression:  # how many elements a condition picks is a value
        with pytest.raises(ut.UnsupportedError, match=r"np.piecewise: .* Write np.where\("):
            ut.compile(run(expression, None, before))(x)
        return
    compiled = ut.compile(run(expression, None, before))(x)
    assert compiled.dtype == wanted.dtype
    np.testing.assert_allclose(compiled, wanted, rtol=1e-6)


@pytest.mark.usefixtures("plain_numpy")
@pytest.mark.parametrize(("expression", "x", "before"), EXPRESSIONS)
def test_the_remedy_makes_the_same_array(expression, x, before):
    wanted = run(expression, x, before)
    with pytest.raises(ut.InPlaceError) as caught:
        ut.grad(lambda x: np.sum(run(expression, None, before)(x)))(x)
    remedy = re.search(r"Write `([^`]*)`", str(caught.value))[1]
    check_slope(expression, x, before, wanted, remedy)


def test_an_operator_between_a_list_and_an_array_from_outside_is_told_of():
    array = np.ones(2)
    for f in (lambda x: np.sum([x, 2 * x] * array), lambda x: np.sum(array - [x * i for i in range(2)])):
        with pytest.raises(ut.InPlaceError, match=r"Write `.*np.stack"):
            ut.grad(f)(0.7)


@pytest.mark.usefixtures("plain_numpy")
@pytest.mark.parametrize("call", ["make(x)", "parts.copy()"])
def test_where_nobody_knows_whether_it_is_a_list_both_ways_are_told(call):
    before = "parts = [x, 2 * x]; make = lambda x: (x, x)"
    with pytest.raises(ut.InPlaceError, match=r"itself, or .* where that is a list or a tuple `np.stack"):
        ut.grad(lambda x: np.sum(run(f"np.array({call})", None, before)(x)))(NUMBER)


@pytest.mark.usefixtures("plain_numpy")
@pytest.mark.parametrize(
    ("expression", "before", "array"),
    [
        ("np.exp(parts)", "parts = [x, 2 * x]", "np.stack(parts)"),
        ("parts * np.ones(2)", "parts = [x, 2 * x]", "np.stack(parts)"),
        ("np.sum(parts)", "parts = (x, 2 * x)", "np.stack(parts)"),
        ("np.exp(parts)", "parts = [[x, 1.0], [2.0, x]]", "np.stack([np.stack(row) for row in parts])"),
    ],
)
def test_a_list_that_has_a_name_is_named(expression, before, array):
    """What is to be written in its place makes the same numbers."""
    for x in (NUMBER, VECTOR):
        wanted = run(expression, x, before) if not (x is VECTOR and ("1.0" in before or "* np" in expression)) else None
        if wanted is None:
            continue
        with pytest.raises(ut.InPlaceError) as caught:
            ut.grad(lambda x: np.sum(run(expression, None, before)(x)))(x)
        assert re.search(r"Write `([^`]*)`", str(caught.value))[1] == array
        assert "parts is a " in str(caught.value)
        np.testing.assert_array_equal(run(expression.replace("parts", array), x, before), wanted)


def test_a_list_of_numbers_that_is_an_argument_is_to_be_an_array():
    for given in ([0.5, 1.5], list(np.array([0.5, 1.5])), (0.5, 1.5)):
        with pytest.raises(ut.InPlaceError, match=r"x is a (list|tuple) of numbers.*Pass np.array\(x\)"):
            ut.grad(lambda x: np.sum(run("np.exp(x)", None)(x)))(given)


FILLED = [
    ("np.zeros(3)", "np.zeros_like(x, shape=(3,))"),
    ("np.empty(3)", "np.zeros_like(x, shape=(3,))"),
    ("np.ones(3)", "np.zeros_like(x, shape=(3,)) + np.ones(3)"),
    ("np.arange(3.0)", "np.zeros_like(x, shape=(3,)) + np.arange(3.0)"),
    ("np.linspace(0, 1, 3).copy()", "np.zeros_like(x, shape=(3,)) + np.linspace(0, 1, 3).copy()"),
]


@pytest.mark.usefixtures("plain_numpy")
@pytest.mark.parametrize(("made", "start"), FILLED)
def test_an_array_that_is_filled_keeps_what_it_held(made, start):
    """The remedy, in place of how the array was made, gives NumPy's values, also where nothing is written."""
    fill = "out = {}; out[1] = 2 * x[0]"
    expression = "out" if made != "np.empty(3)" else "out[1:2]"
    with pytest.raises(ut.InPlaceError) as caught:
        ut.grad(lambda x: np.sum(run(expression, None, fill.format(made))(x)))(VECTOR)
    assert f"`out = {start}`" in str(caught.value)
    wanted = run(expression, VECTOR, fill.format(f"{made}.astype(float)"))
    value, slope = ut.value_and_grad(lambda x: np.sum(run(expression, None, fill.format(start))(x)))(VECTOR)
    assert value == wanted.sum() and slope.tolist() == [2.0, 0.0, 0.0]


def test_blocks_stand_beside_each_other_where_their_parts_are_joined() -> None:
    """The lists of np.block are no arrays: joined, blocks of one size would be a stack."""

    def f(x):
        A = np.array([[x[0], 1.0], [0.5, x[1]]])
        equal = np.block([[A, 2 * A @ A], [A + 1, np.eye(2)]])
        other = np.block([[A, x[0] * np.ones((2, 1))], [np.array([1.0, x[1]]), 1.0]])
        filled = np.block([np.zeros(1), np.ones(2)])
        filled[1:] *= x
        return np.linalg.det(equal) + np.linalg.det(other) + np.sum(filled**2)

    x = np.array([0.7, 1.3])
    slopes = [(f(x + h) - f(x - h)) / 2e-6 for h in 1e-6 * np.eye(2)]
    for run in (ut.value_and_grad(f), ut.value_and_grad(f, compile=True)):
        value, gradient = run(x)
        np.testing.assert_allclose(value, f(x), rtol=1e-12)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-7)
