"""Operations that move elements to other places."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from undertow.compile import moves
from undertow.compile.access import Access, broadcast, diagonal, long_axes, pick, reshaped, row_major, whole
from undertow.compile.kinds import BITS
from undertow.compile.plan import STATUS, WORTH_SHARING, Argument, Call, Place, called
from undertow.compile.processor import lanes_of
from undertow.compile.products import Products
from undertow.compile.scalars import kind_of
from undertow.errors import UnsupportedError
from undertow.graph import Node
from undertow.primitives.index import Pick, Slice

LINES = 128  # bytes that processors fetch together


class Operations(Products):
    """Plans moves."""

    # ---- moves --------------------------------------------------------------------------------

    def write_copy(self, source: Access, to: Place, strides: tuple[int, ...], node: Node) -> None:
        """Copy an access to a place with other strides."""
        item = node.spec.dtype.itemsize
        pairs = [(n, s, t) for n, s, t in zip(source.shape, source.strides, strides, strict=True) if n != 1]
        merged: list[tuple[int, int, int]] = []
        for n, s, t in pairs:
            if merged and merged[-1][1] == s * n and merged[-1][2] == t * n:
                merged[-1] = (merged[-1][0] * n, s, t)
            else:
                merged.append((n, s, t))
        near, run = bool(merged) and merged[-1][1:] == (1, 1), 1
        if near and 0 < merged[-1][0] <= moves.RUN:  # of none, the other axes would be copied
            run, near = merged.pop()[0], False
        count = moves.COPY_AXES
        if len(merged) > count:
            raise UnsupportedError(f"{called(node)} ({node.line}) has more than {count} axes that do not join.")
        merged = [(1, 0, 0)] * (count - len(merged)) + merged
        parts = max(range(count), key=lambda i: (merged[i][0] >= self.threads, -i))  # the first that is long enough
        sizes, steps, jumps = zip(*merged, strict=True)
        args: list[Argument] = [self.place(source), to, parts, *sizes, *steps, *jumps]
        size = math.prod(source.shape) * item
        shared = self.threads > 1 and size > 4 * WORTH_SHARING
        call = Call("", args, called(node), shared, 0, 2 * size, target=to.buffer)
        name = f"copy{item}{'_near' if near else f'_{run}'}"
        self.add(call, (name,), lambda module: moves.write_copy(module, item, near, run), name)

    def fill(self, node: Node) -> None:
        """Set a value to zero."""
        size = self.bytes_of(node)
        shared, made = self.threads > 1 and size > 8 * WORTH_SHARING, self.buffer(node)
        call = Call("", [Place(made), size], called(node), shared, 0, size, target=made)
        self.add(call, ("fill",), moves.write_fill, "fill")

    def put(self, node: Node, source: Access, start: int, strides: tuple[int, ...]) -> None:
        """Copy a part of a value to where it belongs."""
        if math.prod(source.shape):
            self.write_copy(source, Place(self.buffer(node), start * node.spec.dtype.itemsize), strides, node)

    def can_copy(self, node: Node) -> bool:
        """Tell whether parts of a value can be copied to their places."""
        shape: Any = node.spec.shape
        return node.spec.dtype.itemsize in moves.BYTES and len(long_axes(shape)) <= moves.COPY_AXES

    def write_concatenate(self, node: Node) -> bool:
        """Copy each part to its place."""
        if not self.can_copy(node) or any(x.spec.dtype != node.spec.dtype for x in node.inputs):
            return False
        shape: Any = node.spec.shape
        strides, axis, at = row_major(shape), node.params["axis"] % len(shape), 0
        for x in node.inputs:
            access = self.reader.read(x)
            self.put(node, access, at * strides[axis], strides)
            at += access.shape[axis]
        return True

    def write_index_update(self, node: Node) -> bool:
        """Copy, then overwrite a part that slices or positions name."""
        if not self.can_copy(node) or any(x.spec.dtype != node.spec.dtype for x in node.inputs[:2]):
            return False
        if len(node.inputs) > 2:
            return self.write_scatter(node, node.inputs[1], node.inputs[2:], "set")
        target = self.target(node, node.params["index"])
        if target is None:
            return False
        self.put(node, self.reader.read(node.inputs[0]), 0, row_major(node.spec.shape))  # type: ignore[arg-type]
        self.put(node, _spread(self.reader.read(node.inputs[1]), target.shape), target.offset, target.strides)
        return True

    def target(self, node: Node, index: Any) -> Access | None:
        """Return which part of a value an index without arrays of positions names."""
        return pick(whole(node), index)

    def write_pad(self, node: Node) -> bool:
        """Fill with zeros, then copy to the middle."""
        if not self.can_copy(node):
            return False
        options = dict(node.params["options"])
        (x,) = node.inputs
        if (
            node.params["mode"] != "constant"
            or any(np.any(v) for v in options.values())
            or x.spec.dtype != node.spec.dtype
        ):
            return False
        width = node.params["width"]
        strides = row_major(node.spec.shape)  # type: ignore[arg-type]
        try:
            before = [int(pair[0]) for pair in np.broadcast_to(np.asarray(width), (len(x.spec.shape), 2))]
        except ValueError:
            return False
        self.fill(node)
        self.put(node, self.reader.read(x), sum(b * s for b, s in zip(before, strides, strict=True)), strides)
        return True

    def write_put_diagonal(self, node: Node) -> bool:
        """Fill with zeros, then copy to the diagonal."""
        (x,) = node.inputs
        if not self.can_copy(node):
            return False
        places = {key: node.params[key] for key in ("offset", "axis1", "axis2")}
        target = diagonal(whole(node), **places)
        self.fill(node)
        self.put(node, self.reader.read(x), target.offset, target.strides)
        return True

    def write_index_add(self, node: Node) -> bool:
        """Add values up where slices or positions point."""
        x = node.inputs[0]
        if x.spec.dtype != node.spec.dtype or not self.can_copy(node):
            return False
        if len(node.inputs) == 1:
            target = self.target(node, node.params["index"])
            if target is None:
                return False
            self.fill(node)
            self.put(node, _spread(self.reader.read(x), target.shape), target.offset, target.strides)
            return True
        return self.write_scatter(node, x, node.inputs[1:], "add")

    def write_scatter(self, node: Node, x: Node, picks: tuple[Node, ...], join: str) -> bool:
        """Add values up where positions point, or put them there: of those for one place, the last."""
        kind = kind_of(node.spec.dtype)
        picked = self.picked(picks, node.params["index"], node.spec.shape, node)
        if picked is None or kind is None:
            return False
        count, width, args = picked
        n_picks, lanes = len(args) // 2, lanes_of("f64" if BITS[kind] == 64 else "f32")
        lanes = lanes if width > 1 else 0
        source = self.reader.read(x)
        inner: Any = node.spec.shape[n_picks:]
        if join == "set":
            source = _spread(source, common_shape(picks, inner))
        rows = self.rows(source, len(source.shape) - len(inner), node)
        if rows is None:
            return False
        # Threads share the columns: of few, all would write into the same lines of the cache.
        wide = width * x.spec.dtype.itemsize
        shared = self.threads > 1 and count * width > WORTH_SHARING and wide >= LINES * self.threads
        made, height = self.buffer(node), math.prod(node.spec.shape[:n_picks])  # type: ignore[arg-type]
        # Where many values may meet in one place, float32 is added up as float64, as NumPy's evaluator does it.
        if join == "add" and str(kind) == "f32" and 4 * count > height:
            self.add_up_wide(node, rows, (count, width, height), args, shared)
            return True
        if join == "set":
            self.put(node, self.reader.read(node.inputs[0]), 0, row_major(node.spec.shape))  # type: ignore[arg-type]
        else:
            self.fill(node)
        given: list[Argument] = [rows[0], Place(made), Place(STATUS), count, width, rows[1], *args]
        call = Call("", given, called(node), shared, count * width, 3 * count * wide, target=made)
        self.add(
            call, ("scatter", n_picks, kind, lanes, join),
            lambda module: moves.write_scatter(module, n_picks, str(kind), lanes, join),
            f"scatter{n_picks}{kind}_{lanes}_{join}",
        )  # fmt: skip
        return True

    def add_up_wide(
        self, node: Node, rows: tuple[Place, int], sizes: tuple[int, int, int], args: list[Argument], shared: bool
    ) -> None:
        """Add float32 values up as float64; of more rows than there are values only those that get some are visited.

        Args:
            node: the sums.
            rows: where the values lie, and how many elements apart.
            sizes: how many rows of values, the elements of each, how many rows of sums.
            args: the positions, and the sizes of the axes that they stand for.
            shared: whether threads share the work.
        """
        count, width, height = sizes
        made, touched, lanes = self.buffer(node), count < height, lanes_of("f64") if width > 1 else 0
        if touched:
            self.fill(node)
        sums = Place(self.temporary(8 * height * width, self.now))
        given: list[Argument] = [rows[0], Place(made), sums, Place(STATUS), count, width, rows[1], height, *args]
        moved = 28 * count * width if touched else (20 * count + 20 * height) * width
        call = Call("", given, called(node), shared, count * width, moved, target=made)
        n = len(args) // 2
        self.add(
            call, ("scatter_wide", n, lanes, touched),
            lambda module: moves.write_scatter_wide(module, n, lanes, touched),
            f"scatter{n}_wide_{lanes}_{'touched' if touched else 'all'}",
        )  # fmt: skip

    def write_cumsum(self, node: Node) -> bool:
        """Add up along an axis."""
        return self.write_running(node, "sum")

    def write_cumprod(self, node: Node) -> bool:
        """Multiply along an axis."""
        return self.write_running(node, "prod")

    def write_recurrence(self, node: Node) -> bool:
        """Add each element times a factor to the next one, along an axis."""
        return self.write_running(node, "recurrence")

    def write_running(self, node: Node, join: str) -> bool:
        """Compute along an axis each element from the one before it."""
        shape: Any = node.spec.shape
        axis, back = node.params["axis"] % len(shape), node.params.get("reverse", False)
        reads = [whole(node), *(broadcast(self.reader.read(x), shape) for x in node.inputs)]
        kinds = tuple(str(kind_of(x.base.spec.dtype)) for x in reads)
        others = [i for i, n in enumerate(shape) if i != axis and n != 1]
        if reads[1].strides[axis] == 1 or not others:
            others.append(-1)  # the axis itself lies in one piece: it is walked innermost
        if len(others) > moves.RUN_AXES or "None" in kinds:
            return False
        others = [-1] * (moves.RUN_AXES - len(others)) + others
        others[:-1] = sorted(others[:-1], key=lambda i: i < 0)  # threads share the first axis
        sign = -1 if back else 1
        args: list[Argument] = []
        for x in reads:
            start = x.offset + (x.strides[axis] * (shape[axis] - 1) if back else 0)
            args.append(Place(self.buffer(x.base), start * x.base.spec.dtype.itemsize))
        args += [shape[axis], *(1 if i < 0 else shape[i] for i in others)]
        for x in reads:
            args += [sign * x.strides[axis], *(0 if i < 0 else x.strides[i] for i in others)]
        size = math.prod(shape)
        if not size:
            return True
        shared = self.threads > 1 and others[0] >= 0 and size > WORTH_SHARING
        moved = sum(size * x.base.spec.dtype.itemsize for x in reads)
        call = Call("", args, called(node), shared, size * (len(reads) - 1), moved, target=self.buffer(node))
        name = f"running_{join}_{'_'.join(kinds)}"
        self.add(call, ("running", join, kinds), lambda module: moves.write_running(module, join, kinds), name)
        return True

    def write_getitem(self, node: Node) -> bool:
        """Gather the rows that positions pick."""
        source = self.reader.read(node.inputs[0])
        picked = self.picked(node.inputs[1:], node.params["index"], source.shape, node)
        if picked is None:
            return False
        count, width, args = picked
        item, n_picks = node.spec.dtype.itemsize, len(args) // 2
        size = item if width == 1 else 0
        rows = self.rows(source, n_picks, node)
        if rows is None:
            return False
        made = Place(self.buffer(node))
        given: list[Argument] = [rows[0], made, Place(STATUS), count, width * item, rows[1] * item, *args]
        shared = self.threads > 1 and count * width > WORTH_SHARING
        call = Call("", given, called(node), shared, 0, 2 * count * width * item, target=self.buffer(node))
        name = f"gather{n_picks}{f'_{size}' if size else ''}"
        self.add(call, ("gather", n_picks, size), lambda module: moves.write_gather(module, n_picks, size), name)
        return True

    def picked(
        self, given: tuple[Node, ...], index: Any, shape: Any, node: Node
    ) -> tuple[int, int, list[Argument]] | None:
        """Return how many rows arrays of positions pick, their elements, and the arguments that name them.

        None unless the positions stand for the first axes, and all the others are whole.
        """
        n = sum(isinstance(entry, Pick) for entry in index)
        first, rest = index[:n], index[n:]
        if not all(isinstance(entry, Pick) for entry in first) or any(entry != Slice() for entry in rest):
            return None
        picks = [self.reader.read(given[entry.number]) for entry in first]
        common = np.broadcast_shapes(*[p.shape for p in picks])
        if 0 in shape[:n] and math.prod(common):
            return None  # there is nothing to pick: NumPy says so
        if any(p.shape != common or p.base.spec.dtype != np.int64 for p in picks):
            return None
        rows = [self.rows(p, 0, node) for p in picks]
        if None in rows:
            return None
        places = [row[0] for row in rows if row is not None]
        return math.prod(common), math.prod(shape[n:]), [*places, *[int(size) for size in shape[:n]]]

    def rows(self, access: Access, n_axes: int, node: Node) -> tuple[Place, int] | None:
        """Return where the rows of an access lie, each in one piece, and how many elements apart; copied, if need be.

        None where they would have to be copied, and no kernel can.

        Args:
            access: what is read.
            n_axes: its first axes, which count the rows.
            node: for whom.
        """
        inner = access.shape[n_axes:]
        whole_rows = all(
            n == 1 or s == t for n, s, t in zip(inner, access.strides[n_axes:], row_major(inner), strict=True)
        )
        count = math.prod(access.shape[:n_axes])
        apart = reshaped(access._replace(shape=access.shape[:n_axes], strides=access.strides[:n_axes]), (count,))
        if whole_rows and apart is not None:
            return self.place(access), apart[0]
        item = access.base.spec.dtype.itemsize
        if item not in moves.BYTES or len(long_axes(access.shape)) > moves.COPY_AXES:
            return None
        made = Place(self.temporary(math.prod(access.shape) * item, self.now))
        self.write_copy(access, made, row_major(access.shape), access.base)
        return made, math.prod(inner)


def common_shape(picks: tuple[Node, ...], inner: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of what positions pick, before axes that are whole."""
    shapes: Any = [pick.spec.shape for pick in picks]
    return (*np.broadcast_shapes(*shapes), *inner)


def _spread(a: Access, shape: tuple[int, ...]) -> Access:
    while len(a.shape) > len(shape):
        a = Access(a.base, a.offset, a.shape[1:], a.strides[1:])
    return broadcast(a, shape)
