"""What optimizers and clipping do inside a compiled step is what they do eagerly."""

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim, trees
from undertow.errors import ArgumentError, ControlFlowError, TrainingError
from undertow.train.derive import make_gradient
from undertow.train.step import make_step

RNG = np.random.default_rng(5)
X, Y = RNG.standard_normal((48, 3)), RNG.standard_normal((48, 2))
MODEL = nn.Sequential(nn.Dense(3, 5), nn.tanh, nn.Dense(5, 2))
NAMES = ["layers[0].W", "layers[0].b", "layers[2].W", "layers[2].b"]


def loss(model, X, y):
    return np.mean((model(X) - y) ** 2)


def start(dtype=np.float64):
    return nn.initialize(MODEL, 3, np.dtype(dtype)), X.astype(dtype), Y.astype(dtype)


def arrays(model):
    return [leaf for leaf in trees.flatten(model)[0] if not callable(leaf)]


def run_eagerly(optimizer, clip, steps, dtype):
    """The losses' gradients by the model, clipping and update one after the other, on plain arrays."""
    model, X, y = start(dtype)
    gradient = make_gradient(loss)
    params = dict(zip(NAMES, arrays(model), strict=True))
    state = optimizer.init(params)
    for t in range(steps):
        rows = slice(12 * (t % 4), 12 * (t % 4) + 12)
        leaves, rebuild = trees.flatten(model)
        numbers = iter(params.values())
        _, grads = gradient(rebuild([x if callable(x) else next(numbers) for x in leaves]), X[rows], y[rows])
        grads = dict(zip(NAMES, arrays(grads), strict=True))
        grads = grads if clip is None else clip.apply(grads, params)
        params, state = optimizer.update(grads, state, params)
    return params, state


def run_compiled(optimizer, clip, steps, dtype):
    """The same by a step; the session keeps all in its memory."""
    model, X, y = start(dtype)
    step = make_step(loss, optimizer, clip)
    session = step.open(model, step.init(model), X, y, 12)
    session.run(np.concatenate([np.arange(48)] * (steps // 4)), 12)
    assert step.uncompiled is None
    model, state = session.values()
    return dict(zip(NAMES, arrays(model), strict=True)), state


CASES = [
    *[(make(), None) for make in optim.OPTIMIZERS.values()],
    (optim.sgd(optim.warmup(optim.cosine(0.1, 20), 5), decay=0.1), None),
    (optim.radam(0.05, beta2=0.7, decay=0.1), None),
    (optim.rmsprop(0.01, momentum=0.5, centered=True), None),
    (optim.lamb(optim.one_cycle(0.1, 24), decay=0.1), None),
    (optim.adam(optim.tabulate(lambda t: 0.1 if t < 9 else 0.01, 20)), None),
    (optim.lookahead(optim.adam(0.1), k=3), None),
    (optim.averaged(optim.momentum(0.1), decay=0.8), None),
    (optim.averaged(optim.momentum(0.1), decay=0.8, corrected=False), None),
    (optim.accumulate(optim.nadam(optim.exponential(0.1, 0.9)), 3, optim.clip_by_global_norm(0.1)), None),
    (optim.scaled(optim.lookahead(optim.sgd(0.1), 2)), None),
    (optim.grouped(optim.adam(0.1), {"layers[0]*": "frozen", "*.b": optim.sgd(0.1, decay=0.2)}), None),
    (optim.grouped(None, {lambda name, w: w.ndim == 2: optim.lion(0.1)}), None),
    (optim.sgd(0.5), optim.clip_by_value(0.03)),
    (optim.sgd(0.5), optim.clip_by_norm(0.1)),
    (optim.sgd(0.5), optim.clip_by_global_norm(0.1)),
    (optim.sgd(0.5), optim.clip_by_layer_norm(0.1)),
    (optim.adam(0.05), optim.clip_adaptive(0.02)),
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("optimizer", "clip"), CASES, ids=lambda x: str(x)[:60])
def test_compiled_steps_are_those_done_eagerly(optimizer, clip, dtype):
    """Parameters and every part of the state agree after 24 steps, for each rule, wrapper and clip."""
    params, state = run_compiled(optimizer, clip, 24, dtype)
    expected, expected_state = run_eagerly(optimizer, clip, 24, dtype)
    assert trees.same_structure(state, expected_state)
    rtol = 1e-9 if dtype == np.float64 else 1e-3
    for a, b in zip(trees.flatten((params, state))[0], trees.flatten((expected, expected_state))[0], strict=True):
        assert type(a) is float or a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol / 10)


def test_names_in_a_step_are_those_of_the_model():
    """The state's dicts are by name, with the brackets of lists and without the quotes of keys."""
    model = {"body": [{"W": X[:2], "b": X[0]}], "f": abs, "scale": np.ones(1)}
    state = make_step(loss, optim.momentum()).init(model)
    assert list(state.v) == ["body[0].W", "body[0].b", "scale"]
    model, _, _ = start()
    assert list(make_step(loss, optim.momentum()).init(model).v) == NAMES
    assert list(make_step(loss, optim.momentum()).init(X).v) == ["parameter"]


def test_names_never_collide():
    """Keys that read like paths fall back to Python's own spelling; no parameter is lost."""
    model = {"a.b": np.ones(1), "a": {"b": np.ones(2)}}
    assert len(make_step(loss, optim.momentum()).init(model).v) == 2


def test_frozen_parameters_stay_bit_by_bit():
    """After compiled steps with momentum and decay around them, frozen arrays are the same bits."""
    model, X, y = start(np.float32)
    rule = optim.grouped(optim.adamw(0.1, decay=0.5), {"layers[0]*": "frozen", "layers[2].b": None})
    step = make_step(loss, rule, optim.clip_by_global_norm(0.1))
    session = step.open(model, step.init(model), X, y, 16)
    session.run(np.arange(48), 16)
    new, _ = session.values()
    for name, before, after in zip(NAMES, arrays(model), arrays(new), strict=True):
        assert (before.tobytes() == after.tobytes()) is (name != "layers[2].W")


def test_all_parameters_may_be_frozen():
    """A clip then has nothing to clip, and the loss is measured as ever."""
    for clip in (None, *(make(1.0) for make in (optim.clip_by_global_norm, optim.clip_by_value, optim.clip_adaptive))):
        model, X, y = start()
        step = make_step(loss, optim.grouped("frozen", {}), clip)
        found, new, _ = step(model, step.init(model), X, y)
        assert found == pytest.approx(loss(model, X, y))
        assert all(a.tobytes() == b.tobytes() for a, b in zip(arrays(model), arrays(new), strict=True))


def test_a_loss_that_asks_for_values_is_trained_the_same():
    """Steps by NumPy: names, groups, clipping and schedules with Python's if work there as they are."""
    mine = lambda t: 0.1 if t < 2 else 0.01
    asking = lambda model, X, y: loss(model, X, y) if np.sum(X) < 1e9 else np.sum(X)
    results = []
    for function, rate in ((asking, mine), (loss, optim.tabulate(mine, 8))):
        rule = optim.grouped(optim.adam(rate), {"layers[0].b": None})
        model, X, y = start()
        step = make_step(function, rule, optim.clip_adaptive(0.05))
        session = step.open(model, step.init(model), X, y, 12)
        session.run(np.arange(48), 12)
        assert (step.uncompiled is None) is (function is loss)
        results.append(arrays(session.values()[0]))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("wrap", [lambda rule: rule, lambda rule: optim.scaled(optim.averaged(rule))])
def test_frozen_parameters_count_in_no_norm(wrap):
    """The clipped step of the last layer is that of the last layer alone, also where the frozen gradient is NaN."""
    rule = wrap(optim.grouped(optim.sgd(1.0), {"layers[0]*": "frozen"}))
    clip = optim.clip_by_global_norm(1e-3)
    model, X, y = start()
    _, grads = make_gradient(loss)(model, X, y)
    step = make_step(loss, rule, clip)
    _, new, _ = step(model, step.init(model), X, y)
    changes = [a - b for a, b in zip(arrays(model), arrays(new), strict=True)]
    assert not changes[0].any() and not changes[1].any()
    last = clip(arrays(grads)[2:])
    np.testing.assert_allclose(changes[2], last[0], rtol=1e-6, atol=1e-15)
    bad = dict(zip(NAMES, [np.full((3, 5), np.nan), *arrays(grads)[1:]], strict=True))
    found = optim.clip_trained(clip, rule, bad, dict(zip(NAMES, arrays(model), strict=True)))
    assert found.finite and found.grads[NAMES[0]] is bad[NAMES[0]]
    np.testing.assert_array_equal(found.grads[NAMES[2]], last[0])


def test_the_average_becomes_a_model():
    """What a step keeps by name is put into a model of the same names; one of other sizes is refused."""
    model, X, y = start()
    step = make_step(loss, optim.averaged(optim.sgd(0.1), decay=0.5))
    session = step.open(model, step.init(model), X, y, 24)
    session.run(np.arange(48), 24)
    new, state = session.values()
    averaged = optim.average_of(state, model)
    first = step(model, step.init(model), X[:24], y[:24])[1]
    for a, one, two in zip(arrays(averaged), arrays(first), arrays(new), strict=True):
        np.testing.assert_allclose(a, (one + 2 * two) / 3, rtol=1e-12, atol=1e-15)
    assert averaged(X).shape == (48, 2)
    step = make_step(lambda w, X, y: np.mean((X[:, 0] * w[0] - y[:, 0]) ** 2), optim.averaged(optim.sgd(0.1), 0.0))
    _, new, state_of_one = step(np.ones(1), step.init(np.ones(1)), X, y)
    np.testing.assert_array_equal(optim.average_of(state_of_one, np.ones(1)), new)
    with pytest.raises(ArgumentError, match=r"differ in layers\[0\]\.W"):
        optim.average_of(state, nn.initialize(nn.Sequential(nn.Dense(4, 5), nn.tanh, nn.Dense(5, 2)), 0))


def test_an_own_schedule_that_cannot_be_traced_is_made_a_table():
    """A step by itself names the remedy; ut.train, which knows the number of steps, does it; both train alike."""
    mine = lambda t: 0.1 if t < 4 else 0.01
    with pytest.raises(ControlFlowError, match=r"tabulate\(schedule, steps\)"):
        model, X, y = start()
        step = make_step(loss, optim.sgd(mine))
        step(model, step.init(model), X, y)
    options = {"loss": "mean_squared_error", "epochs": 2, "batch_size": 16, "progress": False, "validation": None}
    runs = [
        ut.train(nn.Dense(3, 2), (X, Y), optimizer=optim.sgd(r), **options) for r in (mine, optim.tabulate(mine, 6))
    ]
    np.testing.assert_array_equal(runs[0].model.W, runs[1].model.W)
    assert optim.build_optimizer(runs[1].settings["optimizer"]).settings["rate"]["schedule"] == "table"


def test_training_that_diverges_under_a_schedule_is_told_as_any_other():
    """The remedy names a lower rate without a number, since a schedule has no single one."""
    options = {"loss": "mean_squared_error", "epochs": 9, "batch_size": 16, "progress": False}
    with pytest.raises(TrainingError, match=r"Try a lower learning rate, or clip="):
        ut.train(nn.Dense(3, 2), (X, Y), optimizer=optim.sgd(optim.constant(1e30)), **options)


def test_a_pattern_that_fits_nothing_is_refused_in_training():
    """The names that there are stand in the message."""
    with pytest.raises(ArgumentError, match=r"the pattern 'layer\[0\]\*' fits none of layers\[0\]\.W, layers\[0\]\.b"):
        make_step(loss, optim.grouped(optim.sgd(), {"layer[0]*": None})).init(start()[0])


def calls_that_read_big_arrays(clip, dtype):
    """What kernels of a step read or write arrays of W's size, and do not only multiply matrices."""
    model = nn.initialize(nn.Sequential(nn.Dense(256, 256), nn.relu, nn.Dense(256, 2)), 0, np.dtype(dtype))
    X, y = np.ones((32, 256), dtype), np.ones((32, 2), dtype)
    step = make_step(loss, optim.adam(), clip)
    program = step.open(model, step.init(model), X, y, 32).resident.prepare(32)
    big = 256 * 256 * np.dtype(dtype).itemsize
    calls = [call for call in program.plan.calls if call.moved >= big]
    return [call.what for call in calls if not call.kind or call.finish is not None]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "clip",
    [optim.clip_by_global_norm(1.0), optim.clip_by_layer_norm(1.0)],
    ids=lambda c: c.name,
)
def test_a_large_gradient_is_read_twice(clip, dtype):
    """Once for the norm, which tells whether it is finite too, and once for the update."""
    assert len(calls_that_read_big_arrays(clip, dtype)) == 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("clip", [None, optim.clip_by_value(1.0)], ids=["none", "value"])
def test_a_large_gradient_is_read_once_where_nothing_waits_for_its_norm(clip, dtype):
    """What is told of it, the share that is clipped and whether it is finite, is found on the way."""
    assert len(calls_that_read_big_arrays(clip, dtype)) == 1
