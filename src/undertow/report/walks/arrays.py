"""Arrays as a page shows them: every number of a small one; of a large one rows, columns, statistics, a histogram."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.graph import Dim, Shape

BINS = 24
DIGITS = 6  # significant ones


@dataclass(frozen=True)
class Detail:
    """How much of an array is shown.

    Attributes:
        every: arrays of at most so many numbers are shown whole.
        front: rows and columns at the front of a larger one.
        tail: and at its end.
        choice: of how many examples the rows are kept, where a batch is too large for all.
        few: batches of at most so many examples are kept whole.
    """

    every: int = 400
    front: int = 6
    tail: int = 2
    choice: int = 8
    few: int = 12

    def examples(self, batch: int | None, example: int) -> list[int]:
        """Return which examples can be looked at: all of a small batch, else the one asked for and the first few."""
        if not batch:
            return []
        if batch <= self.few:
            return list(range(batch))
        return sorted({example, *range(min(self.choice, batch))})

    def edges(self, n: int) -> list[int]:
        """Return the rows or columns of n that are kept."""
        if n <= self.front + self.tail:
            return list(range(n))
        return [*range(self.front), *range(n - self.tail, n)]


DETAILS = (Detail(), Detail(100), Detail(64, 5, 1, 4, 4), Detail(16, 3, 1, 2, 2))  # from much to little


class Arrays:
    """Collects the arrays of a walk; equal ones are kept once.

    Args:
        batch: the number of examples; None where no axis is known to be the batch.
    """

    def __init__(self, batch: int | None) -> None:
        self.batch = batch
        self.found: list[tuple[NDArray[Any], Shape]] = []
        self.places: dict[Any, int] = {}
        self.summaries: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}

    def add(self, value: Any, shape: Shape) -> int:
        """Keep an array and return its number.

        Args:
            value: the array or number.
            shape: its shape with the batch size as a symbol, which tells the axis of the examples.
        """
        array = np.asarray(value)
        key = (array.shape, array.dtype.str, tuple(map(str, shape)), sha256(array.tobytes()).digest())
        if key not in self.places:
            self.places[key] = len(self.found)
            self.found.append((array, shape))
        return self.places[key]

    def plain(self, detail: Detail, example: int) -> list[dict[str, Any]]:
        """Return all of them as plain data."""
        examples = detail.examples(self.batch, example)
        return [self._describe(array, shape, detail, examples) for array, shape in self.found]

    def _describe(self, array: NDArray[Any], shape: Shape, detail: Detail, examples: Sequence[int]) -> dict[str, Any]:
        axis = next((i for i, size in enumerate(shape) if isinstance(size, Dim)), None)
        n, k = _as_table(array.shape)
        if axis == 0 and array.ndim == 1:
            n, k = k, n  # a number an example: examples go down
        table = array.reshape(n, k)
        made: dict[str, Any] = {"shape": list(array.shape), "n": n, "k": k}
        if axis == 0 and self.batch and n % self.batch == 0:
            made["block"] = n // self.batch  # rows an example
        elif axis is not None and axis == array.ndim - 1 and k == self.batch:
            made["across"] = True  # a column an example
        if array.size > detail.every:
            block = made.get("block")
            rows = [e * block + i for e in examples for i in detail.edges(block)] if block else detail.edges(n)
            columns = sorted({*detail.edges(k), *(examples if made.get("across") else ())})
            made["rows"], made["columns"] = rows, columns
            table = table[np.ix_(rows, columns)]
            made["histogram"] = self._summary(array)[1]
        made["v"] = [plain(x) for x in table.reshape(-1).tolist()]
        made["about"] = self._summary(array)[0]
        return made

    def _summary(self, array: NDArray[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The statistics and the histogram, computed once."""
        if id(array) not in self.summaries:
            self.summaries[id(array)] = statistics(array), histogram(array)
        return self.summaries[id(array)]


def _as_table(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns: the last axis across, all others down."""
    if not shape:
        return 1, 1
    return (math.prod(shape[:-1]), shape[-1]) if len(shape) > 1 else (1, shape[0])


def plain(x: Any) -> Any:
    """Return a number as JSON can hold it: rounded to the digits shown; NaN and infinities as words."""
    if isinstance(x, bool | int | np.bool_ | np.integer):
        return int(x)
    number = float(x)
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    short = float(f"{number:.{DIGITS}g}")
    return int(short) if abs(short) < 1e6 and short == int(short) else short


def statistics(array: NDArray[Any]) -> dict[str, Any]:
    """Return the smallest, largest and mean number, the root mean square, and how many are 0 or not finite."""
    if not array.size:
        return {}
    numbers = array.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    zero, wrong = numbers.size - int(np.count_nonzero(numbers)), int(numbers.size - finite.size)
    made: dict[str, Any] = {**({"zero": zero} if zero else {}), **({"nonfinite": wrong} if wrong else {})}
    if finite.size:
        largest = float(np.abs(finite).max())
        scaled = finite / largest if largest else finite  # squares of large numbers overflow
        mean, rms = largest * float(scaled.mean()), largest * math.sqrt(float(np.mean(scaled * scaled)))
        made.update(min=plain(finite.min()), max=plain(finite.max()), mean=plain(mean), rms=plain(rms))
    return made


def histogram(array: NDArray[Any]) -> dict[str, Any]:
    """Return the counts of finite numbers in bins of one width, and the two ends."""
    numbers = array.astype(np.float64).reshape(-1)
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        return {}
    low, high = float(numbers.min()), float(numbers.max())
    if not math.isfinite(high - low) or high <= low:
        return {"low": plain(low), "high": plain(high), "counts": [int(numbers.size)]}
    places = np.minimum(((numbers - low) / (high - low) * BINS).astype(int), BINS - 1)
    return {"low": plain(low), "high": plain(high), "counts": np.bincount(places, minlength=BINS).tolist()}
