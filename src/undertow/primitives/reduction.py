"""What reductions share: axes, ``initial=`` and ``where=``, shape rules, spellings and samples.

``axis`` is a sorted tuple of non-negative numbers here; the answers to NumPy's functions make it one.
A reduction with ``initial=`` or ``where=`` is a primitive of its own: ``options`` names which of the
two are there, and they follow the array as arguments, so that both may be traced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, DTypeError, ShapeError
from undertow.graph import Dim, NeedsConcreteSize, Shape, Spec, broadcast_shapes, show_shape
from undertow.primitives.compare import where
from undertow.primitives.record import (
    Code,
    Primitive,
    Sample,
    Spelling,
    Traced,
    call_axis,
    check_number,
    dtype_of,
    normalize_axis,
    reduced_shape,
    shape_of,
    spec_of,
)
from undertow.primitives.sampling import draw
from undertow.primitives.shape import astype, broadcast_to, expand_dims

Axes = tuple[int, ...]
Options = tuple[str, ...]
MISSING: Any = np._NoValue


def expand(x: Any, axis: Axes, keepdims: bool) -> Any:
    """Bring a reduced value where it broadcasts against what was reduced; leading axes need nothing."""
    return x if keepdims or axis == tuple(range(len(axis))) else expand_dims(x, axis=axis)


def add_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of a sum: NumPy adds small integers and truth values up as 64-bit integers."""
    if dtype.kind in "bi":
        return np.dtype(np.int64)
    return np.dtype(np.uint64) if dtype.kind == "u" else dtype


def fixed_size(shape: Shape, axis: int, why: str) -> int:
    """Return the size of an axis as a number.

    Raises:
        NeedsConcreteSize: it is the batch size, which has only a name.
    """
    size = shape[axis]
    if isinstance(size, Dim):
        raise NeedsConcreteSize(f"{why} needs the batch size as a number")
    return size


def no_elements(shape: Any, axis: Any) -> ShapeError:
    """Make the error of a choice among no elements."""
    return ShapeError(f"{show_shape(shape)} has no element to choose along axis {axis}. Pass at least one.")


def infer_reduction(dtype: Callable[[np.dtype[Any]], np.dtype[Any]], empty: bool = True) -> Callable[..., Spec]:
    """Make a shape rule from the rule for the dtype; not ``empty``: at least one element is needed.

    Raises:
        ShapeError: no element and no initial value; or ``where`` has another shape than the array.
    """

    def infer(x: Spec, *extras: Spec, axis: Axes, keepdims: bool = False, options: Options = (), **_: Any) -> Spec:
        if not empty and "initial" not in options and any(x.shape[i] == 0 for i in axis):
            raise no_elements(x.shape, axis)
        for name, extra in zip(options, extras, strict=True):
            if name == "where" and broadcast_shapes(extra.shape, x.shape) != x.shape:
                raise ShapeError(f"where is {show_shape(extra.shape)}, the array is {show_shape(x.shape)}.")
            if name == "where" and not empty and "initial" not in options:
                raise ShapeError("where= may leave no element out of which to choose. Give initial= as well.")
        return Spec(reduced_shape(x.shape, axis, keepdims), dtype(x.dtype), x.weak)

    return infer


def reduction_samples(*empty: tuple[tuple[int, ...], Axes]) -> list[Sample]:
    """Return samples for a reduction, with and without keepdims; ``empty``: shapes without elements."""
    cases: list[tuple[tuple[int, ...], Axes]] = [
        ((), ()),
        ((1,), (0,)),
        ((3,), (0,)),
        ((2, 3), (0,)),
        ((2, 3), (1,)),
        ((2, 3), (0, 1)),
        ((1, 3), (0,)),
        ((2, 3), ()),
        ((2, 3, 4), (1,)),
        ((2, 3, 4), (0, 2)),
        ((0, 3), (1,)),
        *empty,
    ]
    return [
        Sample((draw(shape, 11),), {"axis": axis, "keepdims": keep}, f"shape {shape} along {axis}")
        for shape, axis in cases
        for keep in (False, True)
    ]


# ---- initial= and where= -------------------------------------------------------------------------


def given(options: Options, extras: tuple[Any, ...]) -> dict[str, Any]:
    """Return the optional arguments by name."""
    return dict(zip(options, extras, strict=True))


def spread(value: Any, x: Any) -> Any:
    """Repeat a value to the shape of x, which may be symbolic."""
    shape = shape_of(x)
    if shape_of(value) == shape:
        return value
    if isinstance(x, Traced) and not isinstance(value, Traced):
        return x.bind(broadcast_to, (value,), {"shape": shape})
    return broadcast_to(value, shape=shape)


def keep_only(mask: Any, x: Any, other: Any) -> Any:
    """Return x with ``other`` in place of the elements that ``where=`` leaves out."""
    return x if mask is None else where(mask, x, other)


def spell_options(function: str) -> Spelling:
    """Spell a reduction with its options: ``np.sum(x, axis=1, where=mask)``."""
    plain = call_axis(function)

    def spell(
        x: Code, *extras: Code, axis: Axes, keepdims: bool = False, options: Options = (), ndim: int, **_: Any
    ) -> Code:
        text = plain(x, axis=axis, keepdims=keepdims, ndim=ndim).text[:-1]
        return Code(text + "".join(f", {name}={e.text}" for name, e in zip(options, extras, strict=True)) + ")")

    return spell


def forward_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compute a reduction with its options."""

    def forward(x: Any, *extras: Any, axis: Axes, keepdims: bool = False, options: Options = (), **params: Any) -> Any:
        return function(x, axis=axis, keepdims=keepdims, **given(options, extras), **params)

    return forward


def option_samples(*options: Options, initial: float = 0.7, **params: Any) -> list[Sample]:
    """Return samples with these sets of options; the mask broadcasts in some of them."""
    shapes = ((2, 3), (0,)), ((2, 3), (1,)), ((2, 3), (0, 1)), ((), ()), ((2, 3, 4), (0, 2)), ((0, 3), (1,))
    samples = []
    for number, names in enumerate(options):
        for shape, axis in shapes:
            x = draw(shape, 13)
            mask = np.asarray(draw(shape[-2:], 14 + number) > -0.5)
            values = {"initial": np.array(initial), "where": mask}
            extras = tuple(values[name] for name in names)
            keep = bool(len(shape) % 2)
            samples.append(Sample((x, *extras), {"axis": axis, "keepdims": keep, "options": names, **params}))
    return samples


# ---- the arguments of NumPy's functions -----------------------------------------------------------


def axes_of(function: str, x: Any, axis: Any) -> Axes:
    """Return the axes a NumPy function was given, normalized.

    Raises:
        ShapeError: there is no such axis; names the function, the axis and the shape.
    """
    shape = shape_of(x)
    if not shape and axis in (0, -1):
        return ()  # NumPy allows it for a number
    try:
        return normalize_axis(axis, len(shape))
    except ValueError as error:
        raise ShapeError(f"{function}: {error}. The array is {show_shape(shape)}.") from None


def axis_of(function: str, x: Any, axis: Any) -> int:
    """Return the one axis along which a NumPy function works, normalized.

    Raises:
        ShapeError: there is no such axis; names the function, the axis and the shape.
        ArgumentError: ``np.sort: axis is (0, 1), but it goes along one axis. Give one number.``
    """
    if isinstance(axis, tuple | list) or (axis is None and len(shape_of(x)) > 1):
        raise ArgumentError(f"{function}: axis is {axis!r}, but it goes along one axis. Give one number.")
    axes = axes_of(function, x, axis)
    if not axes:
        raise ShapeError(f"{function} needs at least one axis, and this is a single number.")
    return axes[0]


def cast(x: Any, dtype: Any) -> Any:
    """Return x as ``dtype=`` wants it.

    Raises:
        DTypeError: complex numbers were asked for.
    """
    if dtype is None:
        return x
    wanted = np.dtype(dtype)
    if wanted.kind not in "fiub":
        raise DTypeError(f"dtype={wanted} cannot be traced. Use real numbers.")
    return x if dtype_of(x) == wanted else astype(x, dtype=wanted)


def read_ddof(function: str, ddof: Any, correction: Any) -> Any:
    """Return what is taken off the number of elements, which has two names.

    Raises:
        ArgumentError: both were given.
    """
    if correction is MISSING:
        return ddof
    if ddof != 0:
        raise ArgumentError(f"{function}: ddof={ddof} and correction={correction} are one number. Give one of them.")
    return correction


def kept(keepdims: Any) -> bool:
    """Return the truth of ``keepdims=``, which NumPy passes as a placeholder when it is not given."""
    return keepdims is not MISSING and bool(keepdims)


def options_of(initial: Any = MISSING, where: Any = MISSING) -> dict[str, Any]:
    """Return the options that are given and change something."""
    found = {}
    if initial is not MISSING and initial is not None:
        found["initial"] = initial
    if where is not MISSING and where is not None and not (isinstance(where, bool | np.bool_) and where):
        found["where"] = where if isinstance(where, Traced) else np.asarray(where, dtype=bool)
    return found


def reduction_calls(*, dtype: bool = False, initial: float | None = None, where: bool = True) -> list[Sample]:
    """Return calls of a reduction as people make them, with every option that it has."""
    x, mask = draw((2, 3), 15), np.array([[True, False, True], [True, True, False]])
    plain: list[dict[str, Any]] = [{}, {"axis": 0}, {"axis": -1}, {"axis": (1, 0)}, {"axis": 1, "keepdims": True},
                                   {"axis": None, "keepdims": True}, {"axis": ()}]  # fmt: skip
    start = {} if initial is None else {"initial": initial}
    plain += [start, {**start, "axis": 1, "keepdims": True}] if start else []
    plain += [{"dtype": np.float64, "axis": 0}] if dtype else []
    if where:
        plain += [{"where": mask, **start}, {"axis": 0, "where": mask, **start},
                  {"axis": -1, "where": mask[0], "keepdims": True, **start}]  # fmt: skip
    samples = [Sample((x,), params) for params in plain]
    cube = draw((2, 3, 2), 16)
    more = Sample((cube,), {"axis": (-1, 0)}), Sample((draw((), 15),)), Sample((draw((1,), 15),), {"axis": 0})
    return [*samples, *more, Sample((draw((0, 2), 15),), {"axis": 1})]


def reduce_with(
    plain: Primitive, optional: Primitive, a: Any, axis: Axes, keepdims: Any, initial: Any, where: Any
) -> Any:
    """Apply a reduction: the primitive without options if there are none."""
    options = options_of(initial, where)
    if not options:
        return plain(a, axis=axis, keepdims=kept(keepdims))
    if "initial" in options and dtype_of(a).kind != "f" and not isinstance(initial, Traced):
        chosen = plain.name in ("max", "min")  # NumPy begins with a value of the result's dtype
        kind = dtype_of(a) if chosen else plain.infer(spec_of(a), axis=axis, keepdims=kept(keepdims)).dtype
        check_number(initial, kind)
        options["initial"] = np.asarray(initial).astype(kind)
    return optional(a, *options.values(), axis=axis, keepdims=kept(keepdims), options=tuple(options))
