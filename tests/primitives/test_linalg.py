"""What the samples of linear algebra cannot show: invariants, equal eigenvalues, random subscripts, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import undertow as ut
from undertow.primitives import einsum, svd_u

RANDOM = np.random.default_rng(5)


@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (2, 4, 3)])
def test_the_spaces_that_full_matrices_adds_have_a_derivative(shape: tuple[int, ...]) -> None:
    """Functions that do not depend on the basis NumPy chose for the added columns are differentiated right."""
    a, w = RANDOM.normal(size=shape), RANDOM.normal(size=(4, 4))

    def f(a: Any) -> Any:
        u, s, vt = np.linalg.svd(a)
        k = s.shape[-1]
        left = u[..., k:] @ np.swapaxes(u[..., k:], -1, -2) if u.shape[-1] > k else 0.0
        right = np.swapaxes(vt[..., k:, :], -1, -2) @ vt[..., k:, :] if vt.shape[-1] > k else 0.0
        n = max(u.shape[-1], vt.shape[-1])
        return np.sum(s**3) + np.sum((left + right) * w[:n, :n]) + np.sum(u[..., :, 0] ** 2 * vt[..., 0, :1])

    assert ut.check_gradient(f, a, tolerance=1e-8)


def test_the_polar_factor_at_equal_singular_values() -> None:
    """U Vᵀ is smooth there: its gradient has no gap to divide by, and is right."""
    w = RANDOM.normal(size=(3, 3))

    def f(a: Any) -> Any:
        u, _, vt = np.linalg.svd(a)
        return np.sum((u @ vt) * w)

    turn, _ = np.linalg.qr(RANDOM.normal(size=(3, 3)))
    for a in (2.0 * np.eye(3), 0.7 * turn):
        assert ut.check_gradient(f, a, tolerance=1e-7)


def test_sums_over_equal_eigenvalues() -> None:
    """A symmetric function of eigenvalues and vectors has a finite gradient where eigenvalues are equal."""
    a = np.diag([1.0, 1.0, 3.0])

    def projector(a: Any) -> Any:
        _, v = np.linalg.eigh(a)
        return np.sum((v[:, :2] @ v[:, :2].T) * np.arange(9.0).reshape(3, 3))

    assert ut.check_gradient(projector, a, tolerance=1e-7)
    np.testing.assert_allclose(ut.grad(lambda a: np.sum(np.linalg.eigvalsh(a) ** 2))(a), 2 * a, atol=1e-14)


def test_the_gradient_of_a_symmetric_matrix_stands_in_the_triangle_that_is_read() -> None:
    """By entries it is the derivative of what NumPy computes; through A + Aᵀ it is symmetric."""
    a = RANDOM.normal(size=(3, 3))
    for uplo, empty in (("L", np.triu), ("U", np.tril)):
        found = ut.grad(lambda a, uplo=uplo: np.linalg.eigvalsh(a, uplo)[0])(a)
        assert not np.any(empty(found, 1 if uplo == "L" else -1))
    both = ut.grad(lambda a: np.linalg.eigvalsh(a + a.T)[0])(a)
    np.testing.assert_allclose(both, both.T, atol=1e-14)
    v = np.linalg.eigh(a + a.T).eigenvectors[:, 0]
    np.testing.assert_allclose(both, 2 * np.outer(v, v), atol=1e-12)


def test_third_derivative_of_a_determinant() -> None:
    """Three nested gradients agree with differences."""
    a, c, d = (RANDOM.normal(size=(3, 3)) for _ in range(3))
    first = ut.grad(np.linalg.det)
    second = ut.grad(lambda a: np.sum(first(a) * c))
    third = lambda a: np.sum(second(a) * d)
    assert ut.check_gradient(third, a, tolerance=1e-8)


def test_a_determinant_of_rank_n_minus_2_has_a_second_derivative() -> None:
    """The first derivative is 0 there and the second is not."""
    a, c = np.diag([2.0, 0.0, 0.0]), RANDOM.normal(size=(3, 3))
    assert not np.any(ut.grad(np.linalg.det)(a))
    assert ut.check_gradient(lambda a: np.sum(ut.grad(np.linalg.det)(a) * c), a, tolerance=1e-8)


def draw_einsum(random: np.random.Generator) -> tuple[str, list[np.ndarray]]:
    """Draw subscripts with repetitions, sums and sizes of 1, and arrays that fit."""
    letters = "abcd"
    sizes = {letter: int(random.integers(1, 4)) for letter in letters}
    terms = ["".join(random.choice(list(letters), int(random.integers(0, 4)))) for _ in range(random.integers(1, 4))]
    used = sorted(set("".join(terms)))
    output = "".join(random.permutation(used)[: random.integers(0, len(used) + 1)])
    arrays = []
    for term in terms:
        shrunk = {letter: 1 if random.random() < 0.15 and term.count(letter) == 1 else sizes[letter] for letter in term}
        arrays.append(random.normal(size=[shrunk[letter] for letter in term]))
    return f"{','.join(terms)}->{output}", arrays


@pytest.mark.parametrize("seed", range(40))
def test_random_einsums(seed: int) -> None:
    """Any subscripts give NumPy's value and the right gradient by every operand, first and second order."""
    subscripts, arrays = draw_einsum(np.random.default_rng(seed))
    weights = np.asarray(np.cos(np.arange(np.einsum(subscripts, *arrays).size) + 1.0))

    def f(*arrays: Any) -> Any:
        out = np.einsum(subscripts, *arrays)
        return np.sum(out**2 * weights.reshape(out.shape))

    places = tuple(range(len(arrays)))
    value, _ = ut.value_and_grad(f, wrt=places)(*arrays)
    np.testing.assert_allclose(value, f(*arrays), rtol=1e-12)
    assert ut.check_gradient(f, *arrays, wrt=places, tolerance=1e-7)
    first = ut.grad(f, wrt=places)
    assert ut.check_gradient(lambda *xs: sum(np.sum(g**2) for g in first(*xs)), *arrays, wrt=places, tolerance=1e-5)


def test_a_batch_of_another_size_runs_through_the_same_source() -> None:
    """The batch keeps its name through einsum, tensordot, solve, norm, det and kron."""

    def loss(a: Any, x: Any) -> Any:
        y = np.einsum("...i,ij->...j", x, a)
        z = np.linalg.solve(a, y[..., None])[..., 0] + np.tensordot(y, a, axes=(1, 0))
        return np.sum(np.linalg.norm(z, axis=1)) + np.linalg.det(a) * np.sum(
            np.linalg.norm(np.kron(y, a), axis=1, ord=3)
        )

    a, x = RANDOM.normal(size=(2, 2)) + 3 * np.eye(2), RANDOM.normal(size=(5, 2))
    bp = ut.backprop(loss, a, x)
    for rows in (5, 3, 1):
        value, cache = bp.forward(a, x[:rows])
        wanted, gradient = ut.value_and_grad(loss)(a, x[:rows])
        np.testing.assert_allclose(value, wanted)
        np.testing.assert_allclose(bp.backward(cache), gradient)


def test_a_remembered_decomposition_is_nobodys_to_change() -> None:
    """Writing to a result, or to the matrix, does not change what comes next."""
    a = RANDOM.normal(size=(3, 3))
    u = svd_u(a, full=False)
    kept = u.copy()
    u[:] = 0
    np.testing.assert_array_equal(svd_u(a, full=False), kept)
    a *= -2
    np.testing.assert_array_equal(svd_u(a, full=False), np.linalg.svd(a).U)


def test_a_diagonal_by_einsum_is_a_view() -> None:
    """In NumPy a write to it changes the matrix: here it does too."""

    def f(a: Any) -> Any:
        a = a * 1.0
        d = np.einsum("ii->i", a)
        d *= 3.0
        return np.sum(a)

    np.testing.assert_array_equal(ut.grad(f)(np.eye(3)), np.ones((3, 3)) + 2 * np.eye(3))
    assert einsum.view is False


def test_errors_say_what_to_do() -> None:
    """A singular matrix is NumPy's own error, at the user's line; what cannot be traced says why."""
    with pytest.raises(np.linalg.LinAlgError, match=r"test_linalg.py:\d+.*Singular"):
        ut.grad(lambda a: np.sum(np.linalg.inv(a)))(np.zeros((2, 2)))
    cases = (
        (lambda a: np.sum(np.linalg.eigvals(a)), "eigh"),
        (lambda a: np.sum(np.linalg.qr(a, mode="complete")[0]), "mode='reduced'"),
        (lambda a: np.sum(np.linalg.inv(a)), r"square matrices, not \(3, 2\)"),
        (lambda a: np.sum(np.einsum("ij,jk", a, a)), "'j' of np.einsum stands for sizes 2 and 3"),
        (lambda a: np.sum(np.einsum("ij->k", a)), "each subscript of the result"),
        (lambda a: np.sum(np.tensordot(a, a, 1)), r"sizes \(2,\) and \(3,\)"),
        (lambda a: np.linalg.norm(a, "nucular"), "'nuc'"),
        (lambda a: np.sum(np.linalg.solve(a[:2], np.ones((4, 2)))), r"b\[..., None\]"),
    )
    for f, words in cases:
        with pytest.raises(ut.UndertowError, match=words):
            ut.grad(f)(np.ones((3, 2)))
