"""What a forecast finds wrong with a model, with what mends it."""

from __future__ import annotations

import math
from typing import Final

from undertow.flow.expected import LayerForecast
from undertow.flow.findings import Evidence, Finding, Remedy
from undertow.flow.forecast import Forecast
from undertow.flow.meanfield import critical_variance
from undertow.flow.rules.remedies import POSITIVE, RELU_DEPTH
from undertow.flow.verdicts import EXPLODES, VANISHES, Verdict, scientific
from undertow.nn.activations import ACTIVATIONS

SOURCE: Final = "Schoenholz et al., Deep information propagation, ICLR 2017; limits: docs/forecast.md"
NORMED: Final = {"BatchNorm", "LayerNorm", "RMSNorm"}
BLOCKS: Final = ("Residual", "Parallel", "Concat")


def findings(forecast: Forecast) -> list[Finding]:
    """List what a forecast finds wrong.

    Args:
        forecast: made by `undertow.flow.forecast`.

    Returns:
        Findings of the kinds ``"vanishing"`` and ``"exploding"``; none where the gradient gets through.

    Source: derived here.

    Example:
        >>> import numpy as np
        >>> from undertow.flow.forecast import forecast
        >>> from undertow.nn import Dense, Sequential
        >>> deep = [item for _ in range(20) for item in (Dense(16, 16), "sigmoid")]
        >>> X = np.random.default_rng(0).normal(size=(50, 16))
        >>> [found] = findings(forecast(Sequential(*deep, Dense(16, 2)), X))
        >>> found.kind, found.severity, found.remedies[0].name
        ('vanishing', 'error', 'normalisation')
    """
    return [_finding(forecast, verdict) for verdict in forecast.verdicts if verdict.kind != "fine"]


def _finding(forecast: Forecast, verdict: Verdict) -> Finding:
    kind = {"vanishes": "vanishing", "explodes": "exploding"}[verdict.kind]
    limit = f"above {VANISHES:g}" if kind == "vanishing" else f"below {EXPLODES:g}"
    evidence = [Evidence("length of δ in the first layer by that in the last, before training", verdict.factor, limit)]
    if math.isfinite(verdict.expected):
        evidence.append(Evidence("the same by mean-field theory for these weights", verdict.expected, limit))
    if math.isfinite(forecast.xi):
        text = f"layers in which the square of |δ| changes by e (ξ); the network has {forecast.depth}"
        evidence.append(Evidence(text, abs(forecast.xi), f"above {forecast.depth / 9:.2g}"))
    return Finding(
        kind,
        verdict.severity,
        verdict.sentence,
        layers=tuple(row.label for row in verdict.rows),
        paths=tuple(row.layer.path for row in verdict.rows),
        evidence=tuple(evidence),
        remedies=tuple(remedies(forecast, verdict)),
        source=SOURCE,
    )


def remedies(forecast: Forecast, verdict: Verdict) -> list[Remedy]:
    """List what may let the gradient through, the most promising first.

    Args:
        forecast: of the model.
        verdict: that it vanishes or explodes.

    Returns:
        Other activations, initial weights, normalisation, residual blocks, clipping: those that the model lacks.

    Source: He et al. 2015, eq. 10; Schoenholz et al. 2017, section 3; Ba et al. 2016; He et al. 2016.
    """
    kinds = {row.layer.kind for row in forecast.layers}
    activation = _activation_of(forecast)
    found: list[Remedy | None] = []
    if activation in POSITIVE:  # in the order in which they were measured to help, see rules/gradients.py
        found += [] if kinds & NORMED else [_normalised("batch")]
        found += [] if kinds & set(BLOCKS) else [_residual()]
        return [x for x in (*found, _other_activation(activation, forecast.depth)) if x is not None]
    if not kinds & {*NORMED, *BLOCKS}:
        found.append(_other_weights(forecast, activation))
    if kinds & {"Residual"} and verdict.kind == "explodes":
        found.append(_scaled_blocks(forecast))
    if not kinds & set(BLOCKS):
        found.append(_residual())
    if not kinds & NORMED:
        found.append(_normalised("layer"))
    if verdict.kind == "explodes":
        found.append(_clipped())
    return [remedy for remedy in found if remedy is not None]


def _activation_of(forecast: Forecast) -> str | None:
    """The most frequent activation of the hidden layers."""
    names = [row.layer.activation for row in forecast.layers[:-1] if row.layer.activation]
    return max(names, key=names.count, default=None)


def _other_activation(activation: str, depth: int) -> Remedy:
    to = "relu" if depth <= RELU_DEPTH else "tanh"
    code = (
        f'from undertow.flow.changes import with_activation\nbetter = with_activation(model, "{to}", of="{activation}")'
    )
    whose = {"relu": "He's", "tanh": "Glorot's"}[to]
    return Remedy(
        f"{to} instead of {activation}: with {whose} weights, which it then gets, χ is near 1.", code,
        f"--activation {to}", "activation", {"to": to},
    )  # fmt: skip


def _other_weights(forecast: Forecast, activation: str | None) -> Remedy | None:
    """Weights for which χ = 1, unless they are there already."""
    if activation not in ACTIVATIONS or activation in ("softmax", "log_softmax"):
        return None
    wanted = 1.0 if activation == "selu" else critical_variance(activation)
    if wanted is None or _spread(forecast.layers, wanted) < 0.05:
        return None
    relu = activation in ("relu", "relu6")
    gain = 1.0 if relu else float(f"{math.sqrt(wanted):.3g}")
    name = "he_normal" if relu else "lecun_normal"
    text = f'"{name}"' if gain == 1 else f"ut.nn.{name}(gain={gain:g})"
    code = (
        "from dataclasses import replace\n"
        "def begin(item):\n"
        f"    return replace(item, init={text}, W=None, b=None) if isinstance(item, ut.nn.Dense) else item\n"
        "better = ut.nn.map_layers(model, begin)"
    )
    change = {"to": name} if gain == 1 else {"to": name, "gain": gain}
    why = "mean 0 and variance 1 are kept" if activation == "selu" else "χ is 1"
    sentence = f"Initial weights with σ_w² = {scientific(wanted)}, for which {why}: {text.replace('ut.nn.', '')}."
    return Remedy(sentence, code, "", "initialisation", change)


def _spread(rows: list[LayerForecast], wanted: float) -> float:
    """How far σ_w² is from what is wanted, in logarithms, on average over the hidden layers."""
    sizes = [row.sigma_w2 for row in rows[:-1] if row.sigma_w2 > 0]
    return abs(sum(math.log(x / wanted) for x in sizes) / len(sizes)) if sizes else math.inf


def _residual() -> Remedy:
    code = "from undertow.flow.changes import with_residuals\nbetter = with_residuals(model)"
    return Remedy(
        "Residual blocks x + f(x) around the hidden layers: χ is then 1 + s² χ_f, never below 1.", code, "--residual",
        "residual", {},
    )  # fmt: skip


def _scaled_blocks(forecast: Forecast) -> Remedy:
    count = sum(row.layer.kind == "Residual" for row in forecast.layers)
    scale = float(f"{1 / math.sqrt(count):.1g}")
    code = (
        "def calmer(item):\n"
        "    inside = isinstance(item, ut.nn.Residual)\n"
        f"    return ut.nn.Residual(*item.layers, projection=item.projection, scale={scale:g}) if inside else item\n"
        "better = ut.nn.map_layers(model, calmer)"
    )
    return Remedy(
        f"Residual blocks x + s f(x) with s = 1/√{count} ≈ {scale:g}: their sum then does not grow with depth.",
        code,
        "",
        "residual",
        {"scale": scale},
    )


def _clipped() -> Remedy:
    return Remedy(
        "Clip the gradient at the norm 1: a step then cannot throw the parameters out of range.",
        "run = ut.train(model, (X, y), loss=loss, clip=ut.optim.clip_by_global_norm(1.0))",
        "--clip 1",
        "clipping",
        {"limit": 1.0},
    )


def _normalised(kind: str) -> Remedy:
    code = f'from undertow.flow.changes import with_normalisation\nbetter = with_normalisation(model, "{kind}")'
    name = {"layer": "LayerNorm", "batch": "BatchNorm"}[kind]
    return Remedy(
        f"{name} after each hidden layer: it holds the size of z, whatever the weights are.", code, f"--norm {kind}",
        "normalisation", {"to": kind},
    )  # fmt: skip
