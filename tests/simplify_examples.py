"""An expression for every rule of the simplifier on which it fires, in plain NumPy: what the rules' tests run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import undertow as ut

ROWS, LABELS = np.arange(4), np.array([2, 0, 1, 2])
SHIFT = "softmax does not change with a shift"
LSE = "log of a sum of exponentials"
GUARD = "log of what is never 0"


@dataclass(frozen=True)
class Example:
    """An expression that a rule rewrites.

    Attributes:
        rule: the name of the rule.
        f: the expression.
        shapes: of its arguments, which hold floats.
        backward: the rule works on what differentiation made only; the expression is marked as made so.
        final: the rule waits until nothing will be differentiated any more.
        stable: the same value, written so that extended precision suffices where it does not for f.
    """

    rule: str
    f: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...] = ((4, 3),)
    backward: bool = False
    final: bool = False
    stable: Callable[..., Any] | None = None


def softmax(z: Any) -> Any:
    return np.exp(z) / np.sum(np.exp(z), axis=1, keepdims=True)


def log_softmax(z: Any) -> Any:
    return z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def guarded_log(p: Any) -> Any:
    return np.log(np.where(np.logical_and(np.arange(p.shape[-1]) == 1, p == 0), 1, p))


def stable_log_softmax(z: Any, axis: int = 1) -> Any:
    z = z - np.max(z, axis=axis, keepdims=True)
    return z - np.log(np.sum(np.exp(z), axis=axis, keepdims=True))


def stable_softmax(z: Any, axis: int = 1) -> Any:
    return np.exp(stable_log_softmax(z, axis))


def stable_sigmoid(z: Any) -> Any:
    return np.exp(-softplus(-z))


def softplus(z: Any) -> Any:
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def logsumexp(z: Any, axis: int = 1) -> Any:
    top = np.max(z, axis=axis, keepdims=True)
    return top + np.log(np.sum(np.exp(z - top), axis=axis, keepdims=True))


def shifted_sums() -> list[Callable[..., Any]]:
    """The sum of exponentials that cannot overflow, without its axis kept, as people write it."""

    def by_column(z: Any) -> Any:
        top = np.max(z, axis=1, keepdims=True)
        return top[:, 0] + np.log(np.exp(z - top).sum(axis=1))

    def by_squeeze(z: Any) -> Any:
        top = np.max(z, axis=1, keepdims=True)
        return np.log(np.sum(np.exp(z - top), axis=1)) + np.squeeze(top, axis=1)

    def by_new_axis(z: Any) -> Any:
        top = z.max(axis=1)
        return top + np.log(np.sum(np.exp(z - top[:, None]), axis=1))

    return [by_column, by_squeeze, by_new_axis]


def negative_log_likelihood(z: Any, sign: int = 1) -> Any:
    """−log softmax of the labels, by logsumexp."""
    total, own = np.log(np.sum(np.exp(z), axis=1)), z[ROWS, LABELS]
    return total - own if sign == 1 else own - total


def one(rule: str, *fs: Callable[..., Any], shapes: Any = ((4, 3),), **how: Any) -> list[Example]:
    return [Example(rule, f, shapes, **how) for f in fs]


TWO = ((4, 3), (4, 3))
THREE = (*TWO, (4, 3))

EXAMPLES: list[Example] = [
    # -- shapes and copies
    *one("identity", lambda x: x.copy() * 2, lambda x: np.exp(np.copy(x))),
    *one("nothing left to steer", lambda x: ut.stop_gradient(x) * 2, final=True),
    *one("nothing left to steer", lambda x: ut.clip_cotangent(x, -1.0, 1.0) * 2, final=True),
    *one("same shape", lambda x: x.reshape(4, 3) * 2, lambda x: np.broadcast_to(x, (4, 3)) * 2),
    *one("same shape", lambda x: x.astype(x.dtype) * 2),
    *one("same shape", lambda x: np.transpose(x, (0, 1)) * 2),
    *one("double transpose", lambda x: x.T.T * 2, lambda x: np.exp(x.T).T * x.T.T),
    *one("double transpose", lambda x: np.transpose(np.transpose(x, (1, 2, 0)), (2, 1, 0)) * 2, shapes=((2, 4, 3),)),
    *one("transposed product", lambda x, y: (x @ y.T).T, shapes=TWO, backward=True),
    *one("double reshape", lambda x: x.reshape(12).reshape(3, 4), lambda x: np.ravel(x.reshape(2, 6))),
    *one("reduced axis kept", lambda x: np.sum(x, axis=1)[:, None], lambda x: np.mean(x, axis=0)[None]),
    *one("reduced axis kept", lambda x: np.max(x, axis=1)[:, None], lambda x: np.min(x, axis=1).reshape(4, 1)),
    *one("reduced axis kept", lambda x: ut.logsumexp(x, axis=1)[:, None]),
    *one("inserted axes", lambda x: x[:, None] * 2, lambda x: x[None, :, None, :] * 2, lambda x: x[..., None] * 2),
    *one("reduced axis not kept", lambda x: np.squeeze(np.sum(x, axis=1, keepdims=True), axis=1) * 2, backward=True),
    *one("reduced axis not kept", lambda x: np.squeeze(np.sum(x, axis=(0, 1), keepdims=True)) * 2, backward=True),
    *one("squeeze of an inserted axis", lambda x: np.squeeze(np.expand_dims(x, 1), 1) * 2),
    *one("broadcasting is implied", lambda x, y: np.broadcast_to(x, (4, 3)) + y, shapes=((3,), (4, 3))),
    *one("broadcasting is implied", lambda x, y: y / np.broadcast_to(x, (4, 3)), shapes=((4, 1), (4, 3))),
    *one("broadcasting is implied", lambda x, y: np.maximum(np.broadcast_to(x, (4, 3)), y), shapes=((), (4, 3))),
    *one("broadcasting is implied", lambda x, y: np.where(y > np.broadcast_to(x, (4, 3)), y, x), shapes=((3,), (4, 3))),
    *one("double broadcast", lambda x: np.broadcast_to(np.broadcast_to(x, (4, 3)), (2, 4, 3)) * 2, shapes=((3,),)),
    *one("double broadcast", lambda x: np.broadcast_to(x[None], (4, 3)) * 2, shapes=((3,),)),
    *one("axes of a repeated number", lambda x: np.broadcast_to(x, (3,))[:, None] * 2, shapes=((),)),
    *one("axes of a repeated number", lambda x: np.broadcast_to(x, (2, 3)).T * 2, shapes=((),)),
    *one("axes of a repeated number", lambda x: np.broadcast_to(x, (2, 3)).reshape(6) * 2, shapes=((),)),
    # -- other spellings of the exponentials
    *one("power of e", lambda z: np.e**z, stable=lambda z: np.exp(z)),
    *one("reciprocal of an exponential", lambda z: 1 / np.exp(z), stable=lambda z: np.exp(-z)),
    *one("exp of a softplus", lambda z: np.exp(-np.logaddexp(0, -z)), stable=stable_sigmoid),
    *one("sigmoid as a tanh in two parts", lambda z: 0.5 + 0.5 * np.tanh(z / 2), stable=stable_sigmoid),
    *one("sigmoid as a tanh in two parts", lambda z: np.tanh(z / 2) / 2 + 0.5, stable=stable_sigmoid),
    # -- signs, ones and zeros
    *one("double negation", lambda x: -np.negative(x), lambda x: np.exp(-np.negative(x))),
    *one("negated difference", lambda x, y: -(x - y), shapes=TWO),
    *one("negated difference", lambda x, y: -((x - y) / y), lambda x, y: -((x - y) * y), shapes=TWO, backward=True),
    *one("signs", lambda x, y: x + (-y), lambda x, y: (-x) + y, lambda x, y: x - (-y), shapes=TWO),
    *one("signs", lambda x, y: (-x) - y, lambda x, y: (-x) + (-y), shapes=TWO),
    *one("sign of a product", lambda x, y: (-x) * y, lambda x, y: x * (-y), lambda x, y: x / (-y), shapes=TWO),
    *one("sign of a product", lambda x, y: (-x) / (-y), lambda x, y: (-x) @ y.T, shapes=TWO),
    *one("sign through a linear operation", lambda x: np.sum(-x, axis=1), lambda x: np.mean(-x, axis=0)),
    *one("sign through a linear operation", lambda x: (-x).T * 2, lambda x: (-x).reshape(12) * 2),
    *one("sign through a linear operation", lambda x: np.broadcast_to(-x, (2, 4, 3)) * 2, lambda x: (-x)[:, None] * 2),
    *one("one and zero", lambda x: 1 * x, lambda x: x * 1.0, lambda x: x / 1, lambda x: x - 0, lambda x: x**1),
    *one("one and zero", lambda x: x * -1, lambda x: -1.0 * x, lambda x: x / -1, lambda x: -1 / x),
    *one("product with zeros", lambda x: np.zeros((2, 4)) @ x + 1, lambda x: np.zeros_like(x) @ np.ones((3, 2)) + 1),
    *one("product with zeros", lambda x: np.tanh(x @ np.zeros((3, 2))), stable=lambda x: np.zeros((4, 2))),
    *one("zero added", lambda x: x + 0, lambda x: 0.0 + x, lambda x: np.zeros_like(x) + x, lambda x: x + np.zeros(3)),
    *one("zero added", lambda x: x + np.zeros((2, 4, 3)), lambda x: np.zeros((4, 3)) + x[0]),
    *one("plain numbers", lambda x: x * np.asarray(x.dtype.type(2)) + x, lambda x: x - x.dtype.type(0.1)),
    *one("turned condition", lambda x, y: np.where(np.logical_not(y > 0), x, y), shapes=TWO),
    *one("equal branches", lambda x, y: np.where(y > 0, x, x) * 2, shapes=TWO),
    *one("chosen once", lambda x, y: np.where(y > 0, np.where(y > 0, x, 0) * y, 0), shapes=TWO, backward=True),
    *one("chosen once", lambda x, y: np.where(y > 0, 0, np.exp(np.where(y > 0, 0, x))), shapes=TWO, backward=True),
    # -- stable functions
    *one("softmax", softmax, stable=stable_softmax),
    *one("softmax", lambda z: np.exp(z.T) / np.sum(np.exp(z.T), axis=0), stable=lambda z: stable_softmax(z).T),
    *one("softmax", lambda z: np.exp(z) / np.sum(np.exp(z)), shapes=((5,),), stable=lambda z: stable_softmax(z, 0)),
    *one("softmax", lambda z: (np.exp(z).T / np.sum(np.exp(z), axis=1)).T, stable=stable_softmax),
    *one("division by a reciprocal", lambda x, y: x * (1 / y), lambda x, y: np.reciprocal(y) * x, shapes=TWO),
    *one(SHIFT, lambda z: softmax(z - np.max(z, axis=1, keepdims=True)), stable=stable_softmax),
    *one(SHIFT, lambda z: softmax(z + np.min(z, axis=1, keepdims=True) / 2), stable=stable_softmax),
    *one(SHIFT, lambda z: np.log(softmax(z - 3.0)), stable=stable_log_softmax),
    *one("log of a softmax", lambda z: np.log(softmax(z)), stable=stable_log_softmax),
    *one("log of a softmax", lambda z: np.log(softmax(z).T), stable=lambda z: stable_log_softmax(z).T),
    *one("log of a softmax", lambda z: np.log(softmax(z)[:, 1]), stable=lambda z: stable_log_softmax(z)[:, 1]),
    *one(
        "log of a softmax",
        lambda z: np.log(softmax(z)[ROWS, LABELS]),
        stable=lambda z: stable_log_softmax(z)[ROWS, LABELS],
    ),
    *one(LSE, lambda z: np.log(np.sum(np.exp(z), axis=1)), stable=lambda z: logsumexp(z)[:, 0]),
    *one(LSE, lambda z: np.log(np.sum(np.exp(z))), shapes=((5,),), stable=lambda z: logsumexp(z, 0)[0]),
    *one(LSE, lambda z: np.log(np.sum(np.exp(z), axis=0, keepdims=True)), stable=lambda z: logsumexp(z, 0)),
    *one("log-sum-exp with a shift", logsumexp, stable=logsumexp),
    *one(
        "log-sum-exp with a shift",
        lambda z: np.log(np.sum(np.exp(z - (c := np.min(z, axis=1, keepdims=True))), axis=1, keepdims=True)) + c,
        stable=logsumexp,
    ),
    *one(
        "log-sum-exp with a shift",
        *shifted_sums(),
        stable=lambda z: logsumexp(z)[:, 0],
    ),
    *one(
        "log-sum-exp with a shift",
        lambda z: np.max(z) + np.log(np.sum(np.exp(z - np.max(z)))),
        shapes=((5,),),
        stable=lambda z: logsumexp(z, 0)[0],
    ),
    *one(
        "a shift of scores cancels",
        lambda z: negative_log_likelihood(z - np.max(z, axis=1, keepdims=True)),
        lambda z: negative_log_likelihood(z - np.max(z, axis=1)[:, None]),
        lambda z: -negative_log_likelihood(z - np.max(z, axis=1, keepdims=True), -1),
        stable=lambda z: -stable_log_softmax(z)[ROWS, LABELS],
    ),
    *one("log-softmax", log_softmax, stable=stable_log_softmax),
    *one("log-softmax", lambda z: z - np.log(np.sum(np.exp(z), axis=0)), stable=lambda z: stable_log_softmax(z, 0)),
    *one("exp of a log", lambda z: np.exp(np.log(softmax(z))), stable=stable_softmax),
    *one("exp of a log", lambda z: np.exp(log_softmax(z)), stable=stable_softmax),
    *one("exp of a log", lambda z: np.exp(ut.log_softmax(z, axis=1)), stable=stable_softmax),
    *one("log of an exp", lambda z: np.log(np.exp(z)), stable=lambda z: z),
    *one("log of an exp", lambda z: np.log(np.exp(z * 2)) + 1, stable=lambda z: z * 2 + 1),
    *one("sigmoid", sigmoid, stable=stable_sigmoid),
    *one("sigmoid", lambda z: np.exp(z) / (1 + np.exp(z)), stable=stable_sigmoid),
    *one("sigmoid", lambda z: 1 / (np.exp(z) + 1), stable=lambda z: stable_sigmoid(-z)),
    *one("sigmoid as a reciprocal", lambda z: np.reciprocal(1 + np.exp(-z)), stable=stable_sigmoid),
    *one("sigmoid as a reciprocal", lambda z: (1 + np.exp(-z)) ** -1.0, stable=stable_sigmoid),
    *one("sigmoid as a tanh", lambda z: 0.5 * (1 + np.tanh(z)), stable=lambda z: stable_sigmoid(2 * z)),
    *one("sigmoid as a tanh", lambda z: (np.tanh(z / 2) + 1) / 2, stable=stable_sigmoid),
    *one("sigmoid of a part", lambda z: ut.sigmoid(z)[:, 1] * 2, lambda z: ut.sigmoid(z).T * 2),
    *one("sigmoid of a part", lambda z: ut.sigmoid(z)[0], lambda z: np.squeeze(ut.sigmoid(z)[:, :1], 1)),
    *one("complement of a sigmoid", lambda z: 1 - sigmoid(z), stable=lambda z: stable_sigmoid(-z)),
    *one("complement of a sigmoid", lambda z: np.log(1 - sigmoid(z)), stable=lambda z: -softplus(z)),
    *one("log of a sigmoid", lambda z: np.log(sigmoid(z)), stable=lambda z: -softplus(-z)),
    *one("log of a sigmoid", lambda z: np.log(ut.sigmoid(-z)), stable=lambda z: -softplus(z)),
    *one(GUARD, lambda z: guarded_log(softmax(z)), stable=stable_log_softmax),
    *one(GUARD, lambda z: guarded_log(softmax(z)[:, 1]), stable=lambda z: stable_log_softmax(z)[:, 1]),
    *one(GUARD, lambda z: guarded_log(1 - sigmoid(z)), stable=lambda z: -softplus(z)),
    *one("softplus", lambda z: np.log(1 + np.exp(z)), stable=softplus),
    *one("softplus", lambda z: np.log1p(np.exp(-z)), stable=lambda z: softplus(-z)),
    *one("softplus", lambda z: np.log1p(-sigmoid(z)), stable=lambda z: -softplus(z)),
    *one("softplus by logaddexp", lambda z: np.logaddexp(0, z), lambda z: np.logaddexp(z, 0.0), stable=softplus),
    *one("softplus in two parts", softplus, stable=softplus),
    *one("softplus in two parts", lambda z: np.maximum(z, 0) + np.log(1 + np.exp(-np.abs(z))), stable=softplus),
    *one(
        "softplus in two parts",
        lambda z, y: np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))),
        shapes=TWO,
    ),
    # -- the algebra of the backward pass
    *one("a known quotient", lambda x, y, z: x / z + np.exp(x * y / z), shapes=THREE, backward=True),
    *one("a known quotient", lambda x, y, z: np.sin(x / z) * (x * (y / z)), shapes=THREE, backward=True),
    *one("a known quotient", lambda x, y, z: x * y / z - y * np.sin(z) * x / z, shapes=THREE, backward=True),
    *one("collected terms", lambda x, y, z: x * y + x * z, lambda x, y, z: x * y - z * x, shapes=THREE, backward=True),
    *one("collected terms", lambda x, y: x * (1 - y) - (1 - x) * y, shapes=TWO, backward=True),
    *one("collected terms", lambda x, y: (x + y) - x, lambda x, y: x * 2 + x * 3 - y, shapes=TWO, backward=True),
    *one("collected terms", lambda x, y: (x / 4) * y / 2, lambda x, y: -(x / -2) * y, shapes=TWO, backward=True),
    *one("collected terms", lambda x, y: x / y + x / y, shapes=TWO, backward=True),
    *one("collected terms", lambda x, y: (x - y) / 4 + (y - x) / 8, shapes=TWO, backward=True),
    *one(
        "collected terms",
        lambda x, y: -(y / sigmoid(x)) * sigmoid(x) * (1 - sigmoid(x)) + (1 - y) * sigmoid(x),
        shapes=TWO,
        backward=True,
    ),
    *one("factor out of a sum", lambda c, x: np.sum(x * c, axis=0), shapes=((), (4, 3)), backward=True),
    *one(
        "factor out of a sum",
        lambda c, x: np.sum(x / c, axis=1, keepdims=True),
        shapes=((4, 1), (4, 3)),
        backward=True,
    ),
    *one(
        "sum of equal numbers", lambda c, x: np.sum(np.broadcast_to(c, (4, 3)), axis=0) + x, shapes=((), (4, 3))
    ),
]  # fmt: skip
# Rules that only a gradient by integer labels brings about are tested on losses: in test_losses.py.
ON_LOSSES = {
    "labels as one-hot rows",
    "sum of what was put at one place in each row",
    "rows of one-hot labels sum to 1",
}
