"""Every record in the registry is tested on its own samples: value, shape rule, first and second derivative."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest

import undertow as ut
from record_samples import STEERED, check_second_derivative, float_places, scalar
from undertow.graph import Graph, evaluate, verify
from undertow.primitives import REGISTRY, Kink, Primitive, Sample, spec_of
from undertow.trace import trace_function

with contextlib.suppress(ImportError):  # SciPy is optional; where it is, its records are tested too
    import undertow.primitives.scipy_special

CASES = [
    pytest.param(primitive, sample, id=f"{primitive.name}-{number}")
    for primitive in REGISTRY.values()
    for number, sample in enumerate(primitive.samples())
]
KINKS = [
    pytest.param(primitive, kink, id=f"{primitive.name}-{number}")
    for primitive in REGISTRY.values()
    for number, kink in enumerate(primitive.kinks)
]


def test_every_record_is_complete() -> None:
    """A record without samples, words or a derivative by argument would escape every other test."""
    for primitive in REGISTRY.values():
        assert primitive.samples(), primitive
        assert primitive.text and primitive.latex, primitive
        if isinstance(primitive.vjps, tuple):
            assert all(len(sample.args) <= len(primitive.vjps) for sample in primitive.samples()), primitive


@pytest.mark.parametrize(("primitive", "sample"), CASES)
def test_shape_rule_tells_what_numpy_gives(primitive: Primitive, sample: Sample) -> None:
    """The shape and dtype inferred without a value are those of the value."""
    for dtype in (np.float64, np.float32):
        args = [x.astype(dtype) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in sample.args]
        value = primitive.forward(*args, **sample.params)
        spec = primitive.infer(*[spec_of(x) for x in args], **sample.params)
        assert np.shape(value) == spec.shape
        if not spec.weak:
            assert np.asarray(value).dtype == spec.dtype


@pytest.mark.parametrize(("primitive", "sample"), CASES)
def test_first_derivative_equals_differences(primitive: Primitive, sample: Sample) -> None:
    """Each vjp agrees with the complex step or extrapolated differences."""
    places = float_places(primitive, sample.args)
    if not places or primitive.infer(*[spec_of(x) for x in sample.args], **sample.params).dtype.kind != "f":
        pytest.skip("nothing to differentiate")
    if primitive.name in STEERED:
        pytest.skip("its gradient is not its derivative, on purpose")
    args = [x if isinstance(x, np.ndarray) else float(x) if i in places else x for i, x in enumerate(sample.args)]
    report = ut.check_gradient(scalar(primitive, sample), *args, wrt=places, tolerance=1e-7)
    assert report, str(report)


@pytest.mark.parametrize(("primitive", "sample"), CASES)
def test_second_derivative_equals_differences(primitive: Primitive, sample: Sample) -> None:
    """The gradient of a function of the gradient agrees with differences too."""
    places = float_places(primitive, sample.args)
    if not places or primitive.infer(*[spec_of(x) for x in sample.args], **sample.params).dtype.kind != "f":
        pytest.skip("nothing to differentiate")
    if primitive.name in STEERED:
        pytest.skip("its gradient is not its derivative, on purpose")
    args = [x if isinstance(x, np.ndarray) else float(x) if i in places else x for i, x in enumerate(sample.args)]

    def f(*xs: Any) -> Any:
        given = dict(zip(places, xs, strict=True))
        return scalar(primitive, sample)(*[given.get(i, x) for i, x in enumerate(args)])

    report = check_second_derivative(f, [args[i] for i in places])
    assert report, str(report)


@pytest.mark.parametrize(("primitive", "sample"), CASES)
def test_float32_stays_float32_and_close(primitive: Primitive, sample: Sample) -> None:
    """In float32 the gradient is float32 and agrees with the float64 one."""
    places = float_places(primitive, sample.args)
    arrays = [i for i in places if isinstance(sample.args[i], np.ndarray)]
    if not arrays or primitive.infer(*[spec_of(x) for x in sample.args], **sample.params).dtype.kind != "f":
        pytest.skip("nothing to differentiate")

    def f(*args: Any) -> Any:
        return np.sum(primitive(*args, **sample.params))

    small = [x.astype(np.float32) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in sample.args]
    single, double = ut.grad(f, wrt=tuple(arrays))(*small), ut.grad(f, wrt=tuple(arrays))(*sample.args)
    for a, b in zip(single, double, strict=True):
        if primitive.name != "astype":
            assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("primitive", "sample"), CASES)
def test_traced_without_values_it_means_the_same(primitive: Primitive, sample: Sample) -> None:
    """The graph traced from shapes alone evaluates to what NumPy computes, and the verifier accepts it."""
    arrays = [i for i, x in enumerate(sample.args) if isinstance(x, np.ndarray)]
    if len(arrays) != len(sample.args) or not arrays:
        pytest.skip("constants are not arguments of a trace")
    try:
        traced = trace_function(lambda *args: primitive(*args, **sample.params), sample.args)
    except ut.UndertowError as error:
        assert "value" in str(error) or "np.where" in str(error)
        return
    verify(traced.graph)
    assert isinstance(traced.graph, Graph)
    (value,) = evaluate(traced.graph, sample.args)
    np.testing.assert_array_equal(value, primitive.forward(*sample.args, **sample.params))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("primitive", "kink"), KINKS)
def test_special_points_have_the_value_written_down(primitive: Primitive, kink: Kink, dtype: Any) -> None:
    """At its kinks a primitive's derivative is the one its record promises, in both precisions."""
    places = tuple(i for i, g in enumerate(kink.gradient) if g is not None)
    args = [np.array(x, dtype) for x in kink.args]
    with np.errstate(all="ignore"):
        found = ut.grad(lambda *xs: np.sum(primitive(*xs, **kink.params)), wrt=places)(*args)
    for i, g in zip(places, found, strict=True):
        np.testing.assert_allclose(g, kink.gradient[i], rtol=1e-5 if dtype is np.float32 else 1e-12)
