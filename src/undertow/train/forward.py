"""The model alone, compiled: what it gives for rows of inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from undertow import trees
from undertow.errors import UndertowError
from undertow.trace import trace_function

if TYPE_CHECKING:
    from undertow.compile.function import Compiled
    from undertow.trace.outside import Marks, Outside

Array = NDArray[Any]
CHUNK = 4096  # rows at a time
WORTH_IT = 256  # fewer rows are left to NumPy, which needs no plan
KEPT = 8  # programs, each of which has memory for all it computes of its number of rows


class _Known(NamedTuple):
    """A compiled model, and what it reads from outside: where, what was there, and the values, which stay alive."""

    around: Outside
    marks: Marks
    held: list[Any]
    compiled: Compiled | None


class Forward:
    """A model's outputs, by a compiled program for each number of rows; by NumPy where the model does not compile."""

    def __init__(self) -> None:
        self.known: dict[Any, _Known] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Forward, ()  # programs hold addresses of this process

    def __call__(self, model: Any, X: Array) -> Array:
        """Compute the outputs for X (m, …), as a model gives them that does not train."""
        with np.errstate(all="ignore"):
            if len(X) < WORTH_IT:
                return np.asarray(model(X))
            parts = [self._apply(model, X[first : first + CHUNK]) for first in range(0, len(X), CHUNK)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _apply(self, model: Any, X: Array) -> Array:
        from undertow.train.derive import describe_leaf, functions_of, numbers_of
        from undertow.train.outside import outside_of_model

        leaves, _, structure = trees.flatten_with_key(model)
        numbers = numbers_of(leaves)
        key = structure, functions_of(leaves), tuple(map(describe_leaf, numbers)), X.shape[1:], X.dtype
        known = self.known.get(key)
        around = outside_of_model(model) if known is None else known.around
        now = around.now()[0]
        if known is None or known.marks != now:  # what it reads from outside is a constant of its program
            compiled = self._compile(model, X)
            known = self.known[key] = _Known(around, *around.settle(now), compiled)
        compiled = known.compiled
        if compiled is None:
            return np.asarray(model(X))
        sizes = {symbol: len(X) for symbol in compiled.graph.symbols()}
        outputs = np.asarray(compiled([*numbers, X], sizes)[0])
        for old in list(compiled.programs)[:-KEPT]:
            compiled.programs.pop(old, None)
        return outputs

    def _compile(self, model: Any, X: Array) -> Compiled | None:
        """The compiled model; None where it cannot be traced, or holds for one number of rows only."""
        from undertow.compile.function import Compiled  # a process that predicts a few rows does without
        from undertow.simplify import simplify

        try:
            graph = simplify(trace_function(lambda model, X: model(X), (model, X), batch=[1]).graph, final=True).graph
            return Compiled(graph, "numpy") if graph.symbols() and len(graph.outputs) == 1 else None
        except UndertowError:
            return None
