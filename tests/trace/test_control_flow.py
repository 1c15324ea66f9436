"""Python's own control flow on traced values: it works while values are known, else an error shows line and remedy."""

from __future__ import annotations

import io
import itertools
import math
import re
import sys
from contextlib import redirect_stdout
from math import exp
from typing import Any

import numpy as np
import pytest

import undertow as ut

X = np.array([0.5, 1.5, -2.5])

# ---- where values are known ------------------------------------------------------------------------


def branches(x: Any) -> Any:
    if x[0] > 1:
        return x[0] ** 2
    elif 0 < x[0] < x[1] and not x[2] > 0:
        y = x[1] ** 3
    else:
        y = x[2]
    return y * x[0]


def newton(x: Any) -> Any:
    """The square root of Σ x² by a loop that stops when it is there."""
    a, root = np.sum(x * x), 1.0
    while abs(root * root - a) > 1e-14 * a:
        root = 0.5 * (root + a / root)
    return root


def recursion(x: Any) -> Any:
    def power(y: Any, n: int) -> Any:
        return y if n == 1 else power(y, n // 2) ** 2 * (y if n % 2 else 1.0)

    return np.sum(power(x, 7))


def early_return(x: Any) -> Any:
    total: Any = 0.0
    for v in x:
        if v < 0:
            return total * v
        total = total + v * v
    return total


def builtin_functions(x: Any) -> Any:
    ordered = sorted([x[0], x[1], x[2]])
    big, small = max(x[0], x[1] * 2), min(*x)
    return ordered[0] * ordered[2] + big * abs(small) + pow(x[1], 3) + sum(v for v in x if v > 0)


def numbers(x: Any) -> Any:
    n = int(x[1] * 2)  # 3
    total = x[0] * 0.0
    for i in range(n):
        total = total + x[i % 3] ** (i + 1)
    for _ in range(round(float(x[1]) > 1)):
        total = total * 2.0
    assert x[1] > 1, "checked as usual"
    assert math.isfinite(total)
    return total * round(x[1]) * bool(x[0] > 0) * (x[0] in [x[0], 3.0]) * math.floor(x[1]) * math.ceil(x[1])


def matched(x: Any) -> Any:
    match x[1]:
        case 1.5:
            return x[0] * 2
        case _:
            return x[2]


def positions(x: Any) -> Any:
    best = np.argmax(x)
    table = np.eye(3)
    return x[best] * table[best][1] + np.array([1.0, 2.0, 3.0])[best] * x[0] + [1.0, 5.0, 7.0][best] * x[2]


def masks(x: Any) -> Any:
    kept = x[x > 0]
    (places,) = np.where(x < 0)
    return np.sum(kept**2) * len(kept) + np.sum(x[places]) + np.sum(np.compress(x > 1, x)) * len(np.nonzero(x)[0])


@pytest.mark.parametrize(
    "f", [branches, newton, recursion, early_return, builtin_functions, numbers, matched, positions, masks]
)
def test_python_decides_by_values(f: Any) -> None:
    """The value is that of the function called as it is, and the gradient that of the path it takes."""
    value, _ = ut.value_and_grad(f)(X)
    assert math.isclose(value, f(X))
    assert ut.check_gradient(f, X)


def test_a_traced_number_is_printed_as_it_is() -> None:
    """f-strings with format specs, % and print see the number, and do not disturb the derivative."""

    def f(x: Any) -> Any:
        s = np.sum(x * x)
        print(f"{s:.3f} {float(s):.1f}", "%.2f" % s, format(s, ".4f"), float(s))  # noqa: UP031
        return s

    out = io.StringIO()
    with redirect_stdout(out):
        assert ut.grad(f)(X).tolist() == (2 * X).tolist()
    assert out.getvalue() == "8.750 8.8 8.75 8.7500 8.75\n"


def test_a_loop_of_five_thousand_steps_takes_five_times_as_much_as_one_of_a_thousand() -> None:
    """Neither the recursion limit nor quadratic time stand in the way of long loops; work is counted, not timed."""

    def f(x: Any, n: int = 5000) -> Any:
        y = x
        for _ in range(n):
            y = 0.999 * y + 0.001 * np.sin(y)
        return np.sum(y)

    def count_calls(n: int) -> int:
        calls = itertools.count()
        sys.setprofile(lambda frame, event, told: next(calls))
        try:
            ut.grad(lambda x: f(x, n))(np.array([0.5, 1.0, 2.0]))
        finally:
            sys.setprofile(None)
        return next(calls)

    gradient = ut.grad(f)(np.array([0.5, 1.0, 2.0]))
    assert count_calls(5000) < 5.5 * count_calls(1000)
    assert np.all(gradient > 0)
    h = 1e-6
    assert math.isclose(gradient[0], (f(np.array([0.5 + h])) - f(np.array([0.5 - h]))) / (2 * h), rel_tol=1e-6)


# ---- where only shapes are traced ------------------------------------------------------------------


def returns(x: Any) -> Any:
    if x.sum() > 0:
        return x.sum()
    return x[0]


def assigns(x: Any) -> Any:
    y = x
    if x[0] > 0 and x[1] < 2:
        y = x * 2
    return y.sum()


def adds(x: Any) -> Any:
    s = x.sum()
    if 0 < s < 1:
        s += x[0]
    return s


def two_branches(x: Any) -> Any:
    if not x[0] > 0:
        y = x * 2
    else:
        y = -x
    return y.sum()


def long_branches(x: Any) -> Any:
    if x[0] > 0:
        x[0] += 1
        x[1] += 1
    return x.sum()


def expression(x: Any) -> Any:
    return (x if x[0] < 1 or x[1] < 0 else -x).sum()


def loop(x: Any) -> Any:
    s = x.sum()
    while s > 1:
        s = s / 2
    return s


def assertion(x: Any) -> Any:
    assert x[0] > 0
    return x.sum()


def maximum(x: Any) -> Any:
    return max(x[0], x[1])


def smallest(x: Any) -> Any:
    return min(x[0], x[1], x[2])


def ordered(x: Any) -> Any:
    return sorted([x[0], x[1]])[0]


def member(x: Any) -> Any:
    found = x[0] in [x[1], x[2]]
    return x[0] * found


def count(x: Any) -> Any:
    return sum(x[1] for _ in range(int(x[0])))


def conjunction(x: Any) -> Any:
    both = x[0] > 0 and x[1] > 0
    return x[0] * both


def negation(x: Any) -> Any:
    return x[0] * (not x[1] > 0)


def picked(x: Any) -> Any:
    return sum([v for v in x if v > 0])


@pytest.mark.parametrize(
    ("f", "line", "remedy"),
    [
        (returns, "if x.sum() > 0:", "`return np.where(x.sum() > 0, x.sum(), x[0])`"),
        (assigns, "if x[0] > 0 and x[1] < 2:", "`y = np.where((x[0] > 0) & (x[1] < 2), x * 2, y)`"),
        (adds, "if 0 < s < 1:", "`s = np.where((0 < s) & (s < 1), s + x[0], s)`"),
        (two_branches, "if not x[0] > 0:", "`y = np.where(~(x[0] > 0), x * 2, -x)`"),
        (long_branches, "if x[0] > 0:", "`np.where(x[0] > 0, a, b)`, where a and b are the results"),
        (expression, "return (x if", "`np.where((x[0] < 1) | (x[1] < 0), x, -x)`"),
        (loop, "while s > 1:", "`x = np.where(s > 1, new, x)`"),
        (assertion, "assert x[0] > 0", "Leave the assertion out"),
        (maximum, "return max(x[0], x[1])", "`np.maximum(x[0], x[1])`"),
        (smallest, "return min(x[0], x[1], x[2])", "`np.min(np.stack([x[0], x[1], x[2]]))`"),
        (ordered, "return sorted([x[0], x[1]])[0]", "`np.sort(np.stack([x[0], x[1]]))`"),
        (member, "found = x[0] in [x[1], x[2]]", "`np.any(np.stack([x[1], x[2]]) == x[0])`"),
        (count, "return sum(x[1] for _ in range(int(x[0])))", "`x[0].astype(int)`"),
        (conjunction, "both = x[0] > 0 and x[1] > 0", "`(x[0] > 0) & (x[1] > 0)`"),
        (negation, "return x[0] * (not x[1] > 0)", "`~(x[1] > 0)`"),
        (picked, "return sum([v for v in x if v > 0])", "`np.where(v > 0, value, 0)`"),
        (matched, "case 1.5:", "np.where(condition, a, b)"),
    ],
)
def test_the_error_shows_the_line_and_what_to_write(f: Any, line: str, remedy: str) -> None:
    """File, line number, the source of the line, and the same in NumPy."""
    with pytest.raises(ut.ControlFlowError) as caught:
        ut.backprop(f, X)
    message = str(caught.value)
    first = f.__code__.co_firstlineno
    assert any(message.startswith(f"test_control_flow.py:{first + i}, `{line}") for i in range(1, 5)), message
    assert remedy in message
    assert "ut.compile" not in message


def test_a_mask_without_values_is_told_with_its_remedy() -> None:
    """Reading and adding to what a mask picks need its count."""

    def read(x: Any) -> Any:
        return np.sum(x[x > 0])

    def add(x: Any) -> Any:
        x[x > 0] += 1
        return np.sum(x)

    def compress(x: Any) -> Any:
        return np.sum(np.compress(x > 0, x))

    with pytest.raises(ut.UnsupportedError, match=r"`np.where\(x > 0, x, 0\)`"):
        ut.backprop(read, X)
    with pytest.raises(ut.UnsupportedError, match=r"`x = np.where\(x > 0, x \+ 1, x\)`"):
        ut.backprop(add, X)
    with pytest.raises(
        ut.UnsupportedError, match=r"test_control_flow.py:\d+: np.compress: .*np.where\(condition, x, 0\)"
    ):
        ut.backprop(compress, X)


def test_how_many_is_asked_of_an_argument_without_a_value() -> None:
    """A number is bound before; a permutation is of positions."""
    with pytest.raises(ut.ControlFlowError, match=r"n is an argument, .* functools.partial\(f, n=…\)"):
        ut.compile(lambda x, n: np.arange(n) * x[0])(X, 3)
    rng = np.random.default_rng(0)
    for run in (ut.grad, ut.compile):
        with pytest.raises(ut.UnsupportedError, match=r"write x\[rng.permutation\(len\(x\)\)\]"):
            run(lambda x: rng.permutation(x)[0])(X)


# ---- numbers and plain arrays, in either way -------------------------------------------------------


def fill(x: Any) -> Any:
    out = np.zeros(3)
    for i in range(3):
        out[i] = x[i] ** 2
    return np.sum(out)


def add_up(x: Any) -> Any:
    s = np.zeros(3)
    s += x
    return np.sum(s)


def add_to_element(x: Any) -> Any:
    s = np.zeros(3)
    s[0] += x[0]
    return np.sum(s)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: math.sin(x[0]), "`np.sin(x[0])`"),
        (lambda x: exp(x[0]) + x[1], "`np.exp(x[0])`"),
        (lambda x: math.atan2(x[0], x[1]), "`np.arctan2(x[0], x[1])`"),
        (lambda x: math.lgamma(x[1]), "`scipy.special.gammaln(x[1])`"),
        (
            lambda x: float(x[0]) * x[1],
            "float(x[0]) would lose the derivative of a traced number. Write `x[0]` itself.",
        ),
        (lambda x: complex(x[0]).real * x[1], "To look at the number, print it."),
        (
            lambda x: np.sum(np.arange(x[1])),
            "np.arange takes plain numbers, which a traced number is not. Write `start",
        ),
        (lambda x: np.ma.array(x, mask=[0, 1, 0]).sum(), "np.ma.array takes plain numbers"),
        (lambda x: sum(v for v in np.nditer(x)), "Write `for i in np.ndindex(x.shape)`, and x[i]."),
        (lambda x: np.sum(np.array([x[0], x[1]])), "`np.stack([x[0], x[1]])`"),
        (lambda x: np.sum(np.array([[x[0], x[1]], [0.0, x[0]]])), "`np.block([[x[0], x[1]], [0.0, x[0]]])`"),
        (lambda x: np.sum(np.r_[x, 1.0]), "`np.hstack([x, 1.0])`"),
        (lambda x: np.sum(x * np.float32(x)), "`x.astype(np.float32)`"),
        (lambda x: np.sum(np.r_[0:1, x]), "np.hstack, np.column_stack and np.arange"),
        (lambda x: np.sum(np.c_[x, x]), "`np.column_stack([x, x])`"),
        (lambda x: np.sum(np.mgrid[0 : x[0]]), "np.meshgrid"),
        (lambda x: np.sum(np.asarray(x)), "`x` itself, or `x.copy()`"),
        (fill, "`out = np.zeros_like(x, shape=(3,))`, or collect the parts in a list and join them with np.stack"),
        (add_up, "`s = s + x`"),
        (add_to_element, "`s = np.zeros_like(x, shape=(3,))`"),
        (lambda x: np.add.at(np.zeros(3), [0], x[0]), "np.add.at: a plain NumPy array cannot take traced values"),
        (lambda x: np.copyto(np.zeros(3), x), "np.copyto: a plain NumPy array cannot take traced values"),
    ],
)
@pytest.mark.usefixtures("plain_numpy")
def test_what_would_lose_the_derivative_is_an_error(f: Any, message: str) -> None:
    """Python's math and plain arrays cannot hold a traced value; the error says what can."""
    for differentiate in (lambda: ut.grad(f)(X), lambda: ut.backprop(f, X)):
        with pytest.raises(ut.InPlaceError) as caught:
            differentiate()
        quoted, remedy = re.match(
            r"(test_control_flow\.py:\d+(?:, `.*?(?:`: | …`: )|: ))(.*)", str(caught.value)
        ).groups()
        assert message in remedy, (quoted, remedy)


@pytest.mark.usefixtures("plain_numpy")
def test_labels_that_are_traced_index_no_plain_array() -> None:
    """Integers have no derivative to lose; a plain array cannot ask for their values. What can is named, and works."""
    w, labels = np.ones((4, 3)), np.array([0, 1, 2, 1])

    table = np.eye(3)

    def identity(w: Any, labels: Any) -> Any:
        return np.sum(w * np.eye(3)[labels])

    def looked_up(w: Any, labels: Any) -> Any:
        return np.sum(w * table[labels])

    def taken(w: Any, labels: Any) -> Any:
        return np.sum(w * np.take(table, labels, axis=0))

    def written(w: Any, labels: Any) -> Any:
        Y = np.zeros((4, 3))
        Y[np.arange(4), labels] = 1
        return np.sum(w * Y)

    for f, message in (
        (identity, "Write `ut.one_hot(labels, 3)`."),
        (looked_up, "Write `ut.one_hot(labels, 3) @ table`, or pass table to the function as an argument."),
        (taken, "Write `ut.one_hot(labels, 3) @ table`, or pass table to the function as an argument."),
        (written, "`Y = ut.one_hot(labels, 3)`, or make it with `Y = np.zeros_like(w, shape=(4, 3))`"),
    ):
        assert ut.grad(f)(w, labels).sum() == 4.0
        with pytest.raises(ut.ControlFlowError) as caught:
            ut.backprop(f, w, labels)
        assert message in str(caught.value)
        assert "derivative" not in str(caught.value)
    for right in (
        lambda w, labels: np.sum(w * ut.one_hot(labels, 3)),
        lambda w, labels: np.sum(w * (ut.one_hot(labels, 3) @ table)),
    ):
        assert np.array_equal(ut.backprop(right, w, labels)()[1], np.eye(3)[labels])


def test_an_index_beyond_the_end_is_an_index_error() -> None:
    """As in NumPy, so that what catches IndexError goes on working."""
    for key in (3, -4, (0, 0), [5], np.array([True, False]), 1.5):
        with pytest.raises(IndexError):
            ut.grad(lambda x, key=key: np.sum(x[key]))(X)
        with pytest.raises(ut.PositionError if not isinstance(key, list) else IndexError):
            ut.grad(lambda x, key=key: np.sum(x[key]))(X)


# ---- one answer for several elements ---------------------------------------------------------------


def halves(x: Any) -> Any:
    h = x * 2
    if h > 0:
        h = h / 4
    return np.sum(h)


def both_sides(x: Any) -> Any:
    return np.sum(x) if 0 < x < 1 else np.prod(x)


def test_several_elements_are_neither_true_nor_false_also_where_values_are_known() -> None:
    """A ValueError, as NumPy's is, with the user's line and what to write."""
    line = halves.__code__.co_firstlineno + 2
    with pytest.raises(ValueError, match=rf"test_control_flow.py:{line}, `if h > 0:.*\(3,\) is ambiguous") as told:
        ut.grad(halves)(X)
    assert "Write `h = np.where(h > 0, h / 4, h)`" in str(told.value) and "np.any or np.all" in str(told.value)
    with pytest.raises(ut.ShapeError, match=r"Write `np.where\(\(0 < x\) & \(x < 1\), np.sum\(x\), np.prod\(x\)\)`"):
        ut.value_and_grad(both_sides)(X)
    assert ut.grad(halves)(np.array([3.0])) == 0.5


def test_a_leaf_without_a_name_of_its_own_is_not_called_by_ours() -> None:
    """``w[0][1]`` of a list of lists is nobody's W_0_1."""
    with pytest.raises(ut.InPlaceError, match=r"`return np.sum.*`: w is a list of numbers, and each of them is"):
        ut.backprop(lists, [[1.0, 2.0], [3.0, 4.0]], np.ones(2))


def lists(w: Any, x: Any) -> Any:
    return np.sum(x @ w)
