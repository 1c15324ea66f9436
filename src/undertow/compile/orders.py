"""Operations that put rows in order, search in sorted ones, or share out what belongs to equal elements."""

from __future__ import annotations

import math
from typing import Any

from undertow.compile.access import Access, reshaped, row_major
from undertow.compile.operations import Operations
from undertow.compile.plan import WORTH_SHARING, Argument, Call, Place, Scratch, called
from undertow.compile.scalars import kind_of
from undertow.compile.searching import write_search, write_share
from undertow.compile.selecting import scratch_of as scratch_to_select
from undertow.compile.selecting import write_select
from undertow.compile.sorting import room_for, scratch_of, write_sort
from undertow.graph import Node


class Orders(Operations):
    """Plans sorting and searching; `expand` has brought the axis in question to the last place."""

    def write_sort(self, node: Node) -> bool:
        """Sort rows."""
        return self.write_ordered(node, False)

    def write_argsort(self, node: Node) -> bool:
        """Find where the elements of rows in order are; equal ones keep their order."""
        return self.write_ordered(node, True)

    def write_ordered(self, node: Node, places: bool) -> bool:
        """Plan the kernel that sorts each row."""
        (x,) = node.inputs
        kind, shape = kind_of(x.spec.dtype), self.reader.read(x).shape
        if kind is None or not shape or node.params["axis"] != len(shape) - 1 or shape[-1] >= 2**31:
            return False
        if 0 in shape:
            return True
        source, apart, step = self.lines(self.reader.read(x), node)
        n, rows, made = shape[-1], math.prod(shape[:-1]), self.buffer(node)
        room = room_for(kind, n, places)
        args: list[Argument] = [source, Place(made), rows, n, apart, step, Scratch(), 0]
        work = 16.0 * rows * n
        call = Call("", args, called(node), self.threads > 1 and rows > 1 and work > WORTH_SHARING, work, 0)
        call.target, call.scratch = made, scratch_of(kind, n, places)
        name = f"{'argsort' if places else 'sort'}_{kind}_{room}"
        self.add(call, ("sort", kind, places, room), lambda module: write_sort(module, str(kind), places, room), name)
        return True

    def write_kth(self, node: Node) -> bool:
        """Find the elements in some places of the order along the first axis."""
        (x,), places = node.inputs, node.params["places"]
        kind, access = kind_of(x.spec.dtype), self.reader.read(x)
        n, rows, made = access.shape[0], math.prod(access.shape[1:]), self.buffer(node)
        if kind is None:
            return False
        if not rows:
            return True
        turned = access._replace(shape=(*access.shape[1:], n), strides=(*access.strides[1:], access.strides[0]))
        source, apart, step = self.lines(turned, node)
        ranks = [place % n for place in places]
        args: list[Argument] = [source, Place(made), rows, n, apart, step, Scratch(), 0, len(ranks), *ranks]
        work = 8.0 * rows * n
        call = Call("", args, called(node), self.threads > 1 and rows > 1 and work > WORTH_SHARING, work, 0)
        call.target, call.scratch = made, scratch_to_select(kind, n)
        self.add(call, ("select", kind), lambda module: write_select(module, str(kind)), f"select_{kind}")
        return True

    def write_searchsorted(self, node: Node) -> bool:
        """Find where values belong among sorted ones."""
        line, values = (self.reader.read(x) for x in node.inputs[:2])
        kind, side = kind_of(line.base.spec.dtype), node.params["side"]
        if len(node.inputs) > 2 or kind is None or line.base.spec.dtype != values.base.spec.dtype:
            return False
        n, count = line.shape[0], math.prod(values.shape)
        if not count:
            return True
        apart = reshaped(values, (count,))
        place, step = self.place(values), apart[0] if apart is not None else 1
        if apart is None:
            place = self.in_order(values)
        rounds, made = n.bit_length(), self.buffer(node)
        args: list[Argument] = [self.place(line), place, Place(made), n, count, line.strides[0], step, rounds]
        work = 4.0 * count * (rounds + 1)
        call = Call("", args, called(node), self.threads > 1 and work > WORTH_SHARING, work, 0, target=made)
        name = f"search_{kind}_{side}"
        self.add(call, ("search", kind, side), lambda module: write_search(module, str(kind), side), name)
        return True

    def write_share_ties(self, node: Node) -> bool:
        """Give equal elements that follow each other the mean of what they have."""
        kind, other = (kind_of(x.spec.dtype) for x in node.inputs)
        shape: Any = node.spec.shape
        if kind not in ("f32", "f64") or other is None or node.params["axis"] % len(shape) != len(shape) - 1:
            return False
        if 0 in shape:
            return True
        given, ranked = (self.lines(self.reader.read(x), node) for x in node.inputs)
        rows, made = math.prod(shape[:-1]), self.buffer(node)
        args: list[Argument] = [given[0], ranked[0], Place(made), rows, shape[-1], *given[1:], *ranked[1:]]
        work = 4.0 * rows * shape[-1]
        shared = self.threads > 1 and rows > 1 and work > WORTH_SHARING
        call = Call("", args, called(node), shared, work, 0, target=made)
        key = "share", kind, other
        self.add(call, key, lambda module: write_share(module, str(kind), str(other)), f"share_{kind}_{other}")
        return True

    def write_maximum_accumulate(self, node: Node) -> bool:
        """Find the largest element so far along an axis."""
        return self.write_running(node, "maximum")

    def write_minimum_accumulate(self, node: Node) -> bool:
        """Find the smallest element so far along an axis."""
        return self.write_running(node, "minimum")

    def in_order(self, access: Access) -> Place:
        """Copy what is read into a row of its own."""
        item = access.base.spec.dtype.itemsize
        made = Place(self.temporary(math.prod(access.shape) * item, self.now))
        self.write_copy(access, made, row_major(access.shape), access.base)
        return made

    def lines(self, access: Access, node: Node) -> tuple[Place, int, int]:
        """Return where rows along the last axis begin, how far apart they are, and their elements."""
        lead = access._replace(shape=access.shape[:-1], strides=access.strides[:-1])
        apart = reshaped(lead, (math.prod(lead.shape),))
        if apart is not None:
            return self.place(access), apart[0], access.strides[-1]
        return self.in_order(access), access.shape[-1], 1
