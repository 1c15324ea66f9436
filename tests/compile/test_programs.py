"""Random programs compute compiled what they compute in NumPy, on one thread and on two."""

import numpy as np
import pytest

from compiled_graphs import run_compiled
from undertow.compile import clusters, operations
from undertow.compile.access import Access, reshaped, row_major
from undertow.compile.memory import Arena, Life, align, lay_out
from undertow.graph import evaluate
from undertow.trace import trace_function

UNARY = [
    np.exp, np.tanh, np.negative, np.abs, np.square, lambda x: np.maximum(x, 0), lambda x: x * 0.5 + 1,
    lambda x: np.sqrt(np.abs(x) + 1), lambda x: np.where(x > 0, x, 0.1 * x), lambda x: np.clip(x, -3, 3),
]  # fmt: skip
BINARY = [np.add, np.subtract, np.multiply, np.maximum, lambda x, y: x / (np.abs(y) + 1)]


def step(x, pool, rng):
    """One more value of a random program, or None where it does not fit."""
    kind, other = rng.integers(0, 9), pool[rng.integers(len(pool))]
    if kind < 3:
        return UNARY[rng.integers(len(UNARY))](x)
    if kind < 6:
        try:
            np.broadcast_shapes(x.shape, other.shape)
        except ValueError:
            return None
        return BINARY[rng.integers(len(BINARY))](x, other)
    if not x.ndim:
        return None
    if kind == 6:
        axes = tuple(sorted({int(a) for a in rng.integers(0, x.ndim, size=int(rng.integers(1, x.ndim + 1)))}))
        reduce = [np.sum, np.max, np.mean, np.min, np.std][rng.integers(5)]
        return reduce(x, axis=axes, keepdims=bool(rng.integers(2)))
    if kind == 7:
        moves = [lambda: x[::-1], lambda: x.reshape(-1), lambda: x[1:] if x.shape[0] > 1 else x]
        moves += [lambda: np.swapaxes(x, -1, -2)] if x.ndim > 1 else []
        return moves[rng.integers(len(moves))]()
    fits = other.ndim and x.shape[-1] == other.shape[max(other.ndim - 2, 0)] and x.ndim < 3 and other.ndim < 3
    return x @ other * 0.1 if fits else None


def make_program(seed):
    rng = np.random.default_rng(seed)
    a, b, c = (int(rng.choice([1, 2, 3, 5, 7, 16, 17, 33, 64])) for _ in range(3))
    dtype = rng.choice([np.float32, np.float64])
    shapes = [(a, b), (b,), (a, 1), (b, c), (c, a, b), ()]
    inputs = [rng.normal(size=shape).astype(dtype) for shape in shapes]

    def program(*xs):
        rng = np.random.default_rng(seed + 1)
        pool = list(xs)
        for _ in range(int(rng.integers(3, 25))):
            x = (
                pool[rng.integers(max(0, len(pool) - 6), len(pool))]
                if rng.random() < 0.7
                else pool[rng.integers(len(pool))]
            )
            made = step(x, pool, rng)
            if made is not None:
                pool.append(np.clip(made, -9, 9))
        return tuple(pool[i] for i in {*rng.integers(0, len(pool), size=3).tolist(), len(pool) - 1})

    return program, inputs


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("block", range(4))
def test_random_programs(block, threads, monkeypatch):
    for module in (clusters, operations):
        monkeypatch.setattr(module, "WORTH_SHARING", 1)  # share every loop, however small
    for seed in range(block * 25, block * 25 + 25):
        program, inputs = make_program(seed * 7)
        graph = trace_function(program, inputs).graph
        with np.errstate(all="ignore"):
            wanted = evaluate(graph, inputs)
        bound = 1e-3 if inputs[0].dtype == np.float32 else 1e-10
        for found, value in zip(run_compiled(graph, inputs, threads), wanted, strict=True):
            np.testing.assert_allclose(found, value, rtol=bound, atol=bound, err_msg=f"program {seed}")


def test_reshaped_strides_are_numpys():
    rng = np.random.default_rng(0)
    for _ in range(300):
        shape = tuple(int(n) for n in rng.choice([1, 2, 3, 4, 6], size=rng.integers(1, 5)))
        x = np.arange(int(np.prod(shape))).reshape(shape).transpose(rng.permutation(len(shape)))
        x = x[:: int(rng.choice([1, 2, -1]))]
        left, wanted = x.size, []
        while left > 1:
            n = int(rng.choice([n for n in range(2, left + 1) if left % n == 0]))
            wanted.append(n)
            left //= n
        strides = reshaped(Access(None, 0, x.shape, tuple(s // x.itemsize for s in x.strides)), tuple(wanted))
        if strides is not None:
            seen = np.lib.stride_tricks.as_strided(x, wanted, tuple(s * x.itemsize for s in strides))
            np.testing.assert_array_equal(seen, x.reshape(wanted))
        else:
            assert not np.shares_memory(x, x.reshape(wanted))
    assert row_major((2, 3, 4)) == (12, 4, 1)


def test_the_arena_gives_each_value_a_place_of_its_own():
    rng = np.random.default_rng(1)
    arena, alive = Arena(), []
    for _ in range(500):
        if alive and rng.random() < 0.5:
            arena.give_back(*alive.pop(rng.integers(len(alive))))
        else:
            size = int(rng.integers(1, 5000))
            offset = arena.take(size)
            assert all(offset + size <= a or a + n <= offset for a, n in alive)
            assert offset + size <= arena.size and offset % 64 == 0
            alive.append((offset, size))


@pytest.mark.parametrize("n", [3, 40, 600])
def test_values_that_live_at_once_do_not_overlap(n):
    rng = np.random.default_rng(n)
    lives = []
    for _ in range(n):
        first = int(rng.integers(0, 60))
        lives.append(Life(int(rng.integers(0, 3000)), first, first + int(rng.integers(0, 8))))
    offsets, size, least = lay_out(lives)
    together = [sum(align(max(x.size, 1)) for x in lives if x.first <= now <= x.last) for now in range(70)]
    assert least == max(together) <= size <= 1.6 * least
    for i, a in enumerate(lives):
        assert offsets[i] % 64 == 0 and offsets[i] + a.size <= size
        for k, b in enumerate(lives[:i]):
            if a.first <= b.last and b.first <= a.last and a.size and b.size:
                assert offsets[i] + a.size <= offsets[k] or offsets[k] + b.size <= offsets[i]
