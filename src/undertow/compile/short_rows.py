"""Rows shorter than a vector: which way the vectors of a kernel lie, and how long they are."""

from __future__ import annotations

from collections.abc import Sequence

from undertow.compile.kernel import Line, Operand
from undertow.compile.loops import PREFIX

SHORT_ROW = 16  # columns up to which the vectors of a kernel with sums over them may hold neighbouring rows
GATHER, SCATTER = 0.8, 1.05  # cycles for each element
SUM, DIVISION, FUNCTION = 2, 2, 12  # cycles that a row takes by itself, for a sum over it and for what it has one of
ADDED, WAITED = 1.5, 20  # cycles to add a vector to one in memory; if a masked one was stored just beside it
DIVIDES = frozenset(("divide", "sqrt", "reciprocal"))
FUNCTIONS = frozenset((
    "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cbrt", "cos", "cosh", "exp", "exp2",
    "expm1", "hypot", "log", "log10", "log1p", "log2", "logaddexp", "normal_cdf", "power", "sigmoid", "sin", "sinh",
    "softplus", "tan", "tanh", "uniform_at",
))  # fmt: skip


def fitting(lanes: int, width: int, adds_beside: bool) -> int:
    """Return how many lanes go with short rows.

    A load that overlaps a masked store before it waits for that, 20 cycles: where sums in memory lie side by side,
    fewer lanes that no row leaves a part of may take less time.

    Args:
        lanes: of the longest vectors.
        width: columns of a row.
        adds_beside: whether the sums of neighbouring rows are added to, one after the other.
    """
    if adds_beside:
        every = [1 << i for i in reversed(range(lanes.bit_length()))]
        return min(every, key=lambda n: width // n * ADDED + bool(width % n) * WAITED)
    return min(lanes, 1 << (width - 1).bit_length())


def stands_better(lines: Sequence[Line], operands: Sequence[Operand], stored: Sequence[Line], width: int) -> bool:
    """Tell whether vectors of neighbouring rows, which are gathered, take less time than short rows one after another.

    They do where much is computed of each row's sums, and rows are very short.

    Args:
        lines: what is computed.
        operands: what they read is among them.
        stored: lines whose values go to memory.
        width: columns of a row.
    """
    read = {number for line in lines for word, number in line.reads if word == "o"}
    every = [operands[i] for i in read if operands[i].level == "full"]
    gathered = sum("0" not in (x.rows, x.columns) for x in every)  # others are one number for all lanes or columns
    scattered = sum(line.level == "full" for line in stored)
    alone = SUM * sum(x.reduces == "columns" for x in lines)
    alone += sum(cost_of(x) for x in lines if x.level == "row" and not x.reduces)
    return width * (GATHER * gathered + SCATTER * scattered) < alone


def calls_functions(lines: Sequence[Line]) -> bool:
    """Tell whether functions are computed of what a row has one of: it pays to wait for the rows beside it."""
    return any(cost_of(x) == FUNCTION for x in lines if x.level == "row" and not x.reduces)


def cost_of(line: Line) -> int:
    """Cycles for an operation on one number; those that vectors do in one instruction hardly take any."""
    if line.name in DIVIDES or (line.name == "power" and line.reads[1][0] == "c"):
        return DIVISION
    return FUNCTION if line.name in FUNCTIONS or line.name.startswith(PREFIX) else 0
