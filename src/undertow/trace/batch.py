"""Find the batch size in two traces of one function, where Python had to be told it as a number.

``len(X)``, ``range(m)`` and ``np.arange(len(y))`` need a number. The function is then traced for several batch
sizes; what differs between the graphs exactly as the sizes do is written with the symbol m again.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.errors import UndertowError
from undertow.graph import CONSTANT, INPUT, Dim, Graph, NeedsConcreteSize, Node, Spec, resolve
from undertow.primitives.index import Slice

M = Dim("m")


class _Differs(Exception):
    """The two traces differ by more than the batch size."""


def generalize(first: Graph, second: Graph, n: int, k: int) -> Graph | None:
    """Write one graph for any batch size.

    Args:
        first: the graph for a batch of n.
        second: the graph for a batch of k.
        n: the batch size, 2 or more.
        k: another batch size, 2 or more.

    Returns:
        The graph with the symbolic size m; None if the graphs differ by more than the size.
    """
    if len(first) != len(second):
        return None
    maker = _Maker(n, k)
    places = {node: i for i, node in enumerate(second.nodes)}
    try:
        for a, b in zip(first.nodes, second.nodes, strict=True):
            if [maker.places[x] for x in a.inputs] != [places[x] for x in b.inputs] or a.op is not b.op:
                return None
            maker.add(a, b)
    except (_Differs, NeedsConcreteSize, UndertowError):
        return None
    if [maker.places[x] for x in first.outputs] != [places[x] for x in second.outputs]:
        return None
    outputs = tuple(maker.moved[x] for x in first.outputs)
    return Graph(tuple(maker.moved[x] for x in first.inputs), outputs, title=first.title)


class _Maker:
    def __init__(self, n: int, k: int) -> None:
        self.n, self.k = n, k
        self.moved: dict[Node, Node] = {}
        self.places: dict[Node, int] = {}
        self.size: Node | None = None

    def add(self, a: Node, b: Node) -> None:
        """Add one node that stands for both."""
        if a.op is INPUT:
            shape = self.parameter(a.spec.shape, b.spec.shape)
            new = Node(INPUT, (), {}, Spec(shape, a.spec.dtype, a.spec.weak))
        elif a.op is CONSTANT:
            new = self.constant(a, b)
        else:
            op: Any = a.op
            inputs = tuple(self.moved[x] for x in a.inputs)
            if a.params.keys() != b.params.keys():
                raise _Differs
            params = {key: self.parameter(a.params[key], b.params[key]) for key in a.params}
            new = Node(op, inputs, params, op.infer(*[x.spec for x in inputs], **params))
        if resolve(new.spec.shape, {"m": self.n}) != a.spec.shape or new.spec.dtype != a.spec.dtype:
            raise _Differs
        if new is not a:
            new.name, new.line, new.file, new.watched = a.name, a.line, a.file, a.watched
        self.moved[a] = new
        self.places[a] = len(self.places)

    def parameter(self, a: Any, b: Any) -> Any:
        """Return a parameter of an operation; a number that differs as the batch sizes do becomes a symbol."""
        if type(a) is not type(b):
            raise _Differs
        if isinstance(a, tuple):
            if len(a) != len(b):
                raise _Differs
            return tuple(self.parameter(x, y) for x, y in zip(a, b, strict=True))
        if a == b:
            return a
        if isinstance(a, int) and a % self.n == 0 and a // self.n * self.k == b:
            return Dim("m", a // self.n)
        if (
            isinstance(a, Slice)
            and a.start in (None, 0)
            and a.step in (None, 1)
            and (a.stop, b.stop) == (self.n, self.k)
        ):
            return Slice()
        raise _Differs

    def constant(self, a: Node, b: Node) -> Node:
        """Return a constant, or an expression in the batch size that has both values."""
        x, y = a.value, b.value
        if a.spec.shape == () and b.spec.shape == ():
            if x == y or (x != x and y != y):
                return a
            return self.number(a, float(x), float(y))
        if np.shape(x) == np.shape(y) and np.array_equal(x, y, equal_nan=a.spec.dtype.kind == "f"):
            return a
        shape = self.parameter(np.shape(x), np.shape(y))
        if np.size(x) and np.all(x == np.ravel(x)[0]) and np.all(y == np.ravel(x)[0]):  # np.ones(m), np.zeros((m, 3))
            number = np.ravel(x)[0]
            one = Node(CONSTANT, (), {}, P.spec_of(number), number)
            return Node(P.broadcast_to, (one,), {"shape": shape}, Spec(shape, a.spec.dtype))
        counts = [np.array_equal(np.ravel(z), np.arange(size)) for z, size in ((x, self.n), (y, self.k))]
        if all(counts) and [size for size in shape if size != 1] == [M]:
            rows = Node(P.positions, (), {"dim": M, "dtype": a.spec.dtype}, Spec((M,), a.spec.dtype))
            if shape == (M,):
                return rows
            axis = tuple(i for i, size in enumerate(shape) if size == 1)
            return Node(P.expand_dims, (rows,), {"axis": axis}, Spec(shape, a.spec.dtype))
        raise _Differs

    def number(self, a: Node, x: float, y: float) -> Node:
        """Return c m, c / m, c (m − 1) or c / (m − 1), whichever has the value x for n and y for k."""
        for less in (0, 1):
            here, there = self.n - less, self.k - less
            for op, c in ((P.multiply, x / here), (P.divide, x * here)):
                if op is P.divide and not there:
                    continue
                if not math.isclose(c * there if op is P.multiply else c / there, y, rel_tol=1e-13):
                    continue
                c = round(c) if math.isclose(c, round(c), rel_tol=1e-13) else c
                if a.spec.dtype.kind != "f" and (op is P.divide or not isinstance(c, int)):
                    continue
                size = self.symbol()
                if less:
                    size = self.make(P.subtract, size, self.plain(1))
                if op is P.multiply:
                    new = size if c == 1 else self.make(op, self.plain(c), size)
                else:
                    new = self.make(op, self.plain(c), size)
                if new.spec.dtype != a.spec.dtype or not a.spec.weak:
                    new = self.make(P.astype, new, dtype=a.spec.dtype)
                return new
        raise _Differs

    def symbol(self) -> Node:
        if self.size is None:
            self.size = self.make(P.size, dim=M)
        return self.size

    def plain(self, c: float) -> Node:
        return Node(CONSTANT, (), {}, P.spec_of(c), c)

    def make(self, op: P.Primitive, *inputs: Node, **params: Any) -> Node:
        return Node(op, inputs, params, op.infer(*[x.spec for x in inputs], **params))
