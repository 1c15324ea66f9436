"""A penalty on the parameters that a loss of one's own adds, and what it takes from what could be learned."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow import trees
from undertow.flow.record import Flow
from undertow.flow.restraints import FACTORS
from undertow.graph import INPUT, Graph, Node, ancestors, evaluate
from undertow.train.derive import numbers_of, put_numbers

Array = NDArray[Any]
BATCHES: Final = 16  # of the last ones, by which it is judged


class Penalty:
    """The terms of a loss that are made of its parameters alone.

    Attributes:
        line: where the first of them is written; ``""`` where there is none, or it is not known.
    """

    def __init__(self) -> None:
        self.line = ""
        self._graph: Graph | None = None
        self._given: list[Any] = []
        self._terms: list[tuple[float, Node]] = []
        self.begin = 0.0

    def read(self, graph: Graph, numbers: list[Any], params: Sequence[Node]) -> None:
        """Find the terms in the program.

        Args:
            graph: the forward pass of the loss.
            numbers: what goes into it, the parameters first.
            params: the inputs that are trained.
        """
        trained = set(params)
        self._terms = []
        for sign, node in _terms(graph.outputs[0]):
            inputs = {x for x in ancestors([node]) if x.op is INPUT}
            if inputs and inputs <= trained:
                self._terms.append((sign, node))
        if self._terms:
            self._graph, self._given = graph, list(numbers[len(params) :])
            self.line = self._terms[0][1].line or ""
            self.begin = self.of(numbers[: len(params)])

    def of(self, numbers: Sequence[Any]) -> float:
        """Return what the terms add to the loss with these parameters; 0 where there are none."""
        if self._graph is None:
            return 0.0
        values = evaluate(self._graph, [*numbers, *self._given], [node for _, node in self._terms])
        return float(sum(sign * float(x) for (sign, _), x in zip(self._terms, values, strict=True)))

    def told(self, loss: Callable[..., Any], params: Any, batches: Collection[Sequence[Any]]) -> dict[str, Any]:
        """Measure what the terms cost, and what larger weights would do to the rest of the loss.

        Args:
            loss: a function (params, …) → one number.
            params: as they are now.
            batches: what else it was given, in the last calls.

        Returns:
            ``loss`` (the rest, in the last batches) and ``nothing`` (the same with weights of 0), the terms at the
            ``begin`` and the ``end``, the ``factor`` of all weights for which the rest is ``least``, by how many
            deviations that is less (``sure``), ``push`` and ``pull`` (by how much the rest falls, and the terms rise,
            for weights that grow e-fold), and the ``line``; nothing where there are no terms, or the rest is not known.

        Source: derived here; that a penalty balances the gradient at a minimum: Goodfellow et al., Deep Learning, 2016,
            section 7.1.1.

        Example:
            >>> Penalty().told(lambda w, X: 1.0, 1.0, [(np.ones(2),)])
            {}
        """
        if self._graph is None:
            return {}
        leaves, rebuild = trees.flatten(params)
        numbers = numbers_of(leaves)
        with suppress(Exception), np.errstate(all="ignore"):  # of a user's function

            def rest(factor: float) -> tuple[Array, float]:
                grown = [x * np.asarray(factor, np.asarray(x).dtype) if np.ndim(x) > 1 else x for x in numbers]
                cost, made = self.of(grown), rebuild(put_numbers(leaves, grown))
                return np.array([float(loss(made, *args)) - cost for args in list(batches)[-BATCHES:]]), cost

            (now, end), small = rest(1.0), FACTORS[0]
            tried = {factor: rest(factor) for factor in FACTORS}
            factor = min(tried, key=lambda x: float(np.nan_to_num(tried[x][0].mean(), nan=np.inf)))
            fall = now - tried[factor][0]
            error = float(fall.std(ddof=1) / math.sqrt(len(fall))) if len(fall) > 1 else 0.0
            return {
                "loss": float(now.mean()), "nothing": float(rest(0.0)[0].mean()), "begin": self.begin, "end": end,
                "factor": factor, "least": float(tried[factor][0].mean()),
                "sure": float(fall.mean()) / max(error, 1e-300),
                "push": float((now - tried[small][0]).mean()) / math.log(small),
                "pull": (tried[small][1] - end) / math.log(small), "line": self.line,
            }  # fmt: skip
        return {}


def loss_of_nothing(flow: Flow) -> float | None:
    """Return the loss of a loop of one's own with a last layer of 0, without its penalties.

    Args:
        flow: the record.

    Returns:
        The loss; None where targets are no classes, so that 0 is not what a network begins with that knows nothing, or
        where it is not known.

    Source: derived here.

    Example:
        >>> loss_of_nothing(Flow.empty(()))
    """
    classes = (flow.facts.get("target") or {}).get("kind") == "classes"
    told = (flow.facts.get("penalty") or {}).get("nothing", flow.facts.get("at_zero", math.nan))
    return float(told) if classes and 0 < told < math.inf else None


def _terms(node: Node, sign: float = 1.0) -> list[tuple[float, Node]]:
    """What a value is a sum of."""
    found, waiting = list[tuple[float, Node]](), [(sign, node)]
    while waiting:
        sign, node = waiting.pop()
        name = getattr(node.op, "name", "")
        if name in ("add", "subtract") and all(not x.spec.shape for x in node.inputs):
            a, b = node.inputs
            waiting += [(sign if name == "add" else -sign, b), (sign, a)]
        elif name == "negative" and node.inputs:
            waiting.append((-sign, node.inputs[0]))
        else:
            found.append((sign, node))
    return found
