"""Decompositions, systems and determinants by LAPACK: NumPy's numbers and errors, everything needed computed once."""

import numpy as np
import pytest

import undertow as ut
from undertow.compile.blas import Blas
from undertow.errors import UnsupportedError

RTOL = {np.float32: 2e-4, np.float64: 1e-11}


def matrix(rng, *shape, dtype=np.float64):
    return rng.normal(size=shape).astype(dtype)


def definite(rng, *shape, dtype=np.float64):
    a = rng.normal(size=shape)
    return (a @ np.swapaxes(a, -1, -2) + shape[-1] * np.eye(shape[-1])).astype(dtype)


def upright(v):
    """Let the largest number of every column be positive."""
    largest = np.take_along_axis(v, np.argmax(np.abs(v), axis=-2)[..., None, :], axis=-2)
    return v * np.sign(largest)


def reassembled(parts):
    u, s, vt = parts
    return (u * s[..., None, :]) @ vt


FUNCTIONS = {
    "solve": lambda a, b: np.linalg.solve(a, b),
    "solve a vector": lambda a, b: np.linalg.solve(a, b[..., :1])[..., 0],
    "solve transposed": lambda a, b: np.linalg.solve(np.swapaxes(a, -1, -2), b),
    "inv": lambda a, b: np.linalg.inv(a),
    "inv transposed": lambda a, b: np.linalg.inv(np.swapaxes(a, -1, -2)),
    "det": lambda a, b: np.linalg.det(a / (3 * a.shape[-1] ** 0.5)),
    "sign": lambda a, b: np.linalg.slogdet(a)[0],
    "logdet": lambda a, b: np.linalg.slogdet(a)[1],
    "cholesky": lambda a, b: np.linalg.cholesky(a @ np.swapaxes(a, -1, -2) + np.eye(a.shape[-1], dtype=a.dtype)),
    "cholesky, upper": lambda a, b: np.linalg.cholesky(
        a @ np.swapaxes(a, -1, -2) + np.eye(a.shape[-1], dtype=a.dtype), upper=True
    ),
    "triangle": lambda a, b: np.linalg.solve(
        np.linalg.cholesky(a @ np.swapaxes(a, -1, -2) + np.eye(a.shape[-1], dtype=a.dtype)), b
    ),
    "upper triangle": lambda a, b: np.linalg.inv(
        np.linalg.cholesky(a @ np.swapaxes(a, -1, -2) + np.eye(a.shape[-1], dtype=a.dtype), upper=True).mT
    ),
    "eigenvalues": lambda a, b: np.linalg.eigvalsh(a + np.swapaxes(a, -1, -2)),
    "eigh": lambda a, b: np.linalg.eigh(a + np.swapaxes(a, -1, -2))[0],
    "projectors": lambda a, b: (lambda v: v[..., :1] @ np.swapaxes(v[..., :1], -1, -2))(
        np.linalg.eigh(a + np.swapaxes(a, -1, -2), UPLO="U")[1]
    ),
    "svdvals": lambda a, b: np.linalg.svd(b, compute_uv=False),
    "svd": lambda a, b: reassembled(np.linalg.svd(b, full_matrices=False)),
    "full svd": lambda a, b: np.linalg.svd(b)[0][..., :1] ** 2,
    "qr": lambda a, b: np.linalg.qr(b)[0],
    "r": lambda a, b: np.linalg.qr(np.swapaxes(b, -1, -2))[1],
    "pinv": lambda a, b: np.linalg.pinv(b),
    "power": lambda a, b: np.linalg.matrix_power(a, -2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stack", [(), (3,), (2, 3)])
@pytest.mark.parametrize("n", [1, 2, 7, 33])
def test_results_are_numpys(name, dtype, stack, n):
    rng = np.random.default_rng(n)
    a = matrix(rng, *stack, n, n, dtype=dtype) + 3 * np.sqrt(dtype(n)) * np.eye(n, dtype=dtype)
    b = matrix(rng, *stack, n, 4, dtype=dtype)
    f = FUNCTIONS[name]
    wanted, found = f(a, b), ut.compile(f)(a, b)
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(found, wanted, rtol=RTOL[dtype], atol=RTOL[dtype] * scale)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_are_those_of_the_plain_evaluation_and_of_differences(name):
    rng = np.random.default_rng(1)
    a, b = matrix(rng, 5, 5) + 6 * np.eye(5), matrix(rng, 5, 3)
    weights = rng.normal(size=np.shape(FUNCTIONS[name](a, b)))

    def f(a, b):
        return np.sum(np.sin(FUNCTIONS[name](a, b)) * weights)

    value, found = ut.value_and_grad(f, wrt=(0, 1), compile=True)(a, b)
    _, wanted = ut.value_and_grad(f, wrt=(0, 1))(a, b)
    np.testing.assert_allclose(value, f(a, b), rtol=1e-12)
    along = [matrix(rng, 5, 5), matrix(rng, 5, 3)]
    h = 1e-6
    ahead, behind = (f(a + s * h * along[0], b + s * h * along[1]) for s in (1, -1))
    slope = sum(np.sum(g * d) for g, d in zip(found, along, strict=True))
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * h), rtol=1e-6, atol=1e-7)
    for mine, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-10)


def test_eigenvectors_and_singular_vectors_are_numpys_up_to_their_signs():
    rng = np.random.default_rng(4)
    a = definite(rng, 3, 20, 20)
    values, vectors = ut.compile(lambda a: tuple(np.linalg.eigh(a)))(a)
    wanted = np.linalg.eigh(a)
    np.testing.assert_allclose(values, wanted[0], rtol=1e-12)
    np.testing.assert_allclose(upright(vectors), upright(wanted[1]), atol=1e-11)
    b = matrix(rng, 20, 8)
    parts = ut.compile(lambda b: tuple(np.linalg.svd(b)))(b)
    wanted = np.linalg.svd(b)
    assert [x.shape for x in parts] == [x.shape for x in wanted]
    np.testing.assert_allclose(upright(parts[0][:, :8]), upright(wanted[0][:, :8]), atol=1e-11)
    np.testing.assert_allclose(upright(parts[2].T), upright(wanted[2].T), atol=1e-11)
    np.testing.assert_allclose(parts[0].T @ parts[0], np.eye(20), atol=1e-12)


def test_one_matrix_serves_a_stack_of_right_sides_and_the_other_way_round():
    rng = np.random.default_rng(5)
    for shapes in (((4, 4), (3, 2, 4, 5)), ((3, 1, 4, 4), (2, 4, 5)), ((3, 4, 4), (4,)), ((4, 4), (4, 0))):
        a, b = (matrix(rng, *shape) for shape in shapes)
        a = a + 5 * np.eye(4)
        np.testing.assert_allclose(ut.compile(np.linalg.solve)(a, b), np.linalg.solve(a, b), rtol=1e-12)


def test_matrices_without_rows_are_numpys():
    empty = np.zeros((2, 0, 0))
    for f in (np.linalg.inv, np.linalg.det, np.linalg.cholesky, np.linalg.eigvalsh, lambda a: np.linalg.slogdet(a)[0]):
        np.testing.assert_array_equal(ut.compile(f)(empty), f(empty))
    for shape in ((0, 3), (3, 0)):
        b = np.zeros(shape)
        for f in (np.linalg.pinv, lambda b: np.linalg.qr(b)[0], lambda b: np.linalg.svd(b, full_matrices=False)[2]):
            assert ut.compile(f)(b).shape == f(b).shape


def test_what_several_results_need_is_computed_once():
    """The likelihood of a Gaussian process: a solution, a determinant and their gradients have one factorisation."""
    rng = np.random.default_rng(6)
    K, y = definite(rng, 30, 30), matrix(rng, 30)
    g = ut.compile(ut.value_and_grad(lambda K: y @ np.linalg.solve(K, y) + np.linalg.slogdet(K)[1]))
    value, slope = g(K)
    routines = [call.what.split(": ")[-1] for call in g.program.plan.calls if ": " in call.what]
    assert routines.count("getrf") == 1 and set(routines) == {"getrf", "getrs"}
    inverse = np.linalg.inv(K)
    np.testing.assert_allclose(value, y @ inverse @ y + np.linalg.slogdet(K)[1], rtol=1e-12)
    np.testing.assert_allclose(slope, inverse - np.outer(inverse @ y, inverse @ y), rtol=1e-9, atol=1e-12)
    h = ut.compile(ut.value_and_grad(lambda K: np.sum(np.linalg.solve(np.linalg.cholesky(K), y) ** 2)))
    h(K)
    routines = {call.what.split(": ")[-1] for call in h.program.plan.calls if ": " in call.what}
    assert routines == {"potrf", "trtrs", "trtri"}, "triangles are not factored"


def test_values_and_vectors_come_from_one_decomposition():
    rng = np.random.default_rng(12)
    for f, routine in ((lambda a: np.linalg.eigvalsh(a + a.T), "syevd"), (np.linalg.svdvals, "gesdd")):
        a = matrix(rng, 6, 6)
        g = ut.compile(ut.value_and_grad(lambda a, f=f: np.sum(f(a) ** 3)))
        value, slope = g(a)
        assert [x.what.split(": ")[-1] for x in g.program.plan.calls if ": " in x.what] == [routine]
        np.testing.assert_allclose(value, np.sum(f(a) ** 3), rtol=1e-12)
        np.testing.assert_allclose(
            slope, ut.value_and_grad(lambda a, f=f: np.sum(f(a) ** 3))(a)[1], rtol=1e-9, atol=1e-10
        )


def test_a_product_and_its_transpose_are_one_product():
    rng = np.random.default_rng(7)
    a, b = matrix(rng, 40, 30), matrix(rng, 30, 40)
    f = ut.compile(lambda a, b: np.tanh(a @ b) + np.exp(b.T @ a.T))
    np.testing.assert_allclose(f(a / 9, b / 9), np.tanh(a @ b / 81) + np.exp(b.T @ a.T / 81), rtol=1e-12)
    assert len([call for call in f.program.plan.calls if call.kind]) == 1
    square = ut.compile(lambda a: a.T @ a + (a.T @ a) ** 2)
    np.testing.assert_allclose(square(a), a.T @ a + (a.T @ a) ** 2, rtol=1e-12)


def test_numpys_errors_are_raised_with_the_line():
    singular = np.array([[1.0, 2.0], [2.0, 4.0]])
    cases = [
        (lambda a: np.linalg.inv(a), singular, "Singular matrix"),
        (lambda a: np.linalg.solve(a, a), np.stack([np.eye(2), singular]), "Singular matrix"),
        (lambda a: np.linalg.cholesky(a), -np.eye(3), "Matrix is not positive definite"),
        (lambda a: np.linalg.eigh(a)[0], np.full((3, 3), np.nan), "Eigenvalues did not converge"),
        (lambda a: np.linalg.svd(a)[1], np.full((3, 3), np.nan), "SVD did not converge"),
    ]
    for f, bad, words in cases:
        with pytest.raises(np.linalg.LinAlgError, match=words):
            f(bad)
        g = ut.compile(f)
        with pytest.raises(np.linalg.LinAlgError, match=rf"^np\.linalg \(test_linear_algebra.py:\d+\).*{words}"):
            g(bad)
        good = np.broadcast_to(np.eye(bad.shape[-1]), bad.shape)
        np.testing.assert_allclose(g(good), f(good), err_msg="the error is forgotten")


def test_determinants_of_singular_matrices_and_their_gradients():
    singular = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, -1.0, 0.5]])
    value, slope = ut.value_and_grad(np.linalg.det, compile=True)(singular)
    assert abs(value) < 1e-12
    cofactors = np.array([
        [(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(singular, i, 0), j, 1)) for j in range(3)]
        for i in range(3)
    ])  # fmt: skip
    np.testing.assert_allclose(slope, cofactors, atol=1e-12)
    sign, log = ut.compile(lambda a: tuple(np.linalg.slogdet(a)))(np.array([[1.0, 2.0], [2.0, 4.0]]))
    assert (sign, log) == (0, -np.inf)
    assert np.isnan(ut.compile(np.linalg.det)(np.array([[np.nan, 1.0], [2.0, 3.0]])))


def test_threads_share_a_stack_and_the_numbers_stay_the_same():
    rng = np.random.default_rng(8)
    a, b = matrix(rng, 500, 9, 9) + 9 * np.eye(9), matrix(rng, 500, 30, 6)

    found = []
    for threads in (1, 2):
        ut.set_threads(threads)
        try:
            g = ut.compile(lambda a, b: (np.linalg.inv(a), np.linalg.svd(b)[1], np.linalg.qr(b)[0]))
            found.append(g(a, b))
            shared = [call.shared for call in g.program.plan.calls if ": " in call.what]
            assert all(shared) == (g.program.plan.threads == 2)
        finally:
            ut.set_threads(None)
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


def test_without_lapack_it_is_an_error_that_names_the_operation(monkeypatch):
    monkeypatch.setattr(Blas, "has_lapack", lambda self: False)
    a = definite(np.random.default_rng(9), 3, 3)
    with pytest.raises(UnsupportedError, match=r"inv \(test_linear_algebra.py:\d+\).*does not compile.*fallback"):
        ut.compile(lambda a: np.linalg.inv(a))(a)
    f = ut.compile(lambda a: np.linalg.inv(a), fallback="numpy")
    np.testing.assert_allclose(f(a), np.linalg.inv(a), rtol=1e-12)
    assert f.program.by_numpy
