"""Operations for the engine and for those who steer it: identity, stopped and clipped gradients, sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.graph import Dim, Size, Spec
from undertow.primitives.record import ATOM, PRODUCT, ZERO, Code, Primitive, Sample, infer_like
from undertow.primitives.sampling import draw, unary_samples


def _same(x: Any, **_: Any) -> Any:
    """Return a copy: who changes it later changes nothing else."""
    return np.array(x)[()]


def _spell_same(x: Code, **_: Any) -> Code:
    return x


identity = Primitive(
    name="identity",
    forward=lambda x: np.array(x, order="C")[()],  # .copy() lays the elements out row by row
    infer=infer_like,
    vjps=(lambda ct, out, x: ct,),
    broadcasts=True,
    finite_slope=True,
    spell=_spell_same,
    text="{0}",
    latex="{0}",
    flow=("{ct}",),
    latex_flow=("{ct}",),
    samples=unary_samples,
)

stop_gradient = Primitive(
    name="stop_gradient",
    forward=_same,
    infer=infer_like,
    vjps=(ZERO,),
    broadcasts=True,
    spell=_spell_same,
    text="{0}",
    latex="{0}",
    # Integers and nothing: the derivative is zero by decree, so no difference quotient can confirm it.
    samples=lambda: [
        Sample((np.array([1, 2, 3]),), note="integers"),
        Sample((draw((2, 0), 1),), note="empty"),
    ],
)

clip_cotangent = Primitive(
    name="clip_cotangent",
    forward=_same,
    infer=infer_like,
    vjps=(lambda ct, out, x, low, high: np.clip(ct, low, high),),
    broadcasts=True,
    finite_slope=True,
    spell=_spell_same,
    text="{0}",
    latex="{0}",
    flow=("clip({ct})",),
    latex_flow=(r"\operatorname{{clip}}({ct})",),
    # The bounds are far away, where the clipped derivative is the derivative.
    samples=lambda: [Sample(s.args, {"low": -100.0, "high": 100.0}, s.note) for s in unary_samples()],
)


def _attached_share(position: int, ct: Any, out: Any, *inputs: Any, rule: Any) -> Any:
    return rule.share(position - 1, ct, out, inputs[1:])


class _ByTwo:
    """A derivative of one's own, for the samples: of out = x y by x and by y."""

    @staticmethod
    def share(position: int, ct: Any, out: Any, args: tuple[Any, ...]) -> Any:
        return ct * args[1 - position]


attach = Primitive(
    name="attach",
    forward=lambda out, *args, rule: _same(out),
    infer=lambda out, *args, rule: out,
    vjps=lambda position, *args, **params: _attached_share(position, *args, **params),
    constant=(0,),
    spell=lambda value, *args, **_: value,
    text="{0}",
    latex="{0}",
    flow=("", "its own rule({ct})"),
    latex_flow=("", r"\operatorname{{rule}}({ct})"),
    # The first argument is the value, the others are what the derivative of one's own is by.
    samples=lambda: [Sample((np.array([6.0]), np.array([2.0]), np.array([3.0])), {"rule": _ByTwo}, "x y by x and y")],
)


def _infer_size(dim: Size) -> Spec:
    return Spec((), np.dtype(np.int64), weak=True)


def _spell_size(dim: Size, **_: Any) -> Code:
    return Code(str(dim), PRODUCT if isinstance(dim, Dim) and dim.count != 1 else ATOM)


size = Primitive(
    name="size",
    forward=lambda dim: int(dim),
    infer=_infer_size,
    vjps=(),
    spell=_spell_size,
    text="m",
    latex="m",
    samples=lambda: [Sample((), {"dim": 5}, "a size")],
)

positions = Primitive(
    name="positions",
    forward=lambda dim, dtype: np.arange(int(dim), dtype=dtype),
    infer=lambda dim, dtype: Spec((dim,), dtype),
    vjps=(),
    spell=lambda *, dim, dtype, **_: Code(f"np.arange({dim}{'' if dtype == np.int64 else f', dtype=np.{dtype}'})"),
    text="0 … m − 1",
    latex=r"0, \ldots, m - 1",
    samples=lambda: [Sample((), {"dim": 5, "dtype": np.dtype(np.int64)}, "the rows of a batch")],
)
