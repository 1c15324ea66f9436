"""einsum of several arrays compiles to products in an order of little cost, and gives what NumPy sums in one pass."""

from __future__ import annotations

import string
from itertools import permutations

import numpy as np
import pytest

import undertow as ut
from undertow.compile.expand_einsum import FEW, find_order


@pytest.mark.parametrize("seed", range(12))
def test_any_contraction_is_what_numpy_sums_in_one_pass(seed: int) -> None:
    """Letters in any number of arrays, repeated ones, sizes 1 that broadcast, results of any letters."""
    rng = np.random.default_rng(seed)
    letters = string.ascii_lowercase[:5]
    sizes = dict(zip(letters, rng.integers(1, 4, 5), strict=True))
    terms = ["".join(rng.choice(list(letters), rng.integers(1, 4))) for _ in range(2 + seed % 5)]
    every = sorted(set("".join(terms)))
    output = "".join(rng.permutation(every)[: rng.integers(0, len(every) + 1)])
    subscripts = f"{','.join(terms)}->{output}"
    shapes = [[sizes[c] if rng.random() < 0.9 or term.count(c) > 1 else 1 for c in term] for term in terms]
    arrays = [rng.normal(size=shape) for shape in shapes]
    wanted = np.einsum(subscripts, *arrays)
    found = ut.compile(lambda *xs: np.einsum(subscripts, *xs))(*arrays)
    np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-12, err_msg=subscripts)


def cost(terms: list[str], sizes: dict[str, int], output: str, order: list[tuple[int, int]]) -> int:
    """Multiplications, and eight for each number of a product, counted step by step."""
    left, total = [set(term) for term in terms], 0
    for i, j in order:
        a, b = left[i], left.pop(j)
        later = set(output).union(*(term for k, term in enumerate(left) if k != i))
        left[i] = (a | b) & later
        total += int(np.prod([sizes[c] for c in left[i] | (a & b)])) + 8 * int(np.prod([sizes[c] for c in left[i]]))
    assert len(left) == 1
    return total


@pytest.mark.parametrize(
    "subscripts", ["ijk,abc,jb,kc->ia", "bk,ijk,bj->bi", "abc,ia,jb,kc->ijk", "ij,jk,kl,lm->im", "i,j,k,ijk->"]
)
def test_the_order_costs_as_little_as_any(subscripts: str) -> None:
    inputs, output = subscripts.split("->")
    terms = inputs.split(",")
    sizes = {c: 3 + 5 * i for i, c in enumerate(sorted(set(inputs) - {","}))}

    def orders(n: int) -> list[list[tuple[int, int]]]:
        pairs = [(i, j) for i, j in permutations(range(n), 2) if i < j]
        return [[pair, *rest] for pair in pairs for rest in orders(n - 1)] if n > 1 else [[]]

    found = cost(terms, sizes, output, find_order(terms, sizes, output))
    assert found == min(cost(terms, sizes, output, order) for order in orders(len(terms)))


def test_of_many_arrays_the_cheapest_product_comes_first() -> None:
    """A chain of more matrices than all orders of which are looked at, the last one a vector."""
    terms = [a + b for a, b in zip("abcdefg", "bcdefgh", strict=True)] + ["h"]
    assert len(terms) > FEW
    order = find_order(terms, dict.fromkeys("abcdefgh", 50), "a")
    assert order == [(i, i + 1) for i in reversed(range(7))]


def test_gradients_of_a_decomposition_store_no_outer_products() -> None:
    """The gradient by one factor is a sum over the result and all others, which side by side are 1,875,000 numbers."""
    rng = np.random.default_rng(0)
    core, *factors = (rng.normal(size=shape) for shape in ((5, 5, 5), (30, 5), (25, 5), (20, 5)))

    def size(core, A, B, C):
        return np.sum(np.einsum("abc,ia,jb,kc->ijk", core, A, B, C) ** 2)

    program = ut.compile(ut.grad(size, wrt=(0, 1, 2, 3)))
    found = program(core, *factors)
    assert program.program.memory.arena < 15_000 * 8 * 10
    whole = np.einsum("abc,ia,jb,kc->ijk", core, *factors)
    by_first = 2 * np.tensordot(whole, np.einsum("abc,jb,kc->ajk", core, *factors[1:]), ((1, 2), (1, 2)))
    np.testing.assert_allclose(found[1], by_first, rtol=1e-11)
