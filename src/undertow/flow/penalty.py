"""A penalty on the parameters that a loss of one's own adds, and what it takes from what could be learned."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow import trees
from undertow.flow.program import made_of
from undertow.flow.record import Flow
from undertow.flow.restraints import FACTORS
from undertow.graph import CONSTANT, INPUT, Graph, Node, ancestors, evaluate
from undertow.trace import is_array_like
from undertow.train.derive import numbers_of, put_numbers

Array = NDArray[Any]
BATCHES: Final = 16  # of the last ones, by which it is judged


@dataclass(frozen=True)
class Term:
    """One of the numbers that a loss is a sum of.

    Attributes:
        node: that number.
        factor: by which it is multiplied on its way to the loss, as far as that is known from the program.
        given: numbers of the batch that multiply it (True) or divide it (False), too.
    """

    node: Node
    factor: float = 1.0
    given: tuple[tuple[Node, bool], ...] = ()


class Penalty:
    """The terms of a loss that are made of its parameters alone, also within a mean or a quotient.

    They cost least where these are 0, as the logarithm of a deviation that is learned does not.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._given: list[Any] = []
        self._terms: list[Term] = []
        self._begin: list[float] = []

    def read(self, graph: Graph, numbers: list[Any], params: Sequence[Node]) -> None:
        """Find the terms in the program.

        Args:
            graph: the forward pass of the loss.
            numbers: what goes into it, the parameters first.
            params: the inputs that are trained.
        """
        self._terms = _terms(graph.outputs[0], set(params))
        if self._terms:
            self._graph, self._given = graph, list(numbers[len(params) :])
            self._begin = self._costs(numbers[: len(params)], self._given)

    def _costs(self, numbers: Sequence[Any], given: Sequence[Any]) -> list[float]:
        """What each term adds to the loss with these parameters, for what belongs to a batch."""
        assert self._graph is not None
        wanted = [x for term in self._terms for x in (term.node, *(node for node, _ in term.given))]
        found = list[float]()
        with np.errstate(all="ignore"):
            values = (np.float64(x) for x in evaluate(self._graph, [*numbers, *given], wanted))
            for term in self._terms:
                cost = term.factor * next(values)
                for _, multiplies in term.given:
                    cost = cost * next(values) if multiplies else cost / next(values)
                found.append(float(cost))
        return found

    def _are_least_at_0(self, numbers: Sequence[Any], given: Sequence[Any]) -> list[bool]:
        """Whether each term costs least with parameters of 0: what holds weights, and no logarithm of a deviation."""
        turned, zero = ([x * np.asarray(f, np.asarray(x).dtype) for x in numbers] for f in (-1.0, 0.0))
        costs = zip(*(self._costs(x, given) for x in (numbers, turned, zero)), strict=True)
        return [bool(min(now, other) >= least) for now, other, least in costs]

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
            deep = max(map(np.ndim, numbers)) > 1  # else weights are vectors, as of a linear function
            judged = list(batches)[-BATCHES:]  # each with what multiplies the terms there, such as a strength
            given = [[x for x in trees.flatten(tuple(args))[0] if is_array_like(x)] for args in judged]
            held = self._are_least_at_0(numbers, self._given)
            if not any(held):
                return {}

            def rest(factor: float) -> tuple[Array, float]:
                grown = [x * np.asarray(factor, np.asarray(x).dtype) if np.ndim(x) > deep else x for x in numbers]
                costs = np.array([sum(compress(self._costs(grown, x), held)) for x in given])
                made = rebuild(put_numbers(leaves, grown))
                return np.array([float(loss(made, *args)) for args in judged]) - costs, float(costs.mean())

            (now, end), small = rest(1.0), FACTORS[0]
            tried = {factor: rest(factor) for factor in FACTORS}
            factor = min(tried, key=lambda x: float(np.nan_to_num(tried[x][0].mean(), nan=np.inf)))
            fall = now - tried[factor][0]
            error = float(fall.std(ddof=1) / math.sqrt(len(fall))) if len(fall) > 1 else 0.0
            return {
                "loss": float(now.mean()), "nothing": float(rest(0.0)[0].mean()),
                "begin": sum(compress(self._begin, held)), "end": end,
                "factor": factor, "least": float(tried[factor][0].mean()),
                "sure": float(fall.mean()) / max(error, 1e-300),
                "push": float((now - tried[small][0]).mean()) / math.log(small),
                "pull": (tried[small][1] - end) / math.log(small),
                "line": next(compress(self._terms, held)).node.line or "",
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


def _terms(loss: Node, params: Collection[Node]) -> list[Term]:
    """The numbers that are made of parameters alone and added to a loss; of a mean those that are the same for all."""
    nodes = ancestors([loss])
    trained, arrays = made_of(nodes, list(params)), made_of(nodes, [x for x in params if x.spec.shape])
    # rows may also be written into the loss
    rows = [x for x in nodes if (x.op is INPUT and x not in params) or (x.op is CONSTANT and x.spec.shape)]
    of_batch = made_of(nodes, rows)
    found, waiting = list[Term](), [Term(loss)]
    while waiting:
        term = waiting.pop()
        node, name = term.node, getattr(term.node.op, "name", "")
        if node not in of_batch:
            found += [term] if node in arrays and not node.spec.shape else []
        elif name in ("add", "subtract"):
            a, b = node.inputs
            sign = 1 if name == "add" else -1
            waiting += [replace(term, node=b, factor=sign * term.factor), replace(term, node=a)]
        elif name == "negative":
            waiting.append(replace(term, node=node.inputs[0], factor=-term.factor))
        elif name in ("multiply", "divide"):
            a, b = node.inputs
            a, b = (b, a) if name == "multiply" and b in trained else (a, b)
            if b not in trained and not b.spec.shape:
                waiting.append(replace(term, node=a, given=(*term.given, (b, name == "multiply"))))
        elif name in ("sum", "mean") and not node.spec.shape:
            shape = node.inputs[0].spec.shape if name == "sum" else ()
            size = math.prod(n for n in shape if isinstance(n, int))  # of what is the same for all
            waiting.append(replace(term, node=node.inputs[0], factor=size * term.factor))
    return found
