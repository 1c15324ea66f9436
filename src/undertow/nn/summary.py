"""A model at a glance: its layers with their shapes, parameters and costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from undertow import trees
from undertow.api import simplified_gradient
from undertow.errors import ArgumentError, ShapeError, UndertowError
from undertow.graph import CONSTANT, INPUT, Dim, Graph, Node, Shape, show_shape, total
from undertow.nn.layer import Container, is_layer, show_item, takes
from undertow.nn.mode import training
from undertow.nn.parameters import trained_leaves
from undertow.nn.structure import initialize
from undertow.trace import trace_function

if TYPE_CHECKING:
    from rich.table import Table

ROWS = 2  # of the batch on which shapes are found
MOVES = {
    "astype", "broadcast_to", "concatenate", "expand_dims", "flip", "getitem", "identity", "permute", "reshape",
    "share", "spread", "squeeze", "stop_gradient", "tile", "transpose",
}  # fmt: skip
STEPS = {"softmax": 4, "log_softmax": 4, "logsumexp": 4, "sigmoid": 3, "softplus": 3, "var": 3, "std": 4}


@dataclass
class SummaryRow:
    """One layer, container or function of a model.

    Attributes:
        name: what people call it.
        depth: in how many containers it stands.
        container: whether it is one; its numbers are those of its layers together.
        output: the shape that it gives, with its batch axis, ``(m, 128)``.
        trained: how many of its numbers gradients train.
        not_trained: how many they do not: running statistics.
        forward: floating-point operations of the forward pass, for each example; None where they are not known.
        backward: those of the backward pass, by parameters and input.
        activations: numbers in its output, for each example.
    """

    name: str
    depth: int
    container: bool
    output: str = ""
    trained: int = 0
    not_trained: int = 0
    forward: float | None = 0.0
    backward: float | None = 0.0
    activations: int = 0


@dataclass(repr=False)
class Summary:
    """The layers of a model with their costs; made by `summary`. Printed, it is a table.

    Attributes:
        rows: the layers, containers before what they hold.
        input: the shape of x, ``(m, 64)``.
        dtype: of the parameters.
    """

    rows: list[SummaryRow] = field(default_factory=list)
    input: str = ""
    dtype: Any = np.float32

    def _total(self, name: str) -> Any:
        found = [getattr(row, name) for row in self.rows if not row.container]
        return None if None in found else sum(found)

    @property
    def trained(self) -> int:
        """How many numbers are trained."""
        return int(self._total("trained"))

    @property
    def not_trained(self) -> int:
        """How many numbers the model holds besides."""
        return int(self._total("not_trained"))

    @property
    def parameters(self) -> int:
        """How many numbers the model holds in all."""
        return self.trained + self.not_trained

    @property
    def forward(self) -> float | None:
        """Floating-point operations of the forward pass, for each example; None where they are not known."""
        found: float | None = self._total("forward")
        return found

    @property
    def backward(self) -> float | None:
        """Floating-point operations of the backward pass, for each example."""
        found: float | None = self._total("backward")
        return found

    @property
    def parameter_bytes(self) -> int:
        """Memory for what the model holds."""
        return self.parameters * np.dtype(self.dtype).itemsize

    @property
    def gradient_bytes(self) -> int:
        """Memory for the gradient by what is trained."""
        return self.trained * np.dtype(self.dtype).itemsize

    @property
    def optimizer_bytes(self) -> int:
        """Memory for the state of Adam: two numbers for each that is trained."""
        return 2 * self.gradient_bytes

    @property
    def activation_bytes(self) -> int:
        """Memory for the outputs of all layers, for each example, if each is kept for the backward pass."""
        return int(self._total("activations")) * np.dtype(self.dtype).itemsize

    def table(self) -> Table:
        """Lay out the layers as a table for rich."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=True)
        ends = [
            "total",
            "",
            _count(self.trained),
            _count(self.not_trained),
            _short(self.forward),
            _short(self.backward),
        ]
        heads = ["layer", "output", "trained", "not trained", "forward", "backward"]
        for head, end in zip(heads, ends, strict=True):
            table.add_column(head, end, justify="left" if head in ("layer", "output") else "right", no_wrap=True)
        table.add_row("input", self.input, "", "", "", "")
        for row in self.rows:
            counts = [_count(row.trained), _count(row.not_trained), _short(row.forward), _short(row.backward)]
            table.add_row(Text("  " * row.depth + row.name), row.output, *([""] * 4 if row.container else counts))
        return table

    def notes(self) -> str:
        """Say what the table leaves open."""
        return (
            f"Memory: parameters {_bytes(self.parameter_bytes)}, their gradient "
            f"{_bytes(self.gradient_bytes)}, Adam's state {_bytes(self.optimizer_bytes)}, activations "
            f"{_bytes(self.activation_bytes)} an example.\nforward, backward: floating-point operations an example."
        )

    def __rich_console__(self, console: Any, options: Any) -> Any:
        yield self.table()
        yield self.notes()

    def __str__(self) -> str:
        import io

        from rich.console import Console

        width = max([len(row.name) + 2 * row.depth + len(row.output) for row in self.rows], default=0) + 60
        console = Console(file=io.StringIO(), width=max(width, 100), color_system=None, force_jupyter=False)
        console.print(self.table())
        lines = [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
        return "\n".join([*(line for line in lines if line), self.notes()])

    __repr__ = __str__


def summary(model: Any, input_shape: Any = None) -> Summary:
    """Lay out a model's layers with output shapes, parameters, operations and memory.

    Shapes are found by applying the model to two examples of zeros, operations by tracing each layer as it trains:
    a product of matrices counts 2 for each pair of numbers that meet, other functions 1 for each number, moving
    none. The sums that containers take themselves are left out.

    Args:
        model: a model of layers; parameters that are None are filled in a copy.
        input_shape: of one example, without the batch axis: ``64``, ``(28, 28)``; None where the first layer tells it.

    Returns:
        The summary; printed, it is a table.

    Raises:
        ArgumentError: ``summary: how many columns x has is not known. Give input_shape, such as 64.``
        ShapeError: layers that do not fit x.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense, Sequential
        >>> made = summary(Sequential(Dense(64, 10), "softmax"))
        >>> made.parameters, made.rows[1].output, made.rows[1].forward, made.rows[1].backward
        (650, '(m, 10)', 1290.0, 2570.0)
    """
    shape = _read_shape(model, input_shape)
    found = [getattr(leaf, "dtype", None) for leaf in trees.flatten(model)[0]]
    dtype = next((x for x in found if x in (np.float32, np.float64)), np.dtype(np.float32))
    made = Summary(input=_show_batch((ROWS, *shape)), dtype=dtype)
    observed = _observe(initialize(model, 0, dtype), made, 0, {})
    with np.errstate(all="ignore"):
        observed(np.zeros((ROWS, *shape), dtype))
    return made


def _read_shape(model: Any, shape: Any) -> tuple[int, ...]:
    """The shape of one example."""
    if shape is None:
        shape = takes(model)
        if shape is None:
            raise ArgumentError("summary: how many columns x has is not known. Give input_shape, such as 64.")
    sizes = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    if any(isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1 for size in sizes):
        raise ArgumentError(
            f"summary: input_shape is {shape!r}. Give the sizes of one example, without the batch axis, such as 64 or "
            "(28, 28)."
        )
    return tuple(map(int, sizes))


def _observe(item: Any, made: Summary, depth: int, known: dict[Any, Any], path: str = "layers") -> Callable[[Any], Any]:
    """The same layer, which notes what it gives when it is called; ``known`` holds what equal layers cost."""
    opened = isinstance(item, Container)
    name = type(item).__name__ if opened else show_item(item)
    label = "" if path.startswith("layers") else f"{path}: "
    row = SummaryRow(label + name, depth, opened)
    made.rows.append(row)
    leaves = zip(trees.flatten(item)[0], trained_leaves(item), strict=True) if is_layer(item) else ()
    for leaf, trained in leaves:
        if trained:
            row.trained += np.size(leaf)
        elif not callable(leaf):
            row.not_trained += np.size(leaf)
    called = item
    if isinstance(item, Container):
        called = item.with_inner([_observe(layer, made, depth + 1, known, path) for path, layer in item.inner()])

    def observed(x: Any) -> Any:
        h = called(x)
        shape = np.shape(h)
        if not shape or shape[0] != len(x):
            raise ShapeError(f"{show_item(item)}: it makes {shape} of {len(x)} examples. Keep the batch axis first.")
        row.output, row.activations = _show_batch(shape), math.prod(shape[1:])
        if not opened:
            like = _like(item, x)
            costs = known[like] if like in known else _operations(item, x, h)
            row.forward, row.backward = known[like] = costs
        return h

    return observed


def _like(item: Any, x: Any) -> Hashable:
    """What layers have in common that cost the same: all but the numbers in them and in what they are given."""
    leaves = [leaf if callable(leaf) else (np.shape(leaf), np.asarray(leaf).dtype) for leaf in trees.flatten(item)[0]]
    flags = tuple(trained_leaves(item)) if is_layer(item) else ()
    found = trees.key_of(item), tuple(leaves), flags, np.shape(x), np.asarray(x).dtype
    try:
        hash(found)
    except TypeError:  # a function that cannot be hashed is like itself alone
        return object()
    return found


def _operations(item: Any, x: Any, h: Any) -> tuple[float | None, float | None]:
    """Floating-point operations of both passes for each example; None where a function cannot be traced."""

    def passed(layer: Any, x: Any, keys: Any, ct: Any) -> Any:
        with training(keys):
            return np.sum(layer(x) * ct)

    keys = np.arange(ROWS)
    try:
        traced = trace_function(passed, (item, x, keys, np.ones_like(h)), batch=[1, 2, 3])
        layer, inputs = traced.arguments[0], [node for node in traced.arguments[1] if isinstance(node, Node)]
        flags = trained_leaves(item) if is_layer(item) else [False]
        params = [node for node, free in zip(layer, flags, strict=False) if free and isinstance(node, Node)]
        forward = simplified_gradient(traced.graph, [])[0]
        both = simplified_gradient(traced.graph, [*params, *inputs])[0]
    except UndertowError:
        return None, None
    loss = 2.0 * math.prod(h.shape[1:])
    ahead = _cost(forward) - loss
    return max(ahead, 0.0), max(_cost(both) - loss - ahead, 0.0)


def _cost(graph: Graph) -> float:
    """Operations for each example."""
    symbolic = bool(graph.symbols())
    found = 0.0
    for node in graph.nodes:
        name = node.op.name
        if node.op in (INPUT, CONSTANT) or name in MOVES or not node.inputs:
            continue
        if name == "matmul":
            inner = node.inputs[0].spec.shape[-1:]
            found += 2 * _for_each((*node.spec.shape, *inner), symbolic)
        else:
            sizes = [_for_each(x.spec.shape, symbolic) for x in (node, *node.inputs)]
            found += STEPS.get(name, 1) * max(sizes)
    return found


def _for_each(shape: Shape, symbolic: bool) -> float:
    """How many numbers of this shape there are for each example."""
    size = total(shape)
    if isinstance(size, Dim):
        return float(size.count)
    return 0.0 if symbolic else size / ROWS


def _show_batch(shape: tuple[int, ...]) -> str:
    """A shape with m for its batch."""
    return show_shape((Dim("m"), *shape[1:]))


def _count(n: int) -> str:
    return f"{n:,}" if n else "–"


def _short(n: float | None) -> str:
    """A number of operations: 1,290, 3.4 M."""
    if not n:
        return "?" if n is None else "–"
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e5, "k")):
        if n >= limit:
            return f"{n / (limit if unit != 'k' else 1e3):.1f} {unit}"
    return f"{n:,.0f}"


def _bytes(n: int) -> str:
    """An amount of memory: 2.5 KiB."""
    for limit, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if n >= limit:
            return f"{n / limit:.1f} {unit}"
    return f"{n} bytes"
