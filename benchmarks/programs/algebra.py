"""Linear algebra: decompositions, systems and products of matrices."""

from __future__ import annotations

import numpy as np
from benchmarks.programs.program import identity, normal, program, uniform


def eye_of(A):
    """The identity of a matrix's size and dtype."""
    return np.eye(A.shape[-1], dtype=A.dtype)


@program("covariance by Cholesky, 50", "N=500 D=50", X=normal("N D"), A=normal("D D"), dtype="float64")
def covariance(X, A):
    """Draws of a covariance A Aᵀ + I."""
    return np.mean((X @ np.linalg.cholesky(A @ A.T + eye_of(A))) ** 2)


@program("log-determinant, 100", "N=100 D=20", L=normal("N D"), dtype="float64")
def log_determinant(L):
    """Of L Lᵀ + I."""
    return np.linalg.slogdet(L @ L.T + np.eye(len(L), dtype=L.dtype))[1]


@program("whitening by eigenvalues", "N=1000 D=30", X=normal("N D"), W=normal("D D", 0.2), dtype="float64")
def whitening(X, W):
    """The logarithms of the eigenvalues of a covariance."""
    Y = X @ W
    return np.sum(np.log(np.linalg.eigh(Y.T @ Y / len(X))[0] + 1e-3))


@program("largest singular values", "N=200 D=20 K=40", X=normal("N D"), W=normal("D K"), dtype="float64")
def singular_values(X, W):
    """The sum of the five largest."""
    return np.sum(np.linalg.svd(np.tanh(X @ W), compute_uv=False)[:5])


@program("singular values as a penalty", "N=64 M=32 B=128", W=normal("N M", 0.1), x=normal("B N"))
def nuclear_penalty(W, x):
    """A line with a nuclear norm."""
    return np.sum(np.linalg.svd(W, compute_uv=False)) + np.mean((x @ W) ** 2)


@program("nuclear norm and polar factor", "N=60 M=40", A=normal("N M"), dtype="float64")
def polar_factor(A):
    """Singular values, and U V with its entries squared and weighted."""
    u, s, v = np.linalg.svd(A, full_matrices=False)
    return np.sum(s) + np.sum((u @ v)[0] ** 2)


@program("orthogonal weights by QR", "N=100 D=40 B=200", W=normal("N D"), X=normal("B N"), dtype="float64")
def orthogonal_weights(W, X):
    """The fourth powers of projections."""
    return np.mean((X @ np.linalg.qr(W)[0]) ** 4)


@program("rotation between clouds", "N=200", x=normal("N 3"), y=normal("N 3"), dtype="float64")
def kabsch(x, y):
    """Kabsch: the best orthogonal map, by the singular vectors of a covariance."""
    u, _, v = np.linalg.svd((x - np.mean(x, axis=0)).T @ (y - np.mean(y, axis=0)))
    return np.mean((x @ (u @ v) - y) ** 2)


@program("1000 systems of 4", "N=1000", A=normal("N 4 4"), b=normal("N 4"), dtype="float64")
def small_systems(A, b):
    """Solved at once."""
    return np.mean(np.linalg.solve(A + 5 * eye_of(A), b[..., None])[..., 0] ** 2)


@program("500 determinants of 8", "N=500", A=normal("N 8 8"), dtype="float64")
def determinants(A):
    """Their logarithms."""
    return np.mean(np.log(np.abs(np.linalg.det(A))))


@program("200 inverses of 10", "N=200", A=normal("N 10 10"), dtype="float64")
def small_inverses(A):
    """The squares of their entries."""
    return np.sum(np.linalg.inv(A + 9 * eye_of(A)) ** 2)


@program("inverse of 300", "N=300", A=normal("N N"), dtype="float64")
def large_inverse(A):
    """Of A + 50 I."""
    return np.sum(np.linalg.inv(A + 50 * eye_of(A)) ** 2)


@program("inverse of 100", "N=100", A=normal("N N"))
def single_inverse(A):
    """Of A + 30 I."""
    return np.sum(np.linalg.inv(A + 30 * eye_of(A)) ** 2)


@program("ridge regression, dual", "N=200 D=30", X=normal("N D"), y=normal("N"), log_decay=normal(""), dtype="float64")
def ridge_dual(X, y, log_decay):
    """yᵀ (X Xᵀ + λ I)⁻¹ y."""
    K = X @ X.T + np.exp(log_decay) * np.eye(len(X), dtype=X.dtype)
    return y @ np.linalg.solve(K, y)


@program(
    "Mahalanobis distances", "N=1000 D=10", X=normal("N D"), mean=normal("D"), L=normal("D D", 0.3), dtype="float64",
)  # fmt: skip
def mahalanobis(X, mean, L):
    """A normal likelihood with a full covariance."""
    S = L @ L.T + 0.5 * eye_of(L)
    d = X - mean
    return 0.5 * np.mean(np.sum(d * np.linalg.solve(S, d.T).T, axis=1)) + 0.5 * np.linalg.slogdet(S)[1]


@program("matrix exponential", "D=30", A=normal("D D", 0.2), x=normal("D"), dtype="float64")
def matrix_exponential(A, x):
    """Six squarings of a Taylor series."""
    B = A / 64
    term = total = eye_of(A)
    for k in range(1, 9):
        term = term @ B / k
        total = total + term
    for _ in range(6):
        total = total @ total
    return np.sum((total @ x) ** 2)


@program(
    "Riccati recursion, 15 steps", "N=6 M=2 T=15", A=normal("N N", 0.3), B=normal("N M"), Q=normal("N N"),
    x=normal("N"), dtype="float64",
)  # fmt: skip
def riccati(A, B, Q, x):
    """The cost of the best linear control."""
    P = Q = Q @ Q.T
    for _ in range(15):
        K = np.linalg.solve(np.eye(B.shape[1], dtype=A.dtype) + B.T @ P @ B, B.T @ P @ A)
        P = Q + A.T @ P @ (A - B @ K)
    return x @ P @ x


@program("Newton–Schulz orthogonalisation", "N=64 M=128", G=normal("N M"))
def newton_schulz(G):
    """Five polynomial steps towards the polar factor."""
    X = G / (np.sqrt(np.sum(G * G)) + 1e-7)
    for _ in range(5):
        A = X @ X.T
        X = 3.4445 * X + (-4.775 * A + 2.0315 * A @ A) @ X
    return np.sum(X**4)


@program("spectral norm, 10 power steps", "N=128 M=64 T=10", W=normal("N M", 0.1), v=normal("M"))
def spectral_norm(W, v):
    """The largest singular value by power iteration."""
    for _ in range(10):
        u = W @ v
        v = W.T @ (u / np.sqrt(np.sum(u * u)))
        v = v / np.sqrt(np.sum(v * v))
    return np.sqrt(np.sum((W @ v) ** 2))


@program("conjugate gradients, 10 steps", "T=10", A=normal("100 100", 0.1), b=normal("100"), dtype="float64")
def conjugate_gradients(A, b):
    """An unrolled solution of (A Aᵀ + I) x = b."""
    S = A @ A.T + eye_of(A)
    x, r, p = 0 * b, b, b
    rr = r @ r
    for _ in range(10):
        Sp = S @ p
        step = rr / (p @ Sp)
        x, r = x + step * p, r - step * Sp
        new = r @ r
        p, rr = r + new / rr * p, new
    return np.sum(x * b)


@program(
    "100 tridiagonal systems, 20 rows", "B=100 T=20", lower=normal("B T"), middle=uniform("B T", 4, 5),
    upper=normal("B T"), d=normal("B T"),
)  # fmt: skip
def tridiagonal(lower, middle, upper, d):
    """Thomas' elimination, for all systems at once."""
    n = d.shape[1]
    c, e = [upper[:, 0] / middle[:, 0]], [d[:, 0] / middle[:, 0]]
    for i in range(1, n):
        pivot = middle[:, i] - lower[:, i] * c[-1]
        c.append(upper[:, i] / pivot)
        e.append((d[:, i] - lower[:, i] * e[-1]) / pivot)
    x = e[-1]
    total = np.sum(x * x)
    for i in range(n - 2, -1, -1):
        x = e[i] - c[i] * x
        total = total + np.sum(x * x)
    return total


@program(
    "cubic spline regression", "N=1000 K=12", x=uniform("N"), y=normal("N"), knots=uniform("K", 0.5, 1.5),
    log_decay=normal("", 0.1), dtype="float64",
)  # fmt: skip
def spline_regression(x, y, knots, log_decay):
    """The residual of a ridge fit by truncated powers, by the places of the knots."""
    places = np.cumsum(knots) / np.sum(knots)
    basis = np.maximum(x[:, None] - places[None, :-1], 0) ** 3
    B = np.concatenate([np.stack([np.ones_like(x), x, x**2, x**3], axis=1), basis], axis=1)
    w = np.linalg.solve(B.T @ B + np.exp(log_decay) * np.eye(B.shape[1], dtype=x.dtype), B.T @ y)
    return np.mean((B @ w - y) ** 2)


@program("tensor of rank 5", "I=30 J=25 K=20 R=5", X=normal("I J K"), A=normal("I R"), B=normal("J R"), C=normal("K R"))
def tensor_rank(X, A, B, C):
    """A canonical decomposition's squared error."""
    return np.sum((np.einsum("ir,jr,kr->ijk", A, B, C) - X) ** 2)


@program(
    "Tucker decomposition", "I=30 J=25 K=20 R=5", X=normal("I J K"), G=normal("R R R"), A=normal("I R"),
    B=normal("J R"), C=normal("K R"),
)  # fmt: skip
def tucker(X, G, A, B, C):
    """A small core between three factors."""
    return np.sum((np.einsum("abc,ia,jb,kc->ijk", G, A, B, C) - X) ** 2)


@program("nonnegative factors", "N=200 M=100 R=10", X=uniform("N M"), W=normal("N R"), H=normal("R M"))
def nonnegative_factors(X, W, H):
    """Kullback and Leibler's divergence from a product of exponentials."""
    Y = np.exp(W) @ np.exp(H)
    return np.sum(Y - X * np.log(Y))


@program(
    "canonical correlation", "N=500 D=10", X=normal("N D"), Y=normal("N D"), W=normal("D D", 0.3), V=normal("D D", 0.3),
    dtype="float64",
)  # fmt: skip
def canonical_correlation(X, Y, W, V):
    """The trace of correlations of two learned views, by Cholesky factors."""
    a, b = np.tanh(X @ W), np.tanh(Y @ V)
    a, b = a - np.mean(a, axis=0), b - np.mean(b, axis=0)
    n, eye = len(X), eye_of(W)
    L, M = (np.linalg.cholesky(z.T @ z / n + 1e-3 * eye) for z in (a, b))
    T = np.linalg.solve(L, np.linalg.solve(M, b.T @ a / n).T)
    return -np.sum(T * T)


@program("linear discriminants", "K=5 N=60 D=8", X=normal("K N D"), W=normal("D D", 0.3), dtype="float64")
def discriminants(X, W):
    """The scatter between classes by that within them."""
    Z = X @ W
    means = np.mean(Z, axis=1)
    inside = Z - means[:, None]
    S_w = np.einsum("kni,knj->ij", inside, inside) / Z.shape[1] + 1e-2 * eye_of(W)
    off = means - np.mean(means, axis=0)
    return -np.trace(np.linalg.solve(S_w, off.T @ off))


@program("Gram–Schmidt, 12 vectors", "D=12 N=64", V=normal("D N"), dtype="float64")
def gram_schmidt(V):
    """Vectors made orthogonal one by one."""
    found = []
    for v in V:
        for u in found:
            v = v - (v @ u) * u
        found.append(v / np.sqrt(v @ v))
    return np.sum(np.stack(found) ** 4)


@program("least squares", "N=100 D=10", A=normal("N D"), b=normal("N"), dtype="float64")
def least_squares(A, b):
    """The squared residual of the best fit."""
    return np.sum((A @ np.linalg.lstsq(A, b)[0] - b) ** 2)


@program("products of a chain", "N=40 T=8", M=normal("T N N", 0.15), I=identity("N N"))
def matrix_chain(M, I):
    """Eight matrices from the left."""
    for A in M:
        I = np.tanh(A @ I)
    return np.trace(I) + np.sum(I * I)
