"""Gradients of parts of a value are put side by side where these do not overlap, and are those that NumPy adds up."""

import numpy as np
import pytest

import undertow as ut
from undertow.compile import operations
from undertow.compile.expand import expand
from undertow.primitives import index_add
from undertow.trace import trace_function

FUNCTIONS = {
    "gates": (lambda z: np.tanh(z[:, :2]) * z[:, 2:4] + np.exp(z[:, 4:6]) / (1 + z[:, 6:] ** 2), 0),
    "gates, and all of them": (
        lambda z: np.sum(np.sin(z) * z, axis=1) + z[:, 0] * z[:, -1] + z[:, 2] ** 2 * z[:, 4],
        0,
    ),
    "rows": (lambda z: z[0] * z[1] + z[-1] * np.sin(z[2]), 0),
    "gaps": (lambda z: z[1:3] ** 2 * z[4:], 0),
    "parts that overlap": (lambda z: z[1:] * z[:-1] + z[1:, :1] ** 3, 3),
    "steps": (lambda z: z[::2, 1:] * np.cos(z[1::2, 1:]), 2),
    "two axes": (lambda z: z[:3, :4] * z[3:, 4:] + z[:3, 4:], 3),
    "one part twice": (lambda z: np.sin(z[:, :3]) * np.cos(z[:, :3]) + z[:, 3:6], 1),
    "three axes": (lambda z: (lambda z: z[:, 0] * z[:, 1])(np.reshape(z, (3, 2, 8))), 0),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_of_parts(name, threads, monkeypatch):
    monkeypatch.setattr(operations, "WORTH_SHARING", 1)
    f, _ = FUNCTIONS[name]
    z = np.random.default_rng(0).normal(size=(6, 8))
    loss = lambda z: np.sum(f(z))
    ut.set_threads(threads)
    try:
        value, found = ut.value_and_grad(loss, compile=True)(z)
    finally:
        ut.set_threads(None)
    for place in np.ndindex(z.shape):  # the imaginary part of a complex step has no rounding
        step = z.astype(complex)
        step[place] += 1e-30j
        np.testing.assert_allclose(found[place], np.imag(loss(step)) / 1e-30, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(value, loss(z), rtol=1e-14)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_only_parts_that_overlap_are_added_up_among_zeros(name):
    f, left = FUNCTIONS[name]
    z = np.ones((6, 8))
    graph = trace_function(ut.grad(lambda z: np.sum(f(z))), (z,)).graph
    assert sum(node.op is index_add for node in expand(graph, {}).nodes) <= left


def test_short_runs_of_neighbours_are_copied_whole():
    for dtype in (np.int8, np.int16, np.float32, np.float64):
        x = np.arange(7 * 40).reshape(7, 40).astype(dtype)
        for n in range(1, 12):
            parts = lambda x, n=n: np.concatenate([x[:, 3 : 3 + n], x[:, :1], x[:, -n:]], axis=1)
            np.testing.assert_array_equal(ut.compile(parts)(x), parts(x))
