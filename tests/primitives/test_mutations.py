"""The samples would catch a wrong rule: every rule is made wrong in turn, and some sample must notice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import undertow as ut
from record_samples import STEERED, float_places, scalar
from undertow import differentiate
from undertow.primitives import NO_GRADIENT, NOT_IMPLEMENTED, REGISTRY, ZERO, Primitive, spec_of


@contextmanager
def scaled(primitive: Primitive, position: int) -> Iterator[None]:
    """Make one rule of a primitive one percent too large."""
    before = primitive.vjps

    def wrong(*args: Any, **params: Any) -> Any:
        result = rule(*args, **params)
        return None if result is None else result * 1.01

    if isinstance(before, tuple):
        rule: Any = before[position]
        after: Any = (*before[:position], wrong, *before[position + 1 :])
    else:
        original: Any = before

        def after(place: int, *args: Any, **params: Any) -> Any:
            result = original(place, *args, **params)
            return result * 1.01 if place == position else result

    object.__setattr__(primitive, "vjps", after)
    try:
        yield
    finally:
        object.__setattr__(primitive, "vjps", before)


def samples_of(primitive: Primitive, position: int) -> Iterator[tuple[Any, list[Any]]]:
    """The samples by which an argument is differentiated, as functions with their arguments."""
    for sample in primitive.samples():
        if position < len(sample.args) and position in float_places(primitive, sample.args):
            spec = primitive.infer(*map(spec_of, sample.args), **sample.params)
            if spec.dtype.kind == "f":
                yield scalar(primitive, sample), [np.asarray(x) if isinstance(x, float) else x for x in sample.args]


def is_caught(f: Any, args: list[Any], position: int) -> bool:
    """Does comparing with differences notice?"""
    try:
        return not ut.check_gradient(f, *args, wrt=position, tolerance=1e-7, raises=False)
    except (ut.UndertowError, ValueError):
        return True


def rules() -> list[tuple[Primitive, int]]:
    """Every rule that gives a derivative."""
    found = []
    for primitive in REGISTRY.values():
        if primitive.name in STEERED:
            continue
        places = max((len(sample.args) for sample in primitive.samples()), default=0)
        for position in range(places):
            if isinstance(primitive.vjps, tuple) and position >= len(primitive.vjps):
                continue
            if primitive.rule(position) in (ZERO, NO_GRADIENT, NOT_IMPLEMENTED):
                continue
            if any(True for _ in samples_of(primitive, position)):
                found.append((primitive, position))
    return found


RULES = rules()


@pytest.mark.parametrize(("primitive", "position"), [pytest.param(*r, id=f"{r[0].name}-{r[1]}") for r in RULES])
def test_a_rule_that_is_one_percent_off_is_caught(primitive: Primitive, position: int) -> None:
    """Scaling the rule by 1.01 makes the check fail on at least one of its samples."""
    with np.errstate(all="ignore"), scaled(primitive, position):
        assert any(is_caught(f, args, position) for f, args in samples_of(primitive, position))


BROADCASTING = [
    (primitive, position)
    for primitive, position in RULES
    if primitive.elementwise and max(len(sample.args) for sample in primitive.samples()) > 1
]


@pytest.mark.parametrize(("primitive", "position"), [pytest.param(*r, id=f"{r[0].name}-{r[1]}") for r in BROADCASTING])
def test_an_unbroadcast_that_is_dropped_is_caught(
    primitive: Primitive, position: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the sum over repeated axes the gradient has another shape on at least one of the samples."""
    monkeypatch.setattr(differentiate, "fit", lambda ct, x: ct)
    with np.errstate(all="ignore"):
        assert any(is_caught(f, args, position) for f, args in samples_of(primitive, position))


def test_all_rules_are_among_them() -> None:
    """The share that is caught is that of all rules: none is left out for want of a sample."""
    left_out = []
    for primitive in REGISTRY.values():
        if primitive.name in STEERED or not isinstance(primitive.vjps, tuple):
            continue
        for position, rule in enumerate(primitive.vjps):
            if rule not in (ZERO, NO_GRADIENT, NOT_IMPLEMENTED) and (primitive, position) not in RULES:
                left_out.append(f"{primitive.name}-{position}")
    print(f"{len(RULES)} rules and {len(BROADCASTING)} sums over repeated axes are made wrong in turn")
    assert left_out == []
