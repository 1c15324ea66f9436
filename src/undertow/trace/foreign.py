"""What to write where a traced value meets what makes plain arrays: a table, a list, random numbers, SciPy, PyTorch."""

from __future__ import annotations

import ast
import sys
from types import FrameType
from typing import Any, Final

import numpy as np

from undertow.errors import InPlaceError, UndertowError, UnsupportedError
from undertow.graph import INPUT
from undertow.primitives import Traced
from undertow.trace.place import Place, called, here, place_in, shorten
from undertow.trace.where import LIBRARIES, is_library, is_ours, user_frame

_NORMAL: Final = (
    "Write its formula: a normal distribution's is -0.5 * ((x - mean) / deviation)**2 - np.log(deviation) - "
    "0.5 * np.log(2 * np.pi)"
)
_STEPS: Final = "Write its steps as a loop, such as those of Runge and Kutta"
_DISTANCES: Final = "Use np.linalg.norm(x[:, None] - y[None], axis=-1)"
_INSTEAD: Final = {
    "softmax": "Use ut.softmax",
    "log_softmax": "Use ut.log_softmax",
    "logsumexp": "Use ut.logsumexp",
    "polygamma": "Use ut.polygamma",
    **{name: "Use np.linalg.solve" for name in ("cho_solve", "solve_triangular", "solve", "spsolve", "solve_banded")},
    **{name: "Use np.linalg.cholesky, which gives the lower factor" for name in ("cholesky", "cho_factor")},
    **{name: f"Use np.linalg.{name}" for name in ("inv", "pinv", "det", "norm", "eigh", "svd", "qr", "lstsq")},
    **{name: _STEPS for name in ("solve_ivp", "odeint", "ode", "lfilter", "sosfilt")},
    **{name: _DISTANCES for name in ("cdist", "pdist", "squareform")},
    **{name: "Use np.convolve" for name in ("convolve", "fftconvolve", "oaconvolve", "convolve1d")},
    **{name: _NORMAL for name in ("logpdf", "pdf", "logpmf", "pmf")},
    "cdf": "Write its formula: a normal distribution's is scipy.special.ndtr((x - mean) / deviation)",
    "quad": "Use np.trapezoid of its values at many points",
    "multiply": "Write A.toarray() * x",
    "interp1d": "Use np.interp",
}
ARRAYS_OF_THEIR_OWN: Final = {
    "torch": "PyTorch",
    "jax": "JAX",
    "jaxlib": "JAX",
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "cupy": "CuPy",
    "sklearn": "scikit-learn",
}
_AROUND: Final = {"wrapper", "wrapped", "inner", "asarray", "_asarray"}  # functions of SciPy's that stand around others


def meets_foreign(tracer: Any, who: str, place: Place) -> UndertowError | None:
    """Make the error for an operation of a traced value and something that does not ask it; None for others.

    Args:
        tracer: the traced value.
        who: what a message calls it.
        place: where the user's code is.

    Returns:
        The error: it names the user's line, what was met, and what to write.

    Source: derived here.
    """
    return _draws(who, place) or _table(who, place) or _list(tracer, place)


def _draws(who: str, place: Place) -> UndertowError | None:
    """``rng.normal(w)``: NumPy's generators take plain numbers only."""
    node = place.expression
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return None
    source = place.value(node.func.value)
    if source is not np.random and not isinstance(source, np.random.Generator | np.random.RandomState):
        return None
    return InPlaceError(
        f"{place.start}: {ast.unparse(node.func)} draws plain numbers, and the derivative of {who} would be lost. Draw "
        f"numbers that depend on nothing outside, pass them as an argument, and compute with them: `mean + deviation "
        f"* noise` for a normal distribution."
    )


def takes_numbers(who: str, place: Place, node: ast.Call) -> UndertowError | None:
    """Counts, masked arrays and NumPy's iterators, which have plain numbers whatever they are made of."""
    name = called(node)
    if name == "arange":
        way = "Write `start + step * np.arange(n)`, with a number n that depends on no value"
    elif name in ("nditer", "ndenumerate"):
        way = "Write `for i in np.ndindex(x.shape)`, and x[i]"
    elif isinstance(node.func, ast.Attribute) and place.value(node.func.value) is np.ma:
        name = f"ma.{name}"
        way = "Write `np.where(mask, 0, x)` for what a sum is to leave out, and count the others by `np.sum(~mask)`"
    else:
        return None
    return InPlaceError(f"{place.start}: np.{name} takes plain numbers, which {who} is not. {way}.")


def _table(who: str, place: Place) -> UndertowError | None:
    """A table of pandas or polars beside a traced array: it makes a plain array of what it meets."""
    for name, value in _variables(place):
        if hasattr(value, "to_numpy") and hasattr(value, "shape"):
            part = _part_of(place, name)
            way = f"Write `{part}.to_numpy()` in place of {part}" if part != name else f"Pass {name}.to_numpy()"
            return InPlaceError(
                f"{place.start}: {name} is a {type(value).__name__}, which makes a plain array of {who}: the "
                f"derivative would be lost. {way}{' to the function' if part == name else ''}."
            )
    return None


def _part_of(place: Place, name: str) -> str:
    """The longest piece that begins with a name and is no call, as ``df["a"]``: what an operation is done with."""
    tree = place.expression or place.statement
    found = [
        ast.unparse(node)
        for node in (ast.walk(tree) if tree is not None else ())
        if isinstance(node, ast.Subscript | ast.Attribute) and not _is_called(tree, node)
    ]
    return max((x for x in found if x.startswith((f"{name}[", f"{name}."))), key=len, default=name)


def _is_called(tree: ast.AST | None, function: ast.AST) -> bool:
    return tree is not None and any(isinstance(x, ast.Call) and x.func is function for x in ast.walk(tree))


def _list(tracer: Any, place: Place) -> UndertowError | None:
    """A list of traced values: NumPy makes no array of them."""
    given = tracer._node.op is INPUT and not tracer._node.spec.shape
    if place.calls("array", "asarray") and not (given and tracer._node.spec.weak):
        return None
    for name, value in _variables(place):
        if isinstance(value, list | tuple) and _holds(value, tracer):
            kind = f"{name} is a {type(value).__name__}"
            if given and all(isinstance(x, Traced) and x._node.op is INPUT for x in _leaves(value)):  # type: ignore[attr-defined]
                return InPlaceError(
                    f"{place.start}: {kind} of numbers, and each of them is traced by itself. Pass np.array({name}) in "
                    f"its place."
                )
            deep = any(isinstance(row, list | tuple) for row in value)
            array = f"np.stack([np.stack(row) for row in {name}])" if deep else f"np.stack({name})"
            return InPlaceError(
                f"{place.start}: {kind} of traced {'arrays' if tracer._node.spec.shape else 'numbers'}, of which NumPy "
                f"makes a plain array: the derivative would be lost. Write `{array}` in its place, or take them one "
                f"by one."
            )
    return None


def _leaves(values: Any) -> list[Any]:
    """What stands in nested lists."""
    return [leaf for x in values for leaf in (_leaves(x) if isinstance(x, list | tuple) else [x])]


def _holds(values: Any, tracer: Any) -> bool:
    """Tell whether nested lists begin with traced numbers."""
    while isinstance(values, list | tuple) and values:
        values = values[0]
    return type(values) is type(tracer)


def _variables(place: Place) -> list[tuple[str, Any]]:
    """The names in the expression that is being computed, or else in its statement, and what they stand for."""
    for outer in (place.expression, place.statement):
        found = [
            (ast.unparse(node), place.value(node))
            for node in (ast.walk(outer) if outer is not None else ())
            if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
        ]
        if found:
            return found
    return []


def _called(frame: FrameType) -> str:
    """The name of the function of SciPy's that runs in a frame; of what stands around another, that of the other."""
    name = frame.f_code.co_name
    if name not in _AROUND:
        return name
    inner = (frame.f_locals.get(free) for free in frame.f_code.co_freevars)
    return next((str(x.__name__) for x in inner if callable(x) and hasattr(x, "__name__")), name)


def scipy_remedy() -> str | None:
    """Return what to say where a function of SciPy's, which is no ufunc, makes plain arrays; None elsewhere."""
    names = []
    frame: FrameType | None = sys._getframe(1)
    user = user_frame()
    while frame is not None and frame is not user:
        if frame.f_code.co_filename.startswith(LIBRARIES[1]):
            names.append(_called(frame))
        frame = frame.f_back
    if not names:
        return None
    known = [name for name in reversed(names) if name in _INSTEAD]
    name = next(iter(known + [name for name in reversed(names) if name not in _AROUND]), "")
    own = "give it a derivative of your own, as @ut.custom_vjp does: docs/gradients.md"
    way = f"{_INSTEAD[name]}, or {own}" if name in _INSTEAD else f"{own[0].upper()}{own[1:]}, or write it with NumPy"
    if name in ("softmax", "log_softmax", "logsumexp", "polygamma"):
        way = _INSTEAD[name]
    if not name or name.startswith("_"):
        node = here().expression
        name = shorten(ast.unparse(node.func if isinstance(node, ast.Call) else node)) if node is not None else name
        who = f"`{name}`, of SciPy's," if node is not None else "A function of SciPy's"
    else:
        who = f"SciPy's {name}"
    return f"{who} makes a plain array of a traced value, whose derivative would be lost. {way}."


def met_library(error: Exception) -> UndertowError | None:
    """Make the error where another library was called with a traced value, of which it knows nothing; None elsewhere.

    Args:
        error: what came out of the user's function: the library's own, in words of its own, or ours for an array that
            it would have made.

    Returns:
        The error: it names the user's line, the library, what it said, and what to write.

    Source: derived here.
    """
    step, place, library = error.__traceback__, Place("your function", None), ""
    given = "Tracer" in str(error)
    while step is not None and not library:
        frame = step.tb_frame
        file = frame.f_code.co_filename
        root = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if root in ARRAYS_OF_THEIR_OWN:
            library, given = root, given or any(map(_has_traced, frame.f_locals.values()))
        elif not is_ours(file) and not is_library(file):
            place = place_in(frame, step.tb_lasti, step.tb_lineno)
        step = step.tb_next
    node = place.expression if isinstance(place.expression, ast.Call) else None
    if not library and node is not None:  # a function in C has no frame: what it is called by tells
        library = _library_of(place, node.func)
        given = given or any(_has_traced(place.value(x)) for x in ast.walk(node) if isinstance(x, ast.Name))
    if not library or not given:
        return None
    name = ARRAYS_OF_THEIR_OWN[library]
    who = f"{shorten(ast.unparse(node.func))} is {name}'s and" if node is not None else name
    said = "" if isinstance(error, UndertowError) else f" ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
    return UnsupportedError(
        f"{place.start}: {who} cannot compute with a value that is traced{said}. Write it with NumPy's functions, or "
        f"give it a derivative of your own, as @ut.custom_vjp does: docs/gradients.md."
    )


def _has_traced(value: Any) -> bool:
    """Tell whether a value is traced, or a tuple, list or dictionary holds one that is."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return isinstance(value, Traced) or any(isinstance(x, Traced) for x in inside)


def _library_of(place: Place, function: ast.expr) -> str:
    """The library among those that have arrays of their own that a function is of; empty for others."""
    value = place.value(function)
    modules = [getattr(value, "__module__", None), type(value).__module__]
    while isinstance(function, ast.Attribute):
        function = function.value
        modules.append(getattr(place.value(function), "__name__", None))
    roots = [str(name).partition(".")[0] for name in modules]
    return next((root for root in roots if root in ARRAYS_OF_THEIR_OWN), "")
