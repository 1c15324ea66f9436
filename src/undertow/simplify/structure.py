"""Rules about shapes, copies and signs: nearly all exact, none changes what is computed."""

from __future__ import annotations

import math
from collections import Counter
from functools import reduce
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.graph import CONSTANT, Node, broadcast_shapes
from undertow.primitives.compare import logical_not
from undertow.simplify.engine import Quotient, Simplifier, alike, number, rule

ELEMENTWISE = (P.add, P.subtract, P.multiply, P.divide, P.where, P.maximum, P.minimum, P.greater, P.less,
               P.greater_equal, P.less_equal, P.equal, P.not_equal)  # fmt: skip
LINEAR = (P.sum_, P.mean_, P.broadcast_to, P.expand_dims, P.reshape, P.transpose, P.squeeze)
MOST_FACTORS = 12  # that a product is taken apart into


@rule("identity", "x = x", "exact", P.identity)
def _identity(s: Simplifier, x: Node) -> Any:
    return x


@rule("nothing left to steer", "stop_gradient(x) = x, once differentiated", "exact",
      P.stop_gradient, P.clip_cotangent, P.attach)  # fmt: skip
def _steered(s: Simplifier, x: Node, *rest: Node, **params: Any) -> Any:
    return x if s.final else None


@rule("same shape", "an array brought to the shape or dtype it has stays as it is", "exact",
      P.reshape, P.broadcast_to, P.astype, P.transpose)  # fmt: skip
def _same(s: Simplifier, x: Node, **params: Any) -> Any:
    has = {"shape": x.spec.shape, "dtype": x.spec.dtype, "axes": tuple(range(x.spec.ndim))}
    return x if all(value == has[key] for key, value in params.items()) else None


@rule("double transpose", "(xᵀ)ᵀ = x", "exact", P.transpose)
def _transposes(s: Simplifier, x: Node, axes: tuple[int, ...]) -> Any:
    if x.op is P.transpose:
        inner = x.params["axes"]
        return P.transpose(s(x.inputs[0]), axes=tuple(inner[i] for i in axes))
    return None


@rule("transposed product", "(a b)ᵀ = bᵀ aᵀ", "rounding", P.transpose)
def _transposed_product(s: Simplifier, x: Node, axes: tuple[int, ...]) -> Any:
    if x.op is P.matmul and x.backward and axes == (1, 0) and all(a.spec.ndim == 2 for a in x.inputs):
        a, b = x.inputs
        return P.transpose(s(b), axes=(1, 0)) @ P.transpose(s(a), axes=(1, 0))
    return None


@rule("double reshape", "only the last shape counts", "exact", P.reshape)
def _reshapes(s: Simplifier, x: Node, shape: Any) -> Any:
    return P.reshape(s(x.inputs[0]), shape=shape) if x.op is P.reshape else None


@rule("reduced axis kept", "a sum whose axis is inserted again keeps it", "exact", P.expand_dims, P.reshape)
def _keep_axis(s: Simplifier, x: Node, **params: Any) -> Any:
    if x.op not in (P.sum_, P.mean_, P.max_, P.min_, P.logsumexp) or x.params["keepdims"]:
        return None
    inner, axis = x.inputs[0], x.params["axis"]
    kept = tuple(1 if i in axis else size for i, size in enumerate(inner.spec.shape))
    if params.get("shape") == kept or params.get("axis") == axis:
        return x.op(s(inner), axis=axis, keepdims=True)
    return None


@rule("reduced axis not kept", "a sum whose kept axis is removed does not keep it", "exact", P.squeeze)
def _drop_axis(s: Simplifier, x: Node, axis: tuple[int, ...]) -> Any:
    if x.op is not P.sum_ or not x.params["keepdims"] or x.params["axis"] != axis or not x.backward:
        return None  # what a person keeps may be used as it is, too
    return P.sum_(s(x.inputs[0]), axis=axis, keepdims=False)


@rule("inserted axes", "x[:, None] inserts an axis", "exact", P.getitem)
def _insert_axes(s: Simplifier, x: Node, *picks: Node, index: tuple[Any, ...]) -> Any:
    if picks or not all(entry is None or _is_full(entry) for entry in index) or None not in index:
        return None
    return P.expand_dims(s(x), axis=tuple(i for i, entry in enumerate(index) if entry is None))


def _is_full(entry: Any) -> bool:
    return hasattr(entry, "step") and entry.start is None and entry.stop is None and entry.step in (None, 1)


@rule("squeeze of an inserted axis", "removing the axes just inserted", "exact", P.squeeze)
def _squeeze(s: Simplifier, x: Node, axis: tuple[int, ...]) -> Any:
    return x.inputs[0] if x.op is P.expand_dims and x.params["axis"] == axis else None


@rule(
    "broadcasting is implied",
    "op(broadcast(x), y) = op(x, y) where y has the shape already",
    "exact",
    *ELEMENTWISE,
)
def _implied_broadcast(s: Simplifier, *inputs: Node) -> Any:
    shape = broadcast_shapes(*[x.spec.shape for x in inputs])
    for i, x in enumerate(inputs):
        if x.op is P.broadcast_to or (x.op is P.expand_dims and x.inputs[0].spec.ndim == 0):
            rest = [*inputs[:i], x.inputs[0], *inputs[i + 1 :]]
            try:
                same = broadcast_shapes(*[y.spec.shape for y in rest]) == shape
            except ValueError:
                same = False
            before, after = (s.applying.infer(*[y.spec for y in ys]).dtype for ys in (inputs, rest))
            alike = before == after and not (x.inputs[0].spec.weak and any(y.spec.dtype != x.spec.dtype for y in rest))
            if same and alike:
                return s.add(s.applying, tuple(rest), {})
    return None


@rule("double broadcast", "only the last shape counts", "exact", P.broadcast_to)
def _broadcasts(s: Simplifier, x: Node, shape: Any) -> Any:
    if x.op is P.broadcast_to:
        return P.broadcast_to(s(x.inputs[0]), shape=shape)
    if x.op is P.expand_dims and (
        x.inputs[0].spec.ndim == 0 or x.params["axis"] == tuple(range(len(x.params["axis"])))
    ):
        return P.broadcast_to(s(x.inputs[0]), shape=shape)
    return None


@rule(
    "axes of a repeated number",
    "a number repeated along more axes",
    "exact",
    P.expand_dims,
    P.reshape,
    P.transpose,
)
def _expand_broadcast(s: Simplifier, x: Node, **params: Any) -> Any:
    if x.op is P.broadcast_to and x.inputs[0].spec.ndim == 0:
        op = s.applying
        return P.broadcast_to(s(x.inputs[0]), shape=op.infer(x.spec, **params).shape)
    return None


@rule("double negation", "−(−x) = x", "exact", P.negative)
def _double_negation(s: Simplifier, x: Node) -> Any:
    return x.inputs[0] if x.op is P.negative else None


@rule("negated difference", "−(a − b) = b − a", "rounding", P.negative, routine=True)
def _negated_difference(s: Simplifier, x: Node) -> Any:
    if x.op is P.subtract and x.spec.dtype.kind == "f":
        return s(x.inputs[1]) - s(x.inputs[0])
    if x.op in (P.divide, P.multiply) and x.inputs[0].op is P.subtract and x.backward and alike(*x.inputs):
        return x.op(-s(x.inputs[0]), s(x.inputs[1]))
    return None


@rule("signs", "a + (−b) = a − b, a − (−b) = a + b, (−a) − b = −(a + b)", "rounding", P.add, P.subtract, routine=True)
def _signs(s: Simplifier, a: Node, b: Node) -> Any:
    plus = s.applying is P.add
    if not all(x.spec.dtype.kind == "f" for x in (a, b)):  # unsigned integers wrap around
        return None
    if b.op is P.negative:
        return s(a) - s(b.inputs[0]) if plus else s(a) + s(b.inputs[0])
    if a.op is P.negative:
        return s(b) - s(a.inputs[0]) if plus else -(s(a.inputs[0]) + s(b))
    return None


@rule("sign of a product", "(−a) b = −(a b)", "rounding", P.multiply, P.divide, P.matmul, routine=True)
def _sign_of_product(s: Simplifier, a: Node, b: Node) -> Any:
    if a.op is P.negative and a.spec.dtype.kind == "f":
        return -s.applying(s(a.inputs[0]), s(b))
    if b.op is P.negative and b.spec.dtype.kind == "f":
        return -s.applying(s(a), s(b.inputs[0]))
    return None


@rule("sign through a linear operation", "sum(−x) = −sum(x)", "rounding", *LINEAR, routine=True)
def _sign_through(s: Simplifier, x: Node, **params: Any) -> Any:
    if x.op is P.negative and x.spec.dtype.kind == "f":
        return -s.applying(s(x.inputs[0]), **params)
    return None


@rule("a known quotient", "a b / c = (a / c) b where a / c is there already", "rounding", P.multiply, P.divide)
def _known_quotient(s: Simplifier, a: Node, b: Node) -> Any:
    if not s.in_backward or not alike(a, b):
        return None
    if s.applying is P.divide:
        return _divide(s, a, b)
    for x, y in ((a, b), (b, a)):
        if y.op is P.divide and y.backward and alike(*y.inputs):
            quotient = _divide(s, x, y.inputs[1], y.index)  # older than y, or it would go on forever
            if quotient is not None:
                return quotient * s(y.inputs[0])
    return None


def _divide(s: Simplifier, product: Node, by: Node, before: float = math.inf) -> Any:
    """Divide a product of which some factors have been divided by the same value, earlier; else return None."""
    if not by.spec.ndim or by not in s.quotients:  # of one number there are many, and nothing is saved
        return None
    factors, sign = _factors(s, product)
    known = [found for factor in factors for found in _quotients_by(s, by).get(factor, ()) if found[0].index < before]
    # What the backward pass turned around itself stays so: `_negated_difference` would turn it back.
    fitting = [(x, above, other) for x, above, other in known if above <= factors and (sign == other or not x.backward)]
    if not fitting:
        return None
    quotient, above, other = max(fitting, key=lambda found: (found[1].total(), -found[0].index))
    result = reduce(lambda x, y: x * s(y), (factors - above).elements(), s(quotient))
    return result if sign == other else -result


def _quotients_by(s: Simplifier, by: Node) -> dict[Node, list[Quotient]]:
    """Return what has been divided by a value, by the newest of its factors: few of a long loop's have that in common.

    Each with its factors and their sign.
    """
    known = s.quotients[by]
    for x in known.new:
        above, sign = _factors(s, x.inputs[0])
        known.by_factor.setdefault(max(above, key=lambda node: node.index), []).append((x, above, sign))
    known.new.clear()
    return known.by_factor


def _factors(s: Simplifier, product: Node) -> tuple[Counter[Node], int]:
    """Return the factors of what the backward pass multiplies, differences as the forward pass has them; the sign."""
    found: Counter[Node] = Counter()
    sign, stack = 1, [product]
    while stack:
        node = stack.pop()
        few = found.total() + len(stack) + 2 <= MOST_FACTORS
        if node.op is P.multiply and node.backward and alike(*node.inputs) and few:
            stack.extend(node.inputs)
            continue
        turned = s.known.get((P.subtract, node.inputs[::-1], ())) if node.op is P.subtract else None
        if turned is not None and turned.index < node.index:
            node, sign = turned, -sign
        found[node] += 1
    return found, sign


@rule(
    "one and zero",
    "1 x = x, x / 1 = x, x − 0 = x, (−1) x = −x",
    "exact",
    P.multiply,
    P.divide,
    P.subtract,
    P.power,
)
def _neutral(s: Simplifier, a: Node, b: Node) -> Any:
    op = s.applying
    left, right = number(a), number(b)
    if op is P.multiply:
        for value, other in ((left, b), (right, a)):
            if value == 1:
                return other
            if value == -1 and other.spec.dtype.kind == "f":
                return -s(other)
    elif right == 1 and op is not P.subtract:
        return a
    elif (op is P.subtract and right == 0) or (op is P.divide and right == -1 and a.spec.dtype.kind == "f"):
        return a if op is P.subtract else -s(a)
    elif op is P.divide and left == -1:
        return -(_one(s, a, b) / s(b))
    return None


def _one(s: Simplifier, a: Node, b: Node) -> Any:
    value = 1.0 if a.spec.weak else a.spec.dtype.type(1)
    return s(s.intern(Node(CONSTANT, (), {}, P.spec_of(value), value)))


@rule("product with zeros", "0 W = 0", "extends", P.matmul)
def _zero_product(s: Simplifier, a: Node, b: Node) -> Any:
    spec = P.matmul.infer(a.spec, b.spec)
    return 0.0 if spec.dtype.kind == "f" and spec.shape and (_is_zeros(a) or _is_zeros(b)) else None


def _is_zeros(node: Node) -> bool:
    """Tell whether a value is an array of zeros, whatever the data, as the first state of a loop is."""
    if node.op is CONSTANT:
        # Data are constants too, which every step of a loop may read: the first row tells of most.
        return node.spec.ndim > 0 and not np.any(node.value[:1]) and not np.any(node.value)
    return node.op is P.broadcast_to and number(node.inputs[0]) == 0


@rule("zero added", "x + 0 = x", "rounding", P.add, routine=True)
def _add_zero(s: Simplifier, a: Node, b: Node) -> Any:
    return b if number(a) == 0 or _is_zeros(a) else a if number(b) == 0 or _is_zeros(b) else None


@rule(
    "plain numbers",
    "a 0-d constant of the array's dtype is a number",
    "exact",
    P.add,
    P.subtract,
    P.multiply,
    P.divide,
)
def _plain_numbers(s: Simplifier, a: Node, b: Node) -> Any:
    for x, other in ((a, b), (b, a)):
        if number(x) is None or x.spec.weak or other.spec.weak or x.spec.dtype != other.spec.dtype:
            continue
        if x.spec.dtype.kind != "f":
            continue
        plain = s.intern(Node(CONSTANT, (), {}, P.spec_of(float(x.value)), float(x.value)))
        return s.applying(s(plain), s(other)) if x is a else s.applying(s(other), s(plain))
    return None


@rule("equal branches", "where(c, x, x) = x", "exact", P.where)
def _equal_branches(s: Simplifier, condition: Node, a: Node, b: Node) -> Any:
    return a if a is b else None


@rule("turned condition", "where(not c, a, b) = where(c, b, a)", "exact", P.where, routine=True)
def _turned_condition(s: Simplifier, condition: Node, a: Node, b: Node) -> Any:
    return P.where(s(condition.inputs[0]), s(b), s(a)) if condition.op is logical_not else None


@rule("chosen once", "where(c, where(c, a, 0) f, 0) = where(c, a f, 0)", "exact", P.where)
def _chosen_once(s: Simplifier, condition: Node, a: Node, b: Node) -> Any:
    """What stands under a condition need not be chosen by the same condition again."""
    taken, other = (a, b) if number(b) == 0 else (b, a)
    op = taken.op
    if number(other) != 0 or not taken.backward or not isinstance(op, P.Primitive) or not op.elementwise:
        return None
    first = taken is a
    inputs = list(taken.inputs)
    for i, x in enumerate(inputs):
        if x.op is P.where and x.inputs[0] is condition and number(x.inputs[2 if first else 1]) == 0:
            inputs[i] = x.inputs[1 if first else 2]
    if (
        op is P.where
        or inputs == list(taken.inputs)
        or op.infer(*[x.spec for x in inputs], **taken.params) != taken.spec
    ):
        return None
    inner = s.add(op, tuple(inputs), taken.params)
    return P.where(s(condition), s(inner), s(b)) if first else P.where(s(condition), s(a), s(inner))
