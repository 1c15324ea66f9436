"""What losses take for outputs and targets, and what they say of what they do not take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from undertow import primitives as P
from undertow.errors import DataError, ShapeError
from undertow.graph import show_shape

_ROUNDED: Final = 8  # units of the last place by which sums and quotients of a few numbers may be off


def check_same(name: str, what: str, p: Any, y: Any) -> None:
    """Refuse an output and a target of two shapes, which would broadcast.

    Args:
        name: of the loss.
        what: the output is called: ``"p"``, ``"z"``.
        p: the output.
        y: the target.

    Raises:
        ShapeError: ``huber: p is (3, 1), y is (3,): they would broadcast to something else. Give y[:, None], …``
        DataError: ``binary_focal: y holds 'yes'. Give numbers: y.astype(float), or two classes as 0 and 1.``

    Source: derived here.

    Example:
        >>> check_same("huber", "p", np.zeros(3), np.zeros(3))
    """
    a, b = P.shape_of(p), P.shape_of(y)
    if P.dtype_of(y).kind in "USO":
        raise DataError(
            f"{name}: y holds {_of_no_number(y)}. Give numbers: y.astype(float), or two classes as 0 and 1."
        )
    if a == b and a:
        return
    if len(a) == 2 and a[1] == 1 and len(b) == 1:
        remedy = "Give y[:, None], or a model output with its last axis removed."
    elif len(b) == 2 and b[1] == 1 and len(a) == 1:
        remedy = "Give y[:, 0]."
    else:
        remedy = f"Give y the shape of {what}, with a batch axis first."
    raise ShapeError(
        f"{name}: {what} is {show_shape(a)}, y is {show_shape(b)}: they would broadcast to something else. {remedy}"
    )


def check_target(name: str, y: Any, accepts: Callable[[Any], Any], wanted: str) -> None:
    """Refuse targets that a loss cannot have; a traced target is checked before tracing.

    Args:
        name: of the loss.
        y: the target.
        accepts: which elements of an array are right.
        wanted: what the target holds, and the remedy.

    Raises:
        DataError: ``poisson: y holds -1.0, but …``

    Source: derived here.

    Example:
        >>> check_target("poisson", np.ones(3), lambda y: y >= 0, "counts are 0 or more.")
    """
    if isinstance(y, P.Traced):
        return
    wrong = ~np.asarray(accepts(np.asarray(y)))
    if wrong.any():
        raise DataError(f"{name}: y holds {np.asarray(y)[wrong][0]}, but {wanted}")


def check_probabilities(name: str, y: Any) -> None:
    """Refuse targets outside of [0, 1].

    Args:
        name: of the loss.
        y: the target.

    Raises:
        DataError: ``binary_cross_entropy: y holds 2, but targets are 0, 1 or a probability. …``

    Source: derived here.

    Example:
        >>> check_probabilities("binary_cross_entropy", np.array([0, 1]))
    """
    remedy = "targets are 0, 1 or a probability. Give the classes as 0 and 1."
    check_target(name, y, lambda y: (y >= 0) & (y <= 1), remedy)


def read_probabilities(name: str, p: Any) -> Any:
    """Refuse outputs that are no probabilities, whose logarithm would be no number; traced ones are not looked at.

    Args:
        name: of the loss, which has another one of logits.
        p: the output; NaN is let through, as the loss of a training that diverged.

    Returns:
        p. 0 and 1, and what is less than 8 units of float32's last place beyond them, count as the nearest number
        between them, since rounding makes these of a p that is: the loss stays finite, and 0 · log 0 does not come up.

    Raises:
        DataError: ``categorical_cross_entropy: p holds -1.5, but probabilities are 0 to 1. If these are logits, …``

    Source: derived here.

    Example:
        >>> read_probabilities("binary_cross_entropy", np.array([0.0, 0.5, 1.0]))
        array([2.22507386e-308, 5.00000000e-001, 1.00000000e+000])
    """
    if isinstance(p, P.Traced):
        return p
    p = np.asarray(p)
    if p.dtype.kind not in "fc":
        p = p.astype(np.float64)
    limits, size = np.finfo(p.dtype), p.real
    off = _ROUNDED * max(limits.eps, np.finfo(np.float32).eps)  # float64 may hold what float32 has computed
    wrong = (size < -off) | (size > 1 + off)
    if wrong.any():
        found = size[wrong][0]
        shown = f"{found:g}" if f"{found:g}" not in ("0", "1") else repr(float(found))
        other = f"{name}_with_logits"
        raise DataError(f"{name}: p holds {shown}, but probabilities are 0 to 1. If these are logits, use {other}.")
    return p if p.dtype.kind == "c" else np.clip(p, limits.tiny, 1 - limits.epsneg)


def read_classes(name: str, what: str, p: Any, y: Any) -> Any:
    """Make rows of probabilities of a target of classes, after checking it.

    Args:
        name: of the loss.
        what: the output is called: ``"p"``, ``"z"``.
        p: the output, (m, K).
        y: rows, (m, K), or integer labels, (m,).

    Returns:
        (m, K).

    Raises:
        ShapeError: p and y do not go together.
        DataError: ``categorical_cross_entropy: y holds the label 4, but p has 4 classes, 0 to 3.``, texts, or a
            number below 0.

    Source: derived here.

    Example:
        >>> read_classes("categorical_hinge", "z", np.zeros((1, 2)), np.array([1]))
        array([[0., 1.]])
    """
    a, b = P.shape_of(p), P.shape_of(y)
    if len(a) != 2:
        raise ShapeError(f"{name}: {what} is {show_shape(a)}. Give it a row an example and a column a class.")
    if len(b) == 1 and P.dtype_of(y).kind in "iub":
        if a[0] != b[0]:
            raise ShapeError(f"{name}: {what} is {show_shape(a)}, y is {show_shape(b)}. Give one label for each row.")
        return _one_hot(name, what, y, a[1], P.dtype_of(p))
    if P.dtype_of(y).kind in "USO":
        way = "np.unique(y, return_inverse=True)[1]"
        raise DataError(f"{name}: y holds {_of_no_number(y)}. Number the classes: {way}.")
    if a != b:
        way = f"Give y one column for each of the {a[1]} classes (one-hot), or integer labels of one axis"
        if b in (a[:1], (a[0], 1)):
            way = "Give integer labels of one axis: y" + ("[:, 0]" if len(b) == 2 else "")
            way += "" if P.dtype_of(y).kind in "iub" else ".astype(int)"
        raise ShapeError(f"{name}: {what} is {show_shape(a)}, y is {show_shape(b)} of {P.dtype_of(y)}. {way}.")
    check_target(name, y, lambda y: y >= 0, "rows are probabilities, of 0 or more. Make labels of -1 and 1 0 and 1.")
    return y


def _of_no_number(y: Any) -> str:
    """What a target holds that is no number, for a message."""
    found = next((x for x in np.ravel(y).tolist() if not isinstance(x, int | float)), None)
    return "numbers as objects" if found is None else f"{found!r:.40}"


def _one_hot(name: str, what: str, y: Any, n_classes: Any, dtype: np.dtype[Any]) -> Any:
    """Labels (m,) as one-hot rows (m, n_classes)."""
    if not isinstance(y, P.Traced):
        y = np.asarray(y)
        outside = (y < 0) | (y >= n_classes)
        if outside.any():
            raise DataError(
                f"{name}: y holds the label {y[outside][0]}, but {what} has {n_classes} classes, 0 to {n_classes - 1}."
                + (" An example that is to be left out has the weight 0." if y[outside][0] < 0 else "")
            )
        y = y.astype(np.int64)
    return P.one_hot(y, n_classes, dtype)
