"""Branches beside one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, ShapeError
from undertow.graph import show_shape
from undertow.nn.containers import check_sum, read_item
from undertow.nn.layer import Container, LayerShapeError, gives, keeps_width, show_item, takes
from undertow.nn.mode import call_inner
from undertow.nn.registry import register_layer
from undertow.primitives import shape_of


@register_layer
@dataclass(eq=False, repr=False, init=False)
class Parallel(Container):
    """Branches that are given the same x; what they give is put side by side or added.

    Args:
        items: the branches: layers, functions of one array, or names of activations.
        combine: ``"concat"`` puts their columns side by side, ``"add"`` adds them.

    Raises:
        ShapeError: ``Parallel: branch 1, Dense(4, 8), takes 4 columns, but branch 2, Dense(5, 8), takes 5. …``
        ArgumentError: ``Parallel: combine is 'sum'. Give 'concat' or 'add'.``, or no branch at all.

    Source: Szegedy et al., Going deeper with convolutions, CVPR 2015, section 4.

    Example:
        >>> from undertow.nn import Dense
        >>> Parallel("tanh", "identity")(np.array([[0.0, 1.0]])).round(2)
        array([[0.  , 0.76, 0.  , 1.  ]])
        >>> Parallel(Dense(4, 8), Dense(4, 8, bias=False), combine="add")
        Parallel(Dense(4, 8), Dense(4, 8), combine='add')
    """

    layers: tuple[Any, ...]
    combine: str

    joins = True

    def __init__(self, *items: Any, combine: str = "concat", layers: Any = ()) -> None:
        self.combine = combine
        self.layers = tuple(read_item(self, item) for item in (*items, *layers))
        if not isinstance(combine, str) or combine not in ("concat", "add"):
            raise ArgumentError(f"Parallel: combine is {combine!r}. Give 'concat' or 'add'.")
        if not self.layers:
            raise ArgumentError("Parallel: it has no branches. Give it layers, functions or names of activations.")
        self._check_agreement("takes", [takes(layer) for layer in self.layers])
        if combine == "add":
            self._check_agreement("gives", [gives(layer, self.takes()) for layer in self.layers])

    def __repr__(self) -> str:
        options = [] if self.combine == "concat" else [f"combine={self.combine!r}"]
        return f"{type(self).__name__}({', '.join([*map(show_item, self.layers), *options])})"

    def _check_agreement(self, verb: str, found: list[int | None]) -> None:
        """ShapeError unless all branches that say so take, or give, the same number of columns."""
        known = [(number, width) for number, width in enumerate(found, 1) if width is not None]
        for number, width in known:
            first, wanted = known[0]
            if width != wanted:
                remedy = "" if verb == "takes" else ', or use combine="concat"'
                raise ShapeError(
                    f"Parallel: branch {first}, {show_item(self.layers[first - 1])}, {verb} {wanted} columns, but "
                    f"branch {number}, {show_item(self.layers[number - 1])}, {verb} {width}. "
                    f"Let it {verb.removesuffix('s')} {wanted}{remedy}."
                )

    def __call__(self, x: Any) -> Any:
        """Compute what the branches give for x (m, …), side by side or added."""
        try:
            parts = [call_inner(path, layer, x) for path, layer in self.inner()]
        except LayerShapeError as error:
            error.number_within(self)
            raise
        shapes = [shape_of(part) for part in parts]
        if self.combine == "concat":
            if any(not shape or shape[:-1] != shapes[0][:-1] for shape in shapes):
                raise ShapeError(
                    f"{self!r}: its branches give {', '.join(map(show_shape, shapes))}: only their columns may differ. "
                    "Give all the same leading sizes."
                )
            h = np.concatenate(parts, axis=-1)
            return h
        check_sum(self, shapes)
        h = parts[0]
        for part in parts[1:]:
            h = h + part
        return h

    @property
    def keeps_width(self) -> bool:
        """Whether branches are added that each keep the width."""
        return (self.combine == "add" or len(self.layers) == 1) and all(map(keeps_width, self.layers))

    def inner(self) -> list[tuple[str, Any]]:
        """List the branches."""
        return [(f"layers[{i}]", layer) for i, layer in enumerate(self.layers)]

    def takes(self) -> int | None:
        """Return how many columns the branches take."""
        return next((taken for taken in map(takes, self.layers) if taken is not None), None)

    def gives(self, width: int | None) -> int | None:
        """Return how many columns the branches give together."""
        width = self.takes() if width is None else width
        found = [gives(layer, width) for layer in self.layers]
        if self.combine == "add":
            return next((given for given in found if given is not None), None)
        return sum(x for x in found if x is not None) if None not in found else None

    def summary(self, input_shape: Any = None) -> Any:
        """Lay out the layers with shapes, parameters and costs, see `undertow.nn.summary`."""
        from undertow.nn.summary import summary

        return summary(self, input_shape)
