"""Plans calls of LAPACK's routines, which OpenBLAS brings along.

All arguments of LAPACK are addresses. So one small kernel calls any routine for each matrix of a stack, with a table of
addresses and the bytes from one matrix to the next; sizes and letters lie in a constant.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from undertow.compile.access import Access, broadcast, row_major
from undertow.compile.blas import Blas, find_blas
from undertow.compile.cache import folder
from undertow.compile.ir import Emitter, Module, Value
from undertow.compile.linear_algebra import qr_sizes, svd_sizes
from undertow.compile.memory import align
from undertow.compile.operations import Operations
from undertow.compile.plan import STATUS, Argument, Buffer, Call, Noted, Place, Scratch, called
from undertow.compile.products import PRODUCT
from undertow.compile.scalars import kind_of
from undertow.compile.waits import Touch
from undertow.graph import Node

LETTERS = {"f32": "s", "f64": "d"}


class At(NamedTuple):
    """An address of a routine's, and the bytes from that of one matrix to that of the next."""

    place: Place
    step: int = 0


class Work(NamedTuple):
    """Memory that a routine works in: so many bytes; None: as much as it asks for."""

    size: int | None = None


class Length(NamedTuple):
    """The size of the memory that a routine asked for."""


Given = str | int | At | Work | Length


class LinearAlgebra(Operations):
    """Plans what LAPACK does."""

    def write_lu(self, node: Node) -> bool:
        """Factor each matrix of a stack."""
        shape: Any = node.spec.shape
        n = shape[-1]
        self.put_columns(node, n * shape[-2])
        block, part = self.block_of(node)
        args: list[Given] = [n, n, block, n, At(part(n * n), block.step)]
        self.call_lapack(node, "getrf", self.count(node), args, 0, 2 / 3 * n**3, self.wanted(node))
        return True

    def write_lu_solve(self, node: Node) -> bool:
        """Solve for each row of a stack of rows."""
        factors, n, count, rows, to = self.put_rows(node)
        block, part = self.block_of(factors)
        if node.params["strict"]:
            self.check_factors(node, block, n, count)
        turned = "T" if node.params["turned"] else "N"
        args: list[Given] = [turned, n, rows, block, n, At(part(n * n), block.step), to, n]
        self.call_lapack(node, "getrs", count, args, flops=2.0 * n * n * rows)
        return True

    def write_solve_triangle(self, node: Node) -> bool:
        """Solve for each row of a stack of rows."""
        factor, n, count, rows, to = self.put_rows(node)
        turned = "N" if node.params["turned"] else "T"  # column by column, each matrix is turned
        args: list[Given] = [_column_triangle(factor), turned, "N", n, rows, self.block_of(factor)[0], n, to, n]
        self.call_lapack(node, "trtrs", count, args, Noted.SINGULAR, 1.0 * n * n * rows)
        return True

    def put_rows(self, node: Node) -> tuple[Node, int, int, int, At]:
        """Copy the rows to solve for: the factors, their size, how many, rows for each, where these are."""
        factors, given = node.inputs
        shape: Any = node.spec.shape
        *stack, rows, n = shape
        self.write_copy(broadcast(self.reader.read(given), shape), Place(self.buffer(node)), row_major(shape), node)
        to = At(Place(self.buffer(node)), rows * n * node.spec.dtype.itemsize)
        return factors, n, math.prod(stack) if rows and n else 0, rows, to

    def write_lu_sign(self, node: Node) -> bool:
        """Count the rows that were exchanged, and the negative numbers on the diagonal."""
        (factors,) = node.inputs
        shape: Any = factors.spec.shape
        kind, integers, (block, _) = str(kind_of(node.spec.dtype)), self.lapack().integers, self.block_of(factors)
        made, count = self.buffer(node), math.prod(shape[:-2])
        args: list[Argument] = [block.place, Place(made), count, shape[-1], block.step]
        name = f"lu_sign_{kind}_{integers}"
        call = Call("", args, _called(node), moved=block.step * count, target=made)
        self.add(call, (name,), lambda module: write_sign(module, name, kind, integers), name)
        return True

    def check_factors(self, node: Node, block: At, n: int, count: int) -> None:
        """Let a number on the diagonal of U that is 0 be told."""
        kind = str(kind_of(node.spec.dtype))
        args: list[Argument] = [block.place, Place(STATUS), count, n, block.step, Noted.SINGULAR]
        touches = [Touch(block.place.buffer, False), Touch(STATUS, True)]
        call = Call("", args, _called(node), moved=block.step * count, touches=touches, fails=Noted.SINGULAR)
        self.add(call, ("lu_check", kind), lambda module: write_check(module, kind), f"lu_check_{kind}")

    def write_cholesky_factor(self, node: Node) -> bool:
        """Factor each matrix."""
        self.change_triangle(node, "potrf", [], Noted.INDEFINITE)
        return True

    def write_invert_triangle(self, node: Node) -> bool:
        """Invert one triangle of each matrix."""
        self.change_triangle(node, "trtri", ["N"], Noted.SINGULAR)
        return True

    def change_triangle(self, node: Node, routine: str, letters: list[Given], fails: int) -> None:
        """Copy matrices row by row, and have a routine change one triangle of each."""
        shape: Any = node.spec.shape
        n, block = shape[-1], self.block_of(node)[0]
        self.write_copy(self.reader.read(node.inputs[0]), Place(self.buffer(node)), row_major(shape), node)
        args: list[Given] = [_column_triangle(node), *letters, n, block, n]
        self.call_lapack(node, routine, self.count(node), args, fails, n**3 / 3)

    def write_symmetric_eigen(self, node: Node) -> bool:
        """Find eigenvalues, and vectors where they are wanted."""
        shape: Any = node.spec.shape
        n, vectors = shape[-1], node.params["vectors"]
        self.put_columns(node, n * (n + 1))
        block, part = self.block_of(node)
        whole = 3 + 5 * n if vectors else 1
        args: list[Given] = ["V" if vectors else "N", node.params["uplo"], n, block, n, At(part(n * n), block.step)]
        args += [Work(), Length(), Work(8 * whole), whole]
        flops = (9 if vectors else 4 / 3) * n**3
        self.call_lapack(node, "syevd", self.count(node), args, Noted.NO_EIGENVALUES, flops)
        return True

    def write_singular(self, node: Node) -> bool:
        """Find singular values, and vectors where they are wanted."""
        shape: Any = node.inputs[0].spec.shape
        (m, n), job = shape[-2:], node.params["job"]
        k, sizes = min(m, n), svd_sizes(m, n, job)
        self.put_columns(node, sum(sizes))
        block, part = self.block_of(node)
        s, u, vt = (At(part(sum(sizes[:i])), block.step) for i in (1, 2, 3))
        rows = n if job == "A" else k
        args: list[Given] = [job, m, n, block, m, s, u, m, vt, max(rows, 1), Work(), Length(), Work(64 * k)]
        flops = 14 * max(m, n) * k**2 + 8 * k**3 if job != "N" else 4 * max(m, n) * k**2
        count = math.prod(shape[:-2]) if k else 0
        self.call_lapack(node, "gesdd", count, args, Noted.NO_SVD, flops, self.wanted(node))
        return True

    def write_orthogonal(self, node: Node) -> bool:
        """Turn columns to zeros below the diagonal, then the same turns into Q."""
        shape: Any = node.inputs[0].spec.shape
        *stack, m, n = shape
        k, sizes = min(m, n), qr_sizes(m, n)
        count, length = math.prod(stack) if k else 0, sum(sizes)
        self.put_columns(node, length)
        block, part = self.block_of(node)
        q, tau = (At(part(sum(sizes[:i])), block.step) for i in (1, 2))
        flops = 2 * max(m, n) * k**2
        self.call_lapack(node, "geqrf", count, [m, n, block, m, tau, Work(), Length()], flops=flops)
        if count:
            strides = (*[step * length for step in row_major(tuple(stack))], 1)
            self.write_copy(Access(node, 0, (*stack, m * k), strides), q.place, strides, node)
        self.call_lapack(node, "orgqr", count, [m, k, k, q, m, tau, Work(), Length()], flops=flops)
        return True

    # ---- memory -------------------------------------------------------------------------------

    def count(self, node: Node) -> int:
        """How many blocks a value consists of; none where there is nothing in them."""
        shape: Any = node.spec.shape
        return math.prod(shape[:-2]) if shape[-1] else 0

    def block_of(self, node: Node) -> tuple[At, Callable[[int], Place]]:
        """Return where the blocks of a stack lie, and what tells where a part of the first does."""
        stack: Any = node.inputs[0].spec.shape[:-2]
        item, made = node.spec.dtype.itemsize, self.buffer(node)
        size = made.size // max(math.prod(stack), 1)
        return At(Place(made), size), lambda start: Place(made, start * item)

    def wanted(self, node: Node) -> Place | None:
        """Where it is said whether a decomposition is wanted."""
        return self.place(self.reader.read(node.inputs[1])) if len(node.inputs) > 1 else None

    def put_columns(self, node: Node, apart: int) -> None:
        """Copy the first operand into blocks, column by column.

        Args:
            node: the operation whose blocks they are.
            apart: numbers from one block to the next.
        """
        source = self.reader.read(node.inputs[0])
        *stack, m, _ = source.shape
        if math.prod(source.shape):
            strides = (*[step * apart for step in row_major(tuple(stack))], 1, m)
            self.write_copy(source, Place(self.buffer(node)), strides, node)

    # ---- calls --------------------------------------------------------------------------------

    def lapack(self) -> Blas:
        """The library; only where it has LAPACK are there operations for it."""
        blas = find_blas(folder())
        assert blas is not None
        return blas

    def call_lapack(
        self,
        node: Node,
        routine: str,
        count: int,
        args: list[Given],
        fails: int = 0,
        flops: float = 0,
        wanted: Place | None = None,
    ) -> None:
        """Add the call of a routine for each matrix of a stack.

        Args:
            node: for whom.
            routine: its name without the letter of the dtype.
            count: how many matrices.
            args: all but the last, where the routine tells whether it failed.
            fails: what is noted where it did; 0 for nothing.
            flops: operations for each matrix.
            wanted: where a truth value says whether it is to be called at all.
        """
        if not count:
            return
        blas, item = self.lapack(), node.spec.dtype.itemsize
        self.plan.portable = False
        address = blas.routine(LETTERS[str(kind_of(node.spec.dtype))] + routine)
        length = _ask(blas, address, args, item) if Work() in args else 0
        numbers, yes = _Constants(blas.integers), Buffer(1, "constant", array=np.ones(1, bool))
        table: list[Argument] = [address, count, wanted or Place(yes), Place(STATUS), fails, Scratch(), 0]
        scratch = 0
        for arg in (*args, Work(8)):  # the last is where it tells whether it failed
            if isinstance(arg, At):
                table += [*arg]
            elif isinstance(arg, Work):
                table += [scratch, 0]
                scratch += align(length * item if arg.size is None else arg.size)
            else:
                table += [numbers.place(length if isinstance(arg, Length) else arg), 0]
        shared = count >= self.threads > 1 and flops * count > PRODUCT
        what, made = f"{_called(node)}: {routine}", self.buffer(node)
        call = Call("", table, what, shared, flops * count, 0, scratch=scratch, target=made, fails=fails)
        works = tuple(isinstance(arg, Work) for arg in (*args, Work(8)))
        letters = sum(isinstance(arg, str) for arg in args)
        name = f"lapack{letters}_{''.join('01'[work] for work in works)}"
        self.add(call, (name,), lambda module: write_call(module, name, works, letters), name)


def _called(node: Node) -> str:
    """What people call the value: its name, or the module they called, whose functions are several operations here."""
    return called(node) if node.name else f"np.linalg {f'({node.line})' if node.line else ''}".strip()


def _column_triangle(node: Node) -> str:
    """LAPACK's letter for a triangle: what is lower row by row is upper column by column."""
    return "L" if node.params["upper"] else "U"


class _Constants:
    """Letters and whole numbers as LAPACK reads them: from memory."""

    def __init__(self, integers: int) -> None:
        self.dtype = np.dtype(f"i{integers // 8}")

    def place(self, value: str | int) -> Place:
        """Where one of them lies."""
        array = np.frombuffer(value.encode(), np.int8) if isinstance(value, str) else np.array([value], self.dtype)
        return Place(Buffer(array.nbytes, "constant", array=array))


def _ask(blas: Blas, address: int, args: list[Given], item: int) -> int:
    """Ask a routine how many numbers of memory it wants to work in."""
    numbers, arrays = _Constants(blas.integers), []
    for arg in (*args, Work(8)):  # the last is where it tells whether it failed
        known = -1 if isinstance(arg, Length) else arg
        arrays.append(np.zeros(2) if isinstance(known, At | Work) else numbers.place(known).buffer.array)
    letters = sum(isinstance(arg, str) for arg in args)
    kinds = [ctypes.c_void_p] * len(arrays) + [ctypes.c_size_t] * letters
    ctypes.CFUNCTYPE(None, *kinds)(address)(*[array.ctypes.data for array in arrays], *[1] * letters)
    told = float(arrays[args.index(Work())].view(f"f{item}")[0])
    return int(told * (1 + 2**-22)) + 1  # of float32, a size may have been rounded down


# ---- kernels ------------------------------------------------------------------------------------


def _begin(module: Module, name: str, kinds: list[str]) -> tuple[Emitter, list[Value]]:
    e = Emitter(module, name, [("args", "ptr"), ("thread", "i64"), ("threads", "i64")])
    return e, [e.load(e.address(e.args["args"], i, "i64"), kind) for i, kind in enumerate(kinds)]


def write_call(module: Module, name: str, works: tuple[bool, ...], letters: int) -> str:
    """Write a function that calls a routine for each of several matrices, which threads share.

    Table: the routine, how many times, whether at all (a truth value's address), status, what to note in it, scratch
    memory, bytes of it for each thread, then for each argument its address and the bytes to the next. Of one in the
    scratch memory: where it is there. The last one is where the routine says whether it failed.

    Args:
        module: where it goes.
        name: the function's.
        works: which of the addresses that the routine is given are in the scratch memory.
        letters: how many of these are texts, whose lengths it is given behind them.
    """
    kinds = [kind for work in works for kind in ("i64" if work else "ptr", "i64")]
    e, (routine, count, wanted, status, note, scratch, each, *table) = _begin(
        module, name, ["ptr", "i64", "ptr", "ptr", "i64", "ptr", "i64", *kinds]
    )
    thread, threads = e.args["thread"], e.args["threads"]
    own = e.address(scratch, thread * each, "i8")
    count = e.select(e.load(wanted, "i8") != 0, count, 0)
    with e.loop(count * thread / threads, count * (thread + 1) / threads) as i:
        places = [
            e.address(own, at, "i8") if work else e.address(at, i * step, "i8")
            for work, at, step in zip(works, table[::2], table[1::2], strict=True)
        ]
        given = [f"ptr {place.text}" for place in places] + ["i64 1"] * letters
        e.line(f"call void {routine.text}({', '.join(given)})")
        with e.when((e.load(places[-1], "i32") != 0) & (note != 0)):
            e.store(note, status)
    e.finish()
    return e.name


def write_check(module: Module, kind: str) -> str:
    """Look for zeros on diagonals. Table: blocks, status, how many, rows, bytes to the next block, what to note."""
    e, (block, status, count, n, step, note) = _begin(
        module, f"lu_check_{kind}", ["ptr", "ptr", "i64", "i64", "i64", "i64"]
    )
    with e.loop(0, count) as i, e.loop(0, n) as j:
        u = e.load(e.address(e.address(block, i * step, "i8"), j * (n + 1), kind), kind)
        with e.when(u == 0):
            e.store(note, status)
    e.finish()
    return e.name


def write_sign(module: Module, name: str, kind: str, integers: int) -> str:
    """Find the sign of determinants. Table: blocks, result, how many, rows, bytes to the next block."""
    e, (block, result, count, n, step) = _begin(module, name, ["ptr", "ptr", "i64", "i64", "i64"])
    with e.loop(0, count) as i:
        at = e.address(block, i * step, "i8")
        pivots = e.address(at, n * n, kind)
        sign = e.variable(e.const(1.0, kind))
        with e.loop(0, n) as j:
            u = e.load(e.address(at, j * (n + 1), kind), kind)
            pivot = e.convert(e.load(e.address(pivots, j, f"i{integers}"), f"i{integers}"), "i64")
            turned = (pivot != j + 1) ^ (u < 0)
            sign.set(e.select(u == 0, e.const(0.0, kind), e.select(turned, -sign.get(), sign.get())))
        e.store(sign.get(), e.address(result, i, kind))
    e.finish()
    return e.name
