"""Write a graph in fewer operations and with every size a number: what is left is points, sums, products and moves.

A softmax becomes a maximum, an exponential, a sum and a division, which can share loops with what stands around them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.compile.expand_counting import COUNTING
from undertow.compile.expand_float16 import widened
from undertow.compile.expand_index import INDEX
from undertow.compile.expand_more import MORE
from undertow.compile.expand_order import LONG, ORDER, found_anyway, sort_by_places
from undertow.compile.expand_places import PLACES
from undertow.compile.expand_points import POINTS
from undertow.compile.linear_algebra import LINEAR_ALGEBRA, join_decompositions
from undertow.compile.narrow_sums import split_narrow_sums
from undertow.compile.parts import join_parts
from undertow.compile.repeats import merge_repeats
from undertow.compile.rewriting import as_float
from undertow.compile.short_axes import turn_short_axes
from undertow.compile.stacks import flatten_stacks
from undertow.compile.stencils import read_shifted
from undertow.graph import CONSTANT, INPUT, Graph, Node, Spec, resolve
from undertow.primitives import random
from undertow.primitives.order import sort
from undertow.primitives.record import reduced_shape
from undertow.primitives.reduce import all_, any_
from undertow.trace import Tracer
from undertow.trace.tracer import Trace


class ShapesOnly(Trace):
    """A trace that knows shapes alone and keeps no notes; what is added is written in simpler operations at once.

    Args:
        origin: the node that all stand for.
        within: the operations that are being written: what is left of one in its own rule has a kernel.
    """

    def __init__(self, origin: Node, within: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.node, self.within = origin, within

    def add(self, op: P.Primitive, inputs: tuple[Node, ...], params: dict[str, Any]) -> Node:
        """Make a node, at the line of the one that it stands for."""
        return _write(self.node, op, inputs, params, op.infer(*[x.spec for x in inputs], **params), self.within)


def _shifted(x: Any, axis: tuple[int, ...]) -> tuple[Any, Any]:
    """X less its maximum, and the maximum; an infinite one is left out."""
    largest = (
        P.max_(x, axis=axis, keepdims=True) if 0 not in x.shape else np.zeros_like(P.sum_(x, axis=axis, keepdims=True))
    )
    shift = np.where(np.isfinite(largest), largest, 0)
    return x - shift, shift


def _softmax(x: Any, axis: int) -> Any:
    shifted, _ = _shifted(as_float(x), (axis,))
    e = np.exp(shifted)
    total = P.sum_(e, axis=(axis,), keepdims=True)
    return e * (1 / np.where(total == 0, 1, total))


def _log_softmax(x: Any, axis: int) -> Any:
    shifted, _ = _shifted(as_float(x), (axis,))
    total = P.sum_(np.exp(shifted), axis=(axis,), keepdims=True)
    return shifted - np.log(np.where(total == 0, 1, total))


def _logsumexp(x: Any, axis: tuple[int, ...], keepdims: bool = False) -> Any:
    shifted, shift = _shifted(as_float(x), axis)
    result = np.log(P.sum_(np.exp(shifted), axis=axis, keepdims=True)) + shift
    return result if keepdims else P.squeeze(result, axis=axis)


def _count(x: Any, axis: tuple[int, ...]) -> int:
    return math.prod(x.shape[i] for i in axis)


def _mean(x: Any, axis: tuple[int, ...], keepdims: bool = False) -> Any:
    x = as_float(x)
    return P.sum_(x, axis=axis, keepdims=keepdims) / float(_count(x, axis))


def _moment(x: Any, mask: Any, axis: tuple[int, ...], keepdims: bool, ddof: float, least: float = 0.0) -> Any:
    """The sum of squared deviations by n − ddof, or by ``least`` where that is not above 0."""
    x = as_float(x)
    if mask is None:
        n: Any = float(_count(x, axis))
        keep: Any = lambda v: v  # noqa: E731
    else:
        mask = P.broadcast_to(mask, shape=x.shape)
        n = P.sum_(P.astype(mask, dtype=x.dtype), axis=axis, keepdims=True)
        keep = lambda v: np.where(mask, v, 0)  # noqa: E731
    deviation = keep(x - P.sum_(keep(x), axis=axis, keepdims=True) / n)
    total = P.sum_(deviation * deviation, axis=axis, keepdims=keepdims)
    n = n if mask is None or keepdims else P.squeeze(n, axis=axis)
    if mask is None:
        return total / (n - ddof if n > ddof else least)
    return total / np.where(n > ddof, n - ddof, least)


def _var(x: Any, *extras: Any, axis: Any, keepdims: bool, ddof: float = 0, options: Any = ()) -> Any:
    return _moment(x, dict(zip(options, extras, strict=True)).get("where"), axis, keepdims, ddof)


def _nanvar(x: Any, *extras: Any, axis: Any, keepdims: bool, ddof: float = 0, options: Any = ()) -> Any:
    x = as_float(x)
    kept = np.logical_not(np.isnan(x))
    where = dict(zip(options, extras, strict=True)).get("where")
    return _moment(x, kept if where is None else np.logical_and(kept, where), axis, keepdims, ddof, least=math.nan)


def _nanstd(x: Any, *extras: Any, **params: Any) -> Any:
    found = _nanvar(x, *extras, **params)
    return None if found is None else np.sqrt(found)


def _std(x: Any, *extras: Any, **params: Any) -> Any:
    return np.sqrt(_var(x, *extras, **params))


def _with_options(plain: P.Primitive, join: Any, neutral: Callable[[np.dtype[Any]], Any]) -> Callable[..., Any]:
    """A reduction with ``initial=`` and ``where=`` by the one without."""

    def apply(x: Any, *extras: Any, axis: Any, keepdims: bool = False, options: Any = ()) -> Any:
        given = dict(zip(options, extras, strict=True))
        if plain in (P.max_, P.min_) and any(x.shape[i] == 0 for i in axis):
            start = P.astype(given["initial"], dtype=x.dtype)
            return P.broadcast_to(start, shape=reduced_shape(x.shape, axis, keepdims))
        if "where" in given:
            x = np.where(given["where"], x, neutral(x.dtype))
        result = plain(x, axis=axis, keepdims=keepdims)
        return join(result, given["initial"]) if "initial" in given else result

    return apply


def _quantifier(plain: P.Primitive, keep: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """``any`` and ``all`` with ``where=`` by the one without, which stays."""

    def apply(x: Any, *extras: Any, axis: Any, keepdims: bool = False, options: Any = ()) -> Any:
        return plain(keep(x, extras[0]), axis=axis, keepdims=keepdims, options=()) if options else None

    return apply


def _mean_where(x: Any, mask: Any, axis: Any, keepdims: bool = False, options: Any = ()) -> Any:
    x = as_float(x)
    mask = P.broadcast_to(mask, shape=x.shape)
    n = P.sum_(P.astype(mask, dtype=x.dtype), axis=axis, keepdims=keepdims)
    return P.sum_(np.where(mask, x, 0), axis=axis, keepdims=keepdims) / n


def _lowest(dtype: np.dtype[Any]) -> Any:
    return -math.inf if dtype.kind == "f" else False if dtype.kind == "b" else int(np.iinfo(dtype).min)


def _highest(dtype: np.dtype[Any]) -> Any:
    return math.inf if dtype.kind == "f" else True if dtype.kind == "b" else int(np.iinfo(dtype).max)


def _one_hot(labels: Any, depth: int, dtype: np.dtype[Any]) -> Any:
    return P.astype(P.expand_dims(labels, axis=(labels.ndim,)) == np.arange(depth), dtype=dtype)


def _band(lower: bool) -> Callable[..., Any]:
    def apply(x: Any, k: int = 0) -> Any:
        rows, columns = np.arange(x.shape[-2])[:, None], np.arange(x.shape[-1])
        return np.where(columns - rows <= k if lower else columns - rows >= k, x, 0)

    return apply


def _attach(out: Any, *_: Any, **__: Any) -> Any:
    return out


def _uniform_at(key: Any, counter: Any, bits: int) -> Any:
    """Places that are known are multiplied here and now, instead of at every draw."""
    if counter.node.op is not CONSTANT or not counter.shape:
        return None
    with np.errstate(over="ignore"):
        far = np.asarray(counter.node.value).astype(np.uint64) * np.uint64(random.GAMMA)
    key = key if key.dtype == np.int64 else P.astype(key, dtype=np.dtype(np.int64))
    return P.uniform_at(key + far.view(np.int64), np.int64(0), bits=bits)


EXPANSIONS: dict[str, Callable[..., Any]] = {
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "logsumexp": _logsumexp,
    "mean": _mean,
    "mean_where": _mean_where,
    "var": _var,
    "std": _std,
    "nanvar": _nanvar,
    "nanstd": _nanstd,
    "sum_options": _with_options(P.sum_, np.add, lambda dtype: 0),
    "max_options": _with_options(P.max_, np.maximum, _lowest),
    "min_options": _with_options(P.min_, np.minimum, _highest),
    "any": _quantifier(any_, np.logical_and),
    "all": _quantifier(all_, lambda x, mask: np.logical_or(x, np.logical_not(mask))),
    "one_hot": _one_hot,
    "tril": _band(True),
    "triu": _band(False),
    "attach": _attach,
    "uniform_at": _uniform_at,
    "prod_options": _with_options(P.prod, np.multiply, lambda dtype: 1),
    **MORE,
    **INDEX,
    **LINEAR_ALGEBRA,
    **ORDER,
    **COUNTING,
    **PLACES,
    **POINTS,
}


def expand(graph: Graph, sizes: dict[str, int]) -> Graph:
    """Put numbers for symbolic sizes, and simpler operations for those that consist of them.

    Args:
        graph: any graph.
        sizes: the number of each symbolic size.

    Returns:
        A graph of the same inputs and outputs; lines and names are carried over.
    """
    moved: dict[Node, Node] = {}
    inputs = []
    ordered = found_anyway(graph.nodes)
    for node in graph.nodes:
        params = {key: resolve(value, sizes) for key, value in node.params.items()}
        spec = Spec(tuple(resolve(node.spec.shape, sizes)), node.spec.dtype, node.spec.weak)
        op: Any = node.op
        if op is CONSTANT:
            new = node
        elif op is INPUT:
            new = Node(INPUT, (), {}, spec)
            inputs.append(new)
        elif op is P.size:
            new = Node(CONSTANT, (), {}, spec, int(params["dim"]))
        elif op is P.positions:
            new = Node(CONSTANT, (), {}, spec, np.arange(params["dim"], dtype=params["dtype"]))
        elif op is sort and spec.shape[params["axis"]] > LONG and (node.inputs[0], params["axis"]) in ordered:
            new = sort_by_places(Tracer(moved[node.inputs[0]], ShapesOnly(node)), params["axis"]).node
        else:
            new = _write(node, op, tuple(moved[x] for x in node.inputs), params, spec)
        if new.name is None and new is not node:
            new.name = node.name or (f"d{node.ct_of}" if node.ct_of else None)
            new.line = new.line or node.line
        moved[node] = new
    written = Graph(tuple(inputs), tuple(moved[x] for x in graph.outputs), title=graph.title)
    join_decompositions(written)
    for rewrite in (read_shifted, join_parts, flatten_stacks, turn_short_axes, split_narrow_sums):
        written = rewrite(written, ShapesOnly)
    return merge_repeats(written)


def _write(
    node: Node,
    op: Any,
    inputs: tuple[Node, ...],
    params: dict[str, Any],
    spec: Spec,
    within: frozenset[str] = frozenset(),
) -> Node:
    wide = widened(op, inputs, params, spec, lambda x, dtype: _cast(x, dtype, node))
    if wide is not None and op.name not in LINEAR_ALGEBRA:  # NumPy's takes no float16
        return _cast(_write(node, op, *wide, within), spec.dtype, node)
    rule = EXPANSIONS.get(op.name) if op.name not in within else None
    if rule is not None:
        trace = ShapesOnly(node, within | {op.name})
        result = rule(*[Tracer(x, trace) for x in inputs], **params)
        if isinstance(result, Tracer):
            made = result.node
            if made.spec.dtype != spec.dtype:
                made = P.astype(Tracer(made, trace), dtype=spec.dtype).node
            if made.spec.shape == spec.shape:
                return made
    if op in (P.index_update, P.matmul, P.concatenate):  # as NumPy brings them together
        n = 2 if op is P.index_update else len(inputs)
        inputs = (*[_cast(x, spec.dtype, node) for x in inputs[:n]], *inputs[n:])
    made = Node(op, inputs, params, spec)
    made.line, made.backward = node.line, node.backward
    return made


def _cast(x: Node, dtype: np.dtype[Any], node: Node) -> Node:
    return x if x.spec.dtype == dtype else P.astype(Tracer(x, ShapesOnly(node)), dtype=dtype).node
