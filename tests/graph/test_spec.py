"""Sizes that are numbers or names: products, quotients and broadcasting follow NumPy's rules."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from undertow.errors import ShapeError, UndertowError
from undertow.graph import Dim, NeedsConcreteSize, Spec, broadcast_shapes, divide_sizes, resolve, show_shape, total

m = Dim("m")
SHAPES: list[tuple[int, ...]] = [(), (1,), (3,), (2, 3), (2, 1), (1, 3), (1, 1), (0,), (1, 0), (4, 1, 3), (4, 2, 1)]
BATCHED: list[tuple[Any, ...]] = [(), (1,), (m,), (m, 1), (m, 3), (1, 3), (3, m), (2, m, 1), (Dim("m", 2),)]


def test_a_size_is_equal_to_itself_and_prints_as_people_write_it() -> None:
    """Dim is a value: hashable, equal by symbol and count, and it reads m or 2 * m."""
    assert m == Dim("m") == Dim("m", 1)
    assert hash(m) == hash(Dim("m"))
    assert m != Dim("n")
    assert m != Dim("m", 2)
    assert m != 1
    assert str(m) == repr(m) == "m"
    assert str(Dim("m", 2)) == "2 * m"


@pytest.mark.parametrize(("shape", "text"), [((), "()"), ((3,), "(3,)"), ((m, 128), "(m, 128)"), ((m,), "(m,)")])
def test_shapes_read_as_people_write_them(shape: Any, text: str) -> None:
    """A shape prints like Python's tuple, with the symbol for a size known by name."""
    assert show_shape(shape) == text


def test_specs_print_shape_dtype_and_whether_a_number_is_pythons() -> None:
    """Spec shows what promotion depends on."""
    assert str(Spec((m, 3), np.dtype(np.float32))) == "(m, 3) float32"
    assert str(Spec((), np.dtype(np.float64), weak=True)) == "() python float64"
    assert Spec((m, 3), np.dtype(np.float32)).ndim == 2


@pytest.mark.parametrize("shape", SHAPES)
def test_total_is_numpys_size(shape: tuple[int, ...]) -> None:
    """Without symbols the product of the sizes is the number of elements."""
    assert total(shape) == np.empty(shape).size


def test_total_keeps_one_symbol() -> None:
    """One symbolic size is multiplied by the others; zero times it is zero; two have no name."""
    assert total((m,)) == m
    assert total((2, m, 3)) == Dim("m", 6)
    assert total((Dim("m", 2), 3)) == Dim("m", 6)
    assert total((m, 0)) == 0
    with pytest.raises(NeedsConcreteSize, match=r"\(m, m\)"):
        total((m, m))
    with pytest.raises(UndertowError):
        total((m, Dim("n")))


@pytest.mark.parametrize(("a", "b"), list(itertools.product(range(13), range(5))))
def test_divide_sizes_is_whole_division(a: int, b: int) -> None:
    """Of numbers: the quotient where it is whole, None where it is not or b is 0."""
    assert divide_sizes(a, b) == (a // b if b and a % b == 0 else None)


def test_divide_sizes_with_symbols() -> None:
    """Symbols divide by their own kind and by numbers that divide their count."""
    assert divide_sizes(Dim("m", 6), Dim("m", 2)) == 3
    assert divide_sizes(m, m) == 1
    assert divide_sizes(Dim("m", 6), 3) == Dim("m", 2)
    assert divide_sizes(Dim("m", 6), 6) == m
    assert divide_sizes(Dim("m", 6), 4) is None
    assert divide_sizes(m, Dim("m", 2)) is None
    assert divide_sizes(m, Dim("n")) is None
    assert divide_sizes(12, m) is None
    assert divide_sizes(m, 0) is None


@pytest.mark.parametrize(("a", "b"), list(itertools.product(SHAPES, SHAPES)))
def test_broadcasting_of_numbers_is_numpys(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    """Every pair gives NumPy's shape, or an error where NumPy gives one."""
    try:
        wanted = np.broadcast_shapes(a, b)
    except ValueError:
        with pytest.raises(ShapeError):
            broadcast_shapes(a, b)
    else:
        assert broadcast_shapes(a, b) == wanted


@pytest.mark.parametrize(("a", "b"), list(itertools.product(BATCHED, BATCHED)))
def test_broadcasting_of_symbols_holds_for_every_number_in_their_place(a: Any, b: Any) -> None:
    """Where symbolic shapes broadcast, 1, 5, 7 in place of m give NumPy's shape; else some number does not fit."""
    wanted: list[Any] = []
    for number in (1, 5, 7):
        sizes = {"m": number}
        try:
            wanted.append(np.broadcast_shapes(resolve(a, sizes), resolve(b, sizes)))
        except ValueError:
            wanted.append(None)
    try:
        found = broadcast_shapes(a, b)
    except ShapeError:
        assert None in wanted
    else:
        assert [resolve(found, {"m": number}) for number in (1, 5, 7)] == wanted


def test_broadcasting_error_names_both_sizes_the_axis_and_the_remedy() -> None:
    """The message tells which sizes differ, on which axis, and how to go on."""
    with pytest.raises(ShapeError, match=r"sizes 128 and 64 on axis -1 differ.*\[:, None\]"):
        broadcast_shapes((m, 128), (64,))
    with pytest.raises(ShapeError, match="sizes m and 3 on axis -2"):
        broadcast_shapes((m, 2), (3, 1))


def test_broadcasting_of_three_shapes() -> None:
    """More than two at once, a symbol among them."""
    assert broadcast_shapes((m, 1), (3,), ()) == (m, 3)
    assert broadcast_shapes((2, 1, 1), (m, 1), (4,)) == (2, m, 4)


def test_resolve_puts_numbers_in_place_of_symbols_at_any_depth() -> None:
    """Sizes inside tuples are found, everything else stays as it is."""
    assert resolve((m, (Dim("m", 3), "m", 2.5)), {"m": 4}) == (4, (12, "m", 2.5))
    assert resolve("axis", {}) == "axis"
