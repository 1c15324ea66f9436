"""Constants as Python source: every number comes back with the same bits and the same dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import UndertowError
from undertow.graph import Shape, show_shape
from undertow.primitives.record import UNARY, Code

MOST_ELEMENTS = 64  # an array of at most so many is written out where it is used
MOST_BYTES = 1_000_000  # a larger constant is no source text

_DEFAULT = {np.dtype(np.float64), np.dtype(np.int64), np.dtype(bool)}


def write_number(value: Any) -> str:
    """Write one number without its dtype: the shortest text that is read back as the same number."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        return str(int(value))
    if np.isnan(value):
        return "np.nan"
    if np.isinf(value):
        return "np.inf" if value > 0 else "-np.inf"
    if isinstance(value, np.floating) and value.dtype != np.float64:
        short = str(value)
        if value.dtype.type(float(short)) == value:
            return repr(float(short))
    return repr(float(value))


def write_scalar(value: Any, weak: bool) -> Code:
    """Write a number; a Python number as it is, a NumPy one with its dtype."""
    text = write_number(value)
    if weak:
        return Code(text, UNARY) if text.startswith("-") else Code(text)
    if isinstance(value, np.ndarray):
        value = value[()]
    return Code(f"np.{value.dtype.name}({text})")


def write_filled(value: Any, dtype: np.dtype[Any], shape: Shape) -> str:
    """Write an array that holds one number throughout; its sizes may be symbolic."""
    sizes = str(shape[0]) if len(shape) == 1 else show_shape(shape)
    tail = "" if dtype == np.float64 else f", dtype=np.{dtype.name}"
    if value == 0 and not np.signbit(value):
        return f"np.zeros({sizes}{tail})"
    if value == 1:
        return f"np.ones({sizes}{tail})"
    return f"np.full({sizes}, {write_number(value)}, dtype=np.{dtype.name})"


def write_small_array(value: np.ndarray[Any, Any]) -> str | None:
    """Write an array in one expression: np.zeros, np.arange, … or its elements; None if it is too large."""
    dtype = value.dtype
    tail = "" if dtype == np.float64 else f", dtype=np.{dtype.name}" if dtype.kind != "b" else ", dtype=bool"
    shape = str(value.shape[0]) if value.ndim == 1 else str(value.shape)
    if value.size == 0:
        return f"np.zeros({shape}{tail})"
    flat = np.ascontiguousarray(value).reshape(-1)
    if flat.size > 1 and flat.tobytes() == flat[:1].tobytes() * flat.size:
        first = flat[0]
        if first.tobytes() == bytes(first.itemsize):
            return f"np.zeros({shape}{tail})"
        if first == 1:
            return f"np.ones({shape}{tail})"
        tail = "" if dtype in _DEFAULT else tail
        return f"np.full({shape}, {write_number(first)}{tail})"
    if value.ndim == 2 and value.size > 1 and value.tobytes() == np.eye(*value.shape, dtype=dtype).tobytes():
        n, k = value.shape
        return f"np.eye({n}{'' if n == k else f', {k}'}{tail})"
    progression = _write_progression(flat, value.shape)
    mask = _write_mask(value)
    if value.size > MOST_ELEMENTS:
        return progression or mask
    tail = "" if dtype in _DEFAULT else tail
    elements = f"np.array({_nest(value)}{tail})"
    if mask is not None and len(mask) < len(elements):
        return mask
    if progression is not None and (
        progression == f"np.arange({value.size})" or len(progression) < 0.75 * len(elements)
    ):
        return progression
    return elements


def _write_progression(flat: np.ndarray[Any, Any], shape: tuple[int, ...]) -> str | None:
    """Write whole numbers that are equally far apart, as places in an array are; None where they are not."""
    if flat.dtype.kind not in "iu" or flat.size < 3:
        return None
    first, step = int(flat[0]), int(flat[1]) - int(flat[0])
    stop = first + step * flat.size
    limits = np.iinfo(flat.dtype)
    if not (step and limits.min <= stop <= limits.max) or not np.array_equal(
        flat, np.arange(first, stop, step, dtype=flat.dtype)
    ):
        return None
    numbers = f"{first}, {stop}, {step}" if step != 1 else f"{first}, {stop}" if first else f"{stop}"
    text = f"np.arange({numbers}{'' if flat.dtype == np.int64 else f', dtype=np.{flat.dtype.name}'})"
    return text if len(shape) == 1 else f"{text}.reshape({', '.join(map(str, shape))})"


def _write_mask(value: np.ndarray[Any, Any]) -> str | None:
    """Write what hides the future or the diagonal from attention: a triangle of one number, or all but the diagonal."""
    if value.ndim != 2 or value.size < 4:
        return None
    if value.dtype == bool and np.array_equal(~value, np.eye(*value.shape, dtype=np.bool_)):
        n, k = value.shape
        return f"~np.eye({n}{'' if n == k else f', {k}'}, dtype=bool)"
    for name, triangle, corner in (("tril", np.tril, value[-1, 0]), ("triu", np.triu, value[0, -1])):
        filled = np.full_like(value, corner)
        for k in (0, 1, -1):
            if triangle(filled, k).tobytes() == value.tobytes():
                return f"np.{name}({write_small_array(filled)}{f', {k}' if k else ''})"
    return None


def _nest(value: Any) -> str:
    if np.ndim(value) == 0:
        return write_number(value)
    return f"[{', '.join(_nest(item) for item in value)}]"


def write_large_array(name: str, value: np.ndarray[Any, Any]) -> str:
    """Write an array as its bytes, for the end of the module.

    Raises:
        UndertowError: it is larger than a source file should hold; names its shape and the way out.
    """
    if value.nbytes > MOST_BYTES:
        raise UndertowError(
            f"the function uses a constant array of shape {value.shape} ({value.nbytes / 1e6:.1f} MB), too large to "
            f"write into source. Pass it to the function as an argument."
        )
    dtype = value.dtype.newbyteorder("<") if value.dtype.byteorder == ">" or value.dtype.isnative else value.dtype
    digits = np.ascontiguousarray(value).astype(dtype).tobytes().hex()
    rows = "\n".join(digits[i : i + 96] for i in range(0, len(digits), 96))
    return (
        f'{name} = np.frombuffer(bytes.fromhex("""\n{rows}\n"""), dtype="{dtype.str}").reshape({value.shape})'
        f"  # {'×'.join(map(str, value.shape))} {value.dtype}"
    )
