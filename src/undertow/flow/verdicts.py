"""Whether a gradient reaches the first layers: judged by how its length changes over the whole depth.

The limits come from 48 networks of 4 to 98 layers, 32 and 64 units wide, trained on digits for 25 epochs by gradient
descent, by momentum and by Adam. Gradient descent fails from a depth of about 9 ξ on, where the gradient has changed by
e^4.5 = 90 (Schoenholz et al. 2017 found 6 ξ_c). Adam, which rescales, bears a gradient that shrinks to some 1/2000, and
one that grows by some 100. Blocks x + f(x) whose sum grows with depth train well with a factor of 500, since most of
that lies in the first few blocks.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from undertow.flow.expected import LayerForecast, Pair

VANISHES: Final = 5e-4
DESCENT_BEARS: Final = 1 / 90
NOTHING_LEFT: Final = 1e-5
EXPLODES: Final = 100.0
TORN: Final = 1000.0
BLOCKS_BEAR: Final = 10.0  # by so much more may it grow through residual blocks
ALONE: Final = 0.6  # the share of the whole change, in logarithms, from which on one layer is to blame
NORMS: Final = ("BatchNorm", "LayerNorm", "RMSNorm")
APART: Final = (*NORMS, "PReLU", "Scale", "activation", "watched", "Embedding", "EmbedColumns")
DIGITS: Final = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


@dataclass(frozen=True)
class Verdict:
    """What is to be expected, in plain words.

    Attributes:
        kind: ``"vanishes"``, ``"explodes"`` or ``"fine"``.
        severity: ``"error"`` (it will not learn), ``"warning"`` (it will learn badly), ``"note"``.
        factor: the length of δ in the first layer by that in the last; NaN where there is nothing to compare.
        expected: the same by theory; NaN where there is none.
        sentence: all of it in words.
        rows: the layers concerned, the cause first.
    """

    kind: str
    severity: str
    factor: float
    expected: float
    sentence: str
    rows: tuple[LayerForecast, ...] = ()

    def __str__(self) -> str:
        return self.sentence


def compared(rows: Iterable[LayerForecast]) -> list[LayerForecast]:
    """Choose the layers whose gradients can be compared: those of the main path, where z has the scale of its layer.

    Before a normalisation z may have any scale, and δ has its inverse: there what the normalisation gives stands for
    the layer.

    Args:
        rows: of all layers.

    Returns:
        Some of them, first to last.

    Source: derived here.

    Example:
        >>> compared([])
        []
    """
    main = [row for row in rows if row.layer.within is None]
    found = []
    for i, row in enumerate(main):
        before, after = main[i - 1] if i else None, main[i + 1] if i + 1 < len(main) else None
        if row.layer.kind in NORMS:
            if before is not None and _feeds_norm(before, row):
                found.append(row)
        elif row.layer.kind not in APART and not _feeds_norm(row, after):
            found.append(row)
    return found


def _feeds_norm(row: LayerForecast, after: LayerForecast | None) -> bool:
    """Whether what a Dense layer gives goes into a normalisation as it is."""
    plain = row.layer.kind == "Dense" and row.layer.activation is None
    return plain and after is not None and after.layer.kind in NORMS


def judge(rows: Sequence[LayerForecast]) -> list[Verdict]:
    """Say whether the gradient vanishes or explodes, by which factor, and where.

    Args:
        rows: of all layers, first to last.

    Returns:
        Verdicts, the most serious first; at least one.

    Source: Schoenholz et al., Deep information propagation, ICLR 2017, section 5; the limits as said above.

    Example:
        >>> judge([])[0].kind
        'fine'
    """
    broken = next((row for row in rows if not math.isfinite(row.z.measured)), None)
    if broken is not None:
        text = f"{_capital(broken.label)}, gives numbers that are not finite, before any training."
        return [Verdict("explodes", "error", math.inf, broken.z.predicted, text, (broken,))]
    path = compared(rows)
    found = []
    if path and path[-1].sigma_w2 == 0:
        text = (
            f"The weights of {path[-1].label}, are all 0, so that the first step changes that layer alone. "
            "What it lets back later is not known."
        )
        found.append(Verdict("fine", "note", math.nan, math.nan, text, (path[-1],)))
        path = []
    if len(path) < 2:
        return found or [
            Verdict("fine", "note", math.nan, math.nan, "There is no depth through which it could vanish.")
        ]
    return [_judge_path(path)]


def whole_factor(path: Sequence[LayerForecast]) -> Pair:
    """Compute the length of δ in the first of these layers by that in the last.

    Args:
        path: one layer or more.

    Returns:
        The factor by theory, and as measured.

    Source: derived here.
    """
    first, last = path[0].length, path[-1].length
    return Pair(*(a / b if b > 0 else math.nan for a, b in zip(first, last, strict=True)))


def _judge_path(path: list[LayerForecast]) -> Verdict:
    """The verdict on two layers or more."""
    first, last = path[0], path[-1]
    whole = whole_factor(path)
    factor, expected = whole.best, whole.predicted
    blocks = 2 * sum(row.layer.kind in ("Residual", "Parallel", "Concat") for row in path) >= len(path)
    much = BLOCKS_BEAR if blocks else 1.0
    if math.isnan(factor):
        text = "What flows back could not be measured, because Python code asks for values while the loss is traced."
        return Verdict("fine", "note", factor, expected, text)
    rows, where = _blame(path)
    theory = f" Theory expects {scientific(expected)}." if math.isfinite(expected) else ""
    way = f"from {_number(last)} to {_number(first)}"
    if factor == 0:
        text = f"No gradient comes back {way}.{where}{theory}"
        return Verdict("vanishes", "error", 0.0, expected, text, rows)
    if factor < VANISHES:
        hopeless = factor < NOTHING_LEFT
        fate = "will not learn" if hopeless else "will hardly learn"
        text = f"{_depth_of(path)} {fate}: the gradient shrinks to {scientific(factor)} of its length {way}."
        return Verdict("vanishes", "error" if hopeless else "warning", factor, expected, f"{text}{where}{theory}", rows)
    if factor > EXPLODES * much:
        hopeless = factor > TORN * much
        text = f"{_depth_of(path)} will {'not learn' if hopeless else 'be hard to train'}: the gradient grows "
        text += f"{scientific(factor)} times {way}."
        return Verdict("explodes", "error" if hopeless else "warning", factor, expected, f"{text}{where}{theory}", rows)
    text = f"The gradient reaches {_number(first)}: {way} its length changes by the factor {scientific(factor)}."
    if factor < DESCENT_BEARS:
        text += " Rules that rescale, such as Adam, bear that; gradient descent hardly does."
    return Verdict("fine", "note", factor, expected, f"{text}{theory}", ())


def _blame(path: list[LayerForecast]) -> tuple[tuple[LayerForecast, ...], str]:
    """The layers to blame, the cause first, and a sentence about them."""
    pairs = list(itertools.pairwise(path))
    stop = max((i for i, (before, _) in enumerate(pairs) if before.length.best == 0), default=None)
    if stop is not None:
        return _blame_stop(path, *pairs[stop])
    steps = [_log(a.length) - _log(b.length) for a, b in pairs]
    total = sum(steps)
    most = max(range(len(steps)), key=lambda i: steps[i] * math.copysign(1, total))
    if len(steps) > 2 and math.isfinite(total) and steps[most] * math.copysign(1, total) > ALONE * abs(total):
        before, after = pairs[most]
        odd = after.sigma_w2 < 0.1 or after.sigma_w2 > 10
        cause, other = (after, before) if odd else (before, after)
        why = f"σ_w² of {cause.label}, is {scientific(cause.sigma_w2)}" if odd else f"it is lost at {cause.label}"
        return (cause, other), f" Most of it between {_number(after)} and {_number(before)}: {why}."
    square = math.exp(2 * total / len(steps)) if math.isfinite(total) else 0.0
    return tuple(path[:-1]), f" A layer multiplies its square by χ = {scientific(square)} on average."


def _blame_stop(
    path: list[LayerForecast], before: LayerForecast, after: LayerForecast
) -> tuple[tuple[LayerForecast, ...], str]:
    """The layer behind which no gradient comes back, and a sentence about it."""
    if after.sigma_w2 == 0:
        return (after, before), f" It stops at {after.label}, whose weights are all 0."
    dead = next((row for row in path if row.h.measured == 0 and row.z.measured > 0), before)
    what = "gives nothing but zeros" if dead.h.measured == 0 else "lets nothing back"
    return (dead, after), f" It stops at {dead.label}, whose activation {what}."


def _log(length: Pair) -> float:
    return math.log(length.best) if length.best > 0 else -math.inf


def _depth_of(path: list[LayerForecast]) -> str:
    """What it is a depth of: ``Depth 30 of sigmoid``."""
    kinds = [row.layer.activation or (row.layer.kind if row.layer.kind != "Dense" else "") for row in path[:-1]]
    kind, count = Counter(kinds).most_common(1)[0]
    named = {"Residual": "residual blocks", "Parallel": "parallel blocks", "Concat": "blocks side by side"}
    return f"Depth {len(path)}" + (f" of {named.get(kind, kind)}" if kind and 2 * count > len(kinds) else "")


def _number(row: LayerForecast) -> str:
    return f"layer {row.layer.number}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def scientific(x: float) -> str:
    """Write a number with two digits: 0.47, 32, 8×10⁻¹⁹.

    Args:
        x: any number.

    Returns:
        Its text.

    Source: derived here.

    Example:
        >>> scientific(0.0625), scientific(7.74e-19), scientific(12345.0)
        ('0.062', '7.7×10⁻¹⁹', '1.2×10⁴')
    """
    if x == 0 or not math.isfinite(x):
        return {0.0: "0", math.inf: "∞", -math.inf: "−∞"}.get(x, "–")
    if 1e-3 <= abs(x) < 1e4:
        return f"{x:.2g}" if abs(x) < 100 else f"{x:.0f}"
    digits, power = f"{x:.1e}".split("e")
    return f"{digits}×10{str(int(power)).translate(DIGITS)}"
