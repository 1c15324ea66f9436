"""NumPy's warnings while a function is traced or evaluated are those that NumPy gives of the function itself."""

import inspect
import warnings

import numpy as np
import pytest

import undertow as ut
from undertow import nn

X = np.array([1.0, 800.0, -3.0])
CONSTANT = np.array([0.0, 1.0])


def loss(x):
    grown = np.exp(x)
    logs = np.log(x - 800.0)
    large = np.sum(np.square(
        x * 1e200))  # fmt: skip
    return np.sum(logs) + np.sum(grown) + large + np.sum(np.log(CONSTANT)) + np.sum(1 / CONSTANT)


def told(f, *args):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        f(*args)
    assert {x.category for x in seen} <= {RuntimeWarning}
    return [(x.filename, x.lineno, str(x.message)) for x in seen]


def test_a_gradient_warns_where_and_as_the_function_does():
    expected = told(loss, X)
    assert len(expected) > 5
    for f in (ut.grad(loss), ut.value_and_grad(loss)):
        assert told(f, X) == expected
    assert set(told(ut.hessian(loss), X)) == set(expected)


def test_a_graph_names_the_lines_that_it_was_traced_from():
    with np.errstate(all="ignore"):  # of the constants
        bp = ut.backprop(loss, X)
    first = inspect.getsourcelines(loss)[1]
    for f in (bp, bp.values):
        found = told(f)
        assert {file for file, _, _ in found} == {__file__}
        assert (__file__, first + 1, "overflow encountered in exp") in found
        assert (__file__, first + 2, "invalid value encountered in log") in found
        assert {line for _, line, _ in found} <= set(range(first, first + 6))


def test_layers_and_losses_of_ours_are_where_they_are_called():
    model = nn.initialize(nn.Sequential(nn.Dense(3, 2)), 0)

    def far(model, x):
        return np.sum(model(x) ** 2)

    found = told(ut.grad(far), model, np.full((2, 3), 3e38, np.float32))
    line = inspect.getsourcelines(far)[1] + 1
    assert found and {(file, at) for file, at, _ in found} == {(__file__, line)}


def test_each_place_warns_once_as_modules_do():
    source = "import numpy as np\ndef f(x):\n    return np.sum(np.exp(x))\n"
    names = {"__name__": "their_module"}
    exec(compile(source, "their.py", "exec"), names)
    f = ut.grad(names["f"])
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        for _ in range(3):
            f(X)
    assert [(x.filename, x.lineno) for x in seen] == [("their.py", 3)]
    assert any(key[0] == "overflow encountered in exp" for key in names["__warningregistry__"] if key != "version")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", module="their_module")
        f(X)
    assert not seen


def test_what_the_user_told_numpy_to_do_is_done():
    gradient = ut.grad(loss)
    with np.errstate(all="ignore"):
        assert told(gradient, X) == []
    with np.errstate(all="raise"), pytest.raises(FloatingPointError, match="overflow encountered in exp"):
        gradient(X)
    heard = []
    with np.errstate(all="call", call=lambda kind, flag: heard.append(kind)):
        assert told(gradient, X) == []
    assert "overflow" in heard and "divide by zero" in heard
    with np.errstate(over="ignore"):
        assert {text.split(" enc")[0] for _, _, text in told(gradient, X)} == {"invalid value", "divide by zero"}

    def calm(x):
        with np.errstate(all="ignore"):
            return np.sum(np.exp(x))

    assert told(ut.grad(calm), X) == []


def test_warnings_that_are_errors_are_raised():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="overflow encountered in exp"):
            ut.grad(loss)(X)
    before = np.geterr(), np.geterrcall()
    with np.errstate(all="ignore"):
        assert np.isnan(ut.value_and_grad(loss)(X)[0])
    assert (np.geterr(), np.geterrcall()) == before


def test_operators_and_calls_on_plain_arrays_are_named():
    zero, one = np.zeros(2), np.ones(2)

    def several(x):
        a = one / zero
        a = a - a
        a = np.sqrt(zero - 1)
        return np.sum(x) + a.size

    assert told(ut.grad(several), X) == told(several, X)
