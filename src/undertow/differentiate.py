"""Reverse-mode differentiation: the chain rule, from the output back to the inputs.

`backward` is all of it. What it reads the graph through decides what it makes: read as values, the
rules compute numbers; read as tracers, the same rules record a graph, which can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow import trees
from undertow.blocked import Blocked, leaves_out
from undertow.errors import ArgumentError, DTypeError, NonScalarError, UnsupportedError
from undertow.graph import CONSTANT, INPUT, Node, ancestors, show_shape
from undertow.keywords import explain_keywords
from undertow.trace import Trace, Tracer, argument_names, call_user, constant, describe_function, is_array_like
from undertow.trace.caught import warn_of_caught
from undertow.trace.chosen import check_function, check_positions, no_floats, refuse_arguments
from undertow.trace.crossed import warn_of_square_values
from undertow.trace.function import traced_leaves
from undertow.trace.independent import warn_of_independence
from undertow.trace.warned import at_user_line
from undertow.trace.where import check_plain

Read = Callable[[Node], Any]


def backward(
    outputs: Mapping[Node, Any], wrt: Sequence[Node], read: Read, done: Callable[[Node], None] | None = None
) -> list[Any]:
    """Propagate the cotangents of outputs back to ``wrt``; None where no path leads.

    Args:
        outputs: the nodes to differentiate (the loss alone, as a rule), each with its cotangent.
        wrt: the nodes to differentiate by.
        read: gives a node's value (then numbers are computed) or tracer (then a graph is built).
        done: is told of each node that no rule will read any more.
    """
    nodes, wanted = ancestors(outputs), set(wrt)
    active = set(wrt)  # the nodes that depend on wrt: no other gets a cotangent
    for node in nodes:
        if node.spec.dtype.kind == "f" and not active.isdisjoint(node.inputs):
            active.add(node)
    # 1. Start at the output.
    cts = {node: ct for node, ct in outputs.items() if node in active}
    found: dict[Node, Any] = {}
    sums: set[Node] = set()  # whose cotangent is a sum made here
    blocked = Blocked() if any(map(leaves_out, active)) else None
    # 2. Propagate backward: newest first, so that every use of a value comes before the value itself.
    for node in reversed(nodes):
        if node not in cts:
            continue
        ct = cts.pop(node)
        note_cotangent(ct, node)
        if node in wanted:
            found[node] = ct
            if active.isdisjoint(node.inputs):
                continue
        # 3. Apply the chain rule: each input gets the cotangent times the local derivative.
        flags = {"active": tuple(x in active for x in node.inputs)} if node.op.tells_active else {}  # type: ignore[attr-defined]
        args = [read(x) for x in node.inputs]
        for position, x in enumerate(node.inputs):
            rule = node.op.rule(position) if x in active else P.ZERO  # type: ignore[attr-defined]
            if rule is P.NOT_IMPLEMENTED:
                raise UnsupportedError(missing(node, position))
            if rule is P.ZERO or rule is P.NO_GRADIENT:
                continue
            share = rule(ct, read(node), *args, **node.params, **flags)  # type: ignore[operator]
            share = fit(share if blocked is None else blocked.guard(node, position, share, args), x)
            accumulate(cts, sums, x, share)
        if done is not None:
            done(node)
    return [found.get(node) for node in wrt]


def accumulate(cts: dict[Node, Any], sums: set[Node], x: Node, share: Any) -> None:
    """Add a share to the cotangent of a value: in place, once it is an array that was made here."""
    if x not in cts:
        cts[x] = share
    elif x in sums and type(cts[x]) is np.ndarray:
        cts[x] += share
    else:
        cts[x] = cts[x] + share
        sums.add(x)


def missing(node: Node, position: int) -> str:
    """Say which derivative is not written yet, and how to go on."""
    ufuncs = node.op.numpy  # type: ignore[attr-defined]
    name = P.name_of(ufuncs[0]) if ufuncs else node.op.name
    which = ("first", "second", "third")[position] if position < 3 else f"{position + 1}th"
    return (
        f"{node.line or 'your function'}: {name} has no derivative by its {which} argument yet. "
        f"Differentiate by the others only, with the {which} one a constant or in ut.stop_gradient."
    )


def fit(ct: Any, x: Node) -> Any:
    """Bring a cotangent to the shape and dtype of its value: sum over what was broadcast."""
    wanted, dtype, _ = x.spec
    if type(ct) is np.ndarray and ct.shape == wanted and ct.dtype == dtype:
        return ct
    spec = P.spec_of(ct)
    shape = spec.shape
    if shape != wanted:
        new = len(shape) - len(wanted)
        grown = tuple(i for i, size in enumerate(wanted, new) if size == 1 and shape[i] != 1) if new >= 0 else ()
        if new > 0:
            ct = P.sum_(ct, axis=tuple(range(new)), keepdims=False)
            grown = tuple(i - new for i in grown)
        if grown:
            ct = P.sum_(ct, axis=grown, keepdims=True)
        if P.shape_of(ct) != wanted:
            ct = P.broadcast_to(ct, shape=wanted)
    return ct if spec.dtype == dtype else P.astype(ct, dtype=dtype)


def note_cotangent(ct: Any, node: Node) -> None:
    """Remember whose cotangent this is, for the people who will read the graph."""
    if isinstance(ct, Tracer):
        ct.tape.origin = node
        if node.name and ct.node.ct_of is None and ct.node.name is None and ct.node.op is not CONSTANT:
            ct.node.ct_of, ct.node.watched = node.name, node.watched


# ---- what people call ----------------------------------------------------------------------------


@explain_keywords
def grad(f: Callable[..., Any], wrt: int | tuple[int, ...] = 0, *, has_aux: bool = False) -> Callable[..., Any]:
    """Make the function that computes the gradient of ``f``.

    Args:
        f: a NumPy function that returns one number.
        wrt: the position of the argument to differentiate by, or a tuple of positions.
        has_aux: f returns (loss, aux), and the function that is made (gradient, aux); see `value_and_grad`.

    Returns:
        A function of the same arguments that returns the gradient: the structure, shapes and dtypes of
        the argument (a tuple of such for a tuple ``wrt``). It can itself be differentiated.

    Raises:
        NonScalarError: f returned something other than one number.
        DTypeError: an argument to differentiate by holds integers.

    Example:
        >>> import numpy as np
        >>> grad(lambda x: np.sum(x ** 3))(np.array([1.0, 2.0]))
        array([ 3., 12.])
        >>> grad(grad(grad(lambda x: x ** 4)))(2.0)
        48.0
    """
    both = value_and_grad(f, wrt, has_aux)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, found = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    gradient.__name__ = f"grad_{getattr(f, '__name__', 'f')}"
    gradient.__wrapped__ = gradient.differentiated = f  # type: ignore[attr-defined]  # what messages name
    return gradient


def value_and_grad(f: Callable[..., Any], wrt: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """Make the function that computes ``f`` and its gradient; see `grad`.

    Example:
        >>> value_and_grad(lambda x, y: x * y, wrt=(0, 1))(2.0, 5.0)
        (10.0, (5.0, 2.0))
        >>> value_and_grad(lambda x: (x * x, {"twice": 2 * x}), has_aux=True)(3.0)
        ((9.0, {'twice': 6.0}), 6.0)
    """
    check_function(f)
    positions = wrt if isinstance(wrt, tuple) else (wrt,)
    refuse_arguments(f, positions)
    name, looked = getattr(f, "__name__", "f"), list[bool]()

    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        record = Record(f, args, kwargs, positions)
        loss, others = loss_and_others(record.result, f) if has_aux else (record.result, None)
        output = scalar_output(loss, f)
        if record.home is None and not looked:
            looked.append(True)  # once: a loop calls it many times with batches that are alike
            chosen = check_positions(f, positions, len(args))
            if output is None:
                warn_of_independence(f, chosen, len(args), record.was_read)
            else:
                warn_of_square_values(f, args, chosen, record.own, output)
        value = record.value(loss)
        if has_aux:
            leaves, rebuild = trees.flatten(others)
            value = value, rebuild([record.value(x) for x in leaves])
        grads = record.pull([] if output is None else [(output, output.spec.dtype.type(1))], once=True)
        return value, (grads if isinstance(wrt, tuple) else grads[0])

    value_and_gradient.__name__ = f"value_and_grad_{name}"
    value_and_gradient.__wrapped__ = value_and_gradient.differentiated = f  # type: ignore[attr-defined]
    return value_and_gradient


class Record:
    """One call of a function, recorded so that cotangents can be pulled back through it, more than once.

    Attributes:
        result: what the function returned, with tracers for what depends on its arguments.
        was_read: whether Python asked for numbers on the way, as a branch does.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        positions: tuple[int, ...],
        kind: type[Trace] = Trace,
    ) -> None:
        places = check_positions(f, positions, len(args))
        outer = [x for arg in args for x in trees.flatten(arg)[0] if isinstance(x, Tracer)]
        above = max((x.tape for x in outer), key=lambda trace: trace.depth, default=None)
        trace = (type(above) if above else kind)(above.depth + 1 if above else 0)
        self.arguments: list[tuple[list[Any], list[Any], trees.Rebuild]] = []  # leaves, their nodes, the tree
        for i in places:
            leaves, rebuild = trees.flatten(args[i])
            row = [start(leaf, trace, f, i, args[i], k) for k, leaf in enumerate(leaves)]
            self.arguments.append((leaves, row, rebuild))
        self.own = [x for _, row, _ in self.arguments for x in row if isinstance(x, Node)]
        if not self.own:
            raise ArgumentError(no_floats(f, args, places))

        def trace_arguments() -> list[Any]:
            found = list(args)
            for i, (leaves, row, rebuild) in zip(places, self.arguments, strict=True):
                found[i] = rebuild(traced_leaves(leaves, row, trace))
            return found

        with at_user_line():
            self.result, caught = call_user(f, trace_arguments, kwargs, trace, outer)
        warn_of_caught(caught)
        home: Trace | None = above
        if home is None:
            outputs = [x.node for x in trees.flatten(self.result)[0] if isinstance(x, Tracer)]
            inner = set(self.own)
            if any(x.op is INPUT and x not in inner for x in ancestors(outputs)):
                home = trace  # f reads a tracer of a trace around us: what we return belongs there
        self.home = home
        trace.open, self.was_read = home is trace, trace.read
        for x in self.own:
            if x.op is INPUT:
                x.op = CONSTANT  # for whoever reads the result from now on, it is a number like others

    def read(self, node: Node) -> Any:
        """Read a node as the number it holds, or inside another trace as a tracer of that trace."""
        if self.home is None or (node.op is CONSTANT and node.spec.weak):
            return node.value
        return Tracer(node, self.home)

    def value(self, leaf: Any) -> Any:
        """Return a leaf of the result as the caller may have it: it shares no memory with an argument."""
        if not isinstance(leaf, Tracer):
            return leaf
        return own(self.read(leaf.node), [x.value for x in self.own])

    def pull(self, outputs: Sequence[tuple[Node, Any]], once: bool = False) -> tuple[Any, ...]:
        """Pull cotangents of outputs back: for each argument differentiated by, a tree like it.

        ``once`` lets go of the values on the way, so that their memory serves for what comes.
        """
        cts: dict[Node, Any] = {}
        for node, ct in outputs:
            if self.home is not None and not isinstance(ct, Tracer):
                ct = Tracer(constant(ct), self.home)
            cts[node] = cts[node] + ct if node in cts else ct
        with np.errstate(all="ignore"):  # what overflows in the function itself has warned already
            done = forget if once and self.home is None else None
            found: dict[Any, Any] = dict(zip(self.own, backward(cts, self.own, self.read, done), strict=True))
        if self.home is not None:
            self.home.origin = None
        taken = [*(ct for _, ct in outputs), *(x.value for x in self.own)]
        return tuple(
            rebuild(
                [
                    finish(own(found.get(x), taken), leaf) if isinstance(x, Node) else leaf  # a name, a set, a slice
                    for x, leaf in zip(row, leaves, strict=True)
                ]
            )
            for leaves, row, rebuild in self.arguments
        )


def forget(node: Node) -> None:
    """Let go of a node's value."""
    node.value = None


def start(leaf: Any, trace: Trace, f: Callable[..., Any], position: int, arg: Any, number: int) -> Any:
    """Make the node that a leaf is differentiated by; a fresh one, even if the leaf is traced already."""
    if not is_array_like(leaf) and not isinstance(leaf, list | complex):
        return leaf
    check_plain(leaf)
    spec = P.spec_of(leaf)
    if spec.dtype.kind != "f":
        argument, path = argument_names(f, position + 1)[position], trees.paths(arg)[number]
        name = argument + path
        way = f"give it as an argument beside {argument}" if path else "choose another argument with wrt="
        is_complex = spec.dtype.kind == "c"
        what = "complex numbers are out of scope for now" if is_complex else "only floats have a derivative"
        raise DTypeError(
            f"argument {name} of {describe_function(f)} is {spec.dtype}: {what}. "
            f"Pass floats, for example {name}{'.real' if is_complex else ' * 1.0'}, or "
            f"{way}."
        )
    if isinstance(leaf, Tracer):
        node = trace.add(P.identity, (leaf.node,), {})
        return node
    return Node(INPUT, (), {}, spec, leaf)


def scalar_output(result: Any, f: Callable[..., Any]) -> Node | None:
    """Return the node of a function's result; None if nothing traced reached it.

    Raises:
        NonScalarError: the result is not one number; names the function and its line.
    """
    if not isinstance(result, Tracer | float | int | np.ndarray | np.generic):
        kind = type(result).__name__
        aux = ", or give has_aux=True: the second is then passed on"
        pair = aux if isinstance(result, tuple) and len(result) == 2 else ""
        raise NonScalarError(f"{describe_function(f)} returned {kind}, not one number. Return the loss alone{pair}.")
    if P.shape_of(result) != ():
        raise NonScalarError(
            f"{describe_function(f)} returned an array of shape {show_shape(P.shape_of(result))}, not one number. "
            f"Reduce it with np.sum or np.mean."
        )
    if P.dtype_of(result).kind != "f":
        raise DTypeError(
            f"{describe_function(f)} returned {P.dtype_of(result)}: only floats have a derivative. Return the loss "
            f"itself, not a comparison, a count or a whole number."
        )
    return result.node if isinstance(result, Tracer) else None


def loss_and_others(result: Any, f: Callable[..., Any]) -> tuple[Any, Any]:
    """Take apart what a function returned that gives its loss and something besides.

    Raises:
        NonScalarError: it is no pair.
    """
    if not isinstance(result, tuple) or len(result) != 2:
        kind = f"a tuple of {len(result)}" if isinstance(result, tuple) else type(result).__name__
        kind = "one value" if isinstance(result, Tracer) else kind
        raise NonScalarError(
            f"{describe_function(f)} returned {kind}, not a pair. With has_aux=True return (loss, aux): one number, "
            f"and a tree of anything else."
        )
    return result


def own(value: Any, taken: list[Any]) -> Any:
    """Return a value that shares memory with none of those taken, and can be written to; it counts as taken then."""
    if isinstance(value, np.ndarray):
        if value.base is not None or not value.flags.writeable or any(value is other for other in taken):
            value = value.copy()
        taken.append(value)
    return value


def finish(ct: Any, leaf: Any) -> Any:
    """Give a gradient the type its argument has: array for array, Python float for Python float, zeros for no path."""
    if isinstance(ct, np.ndarray) and isinstance(leaf, np.ndarray):
        return np.asarray(ct, leaf.dtype)
    if isinstance(leaf, Tracer):
        return np.zeros_like(leaf) if ct is None else ct
    if not is_array_like(leaf):
        return leaf
    if isinstance(ct, Tracer):
        return ct
    if isinstance(leaf, float) and not isinstance(leaf, np.generic):
        return 0.0 if ct is None else float(ct)
    dtype = P.dtype_of(leaf)
    if ct is None:
        return np.zeros(np.shape(leaf), dtype) if isinstance(leaf, np.ndarray) else dtype.type(0)
    return np.asarray(ct, dtype) if isinstance(leaf, np.ndarray) else ct
