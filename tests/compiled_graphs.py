"""What the tests of compiled programs share: graphs of one primitive, and running a graph compiled."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.compile.expand import expand
from undertow.compile.planner import make_plan
from undertow.compile.program import Program
from undertow.graph import CONSTANT, INPUT, Graph, Node


def run_compiled(graph: Graph, values: Sequence[Any], threads: int = 1, fallback: str | None = None) -> list[Any]:
    """Compute a graph compiled; results are filled with 77 beforehand, so that what is not written shows."""
    return run_program(make_program(graph, threads, fallback), values)


def ones_by_numpy(x: Any) -> Any:
    """Return ones like an array by an operation without a kernel: the power of whole numbers to others."""
    z = (x > 0).astype(np.int64)
    return (z**z).astype(x.dtype)


def make_program(graph: Graph, threads: int = 1, fallback: str | None = None) -> Program:
    """Compile a graph without symbolic sizes."""
    return Program(make_plan(expand(graph, {}), threads, fallback=fallback))


def run_program(program: Program, values: Sequence[Any]) -> list[Any]:
    """Run a program once, as `run_compiled` does; memory is filled with what is no number."""
    program.arena[:] = 255
    results = [np.full(x.spec.shape, 77, x.spec.dtype) for x in program.plan.graph.outputs]
    inputs = [np.ascontiguousarray(v) for v in values]
    for i, value in enumerate(inputs):
        program.give("input", i, value)
    for i, result in enumerate(results):
        program.give("output", i, result)
    program.run()
    return results


def graph_of(primitive: Any, args: Sequence[Any], params: dict[str, Any]) -> tuple[Graph, list[Any]]:
    """Make a graph of one operation: arrays are its inputs, Python numbers constants."""
    nodes, inputs, values = [], [], []
    for x in args:
        spec = P.spec_of(x)
        if isinstance(x, int | float) and not isinstance(x, bool):
            node = Node(CONSTANT, (), {}, spec, x)
        else:
            node = Node(INPUT, (), {}, spec)
            inputs.append(node)
            values.append(np.asarray(x))
        nodes.append(node)
    result = Node(primitive, tuple(nodes), params, primitive.infer(*[x.spec for x in nodes], **params))
    return Graph(tuple(inputs), (result,)), values
