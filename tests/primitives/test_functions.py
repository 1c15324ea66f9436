"""Every NumPy function that tracers answer to, called through NumPy's own name on the samples of its record.

Value, dtype, first and second derivative, float32, the trace without values, and the emitted source.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest

import undertow as ut
from record_samples import check_second_derivative
from undertow import trees
from undertow.graph import evaluate, verify
from undertow.primitives import FUNCTIONS, Answer, Kink, Sample, Traced
from undertow.trace import trace_function

with contextlib.suppress(ImportError):  # SciPy is optional; where it is, its records are tested too
    import undertow.primitives.scipy_special

CASES = [
    pytest.param(answer, sample, id=f"{answer.name}-{number}")
    for answer in FUNCTIONS.values()
    for number, sample in enumerate(answer.samples())
]
KINKS = [
    pytest.param(answer, kink, id=f"{answer.name}-{number}")
    for answer in FUNCTIONS.values()
    for number, kink in enumerate(answer.kinks)
]


def is_float(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f"


class Call:
    """A call as a function of its float arrays, which may stand at any depth of its arguments."""

    def __init__(self, answer: Answer, sample: Sample) -> None:
        self.function, self.params = answer.function, sample.params
        self.leaves, self.rebuild = trees.flatten(sample.args)
        self.places = [i for i, leaf in enumerate(self.leaves) if is_float(leaf)]
        self.arrays = [self.leaves[i] for i in self.places]

    def __call__(self, *arrays: Any) -> list[Any]:
        """The results, as a flat list."""
        leaves = list(self.leaves)
        for i, array in zip(self.places, arrays, strict=True):
            leaves[i] = np.copy(array) if isinstance(array, np.ndarray) else array
        args = self.rebuild(leaves)
        result = self.function(*args, **self.params)
        return trees.flatten(args[0] if result is None else result)[0]  # None: it wrote into its first argument

    def scalar(self, *arrays: Any) -> Any:
        """Weights times the float results, squared a little: smooth, and no element goes unseen."""
        total: Any = 0.0
        for out in self(*arrays):
            if isinstance(out, Traced | np.ndarray | np.generic) and out.dtype.kind in "fc":
                weights = np.cos(np.arange(int(np.prod(out.shape))) + 1.0).reshape(out.shape)
                total = total + np.sum(weights * out + 0.1 * weights * out * out)
        return total

    @property
    def has_derivative(self) -> bool:
        """Is there a float array to differentiate by, and a float result to differentiate?"""
        if not any(array.size for array in self.arrays):
            return False
        return any(np.asarray(out).dtype.kind == "f" and np.size(out) for out in self(*self.arrays))


def values_of(call: Call, arrays: list[Any]) -> list[Any]:
    """The results while values are known, for a function whose result's shape depends on them."""
    found: list[Any] = []

    def keep(*xs: Any) -> Any:
        found.extend(out.node.value if isinstance(out, Traced) else out for out in call(*xs))
        return sum(np.sum(x) for x in xs)

    ut.grad(keep)(*arrays)
    return found


def differentiable(answer: Answer, sample: Sample) -> Call:
    call = Call(answer, sample)
    if not call.has_derivative:
        pytest.skip("nothing to differentiate")
    return call


def test_every_function_has_samples() -> None:
    """A function without samples would escape every other test."""
    assert not [answer.name for answer in FUNCTIONS.values() if not answer.samples()]


@pytest.mark.parametrize(("answer", "sample"), CASES)
def test_the_value_is_numpys(answer: Answer, sample: Sample) -> None:
    """Traced without values and evaluated, the result has NumPy's shape, dtype and bits or nearly; in float32 too."""
    call = Call(answer, sample)
    for dtype in (np.float64, np.float32):
        arrays = [array.astype(dtype) for array in call.arrays]
        wanted = call(*arrays)
        if not arrays:
            continue
        if sample.needs_values:
            with pytest.raises(ut.UnsupportedError):
                trace_function(call, arrays)
            value, _ = ut.value_and_grad(call.scalar)(*arrays)
            np.testing.assert_allclose(value, call.scalar(*arrays), rtol=1e-12 if dtype is np.float64 else 2e-5)
            continue
        try:
            traced = trace_function(call, arrays)
        except ut.UnsupportedError as error:
            assert "not known" in str(error)  # the shape of the result depends on values
            found = values_of(call, arrays)
        else:
            verify(traced.graph)
            found = traced.rebuild(evaluate(traced.graph, arrays))
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted, strict=True):
            assert np.shape(a) == np.shape(b)
            assert np.asarray(a).dtype == np.asarray(b).dtype or (dtype is np.float64 and np.ndim(b) == 0), (a, b)
            tolerance = 1e-12 if dtype is np.float64 else 2e-5
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("answer", "sample"), CASES)
def test_first_derivative_equals_differences(answer: Answer, sample: Sample) -> None:
    """The gradient agrees with the complex step or extrapolated differences."""
    call = differentiable(answer, sample)
    places = tuple(range(len(call.arrays)))
    report = ut.check_gradient(call.scalar, *call.arrays, wrt=places, tolerance=1e-8)
    assert report, str(report)


@pytest.mark.parametrize(("answer", "sample"), CASES)
def test_second_derivative_equals_differences(answer: Answer, sample: Sample) -> None:
    """The gradient of a function of the gradient agrees with differences too."""
    call = differentiable(answer, sample)
    report = check_second_derivative(call.scalar, call.arrays)
    assert report, str(report)


@pytest.mark.parametrize(("answer", "sample"), CASES)
def test_float32_stays_float32_and_close(answer: Answer, sample: Sample) -> None:
    """In float32 the gradient is float32 and agrees with the float64 one."""
    call = differentiable(answer, sample)
    places = tuple(range(len(call.arrays)))

    def total(*arrays: Any) -> Any:
        outs = [out for out in call(*arrays) if getattr(out, "dtype", np.dtype(bool)).kind == "f"]
        return sum((np.sum(out) for out in outs[1:]), np.sum(outs[0]))

    single = ut.grad(total, wrt=places)(*[array.astype(np.float32) for array in call.arrays])
    double = ut.grad(total, wrt=places)(*call.arrays)
    for a, b in zip(single, double, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("answer", "sample"), CASES)
def test_the_emitted_source_computes_the_gradient(answer: Answer, sample: Sample) -> None:
    """The backward pass written as NumPy source, and executed, gives the engine's numbers."""
    call = differentiable(answer, sample)
    if sample.needs_values:
        pytest.skip("there is no source where the shapes depend on values")
    places = tuple(range(len(call.arrays)))
    wanted = ut.grad(call.scalar, wrt=places)(*call.arrays)
    try:
        bp = ut.backprop(call.scalar, *call.arrays, wrt=places)
    except ut.UnsupportedError as error:
        assert "not known" in str(error)
        pytest.skip("the shape of its result depends on values")
    _, cache = bp.forward(*call.arrays)
    for a, b in zip(bp.backward(cache), wanted, strict=True):
        assert np.shape(a) == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("answer", "kink"), KINKS)
def test_special_points_have_the_value_written_down(answer: Answer, kink: Kink, dtype: Any) -> None:
    """At its kinks a function's derivative is the one its record promises, in both precisions."""
    places = tuple(i for i, g in enumerate(kink.gradient) if g is not None)
    args = [np.array(x, dtype) if g is not None else x for x, g in zip(kink.args, kink.gradient, strict=True)]
    with np.errstate(all="ignore"):
        found = ut.grad(lambda *xs: np.sum(answer.function(*xs, **kink.params)), wrt=places)(*args)
    for i, g in zip(places, found, strict=True):
        assert g.dtype == dtype
        np.testing.assert_allclose(g, kink.gradient[i], rtol=1e-5 if dtype is np.float32 else 1e-12)
