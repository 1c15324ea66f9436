"""Which sizes a written backward pass holds for alone.

A program for any number of rows divides by ``m``, which it reads off an array. What else a size led to stands in it as
a number: ``/ 9`` for the mean of nine rows of a second array, ``[:-1]`` of none. With arrays of other sizes such a
program would run and be wrong. So the function is traced once more for each of its sizes, with another in its place:
where another program comes of it, the size is one that the program must refuse to differ from.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from undertow import trees
from undertow.graph import INPUT, Node
from undertow.trace import is_array_like
from undertow.trace.draws import undrawn

if TYPE_CHECKING:
    from undertow.api import Backprop

MUCH = 20_000  # nodes that are derived again at most, to tell sizes apart
FEW = 3  # parameters that are asked for their sizes although the data have the same


def written_sizes(program: Backprop) -> dict[int, tuple[int, ...]]:
    """Find the axes whose sizes a program was written for.

    Args:
        program: the backward pass.

    Returns:
        Axes by the position of the input among the graph's, where there are any.
    """
    shapes = [node.spec.shape for node in program.graph.inputs]
    sizes = sorted({size for shape in shapes for size in shape if isinstance(size, int)})
    rows = {size for i, axis in program.traced.rows.items() if isinstance(size := shapes[i][axis], int)}
    wanted = set(sizes)
    if not sizes:
        return {}
    own = _codes(program)
    if _codes_of_sizes(program, sizes) == own:
        wanted = rows
    elif len(program.graph.nodes) * len(sizes) <= MUCH:
        codes = _codes_of_sizes(program, [])  # what it reads from outside may be something else by now
        if codes and codes != own and _codes_of_sizes(program, sizes) == codes:
            wanted = rows
        else:
            wanted = rows | {x for x in sizes if x in rows or _codes_of_sizes(program, [x]) != codes} or wanted
    given = _differentiated(program)
    found: dict[int, set[int]] = {}
    for wish in wanted:
        places = [(i, axis) for i, shape in enumerate(shapes) for axis, size in enumerate(shape) if size == wish]
        data = [(i, axis) for i, axis in places if i not in given]
        # Sixty layers of one width need not be asked, each for its own: of another width they do not fit the data.
        for i, axis in data if data and len(places) - len(data) > FEW else places:
            found.setdefault(i, set()).add(axis)
    return {i: tuple(sorted(axes)) for i, axes in sorted(found.items())}


def _differentiated(program: Backprop) -> set[int]:
    """The positions of the inputs that a program differentiates by."""
    places = program.wrt if isinstance(program.wrt, tuple) else (program.wrt,)
    nodes = [x for place in places for x in program.traced.arguments[place] if isinstance(x, Node)]
    return {i for i, x in enumerate(program.traced.graph.inputs) if any(x is y for y in nodes)}


def _codes(program: Backprop) -> list[str]:
    from undertow import emit

    return emit.write_codes(program.graph, program.signature, program.wrt, title=program.graph.title)


def _codes_of_sizes(program: Backprop, changed: Collection[int]) -> list[str]:
    """Write the backward pass that a function has where some of its sizes are others; nothing where it has none."""
    from undertow import api

    leaves = [leaf for arg in program.args for leaf in trees.flatten(arg)[0] if is_array_like(leaf)]
    taken = {size for leaf in leaves for size in np.shape(leaf)}
    others = {size: _next(size, taken) for size in changed}
    args = [
        trees.flatten(arg)[1]([_of_size(leaf, x, others) for leaf, x in zip(trees.flatten(arg)[0], row, strict=True)])
        for arg, row in zip(program.args, program.traced.arguments, strict=True)
    ]
    try:
        with warnings.catch_warnings(), undrawn(program.function):
            warnings.simplefilter("ignore")  # the first trace has warned
            return _codes(api.backprop(program.function, *args, wrt=program.wrt))
    except Exception:  # whatever a function says to other sizes: it is no program for them
        return []


def _next(size: int, taken: set[int]) -> int:
    """The next size that no axis has; each is given once."""
    while size in taken:
        size += 1
    taken.add(size)
    return size


def _of_size(leaf: Any, node: Any, others: Mapping[int, int]) -> Any:
    """An array of zeros with other sizes; what is no array stays."""
    if not isinstance(node, Node) or node.op is not INPUT or not is_array_like(leaf) or not np.ndim(leaf):
        return leaf
    shape = tuple(
        others.get(size, size) if traced == size else size
        for size, traced in zip(np.shape(leaf), node.spec.shape, strict=True)
    )
    return np.broadcast_to(np.zeros((), node.spec.dtype), shape)
