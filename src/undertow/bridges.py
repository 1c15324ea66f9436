"""NumPy functions inside PyTorch and JAX programs, with their gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import numpy as np

from undertow import trees
from undertow.derivatives import vjp
from undertow.errors import ArgumentError
from undertow.trace import is_array_like, trace_function


def _pulled(f: Callable[..., Any]) -> Callable[..., Any]:
    """The function (ct, floats) → cotangents of the floats: itself a NumPy function, so it has a gradient too."""

    def pull(ct: Any, floats: list[Any]) -> Any:
        return vjp(f, floats)[1](ct)[0]

    return pull


def _import(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError:
        raise ArgumentError(f"{name} is not installed. Install it with: pip install {name}") from None


def to_torch(f: Callable[..., Any]) -> Callable[..., Any]:
    """Let a NumPy function take part in a PyTorch program.

    Args:
        f: a NumPy function of any trees of arrays.

    Returns:
        A function of tensors on the CPU that returns tensors, in trees like those of f. Gradients flow
        through it to any order; arguments that are no tensors are passed on as they are.

    Raises:
        ArgumentError: PyTorch is not installed.

    Source: derived here.

    Example:
        >>> import pytest
        >>> torch = pytest.importorskip("torch")
        >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> to_torch(lambda x: np.sum(x ** 3))(x).backward()
        >>> x.grad
        tensor([ 3., 12.])
    """
    torch = _import("torch")

    def apply(*args: Any) -> Any:
        leaves, rebuild = trees.flatten(args)
        places = [i for i, x in enumerate(leaves) if isinstance(x, torch.Tensor) and x.is_floating_point()]
        plain = [x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else x for x in leaves]

        def of_floats(floats: list[Any]) -> Any:
            full = list(plain)
            for i, x in zip(places, floats, strict=True):
                full[i] = x
            return f(*rebuild(full))

        return _torch_call(torch, of_floats, [leaves[i] for i in places])

    return update_wrapper(apply, f)


def _torch_call(torch: Any, f: Callable[[list[Any]], Any], tensors: list[Any]) -> Any:
    """Call a function of a list of float arrays on tensors."""
    kept: dict[str, Any] = {}

    class Bridge(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *xs: Any) -> Any:
            ctx.save_for_backward(*xs)
            arrays = [x.detach().cpu().numpy() for x in xs]
            if any(x.requires_grad for x in xs):
                value, kept["pull"] = vjp(f, arrays)
            else:
                value = f(arrays)
            outs, kept["rebuild"] = trees.flatten(value)
            kept["dtypes"] = [np.asarray(x).dtype for x in outs]
            found = tuple(torch.from_numpy(np.array(x)) for x in outs)
            ctx.mark_non_differentiable(*[x for x in found if not x.is_floating_point()])
            return found

        @staticmethod
        def backward(ctx: Any, *cts: Any) -> Any:
            saved = list(ctx.saved_tensors)  # PyTorch refuses here what was changed in place since
            if torch.is_grad_enabled():  # a derivative of the derivative is wanted
                return tuple(to_torch(_pulled(f))(kept["rebuild"](list(cts)), saved))
            arrays = [ct.cpu().numpy() for ct in cts]
            return tuple(torch.from_numpy(np.array(g)) for g in kept["pull"](kept["rebuild"](arrays))[0])

    found = Bridge.apply(*tensors)
    return kept["rebuild"](list(found))


def to_jax(f: Callable[..., Any]) -> Callable[..., Any]:
    """Let a NumPy function take part in a JAX program, under ``jit`` and ``grad`` too.

    Args:
        f: a NumPy function of any trees of arrays; its shapes must not depend on values.

    Returns:
        A function of JAX arrays that returns JAX arrays, in trees like those of f. Gradients flow through
        it to any order in reverse mode, ``jax.jacrev(jax.grad(f))``; JAX's forward mode does not enter callbacks.

    Raises:
        ArgumentError: JAX is not installed.

    Source: derived here; by ``jax.custom_vjp`` and ``jax.pure_callback``.

    Example:
        >>> import pytest
        >>> jax = pytest.importorskip("jax")
        >>> float(jax.grad(to_jax(lambda x: np.sum(x ** 3)))(2.0))
        12.0
    """
    jax = _import("jax")

    def apply(*args: Any) -> Any:
        leaves, rebuild = trees.flatten(args)
        static = [not (is_array_like(x) or isinstance(x, jax.Array)) for x in leaves]
        arrays = [jax.numpy.asarray(x) for x, fixed in zip(leaves, static, strict=True) if not fixed]
        places = [i for i, x in enumerate(arrays) if jax.numpy.issubdtype(x.dtype, jax.numpy.floating)]

        def of_arrays(floats: list[Any], others: list[Any]) -> Any:
            parts, rest = iter(floats), iter(others)
            mixed = iter([next(parts) if i in places else next(rest) for i in range(len(arrays))])
            return f(*rebuild([x if fixed else next(mixed) for x, fixed in zip(leaves, static, strict=True)]))

        others = [x for i, x in enumerate(arrays) if i not in places]
        return _jax_call(jax, of_arrays, [arrays[i] for i in places], others)

    return update_wrapper(apply, f)


def _jax_call(jax: Any, f: Callable[..., Any], floats: list[Any], others: list[Any]) -> Any:
    """Call a function of (float arrays, other arrays) through a callback with a derivative."""

    def result_specs(xs: list[Any], rest: list[Any]) -> Any:
        example = [np.zeros(x.shape, x.dtype) for x in xs], [np.zeros(x.shape, x.dtype) for x in rest]
        traced = trace_function(f, example)
        specs = [jax.ShapeDtypeStruct(x.spec.shape, jax.dtypes.canonicalize_dtype(x.spec.dtype))
                 for x in traced.graph.outputs]  # fmt: skip
        return traced.rebuild(specs)

    def compute(xs: list[Any], rest: list[Any], specs: Any) -> Any:
        value = f([np.asarray(x) for x in xs], [np.asarray(x) for x in rest])
        return trees.map(lambda x, spec: np.asarray(x, spec.dtype), value, specs)

    def call(xs: list[Any], rest: list[Any]) -> Any:
        specs = result_specs(xs, rest)
        return jax.pure_callback(lambda a, b: compute(a, b, specs), specs, xs, rest, vmap_method="sequential")

    def forward(xs: list[Any], rest: list[Any]) -> Any:
        return differentiable(xs, rest), (xs, rest)

    def backward(kept: Any, ct: Any) -> Any:
        xs, rest = kept
        cts, rebuild = trees.flatten(ct)

        def pull(parts: list[Any], given: list[Any]) -> Any:
            back = vjp(lambda z: f(z, given), parts[len(cts) :])[1]
            return back(rebuild(list(parts[: len(cts)])))[0]

        zeros = [np.zeros(x.shape, jax.dtypes.float0) for x in rest]
        return _jax_call(jax, pull, [*cts, *xs], rest), zeros

    differentiable = jax.custom_vjp(call)
    differentiable.defvjp(forward, backward)
    return differentiable(floats, others)
