"""What fails in the user's own expression: the message has the line, the operands as they are written, the remedy."""

import numpy as np
import pytest

import undertow as ut
from undertow.errors import ArgumentError, DTypeError, InPlaceError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 4))
LABELS = np.array([0, 1, 2, 0, 1, 2])
P = (RNG.standard_normal((4, 5)), np.zeros(5), RNG.standard_normal((5, 3)), np.zeros(3))


def network(params, X, Y):
    W1, b1, W2, b2 = params
    return np.mean((np.tanh(X @ W1 + b1) @ W2 + b2 - Y) ** 2)


@pytest.fixture(params=[False, True], ids=["values", "compiled"])
def gradient(request):
    return lambda f: ut.value_and_grad(f, compile=request.param)


def test_operands_without_a_name_are_called_as_they_are_written(gradient):
    def turned(params, X):
        W1, _b1, _W2, _b2 = params
        return np.sum(X @ W1.T)

    def added(params, X):
        W1, _b1, _W2, b2 = params
        return np.sum(np.exp(X @ W1 + b2))

    def joined(params, X):
        W1, b1, _W2, _b2 = params
        return np.sum(np.concatenate([X @ W1, b1 * b1]))

    told = r"^X @ W1.T \(test_failures.py:\d+\): X is \(6, 4\), W1.T is \(5, 4\): .* 4 rows, as its transpose has.$"
    with pytest.raises(ShapeError, match=told):
        gradient(turned)(P, X)
    told = r"^X @ W1 \+ b2 \(test_failures.py:\d+\): X @ W1 is \(6, 5\), b2 is \(3,\): sizes 5 and 3 on axis -1"
    with pytest.raises(ShapeError, match=told):
        gradient(added)(P, X)
    with pytest.raises(ShapeError, match=r"X @ W1 is \(6, 5\), b1 \* b1 is \(5,\)"):
        gradient(joined)(P, X)


def test_numbers_of_classes_beside_a_column_a_class_are_not_to_be_broadcast(gradient):
    told = r"Y is \(6,\): sizes 3 and 6 on axis -1 differ and neither is 1. If Y holds the numbers of classes, "
    with pytest.raises(ShapeError, match=told + r"write ut.one_hot\(Y, 3\).$"):
        gradient(network)(P, X, LABELS)
    with pytest.raises(ShapeError, match=r"insert an axis of size 1 with \[:, None\].$"):  # floats may be anything
        gradient(network)(P, X, LABELS * 1.0)
    assert gradient(network)(P, X, ut.one_hot(LABELS, 3))[0] > 0


def test_axes_that_do_not_permute_are_told():
    for axes in ((2, 1), (0, 0), (0,)):
        with pytest.raises(ShapeError, match=r"axes \(.*\) do not permute the 2 axes of \(6, 4\)"):
            ut.grad(lambda x, axes=axes: np.sum(np.transpose(x, axes)))(X)
    with pytest.raises(ShapeError, match=r"axes \(0,\) do not permute the 0 axes of \(\)"):
        ut.grad(lambda x: np.transpose(np.sum(x), (0,)))(X)


@pytest.mark.parametrize(
    ("f", "told"),
    [
        (lambda i: np.unravel_index(i + 7, (2, 3))[0], r"np.unravel_index in \(2, 3\): 7 is not .* 0 … 5"),
        (lambda i: np.unravel_index(i, (2, 3), "A")[0], "order is 'A', not 'C' or 'F'"),
        (lambda i: np.unravel_index(i * 1.5, (2, 3))[0], "takes whole numbers, not float64"),
        (lambda i: np.ravel_multi_index((i, i + 3), (2, 3)), "np.ravel_multi_index: 3 is not .* 0 … 2"),
        (lambda i: np.ravel_multi_index((i, i), (2, 3, 4)), "2 arrays of positions, 3 axes, 3 modes"),
        (lambda i: np.ravel_multi_index((i, i), (2, 3), mode="mirror"), "mode is 'mirror'"),
    ],
)
def test_positions_that_are_nowhere_are_told(f, told):
    with pytest.raises(ut.UndertowError, match=rf"^test_failures.py:\d+: .*{told}"):
        ut.grad(lambda x: np.sum(x) * f(np.argmin(x)))(np.arange(6.0))


def test_calls_that_numpy_refuses_are_refused_there_too():
    W, v = np.ones((3, 3)), np.ones(3)
    for f, told in (
        (lambda v: np.matvec(v, v), r"np.matvec takes a matrix or a stack of them there, not \(3,\)"),
        (lambda v: np.vecmat(v, v), r"np.vecmat takes a matrix or a stack of them there, not \(3,\)"),
        (lambda v: np.matvec(W, np.sum(v)), r"np.matvec takes a vector or a stack of them there, not \(\)"),
        (lambda v: np.gradient(np.outer(v, v), axis=(1, 1)), r"np.gradient: axis=\(1, 1\) names an axis twice"),
        (lambda v: np.linalg.multi_dot([v, W[None], v]), r"vectors at the ends; array 2 is \(1, 3, 3\). Write @"),
        (lambda v: np.linalg.multi_dot([W, v, W]), r"vectors at the ends; array 2 is \(3,\)"),
        (lambda v: np.linalg.cond(v[:0, None] * v[:0], 1), r"np.linalg.cond is not defined for \(0, 0\)"),
        (lambda v: np.linalg.cross(v[:2], v), r"np.linalg.cross takes vectors of 3 along axis -1, not \(2,\) and"),
        (lambda v: np.linalg.qr(v, "complete")[1], r"np.linalg.qr.*\(3,\)"),
        (lambda v: np.convolve(v, v, mode=-1), r"np.convolve: mode=-1. Give \"full\", \"same\" or \"valid\""),
        (lambda v: np.correlate(v, v, mode="whole"), "np.correlate: mode='whole'. Give"),
        (lambda v: np.tensordot(np.outer(v, v), W, ([1, 1], [0, 0])), "np.tensordot.*names an axis twice"),
        (lambda v: np.partition(v, 3), "np.partition: kth=3 is beyond an axis of size 3. Count from 0 to 2"),
        (lambda v: v * np.argpartition(v, -4), "np.argpartition: kth=-4 is beyond an axis of size 3"),
        (lambda v: np.linalg.eigvalsh(np.outer(v, v), "lower"), 'UPLO=\'lower\'. Give "L" or "U"'),
        (lambda v: np.hsplit(v, "ab")[0], "a slice begins, ends and steps by integers, not 'a'"),
    ):
        with pytest.raises(ut.UndertowError, match=rf"^test_failures.py:\d+: .*{told}"):
            ut.grad(lambda v, f=f: np.sum(f(v)))(v)


@pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors:DeprecationWarning")
def test_vectors_in_a_plane_are_crossed_where_numpy_crosses_them():
    """Up to NumPy 2.4."""
    u, v = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    try:
        np.cross(u, v)
    except ValueError:
        with pytest.raises(
            ut.ShapeError, match=r"^test_failures.py:\d+: np.cross takes vectors of 3 .* Of two in a plane"
        ):
            ut.grad(lambda u: np.cross(u, v))(u)
        assert ut.grad(lambda u: u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0])(u).tolist() == [-1.0, -3.0]
    else:
        assert ut.grad(lambda u: np.cross(u, v))(u).tolist() == [-1.0, -3.0]


def test_fits_that_cannot_be_made_are_told():
    x, y = np.arange(4.0), np.ones(4)
    for f, told in (
        (lambda y: np.polyfit(x, y, -1), "no polynomial of degree -1"),
        (lambda y: np.polyfit(x[:3], y, 1), r"a vector x and a y of as many rows, not \(3,\) and \(4,\)"),
        (lambda y: np.polyfit(x, y, 1, w=x[:2]), r"x is \(4,\), w is \(2,\)"),
        (lambda y: np.polyfit(x[:0], y[:0], 1), "at least one point"),
        (lambda y: np.polyfit(x, y, 3, cov=True)[0], "4 points leave no error .* 4 coefficients"),
        (lambda y: np.poly(np.outer(y, y)), "np.poly of a matrix needs its eigenvalues"),
    ):
        with pytest.raises(ut.UndertowError, match=rf"^test_failures.py:\d+: .*{told}"):
            ut.grad(lambda y, f=f: np.sum(f(y)))(y)


def test_a_function_of_numbers_made_a_ufunc_is_named_as_it_was_made():
    square = np.frompyfunc(lambda v: v * v, 1, 1)
    with pytest.raises(ut.UnsupportedError, match=r"np.frompyfunc\(<lambda>, …\) cannot be traced"):
        ut.grad(lambda x: np.sum(square(x)))(X)


def test_what_is_no_number_is_named():
    texts = np.array(["a", "b", "c"])[LABELS]
    number = r"Number the classes first: classes, y = np.unique\(y, return_inverse=True\).$"
    with pytest.raises(DTypeError, match=r"^test_failures.py:\d+: Y holds texts \(<U1\), which cannot .*" + number):
        ut.grad(network)(P, X, texts)
    with pytest.raises(DTypeError, match=r"Y has the dtype object, .* Y.astype\(float\); texts are numbered with np"):
        ut.grad(network)(P, X, texts.astype(object))
    with pytest.raises(DTypeError, match=r"test_failures.py:\d+: b1 is None, which cannot be traced. Give a number or"):
        ut.grad(network)((P[0], None, *P[2:]), X, LABELS)
    with pytest.raises(DTypeError, match=r"argument Y of network .* classes are numbered by np.unique\(y, return_inv"):
        ut.value_and_grad(network, compile=True)(P, X, texts)
    with pytest.raises(ArgumentError, match=r"not <U1. Number the classes: np.unique\(labels, return_inverse=True\)"):
        ut.one_hot(texts, 3)
    with pytest.raises(DTypeError, match=r"argument w of .* is complex128: .* for example w.real, or choose"):
        ut.grad(lambda w: np.sum(w * 1.0))(np.ones(3) * 1j)


def test_a_table_that_meets_a_traced_value(gradient):
    pandas = pytest.importorskip("pandas")
    with pytest.raises(InPlaceError, match=r"^test_failures.py:\d+, `return .*`: X is a DataFrame, .* X.to_numpy\(\)"):
        gradient(network)(P, pandas.DataFrame(X), ut.one_hot(LABELS, 3))


def test_a_list_of_numbers_that_is_an_argument():
    many = np.tile(X, (20, 1)).tolist()
    for f, x in ((network, X.tolist()), (lambda p, X, Y: np.sum(np.asarray(X) @ p[0]), many)):
        with pytest.raises(InPlaceError, match=r"X is a list of numbers, .* Pass np.array\(X\) in its place.$"):
            ut.value_and_grad(f, compile=True)(P, x, ut.one_hot(LABELS, 3))
    with pytest.raises(InPlaceError, match=r"w is a list of numbers, and each of them is traced by itself."):
        ut.grad(lambda w: np.sum(w * np.ones(3)))([1.0, 2.0, 3.0])


def test_random_numbers_by_a_traced_value(gradient):
    generator = np.random.default_rng(0)
    for draw in (lambda w: np.sum(generator.normal(w)), lambda w: np.sum(np.random.normal(w))):
        with pytest.raises(InPlaceError, match=r"normal draws plain numbers, .* `mean \+ deviation \* noise` for"):
            gradient(draw)(np.ones(3))


@pytest.mark.usefixtures("plain_numpy")
def test_replacements_keep_what_was_asked_for(gradient):
    with pytest.raises(InPlaceError, match=r"Write `w.astype\(np.float32\)`.$"):
        gradient(lambda w: np.asarray(w, dtype=np.float32).sum())(np.ones(3))
    with pytest.raises(InPlaceError, match=r"Write `np.mean\(np.stack\(\[np.sum\(x @ w\) for x in X\]\)\)`.$"):
        gradient(lambda w: np.mean([np.sum(x @ w) for x in X]))(np.ones(4))
    with pytest.raises(DTypeError, match=r"returned bool: only floats have a derivative. Return the loss itself"):
        gradient(lambda w: np.sum(w) > 0)(np.ones(4))
