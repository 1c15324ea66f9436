"""Operations on float16 by those on float32: the operands widened, the result rounded once, as in NumPy's own loops.

Kernels read and write float16 and move it about. What they compute of it is computed in float32, composite operations
and sums from beginning to end: at least as good as NumPy, which rounds some of what is in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.compile.access import MOVES
from undertow.compile.scalars import KINDS, LIKE_RESULT, loop_of
from undertow.graph import CONSTANT, Node, Spec

HALF, SINGLE = np.dtype(np.float16), np.dtype(np.float32)

# Those that move elements, and those whose numbers are those of float16 itself.
NATIVE = frozenset((
    *MOVES, "concatenate", "index_update", "astype", "identity", "stop_gradient", "clip_cotangent", "spacing",
    "nextafter", "nan_to_num", "round",
))  # fmt: skip

Cast = Callable[[Node, np.dtype[Any]], Node]


def widened(
    op: Any, inputs: tuple[Node, ...], params: dict[str, Any], spec: Spec, cast: Cast
) -> tuple[tuple[Node, ...], dict[str, Any], Spec] | None:
    """Return what an operation on float16 is given in float32, and what it makes of it; None for others.

    Args:
        op: the operation.
        inputs: its operands.
        params: its parameters.
        spec: of its result.
        cast: brings a value to a dtype.
    """
    if HALF not in KINDS or op.name in NATIVE:
        return None
    dtypes = _computed_in(op, inputs, spec)
    if HALF not in dtypes and spec.dtype != HALF:
        return None
    wide = tuple([_narrowed(x, cast) if dtype == HALF else x for x, dtype in zip(inputs, dtypes, strict=True)])
    params = {key: SINGLE if key == "dtype" and value == HALF else value for key, value in params.items()}
    made = op.infer(*[x.spec for x in wide], **params).dtype
    if made == HALF:  # of small whole numbers
        wide = tuple([_narrowed(x, cast) for x in inputs])
        made = op.infer(*[x.spec for x in wide], **params).dtype
    return wide, params, Spec(spec.shape, made)


def _computed_in(op: Any, inputs: tuple[Node, ...], spec: Spec) -> list[Any]:
    """The dtypes that NumPy brings the operands to."""
    ufunc = op.numpy[0] if op.numpy else None
    if isinstance(ufunc, np.ufunc) and ufunc.nin == len(inputs) and op.name not in LIKE_RESULT:
        return list(loop_of(ufunc, tuple([(x.spec.dtype, x.spec.weak) for x in inputs])))
    if op.name in LIKE_RESULT:
        return [spec.dtype] * len(inputs)
    # A Python number takes on the dtype of the array beside it.
    return [spec.dtype if x.spec.weak and x.spec.dtype.kind == "f" == spec.dtype.kind else x.spec.dtype for x in inputs]


def _narrowed(x: Node, cast: Cast) -> Node:
    """A value rounded to float16, in float32."""
    if x.op is CONSTANT:
        with np.errstate(over="ignore"):
            value = np.asarray(x.value).astype(HALF).astype(SINGLE)
        return Node(CONSTANT, (), {}, Spec(x.spec.shape, SINGLE), value)
    return cast(cast(x, HALF), SINGLE)
