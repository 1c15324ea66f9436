"""What is known of a row, and of one place in it, while a kernel is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from undertow.compile.ir import Value


@dataclass
class Body:
    """Values known at one place."""

    full: dict[int, Value] = field(default_factory=dict)
    loaded: dict[int, Value] = field(default_factory=dict)


@dataclass
class Row:
    """A row that is being written.

    Attributes:
        number: which row.
        sources: where each operand's elements of this row begin.
        pointers: the same within the outer column axes.
        of_row: the operands of which a row has one element.
        values: what is known of the row, by line.
        sums: what is being added up over its columns, by line.
        scratch: where its saved values lie.
    """

    number: Value
    sources: list[Value]
    scratch: Value
    pointers: list[Value] = field(default_factory=list)
    of_row: dict[int, Value] = field(default_factory=dict)
    values: dict[int, Value] = field(default_factory=dict)
    sums: dict[int, Any] = field(default_factory=dict)
