"""A gradient of 0 is told apart: of a function that does not change, and of one at a corner or in a valley."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import undertow as ut


@pytest.mark.parametrize(
    ("f", "x", "flat"),
    [
        (lambda x: np.sum(np.abs(x)), 0.0, False),
        (lambda x: np.sum(x**4), 0.0, False),
        (lambda x: np.sum(np.maximum(x, 0)), -3.0, True),
        (lambda x: np.sum(np.sign(x)), 2.0, True),
    ],
    ids=["corner", "valley", "dead relu", "sign"],
)
def test_a_function_is_said_not_to_change_only_where_it_does_not(f: Any, x: float, flat: bool) -> None:
    report = ut.check_gradient(f, np.full(3, x))
    assert report
    assert ("does not change" in str(report)) == flat
