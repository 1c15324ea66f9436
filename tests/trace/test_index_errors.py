"""An index that does not fit is told with the user's line and the array, in reading and in writing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import undertow as ut

MASK = np.array([True, False])

READ: list[tuple[Callable[[Any], Any], str]] = [
    (lambda w: w[1, 2], r"2 indices for \(3,\), which has 1 axes"),
    (lambda w: w[1.0], "an index must be integers, slices or truth values, not float64"),
    (lambda w: w[MASK], r"a mask of shape \(2,\) does not fit"),
    (lambda w: w[..., ...], "a single ellipsis"),
    (lambda w: w[:1.5], "a slice begins, ends and steps by integers, not 1.5, which is a float"),
    (lambda w: w["a":], "a slice begins, ends and steps by integers, not 'a', which is a str"),  # type: ignore[misc]
    (lambda w: w[w[0] :], "a slice begins, ends and steps by integers, not float64"),
    (lambda w: w[5], "position 5 is beyond an axis of size 3"),
]


def write(key: Any) -> Callable[[Any], Any]:
    def f(w: Any) -> Any:
        h = w * 2
        h[key] = 0.0
        return h

    return f


@pytest.mark.parametrize(("f", "words"), READ)
@pytest.mark.parametrize("derive", [lambda f, w: ut.grad(f)(w), ut.backprop], ids=["values", "shapes"])
def test_reading(f: Callable[[Any], Any], words: str, derive: Any) -> None:
    with pytest.raises(ut.PositionError, match=words) as told:
        derive(f, np.ones(3))
    assert f"test_index_errors.py:{f.__code__.co_firstlineno}" in str(told.value) and "w is (3,)" in str(told.value)
    assert str(told.value).count("test_index_errors.py") == 1


@pytest.mark.parametrize("key", [(1, 2), 1.0, MASK, (..., ...), 5, slice(None, 1.5)], ids=str)
def test_writing(key: Any) -> None:
    f = write(key)
    with pytest.raises(ut.PositionError, match=r"h is \(3,\)") as told:
        ut.grad(f)(np.ones(3))
    assert str(told.value).count(f"test_index_errors.py:{f.__code__.co_firstlineno + 2}") == 1
