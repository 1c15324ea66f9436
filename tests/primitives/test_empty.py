"""Arrays without elements: where NumPy computes something of them, the gradient has their shape and dtype."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest

import undertow as ut
from undertow import trees
from undertow.primitives import FUNCTIONS, NO_GRADIENT, REGISTRY, Answer, Primitive

with contextlib.suppress(ImportError):  # SciPy is optional; where it is, its records are tested too
    import undertow.primitives.scipy_special

# what NumPy answers only because it does not look: an index beyond an axis, edges of no bin, shapes that contradict
LOOSE = {"np.take", "np.histogram", "np.geomspace", "histogram", "put_diagonal"}


def floats(x: Any) -> list[Any]:
    """The float arrays of a tree."""
    return [leaf for leaf in trees.flatten(x)[0] if getattr(getattr(leaf, "dtype", None), "kind", "") == "f"]


def emptied(x: Any, size: int, dtype: Any) -> Any:
    """The tree with all axes of this size cut to 0, its floats of this dtype."""
    leaves, rebuild = trees.flatten(x)
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, np.ndarray):
            cut = leaf[tuple(slice(0, 0) if n == size else slice(None) for n in leaf.shape)]
            leaves[i] = cut.astype(dtype) if cut.dtype.kind == "f" else cut.copy()
    return rebuild(leaves)


def check(f: Any, args: tuple[Any, ...], params: dict[str, Any], places: list[int]) -> None:
    """Cut each size to 0 in turn; where NumPy still answers with floats, so must the gradient."""
    arrays = [leaf for leaf in trees.flatten(args)[0] if isinstance(leaf, np.ndarray)]
    for size in {n for array in arrays for n in array.shape if n}:
        for dtype in (np.float64, np.float32):
            small = emptied(args, size, dtype)
            try:
                with np.errstate(all="ignore"):
                    found = floats(f(*small, **params))
            except Exception:
                continue
            wrt = tuple(i for i in places if floats(small[i]))
            if not wrt or not found:
                continue

            def loss(*xs: Any) -> Any:
                total = sum(np.sum(out) for out in floats(f(*xs, **params)))
                return total + sum(np.sum(np.where(np.isfinite(x), x, 0)) for x in floats(xs))

            for i, gradient in zip(wrt, ut.grad(loss, wrt=wrt)(*small), strict=True):
                for x, g in zip(floats(small[i]), floats(gradient), strict=True):
                    assert (g.shape, g.dtype) == (x.shape, x.dtype), (size, params)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("answer", FUNCTIONS.values(), ids=[answer.name for answer in FUNCTIONS.values()])
def test_functions_of_no_elements_have_a_gradient(answer: Answer) -> None:
    """Every NumPy function, on its samples with each axis cut to 0."""
    for sample in answer.samples():
        if answer.name not in LOOSE and sample.params.get("mode") != "complete":
            check(answer.function, sample.args, sample.params, list(range(len(sample.args))))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("primitive", REGISTRY.values(), ids=list(REGISTRY))
def test_primitives_of_no_elements_have_a_gradient(primitive: Primitive) -> None:
    """Every record, on its samples with each axis cut to 0."""
    for sample in primitive.samples():
        if primitive.name not in LOOSE:
            places = [i for i in range(len(sample.args)) if primitive.rule(i) is not NO_GRADIENT]
            check(primitive, sample.args, sample.params, places)


def test_sum_of_single_precision_over_rows_of_no_elements() -> None:
    """The shape that is kept may hold a 0: nothing can be told from the number of elements."""
    x, y = np.zeros((5, 5, 0), np.float32), np.zeros((0, 5), np.float32)
    gradients = ut.grad(lambda x, y: np.sum(x @ y), wrt=(0, 1))(x, y)
    assert [(g.shape, g.dtype) for g in gradients] == [((5, 5, 0), np.float32), ((0, 5), np.float32)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("count", "ddof"), [(1, 1), (2, 2), (2, 3)])
def test_variance_with_no_degree_of_freedom_left(count: int, ddof: int) -> None:
    """NumPy divides by 0 then, and so does the slope: it is not finite, and no error."""
    x = np.arange(1.0, count + 1)
    assert not np.isfinite(np.var(x, ddof=ddof))
    assert not np.isfinite(ut.grad(lambda x: np.var(x, ddof=ddof))(x)).any()


@pytest.mark.parametrize("value", [np.nan, np.inf, 2.0])
@pytest.mark.parametrize("n", [1, 2])
def test_differences_of_too_few_elements_pass_nothing_back(value, n):
    """There is no difference, so that its derivative by the elements is 0, whatever they are."""
    x = np.full((3, n), value)
    for f in (lambda x: np.diff(x, n=n), lambda x: np.ediff1d(x[:1, :1])):
        assert np.size(f(x)) == 0
        (back,) = ut.vjp(f, x)[1](np.zeros(np.shape(f(x))))
        np.testing.assert_array_equal(back, np.zeros((3, n)))
