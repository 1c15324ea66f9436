"""What callers of the public functions get wrong is an error of ours that names the argument and the remedy."""

import functools

import numpy as np
import pytest

import undertow as ut
from undertow.errors import ArgumentError, DTypeError, NonScalarError

X = np.ones((4, 3))
W = np.array([1.0, 2.0, 3.0])


def loss(p, X):
    return np.sum((X @ p["w"]) ** 2)


def product(a, b):
    return np.sum(a * b)


class Plain:
    """Parameters that are no tree."""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (({"v": W}, X), r"lacks p\['w'\]; it has p\['v'\]"),
        (({"w": W, "k": 1.0}, X), r"it has p\['k'\]"),
        (({"w": [1.0, 2.0, 3.0]}, X), r"it has p\['w'\]\[0\]"),
        (({"w": W},), r"takes 2 arguments \(p, X\), got 1"),
        (({"w": W}, X, X), "got 3"),
        (({"w": "abc"}, X), r"p\['w'\] of loss is str"),
    ],
)
def test_a_program_takes_arguments_like_those_traced(args, message):
    """Other trees, lists for arrays and other counts are refused, in a call and in values()."""
    program = ut.backprop(loss, {"w": W}, X)
    for call in (program, program.values):
        with pytest.raises(ArgumentError, match=message):
            call(*args)
    assert program({"w": 2 * W}, X[:2])[0] == 288


@pytest.mark.parametrize("module", ["pandas", "polars"])
def test_a_column_of_a_frame_is_passed_as_an_array(module):
    column = pytest.importorskip(module).Series([1.0, 2.0])
    with pytest.raises(ArgumentError, match=r"A Series is no tree of arrays: pass its x.to_numpy\(\)"):
        ut.grad(lambda x: np.sum(x**2))(column)
    assert ut.grad(lambda x: np.sum(x**2))(column.to_numpy()).tolist() == [2, 4]


@pytest.mark.parametrize("value", ["abc", None, Plain()])
def test_what_holds_no_floats_cannot_be_differentiated(value):
    """`backprop` refuses what `grad` refuses; an object of a plain class gets the remedy."""
    for call in (lambda: ut.backprop(lambda w: 1.0, value), lambda: ut.grad(lambda w: 1.0)(value)):
        with pytest.raises(ArgumentError, match="w holds no floats" + (".*dataclass" * isinstance(value, Plain))):
            call()


@pytest.mark.parametrize("value", [1j, [1.0, 2j], np.array([1j]), {"w": (1.0, 1j)}])
def test_complex_numbers_are_named_as_such(value):
    for call in (lambda: ut.backprop(lambda w: 1.0, value), lambda: ut.grad(lambda w: 1.0)(value)):
        with pytest.raises(DTypeError, match=r"argument w.* is complex128.*complex.* are out of scope"):
            call()


def test_an_integer_in_a_tree_is_named_by_its_path():
    """Of {'a': float, 'b': int} the message names p['b']."""
    for call in (lambda p: ut.grad(lambda p: p["a"] * p["b"])(p), lambda p: ut.backprop(lambda p: p["a"] * p["b"], p)):
        with pytest.raises(DTypeError, match=r"argument p\['b'\] of .*int64.* p\['b'\] \* 1\.0"):
            call({"a": 1.0, "b": 2})


@pytest.mark.parametrize(
    ("wrt", "message"),
    [((), "names no argument"), ((0, 0), "named twice"), ((0, -2), "named twice"), ("b", "'b' is wrt=1"),
     (1.0, "Give a position"), (True, "Give a position"), (2, r"2 arguments \(a, b\)")],
)  # fmt: skip
def test_positions_are_read(wrt, message):
    """Positions that are none, or twice the same one, are refused by grad, backprop and check_gradient."""
    for call in (
        lambda: ut.grad(product, wrt=wrt)(W, W),
        lambda: ut.backprop(product, W, W, wrt=wrt),
        lambda: ut.check_gradient(product, W, W, wrt=wrt),
    ):
        with pytest.raises(ArgumentError, match=message):
            call()


def test_a_position_may_be_numpys_integer():
    """np.int64(1) is the position 1, and −1 the last one."""
    for wrt in (np.int64(1), -1):
        np.testing.assert_array_equal(ut.grad(product, wrt=wrt)(W, 2 * W), W)
        np.testing.assert_array_equal(ut.backprop(product, W, 2 * W, wrt=wrt)()[1], W)


def test_a_function_is_wanted():
    """A number in place of the function, such as its result, is refused."""
    for call in (lambda: ut.grad(3), lambda: ut.backprop(3, W), lambda: ut.check_gradient(3, W)):
        with pytest.raises(ArgumentError, match="Give the function itself"):
            call()


def test_a_result_that_is_no_number_names_the_function_and_its_line():
    """A vector, a text and None name the file and the line of the function."""
    for result, said in ((W, r"\(3,\)"), ("a", "str"), (None, "NoneType")):

        def wrong(w, result=result):
            return result

        line = wrong.__code__.co_firstlineno
        for call in (lambda f: ut.grad(f)(W), lambda f: ut.backprop(f, W)):
            with pytest.raises(NonScalarError, match=rf"wrong \(test_arguments.py:{line}\) returned .*{said}"):
                call(wrong)


def test_names_of_a_partial_function_are_those_of_the_function():
    """functools.partial keeps the names of the arguments that are left."""
    program = ut.backprop(functools.partial(lambda s, w, X: np.sum(X @ w) * s, 2.0), W, X)
    assert "def forward(w, X)" in program.source


def test_what_no_path_leads_to_is_told():
    """`unreached` names the inputs that the result does not depend on."""
    assert ut.backprop(lambda a, b: np.sum(a), W, W, wrt=(0, 1)).unreached == ("b",)
    assert ut.backprop(product, W, W).unreached == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"tolerance": -1}, "tolerance"), ({"tolerance": float("nan")}, "tolerance"), ({"tolerance": "a"}, "tolerance"),
     ({"seed": -1}, "seed"), ({"gradient": 3}, "gradient is 3")],
)  # fmt: skip
def test_settings_of_a_check_are_read(settings, message):
    """Every setting out of range is named."""
    with pytest.raises(ArgumentError, match=message):
        ut.check_gradient(product, W, W, **settings)


def test_a_check_where_the_loss_is_no_number_is_refused():
    """NaN in the parameters and the logarithm of a negative number are no wrong gradients."""
    for w in (np.array([np.nan]), np.array([-1.0])):
        with np.errstate(all="ignore"), pytest.raises(ArgumentError, match="is nan at these arguments"):
            ut.check_gradient(lambda w: np.sum(np.log(w)), w)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ut.softmax(3.0), ArgumentError, "softmax: x is a single number"),
        (lambda: ut.sigmoid(None), DTypeError, "sigmoid: x is a NoneType"),
        (lambda: ut.sigmoid(1j), DTypeError, "complex128"),
        (lambda: ut.softmax(np.array([1j])), DTypeError, "complex128"),
        (lambda: ut.one_hot([0, 1], None), ArgumentError, "depth is the number of classes"),
        (lambda: ut.one_hot([0, 1], 2.5), ArgumentError, "got 2.5"),
        (lambda: ut.one_hot([0], -1), ArgumentError, "got -1"),
        (lambda: ut.load(3), ArgumentError, "the folder of a run is 3"),
        (lambda: ut.train.__globals__["Run"](None).save("a\0b"), ArgumentError, "the folder of a run"),
    ],
)
def test_values_out_of_scope_are_refused(call, error, message):
    """None, complex numbers, sizes and paths that are none: an error of ours each."""
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    "make",
    [
        ut.grad, ut.value_and_grad, ut.jacobian, ut.per_example_grad, ut.hessian, ut.hvp,
        functools.partial(ut.value_and_grad, compile=True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("given", [{"w": W}, W, [1.0, 2.0]], ids=["dict", "array", "list"])
def test_arguments_in_the_place_of_their_positions_are_refused_before_any_call(make, given):
    """ut.grad(loss, params) is the call of ut.backprop and ut.check_gradient."""
    with pytest.raises(ArgumentError, match=r"(?s)position of (an|one) argument"):
        make(loss, given)
    if make in (ut.grad, ut.jacobian):
        with pytest.raises(ArgumentError, match=rf"got {type(given).__name__}.*ut\.grad\(loss\)\(p, X\)"):
            make(loss, given)


def test_a_program_without_example_arguments_asks_for_them():
    with pytest.raises(ArgumentError, match=r"called with 0 arguments.*Give example arguments"):
        ut.backprop(loss)


@pytest.mark.parametrize("make", [ut.backprop, lambda f, x: ut.grad(f)(x)], ids=["backprop", "grad"])
def test_integers_are_named_and_not_the_result_that_comes_of_them(make):
    with pytest.raises(DTypeError, match=r"argument w of .* is int64: only floats.*for example w \* 1\.0"):
        make(lambda w: np.sum(w**2), np.arange(3))


@pytest.mark.parametrize("make", [ut.backprop, lambda f, *args: ut.grad(f)(*args)], ids=["backprop", "grad"])
def test_a_list_of_numbers_where_an_array_is_meant_is_told_to_be_an_array(make):
    def squares(w, X):
        return np.mean((X @ w) ** 2)

    with pytest.raises(ut.InPlaceError, match=r"w is a list of numbers, .* Pass np\.array\(w\) in its place"):
        make(squares, [1.0, 2.0, 3.0], X)
    assert make(squares, np.array([1.0, 2.0, 3.0]), X) is not None


@pytest.mark.parametrize("make", [ut.hessian, ut.hvp, lambda f: ut.grad(ut.grad(f))])
def test_messages_of_second_derivatives_name_the_function_s_own_arguments(make):
    def cubes(weights):
        return np.sum(weights**3)

    line = cubes.__code__.co_firstlineno
    with pytest.raises(DTypeError, match=rf"argument weights of \S*cubes \(test_arguments.py:{line}\) is int64"):
        make(cubes)(np.arange(3), *([np.ones(3)] if make is ut.hvp else []))


def test_vectorize_calls_its_function_with_each_element_or_is_told_to_be_written_for_arrays():
    np.testing.assert_allclose(ut.grad(lambda x: np.sum(np.vectorize(lambda v: v**2)(x)))(W), 2 * W)
    named = np.vectorize(lambda v, by: v**2 / by, excluded=["by"])
    with pytest.raises(ut.InPlaceError, match=r"np\.vectorize calls its function with plain numbers|np.stack"):
        ut.grad(lambda x: np.sum(named(x, by=2.0)))(W)
    np.testing.assert_allclose(ut.grad(lambda x: np.sum(np.stack([(lambda v: v**2)(v) for v in x])))(W), 2 * W)
