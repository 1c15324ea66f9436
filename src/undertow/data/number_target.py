"""A target of numbers: standardised, or its logarithm is, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from undertow.data.column_statistics import NumberStatistics
from undertow.data.columns import read_numbers
from undertow.data.late import pl
from undertow.data.parse import parse_numbers
from undertow.data.state import read_choice
from undertow.data.wording import Origin, count, name_row, shorten
from undertow.errors import ArgumentError, DataError, ShapeError

TargetScaling = Literal["standard", "log", "log1p", "mean", "none"]
Curve = Literal["", "log", "log1p"]
TARGET_SCALINGS: Final = get_args(TargetScaling)
CURVES: Final = get_args(Curve)
_LEAST = {"log": 0.0, "log1p": -1.0}  # what has a logarithm is larger
_WITHOUT = {"log": "0 or less", "log1p": "-1 or less"}
_LARGEST = 709.0  # whose exponential is a float64
_ENOUGH, _SKEWED = 100, 2.0  # rows, and the third moment of an exponential distribution


@dataclass(frozen=True)
class NumberTarget:
    """A target of numbers, standardised.

    Args:
        name: the table's column.
        mean, scale: y = (value − mean) / scale; in the target's unit, or in that of its logarithm.
        layout: how its texts are written, a name in ``LAYOUTS``; "" as programs write them.
        curve: what is taken of the values first: "log" or "log1p", the logarithm of 1 + value; "" nothing.

    Example:
        >>> target = NumberTarget("price", 2.0, 0.5, curve="log")
        >>> target.decode(np.array([-4.0, 0.0])).round(3).tolist()
        [1.0, 7.389]
    """

    name: str
    mean: float
    scale: float
    layout: str = ""
    curve: Curve = ""

    def encode(self, series: pl.Series, origin: Origin | None) -> NDArray[np.float32]:
        """Standardised numbers, float32 (m, 1); DataError at the first missing or wrong value."""
        check_present(series, origin)
        numbers = read_numbers(series, "number", origin, self.layout)
        bent = bend(numbers, self.curve, self.name, origin)
        with np.errstate(over="ignore"):
            y = ((bent - self.mean) / self.scale).astype(np.float32)
        far = np.flatnonzero(~np.isfinite(y))
        if far.size:
            at = int(far[0])
            raise DataError(
                f"{name_row(at, origin)}: target {self.name!r} is {numbers[at]:g}, further from the "
                f"training values (mean {self.mean:g}) than float32 reaches. Correct the value."
            )
        return y[:, None]

    def decode(self, outputs: NDArray[np.generic]) -> NDArray[np.generic]:
        """Numbers in the target's unit, float64 (m,), of outputs (m,) or (m, 1)."""
        if outputs.ndim == 2 and outputs.shape[1] == 1:
            outputs = outputs[:, 0]
        if outputs.ndim != 1:
            raise ShapeError(f"decode: expected outputs (m,) or (m, 1), got {outputs.shape}.")
        numbers: NDArray[Any] = outputs.astype(np.float64) * self.scale + self.mean
        if not self.curve:
            return numbers
        numbers = np.minimum(numbers, _LARGEST)
        found: NDArray[Any] = np.exp(numbers) if self.curve == "log" else np.expm1(numbers)
        return found

    def to_json_dict(self) -> dict[str, object]:
        """The target as JSON values."""
        record: dict[str, object] = {"name": self.name, "task": "regression", "mean": self.mean, "scale": self.scale}
        more = {"layout": self.layout, "curve": self.curve}
        return record | {name: value for name, value in more.items() if value}


def check_present(series: pl.Series, origin: Origin | None) -> None:
    """DataError at the first row without a target."""
    missing = series.is_null().arg_true()
    if len(missing):
        raise DataError(
            f"{name_row(int(missing[0]), origin)}: target {series.name!r} is missing "
            f"({count(len(missing), 'such row')}). Drop these rows first: drop_missing_target."
        )


def find_curve(scaling: TargetScaling) -> Curve:
    """What is taken of the values before they are standardised."""
    return scaling if scaling == "log" or scaling == "log1p" else ""


def bend(numbers: NDArray[np.float64], curve: Curve, name: str, origin: Origin | None) -> NDArray[np.float64]:
    """The logarithms of a target's numbers; DataError at the first that has none.

    Args:
        numbers: (m,).
        curve: see `NumberTarget`.
        name: of the target, for messages.
        origin: where the rows came from.

    Returns:
        Float64, (m,).

    Raises:
        DataError: ``row 2: target 'paid' is 0, which has no logarithm. …``

    Source: derived here.

    Example:
        >>> bend(np.array([1.0, 0.0]), "log1p", "paid", None).round(3).tolist()
        [0.693, 0.0]
        >>> bend(np.array([1.0, 0.0]), "log", "paid", None)
        Traceback (most recent call last):
        undertow.errors.DataError: row 2: target 'paid' is 0, which has no logarithm. For amounts of 0 or more, take ...
    """
    if not curve:
        return numbers
    bad = np.flatnonzero(numbers <= _LEAST[curve])
    if bad.size:
        at = int(bad[0])
        raise _without_logarithm(f"{name_row(at, origin)}: target {name!r} is {numbers[at]:g}", curve, numbers[at])
    return take_logarithms(numbers, curve)


def take_logarithms(numbers: NDArray[np.float64], curve: Curve) -> NDArray[np.float64]:
    """The same without a look at each; −infinity where there is none, NaN where a number is missing."""
    if not curve:
        return numbers
    with np.errstate(divide="ignore"):
        least = _LEAST[curve]
        numbers = np.maximum(numbers, least)
        return np.log(numbers) if curve == "log" else np.log1p(numbers)


def _without_logarithm(begin: str, curve: Curve, number: float) -> DataError:
    """The error for a number that has no logarithm, to be raised by the caller."""
    if curve == "log" and number == 0:
        return DataError(
            f"{begin}, which has no logarithm. For amounts of 0 or more, take that of 1 + value: "
            "target_scaling='log1p' (--target-scaling log1p)."
        )
    what = "which has no logarithm" if curve == "log" else "and 1 + value has no logarithm"
    return DataError(f"{begin}, {what}. Choose target_scaling='standard' (--target-scaling standard).")


def check_scaling(scaling: TargetScaling) -> None:
    """ArgumentError where there is no such scaling of a target."""
    if scaling not in TARGET_SCALINGS:
        raise ArgumentError(f"target_scaling is {scaling!r}. Choose one of {', '.join(TARGET_SCALINGS)}.")


def check_number_target(series: pl.Series, origin: Origin | None) -> None:
    """DataError at the first value of a target that is no number."""
    name = series.name
    if not (series.dtype.is_numeric() or series.dtype == pl.Boolean):
        bad = parse_numbers(series).is_null() if series.dtype == pl.String else series.is_not_null()
        at = int(bad.arg_true()[0]) if bad.any() else 0
        raise DataError(
            f"{name_row(at, origin)}: target {name!r} is {shorten(series[at])}, but a regression needs "
            "numbers. Correct it, or choose task='classification'."
        )


def fit_numbers(series: pl.Series, origin: Origin | None, scaling: TargetScaling) -> tuple[NumberTarget, list[str]]:
    """Mean and standard deviation of a target that is all there; DataError where there is nothing to learn."""
    check_number_target(series, origin)
    numbers = read_numbers(series, "number", origin)
    found = NumberStatistics()
    found.update(bend(numbers, find_curve(scaling), series.name, origin))
    return fit_number_target(series.name, found, scaling, bool(np.all(numbers == np.floor(numbers))))


def fit_number_target(
    name: str, found: NumberStatistics, scaling: TargetScaling = "standard", whole: bool = True
) -> tuple[NumberTarget, list[str]]:
    """Mean and standard deviation of a target; DataError where there is nothing to learn.

    Args:
        name: of the target.
        found: what was seen of it; of its logarithms where the scaling takes these.
        scaling: see ``TabularEncoder.fit``.
        whole: whether all are whole numbers.
    """
    check_scaling(scaling)
    if found.least == found.largest:
        raise DataError(
            f"target {name!r} holds one value only ({found.least:g}): there is nothing to learn. "
            "Give rows with different values."
        )
    if scaling == "none":
        return NumberTarget(name, 0.0, 1.0), [f"Target {name!r}: as it is, not scaled."]
    mean, scale = found.mean, found.deviation
    curve = find_curve(scaling)
    if curve and np.isneginf(found.least):
        raise _without_logarithm(f"target {name!r} holds {_WITHOUT[curve]}", curve, 0)
    if not (np.isfinite(mean) and np.isfinite(scale) and scale > 0):
        raise DataError(f"target {name!r} holds numbers too large or too close. Give it in another unit.")
    if scaling == "mean":
        what = "counts" if whole else "amounts"
        if found.least < 0:
            raise DataError(
                f"target {name!r} holds {found.least:g}, but {what} are 0 or more. Choose another loss, such as "
                "mean_squared_error, or another target_scaling."
            )
        return NumberTarget(name, 0.0, mean), [f"Target {name!r}: {what}, divided by their mean {mean:g}."]
    if curve:
        taken = "logarithm" if curve == "log" else "logarithm of 1 + value"
        return NumberTarget(name, mean, scale, curve=curve), [
            f"Target {name!r}: its {taken}, standardised with mean {mean:g} and standard deviation {scale:g}. What is "
            "predicted is nearer to a median than to a mean."
        ]
    return NumberTarget(name, mean, scale), [
        f"Target {name!r}: standardised with mean {mean:g} and standard deviation {scale:g}.",
        *tell_skew(name, found, whole),
    ]


def tell_skew(name: str, found: NumberStatistics, whole: bool) -> list[str]:
    """Say that amounts are skewed where their logarithms are much less so.

    Args:
        name: of the target.
        found: what was seen of it; its skewness is that of the sample.
        whole: whether all are whole numbers, as counts are.

    Returns:
        A sentence, or none: where values are below 0, few, or have a skewness of 2 or less, that of an exponential
        distribution, or logarithms with more than half of it.

    Source: derived here; the skewness is the third moment of the standardised values.

    Example:
        >>> found = NumberStatistics()
        >>> found.update(np.exp(np.linspace(-4, 4, 200)))
        >>> print(*tell_skew("paid", found, False))
        Target 'paid': skewed: half of the values are below 1, the largest is 54.6. --target-scaling log ...
    """
    values = found.sample
    if values.size < _ENOUGH or found.least < 0:
        return []
    curve: Curve = "log" if found.least > 0 else "log1p"
    skewness = _skewness(values)
    if not skewness > _SKEWED or abs(_skewness(bend(values, curve, name, None))) > skewness / 2:
        return []
    counts = ", or --loss poisson its rate" if whole else ""
    return [
        f"Target {name!r}: skewed: half of the values are below {np.median(values):.4g}, the largest is "
        f"{found.largest:.4g}. --target-scaling {curve} (target_scaling={curve!r}) learns its logarithm{counts}: then "
        "errors count by their ratio to the value."
    ]


def _skewness(values: NDArray[np.float64]) -> float:
    with np.errstate(all="ignore"):
        apart = values - values.mean()
        apart /= np.abs(apart).max()  # whose third power may overflow
        return float(np.mean(apart**3) / np.mean(apart**2) ** 1.5)


def has_curve(record: object) -> list[str]:
    """The entry "curve" where a record has one: those of targets that are standardised as they are have none."""
    return ["curve"] if isinstance(record, dict) and "curve" in record else []


def read_curve(record: Mapping[str, object], where: str) -> Curve:
    """The curve in a record; RunError where it is unknown."""
    if "curve" not in record:
        return ""
    found: Curve = read_choice(record["curve"], f"{where}, curve", CURVES, "curve")
    return found
