"""The mistakes that are made in backward passes written by hand are told for what they are."""

import warnings
from dataclasses import dataclass

import numpy as np
import pytest

import undertow as ut

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 3)), (RNG.random((12, 1)) > 0.5) * 1.0
PARAMS = (RNG.normal(size=(3, 4)), RNG.normal(size=4), RNG.normal(size=(4, 1)), RNG.normal(size=1))


@dataclass
class Net:
    W: np.ndarray


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def loss(params, X, y):
    W1, b1, W2, b2 = params
    p = sigmoid(sigmoid(X @ W1 + b1) @ W2 + b2)
    return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))


def by_hand(mistake):
    """The textbook's backward pass with one mistake."""

    def gradient(params, X, y):
        W1, b1, W2, b2 = params
        h1 = sigmoid(X @ W1 + b1)
        dz2 = (sigmoid(h1 @ W2 + b2) - y) / (1 if mistake == "no 1/m" else len(X))
        dh1 = dz2 @ W2.T
        slope = sigmoid(h1) * (1 - sigmoid(h1)) if mistake == "slope of h" else h1 * (1 - h1)
        dz1 = dh1 * slope * (-1 if mistake == "sign" else 1)
        dW1, db1, dW2, db2 = X.T @ dz1, dz1.sum(axis=0), h1.T @ dz2, dz2.sum(axis=0)
        return {
            "transposed": (dW1.T, db1, dW2, db2),
            "rows": (dW1, dz1, dW2, db2),
            "mean": (dW1, dz1.mean(axis=0), dW2, db2),
            "keepdims": (dW1, db1[None], dW2, db2),
            "axis": (dW1, db1, dW2, dz2.sum(axis=1)),
            "order": (dW2, db2, dW1, db1),
            "three": (dW1, db1, dW2),
            "dict": {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2},
            "none": None,
        }.get(mistake, (dW1, db1, dW2, db2))

    return gradient


def test_the_backward_pass_without_a_mistake_is_right():
    report = ut.check_gradient(loss, PARAMS, X, Y, gradient=by_hand(""))
    assert report
    assert [line.split("  ")[0] for line in str(report).splitlines()[1:5]] == [
        "W1 (params[0])", "b1 (params[1])", "W2 (params[2])", "b2 (params[3])"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (
            "no 1/m",
            r"by W1 \(params\[0\]\), b1 .*, W2 .*, b2 .* is 12 times the right one, and 12 is .* rows",
        ),
        ("sign", r"by W1 \(params\[0\]\), b1 \(params\[1\]\) has the other sign\nright: W2 \(params\[2\]\), b2"),
        (
            "slope of h",
            r"by (W1|b1) \(params.* is wrong [^√]*\nright: W2 \(params\[2\]\), b2 .*\. Look at",
        ),
        ("mean", r"by b1 \(params\[1\]\) is 1/12 of the right one, and 12 is the number of rows: a sum over them"),
        ("transposed", r"^W1 \(params\[0\]\) is \(3, 4\), its gradient is \(4, 3\)\. It is transposed"),
        ("rows", r"^b1 .* is \(4,\), its gradient is \(12, 4\)\. It has a row for each example: .*axis=0"),
        ("keepdims", r"^b1 .* is \(4,\), its gradient is \(1, 4\)\. .* without keepdims=True"),
        ("axis", r"^b2 .* is \(1,\), its gradient is \(12,\)\. It was added up along the other axis"),
        ("order", r"They are the shapes of other parameters: give the gradients in the order W1 .*, b1 .*, W2 .*, b2"),
        ("three", r"the gradient has 3 arrays, the argument 4\. Give one for each: W1 .*, b1 .*, W2 .*, b2"),
        ("dict", "the gradient is a dict, params a tuple"),
        ("none", "the gradient is None"),
    ],
)
def test_a_mistake_is_told_for_what_it_is(mistake, told):
    with pytest.raises(ut.GradientError, match=told):
        ut.check_gradient(loss, PARAMS, X, Y, gradient=by_hand(mistake))


def test_a_square_matrix_that_is_transposed():
    """W.T of a square W has the right shape: the entries tell."""
    W, X = RNG.normal(size=(3, 3)), RNG.normal(size=(5, 3))
    with pytest.raises(ut.GradientError, match=r"by W is transposed"):
        ut.check_gradient(lambda W: np.sum((X @ W) ** 3), W, gradient=lambda W: (3 * X.T @ (X @ W) ** 2).T)
    large = RNG.normal(size=(20, 20))  # of which only some entries are looked at
    with pytest.raises(ut.GradientError, match=r"by W is transposed"):
        ut.check_gradient(lambda W: np.sum(np.tanh(W) * large), np.zeros((20, 20)), gradient=lambda W: large.T)


@pytest.mark.parametrize(
    ("factor", "told"),
    [
        (2, "is twice the right one"),
        (0.5, "is half"),
        (-1, "has the other sign"),
        (1 + 1e-5, "is off by 1e-05 of its size"),
    ],
)
def test_the_two_of_a_square(factor, told):
    w = np.array([1.0, 2.0, -3.0])
    with pytest.raises(ut.GradientError, match=told):
        ut.check_gradient(lambda w: np.sum(w**2), w, gradient=lambda w: factor * 2 * w)


WITH_ROWS = tuple(x[None] if x.ndim == 1 else x for x in PARAMS)  # biases of shape (1, k), as many texts have them


@pytest.mark.parametrize(
    ("name", "wrong", "told"),
    [
        (
            "b1",
            lambda dz1, dz2: dz1.sum(axis=1, keepdims=True),
            r"b1 .* is \(1, 4\), its .* \(12, 1\)\. .* the other axis",
        ),
        ("b1", lambda dz1, dz2: dz1.sum(axis=1), r"b1 .* is \(1, 4\), its gradient is \(12,\)\. .* the other axis"),
        ("b1", lambda dz1, dz2: dz1, r"is \(12, 4\)\. It has a row for .* np.sum\(…, axis=0, keepdims=True\)"),
        ("b2", lambda dz1, dz2: dz2, r"b2 .* is \(1, 1\), its .* \(12, 1\)\. It has a row for .*, keepdims=True\)"),
        ("b2", lambda dz1, dz2: dz2.sum(axis=1), r"b2 .* is \(1, 1\), its .* \(12,\)\. .* the other axis"),
        ("b2", lambda dz1, dz2: dz2.sum(axis=0), r"b2 .* is \(1, 1\), its .* \(1,\)\. .* with keepdims=True"),
    ],
)
def test_rows_that_were_not_added_up_into_a_bias_of_one_row(name, wrong, told):
    def gradient(params, X, y):
        W1, b1, W2, b2 = params
        h1 = sigmoid(X @ W1 + b1)
        dz2 = (sigmoid(h1 @ W2 + b2) - y) / len(X)
        dz1 = dz2 @ W2.T * h1 * (1 - h1)
        right = {"W1": X.T @ dz1, "b1": dz1.sum(0, keepdims=True), "W2": h1.T @ dz2, "b2": dz2.sum(0, keepdims=True)}
        return tuple({**right, name: wrong(dz1, dz2)}.values())

    with pytest.raises(ut.GradientError, match=told):
        ut.check_gradient(loss, WITH_ROWS, X, Y, gradient=gradient)


def test_columns_that_were_not_added_up():
    """A text with an example a column has biases (k, 1)."""
    A = RNG.normal(size=(3, 7))
    with pytest.raises(ut.GradientError, match=r"\(3, 7\)\. It has a column for each .* axis=-1, keepdims=True"):
        ut.check_gradient(lambda b, A: np.sum((A + b) ** 2), np.ones((3, 1)), A, gradient=lambda b, A: 2 * (A + b))


def test_a_single_number_counts_with_arrays_of_the_same_factor():
    def opposite(params, X, y):
        return tuple(-g for g in by_hand("")(params, X, y))

    with pytest.raises(ut.GradientError, match=r"by W1 .*, b1 .*, W2 .*, b2 \(params\[3\]\) has the other sign$"):
        ut.check_gradient(loss, PARAMS, X, Y, gradient=opposite)


def test_keys_that_differ():
    with pytest.raises(ut.GradientError, match="the gradient has the keys W, c, p W, b"):
        ut.check_gradient(
            lambda p: np.sum(p["W"]) + p["b"],
            {"W": np.ones(2), "b": 1.0},
            gradient=lambda p: {"W": np.ones(2), "c": 1.0},
        )
    with pytest.raises(ut.GradientError, match="the gradient has the keys 2, p 1"):
        ut.check_gradient(lambda p: np.sum(p[1]), {1: np.ones(2)}, gradient=lambda p: {2: np.ones(2)})
    with pytest.raises(ut.GradientError, match=r"is a dict, net a Net\. .* structure, Net\(\*\*gradient\)"):
        ut.check_gradient(lambda net: np.sum(net.W), Net(np.ones(3)), gradient=lambda net: {"W": net.W})
    with pytest.raises(ut.GradientError, match="the gradient is a dict, w a ndarray"):
        ut.check_gradient(lambda w: np.sum(w), np.ones(3), gradient=lambda w: {"w": np.ones(3)})


def test_a_loss_that_cannot_be_traced_is_checked_all_the_same():
    def branching(params):
        W, b = params
        return np.sum(W) if W[0] > 0 else b

    with pytest.raises(ut.GradientError, match=r"by params\[0\] is wrong"):
        ut.check_gradient(branching, (np.ones(2), 1.0), gradient=lambda p: (3 * np.ones(2), 0.0))


class Plain:
    """A network as people write it first: no dataclass."""

    def __init__(self):
        self.W, self.b = np.ones((3, 1)), np.zeros(1)

    def loss(self, X, y):
        return np.mean((X @ self.W + self.b - y) ** 2)

    def backward(self, X, y):
        dp = 2 * (X @ self.W + self.b - y) / len(X)
        return X.T @ dp, dp.sum(axis=0)


@dataclass
class Fields:
    W: np.ndarray
    b: np.ndarray
    loss = Plain.loss

    def backward(self, X, y):
        return Fields(*Plain.backward(self, X, y))


def test_the_backward_pass_of_a_plain_class_is_told_to_need_a_dataclass():
    net, fields = Plain(), Fields(np.ones((3, 1)), np.zeros(1))
    remedy = r"Make the class a dataclass whose fields are the parameters, and .*check_gradient\(Plain\.loss"
    with pytest.raises(ut.GradientError, match=remedy):
        ut.check_gradient(Plain.loss, net, X, Y, gradient=Plain.backward)
    with pytest.raises(ut.GradientError, match=remedy):
        ut.check_gradient(net.loss, X, Y, gradient=net.backward)
    with pytest.raises(
        ut.GradientError, match=r"Write ut\.check_gradient\(Fields\.loss, net, …\), net being the Fields"
    ):
        ut.check_gradient(fields.loss, X, Y, gradient=fields.backward)
    assert ut.check_gradient(Fields.loss, fields, X, Y, gradient=Fields.backward)


def test_a_method_whose_arrays_are_constants_is_told_of():
    net, fields = Plain(), Fields(np.ones((3, 1)), np.zeros(1))
    with pytest.warns(
        UserWarning, match=r"arrays are constants here: the gradient is that by X\. Make the class a data"
    ):
        ut.backprop(net.loss, X, Y)
    with pytest.warns(UserWarning, match=r"Write ut\.backprop\(Fields\.loss, net, …\)"):
        ut.backprop(fields.loss, X, Y)
    found = ut.backprop(Fields.loss, fields, X, Y)()[1]
    np.testing.assert_allclose(found.W, net.backward(X, Y)[0])


def test_a_method_of_an_object_that_holds_the_data_is_differentiated_by_what_it_is_given():
    class Problem:
        def loss(self, w, decay=0.0):
            return np.mean((X @ w - Y[:, 0]) ** 2) + decay * np.sum(w**2)

    problem, w = Problem(), np.ones(X.shape[1])
    problem.X = X
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ut.backprop(problem.loss, w, 0.1)()[1]
    np.testing.assert_allclose(found, 2 * X.T @ (X @ w - Y[:, 0]) / len(X) + 0.2 * w)


def test_lists_of_numbers_in_place_of_an_array():
    _, pull = ut.vjp(np.sin, np.ones(3))
    with pytest.raises(ut.ShapeError, match=r"Give an array in place of the list: np\.array\(…\)"):
        pull([1, 0, 0])
    with pytest.raises(ut.ShapeError, match=r"Give an array in place of the list: np\.array\(…\)"):
        ut.hvp(lambda x: np.sum(x**3))(np.ones(3), [1, 0, 0])


def test_options_that_are_called_otherwise():
    for name in ("rtol", "atol", "tol"):
        with pytest.raises(TypeError, match="Use tolerance"):
            ut.check_gradient(np.sum, np.ones(2), **{name: 1e-3})
    with pytest.raises(TypeError, match=r"functools.partial\(f, k=…\)"):
        ut.check_gradient(lambda x, k: np.sum(x) * k, np.ones(2), k=3)


def test_a_rule_that_takes_other_arguments_is_refused_where_it_is_given():
    @ut.custom_vjp
    def cube(x):
        return x**3

    with pytest.raises(ut.ArgumentError, match=r"takes \(g, x\).*Write def as_elsewhere\(ct, out, x\)"):

        @cube.rule
        def as_elsewhere(g, x):
            return 3 * g * x**2

    cube.rule(lambda ct, out, *given: 3 * ct * given[0] ** 2)
    assert ut.grad(cube)(2.0) == 12.0
