"""The gradient of a function, as people call it: computed at once, or compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from undertow import differentiate
from undertow.keywords import explain_keywords
from undertow.nan_gradient import warn_of_nan


@explain_keywords
def grad(
    f: Callable[..., Any],
    wrt: int | tuple[int, ...] = 0,
    *,
    has_aux: bool = False,
    compile: bool = False,
    fallback: str | None = None,
) -> Callable[..., Any]:
    """Make the function that computes the gradient of ``f``.

    Args:
        f: a NumPy function that returns one number.
        wrt: the position of the argument to differentiate by, or a tuple of positions.
        has_aux: f returns (loss, aux), and the function that is made (gradient, aux); see `value_and_grad`.
        compile: compile the simplified backward pass, as `value_and_grad` does.
        fallback: with ``compile``, ``"numpy"`` lets NumPy do what does not compile; None makes it an error.

    Returns:
        A function of the same arguments that returns the gradient: the structure, shapes and dtypes of
        the argument (a tuple of such for a tuple ``wrt``). It can itself be differentiated.

    Raises:
        NonScalarError: f returned something other than one number.
        DTypeError: an argument to differentiate by holds integers.
        UnsupportedError: f uses what has no derivative here; with ``compile``, what does not compile.

    Warns:
        RuntimeWarning, UserWarning: as `value_and_grad`.

    Example:
        >>> import numpy as np
        >>> grad(lambda x: np.sum(x ** 3))(np.array([1.0, 2.0]))
        array([ 3., 12.])
        >>> grad(grad(grad(lambda x: x ** 4)))(2.0)
        48.0
        >>> grad(lambda x: np.sum(x ** 3), compile=True)(np.array([1.0, 2.0]))
        array([ 3., 12.])
    """
    both = value_and_grad(f, wrt, has_aux=has_aux, compile=compile, fallback=fallback)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, found = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    gradient.__name__ = f"grad_{getattr(f, '__name__', 'f')}"
    gradient.__wrapped__ = gradient.differentiated = f  # type: ignore[attr-defined]  # what messages name
    return gradient


@explain_keywords
def value_and_grad(
    f: Callable[..., Any],
    wrt: int | tuple[int, ...] = 0,
    *,
    has_aux: bool = False,
    compile: bool = False,
    fallback: str | None = None,
) -> Callable[..., Any]:
    """Make the function that computes ``f`` and its gradient.

    Args:
        f: a NumPy function that returns one number.
        wrt: the position of the argument to differentiate by, or a tuple of positions.
        has_aux: f returns (loss, aux): the number to differentiate, and a tree of anything else, such as predictions or
            the state of a recurrent network, that is passed on. The value is then that pair.
        compile: compile the simplified backward pass at the first call with arguments of these shapes. It pays where
            the function is called many times: the first call takes about as long as a thousand small ones.
        fallback: with ``compile``, ``"numpy"`` lets NumPy do what does not compile; None makes it an error.

    Returns:
        A function of the arguments of f that returns (value, gradient); the gradient has the tree of the argument.

    Raises:
        NonScalarError: f returned something other than one number; with ``has_aux``, than a pair of one and others.
        UnsupportedError: f uses what has no derivative here; with ``compile``, what does not compile.
        ControlFlowError: with ``compile``, f asked for the value of an array.

    Warns:
        RuntimeWarning: the gradient holds NaN where the value is a number, with the operation and its line; once for
            each function that is made, and not with ``compile``.
        UserWarning: f gives a result that does not depend on what it is differentiated by.

    Example:
        >>> import numpy as np
        >>> value_and_grad(lambda x, y: x * y, wrt=(0, 1))(2.0, 5.0)
        (10.0, (5.0, 2.0))
        >>> value_and_grad(lambda w: np.sum(w * w), compile=True)(np.array([1.0, 2.0]))
        (np.float64(5.0), array([2., 4.]))
        >>> value_and_grad(lambda w: (np.sum(w * w), {"largest": np.max(w)}), has_aux=True)(np.array([1.0, 2.0]))
        ((np.float64(5.0), {'largest': np.float64(2.0)}), array([2., 4.]))
    """
    if not compile:
        return _watched(f, wrt, has_aux)
    from undertow.compiled_gradient import compiled  # which takes ten times as long to import as all the rest

    return compiled(f, wrt, has_aux, fallback)


def _watched(f: Callable[..., Any], wrt: int | tuple[int, ...], has_aux: bool) -> Callable[..., Any]:
    """Make the function that computes ``f`` and its gradient without compiling, and warns of NaN once."""
    both = differentiate.value_and_grad(f, wrt, has_aux)
    told: list[bool] = []

    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        found = both(*args, **kwargs)
        if not told and warn_of_nan(f, args, kwargs, wrt, found):
            told.append(True)
        return found

    value_and_gradient.__name__ = both.__name__
    value_and_gradient.__wrapped__ = value_and_gradient.differentiated = f  # type: ignore[attr-defined]
    return value_and_gradient
