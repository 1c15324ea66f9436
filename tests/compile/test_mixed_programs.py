"""Random programs of whole numbers, running sums, gathers, scatters and random numbers compute what NumPy computes."""

import numpy as np
import pytest

from compiled_graphs import run_compiled
from undertow import primitives as P
from undertow.compile import clusters, operations
from undertow.graph import evaluate
from undertow.primitives.index import Pick, Slice
from undertow.trace import trace_function

FLOATS = [
    np.tanh, np.abs, lambda x: x * 0.5 + 1, lambda x: np.where(x > 0, x, 0.1 * x), np.square, lambda x: np.sign(x) * x,
]  # fmt: skip
WHOLE = [
    np.negative, np.abs, np.sign, np.square, lambda x: x % 5, lambda x: x // 3, lambda x: x**3, np.invert,
    lambda x: np.clip(x, -7, 7), lambda x: (x > 0) ** 2, lambda x: np.logical_not(x) * 3, lambda x: x & 6,
]  # fmt: skip
PAIRS = [np.add, np.subtract, np.multiply, np.maximum, np.minimum]
WHOLE_PAIRS = [*PAIRS, np.floor_divide, np.remainder, np.bitwise_xor, np.equal, np.less, np.fmod]


class Random:
    """Makes the values of a random program, floats and whole numbers."""

    def __init__(self, seed, inputs, dtype):
        self.rng, self.dtype = np.random.default_rng(seed), dtype
        self.floats = [x for x in inputs if x.dtype.kind == "f"]
        self.whole = [x for x in inputs if x.dtype.kind == "i"]

    def one(self, pool):
        return pool[self.rng.integers(max(0, len(pool) - 6) if self.rng.random() < 0.6 else 0, len(pool))]

    def choose(self, functions):
        return functions[self.rng.integers(len(functions))]

    def positions(self, x, axis):
        """Positions on an axis, some counted from its end, and their repeats."""
        found = self.one([i for i in self.whole if i.ndim in (1, 2) and i.dtype == np.int64])
        return found % (2 * x.shape[axis]) - x.shape[axis]

    def pair(self, pool, functions):
        x, y = self.one(pool), self.one(pool)
        try:
            np.broadcast_shapes(x.shape, y.shape)
        except ValueError:
            return None
        return self.choose(functions)(x, y)

    def reduced(self, x, functions):
        axes = tuple(sorted({int(a) for a in self.rng.integers(0, x.ndim, size=x.ndim)}))
        return self.choose(functions)(x, axis=axes, keepdims=bool(self.rng.integers(2)))

    def drawn(self):
        keys, width = self.one([i for i in self.whole if i.ndim == 2]), int(self.rng.integers(1, 40))
        places = np.arange(width) + 2**40 if self.rng.random() < 0.7 else self.one(self.whole[:3])
        bits = 24 if self.dtype == np.float32 else 53
        made = P.uniform_at(keys[:, :1].astype(np.int64), np.ravel(places).astype(np.int64)[None], bits=bits)
        return np.where(made >= 0.3, made * 2, 0) if self.rng.integers(2) else made

    def picked(self, x):
        axis = int(self.rng.integers(x.ndim))
        positions = self.positions(x, axis)
        if self.rng.integers(2) or positions.ndim > 1:
            return x[(*[slice(None)] * axis, positions)] if x.ndim + positions.ndim < 5 else None
        rows = np.concatenate([x[:1]] * positions.shape[0], axis=0)
        view = rows[:, 1:] if rows.ndim > 1 and rows.shape[1] > 2 else rows
        shape = (3, *view.shape[1:])
        index = (Pick(0), *[Slice()] * (view.ndim - 1))
        return P.index_add(view * 0.25, positions % 6 - 3, index=index, shape=shape)

    def step(self):
        kind, x, i = self.rng.integers(11), self.one(self.floats), self.one(self.whole)
        if kind == 0:
            return self.choose(FLOATS)(x)
        if kind in (1, 2):
            return self.pair(self.floats, PAIRS)
        if kind == 3:
            return self.choose(WHOLE)(i)
        if kind == 4:
            return self.pair(self.whole, WHOLE_PAIRS)
        if kind == 5:
            axis = int(self.rng.integers(max(x.ndim, 1)))
            back = x[(*[slice(None)] * axis, slice(None, None, -1))] if x.ndim and self.rng.integers(2) else x
            return np.cumsum(back, axis=axis) * 0.3 if x.ndim else None
        if kind == 6:
            return np.cumsum(i, axis=int(self.rng.integers(i.ndim))) if i.ndim else None
        if kind == 7:
            return self.drawn()
        if kind == 8:
            return self.picked(x) if x.ndim else None
        if kind == 9:
            return self.reduced(x, [np.sum, np.max, np.mean]) if x.ndim else None
        return self.reduced(i, [np.sum, np.max, np.any, np.min]) if i.ndim and self.rng.integers(2) else i * 0.125

    def keep(self, made):
        """Put a value into its pool, tamed."""
        if made is None or made.size > 40_000:
            return
        if made.dtype.kind == "f":
            self.floats.append(np.clip(made, -9, 9).astype(self.dtype))
        else:
            self.whole.append(made.astype(np.int64) if made.dtype.kind == "b" else made)


def make_program(seed):
    rng = np.random.default_rng(seed)
    a, b, c = (int(rng.choice([2, 3, 5, 7, 16, 17, 33, 64])) for _ in range(3))
    dtype = rng.choice([np.float32, np.float64])
    inputs = [rng.normal(size=shape).astype(dtype) for shape in [(a, b), (b,), (b, c), (c, a, b)]]
    inputs += [rng.integers(-50, 50, shape) for shape in [(a,), (a, b), (c, 2)]]
    inputs += [rng.integers(-9, 9, (a, b)).astype(np.int32), rng.integers(-(2**62), 2**62, (a, 1))]

    def program(*xs):
        made = Random(seed + 1, xs, dtype)
        for _ in range(int(made.rng.integers(4, 22))):
            made.keep(made.step())
        last = (made.floats[-1], made.whole[-1])
        return (*last, made.one(made.floats), made.one(made.whole))

    return program, inputs


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("block", range(3))
def test_mixed_programs(block, threads, monkeypatch):
    for module in (clusters, operations):
        monkeypatch.setattr(module, "WORTH_SHARING", 1)  # share every loop, however small
    monkeypatch.setattr(operations, "LINES", 1)
    for seed in range(block * 20, block * 20 + 20):
        check(seed, threads)


def check(seed, threads):
    """Compare a program with the evaluator."""
    program, inputs = make_program(seed * 11)
    with np.errstate(all="ignore"):
        graph = trace_function(program, inputs).graph
        wanted = evaluate(graph, inputs)
    bound = 1e-3 if inputs[0].dtype == np.float32 else 1e-10
    for found, value in zip(run_compiled(graph, inputs, threads), wanted, strict=True):
        if found.dtype.kind == "f":
            np.testing.assert_allclose(found, value, rtol=bound, atol=bound, err_msg=f"program {seed}")
        else:
            np.testing.assert_array_equal(found, value, err_msg=f"program {seed}")
