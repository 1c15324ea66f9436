"""Rules that find the stable functions in people's spellings: softmax, log-softmax, sigmoid, softplus.

They run on the forward pass before it is differentiated. The gradient of the stable function is then
taken, and p − y follows by the algebra of `polynomial`; no rule here knows a loss.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.graph import Node
from undertow.primitives.index import Slice
from undertow.simplify.engine import Simplifier, alike, is_op, number, rule
from undertow.simplify.shifts import cancels


def _sum_of(node: Node, shape: Any) -> tuple[Node, tuple[int, ...]] | None:
    """Return what a node sums and over which axes, if dividing an array of ``shape`` by it is row by row."""
    if not is_op(node, P.sum_):
        return None
    inner, axis = node.inputs[0], node.params["axis"]
    leading = axis == tuple(range(len(axis)))  # without keepdims, broadcasting lines up trailing axes
    if inner.spec.shape != shape or not (node.params["keepdims"] or leading):
        return None
    return inner, axis


@rule("softmax", "exp(z) / Σ exp(z) = softmax(z)", "extends", P.divide)
def _softmax(s: Simplifier, a: Node, b: Node) -> Any:
    found = _sum_of(b, a.spec.shape)
    if _of(a, P.exp) is not None and found and found[0] is a and len(found[1]) == 1:
        return P.softmax(s(a.inputs[0]), axis=found[1][0])
    if a.op is P.transpose and a.spec.ndim == 2 and b.spec.ndim == 1:  # (e.T / e.sum(axis=1)) is (e / e.sum(…))ᵀ
        inner = a.inputs[0]
        if is_op(b, P.sum_) and _of(inner, P.exp) is not None and b.inputs[0] is inner and b.params["axis"] == (1,):
            return P.transpose(P.softmax(s(inner.inputs[0]), axis=1), axes=(1, 0))
    return None


@rule("division by a reciprocal", "x · (1 / y) = x / y", "rounding", P.multiply)
def _reciprocal_product(s: Simplifier, a: Node, b: Node) -> Any:
    for x, y in ((a, b), (b, a)):
        if not alike(x, *y.inputs):
            continue
        if y.op is P.divide and number(y.inputs[0]) == 1 and y.spec.ndim == x.spec.ndim and x.spec.ndim > 0:
            return s(x) / s(y.inputs[1])
        if _of(y, P.reciprocal) is not None or (y.op is P.power and number(y.inputs[1]) == -1):
            return s(x) / s(y.inputs[0])
    return None


@rule("softmax does not change with a shift", "softmax(z − c) = softmax(z)", "extends", P.softmax, P.log_softmax)
def _softmax_shift(s: Simplifier, x: Node, axis: int) -> Any:
    if x.op not in (P.subtract, P.add) or x.inputs[0].spec.shape != x.spec.shape or not alike(*x.inputs):
        return None
    z, c = x.inputs
    return s.applying(s(z), axis=axis) if cancels(c, z, x.spec.shape, (axis,)) else None


@rule("log of a softmax", "log softmax(z) = z − log Σ exp(z)", "extends", P.log)
def _log_softmax(s: Simplifier, x: Node) -> Any:
    if x.op is P.softmax:
        return P.log_softmax(s(x.inputs[0]), **x.params)
    views = []
    while x.op in _VIEWS:
        views.append(x)
        x = x.inputs[0]
    if x.op is not P.softmax or not views:
        return None
    log_p = P.log_softmax(s(x.inputs[0]), **x.params)
    for view in reversed(views):  # picking and moving commute with log
        log_p = view.op(log_p, *[s(y) for y in view.inputs[1:]], **view.params)  # type: ignore[operator]
    return log_p


_VIEWS = (P.getitem, P.transpose, P.reshape, P.squeeze, P.expand_dims)


@rule("log of a sum of exponentials", "log Σ exp(z) = logsumexp(z)", "extends", P.log)
def _logsumexp(s: Simplifier, x: Node) -> Any:
    if x.op is P.sum_ and _of(x.inputs[0], P.exp) is not None:
        return P.logsumexp(s(x.inputs[0].inputs[0]), **x.params)
    return None


@rule("log-sum-exp with a shift", "c + log Σ exp(z − c) = log Σ exp(z)", "extends", P.add)
def _logsumexp_shift(s: Simplifier, a: Node, b: Node) -> Any:
    for x, c in ((a, b), (b, a)):
        if x.op is not P.logsumexp or x.inputs[0].op is not P.subtract:
            continue
        z, shift = x.inputs[0].inputs
        shape = x.inputs[0].spec.shape
        if not alike(z, c, shift) or z.spec.shape != shape or not cancels(shift, z, shape, x.params["axis"]):
            continue
        same = c is shift and (x.params["keepdims"] or not shift.spec.ndim)
        if same or (len(shift.spec.shape) == len(shape) and _is_reduced(c, shift, **x.params)):
            return P.logsumexp(s(z), **x.params)
    return None


def _is_reduced(c: Node, shift: Node, axis: tuple[int, ...], keepdims: bool) -> bool:
    """Tell whether c is the shift without these axes, which are of size 1."""
    if keepdims or shift.spec.ndim != c.spec.ndim + len(axis):
        return False
    if shift.op is P.expand_dims and shift.params["axis"] == axis:
        return shift.inputs[0] is c
    if c.op is P.getitem and len(c.inputs) == 1 and c.inputs[0] is shift:  # shift[:, 0]
        entries: Any = [0 if i in axis else Slice() for i in range(shift.spec.ndim)]
        return list(c.params["index"]) == entries
    if c.op is P.squeeze and c.inputs[0] is shift:
        return bool(c.params["axis"] == axis)
    twice = shift.op is P.max_ and c.op is P.max_ and shift.inputs == c.inputs  # by two calls of np.max
    return twice and shift.params["axis"] == axis and {**shift.params, "keepdims": False} == c.params


@rule("log-softmax", "z − log Σ exp(z) = log softmax(z)", "extends", P.subtract)
def _log_softmax_difference(s: Simplifier, a: Node, b: Node) -> Any:
    if b.op is P.logsumexp and b.inputs[0] is a and len(b.params["axis"]) == 1:
        axis = b.params["axis"][0]
        if b.params["keepdims"] or axis == 0:
            return P.log_softmax(s(a), axis=axis)
    return None


@rule("power of e", "e ^ z = exp(z)", "rounding", P.power)
def _power_of_e(s: Simplifier, base: Node, z: Node) -> Any:
    return np.exp(s(z)) if number(base) == np.e and z.spec.dtype.kind == "f" else None


@rule("reciprocal of an exponential", "1 / exp(z) = exp(−z)", "extends", P.divide)
def _reciprocal_exp(s: Simplifier, a: Node, b: Node) -> Any:
    z = _of(b, P.exp)
    return np.exp(-s(z)) if z is not None and number(a) == 1 and not s.in_backward else None


@rule("exp of a softplus", "exp(−log(1 + exp(z))) = σ(−z)", "rounding", P.exp)
def _exp_softplus(s: Simplifier, x: Node) -> Any:
    if x.op is P.negative and _of(x.inputs[0], P.softplus) is not None:
        return P.sigmoid(-s(x.inputs[0].inputs[0]))
    return None


@rule("exp of a log", "exp(log softmax(z)) = softmax(z)", "rounding", P.exp)
def _exp_log(s: Simplifier, x: Node) -> Any:
    return P.softmax(s(x.inputs[0]), **x.params) if x.op is P.log_softmax else None


@rule("log of an exp", "log(exp(z)) = z", "extends", P.log)
def _log_exp(s: Simplifier, x: Node) -> Any:
    return _of(x, P.exp)


def _of(node: Node, op: P.Primitive) -> Node | None:
    """Return x where the node is op(x) of floats: −x of an unsigned integer is not what it is for a number."""
    if node.op is op and node.inputs[0].spec.dtype.kind == "f":
        return node.inputs[0]
    return None


def _one_plus(node: Node, op: P.Primitive) -> Node | None:
    """Return x where the node is 1 + op(x), written in either order."""
    if node.op is P.add:
        for one, other in (node.inputs, node.inputs[::-1]):
            if number(one) == 1 and (x := _of(other, op)) is not None:
                return x
    return None


@rule("sigmoid", "1 / (1 + exp(−z)) = σ(z), exp(z) / (1 + exp(z)) = σ(z)", "extends", P.divide)
def _sigmoid(s: Simplifier, a: Node, b: Node) -> Any:
    z = _one_plus(b, P.exp)
    if z is None:
        return None
    if number(a) == 1:
        return P.sigmoid(-s(z))
    return P.sigmoid(s(z)) if a.op is P.exp and a.inputs[0] is z else None


@rule("sigmoid as a reciprocal", "(1 + exp(−z))⁻¹ = σ(z)", "extends", P.reciprocal, P.power)
def _sigmoid_reciprocal(s: Simplifier, a: Node, *exponent: Node) -> Any:
    z = _one_plus(a, P.exp)
    return P.sigmoid(-s(z)) if z is not None and all(number(y) == -1 for y in exponent) else None


@rule("sigmoid as a tanh", "½ (1 + tanh(z)) = σ(2 z)", "rounding", P.multiply, P.divide)
def _sigmoid_tanh(s: Simplifier, a: Node, b: Node) -> Any:
    half = number(b) == 2 if s.applying is P.divide else number(a) == 0.5 or number(b) == 0.5
    z = _one_plus(b if number(a) == 0.5 else a, P.tanh) if half else None
    return P.sigmoid(2.0 * s(z)) if z is not None else None


@rule("sigmoid as a tanh in two parts", "½ + ½ tanh(z) = σ(2 z)", "rounding", P.add)
def _sigmoid_tanh_parts(s: Simplifier, a: Node, b: Node) -> Any:
    for half, other in ((a, b), (b, a)):
        if number(half) != 0.5 or other.op not in (P.multiply, P.divide):
            continue
        for x, scale in (other.inputs, other.inputs[::-1]) if other.op is P.multiply else (other.inputs,):
            z = _of(x, P.tanh)
            if z is not None and number(scale) == (0.5 if other.op is P.multiply else 2):
                return P.sigmoid(2.0 * s(z))
    return None


@rule("sigmoid of a part", "σ(z)[…] = σ(z[…])", "exact", P.getitem, P.reshape, P.transpose, P.squeeze, P.expand_dims)
def _sigmoid_part(s: Simplifier, x: Node, *picks: Node, **params: Any) -> Any:
    if x.op is P.sigmoid and not picks and not s.in_backward:
        return P.sigmoid(s.applying(s(x.inputs[0]), **params))
    return None


@rule("complement of a sigmoid", "1 − σ(z) = σ(−z)", "extends", P.subtract)
def _complement(s: Simplifier, a: Node, b: Node) -> Any:
    return (
        P.sigmoid(-s(b.inputs[0])) if number(a) == 1 and _of(b, P.sigmoid) is not None and not s.in_backward else None
    )


@rule("log of a sigmoid", "log σ(z) = −log(1 + exp(−z))", "extends", P.log)
def _log_sigmoid(s: Simplifier, x: Node) -> Any:
    if _of(x, P.sigmoid) is not None:
        return -P.softplus(-s(x.inputs[0]))
    return None


@rule("log of what is never 0", "log(1 where w = p = 0, else p) = log p, for p = softmax(z), σ(z)", "extends", P.log)
def _log_guarded(s: Simplifier, x: Node) -> Any:
    if x.op is not P.where:
        return None
    mask, one, p = x.inputs
    source = p
    while source.op in _VIEWS:
        source = source.inputs[0]
    if source.op not in (P.softmax, P.sigmoid) or number(one) != 1 or mask.op is not P.logical_and:
        return None
    is_zero = mask.inputs[1]
    return np.log(s(p)) if is_zero.op is P.equal and is_zero.inputs[0] is p and number(is_zero.inputs[1]) == 0 else None


@rule("softplus", "log(1 + exp(z)) = softplus(z)", "extends", P.log, P.log1p)
def _softplus(s: Simplifier, x: Node) -> Any:
    if s.applying is P.log:
        z = _one_plus(x, P.exp)
        return P.softplus(s(z)) if z is not None else None
    if _of(x, P.exp) is not None:
        return P.softplus(s(x.inputs[0]))
    if x.op is P.negative and _of(x.inputs[0], P.sigmoid) is not None:
        return -P.softplus(s(x.inputs[0].inputs[0]))
    return None


@rule("softplus by logaddexp", "logaddexp(0, z) = softplus(z)", "rounding", P.logaddexp)
def _softplus_logaddexp(s: Simplifier, a: Node, b: Node) -> Any:
    for zero, z in ((a, b), (b, a)):
        if number(zero) == 0:
            return P.softplus(s(z))
    return None


def _terms(node: Node, sign: int = 1, depth: int = 0) -> list[tuple[int, Node]]:
    """Take a sum apart into signed terms, at most eight deep."""
    if depth < 8 and node.op in (P.add, P.subtract):
        a, b = node.inputs
        flip = -sign if node.op is P.subtract else sign
        return _terms(a, sign, depth + 1) + _terms(b, flip, depth + 1)
    return [(sign, node)]


@rule("softplus in two parts", "max(z, 0) + log(1 + exp(−|z|)) = softplus(z), smooth at 0", "extends", P.add)
def _softplus_parts(s: Simplifier, a: Node, b: Node) -> Any:
    terms = _terms(a) + _terms(b)
    for i, (sign, tail) in enumerate(terms):
        inner = tail.inputs[0] if tail.op is P.softplus else None
        if sign != 1 or inner is None or inner.op is not P.negative or inner.inputs[0].op is not P.absolute:
            continue
        z = inner.inputs[0].inputs[0]
        for j, (other, ramp) in enumerate(terms):
            if (
                other == 1
                and ramp.op is P.maximum
                and alike(z, *ramp.inputs, *(t for _, t in terms))
                and z in ramp.inputs
                and any(number(x) == 0 for x in ramp.inputs)
            ):
                total = P.softplus(s(z))
                for k, (kept, term) in enumerate(terms):
                    if k not in (i, j):
                        total = total + s(term) if kept == 1 else total - s(term)
                return total
    return None
