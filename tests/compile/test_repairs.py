"""Programs that once gave wrong numbers, or worse: each is a way in which compiled code could differ from NumPy."""

import signal
import threading
import warnings

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim, trees
from undertow.errors import ArgumentError, PositionError, ShapeError, UndertowError, UnsupportedError
from undertow.train.session import PlainSession
from undertow.train.step import make_step


def test_a_value_in_place_of_an_input_does_not_hide_the_input_from_later_lines():
    rule = optim.Optimizer(
        "optimistic",
        lambda params: trees.map(np.zeros_like, params),
        lambda g, s, p: (trees.map(lambda a, b, c: a - 0.1 * (2 * b - c), p, g, s), g),
    )
    w, X, y = np.ones(3), np.random.default_rng(0).normal(size=(30, 3)), np.ones(30)
    step = make_step(lambda w, X, y: np.mean((X @ w - y) ** 2) + 0.01 * np.sum(w * w), rule)
    sessions = [step.open(w, step.init(w), X, y, 10), PlainSession(step, w, step.init(w), X, y)]
    for session in sessions:
        session.run(np.arange(30), 10)
    np.testing.assert_allclose(sessions[0].values()[0], sessions[1].values()[0], rtol=1e-12)


def test_a_program_for_one_batch_size_gets_another_for_the_last_batch():
    def loss(out, y):
        return np.mean((out - y) ** 2) * (1 + int(out.shape[0]) % 7)

    model = nn.initialize(nn.Sequential(nn.Dense(4, 8), "tanh", nn.Dense(8, 1)), 0, np.float64)
    X, y = np.random.default_rng(1).normal(size=(70, 4)), np.ones((70, 1))
    step = make_step(lambda m, X, y: loss(m(X), y), optim.adam(0.01))
    sessions = [step.open(model, step.init(model), X, y, 32), PlainSession(step, model, step.init(model), X, y)]
    losses = [session.run(np.arange(70), 32) for session in sessions]
    np.testing.assert_allclose(*losses, rtol=1e-10)
    np.testing.assert_allclose(*[s.values()[0].layers[0].W for s in sessions], rtol=1e-10)


@pytest.mark.parametrize(
    ("init", "update"),
    [
        (lambda p: (), lambda g, s, p: (trees.map(lambda a, b: a - np.float64(0.1) * b, p, g), s)),
        (lambda p: [np.zeros(1, np.float32)], lambda g, s, p: (p, [s[0] + p["parameter"]])),
        (lambda p: [], lambda g, s, p: (p, [*s, p["parameter"]])),
        (lambda p: [p["parameter"] * 0], lambda g, s, p: (p, [])),
        (lambda p: (), lambda g, s, p: (list(p.values()), s)),
    ],
    ids=["dtype", "shape", "more", "fewer", "another tree"],
)
def test_a_rule_that_changes_what_it_keeps_is_an_error(init, update):
    w = np.ones(40, np.float32)
    step = make_step(lambda w, X, y: np.mean((X @ w - y) ** 2), optim.Optimizer("odd", init, update))
    with pytest.raises(ArgumentError, match="odd: update"):
        step(w, step.init(w), np.ones((5, 40), np.float32), np.ones(5, np.float32))


def test_nothing_is_picked_from_nothing():
    for function in (ut.compile(lambda x, i: x[i]), ut.value_and_grad(lambda x, i: np.sum(x[i]), compile=True)):
        with pytest.raises((PositionError, UnsupportedError)):
            function(np.zeros((0, 1000)), np.array([0, 0]))


def test_zeros_of_both_signs_have_kernels_of_their_own():
    x = np.arange(3.0)
    for zero in (0.0, -0.0, 0.0):
        found = ut.compile(lambda x, zero=zero: np.copysign(x, zero))(x)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(np.copysign(x, zero)))


def test_arguments_of_another_structure_are_another_program():
    x = np.arange(3.0)
    f = ut.compile(lambda d: d["a"] - d["b"] if "b" in d else d["a"] + d["c"])
    g = ut.value_and_grad(lambda d: np.sum(d["a"] * (2 if "b" in d else 3)), compile=True)
    np.testing.assert_array_equal(f({"a": x, "b": x}), x - x)
    np.testing.assert_array_equal(f({"a": x, "c": x}), x + x)
    assert (g({"a": x, "b": x})[0], g({"a": x, "c": x})[0]) == (6, 9)
    h = ut.value_and_grad(lambda a, b: np.sum(np.stack([*a, *b])), wrt=(0, 1), compile=True)
    assert h((x,), (x,))[0] == h((x, x), ())[0] == 6


def test_models_of_other_activations_are_other_programs():
    X, y = np.random.default_rng(2).normal(size=(9, 4)), np.ones((9, 2))
    step = make_step(lambda m, X, y: np.mean((m(X) - y) ** 2), optim.sgd(0.1))
    for name in ("relu", "tanh"):
        model = nn.initialize(nn.Sequential(nn.Dense(4, 2), name), 0, np.float64)
        loss, _, _ = step(model, step.init(model), X, y)
        assert loss == pytest.approx(np.mean((model(X) - y) ** 2))


def test_truth_is_greater_than_falsehood():
    a, b = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    for function in (np.greater, np.less, np.maximum, np.minimum, np.greater_equal):
        np.testing.assert_array_equal(ut.compile(lambda a, b, f=function: f(a, b))(a, b), function(a, b))
    x = np.array([[1.0, -1.0], [-1.0, -2.0]])
    np.testing.assert_array_equal(ut.compile(lambda x: np.max(x > 0, axis=1))(x), [True, False])


def test_whole_numbers_that_have_no_kernel_are_numpys():
    x = np.arange(5)
    np.testing.assert_array_equal(ut.compile(lambda x: x**x, fallback="numpy")(x), x**x)
    with pytest.raises(UnsupportedError, match="does not compile"):
        ut.compile(lambda x: x**x)(x)


def test_numbers_that_do_not_fit_become_the_least_whole_number():
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 2.9, -2.9])
    for dtype in (np.int64, np.int32):
        with np.errstate(invalid="ignore"):
            least = np.iinfo(dtype).min
            wanted = [least, least, least, least, least, 2, -2]
        np.testing.assert_array_equal(ut.compile(lambda x, d=dtype: (x * 1.0).astype(d))(x), wanted)


def test_sessions_of_one_step_do_not_share_their_parameters():
    X, y = np.random.default_rng(3).normal(size=(20, 3)), np.ones(20)
    step = make_step(lambda w, X, y: np.mean((X @ w - y) ** 2), optim.momentum(0.1))
    starts = [np.zeros(3), np.ones(3)]
    sessions = [step.open(w, step.init(w), X, y, 5) for w in starts]
    for rows in (np.arange(10), np.arange(10, 20)):
        for session in sessions:
            session.run(rows, 5)
    for w, session in zip(starts, sessions, strict=True):
        alone = step.open(w, step.init(w), X, y, 5)
        alone.run(np.arange(20), 5)
        np.testing.assert_array_equal(session.values()[0], alone.values()[0])


def test_python_threads_may_share_a_step():
    X, y = np.random.default_rng(4).normal(size=(400, 30)), np.ones(400)
    step = make_step(lambda w, X, y: np.mean((X @ w - y) ** 2), optim.momentum(0.01))
    starts = [np.full(30, float(i)) for i in range(8)]
    wanted = [step(w, step.init(w), X, y)[0] for w in starts]
    wrong = []

    def work(i):
        for _ in range(20):
            if step(starts[i], step.init(starts[i]), X, y)[0] != wanted[i]:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_targets_for_fewer_rows_are_an_error():
    step = make_step(lambda w, X, y: np.mean((X @ w - y) ** 2), optim.sgd(0.1))
    with pytest.raises(ShapeError, match="leading sizes differ"):
        step(np.ones(2), (), np.ones((40, 2)), np.ones(39))


def test_bytes_in_another_order_are_turned_around():
    x = np.arange(3.0)
    np.testing.assert_array_equal(ut.compile(lambda x: x * 2)(x.astype(">f8")), x * 2)
    value, grad = ut.value_and_grad(lambda x: np.sum(x * x), compile=True)(x.astype(">f8"))
    np.testing.assert_array_equal(grad, 2 * x)
    assert value == 5


def test_what_cannot_be_copied_is_left_to_numpy():
    x = np.arange(3, dtype=np.longdouble)
    np.testing.assert_array_equal(ut.compile(lambda x: np.concatenate([x, x]), fallback="numpy")(x), [0, 1, 2, 0, 1, 2])
    cube = np.arange(512.0).reshape((2,) * 9)
    found = ut.compile(lambda x: np.concatenate([x.T, x.T]), fallback="numpy")(cube)
    np.testing.assert_array_equal(found, np.concatenate([cube.T, cube.T]))


def test_compiled_functions_can_be_differentiated_and_called_by_others():
    f = ut.compile(lambda x: np.sum(np.tanh(x)))
    x = np.arange(3.0)
    np.testing.assert_allclose(ut.grad(f)(x), 1 - np.tanh(x) ** 2)
    assert ut.compile(lambda x: f(x) * 2)(x) == pytest.approx(2 * f(x))
    assert ut.compile(lambda x, k: x * k)(x=2.0, k=3.0) == 6.0
    with pytest.raises(ArgumentError, match="can be given by name alone"):
        ut.compile(lambda x, *, k: x * k)(x, k=2.0)


def test_masked_arrays_are_refused_also_after_others():
    f = ut.compile(lambda x: np.sum(x))
    f(np.ones(3))
    with pytest.raises(ut.UndertowError):
        f(np.ma.masked_array([1.0, 2.0, 3.0], [0, 1, 0]))


def test_whole_numbers_may_be_written_into_floats():
    def f(x):
        x = x * 1.0
        x[0] = 5
        return x

    np.testing.assert_array_equal(ut.compile(f)(np.zeros(3)), [5, 0, 0])


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there is no timer here")
def test_ctrl_c_between_calls_leaves_the_threads_in_step():
    ut.set_threads(2)
    x = np.random.default_rng(5).normal(size=(300, 200))
    f = ut.compile(lambda x: np.sum(np.exp(x) @ x.T, axis=0))
    wanted, caught = f(x), 0
    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        for i in range(60):
            signal.setitimer(signal.ITIMER_REAL, 0.0005 + 0.0001 * (i % 9))
            try:
                for _ in range(200):
                    np.testing.assert_array_equal(f(x), wanted)
            except KeyboardInterrupt:
                caught += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        ut.set_threads(None)
    assert caught > 30
    np.testing.assert_array_equal(f(x), f(x))


@pytest.mark.parametrize("x", [np.ones((0,)), np.ones((0, 3)), np.ones((0, 3), int), np.ones((2, 0, 3), np.float32)])
@pytest.mark.parametrize("f", [np.nanmax, np.nanmin])
def test_an_extremum_of_nothing_is_what_it_began_with(f, x):
    for options in ({"initial": 4}, {"initial": 4, "keepdims": True}, {"initial": 4, "axis": -x.ndim + (x.ndim == 3)}):
        wanted, found = f(x, **options), ut.compile(lambda x, options=options: f(x, **options))(x)
        np.testing.assert_array_equal(found, wanted, strict=True)


@pytest.mark.parametrize("p", [None, 2, -2, 1, -1, np.inf, -np.inf, "fro"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, int])
def test_the_condition_of_a_singular_matrix_is_infinite(p, dtype):
    x = np.stack([np.zeros((2, 2)), np.array([[2, 1], [1, 3]]), np.array([[1, 0], [0, 0]])]).astype(dtype)
    unknown = np.where(x == 3, np.nan, x)  # whose condition is NaN; NumPy has no singular values of it
    for case in (x, x[0]) if dtype is int or p in (None, 2, -2) else (x, x[0], unknown):
        wanted = np.linalg.cond(case, p)
        np.testing.assert_allclose(ut.compile(lambda x: np.linalg.cond(x, p))(case), wanted, rtol=1e-5, strict=True)
        if dtype is not int:
            np.testing.assert_allclose(ut.vjp(lambda x: np.linalg.cond(x, p), case)[0], wanted, rtol=1e-5, strict=True)


@pytest.mark.parametrize("period", [4, 5, 360, 4.0, 2 * np.pi])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.float32])
def test_whole_angles_are_unwrapped_by_whole_turns(period, dtype):
    x = np.array([[0, 3, -3, 7, 20, 18], [100, -100, 90, -80, 2, 6]]).astype(dtype)
    for options in ({}, {"axis": 0}, {"discont": 3}):
        wanted = np.unwrap(x, period=period, **options)
        found = ut.compile(lambda x, options=options: np.unwrap(x, period=period, **options))(x)
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-5, strict=True)


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("period", [7.0, np.int64(7), np.int16(6), np.uint8(7), np.float32(7), np.float64(6.5)])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int64, np.float32, np.float64])
def test_angles_and_periods_of_all_types_are_unwrapped_as_numpy_does(period, dtype):
    x = np.array([[0, 100, 3], [90, 1, 0]]).astype(dtype)
    for options in ({}, {"axis": 0}, {"discont": 4}):
        wanted = np.unwrap(x, period=period, **options)
        found = ut.compile(lambda x, options=options: np.unwrap(x, period=period, **options))(x)
        np.testing.assert_allclose(found, wanted, rtol=1e-6, strict=True)


@pytest.mark.parametrize(
    "options", [{}, {"ddof": 0}, {"ddof": 3}, {"bias": True}, {"fweights": [1]}, {"aweights": [0.5]}]
)
def test_the_covariance_of_one_observation_is_numpys(options):
    x = np.array([[0.3], [0.7]])
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = np.cov(x, **options)
    np.testing.assert_array_equal(ut.compile(lambda x: np.cov(x, **options))(x), wanted)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3)])
def test_quantiles_of_nothing_are_nan_where_numpys_are(shape):
    x = np.ones(shape)
    for q, options in ((0.3, {}), ([0.2, 0.7], {"axis": 0}), (0.3, {"axis": -1, "keepdims": True})):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = np.nanquantile(x, q, **options)
        for found in (
            ut.compile(lambda x, q=q, options=options: np.nanquantile(x, q, **options))(x),
            ut.compile(lambda x, q, options=options: np.nanquantile(x, q, **options))(x, np.array(q)),
        ):
            np.testing.assert_array_equal(found, wanted, strict=True)
        slope = ut.value_and_grad(lambda x, q=q, options=options: np.sum(np.nanquantile(x, q, **options)), compile=True)
        assert slope(x)[1].shape == shape


@pytest.mark.parametrize(
    ("f", "x", "message"),
    [
        (lambda x: np.ediff1d(x, to_end=np.nan), np.arange(3), "to_end is float64, which int64 does not hold"),
        (lambda x: np.ediff1d(x, None, np.ones(2, np.float32)), np.arange(3), "to_begin is float32"),
        (lambda x: np.histogram(x, 2.4), np.arange(3.0), "bins is 2.4"),
        (lambda x: np.histogram(x, 0), np.arange(3.0), "bins is 0"),
        (lambda x: np.linalg.matrix_rank(x, tol=0.1, rtol=0.1), np.eye(3), "tol= or rtol=, not both"),
    ],
)
def test_what_numpy_refuses_is_refused(f, x, message):
    with pytest.raises((TypeError, ValueError)):
        f(x)
    with pytest.raises(UndertowError, match=message):
        ut.compile(f)(x)


@pytest.mark.parametrize("bins", [np.array(3), np.uint8(2), True])
def test_a_number_of_bins_is_what_numpy_takes_for_one(bins):
    x = np.arange(5.0)
    np.testing.assert_array_equal(ut.compile(lambda x: np.histogram(x, bins)[0])(x), np.histogram(x, bins)[0])
