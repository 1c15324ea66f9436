"""A gradient for each example of a batch, computed for all of them at once.

The loss is traced and differentiated for a batch of one; the graph is then evaluated with one more axis in
front of every value that depends on the example. What each operation does with that axis is written here; one that
is not named is carried out for one example after the other.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow import trees
from undertow.api import backprop, input_values
from undertow.errors import NonScalarError, ShapeError
from undertow.graph import CONSTANT, INPUT, Node
from undertow.keywords import explain_keywords
from undertow.primitives.einsum import split
from undertow.primitives.template import Pick, put_together
from undertow.trace import is_array_like
from undertow.trace.chosen import refuse_arguments
from undertow.trace.warned import at_user_line

Batch = Callable[..., Any]  # rule(m, node, flags, *values) -> value with m in front; flags: which values have it


@explain_keywords
def per_example_grad(f: Callable[..., Any], wrt: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """Make the function that computes the gradient of ``f`` for every example by itself.

    Args:
        f: a NumPy function that returns one number, for a batch of any size; value-dependent Python
            branches are not possible, because all examples go the same way.
        wrt: the position of the argument to differentiate by, or a tuple of positions.

    Returns:
        A function of the same arguments. All arrays in the others of them have the batch, of size m, as
        their first axis. Row i of the result, which has a leading axis m at each leaf, is the gradient of f
        for the batch that holds example i alone. For a loss that averages over the batch, the mean over the
        rows is the gradient of the loss.

    Raises:
        ShapeError: the arguments have no batch axis in common, or f is written for one example without it.

    Source: derived here; the idea of a second batch axis is that of JAX's vmap.

    Example:
        >>> X, y = np.array([[1.0], [2.0], [3.0]]), np.zeros(3)
        >>> per_example_grad(lambda w, X, y: np.mean((X @ w - y) ** 2))(np.array([1.0]), X, y)
        array([[ 2.],
               [ 8.],
               [18.]])
    """
    places = wrt if isinstance(wrt, tuple) else (wrt,)
    refuse_arguments(f, places)

    def compute(*args: Any) -> Any:
        taken = [i % len(args) for i in places]
        batched = [i for i in range(len(args)) if i not in taken]
        sizes = {np.shape(x)[0] for i in batched for x in trees.flatten(args[i])[0] if is_array_like(x) and np.ndim(x)}
        if len(sizes) != 1:
            found = ", ".join(map(str, sorted(sizes))) or "none"
            raise ShapeError(
                f"{getattr(f, '__name__', 'f')}: per-example gradients need one batch size in all arguments that are "
                f"not differentiated; their first axes are {found}."
            )
        m = sizes.pop()
        one = [trees.map(_first, arg) if i in batched else arg for i, arg in enumerate(args)]
        try:
            bp = backprop(f, *one, wrt=wrt)
        except (ShapeError, NonScalarError) as error:
            shapes = [(1, *np.shape(x)[1:]) for i in batched for x in trees.flatten(args[i])[0] if np.ndim(x)]
            raise type(error)(
                f"{error} (per_example_grad calls the function with batches of one row, here {shapes[0]}: write it for "
                "a batch of any size.)"
            ) from None
        rows = [trees.map(_rows, arg) if i in batched else arg for i, arg in enumerate(args)]
        has_rows = [
            i in batched and isinstance(x, Node) and x.spec.ndim > 0
            for i, row in enumerate(bp.traced.arguments)
            for x in row
            if isinstance(x, Node)
        ]
        with at_user_line():
            values = _evaluate(bp.graph, input_values(bp.traced, rows), has_rows, m)
        found_rows = iter(values[1:])
        result = []
        for i in taken:
            leaves = [next(found_rows) if isinstance(x, Node) else x for x in bp.traced.arguments[i]]
            result.append(trees.flatten(args[i])[1](leaves))
        return tuple(result) if isinstance(wrt, tuple) else result[0]

    compute.__name__ = f"per_example_grad_{getattr(f, '__name__', 'f')}"
    return compute


def _first(leaf: Any) -> Any:
    return leaf[:1] if is_array_like(leaf) and np.ndim(leaf) else leaf


def _rows(leaf: Any) -> Any:
    """Give every example a batch of one: (m, …) becomes (m, 1, …)."""
    return np.expand_dims(leaf, 1) if is_array_like(leaf) and np.ndim(leaf) else leaf


def _evaluate(graph: Any, values: list[Any], has_rows: list[bool], m: int) -> list[Any]:
    """Evaluate a graph; return its outputs, all with the axis of examples in front."""
    env: dict[Node, tuple[Any, bool]] = dict(zip(graph.inputs, zip(values, has_rows, strict=True), strict=True))
    for node in graph.nodes:
        if node.op is CONSTANT:
            env[node] = (node.value, False)
        elif node.op is not INPUT:
            inputs = [env[x] for x in node.inputs]
            if not any(flag for _, flag in inputs):
                env[node] = (node.op.forward(*[value for value, _ in inputs], **node.params), False)
                continue
            rule = _find_rule(node)
            env[node] = (rule(m, node, [flag for _, flag in inputs], *[value for value, _ in inputs]), True)
    outputs = [env[node] for node in graph.outputs]
    return [v if flag else np.broadcast_to(v, (m, *np.shape(v))).copy() for v, flag in outputs]


def _find_rule(node: Node) -> Batch:
    """Find what an operation does with the axis of examples."""
    op: Any = node.op
    if op in RULES:
        return RULES[op]
    if op.elementwise:
        return _elementwise
    if (
        len(node.inputs) == 1
        and isinstance(node.params.get("axis"), int | tuple)
        and not {"shape", "q"} & node.params.keys()
    ):
        return _along_axis
    return _one_by_one


def _one_by_one(m: int, node: Node, flags: list[bool], *values: Any) -> Any:
    """Carry the operation out for each example by itself."""
    rows = ([value[i] if flag else value for value, flag in zip(values, flags, strict=True)] for i in range(m))
    return np.stack([node.op.forward(*row, **node.params) for row in rows])


def _elementwise(m: int, node: Node, flags: list[bool], *values: Any) -> Any:
    """Line up the trailing axes behind the axis of examples."""
    ndim = max(x.spec.ndim for x in node.inputs)
    return node.op.forward(*_lined_up(node, flags, values, ndim), **node.params)


def _lined_up(node: Node, flags: list[bool], values: tuple[Any, ...], ndim: int) -> list[Any]:
    out = []
    for x, flag, value in zip(node.inputs, flags, values, strict=True):
        pad = ndim - x.spec.ndim
        out.append(np.reshape(value, (len(value), *(1,) * pad, *np.shape(value)[1:])) if flag and pad else value)
    return out


def _along_axis(m: int, node: Node, flags: list[bool], value: Any) -> Any:
    """Count axes from behind the axis of examples."""
    axis = node.params["axis"]
    shifted = axis + 1 if isinstance(axis, int) else tuple(i + 1 for i in axis)
    return node.op.forward(value, **{**node.params, "axis": shifted})


def _matmul(m: int, node: Node, flags: list[bool], x: Any, y: Any) -> Any:
    nx, ny = (a.spec.ndim for a in node.inputs)
    x = x[..., None, :] if nx == 1 else x
    y = y[..., :, None] if ny == 1 else y
    ndim = max(nx, ny, 2)
    parts = []
    for value, flag, n in ((x, flags[0], max(nx, 2)), (y, flags[1], max(ny, 2))):
        pad = ndim - n
        parts.append(np.reshape(value, (m, *(1,) * pad, *value.shape[1:])) if flag and pad else value)
    out = np.matmul(*parts)
    out = out[..., 0] if ny == 1 else out
    return (out[..., 0] if ny == 1 else out[..., 0, :]) if nx == 1 else out


def _reshape(m: int, node: Node, flags: list[bool], x: Any) -> Any:
    return np.reshape(x, (m, *node.params["shape"]))


def _transpose(m: int, node: Node, flags: list[bool], x: Any) -> Any:
    return np.transpose(x, (0, *(i + 1 for i in node.params["axes"])))


def _broadcast_to(m: int, node: Node, flags: list[bool], x: Any) -> Any:
    shape = node.params["shape"]
    pad = len(shape) - node.inputs[0].spec.ndim
    return np.broadcast_to(np.reshape(x, (m, *(1,) * pad, *np.shape(x)[1:])), (m, *shape))


def _extremum_position(m: int, node: Node, flags: list[bool], x: Any) -> Any:
    if node.params["axis"] is not None:
        return _along_axis(m, node, flags, x)
    found = node.op.forward(np.reshape(x, (m, -1)), **{**node.params, "axis": 1, "keepdims": False})
    return np.reshape(found, (m, *node.spec.shape))


def _concatenate(m: int, node: Node, flags: list[bool], *xs: Any) -> Any:
    parts = [x if flag else np.broadcast_to(x, (m, *np.shape(x))) for x, flag in zip(xs, flags, strict=True)]
    return np.concatenate(parts, axis=node.params["axis"] + 1)


def _einsum(m: int, node: Node, flags: list[bool], *xs: Any) -> Any:
    """Give the axis of examples a letter of its own."""
    inputs, output = split(node.params["subscripts"])
    free = next(letter for letter in string.ascii_letters if letter not in node.params["subscripts"])
    terms = [free * flag + letters for letters, flag in zip(inputs, flags, strict=True)]
    return node.op.forward(*xs, **{**node.params, "subscripts": f"{','.join(terms)}->{free}{output}"})


def _add_windows(m: int, node: Node, flags: list[bool], windows: Any) -> Any:
    axis = tuple(i + 1 for i in node.params["axis"])
    return node.op.forward(windows, **{**node.params, "axis": axis, "shape": (m, *node.params["shape"])})


def _plain(m: int, node: Node, flags: list[bool], x: Any) -> Any:
    return node.op.forward(x, **node.params)


# ---- indexing: every index becomes positions in the flattened array ------------------------------


def _positions(m: int, shape: Any, template: Any, picks: tuple[Any, ...], flags: list[bool]) -> Any:
    """Where in the flattened array the picked elements stand: (m, *picked) if a pick has rows, else (*picked)."""
    places = np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape)
    if not any(flags):
        return places[put_together(template, picks)]
    ndim = max(np.ndim(p) - flag for p, flag in zip(picks, flags, strict=True))
    wide = []
    for pick, flag in zip(picks, flags, strict=True):
        own = np.shape(pick)[1:] if flag else np.shape(pick)
        wide.append(np.reshape(pick, (m if flag else 1, *(1,) * (ndim - len(own)), *own)))
    found = places[put_together(template, tuple(wide))]
    at, parts = 0, 0
    stands: list[int] = []
    for i, entry in enumerate(template):
        if isinstance(entry, Pick) or (isinstance(entry, int) and not isinstance(entry, bool)):
            at = parts if not stands else at
            stands.append(i)
        elif entry is not Ellipsis:
            parts += 1
    together = stands == list(range(stands[0], stands[-1] + 1))
    return np.moveaxis(found, at if together else 0, 0)


def _getitem(m: int, node: Node, flags: list[bool], x: Any, *picks: Any) -> Any:
    where = _positions(m, node.inputs[0].spec.shape, node.params["index"], picks, flags[1:])
    if not flags[0]:
        return np.ravel(x)[where]
    flat = np.reshape(x, (m, -1))
    if not any(flags[1:]):
        return flat[:, where]
    return np.reshape(np.take_along_axis(flat, np.reshape(where, (m, -1)), axis=1), where.shape)


def _index_add(m: int, node: Node, flags: list[bool], ct: Any, *picks: Any) -> Any:
    shape = node.params["shape"]
    where = _positions(m, shape, node.params["index"], picks, flags[1:])
    rows = np.reshape(np.arange(m), (m, *(1,) * (where.ndim - any(flags[1:]))))
    result = np.zeros((m, int(np.prod(shape, dtype=np.int64))), ct.dtype)
    np.add.at(result, (rows, where), ct)
    return np.reshape(result, (m, *shape))


def _index_update(m: int, node: Node, flags: list[bool], x: Any, v: Any, *picks: Any) -> Any:
    shape = tuple(int(size) for size in node.inputs[0].spec.shape)  # type: ignore[arg-type]
    where = _positions(m, shape, node.params["index"], picks, flags[2:])
    rows = np.reshape(np.arange(m), (m, *(1,) * (where.ndim - any(flags[2:]))))
    result = np.array(x if flags[0] else np.broadcast_to(x, (m, *shape))).reshape(m, -1)
    picked = where.ndim - any(flags[2:])
    if flags[1]:
        v = np.reshape(v, (m, *(1,) * (picked - node.inputs[1].spec.ndim), *np.shape(v)[1:]))
    result[rows, where] = v
    return np.reshape(result, (m, *shape))


RULES: dict[P.Primitive, Batch] = {
    P.matmul: _matmul,
    P.reshape: _reshape,
    P.transpose: _transpose,
    P.broadcast_to: _broadcast_to,
    P.argmax: _extremum_position,
    P.argmin: _extremum_position,
    P.concatenate: _concatenate,
    P.einsum: _einsum,
    P.add_windows: _add_windows,
    P.astype: _plain,
    P.one_hot_rows: _plain,
    P.getitem: _getitem,
    P.index_add: _index_add,
    P.index_update: _index_update,
}
