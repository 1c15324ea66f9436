"""Calls of matrix products."""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

import numpy as np

from undertow.compile.access import Access, batch_axis, batch_strides, matrix, row_major, whole
from undertow.compile.accumulate import is_product
from undertow.compile.blas import find_blas, write_blas
from undertow.compile.cache import folder
from undertow.compile.finish import Finish
from undertow.compile.interleaved import interleaved_bytes, write_interleaved
from undertow.compile.layout import Layout
from undertow.compile.packed import packed_bytes, write_packed
from undertow.compile.plan import Argument, Call, Place, Scratch, called
from undertow.compile.processor import lanes_of
from undertow.compile.product import DEPTH, scratch_bytes, write_product
from undertow.compile.product_args import ARGS
from undertow.compile.scalars import kind_of
from undertow.compile.tiny import MANY, tiny, write_tiny
from undertow.compile.waits import Touch, cuts
from undertow.compile.ways import choose_kernel
from undertow.graph import Node

PRODUCT = 20_000  # floating-point operations above which threads share a product


class Ending(NamedTuple):
    """What a product does with its result.

    Attributes:
        finish: the code's structure.
        args: where is what it reads, then what it writes, then each of its statistics: an address, and the numbers that
            a thread has room for.
        touches: each of these values; whether it has an element for each of the result's; whether it is written.
        names: for people.
    """

    finish: Finish
    args: list[Argument]
    touches: list[tuple[Node, bool, bool]]
    names: str


class Products(Layout):
    """Plans matrix products."""

    def write_matmul(self, node: Node, total: Node | None = None, ending: Ending | None = None) -> bool:
        """Plan a product of matrices; a transposed operand is read by other strides.

        Args:
            node: the product.
            total: the sum that it is added to.
            ending: what is done with the result.
        """
        if not is_product(node):
            return False
        kind = str(kind_of(node.spec.dtype))
        a, b = (self.reader.read(x) for x in node.inputs)
        if len(a.shape) == 1:
            a = Access(a.base, a.offset, (1, *a.shape), (0, *a.strides))
        if len(b.shape) == 1:
            b = Access(b.base, b.offset, (*b.shape, 1), (*b.strides, 0))
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
        lead_a, lead_b = (batch_strides(x, batch) for x in (a, b))
        lead_c = tuple(stride * m * n for stride in row_major(batch))
        axis = batch_axis(batch, lead_a, lead_b, lead_c)
        outer = [()] if axis is None else list(np.ndindex(*[s for i, s in enumerate(batch) if i not in axis]))
        count = 1 if axis is None else math.prod(batch[i] for i in axis)
        others = [] if axis is None else [i for i in range(len(batch)) if i not in axis]
        last = None if axis is None else axis[-1]
        # A result that is finished has memory of its own only where its sums are added up in parts.
        in_parts = ending is None or k > DEPTH
        made = self.buffer(total or node) if ending is None or in_parts else self.buffer(ending.touches[-1][0])
        written = Access(node, 0, (*batch, m, n), row_major((*batch, m, n)))
        one, zero = (int.from_bytes(struct.pack("f" if kind == "f32" else "d", v), "little") for v in (1.0, 0.0))
        item = node.spec.dtype.itemsize
        for place in outer:
            shift = [sum(p * lead[i] for p, i in zip(place, others, strict=True)) for lead in (lead_a, lead_b, lead_c)]
            steps = [0, 0, 0] if last is None else [lead[last] for lead in (lead_a, lead_b, lead_c)]
            strides = (*matrix(a), *matrix(b))
            split = 2 if count >= self.threads and count > 1 else self.split_of(kind, m, n, k, strides)
            flops = 2.0 * m * n * k * count
            args: list[Argument] = [
                Place(self.buffer(a.base), (a.offset + shift[0]) * item),
                Place(self.buffer(b.base), (b.offset + shift[1]) * item),
                Place(made, shift[2] * item),
                m, n, k, *strides, n, one, one if total else zero, count, *steps, split, Scratch(), 0,
            ]  # fmt: skip
            shared = self.is_shared(flops)
            moved = (m * k + k * n + (2 if total else 1) * m * n) * item * count
            call = Call("", args, f"{'+ ' if total else ''}{called(node)} ({m} × {k} × {n})", shared, flops, moved)
            call.touches = [
                Touch(self.buffer(a.base), False, self.part_of(a, steps[0], split, count, item)),
                Touch(self.buffer(b.base), False, self.part_of(b, steps[1], split, count, item, False)),
            ]
            if in_parts:
                call.touches.append(Touch(made, True, self.part_of(written, steps[2], split, count, item)))
            if ending is not None:
                self.end(call, ending, split)
            call.kind = kind
            small = tiny(kind, (m, n, k), strides, total is not None, lanes_of(kind)) if count >= MANY else None
            if small is not None:
                args[ARGS.index("split")] = 2
                self.add(call, small, lambda module, small=small: write_tiny(module, small), f"tiny_{kind}")
                continue
            rows = -(-m // self.threads) if shared and split == 0 else m
            self.add_product(call, kind, (m, n, k), strides, rows, node in self.ours)
        return True

    def end(self, call: Call, ending: Ending, split: int) -> None:
        """Tell a call what it does with its result."""
        call.finish, call.what = ending.finish, f"{ending.names} {call.what[call.what.rindex('(') :]}"
        call.args += ending.args
        if any(line.reduces for line in ending.finish.lines):
            self.plan.told_by = max(self.plan.told_by, self.threads if call.shared else 1)
        call.touches = call.touches or []
        for x, full, writes in ending.touches:
            item = x.spec.dtype.itemsize
            part = self.part_of(whole(x), 0, split, 1, item) if full else None
            call.touches.append(Touch(self.buffer(x), writes, part))
            call.moved += self.bytes_of(x)
        call.flops += math.prod(ending.touches[-1][0].spec.shape) * len(ending.finish.lines)  # type: ignore[arg-type]

    def is_shared(self, flops: float) -> bool:
        """Tell whether threads share a product."""
        return self.threads > 1 and flops > PRODUCT

    def split_of(self, kind: str, m: int, n: int, k: int, strides: tuple[int, int, int, int]) -> int:
        """Return what threads share of one product: 0 the rows of the result, 1 its columns."""
        if m >= n:
            return 0
        if choose_kernel(kind, m, n, k, strides, m) in ("packed", "interleaved"):
            return 1  # each thread copies only its own part of B, the larger one: XL takes 0.98 of the time
        return 0 if m >= 16 * self.threads else 1

    def part_of(self, a: Access, step: int, split: int, count: int, item: int, by_rows: bool = True) -> Any:
        """Return the part of an operand that each thread touches; None if that is not one piece of memory.

        None also where a call touches some of its matrices only: parts are counted from the beginning of its memory.

        Args:
            a: how the operand is read, or the result written.
            step: elements from one matrix to the next.
            split: what the threads share: 0 the rows of the result, 2 products.
            count: of products that the call does.
            item: bytes of an element.
            by_rows: who computes a row of the result touches a row of it.
        """
        (m, n), (row, column) = a.shape[-2:], a.strides[-2:]
        everything = not a.offset and math.prod(a.base.spec.shape) == count * m * n  # type: ignore[arg-type]
        if not everything or (row, column) not in ((n, 1), (1, m)):
            return None
        if split == 2 and step == m * n:
            return cuts(count, self.threads, step * item)
        rows = split == 0 and count == 1 and by_rows and column == 1
        return cuts(m, self.threads, n * item) if rows else None

    def add_product(
        self,
        call: Call,
        kind: str,
        sizes: tuple[int, int, int],
        strides: tuple[int, int, int, int],
        rows: int,
        ours: bool,
    ) -> None:
        """Add the call of a product: of our own kernels, or of OpenBLAS where that is faster.

        Args:
            call: without its kernel.
            kind: ``f32`` or ``f64``.
            sizes: rows of A, columns of B, columns of A.
            strides: between the rows and columns of A, then of B, in elements.
            rows: those of A that one thread does.
            ours: OpenBLAS is not to do it.
        """
        way = choose_kernel(kind, *sizes, strides, rows)
        if way == "OpenBLAS" and ours:
            way = "packed"
        blas = find_blas(folder()) if way == "OpenBLAS" else None
        self.plan.portable &= way != "OpenBLAS"  # also where it is missing: the next process may have it
        if blas is not None:
            integers, name = blas.integers, f"blas_{kind}_{blas.integers}"
            call.args.append(blas.sgemm if kind == "f32" else blas.dgemm)
            self.add(call, (name,), lambda module: write_blas(module, kind, integers), name)
            return
        lanes, write, name = lanes_of(kind), write_product, "product"
        call.scratch = scratch_bytes(kind, *sizes, strides[3] != 1)
        if way == "interleaved":
            call.scratch, write, name = interleaved_bytes(kind), write_interleaved, way
        elif way != "own":
            call.scratch, write, name = packed_bytes(kind), write_packed, "packed"
        finish = call.finish
        key = (name, kind, lanes, finish)
        self.add(call, key, lambda module: write(module, kind, lanes, finish), f"{name}_{kind}")
