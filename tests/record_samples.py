"""What the tests that run on the records' samples share."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from undertow.primitives import NO_GRADIENT, Primitive, Sample

with contextlib.suppress(ImportError):  # without SciPy there are fewer records
    import scipy.special  # noqa: F401

    from undertow.primitives import scipy_special  # noqa: F401

STEERED = ("stop_gradient", "clip_cotangent", "attach")  # their gradients are not their derivatives, on purpose


def float_places(primitive: Primitive, args: tuple[Any, ...]) -> tuple[int, ...]:
    """The arguments that a derivative is taken by."""
    return tuple(
        i
        for i, x in enumerate(args)
        if np.asarray(x).dtype.kind == "f" and primitive.rule(i) is not NO_GRADIENT and np.size(x)
    )


def scalar(primitive: Primitive, sample: Sample) -> Any:
    """Make a smooth scalar function of a primitive's arguments: weights times its result, squared a little."""

    def f(*args: Any) -> Any:
        out = primitive(*args, **sample.params)
        weights = np.cos(np.arange(np.size(out.node.value if hasattr(out, "node") else out)) + 1.0)
        weights = weights.reshape(out.shape)
        return np.sum(weights * out + 0.1 * weights * out * out)

    return f
