"""Remedies as they are told of a loop of one's own: the line of NumPy to write, where `undertow.train` has an argument.

A line stands for what is called so in most loops: ``h`` goes into a layer, ``W`` and ``b`` are its parameters, ``z`` is
what it gives, ``rng`` a generator, ``gradient`` a tree like the parameters.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from undertow.flow.findings import Remedy

APPLIED: Final = {
    "relu": "h = np.maximum(h @ W + b, 0)",
    "tanh": "h = np.tanh(h @ W + b)",
    "leaky_relu": "z = h @ W + b\nh = np.where(z > 0, z, 0.01 * z)",
}
DRAWN: Final = {
    "he_normal": "n = W.shape[0]  # what goes in\nW = rng.normal(size=W.shape) * np.sqrt(2 / n)",
    "lecun_normal": "n = W.shape[0]  # what goes in\nW = rng.normal(size=W.shape) / np.sqrt(n)",
    "glorot_uniform": "limit = np.sqrt(6 / sum(W.shape))\nW = rng.uniform(-limit, limit, size=W.shape)",
    "orthogonal": "n = max(W.shape)\nW = np.linalg.qr(rng.normal(size=(n, n)))[0][: W.shape[0], : W.shape[1]]",
}
NORMALISED: Final = {
    "layer": (
        "z = h @ W + b\nz = z - z.mean(axis=-1, keepdims=True)\n"
        "z = z / np.sqrt((z**2).mean(axis=-1, keepdims=True) + 1e-5)"
    ),
    "batch": (
        "z = h @ W + b\nz = z - z.mean(axis=0)\n"
        "z = z / np.sqrt((z**2).mean(axis=0) + 1e-5)  # keep mean and deviation for predictions"
    ),
    "rms": "z = h @ W + b\nz = z / np.sqrt((z**2).mean(axis=-1, keepdims=True) + 1e-5)",
}
CLIPPED: Final = (
    "norm = np.sqrt(sum(np.sum(g**2) for g in ut.trees.flatten(gradient)[0]))\n"
    "gradient = ut.trees.map(lambda g: g * min(1.0, {limit:g} / norm), gradient)"
)
WEIGHED: Final = (
    "share = Y.mean(axis=0)  # of each class, over all rows\n"
    "loss = -np.mean(np.sum(Y * np.log(p) / (len(share) * share), axis=1))"
)


def by_hand(remedy: Remedy) -> Remedy:
    """Return a remedy with code for a loop of one's own, and without an option of a command that it does not run.

    Args:
        remedy: as a rule made it.

    Returns:
        The same with other code: that of the loop, what stands before a call of `undertow.train`, or none.

    Source: derived here.

    Example:
        >>> relu = Remedy("relu instead of tanh.", "ut.train(…)", "--activation relu", "activation", {"to": "relu"})
        >>> by_hand(relu).code, by_hand(relu).option
        ('h = np.maximum(h @ W + b, 0)', '')
    """
    return replace(remedy, code=_code(remedy, remedy.change), option="")


def _code(remedy: Remedy, settings: dict[str, Any]) -> str:
    """The lines to write."""
    to, name = str(settings.get("to")), remedy.name
    if name == "activation" and to in APPLIED and "where" not in settings:
        return APPLIED[to]
    if name == "initialisation" and to in DRAWN:
        return DRAWN[to]
    if name == "normalisation" and to in NORMALISED:
        return NORMALISED[to]
    if name == "residual":
        return "h = h + np.tanh(h @ W + b)  # where W is square"
    if name == "clipping":
        return CLIPPED.format(**settings)
    if name == "weights":
        return WEIGHED
    if name == "rate" and ("to" in settings or "constant" in settings):
        return f"rate = {settings.get('to', settings.get('constant')):g}"
    lines = [line for line in remedy.code.splitlines() if "ut.train(" not in line]
    return "" if any("model" in line or "better" in line for line in lines) else "\n".join(lines)
