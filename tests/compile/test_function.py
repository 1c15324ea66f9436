"""`ut.compile`, `value_and_grad(compile=True)`, threads and what they say."""

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest

import undertow as ut
from compiled_graphs import ones_by_numpy
from undertow.compile import scalars
from undertow.compile.program import Program
from undertow.errors import ArgumentError, ControlFlowError, PositionError, UnsupportedError


def test_a_compiled_function_is_the_same_function():
    @ut.compile
    def f(params, x):
        """Say something."""
        z = x @ params["W"] + params["b"]
        return {"p": ut.softmax(z, axis=1), "z": z, "n": len(x)}

    rng = np.random.default_rng(0)
    params = {"W": rng.normal(size=(4, 3)), "b": rng.normal(size=3)}
    for rows in (1, 7, 5, 7):
        x = rng.normal(size=(rows, 4))
        found, wanted = f(params, x), f.function(params, x)
        np.testing.assert_allclose(found["p"], wanted["p"], rtol=1e-13)
        np.testing.assert_allclose(found["z"], wanted["z"], rtol=1e-13)
        assert found["n"] == rows
    assert f.__name__ == "f" and f.__doc__ == "Say something."


def test_results_are_arrays_of_their_own_and_arguments_stay():
    f = ut.compile(lambda x: (x, x + 1, x[::-1]))
    x = np.arange(4.0)
    first, second, third = f(x)
    first[:] = 9
    again = f(x)
    np.testing.assert_array_equal(x, np.arange(4.0))
    np.testing.assert_array_equal(second, [1, 2, 3, 4])
    np.testing.assert_array_equal(third, [3, 2, 1, 0])
    np.testing.assert_array_equal(again[0], x)


def test_arguments_need_not_lie_row_by_row():
    x = np.arange(12.0).reshape(3, 4)
    for view in (x.T, x[:, ::2], x[::-1], np.asfortranarray(x)):
        np.testing.assert_allclose(ut.compile(lambda v: np.sum(v * v, axis=0))(view), (view * view).sum(axis=0))


def test_numbers_and_types_follow_numpy():
    f = ut.compile(lambda x, c: x * c + 1)
    assert f(np.float32(2), 3.0).dtype == np.float32
    assert f(np.ones(2, np.float32), 0.5).dtype == np.float32
    assert type(ut.compile(lambda a, b: a * b)(2.0, 3.0)) is float
    assert ut.compile(lambda x: x > 0)(np.array([1.0, -1.0])).tolist() == [True, False]
    np.testing.assert_array_equal(ut.compile(lambda x: x // 2)(np.array([5.0, -5.0])), [2, -3])


def test_branches_on_values_are_an_error_with_the_way_out():
    def f(x):
        return x if x > 0 else -x

    with pytest.raises(ControlFlowError, match=r"np\.where"):
        ut.compile(f)(2.0)


def test_what_does_not_compile_is_an_error_or_numpys_and_told():
    def f(a, b):
        return ones_by_numpy(a) * a * b

    a, b = np.array([[3.0, 1.1], [1.0, 2.0]]), np.array([9.0, 8.0])
    with pytest.raises(UnsupportedError, match=r"power \(compiled_graphs.py:\d+\).*does not compile.*fallback"):
        ut.compile(f)(a, b)
    g = ut.compile(f, fallback="numpy")
    np.testing.assert_array_equal(g(a, b), f(a, b))
    assert [said.split()[0] for said in g.program.by_numpy] == ["power"]
    with pytest.raises(ArgumentError, match="fallback is 'torch'"):
        ut.compile(f, fallback="torch")
    with pytest.raises(ArgumentError, match="takes a function, not float"):
        ut.compile(2.0)


@pytest.mark.skipif(np.dtype(np.longdouble) == np.float64, reason="longdouble is float64 here")
def test_dtypes_that_do_not_compile_are_named_with_others_that_do():
    x = np.arange(6, dtype=np.longdouble).reshape(2, 3)
    for f in (lambda x: x * 2.0, lambda x: x == 1, lambda x: np.sum(x * 1.0), lambda x: np.where(x > 1, 1.0, 2.0)):
        with pytest.raises(UnsupportedError, match=f"Give float64 instead of {x.dtype}, or pass fallback="):
            ut.compile(f)(x)
        np.testing.assert_array_equal(ut.compile(f, fallback="numpy")(x), f(x))


def test_float16_is_an_error_on_processors_that_do_not_convert_it(monkeypatch):
    monkeypatch.delitem(scalars.KINDS, np.dtype(np.float16))
    scalars._kinds_of.cache_clear()
    x = np.array([1.0, 2.5], np.float16)
    try:
        with pytest.raises(UnsupportedError, match="Give float32 instead of float16, or pass fallback="):
            ut.compile(lambda x: np.exp(x) * 2)(x)
        np.testing.assert_array_equal(ut.compile(lambda x: np.exp(x) * 2, fallback="numpy")(x), np.exp(x) * 2)
    finally:
        scalars._kinds_of.cache_clear()


def test_a_method_of_a_dataclass_compiles_and_that_of_a_plain_class_is_refused():
    @dataclass
    class Layer:
        W: np.ndarray

        @ut.compile
        def apply(self, x):
            return x @ self.W

    layer, x = Layer(np.eye(3)), np.ones((2, 3))
    np.testing.assert_array_equal(layer.apply(x), x)
    layer.W = 5 * layer.W  # an argument, no constant
    np.testing.assert_array_equal(layer.apply(x), 5 * x)
    np.testing.assert_array_equal(Layer.apply(layer, x), 5 * x)
    assert layer.apply.program.memory.arena >= 0

    class Plain:
        def __init__(self):
            self.W = np.eye(3)

        @ut.compile
        def apply(self, x):
            return x @ self.W

    with pytest.raises(
        ArgumentError, match="Make Plain a dataclass, whose arrays are arguments, or compile a function"
    ):
        Plain().apply(x)


def test_a_position_beyond_the_end_is_an_error():
    f = ut.compile(lambda table, rows: table[rows] * 2)
    table = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(f(table, np.array([2, 0, -1])), table[[2, 0, -1]] * 2)
    with pytest.raises(PositionError, match=r"getitem \(test_function.py:\d+\): an index is beyond the end"):
        f(table, np.array([0, 3]))
    np.testing.assert_array_equal(f(table, np.array([1, 1, 1])), table[[1, 1, 1]] * 2)


def test_gradients_compile():
    def loss(params, x, y):
        h = np.tanh(x @ params["W"] + params["b"])
        return np.mean((h @ params["v"] - y) ** 2)

    rng = np.random.default_rng(1)
    params = {"W": rng.normal(size=(4, 8)), "b": np.zeros(8), "v": rng.normal(size=8)}
    compiled = ut.value_and_grad(loss, compile=True)
    for rows in (5, 9):
        x, y = rng.normal(size=(rows, 4)), rng.normal(size=rows)
        value, grads = compiled(params, x, y)
        wanted, expected = ut.value_and_grad(loss)(params, x, y)
        assert value == pytest.approx(wanted, rel=1e-12)
        for name in params:
            np.testing.assert_allclose(grads[name], expected[name], rtol=1e-10, atol=1e-13)


def test_arguments_of_a_compiled_gradient_may_be_given_by_name():
    """What is left out before an argument given by name has its default, with `ut.compile` too."""

    def loss(w, x, power=2, decay=0.1, *, scale=1.0):
        return np.mean((x @ w) ** power) * scale + decay * np.sum(w**2)

    rng = np.random.default_rng(4)
    w, x = rng.normal(size=3), rng.normal(size=(5, 3))
    compiled = ut.value_and_grad(loss, compile=True)
    for names in ({"x": x}, {"x": x, "decay": 0.5}, {"x": x, "power": 4}, {"x": x, "w": w, "decay": 0.0}):
        given = () if "w" in names else (w,)
        value, grad = compiled(*given, **names)
        wanted = {"w": w, **names}
        np.testing.assert_allclose(value, loss(**wanted), rtol=1e-12)
        np.testing.assert_allclose(ut.compile(loss)(**wanted), loss(**wanted), rtol=1e-12)
        power, decay = wanted.get("power", 2), wanted.get("decay", 0.1)
        expected = x.T @ (power * (x @ w) ** (power - 1)) / 5 + 2 * decay * w
        np.testing.assert_allclose(grad, expected, rtol=1e-12)
    with pytest.raises(ArgumentError, match=r"loss \(test_function.py:\d+\): scale can be given by name alone"):
        compiled(w, x, scale=2.0)


def test_a_gather_and_its_gradient_compile():
    rng = np.random.default_rng(2)
    table, rows = rng.normal(size=(7, 5)), np.array([3, 3, 0, 6, 3])
    loss = lambda t, r: np.sum(np.tanh(t[r]) ** 2)
    value, grad = ut.value_and_grad(loss, compile=True)(table, rows)
    np.testing.assert_allclose(grad, ut.grad(loss)(table, rows), rtol=1e-12)
    assert value == pytest.approx(loss(table, rows))


def test_threads_do_not_change_what_is_computed_twice():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(700, 300)).astype(np.float32)
    f = ut.compile(lambda x: (np.sum(np.exp(x), axis=0), np.tanh(x) @ x.T, np.sum(x)))
    try:
        for threads in (1, 2):
            ut.set_threads(threads)
            first, second = f(x), f(x)
            for a, b in zip(first, second, strict=True):
                np.testing.assert_array_equal(a, b)
            np.testing.assert_allclose(first[0], np.exp(x.astype(float)).sum(axis=0), rtol=1e-5)
    finally:
        ut.set_threads(None)
    for wrong in (0, -1, True, 1.5):
        with pytest.raises(ArgumentError, match="whole number of 1 or more"):
            ut.set_threads(wrong)


def test_python_threads_may_share_a_compiled_function():
    f = ut.compile(lambda x: np.cumsum(np.ones(3)) * np.sum(np.tanh(x @ x.T), axis=0)[:3])
    inputs = [np.random.default_rng(i).normal(size=(120, 60)) for i in range(8)]
    wanted = [f(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for found, value in zip(pool.map(f, inputs * 20), wanted * 20, strict=True):
            np.testing.assert_array_equal(found, value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_may_go_on():
    ut.set_threads(2)
    try:
        f = ut.compile(lambda x: np.sum(np.exp(x), axis=0))
        x = np.random.default_rng(4).normal(size=(500, 400))
        wanted = f(x)
        fork = multiprocessing.get_context("fork")
        answers = fork.Queue()
        process = fork.Process(target=lambda: answers.put(f(x)))
        process.start()
        np.testing.assert_array_equal(answers.get(timeout=600), wanted)
        process.join(600)
        assert process.exitcode == 0
    finally:
        ut.set_threads(None)


def test_a_program_tells_its_memory_and_its_time():
    f = ut.compile(lambda x: np.sum(np.tanh(x @ x.T) ** 2))
    x = np.ones((64, 32), np.float32)
    with pytest.raises(ArgumentError, match="not been called"):
        _ = f.program
    profile = f.profile(x, rounds=3)
    with pytest.raises(ArgumentError, match="rounds must be 1 or more"):
        f.profile(x, rounds=0)
    assert isinstance(f.program, Program)
    assert f.program.memory.least <= f.program.memory.arena <= 1.2 * f.program.memory.least + 4096
    assert any("64 × 32 × 64" in kernel.what for kernel in profile.kernels)
    assert "GFlop/s" in str(profile)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_profile_has_a_time_for_each_call_and_leaves_results_right(threads):
    ut.set_threads(threads)
    try:

        def numbers(x):
            return np.linalg.inv(np.tanh(x @ x) + 9 * np.eye(70)) @ (np.exp(x) * ones_by_numpy(x))

        f = ut.compile(numbers, fallback="numpy")
        x = np.random.default_rng(0).normal(size=(70, 70)) / 10
        profile = f.profile(x, rounds=2)
        assert f.program.by_numpy and len(profile.kernels) == len(f.program.plan.calls)
        assert all(kernel.seconds > 0 for kernel in profile.kernels)
        np.testing.assert_allclose(f(x), numbers(x), rtol=1e-9)
    finally:
        ut.set_threads(None)


def test_the_configuration_is_told():
    told = ut.show_config()
    for word in ("processor", "threads", "cache", "llvmlite", "products"):
        assert word in told


def test_a_compiled_gradient_is_not_traced_again_for_another_batch_size():
    calls = []

    def loss(params, X, y):
        calls.append(len(calls))
        W, b, v = params
        return np.mean((np.tanh(X @ W + b) @ v - y) ** 2) + np.sum(W**2) / len(X)

    rng = np.random.default_rng(0)
    params = [rng.normal(size=(4, 8)), np.zeros(8), rng.normal(size=8)]
    compiled, plain = ut.value_and_grad(loss, compile=True), ut.value_and_grad(loss)
    for m, traced in ((5, True), (7, False), (300, False), (1, True), (2, False), (7, False)):
        X, y = rng.normal(size=(m, 4)), rng.normal(size=m)
        before = len(calls)
        value, gradient = compiled(params, X, y)
        assert (len(calls) > before) == traced, m
        expected_value, expected = plain(params, X, y)
        np.testing.assert_allclose(value, expected_value, rtol=1e-12)
        for mine, other in zip(gradient, expected, strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-14)
    with pytest.raises(ValueError):  # NumPy's own, or ours, of shapes that do not go together
        compiled(params, rng.normal(size=(8, 4)), rng.normal(size=9))


def test_a_compiled_gradient_is_traced_again_where_another_axis_differs():
    def loss(w, X):
        return np.sum(np.tanh(X * w))

    compiled, plain = ut.value_and_grad(loss, compile=True), ut.value_and_grad(loss)
    for shape in ((6, 3), (4, 3), (4, 5), (9, 5), (5,), (1, 5), (2, 2, 5)):
        w, X = np.linspace(0.1, 1, shape[-1]), np.random.default_rng(0).normal(size=shape)
        (value, gradient), (expected_value, expected) = compiled(w, X), plain(w, X)
        np.testing.assert_allclose(value, expected_value, rtol=1e-12)
        np.testing.assert_allclose(gradient, expected, rtol=1e-12)
    X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    assert compiled(np.ones(3, np.float32), X)[1].dtype == np.float32
