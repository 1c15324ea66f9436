"""Every rule on its examples: before and after agree on random inputs and at special values, as its class promises."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import undertow as ut
from simplify_examples import EXAMPLES, ON_LOSSES, Example
from undertow.graph import CONSTANT, INPUT, evaluate
from undertow.simplify import RULES, Simplified, simplify
from undertow.trace import trace_function

KNOWN = {rule.name: rule for rules in RULES.values() for rule in rules}
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -3.0, 1000.0, -1000.0, np.inf, -np.inf, np.nan]
EDGE = [0.0, 1.0, -1.0, 1e308, -1e308, 1e-308, -1e-308, 5e-324, -5e-324, 2.0, 0.5]
CASES = [pytest.param(e, id=f"{e.rule}-{sum(x.rule == e.rule for x in EXAMPLES[:i])}") for i, e in enumerate(EXAMPLES)]
examples = pytest.mark.parametrize("example", CASES)
examples_of_several = pytest.mark.parametrize("example", [case for case in CASES if len(case.values[0].shapes) > 1])


def run_simplifier(example: Example, args: Any) -> Simplified:
    """Simplify the expression; only shapes and dtypes of the arguments matter."""
    kinds = tuple((x.shape, x.dtype) if isinstance(x, np.ndarray) else type(x) for x in args)
    if (example, kinds) not in _SIMPLIFIED:
        _SIMPLIFIED[example, kinds] = _simplify(example, args)
    return _SIMPLIFIED[example, kinds]


_SIMPLIFIED: dict[Any, Simplified] = {}


def _simplify(example: Example, args: Any) -> Simplified:
    graph = trace_function(example.f, args).graph
    for node in graph.nodes:
        if example.backward and node.op not in (INPUT, CONSTANT) and node.spec.dtype.kind == "f":  # as cotangents are
            node.backward = True
    return simplify(graph, final=example.final)


def normal(example: Example, seed: int = 0, dtype: Any = np.float64) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.normal(size=shape) * 2, dtype) for shape in example.shapes]


def chosen(example: Example, values: list[float], seed: int, dtype: Any = np.float64) -> list[Any]:
    """Arrays filled from a list of values: in the first rounds one value everywhere, then any mixture."""
    rng = np.random.default_rng(seed)
    few = rng.choice(values, size=int(rng.integers(1, 4)))
    with np.errstate(all="ignore"):
        return [np.asarray(rng.choice(few, size=shape), dtype) for shape in example.shapes]


def plain(example: Example, args: list[Any]) -> Any:
    with np.errstate(all="ignore"):
        return example.f(*args)


def same_bits(a: Any, b: Any) -> Any:
    """Equal with the sign of zero; any NaN equals any NaN."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.kind != "f":
        return a == b
    return np.where(np.isnan(a), np.isnan(b), (a == b) & (np.signbit(a) == np.signbit(b)))


def as_fraction(x: Any) -> Any:
    return np.vectorize(Fraction, otypes=[object])(x) if x.size else x.astype(object)


def exactly(example: Example, args: list[Any]) -> Any:
    """The expression in rational arithmetic where it is arithmetic of finite numbers, else in extended precision."""
    try:
        return np.asarray(example.f(*map(as_fraction, args))).astype(np.longdouble)
    except (TypeError, ValueError, ArithmeticError, AttributeError):  # it holds a function, or a number is infinite
        wide = [np.asarray(x, np.longdouble) for x in args]
        with np.errstate(all="ignore"):
            return np.asarray((example.stable or example.f)(*wide))


def spread_of(example: Example, args: list[Any], eps: float) -> Any:
    """How much a rounding of the arguments may change the value."""
    wide = [np.asarray(x, np.longdouble) for x in args]
    f = example.stable or example.f
    with np.errstate(all="ignore"):
        here, spread = f(*wide), 0.0
        for seed in range(3):
            rng = np.random.default_rng(seed)
            near = [x * (1 + eps * np.asarray(rng.choice([-1.0, 1.0], size=x.shape), np.longdouble)) for x in wide]
            change = np.abs(f(*near) - here).astype(float)
            spread = np.fmax(spread, np.where(np.isfinite(change), change, 0))
    return spread


def assert_promise(example: Example, args: list[Any]) -> None:
    """Compare before and after by the weakest class among the rules that fired."""
    before = np.asarray(plain(example, args))
    simplified = run_simplifier(example, args)
    with np.errstate(all="ignore"):
        after = np.asarray(evaluate(simplified.graph, args)[0])
    assert after.shape == before.shape
    assert after.dtype == before.dtype
    classes = {rule.exactness for rule in simplified.fired}
    if classes <= {"exact"} or before.dtype.kind != "f":
        same = same_bits(before, after)
        assert np.all(same), f"{before[~same]} became {after[~same]}, of {[x.dtype for x in args]} {args}"
        return
    info = np.finfo(before.dtype)
    exact = exactly(example, args)
    spread = spread_of(example, args, float(info.eps))
    with np.errstate(all="ignore"):
        fits = np.abs(exact) <= info.max
        if "extends" not in classes:
            fits &= np.isfinite(before)
        own = np.where(np.isfinite(before), np.minimum(np.abs(before - exact), np.abs(exact)), 0)
        if len({x.dtype for x in args}) > 1:  # parts in float32: which elements they round by chance does not matter
            own = np.max(own, initial=0.0)
        limit = 8 * (float(info.eps) * np.abs(exact) + spread + own) + 8 * float(info.tiny)
        right = ~fits | (np.isfinite(after) & (np.abs(after - exact) <= limit))
    assert np.all(right), (
        f"{before[~right]} (really {exact[~right]}) became {after[~right]}, of {[x.dtype for x in args]} {args}"
    )


# ---- coverage ------------------------------------------------------------------------------------


def test_every_rule_has_an_example() -> None:
    """A rule without an example would be used unseen; an example without a rule tests nothing."""
    used = {example.rule for example in EXAMPLES}
    assert used - set(KNOWN) == set()
    assert set(KNOWN) - used - ON_LOSSES == set()


@examples
def test_each_rule_fires_on_its_examples(example: Example) -> None:
    """The rule is in the list of those that fired, with its equation, class and place."""
    fired = {rule.name: rule for rule in run_simplifier(example, normal(example)).fired}
    assert example.rule in fired
    found, rule = fired[example.rule], KNOWN[example.rule]
    assert (found.equation, found.exactness) == (rule.equation, rule.exactness)
    assert found.count >= 1
    assert found.at
    assert str(found).startswith(f"{rule.name}: {rule.equation}")


def test_a_rule_has_one_equation_and_one_class() -> None:
    """Under one name stand one equation and one of the three classes, whatever operations it serves."""
    for rule in (rule for rules in RULES.values() for rule in rules):
        assert rule == KNOWN[rule.name]
        assert rule.exactness in ("exact", "rounding", "extends")


# ---- before and after ----------------------------------------------------------------------------


@examples
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_on_ordinary_numbers(example: Example, dtype: Any) -> None:
    """Random numbers, in both precisions: the class's promise holds, shape and dtype stay."""
    for seed in range(3):
        assert_promise(example, normal(example, seed, dtype))


@examples
def test_at_special_values(example: Example) -> None:
    """Zeros of both signs, ones, logits of ±1000, infinities and NaN, in all mixtures."""
    for seed in range(16):
        assert_promise(example, chosen(example, SPECIAL, seed))


@examples
def test_at_large_logits(example: Example) -> None:
    """±1000 and their neighbours: where exp overflows, rules of class `extends` are finite and right."""
    for seed in range(10):
        assert_promise(example, chosen(example, [1000.0, -1000.0, 999.0, 0.0, 700.0, -745.0, 37.0], seed))


@examples
def test_at_the_edge_of_the_range(example: Example) -> None:
    """The largest and the smallest numbers: nothing overflows that did not, nothing that counts underflows.

    A rule of class `rounding` may add up before it scales down: its promise holds while no sum on the way overflows.
    """
    largest = 1e150 if KNOWN[example.rule].exactness == "rounding" else np.inf
    for seed in range(16):
        assert_promise(example, chosen(example, [x for x in EDGE if abs(x) <= largest], seed))


@examples
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, bool], ids=lambda dtype: dtype.__name__)
def test_on_whole_numbers(example: Example, dtype: Any) -> None:
    """Integers, bytes and truth values keep NumPy's dtype and values: 200 + 100 wraps in uint8, as before."""
    for seed in range(6):
        args = chosen(example, [0, 1, 2, 3, 100, 200], seed, dtype)
        try:
            before = np.asarray(plain(example, args))
            after = run_simplifier(example, args).graph
        except (TypeError, ValueError, OverflowError):  # NumPy has no such operation on these, or we do not trace it
            continue
        with np.errstate(all="ignore"):
            found = np.asarray(evaluate(after, args)[0])
        assert found.dtype == before.dtype
        assert found.shape == before.shape
        if before.dtype.kind == "f":
            finite = np.isfinite(before)
            rtol = 64 * float(np.finfo(before.dtype).eps)
            np.testing.assert_allclose(found[finite], before[finite], rtol=rtol, atol=200 * rtol)
        else:
            np.testing.assert_array_equal(found, before)


@examples_of_several
def test_on_mixtures_of_dtypes(example: Example) -> None:
    """Integers or float32 beside float64, either way round: NumPy's dtype stays, and no digits are lost."""
    kinds = [np.float64, np.float32, np.int64, np.int8]
    for dtypes in itertools.islice(itertools.product(kinds, repeat=len(example.shapes)), 1, 64):
        if any(np.dtype(d).kind == "f" for d in dtypes):
            args = [np.asarray(x + (np.dtype(d).kind == "i"), d) for x, d in zip(normal(example), dtypes, strict=True)]
            assert_promise(example, args)


@examples
def test_on_python_numbers(example: Example) -> None:
    """Python numbers in place of arrays, where the expression takes them: value and dtype are NumPy's."""
    for values in itertools.product([2.0, -0.5, 3], repeat=len(example.shapes)):
        try:
            before = np.asarray(plain(example, list(values)))
            after = run_simplifier(example, values).graph
        except (TypeError, ValueError, IndexError, AttributeError):
            continue
        with np.errstate(all="ignore"):
            found = np.asarray(evaluate(after, values)[0])
        assert found.dtype == before.dtype
        finite = np.isfinite(before)
        np.testing.assert_allclose(found[finite], before[finite], rtol=1e-13, atol=1e-15)


@examples
def test_on_empty_arrays(example: Example) -> None:
    """With an axis of size 0 the shape, the dtype and what sums and products of nothing give stay."""
    for empty in (0, 1):
        shapes = [
            tuple(0 if i == empty and len(s) == 2 and n != 1 else n for i, n in enumerate(s)) for s in example.shapes
        ]
        args = [np.ones(shape) for shape in shapes]
        try:
            before = np.asarray(plain(example, args))
        except (TypeError, ValueError, IndexError):
            continue
        try:
            after = run_simplifier(example, args).graph
        except ut.UndertowError:
            continue
        with np.errstate(all="ignore"):
            found = np.asarray(evaluate(after, args)[0])
        assert found.shape == before.shape
        assert found.dtype == before.dtype
        np.testing.assert_array_equal(found, before)


def test_simplifying_changes_neither_the_graph_nor_its_meaning_twice() -> None:
    """The graph given is left alone, and what is simplified once has nothing left to simplify by exact rules."""
    for example in EXAMPLES:
        args = normal(example)
        graph = trace_function(example.f, args).graph
        text = str(graph)
        first = simplify(graph, final=example.final)
        assert str(graph) == text
        again = simplify(first.graph, final=example.final)
        assert len(again.graph) <= len(first.graph)
        with np.errstate(all="ignore"):
            a, b = evaluate(first.graph, args)[0], evaluate(again.graph, args)[0]
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14)
