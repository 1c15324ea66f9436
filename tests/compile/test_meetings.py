"""Between two meetings, threads may come in any order: one far ahead of the others finds the same bits."""

import ctypes

import numpy as np
import pytest

from compiled_graphs import make_program, run_program
from undertow.compile import clusters, layout, operations, products, split
from undertow.compile.driver import SHARED, WAIT
from undertow.compile.program import Program
from undertow.trace import trace_function

FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


class Order:
    """Takes the place of the compiled loop: which thread is how far ahead is told.

    Attributes:
        ahead: by thread, where it comes; None: one thread does the parts of all, call after call.
    """

    def __init__(self):
        self.ahead = None

    def run(self, program, start, stop, steps, alone):
        """Run a part of a program's table."""
        count = program.plan.threads
        for _ in range(steps):
            places = [i for i in range(start, stop) if i == start or program.table[i, 2] & WAIT or self.ahead is None]
            for first, last in zip(places, [*places[1:], stop], strict=True):
                for thread in self.ahead or range(count):
                    for i in range(first, last):
                        self.call(*program.table[i].tolist(), thread, count)
        return steps

    def call(self, function, args, flags, thread, count):
        if flags & SHARED:
            FUNCTION(function)(args, thread, count)
        elif not thread:
            FUNCTION(function)(args, 0, 1)


@pytest.fixture
def order(monkeypatch):
    made = Order()
    monkeypatch.setattr(Program, "run_by", lambda program, *args: made.run(program, *args))
    return made


def check(order, f, inputs, count):
    """Compare the results of a program for all orders of its threads, as long as they are few."""
    graph = trace_function(f, inputs).graph
    program = make_program(graph, count)
    order.ahead = None
    wanted = run_program(program, inputs)
    for first in range(count):
        for step in (1, -1):
            order.ahead = [(first + step * i) % count for i in range(count)]
            for a, b in zip(run_program(program, inputs), wanted, strict=True):
                np.testing.assert_array_equal(a, b, err_msg=f"threads in the order {order.ahead}")


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize(
    ("f", "shapes"),
    [
        # One operand is the same for all of a group of products: a call for each group.
        (lambda x, w: np.tanh(x @ w), [(2, 8, 16, 32), (2, 1, 32, 32)]),
        (lambda x, w, d: x @ w @ d, [(2, 8, 16, 32), (2, 1, 32, 32), (2, 8, 32, 16)]),
        (lambda x, w, d: d + np.tanh(x) @ w, [(3, 1, 64, 32), (3, 1, 32, 32), (3, 1, 64, 32)]),
        # The rows of a product with a vector are the columns of its result.
        (lambda x, v, w: x @ v @ w, [(1, 20000, 8), (8,), (20000, 1)]),
        (lambda x, v, w: np.tanh(x @ v) @ w, [(4, 200, 32), (32,), (200, 3)]),
        # Operands that are turned, sums in place, and parts of a value.
        (lambda x, w, d: np.tanh(np.swapaxes(x, -1, -2) @ w) @ d, [(4, 32, 24), (4, 32, 24), (24, 24)]),
        (lambda x, w, d: (x.T @ w + np.tanh(w).T @ w, x[:40] @ d), [(96, 48), (96, 48), (48, 48)]),
    ],
)
def test_products_are_met_where_others_need_them(order, f, shapes, count):
    rng = np.random.default_rng(0)
    check(order, f, [rng.normal(size=shape).astype(np.float32) for shape in shapes], count)


STEPS = [
    np.tanh, np.square, lambda x: x * 0.5 + 1, lambda x: np.swapaxes(x, -1, -2), lambda x: np.swapaxes(x, 0, 1),
    lambda x: x[1:] if len(x) > 1 else x, lambda x: x.reshape(-1, x.shape[-1]), lambda x: x[::-1],
    lambda x: np.sum(x, axis=0, keepdims=True), lambda x: x - np.mean(x, axis=-1, keepdims=True),
]  # fmt: skip


def random_program(seed):
    """A program of batched products and what stands around them, and its inputs."""
    rng = np.random.default_rng(seed)
    sizes = [int(n) for n in rng.choice([1, 2, 3, 5, 8, 12, 17], size=2)]
    count, more = (int(n) for n in rng.choice([1, 2, 3, 4, 8], size=2))
    leads = [(), (count,), (more, count), (more, 1), (1, count)]
    shapes = [(*leads[rng.integers(5)], sizes[rng.integers(2)], sizes[rng.integers(2)]) for _ in range(4)]

    def program(*inputs):
        rng, pool = np.random.default_rng(seed), list(inputs)
        for _ in range(int(rng.integers(4, 16))):
            x, y = pool[rng.integers(max(0, len(pool) - 5), len(pool))], pool[rng.integers(len(pool))]
            kind = rng.integers(3)
            if kind == 0:
                pool.append(STEPS[rng.integers(len(STEPS))](x))
            elif kind == 1 and x.shape == y.shape:
                pool.append(x + y)
            else:
                turned = [(x, y), (x, np.swapaxes(y, -1, -2)), (np.swapaxes(x, -1, -2), y)]
                for a, b in turned:
                    if a.shape[-1] == b.shape[-2] and (a.ndim == 2 or b.ndim == 2 or a.shape[:-2] == b.shape[:-2]):
                        pool.append(np.tanh(a @ b))
                        break
        return pool[-1], pool[len(pool) // 2], *[x for x in pool[-3:-1] if x.ndim > 2]

    return program, [rng.normal(size=shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("held", [0, 1 << 18])
def test_random_programs_do_not_depend_on_who_is_ahead(order, monkeypatch, count, held):
    for module in (clusters, operations):
        monkeypatch.setattr(module, "WORTH_SHARING", 1)
    monkeypatch.setattr(products, "PRODUCT", 1)
    monkeypatch.setattr(split, "FLOPS", 1)
    monkeypatch.setattr(layout, "HELD", held)
    for seed in range(40):
        check(order, *random_program(seed), count)
