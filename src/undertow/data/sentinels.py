"""Numbers that stand for a missing value, such as -999: told of, and left as they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from undertow.data.wording import count

_REPEATED = [digit * (10**n - 1) // 9 for digit in (8, 9) for n in range(1, 8)]
_WRITTEN = (*[-x for x in _REPEATED], *[x for x in _REPEATED if x > 9])  # of 1, 2, 4, 8 the last is no gap
_LEAST_SHARE = 0.01  # of the rows, and two of them


def tell_sentinel(name: str, numbers: NDArray[np.float64], whole: bool = True) -> list[str]:
    """Say that a number of 8s or 9s alone, far from all others, may stand for a missing value.

    Args:
        name: of the column.
        numbers: those that are present, (m,), or a sample of them.
        whole: whether they are all, so that they can be counted.

    Returns:
        A sentence where the least or the largest is such a number, stands in two rows and one of a hundred at least,
        and is further from all others than those are from each other; else none. 8 and 9 themselves are none: small
        counts and sizes (1, 2, 4, 8) end in them by nature.

    Source: derived here.

    Example:
        >>> tell_sentinel("age", np.array([20.0, 41, -999, 33, -999]))[0][:57]
        "'age': -999 stands in 2 rows, far from all other values, "
        >>> tell_sentinel("grade", np.array([7.0, 8, 9, 9, 2]))
        []
    """
    if not numbers.size:
        return []
    for value in (float(numbers.min()), float(numbers.max())):
        if value not in _WRITTEN:
            continue
        others = numbers[numbers != value]
        n = numbers.size - others.size
        if others.size < 2 or n < max(2, _LEAST_SHARE * numbers.size):
            continue
        least, largest = float(others.min()), float(others.max())
        if max(least - value, value - largest) > largest - least > 0:
            rows = count(n, "row") if whole else f"about {n / numbers.size:.1%} of the rows"
            return [
                f"{name!r}: {value:.0f} stands in {rows}, far from all other values, {least:g} to "
                f"{largest:g}. If it says that the value is missing: missing=[{value:.0f}] (--missing={value:.0f})."
            ]
    return []
