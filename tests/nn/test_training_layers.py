"""Layers that know that the model trains: running statistics, dropout, noise; all layers together."""

import math
from typing import Any, NamedTuple

import numpy as np
import pytest

import undertow as ut
from undertow import nn, trees
from undertow.errors import ShapeError
from undertow.train.step import make_step


def rng(seed=0):
    return np.random.default_rng(seed)


def filled(layer, seed=0, dtype=np.float64):
    """A layer whose parameters are random, so that none is a special case; variances are positive."""
    layer = nn.initialize(layer, seed, dtype)
    draw = rng(seed + 1)
    values = {
        path: np.asarray(value + draw.uniform(0.1, 0.5, np.shape(value)), dtype)
        for path, value in nn.parameters_of(layer).items()
    }
    return nn.put_parameters(layer, values)


# ---- batch normalisation -------------------------------------------------------------------------


def steps_of(layer, batches):
    """The layer after it was trained on batches: each step's running statistics go into the next."""
    for x in batches:
        with nn.training(None) as made:
            layer(x)
        (mean, new_mean), (variance, new_variance) = made.replaced
        assert mean is layer.mean and variance is layer.variance
        layer = nn.put_parameters(layer, {**nn.parameters_of(layer), "mean": new_mean, "variance": new_variance})
    return layer


@pytest.mark.parametrize("shape", [(8, 4), (8, 3, 4)])
def test_running_statistics_are_moving_averages_of_mean_and_unbiased_variance(shape):
    """After three batches they are what the recurrence says, with n − 1 in the variance."""
    batches = rng().standard_normal((3, *shape)) * 2 + 1
    layer = steps_of(nn.initialize(nn.BatchNorm(4, momentum=0.2), 0, np.float64), batches)
    mean, variance = np.zeros(4), np.ones(4)
    for x in batches:
        flat = x.reshape(-1, 4)
        mean = 0.8 * mean + 0.2 * flat.sum(0) / len(flat)
        variance = 0.8 * variance + 0.2 * ((flat - flat.mean(0)) ** 2).sum(0) / (len(flat) - 1)
    np.testing.assert_allclose(layer.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(layer.variance, variance, rtol=1e-12)
    x = batches[0]
    np.testing.assert_allclose(layer(x), (x - mean) / np.sqrt(variance + 1e-5), rtol=1e-10)


def test_running_statistics_are_those_of_torch():
    """Three training passes in PyTorch leave the same numbers, and so the same predictions."""
    torch = pytest.importorskip("torch")
    batches = rng().standard_normal((3, 8, 4)) * 2 + 1
    layer = steps_of(nn.initialize(nn.BatchNorm(4), 0, np.float64), batches)
    theirs = torch.nn.BatchNorm1d(4, dtype=torch.float64)
    for x in batches:
        theirs(torch.tensor(x))
    np.testing.assert_allclose(layer.mean, theirs.running_mean.numpy(), rtol=1e-12)
    np.testing.assert_allclose(layer.variance, theirs.running_var.numpy(), rtol=1e-12)
    x = batches[1]
    np.testing.assert_allclose(layer(x), theirs.eval()(torch.tensor(x)).detach().numpy(), rtol=1e-10)


def test_a_batch_of_one_row_leaves_finite_statistics():
    """Its variance with n − 1 in the denominator would be 0/0; it counts as 0."""
    layer = steps_of(nn.initialize(nn.BatchNorm(2), 0, np.float64), [np.array([[1.0, 2.0]])])
    np.testing.assert_allclose(layer.mean, [0.1, 0.2])
    np.testing.assert_allclose(layer.variance, [0.9, 0.9])


def test_an_empty_batch_leaves_no_nan_in_the_statistics():
    """PyTorch leaves the running averages as they are; here the batch is refused, since 0/0 is no mean."""
    layer = filled(nn.BatchNorm(5))
    with nn.training(None) as made, pytest.raises(ShapeError, match=r"x is \(0, 5\): no rows have no mean\. Leave"):
        layer(np.zeros((0, 5)))
    assert not made.replaced and layer(np.zeros((0, 5))).shape == (0, 5)


def test_a_layer_called_twice_in_a_step_keeps_both_batches():
    """The second call goes on from what the first one left, as two calls in PyTorch do."""
    a, b = rng().standard_normal((2, 8, 4))
    layer = nn.initialize(nn.BatchNorm(4), 0, np.float64)
    with nn.training(None) as made:
        layer(a), layer(b)
    wanted = steps_of(layer, [a, b])
    np.testing.assert_allclose(made.replaced[2][1], wanted.mean, rtol=1e-12)
    np.testing.assert_allclose(made.replaced[3][1], wanted.variance, rtol=1e-12)


def test_training_leaves_running_statistics_that_predict():
    """A trained model's statistics moved to those of its data, and no gradient touched them; gains were trained."""
    X = (rng().standard_normal((256, 3)) * 5 + 10).astype(np.float32)
    y = X.sum(1, keepdims=True) - 30
    model = nn.Sequential(nn.BatchNorm(3), nn.Dense(3, 1))
    run = ut.train(
        model, (X, y), loss="mean_squared_error", epochs=30, batch_size=32, validation=None, progress=False,
        optimizer=ut.optim.sgd(0.02),
    )  # fmt: skip
    norm = run.model.layers[0]
    np.testing.assert_allclose(norm.mean, X.mean(0), rtol=0.1)
    np.testing.assert_allclose(norm.variance, X.var(0), rtol=0.3)
    assert np.abs(norm.gain - 1).max() > 0.05
    assert np.mean((run.predict(X) - y) ** 2) < 0.05 * np.var(y)


# ---- dropout and noise ---------------------------------------------------------------------------


def passed(layer, x, keys):
    with nn.training(keys):
        return layer(x)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_the_share_that_is_asked_for_and_keeps_the_expectation(rate):
    """The share of zeros and the mean lie within five standard errors."""
    n = 200_000
    h = passed(nn.Dropout(rate), np.ones((n // 100, 100), np.float32), nn.example_keys(1, 0, n // 100))
    assert abs(np.mean(h == 0) - rate) < 5 * math.sqrt(rate * (1 - rate) / n)
    assert abs(h.mean(dtype=np.float64) - 1) < 5 * math.sqrt(rate / (1 - rate) / n)
    assert set(np.unique(h)) == {0, np.float32(1 / (1 - rate))}


def test_dropout_differs_by_example_step_layer_and_seed_and_is_the_same_otherwise():
    """The key of the example and the place of the call decide."""
    x, layer = np.ones((64, 50), np.float32), nn.Dropout(0.5)
    keys = nn.example_keys(0, 0, 64)
    h = passed(layer, x, keys)
    np.testing.assert_array_equal(h, passed(layer, x, keys))
    assert len({row.tobytes() for row in h}) == 64
    for other in (nn.example_keys(0, 1, 64), nn.example_keys(1, 0, 64)):
        assert 0.4 < np.mean(h != passed(layer, x, other)) < 0.6
    with nn.training(keys):
        first, second = layer(x), layer(x)
    np.testing.assert_array_equal(first, h)
    assert 0.4 < np.mean(first != second) < 0.6


@pytest.mark.parametrize("layer", [nn.Dropout(0.3), nn.Noise(0.5)], ids=repr)
def test_random_layers_do_not_depend_on_batches_threads_or_the_compiler(layer):
    """Rows 0 to 31 and 32 to 63 apart are those of the whole; compiled, on one or two threads, too."""
    x, keys = np.ones((64, 300), np.float32), nn.example_keys(4, 2, 64)
    whole = passed(layer, x, keys)
    for rows in (slice(0, 32), slice(32, 64)):
        np.testing.assert_array_equal(passed(layer, x[rows], keys[rows]), whole[rows])
    before = ut.get_threads()
    try:
        for threads in (1, 2):
            ut.set_threads(threads)
            compiled = ut.compile(lambda x, keys: passed(layer, x, keys))
            np.testing.assert_allclose(compiled(x, keys), whole, rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(compiled(x, keys) == 0, whole == 0)
    finally:
        ut.set_threads(before)


def test_noise_has_its_deviation():
    """Mean 0 and the deviation that was asked for, within five standard errors."""
    n = 100_000
    h = passed(nn.Noise(0.2), np.zeros((n // 10, 10)), nn.example_keys(0, 0, n // 10))
    assert abs(h.mean()) < 5 * 0.2 / math.sqrt(n)
    assert abs(h.std() - 0.2) < 5 * 0.2 / math.sqrt(2 * n)


def test_random_layers_let_everything_pass_when_the_model_does_not_train():
    """Predicting is not disturbed, and needs no keys."""
    x = rng().standard_normal((4, 3))
    model = nn.Sequential(nn.Dropout(0.9), nn.Residual(nn.Noise(3.0)), nn.Parallel(nn.Dropout(0.5), nn.Dropout(0.0)))
    np.testing.assert_array_equal(model(x), np.hstack([2 * x, 2 * x]))
    with nn.training(nn.example_keys(0, 0, 4)):
        np.testing.assert_array_equal(nn.Dropout(0.0)(x), x)


def test_the_gradient_goes_through_what_was_kept():
    """The derivative of dropout is its own mask; one gradient flows where both passes kept."""
    x, keys = rng().standard_normal((16, 8)), nn.example_keys(3, 0, 16)
    h = passed(nn.Dropout(0.5), np.ones_like(x), keys)
    found = ut.grad(lambda x: np.sum(passed(nn.Dropout(0.5), x, keys) * x))(x)
    np.testing.assert_allclose(found, 2 * x * h)
    x[0, 0] = np.inf  # a number that was dropped does not come back as NaN
    h = passed(nn.Dropout(0.5), x, keys)
    assert not np.isnan(h).any()


def test_a_layer_that_lost_the_batch_axis_is_named():
    """Dropout draws by example: rows that are none are an error that says after which layer."""
    model = nn.initialize(nn.Sequential(nn.Dense(4, 6), nn.Lambda(lambda h: h.reshape(-1, 3)), nn.Dropout(0.5)))
    with pytest.raises(
        ShapeError, match=r"^after layer 1, Dense\(4, 6\): Dropout\(rate=0.5\): random numbers"
    ) as error:
        passed(model, np.ones((8, 4), np.float32), nn.example_keys(0, 0, 8))
    assert "x is (16, 3) and there are 8 examples" in str(error.value)
    with pytest.raises(ShapeError, match="Noise"):
        passed(nn.Noise(1.0), np.float64(3.0), nn.example_keys(0, 0, 1))


def big_model():
    return nn.Sequential(
        nn.EmbedColumns(5, {1: (7, 3)}), nn.Dense(7, 8), nn.BatchNorm(8), "tanh", nn.Dropout(0.3),
        nn.Residual(nn.Dense(8, 6), nn.Dropout(0.2), "tanh", projection="auto", scale=0.5),
        nn.Parallel(nn.Dense(6, 3), nn.Sequential(nn.Dense(6, 2), nn.PReLU(2))), nn.Concat(nn.LayerNorm(5)),
        nn.RMSNorm(10), nn.Reshape((2, 5)), nn.Flatten(), nn.Scale(10), nn.Noise(0.1), nn.leaky_relu(slope=0.1),
        nn.Dense(10, 2, init=nn.normal(deviation=0.1)), "softmax",
    )  # fmt: skip


def big_batch(m=64, dtype=np.float64):
    X = rng().standard_normal((m, 5)).astype(dtype)
    X[:, 1] = rng().integers(0, 7, m)
    return X, rng(1).standard_normal((m, 2)).astype(dtype), nn.example_keys(0, 0, m)


def big_loss(model, X, y, keys):
    with nn.training(keys):
        return np.mean((model(X) - y) ** 2) + np.mean((model(X) - y) ** 2)  # other numbers are dropped the second time


def test_all_layers_together_have_the_right_gradient():
    """A model of every layer, called twice in its loss: slopes along random directions are those of differences."""
    model, batch, step = filled(big_model()), big_batch(8), 1e-6
    params, found = nn.parameters_of(model), nn.parameters_of(ut.grad(big_loss)(model, *batch))
    for seed in range(4):
        along = {p: rng(seed).standard_normal(x.shape) * (p in nn.trained_paths(model)) for p, x in params.items()}
        ends = [
            big_loss(nn.put_parameters(model, {p: x + s * along[p] for p, x in params.items()}), *batch)
            for s in (step, -step)
        ]
        slope = sum(np.sum(found[p] * along[p]) for p in params)
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, rel=1e-6)


def test_all_layers_together_compile_to_the_same_step():
    """Loss and gradients of the compiled program are those of NumPy, for whole and short batches."""
    model = filled(big_model(), dtype=np.float32)
    X, y, keys = big_batch(64, np.float32)
    gradient = lambda *args: nn.parameters_of(ut.grad(big_loss)(*args))
    compiled, compiled_gradient = ut.compile(big_loss), ut.compile(gradient, fallback="numpy")
    for m in (64, 17):
        batch = X[:m], y[:m], keys[:m]
        assert compiled(model, *batch) == pytest.approx(big_loss(model, *batch), rel=1e-5)
        wanted = gradient(model, *batch)
        for path, value in compiled_gradient(model, *batch).items():
            np.testing.assert_allclose(value, wanted[path], rtol=1e-3, atol=1e-6, err_msg=path)


def test_trees_of_layers_hold_arrays_only():
    """Rates and epsilons belong to the structure: no optimizer changes them, and a rebuilt layer has them."""
    model = filled(big_model())
    leaves, rebuild = trees.flatten(model)
    assert all(callable(x) or isinstance(x, np.ndarray) for x in leaves)
    again = rebuild(leaves)
    assert again.layers[4].rate == 0.3 and again.layers[5].scale == 0.5 and again.layers[2].momentum == 0.1
    free = dict(zip(trees.paths(model), nn.trained_leaves(model), strict=True))
    assert [path for path in free if path.startswith(".layers[2].") and not free[path]] == [
        ".layers[2].mean",
        ".layers[2].variance",
    ]


def test_a_compiled_step_leaves_the_running_statistics_of_numpy():
    """What one step of the trainer puts in the place of mean and variance is what the same pass in NumPy leaves."""

    class Target(NamedTuple):
        y: Any
        keys: Any

    model = nn.initialize(nn.Sequential(nn.Dropout(0.3), nn.Dense(4, 5), nn.BatchNorm(5), nn.Dense(5, 1)), 1)
    X, y = rng().standard_normal((32, 4)).astype(np.float32), rng(1).standard_normal((32, 1)).astype(np.float32)
    target = Target(y, nn.example_keys(0, 0, 32))
    step = make_step(lambda model, X, target: np.mean((model(X) - target.y) ** 2), ut.optim.sgd(0.1))
    _, after, _ = step(model, step.init(model), X, target)
    assert step.uncompiled is None
    with nn.training(target.keys) as made:
        model(X)
    norm = after.layers[2]
    assert norm.mean.dtype == norm.variance.dtype == np.float32
    np.testing.assert_allclose(norm.mean, made.replaced[0][1], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(norm.variance, made.replaced[1][1], rtol=1e-5)


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.Noise(1.0), nn.initialize(nn.BatchNorm(3), 0)], ids=repr)
def test_a_mode_around_a_function_that_is_traced_once_is_refused(layer):
    """The program would do the same in each call: drop the same units, also where it is to predict."""
    x, keys = rng().standard_normal((8, 3)), nn.example_keys(0, 0, 8)
    loss = lambda w, x: np.mean(layer(x * w) ** 2)
    step, program = ut.value_and_grad(loss, compile=True), ut.compile(loss)
    told = (
        r"^test_training_layers.py:\d+: a layer asks whether the model trains, .* inside of the function, and give it"
    )
    for _ in range(2):  # neither the first call nor one after the program for predicting was made
        for make in (step, program, lambda w, x: ut.backprop(loss, w, x)):
            with nn.training(keys), pytest.raises(ut.errors.ControlFlowError, match=told):
                make(np.ones(3), x)
        np.testing.assert_allclose(program(np.ones(3), x), loss(np.ones(3), x), rtol=1e-9)
        np.testing.assert_allclose(step(np.ones(3), x)[0], loss(np.ones(3), x), rtol=1e-9)


def test_a_mode_within_a_compiled_function_has_the_keys_of_each_call():
    x, layer = np.ones((8, 3)), nn.Dropout(0.5)

    def loss(w, x, keys):
        with nn.training(keys):
            return np.mean(layer(x * w) ** 2)

    step = ut.value_and_grad(loss, compile=True)
    for epoch in range(3):
        keys = nn.example_keys(0, epoch, 8)
        np.testing.assert_allclose(step(np.ones(3), x, keys)[0], loss(np.ones(3), x, keys), rtol=1e-9)
    with nn.training(None):  # by values the mode around counts, for nothing outlasts the call
        assert ut.grad(lambda w: np.mean(nn.initialize(nn.BatchNorm(3), 0)(x * w)))(np.ones(3)).shape == (3,)


def test_statistics_of_a_float32_model_stay_float32_for_float64_data():
    """`initialize` gives float32 unless told, and arrays are float64 where nobody says otherwise."""
    X = np.random.default_rng(0).normal(3.0, 2.0, size=(64, 3))
    model = nn.initialize(nn.Sequential(nn.BatchNorm(3), nn.Dense(3, 1)), seed=0)
    run = ut.train(
        model, (X, X[:, :1]), loss="mean_squared_error", epochs=1, batch_size=64, validation=0, progress=False
    )
    norm = run.model.layers[0]
    assert norm.mean.dtype == norm.variance.dtype == np.float32
    np.testing.assert_allclose(norm.mean, 0.1 * X.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(norm.variance, 0.9 + 0.1 * X.var(axis=0, ddof=1), rtol=1e-5)
