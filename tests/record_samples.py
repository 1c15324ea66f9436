"""What the tests that run on the records' samples share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import undertow as ut
from undertow.api import differentiate_graph
from undertow.check import GradientReport
from undertow.graph import CONSTANT, INPUT, Graph
from undertow.primitives import NO_GRADIENT, Primitive, Sample
from undertow.trace import trace_function

with contextlib.suppress(ImportError):  # without SciPy there are fewer records
    import scipy.special  # noqa: F401

    from undertow.primitives import scipy_special  # noqa: F401

STEERED = ("stop_gradient", "clip_cotangent", "attach")  # their gradients are not their derivatives, on purpose


def float_places(primitive: Primitive, args: tuple[Any, ...]) -> tuple[int, ...]:
    """The arguments that a derivative is taken by."""
    return tuple(
        i
        for i, x in enumerate(args)
        if np.asarray(x).dtype.kind == "f" and primitive.rule(i) is not NO_GRADIENT and np.size(x)
    )


def scalar(primitive: Primitive, sample: Sample) -> Any:
    """Make a smooth scalar function of a primitive's arguments: weights times its result, squared a little."""

    def f(*args: Any) -> Any:
        out = primitive(*args, **sample.params)
        weights = np.cos(np.arange(int(np.prod(out.shape))) + 1.0).reshape(out.shape)
        return np.sum(weights * out + 0.1 * weights * out * out)

    return f


def check_second_derivative(f: Callable[..., Any], arrays: list[Any]) -> GradientReport:
    """Compare the gradient of a function of f's gradient with differences of it.

    Hundreds of values are needed for the differences of one sample. They are those of the graph of f's gradient, made
    once, whose numbers the tests of first derivatives look at; traced for each of them it took five times as long.
    """
    places = tuple(range(len(arrays)))
    first = ut.grad(f, wrt=places)

    def mix(gradients: Any) -> Any:
        return sum(np.sum(g + 0.5 * g * g) for g in gradients)

    def traced_each_time(*xs: Any) -> Any:
        return mix(first(*xs))

    try:
        traced = trace_function(f, arrays).graph
    except ut.UndertowError as error:  # the shape of the result, or the way to it, depends on values
        assert any(words in str(error) for words in ("not known", "value", "np.where")), error
        return ut.check_gradient(traced_each_time, *arrays, wrt=places, tolerance=1e-5)
    graph, _ = differentiate_graph(traced, traced.inputs)
    second = ut.grad(traced_each_time, wrt=places)
    gradients = in_turn(graph)
    return ut.check_gradient(lambda *xs: mix(gradients(xs)[1:]), *arrays, wrt=places, gradient=second, tolerance=1e-5)


def in_turn(graph: Graph) -> Callable[[Sequence[Any]], list[Any]]:
    """What `evaluate` does with a graph of known sizes, without looking at them each time."""
    constants = {node: node.value for node in graph.nodes if node.op is CONSTANT}
    steps = [node for node in graph.nodes if node.op is not CONSTANT and node.op is not INPUT]

    def run(values: Sequence[Any]) -> list[Any]:
        known = constants | dict(zip(graph.inputs, values, strict=True))
        for node in steps:
            value = node.op.forward(*[known[x] for x in node.inputs], **node.params)
            known[node] = value.item() if node.spec.weak and hasattr(value, "item") else value
        return [known[node] for node in graph.outputs]

    return run
