"""What the kernel of a cluster looks like, and the table of numbers that it is given."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from undertow.compile.access import REDUCTIONS, is_reduction, long_axes, row_major, squeeze
from undertow.compile.fuse import Cluster, reduced_axes
from undertow.compile.kernel import Line, Operand, Structure, loops_of, size_of
from undertow.compile.layout import Layout
from undertow.compile.loops import find_loop
from undertow.compile.memory import APART, align
from undertow.compile.plan import TOLD, WORTH_SHARING, Argument, Call, Place, Scratch, called
from undertow.compile.processor import lanes_of
from undertow.compile.scalars import kind_of, operand_kinds
from undertow.compile.short_rows import SHORT_ROW, calls_functions, fitting, stands_better
from undertow.compile.stages import saved_lines, stages
from undertow.compile.statistics import is_statistics
from undertow.compile.totals import PART, ROWS
from undertow.compile.upright import write_kernel
from undertow.compile.waits import Touch, cuts
from undertow.graph import CONSTANT, Node

LONG_ROW = 1024  # columns above which a float32 sum is added up in float64
LONG_SUM = 128  # vectors above which one of float64 is added up in parts: 1024 numbers, where 8 are a vector
ABREAST = {4: 4, 8: 2}  # rows with sums of up to so many vectors: how many are written at a time


class Read(NamedTuple):
    """An access by a cluster: strides along the axes of its space, or along its rows."""

    base: Node
    offset: int
    strides: tuple[int, ...]
    level: str


class Axes(NamedTuple):
    """The axes of a cluster's loops: sizes of rows and columns, and of each operand the strides along them."""

    rows: list[int]
    columns: list[int]
    strides: list[tuple[int, ...]]


class Described(NamedTuple):
    """A cluster as its kernel sees it."""

    structure: Structure
    numbers: dict[Node, int]
    reads: list[Read]
    axes: Axes
    shared: bool


class Clusters(Layout):
    """Plans clusters."""

    def passes_of(self, cluster: Cluster) -> dict[Node, tuple[int, int]]:
        """Return in which pass over a row each value of a cluster is computed, and in which its inputs are read."""
        key = cluster.nodes[0]
        if key not in self.passes:
            found = self.describe(cluster)
            places, _ = stages(found.structure)
            of_columns = [line.reduces == "columns" for line in found.structure.lines]
            self.passes[key] = {x: (places[i], places[i] - of_columns[i]) for x, i in found.numbers.items()}
        return self.passes[key]

    def describe(self, cluster: Cluster) -> Described:
        """Return the structure of a cluster, and what its operands are."""
        numbers = {node: i for i, node in enumerate(cluster.nodes)}
        operands: dict[Read, int] = {}
        reads = [self.reads_of(cluster, node, numbers, operands) for node in cluster.nodes]
        stores = tuple(numbers[node] for node in cluster.nodes if self.is_stored(cluster, node))
        axes = self.merge_axes(cluster, list(operands))
        sums = any(is_reduction(x) and cluster.level[x] == "row" for x in cluster.nodes)
        by_columns = not axes.rows
        if by_columns and sums:  # one row, whose sum is wanted at once
            axes = Axes([1], axes.columns, [(0, *strides) for strides in axes.strides])
        needed = len([x for x in cluster.nodes if x not in self.fuser.added])
        work = math.prod(cluster.space) * max(needed or len(cluster.nodes), 1)
        shared = self.threads > 1 and work >= WORTH_SHARING and not (by_columns and sums)
        lines = tuple(self.line(cluster, node, reads[i], axes.columns) for i, node in enumerate(cluster.nodes))
        described = tuple(
            self.operand(read, strides, len(axes.rows), len(axes.columns))
            for read, strides in zip(operands, axes.strides, strict=True)
        )
        kinds = {x.kind for x in lines} | {x.kind for x in described}
        lanes = lanes_of("f32" if "f32" in kinds else "f64")
        upright = sums and len(axes.rows) == len(axes.columns) == 1 and axes.columns[0] <= SHORT_ROW < axes.rows[0]
        # How vectors lie does not depend on what is only looked at: sums are the same to the bit whoever looks on.
        looked_at = {i for i, node in enumerate(cluster.nodes) if node in self.fuser.added}
        own = [line for i, line in enumerate(lines) if i not in looked_at] or lines
        upright = upright and stands_better(
            own, described, [lines[i] for i in stores if i not in looked_at], axes.columns[0]
        )
        folds = any(x.folded or x.reduces == "statistics" for x in lines)
        short = folds and bool(axes.rows) and len(axes.columns) == 1 and axes.columns[0] < PART // ROWS * lanes
        adds = any(x.reduces == "rows" for x in own)
        if not upright and not by_columns:
            lanes = fitting(lanes, axes.columns[-1], adds and len(axes.columns) > 1)
        measured = any(x.reduces == "statistics" for x in lines)
        one_by_one = upright or by_columns or not (sums or adds or measured) or len(axes.columns) > 1
        abreast = 1 if one_by_one else next((n for m, n in ABREAST.items() if axes.columns[0] <= m * lanes), 1)
        structure = Structure(
            len(axes.rows), len(axes.columns), described, lines, stores, by_columns and not sums, lanes, upright,
            short and not upright, abreast, abreast > 1 and calls_functions(own),
        )  # fmt: skip
        return Described(structure, numbers, list(operands), axes, shared)

    def reads_of(
        self, cluster: Cluster, node: Node, numbers: dict[Node, int], operands: dict[Read, int]
    ) -> tuple[tuple[str, Any], ...]:
        """Return where a line's inputs come from; what is read from memory gets a number among the operands."""
        level = self.level_of_reading(cluster, node)
        words: list[tuple[str, Any]] = []
        for access in self.reader.operands(node):
            base = access.base
            if base in numbers:
                words.append(("v", numbers[base]))
            elif base.op is CONSTANT and base.spec.shape == () and not is_reduction(node):
                number = base.value.item() if hasattr(base.value, "item") else base.value
                minus_zero = number == 0 and math.copysign(1, number) < 0  # equal to 0, but another kernel
                words.append(("-c" if minus_zero else "c", number))
            else:
                strides = squeeze(access, access.shape)
                if cluster.order and level == "full" and is_reduction(node):
                    strides = tuple(strides[i] for i in cluster.order)
                read = Read(base, access.offset, strides, level)
                words.append(("o", operands.setdefault(read, len(operands))))
        return tuple(words)

    def operand(self, read: Read, strides: tuple[int, ...], n_rows: int, n_columns: int) -> Operand:
        """Return what a kernel has to know of an operand."""
        rows = "".join("0" if s == 0 else "g" for s in strides[:n_rows])
        columns = "".join(
            "0" if s == 0 else "1" if s == 1 and i == n_columns - 1 else "g" for i, s in enumerate(strides[n_rows:])
        )
        kind = str(kind_of(read.base.spec.dtype))
        if read.base not in self.totals:
            return Operand(kind, read.level, rows, columns)
        _, parts, stored = self.totals[read.base]
        op: Any = read.base.op
        return Operand(kind, read.level, rows, columns, parts, REDUCTIONS[op.name], stored)

    def arguments(self, cluster: Cluster, found: Described) -> list[Argument]:
        """Return the table of numbers of a cluster's kernel."""
        structure, axes = found.structure, found.axes
        rows = axes.rows if all(axes.rows) else (0, *[1] * (len(axes.rows) - 1))  # a row's number is divided by sizes
        args: list[Argument] = [*rows, *axes.columns, Scratch(), 0]
        for read, strides, o in zip(found.reads, axes.strides, structure.operands, strict=True):
            made = self.totals[read.base][0] if o.parts else self.buffer(read.base)
            args.append(Place(made, 0 if o.parts else read.offset * read.base.spec.dtype.itemsize))
            args += [s for s, word in zip(strides, o.rows + o.columns, strict=True) if word == "g"]
            if o.parts > 1:
                args.append(made.size // o.parts // size_of(o.stored))
        args += [Place(self.buffer(cluster.nodes[i])) for i in structure.stores]
        for node, line in zip(cluster.nodes, structure.lines, strict=True):
            if line.reduces == "statistics":
                args += [Place(TOLD, 8 * self.columns[node]), self.plan.told_stride]
                self.plan.told_by = max(self.plan.told_by, self.threads if found.shared else 1)
            elif line.reduces and line.reduces != "columns":
                shape: Any = node.spec.shape
                size = max(math.prod(shape), 1) * size_of(line.kind)
                size = align(size) + APART if found.shared else size
                parts = self.threads if found.shared else 1
                made = self.temporary(size * parts, max(self.readers.get(node, [self.now])))
                self.totals[node] = made, parts, line.kind
                args += [Place(made), size // size_of(line.kind)]
        loops = [address for loop in loops_of(structure) for address in find_loop(*loop) or ()]
        if loops:
            self.plan.calls_scipy, self.plan.portable = True, False
        return args + loops

    def level_of_reading(self, cluster: Cluster, node: Node) -> str:
        """Tell whether a node reads an element a place or one a row."""
        if is_statistics(node):
            return "full"
        if is_reduction(node):
            # by how it is read, not by what it is: a value of a row may be read at all places of the row
            space = long_axes(node.inputs[0].spec.shape)  # type: ignore[arg-type]
            return "full" if len(space) == len(cluster.space) else "row"
        return cluster.level[node]

    def is_stored(self, cluster: Cluster, node: Node) -> bool:
        """Tell whether a value of a cluster has to be in memory."""
        if cluster.level[node] == "total":
            return False
        return node in self.given or any(i != self.when[node] for i in self.readers.get(node, ()))

    def merge_axes(self, cluster: Cluster, reads: list[Read]) -> Axes:
        """Make one axis of neighbours wherever every operand allows it; decide which are rows."""
        space, split = cluster.space, cluster.split
        groups: list[list[int]] = []
        for i in range(len(space)):
            joins = (
                groups
                and i != split
                and all(
                    read.strides[i - 1] == read.strides[i] * space[i]
                    for read in reads
                    if read.level == "full" or i < (split or 0)
                )
            )
            if joins:
                groups[-1].append(i)
            else:
                groups.append([i])
        n_rows = max(len(groups) - 1, 0) if split is None else sum(1 for g in groups if g[0] < split)
        sizes = [math.prod(space[i] for i in g) for g in groups]
        strides = []
        for read in reads:
            kept = groups[:n_rows] if read.level == "row" else groups
            strides.append(tuple(read.strides[g[-1]] for g in kept))
        rows, columns = sizes[:n_rows], sizes[n_rows:]
        if not columns:
            columns = [1]
            strides = [(*s, 0) if read.level == "full" else s for s, read in zip(strides, reads, strict=True)]
        return Axes(rows, columns, strides)

    def line(self, cluster: Cluster, node: Node, reads: tuple[tuple[str, Any], ...], columns: list[int]) -> Line:
        """Return what a kernel has to know of a node."""
        op: Any = node.op
        kind = str(kind_of(node.spec.dtype))
        level = cluster.level[node]
        if is_statistics(node):
            kind = str(kind_of(node.inputs[0].spec.dtype))
            return Line(op.name, level, reads, (kind,), kind, tuple(sorted(node.params.items())), "statistics")
        if not is_reduction(node):
            hidden = ("axis", "shape", "dtype", "low", "high") if op.name != "round" else ()
            params = tuple(sorted((k, v) for k, v in node.params.items() if k not in hidden))
            return Line(op.name, level, reads, operand_kinds(node) or (), kind, params)
        join = REDUCTIONS[op.name]
        reading = self.level_of_reading(cluster, node)
        n = len(long_axes(node.inputs[0].spec.shape))  # type: ignore[arg-type]
        axes = reduced_axes(node)
        reduces = (
            "columns" if level == "row" else "row values" if reading == "row" else "all" if len(axes) == n else "rows"
        )
        added = kind
        if kind == "f32" and join == "sum" and (reduces != "columns" or math.prod(columns) > LONG_ROW):
            added = "f64"
        if level == "full":
            return Line("identity", level, reads, (kind,), kind)
        count = {
            "columns": math.prod(columns),
            "all": math.prod(cluster.space),
            "row values": 16 * math.prod(cluster.rows()),
        }
        folded = kind == "f64" and join == "sum" and count.get(reduces, 0) > LONG_SUM * lanes_of("f64")
        return Line(join, level, reads, (), added, (), reduces, kind, folded)

    def write_cluster(self, cluster: Cluster) -> None:
        """Add the call of a cluster's kernel."""
        found = self.describe(cluster)
        args = self.arguments(cluster, found)
        structure = found.structure
        names = [called(node) for node in cluster.nodes if self.is_stored(cluster, node) or node in self.totals]
        elements = math.prod(cluster.space)
        moved = sum(min(a.buffer.size, 8 * elements) for a in args if isinstance(a, Place))
        call = Call("", args, ", ".join(names), found.shared, elements * len(cluster.nodes), moved)
        call.touches = self.touches(cluster, found)
        saved = math.prod(found.axes.columns) * len(saved_lines(structure)) * structure.abreast
        call.scratch = 8 * saved * (structure.lanes if structure.upright else 1)
        self.add(call, structure, lambda module: write_kernel(module, "kernel", structure))

    def touches(self, cluster: Cluster, found: Described) -> list[Touch]:
        """Return what a kernel touches, and which part of it each thread."""
        axes, structure = found.axes, found.structure
        height = axes.rows[0] if len(axes.rows) == 1 else 0
        width = math.prod(axes.columns)

        def part(strides: tuple[int, ...], level: str, itemsize: int) -> Any:
            if structure.by_columns:
                return cuts(width, self.threads, itemsize, structure.lanes) if strides == (1,) else None
            if not height or strides[0] != (1 if level == "row" else width):
                return None
            return cuts(height, self.threads, strides[0] * itemsize)

        result = []
        for read, strides in zip(found.reads, axes.strides, strict=True):
            if read.base in self.totals:
                result.append(Touch(self.totals[read.base][0], False))
            else:
                whole_row = read.level == "row" or structure.by_columns or strides[1:] == row_major(tuple(axes.columns))
                own = (
                    part(strides, read.level, read.base.spec.dtype.itemsize) if whole_row and not read.offset else None
                )
                result.append(Touch(self.buffer(read.base), False, own))
        for i in structure.stores:
            node = cluster.nodes[i]
            level = cluster.level[node]
            strides = (1,) if structure.by_columns or level == "row" else (width,)
            result.append(Touch(self.buffer(node), True, part(strides, level, node.spec.dtype.itemsize)))
        for made, parts, _ in (self.totals[node] for node in cluster.nodes if node in self.totals):
            result.append(Touch(made, True, cuts(parts, self.threads, made.size // parts)))
        return result

    def may_replace(self, node: Node, old: Node) -> bool:
        """Tell whether a value may be written where an input lies, while that input is still read."""
        when = self.when[node]
        if node in self.reader.folded:
            return False  # its memory is written before it is its turn
        if any(i > when for i in self.readers.get(old, ())):
            return False
        if when not in self.readers.get(old, ()):
            return True
        item = self.items[when]
        if not isinstance(item, Cluster) or item.level[node] != "full" or item.order:
            return False
        place = row_major(item.space)
        readers = [x for x in item.nodes if old in self.reader.bases(x)]
        for reader in readers:
            for access in self.reader.operands(reader):
                if access.base is old and (squeeze(access, access.shape) != place or access.offset):
                    return False
        passes = self.passes_of(item)
        at, _ = passes[node]
        reads_at = [passes[x][1] for x in readers]
        before = [i for x, i in zip(readers, reads_at, strict=True) if item.nodes.index(x) <= item.nodes.index(node)]
        if len(before) < len(readers) and at not in before:
            return False  # a line behind it would read what it has written; what its own pass has read before, it keeps
        return all(i <= at for i in reads_at)
