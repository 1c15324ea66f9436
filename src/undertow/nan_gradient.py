"""Where a gradient stops being a number although the value is one: which operation, on which line, at which number."""

from __future__ import annotations

import linecache
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from undertow import primitives as P
from undertow import trees
from undertow.differentiate import Record, backward, fit
from undertow.graph import Node, ancestors
from undertow.trace import Trace, Tracer
from undertow.trace.place import shorten
from undertow.trace.where import file_name, is_library, is_ours, user_frame

_ROOTS: Final = frozenset(("sqrt", "power", "cbrt"))


def warn_of_nan(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], wrt: Any, found: Any) -> bool:
    """Warn where a gradient holds NaN, the value is a number, and so is all that the function was given.

    Args:
        f: the function.
        args: its arguments; to find the place, it is called with them once more.
        kwargs: its arguments by name.
        wrt: the positions it was differentiated by.
        found: what `value_and_grad` returned.

    Returns:
        Whether it warned.

    Source: derived here.

    Example:
        >>> f = lambda x: np.sqrt(np.sum(x**2))
        >>> with warnings.catch_warnings(record=True) as said:
        ...     warnings.simplefilter("always")
        ...     x = np.zeros(2)
        ...     warned = warn_of_nan(f, (x,), {}, 0, (0.0, np.array([np.nan, np.nan])))
        >>> print(warned, str(said[0].message).partition(":")[0])
        True the gradient of <lambda> holds NaN, although its value is 0
    """
    value, gradient = found
    value = value[0] if isinstance(value, tuple) else value
    if not _has_nan(gradient) or isinstance(value, Tracer) or not np.isfinite(value):
        return False
    if not all(_is_finite(x) for x in trees.flatten(list(args))[0]):
        return False
    try:
        told = explain_nan(f, args, kwargs, wrt)
    except Exception:  # a function that cannot be called twice, such as one that takes the next batch: NaN is told of
        told = ""
    name = getattr(f, "__name__", "f")
    text = f"the gradient of {name} holds NaN, although its value is {float(value):g}{told or '.'}"
    frame = sys._getframe(1)
    depth = 2
    while frame.f_back is not None and (is_ours(frame.f_code.co_filename) or is_library(frame.f_code.co_filename)):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(text, RuntimeWarning, stacklevel=depth)
    return True


def explain_nan(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], wrt: Any) -> str:
    """Say which operation's chain rule makes NaN, and what to write.

    Args:
        f: the function; it is called once more.
        args: its arguments.
        kwargs: its arguments by name.
        wrt: the positions it is differentiated by.

    Returns:
        The rest of a sentence, which begins with a colon; empty where no operation is found.

    Source: derived here.
    """
    positions = wrt if isinstance(wrt, tuple) else (wrt,)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        record = Record(f, args, kwargs, positions, _LineTrace)
        result = record.result[0] if isinstance(record.result, tuple) else record.result
        if record.home is not None or not isinstance(result, Tracer):
            return ""
        output = result.node
        active = _active(output, record.own)
        cts = dict(zip(active, backward({output: output.spec.dtype.type(1)}, active, record.read), strict=True))
    return _tell(cts, output, record.read)


class _LineTrace(Trace):
    """A trace with values that notes lines."""

    def note(self, node: Node) -> None:
        """Note the user's line."""
        frame = user_frame()
        if frame is not None:
            file = frame.f_code.co_filename
            text = shorten(linecache.getline(file, frame.f_lineno).strip())
            node.line = f"{file_name(file)}:{frame.f_lineno}" + (f", `{text}`" if text else "")


def _active(output: Node, wrt: Sequence[Node]) -> list[Node]:
    """The nodes that depend on some of ``wrt``, oldest first."""
    found = dict.fromkeys(wrt)
    for node in ancestors([output]):
        if node.spec.dtype.kind == "f" and not found.keys().isdisjoint(node.inputs):
            found[node] = None
    return list(found)


def _tell(cts: dict[Node, Any], output: Node, read: Callable[[Node], Any]) -> str:
    """Say where NaN begins: at the first operation, from the output back, that gets numbers and gives none."""
    steep: tuple[Node, Node] | None = None  # the operation whose slope is infinite, and the input it is so by
    for user in reversed(ancestors([output])):
        ct = cts.get(user)
        if ct is None or np.any(np.isnan(ct)):
            continue
        for position, x in enumerate(user.inputs):
            if cts.get(x) is None:
                continue
            share = _share(user, position, ct, cts, read)
            if np.any(np.isnan(share)):
                return _sentence(user, x, steep, share, _share(user, position, np.ones_like(ct), cts, read))
            if steep is None and np.any(np.isinf(share)) and np.all(np.isfinite(ct)):
                steep = user, x
    return ""


def _share(user: Node, position: int, ct: Any, cts: dict[Node, Any], read: Callable[[Node], Any]) -> Any:
    """What one use of a value sends back to it."""
    op: Any = user.op
    rule = op.rule(position)
    if not callable(rule) or rule is P.ZERO or rule is P.NO_GRADIENT:
        return 0.0
    flags = {"active": tuple(cts.get(x) is not None for x in user.inputs)} if op.tells_active else {}
    with np.errstate(all="ignore"):
        share = rule(ct, read(user), *[read(x) for x in user.inputs], **user.params, **flags)
        return fit(share, user.inputs[position])


def _sentence(user: Node, x: Node, steep: tuple[Node, Node] | None, share: Any, slope: Any) -> str:
    if steep is not None and steep[0] is not user:
        at = _number(steep[1].value, ~np.isfinite(_like(share, steep[1])))
        return (
            f": the slope of {_named(steep[0])} is infinite at {at}, and {_named(user)} multiplies it by 0. "
            f"{_remedy(steep[0])}"
        )
    at = _number(x.value, np.isnan(share))
    if np.any(np.isinf(slope)):
        return f": the slope of {_named(user)} is infinite at {at}, where it is multiplied by 0. {_remedy(user)}"
    return f": the slope of {_named(user)} is no number at {at}. {_remedy(user)}"


def _like(ct: Any, node: Node) -> Any:
    """A cotangent of the shape of a value, or as many infinities."""
    return ct if np.shape(ct) == node.spec.shape else np.full(node.spec.shape, np.inf)


def _number(value: Any, where: Any) -> str:
    flat = np.broadcast_to(value, np.shape(where))[where] if np.shape(value) == np.shape(where) else np.ravel(value)
    least = flat[np.argmin(np.abs(flat))] if flat.size else np.nan
    return f"{float(least):g}"


def _named(node: Node) -> str:
    ufuncs = node.op.numpy  # type: ignore[attr-defined]
    return f"{P.name_of(ufuncs[0]) if ufuncs else node.op.name} ({node.line or 'your function'})"


def _remedy(node: Node) -> str:
    if node.op.name in _ROOTS:
        return (
            "Leave such places out, s being what stands under the root: np.where(s > 0, np.sqrt(s), 0), whose gradient "
            "is 0 there; of a distance, np.linalg.norm does so by itself."
        )
    return "Leave such places out: np.where(condition, …, 0) keeps what it does not take out of the gradient."


def _has_nan(gradient: Any) -> bool:
    if type(gradient) is np.ndarray and gradient.dtype.kind == "f":  # at every call: the short way
        return bool(np.isnan(gradient).any())
    return any(_kind(x) == "f" and bool(np.any(np.isnan(x))) for x in trees.flatten(gradient)[0])


def _is_finite(x: Any) -> bool:
    return _kind(x) != "f" or bool(np.all(np.isfinite(x)))


def _kind(x: Any) -> str:
    """The kind of a plain leaf's dtype; of a tracer, and of what is no number, none."""
    if isinstance(x, Tracer):
        return ""
    return x.dtype.kind if isinstance(x, np.ndarray | np.generic) else "f" if isinstance(x, float) else ""
