"""Products of SciPy's sparse matrices and traced arrays are those of the dense matrices, with all derivatives."""

import numpy as np
import pytest

import undertow as ut

sparse = pytest.importorskip("scipy.sparse")
RNG = np.random.default_rng(0)
A = sparse.random(30, 5, density=0.2, format="csr", random_state=0)
D = A.toarray()
W, V = RNG.normal(size=(5, 3)), RNG.normal(size=(2, 30))

PRODUCTS = {
    "vector": (lambda A, w: A @ w, W[:, 0]),
    "matrix": (lambda A, w: A @ w, W),
    "from the left": (lambda A, w: w @ A, V),
    "a vector from the left": (lambda A, w: w @ A, V[0]),
    "transposed": (lambda A, w: A.T @ w, V[0]),
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("form", ["csr_matrix", "csc_matrix", "coo_matrix", "csr_array", "dia_array"])
def test_values_and_gradients_are_those_of_the_dense_matrix(name, form):
    product, w = PRODUCTS[name]
    S = getattr(sparse, form)(A)

    def loss(w, A):
        return np.sum(product(A, w) ** 3)

    value, gradient = ut.value_and_grad(loss)(w, S)
    np.testing.assert_allclose(value, np.sum(product(D, w) ** 3))
    np.testing.assert_allclose(gradient, ut.grad(loss)(w, D), rtol=1e-12, atol=1e-12)


def test_second_derivatives_and_compiled_programs():
    b = RNG.normal(size=30)

    def loss(w):
        return np.mean((A @ w - b) ** 2)

    w = W[:, 0]
    np.testing.assert_allclose(ut.hessian(loss)(w), 2 * D.T @ D / 30, atol=1e-12)
    expected = 2 * D.T @ (D @ w - b) / 30
    np.testing.assert_allclose(ut.value_and_grad(loss, compile=True)(w)[1], expected, atol=1e-12)
    np.testing.assert_allclose(ut.backprop(loss, w)()[1], expected, atol=1e-12)
    np.testing.assert_allclose(ut.grad(lambda w: np.sum(A.dot(w) ** 2))(w), 2 * D.T @ D @ w, atol=1e-12)
    single = ut.grad(lambda w: np.sum(A.astype(np.float32) @ w))(w.astype(np.float32))
    assert single.dtype == np.float32


def test_errors_name_both_shapes_and_what_to_write():
    with pytest.raises(
        ut.ShapeError, match=r"test_sparse.py:\d+: the sparse matrix is \(30, 5\), .* \(4,\): the inner"
    ):
        ut.grad(lambda w: np.sum(A @ w))(np.ones(4))
    with pytest.raises(
        ut.ShapeError, match=r"\(30, 5\), and it meets .* \(1, 5, 2\): it multiplies vectors and matrices"
    ):
        ut.grad(lambda w: np.sum(A @ w))(np.ones((1, 5, 2)))
    with pytest.raises(ut.UnsupportedError, match=r"multiply makes a plain array .* Write A.toarray\(\) \* x"):
        ut.grad(lambda w: np.sum(A.multiply(w)))(np.ones(5))
    with pytest.raises(ut.DTypeError, match=r"A is a csr_matrix of SciPy's, .* Write @, or elsewhere A.toarray\(\)"):
        ut.grad(lambda w, A: np.sum(w * A))(np.ones(5), A)
    with pytest.raises(ut.UnsupportedError, match=r"`.*aslinearoperator\(A\) @ w`, of SciPy's, .*custom_vjp"):
        linalg = pytest.importorskip("scipy.sparse.linalg")
        ut.grad(lambda w: np.sum(linalg.aslinearoperator(A) @ w))(np.ones(5))
