"""Hypergeometric functions of ``scipy.special``: elliptic integrals, orthogonal polynomials, the dilogarithm.

They come with `scipy_special`. Derivatives are functions of the same kind (DLMF 15.5, 18.9), so that they have as many
as are wanted, and none of them cancels where the closed formula would be 0/0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from undertow.primitives.record import NOT_IMPLEMENTED, Kink, Primitive, Sample
from undertow.primitives.sampling import unary_samples
from undertow.primitives.scipy_record import positive, special_function
from undertow.primitives.trigonometric import inside_one

hyp2f1 = special_function(
    special.hyp2f1,
    NOT_IMPLEMENTED,
    NOT_IMPLEMENTED,
    NOT_IMPLEMENTED,
    lambda ct, out, a, b, c, x: ct * (a * b / c * special.hyp2f1(a + 1, b + 1, c + 1, x)),
    samples=lambda: [Sample((1, 2, 4, s.args[0]), note=s.note) for s in inside_one()[:-1]],
    source="DLMF 15.5.1",
)

hyp0f1 = special_function(
    special.hyp0f1,
    NOT_IMPLEMENTED,
    lambda ct, out, b, x: ct * (special.hyp0f1(b + 1, x) / b),
    samples=lambda: [Sample((2, s.args[0]), note=s.note) for s in unary_samples()[1:4]],
    source="DLMF 16.3.1",
)

# spence(x) is ∫ log(t) / (1 − t) from 1 to x; that integrand is −₂F₁(1, 1; 2; 1 − x), which is smooth at 1.
spence = special_function(
    special.spence,
    lambda ct, out, x: -(ct * special.hyp2f1(1.0, 1.0, 2.0, 1 - x)),
    flow=("{ct} ⊙ log({0}) / (1 − {0})",),
    samples=lambda: [*positive(), Sample((np.array([1.0, 1.0 + 1e-9, 20.0]),), note="around 1")],
    kinks=(Kink((1.0,), (-1.0,), "log(x) / (1 − x) is smooth at 1"),),
    source="DLMF 25.12.2, 15.4.1",
)

# ---- elliptic integrals --------------------------------------------------------------------------


def _parameters() -> list[Sample]:
    return [*inside_one()[:-1], Sample((np.array([0.0, 1e-9, -3.0]),), note="0 and below")]


ellipk = special_function(
    special.ellipk,
    lambda ct, out, m: ct * (math.pi / 8 * special.hyp2f1(1.5, 1.5, 2.0, m)),
    text="K({0})",
    latex="K({0})",
    samples=_parameters,
    kinks=(Kink((0.0,), (math.pi / 8,), "K is smooth at 0"),),
    source="DLMF 19.5.1, 15.5.1",
)

ellipe = special_function(
    special.ellipe,
    lambda ct, out, m: -(ct * (math.pi / 8 * special.hyp2f1(0.5, 1.5, 2.0, m))),
    text="E({0})",
    latex="E({0})",
    samples=_parameters,
    kinks=(Kink((0.0,), (-math.pi / 8,), "E is smooth at 0"),),
    source="DLMF 19.5.2, 15.5.1",
)


def _angles() -> list[Sample]:
    return [Sample((s.args[0], -2), note=s.note) for s in unary_samples()]


ellipkinc = special_function(
    special.ellipkinc,
    lambda ct, out, phi, m: ct / np.sqrt(1 - m * np.square(np.sin(phi))),
    NOT_IMPLEMENTED,
    text="F({0} | {1})",
    latex=r"F({0} \mid {1})",
    samples=_angles,
    source="DLMF 19.2.4",
)

ellipeinc = special_function(
    special.ellipeinc,
    lambda ct, out, phi, m: ct * np.sqrt(1 - m * np.square(np.sin(phi))),
    NOT_IMPLEMENTED,
    text="E({0} | {1})",
    latex=r"E({0} \mid {1})",
    samples=_angles,
    source="DLMF 19.2.5",
)

# ---- orthogonal polynomials ----------------------------------------------------------------------


def _below(n: Any) -> Any:
    """Return the degree of the derivative; that of a constant is multiplied by 0."""
    return np.where(n == 0, n, n - 1)


def _degrees(*parameters: int) -> Callable[[], list[Sample]]:
    def samples() -> list[Sample]:
        x = np.array([[-0.9, 0.2, 1.0], [0.7, -0.3, 0.5]])
        return [Sample((n, *parameters, x), note=f"degree {n}") for n in (0, 1, 2, 5)]

    return samples


def _polynomial(ufunc: np.ufunc, slope: Callable[..., Any], *parameters: int) -> Primitive:
    """Make the record of ``eval_…(n, …, x)``; ``slope`` is the derivative by x, as a function of the same arguments."""
    return special_function(
        ufunc,
        *[NOT_IMPLEMENTED] * (1 + len(parameters)),
        lambda ct, out, *args: ct * slope(*args),
        samples=_degrees(*parameters),
        source="DLMF 18.9",
    )


eval_jacobi = _polynomial(
    special.eval_jacobi,
    lambda n, a, b, x: np.where(n == 0, 0, (n + a + b + 1) / 2) * special.eval_jacobi(_below(n), a + 1, b + 1, x),
    1,
    2,
)
eval_gegenbauer = _polynomial(
    special.eval_gegenbauer,
    lambda n, a, x: np.where(n == 0, 0, 2 * a) * special.eval_gegenbauer(_below(n), a + 1, x),
    2,
)
eval_genlaguerre = _polynomial(
    special.eval_genlaguerre,
    lambda n, a, x: np.where(n == 0, 0, -1) * special.eval_genlaguerre(_below(n), a + 1, x),
    1,
)
eval_legendre = _polynomial(
    special.eval_legendre,
    lambda n, x: np.where(n == 0, 0, (n + 1) / 2) * special.eval_jacobi(_below(n), 1.0, 1.0, x),
)
eval_chebyu = _polynomial(
    special.eval_chebyu,
    lambda n, x: np.where(n == 0, 0, 2) * special.eval_gegenbauer(_below(n), 2.0, x),
)
eval_chebyt = _polynomial(special.eval_chebyt, lambda n, x: n * special.eval_chebyu(_below(n), x))
eval_laguerre = _polynomial(
    special.eval_laguerre,
    lambda n, x: np.where(n == 0, 0, -1) * special.eval_genlaguerre(_below(n), 1.0, x),
)
eval_hermite = _polynomial(special.eval_hermite, lambda n, x: 2 * n * special.eval_hermite(_below(n), x))
eval_hermitenorm = _polynomial(special.eval_hermitenorm, lambda n, x: n * special.eval_hermitenorm(_below(n), x))
