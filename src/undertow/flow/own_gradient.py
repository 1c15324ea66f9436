"""The gradient of a loss of one's own, with what activations make of the values that are watched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from undertow import trees
from undertow.compile.function import NAMES, outside_of
from undertow.custom import watched_values
from undertow.flow.products import Product, find_again, find_products
from undertow.graph import ancestors
from undertow.nn import ACTIVATIONS
from undertow.trace import Tracer, is_array_like
from undertow.trace.outside import Outside
from undertow.train.derive import Gradient, Gradients, Outcome

BEHIND: Final = ".h"  # ends the path of what the activation after a watched value gives


class OwnGradient(Gradient):
    """The gradient of a loss of one's own, which sees what activations make of the values that are watched, too.

    Attributes:
        activations: their names, by those of the values.
        known: the programs, by the objects among the arguments and what the loss reads from outside.
        outsides: where it reads from, by these objects.
        products: the layers that were found where nothing is watched, by their names.
    """

    scalars = True
    activations: dict[str, str]
    products: dict[str, Product]

    def __init__(self, loss: Callable[..., Any]) -> None:
        super().__init__(lambda params, args, y: self.observed(params, *args), observe=True)
        self.told = loss
        self.activations, self.products = {}, {}
        self.known: dict[Any, tuple[dict[Any, Any], list[Any]]] = {}
        self.outsides: dict[tuple[int, ...], Outside] = {}

    def program_for(self, leaves: list[Any], rebuild: trees.Rebuild, X: Any, y: Any) -> Gradients | None:
        """Return the backward pass for arguments like these, and for what the loss reads from outside now."""
        given = [x for x in (*leaves, *trees.flatten(X)[0]) if not is_array_like(x)]
        objects = [x for x in given if not isinstance(x, NAMES)]
        around, signature = outside_of(self.told, objects, self.outsides), tuple(map(id, objects))
        outside, held = around.now()
        ready = self.known.get((signature, outside))
        if ready is None:
            outside = around.check(self.known, (signature, outside))
        self.programs = {} if ready is None else ready[0]
        n_programs = len(self.programs)
        program = super().program_for(leaves, rebuild, X, y)
        if len(self.programs) > n_programs:
            outside, held = around.settle(outside)
            self.known[signature, outside] = self.programs, held
        return program

    def observed(self, params: Any, *args: Any) -> Any:
        """Compute the loss; while it is traced, the layers that were found are observed as if they were watched."""
        loss, seen = self.told(params, *args), watched_values.get()
        if self.products and seen is not None and isinstance(loss, Tracer):
            nodes = [x.node for x in trees.flatten(params)[0] if isinstance(x, Tracer)]
            found = find_products(loss.node, ancestors([loss.node]), nodes, [""] * len(nodes))
            seen.extend((name, Tracer(x.node, loss.tape)) for name, x in find_again(self.products, found).items())
        return loss

    def of_leaves(self, leaves: list[Any], rebuild: trees.Rebuild, X: Any, y: Any) -> Outcome:
        """Compute the loss, its gradients and what is observed."""
        outcome = super().of_leaves(leaves, rebuild, X, y)
        for name, product in self.products.items():
            if name in outcome.seen:
                outcome.seen[name] = [product.by_examples(x) for x in outcome.seen[name]]
        for name, activation in self.activations.items():
            if name in outcome.seen:
                outcome.seen[name + BEHIND] = [ACTIVATIONS[activation](outcome.seen[name][0]), None]
        return outcome
