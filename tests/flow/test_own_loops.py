"""Loops of one's own that begin with equal weights or have a turned sign are told so; those that are well, nothing."""

import itertools
import warnings

import numpy as np
import pytest

import undertow as ut
from made_flows import made_flow
from undertow import nn, optim
from undertow.flow import diagnose
from undertow.flow.looks import alike_units

DIGITS = ut.data.load_digits()
X, Y = 2 * DIGITS.X[:300].astype(np.float64) - 1, ut.one_hot(DIGITS.y[:300], 10)
ACTIVATIONS = {
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
}


def network(activation="tanh", watch=True, sign=1.0):
    def loss(params, X, Y):
        z = X @ params["W1"] + params["b1"]
        h = ACTIVATIONS[activation](ut.watch(z, "z1") if watch else z)
        return -sign * np.mean(np.sum(Y * ut.log_softmax(h @ params["W2"] + params["b2"], axis=1), axis=1))

    return loss


def transposed(params, X, Y):
    h = np.tanh(params["W1"] @ X.T)
    return -np.mean(np.sum(Y * ut.log_softmax((params["W2"] @ h).T, axis=1), axis=1))


def softmax_regression(params, X, Y):
    return -np.mean(np.sum(Y * ut.log_softmax(X @ params["W"], axis=1), axis=1))


def begin(scale=1.0, equal=None):
    rng = np.random.default_rng(0)
    W1, W2 = scale * rng.standard_normal((64, 24)) / 8, scale * rng.standard_normal((24, 10)) / 5
    if equal is not None:
        W1, W2 = np.full_like(W1, equal), np.full_like(W2, equal)
    return {"W1": W1, "b1": np.zeros(24), "W2": W2, "b2": np.zeros(10)}


def loop(loss, params, rate=0.2, n=25, momentum=0.0):
    """Findings after n steps of w ← w − rate · v; a rate below 0 adds the gradient."""
    measured, v = ut.flow.recorded(loss), {name: 0 * x for name, x in params.items()}
    with np.errstate(all="ignore"):
        for _ in range(n):
            _, gradient = measured(params, X, Y)
            v = {name: momentum * v[name] + gradient[name] for name in params}
            params = {name: x - rate * v[name] for name, x in params.items()}
    return measured.findings


@pytest.mark.parametrize("watch", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("value", [0.0, 0.05])
def test_a_loop_that_begins_with_equal_weights_learns_no_more_than_one_unit(value, activation, watch):
    (found,) = loop(network(activation, watch), begin(equal=value))
    assert (found.kind, found.severity) == ("identical-units", "error")
    assert found.layers == ("parameter W1", "parameter W2")
    nothing = value == 0 and activation != "sigmoid"  # whose outputs are ½, so that the last weights learn
    assert ("all weights are 0, and so is their gradient" in found.cause) == nothing


def test_equal_weights_are_found_in_matrices_that_are_transposed():
    params = {"W1": np.full((24, 64), 0.05), "W2": np.full((10, 24), 0.05)}
    assert [x.kind for x in loop(transposed, params)] == ["identical-units"]


HEALTHY = {
    "tanh": lambda: loop(network(), begin()),
    "relu": lambda: loop(network("relu"), begin()),
    "nothing watched": lambda: loop(network(watch=False), begin()),
    "momentum": lambda: loop(network(), begin(), 0.05, 40, momentum=0.9),
    "a last layer of 0": lambda: loop(network(), {**begin(), "W2": np.zeros((24, 10))}),
    "softmax regression from 0": lambda: loop(softmax_regression, {"W": np.zeros((64, 10))}),
    "a log likelihood that is made large": lambda: loop(
        lambda params, X, Y: -softmax_regression(params, X, Y), {"W": np.zeros((64, 10))}, rate=-0.2
    ),
    "a loss that falls below 0": lambda: loop(
        lambda p, X, Y: np.mean(p["s"] + 0.5 * (X @ p["W"] - Y) ** 2 * np.exp(-2 * p["s"])),
        {"W": np.zeros((64, 10)), "s": np.array(0.0)}, 0.05, 120,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_a_loop_that_is_well_is_told_nothing(name):
    assert [str(x) for x in HEALTHY[name]()] == []


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_gradient_that_is_added_is_told(activation, momentum):
    (found,) = loop(network(activation), begin(), rate=-0.05, momentum=momentum)
    assert (found.kind, found.severity) == ("turned-sign", "error") and "is added where" in found.cause
    told = {x.text: x.value for x in found.evidence}
    assert told["steps that go up the gradient"] == 24
    assert found.remedies[0].code == "params = params - rate * gradient"


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_loss_whose_sign_is_turned_is_told(activation):
    (found,) = loop(network(activation, sign=-1.0), begin(), n=50)
    assert found.kind == "turned-sign" and "faster and faster" in found.cause


def test_the_direction_of_steps_is_their_cosine_to_the_gradient():
    measured, w = ut.flow.recorded(lambda w, X, Y: np.sum(w**2)), np.array([3.0, 4.0])
    for step in ([-3.0, -4.0], [4.0, -3.0], [6.0, 8.0], [0.0, 0.0]):
        measured(w, X, Y)
        w = w + step
        if not w.any():
            w = w + [3.0, 4.0]  # the loop begins anew: a step of 0, which has no direction
    measured(w, X, Y)
    told = measured.flow.facts["directions"]
    assert (told["steps"], told["up"]) == (2, 1)
    assert told["cosine"] == pytest.approx((np.dot([4, -3], [3, 4]) / 25 + np.dot([6, 8], [7, 1]) / np.sqrt(5000)) / 2)


def test_slices_that_are_equal_are_counted_with_their_gradient():
    rng = np.random.default_rng(0)
    W, g = rng.standard_normal((5, 4)), rng.standard_normal((5, 4))
    W[:, 1], g[:, 1] = W[:, 0], g[:, 0]
    W[:, 2] = W[:, 3]  # equal now, and not for long
    g[4] = 0  # an input that is 0
    assert alike_units(W, g) == [{"n": 5, "share": 0.0}, {"n": 4, "share": 0.5}]
    assert alike_units(0 * W, 0 * g) == [{"n": 5, "share": 1.0}, {"n": 4, "share": 1.0}]


def turned(p, y):
    return np.mean(np.sum(y * np.log(p), axis=1))


@pytest.mark.parametrize("rule", [optim.sgd(0.1), optim.adam(3e-3), optim.sgd(2e-3)], ids=["far", "near", "slow"])
def test_a_loss_of_ones_own_for_train_with_a_turned_sign(rule):
    """Also where it has hardly moved: outputs for rows held out go against their targets."""
    model = nn.Sequential(nn.Dense(64, 32), "relu", nn.Dense(32, 10), "softmax")
    settings = {"loss": turned, "epochs": 8, "batch_size": 32, "validation": 0.3, "progress": False}
    try:
        run = ut.train(model, (X.astype(np.float32), Y.astype(np.float32)), optimizer=rule, **settings)
    except ut.TrainingError as error:
        run = error.run
    found = [x for x in run.findings if x.kind != "constant-columns"]
    assert [x.kind for x in found] == ["turned-sign"]
    assert found[0].remedies[0].code == "loss = lambda *args: -turned(*args)"


def test_a_loss_below_0_that_slows_down_is_no_turned_sign():
    t = np.arange(100)
    for curve, kinds in ((-0.01 - np.exp(t / 12), ["turned-sign"]), (-0.01 - 30 * (1 - np.exp(-t / 20)), [])):
        flow = made_flow(loss=curve, task="own", facts={"output": {"expected_loss": None}})
        assert [x.kind for x in diagnose(flow)] == kinds


@pytest.mark.parametrize(("rate", "told"), [(5.0, True), (0.1, False)])
def test_a_linear_model_that_begins_at_0_and_diverges_is_told_with_a_rate_that_works(rate, told):
    """Its weights have no size by which an update could be measured: the loss alone tells."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(64, 4))
    y = X @ rng.normal(size=4)

    def train(rate):
        measured, w = ut.flow.recorded(lambda w, X, y: np.mean((X @ w - y) ** 2)), np.zeros(4)
        for _ in range(60):
            value, gradient = measured(w, X, y)
            w = w - rate * gradient
        return value, measured.findings

    value, found = train(rate)
    assert [x.kind for x in found] == ["step-too-large"] * told
    if told:
        assert "nan" not in str(found) + found[0].cause and all(row.value == row.value for row in found[0].evidence)
        names = {"rate": rate}
        exec(found[0].remedies[0].code, names)
        assert train(names["rate"])[0] < 0.1 < value


SPELLED = {
    "relu": [lambda z: np.maximum(z, 0), lambda z: np.where(z > 0, z, 0.0), lambda z: z * (z > 0),
             lambda z: (z + np.abs(z)) / 2],
    "tanh": [np.tanh, lambda z: 2 / (1 + np.exp(-2 * z)) - 1,
             lambda z: (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z))],
    "sigmoid": [lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(z) / (1 + np.exp(z)),
                lambda z: 0.5 * (1 + np.tanh(z / 2))],
    "silu": [lambda z: z / (1 + np.exp(-z))],
    "softplus": [lambda z: np.log1p(np.exp(z)), lambda z: np.logaddexp(0, z)],
    None: [lambda z: z, lambda z: z**3, lambda z: z + 0.1 * np.sin(z), lambda z: z - z.mean(axis=0)],
}  # fmt: skip


@pytest.mark.parametrize(("name", "f"), [(name, f) for name, fs in SPELLED.items() for f in fs])
def test_the_activation_after_a_watched_value_is_known_however_it_is_written(name, f):
    """By what it gives; what its units give is counted as plain NumPy counts it."""

    def loss(params, X, Y):
        h = f(ut.watch(X @ params["W1"] + params["b1"], "z1"))
        return -np.mean(np.sum(Y * ut.log_softmax(h @ params["W2"], axis=1), axis=1))

    measured, params = ut.flow.recorded(loss), {**begin(), "b1": np.linspace(-3.0, 3, 24)}
    del params["b2"]
    measured(params, X, Y)
    measured(params, X, Y)
    (layer,) = [x for x in measured.flow.layers if x.name == "z1"]
    assert layer.activation == name
    h, row = f(X @ params["W1"] + params["b1"]), measured.flow.looks[0].layers[0]
    if name is not None:
        assert row["h_rms"] == pytest.approx(np.sqrt(np.mean(h**2)))
    if name == "relu":
        assert row["dead"] == int((h == 0).all(axis=0).sum()) > 0
        assert measured.flow.stat("zeros")[0, 0] == pytest.approx(np.mean(h == 0))
    if name in ("tanh", "sigmoid"):
        flat = np.abs(h) > 0.98 if name == "tanh" else np.abs(h - 0.5) > 0.49
        assert row["saturated"] == pytest.approx(flat.mean()) == measured.flow.stat("saturated")[0, 0]


def test_a_loop_of_dead_relus_and_one_of_tanh_that_is_saturated_are_told():
    dead = {**begin(), "b1": np.full(24, -20.0)}
    assert [(x.kind, x.paths[0]) for x in loop(network("relu"), dead)] == [("born-dead-layer", "z1")]
    assert [(x.kind, x.paths[0]) for x in loop(network("tanh"), begin(8.0), rate=0.02)] == [("saturation", "z1")]


def test_probabilities_that_are_made_twice_are_told_with_the_line_and_the_loss_they_cannot_pass():
    def loss(params, X, Y):
        z = np.tanh(X @ params["W1"] + params["b1"]) @ params["W2"] + params["b2"]
        p = ut.softmax(z, axis=1)
        q = np.exp(p) / np.exp(p).sum(axis=1, keepdims=True)
        return -np.mean(np.sum(Y * np.log(q), axis=1))

    (found,) = loop(loss, begin(), rate=1.0, n=60)
    assert found.kind == "loss-activation-mismatch" and "test_own_loops.py" in found.cause
    best = -np.log(np.exp(1) / (np.exp(1) + 9))  # of p = 1 for the right class, the most that softmax gives
    assert {x.text: x.value for x in found.evidence}["least cross-entropy"] == pytest.approx(best)


@pytest.mark.parametrize("mixed", [False, True])
def test_batches_in_the_order_of_the_classes_are_told(mixed):
    order = np.argsort(DIGITS.y[:300], kind="stable") if not mixed else np.random.default_rng(0).permutation(300)
    params, measured = begin(), ut.flow.recorded(network())
    for step in range(60):
        rows = order[np.arange(30 * step, 30 * step + 30) % 300]
        _, gradient = measured(params, X[rows], Y[rows])
        params = {name: x - 0.5 * gradient[name] for name, x in params.items()}
    found = [x for x in measured.findings if x.kind == "oscillation"]
    assert bool(found) != mixed
    if found:  # a pure class in each batch: all of the variance lies between them
        assert "batches are not mixed" in found[0].cause and found[0].evidence[0].value > 0.9
        assert found[0].remedies[0].code.startswith("order = rng.permutation(len(X))")


def test_a_column_that_meets_a_row_of_targets_is_warned_of():
    """NumPy holds each output against each target; the record's first call says so, and with [:, None] it is silent."""
    X, y = np.random.default_rng(0).normal(size=(16, 3)), np.arange(16.0)

    def loss(w, X, y):
        return np.mean((X @ w - y) ** 2)

    with pytest.warns(UserWarning, match=r"test_own_loops.py:\d+: y is \(m,\), and .* \(m, 1\): .* Write y\[:, None\]"):
        ut.flow.recorded(loss)(np.ones((3, 1)), X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ut.flow.recorded(loss)(np.ones((3, 1)), X, y[:, None])


def test_a_loss_that_is_flat_names_the_operation():
    """A count of wrong answers has slope 0: the error names the function, the operation and its line."""

    def wrong_answers(W, X, y):
        return np.mean(np.argmax(X @ W, axis=1) != y)

    told = r"wrong_answers \(test_own_loops.py:\d+\) depends .* by way of argmax \(test_own_loops.py:\d+\)"
    with pytest.raises(ut.ArgumentError, match=told):
        ut.flow.recorded(wrong_answers)(np.ones((3, 2)), np.ones((4, 3)), np.array([0, 1, 0, 1]))


@pytest.mark.parametrize(("name", "kind"), [("sigmoid", "vanishing"), ("relu", "exploding")])
def test_layers_of_a_loop_that_share_a_name_are_recorded_each(name, kind):
    """δ of each is what plain NumPy gives; the gradient that vanishes, or explodes, over them is told."""

    def loss(params, X, Y):
        h = X
        for W in params[:-1]:
            h = ACTIVATIONS[name](ut.watch(h @ W, "z"))
        return -np.mean(np.sum(Y * ut.log_softmax(h @ params[-1], axis=1), axis=1))

    rng = np.random.default_rng(0)
    scale = 0.3 if name == "sigmoid" else 2.0
    params = [scale * rng.standard_normal(shape) for shape in [(64, 16)] + [(16, 16)] * 6 + [(16, 10)]]
    measured = ut.flow.recorded(loss)
    held = [W.copy() for W in params]
    for _ in range(12):
        _, gradient = measured(params, X, Y)
        params = [W - 1e-9 * g for W, g in zip(params, gradient, strict=True)]
    watched = [layer.name for layer in measured.flow.layers if layer.kind == "watched"]
    assert watched == ["z", "z2", "z3", "z4", "z5", "z6", "z7"]
    zs, h = [], X
    for W in held[:-1]:
        zs.append(h @ W)
        h = ACTIVATIONS[name](zs[-1])
    p = np.exp(h @ held[-1] - np.max(h @ held[-1], axis=1, keepdims=True))
    delta = (p / p.sum(axis=1, keepdims=True) - Y) / len(X)
    expected = []
    for z, W in zip(reversed(zs), reversed(held[1:]), strict=True):
        slope = z > 0 if name == "relu" else ACTIVATIONS[name](z) * (1 - ACTIVATIONS[name](z))
        delta = delta @ W.T * slope
        expected.insert(0, np.sqrt(np.mean(delta**2)))
    np.testing.assert_allclose(measured.flow.stat("delta.rms")[0, :7], expected, rtol=1e-5)
    np.testing.assert_allclose(measured.flow.stat("z.rms")[0, :7], [np.sqrt(np.mean(z**2)) for z in zs], rtol=1e-5)
    assert len({finding.kind: finding for finding in measured.findings}[kind].layers) == 7


def test_a_loop_over_time_is_recorded_at_its_first_steps():
    def loss(w, x):
        h = 0.0
        for t in range(150):
            h = ut.watch(np.tanh(w * h + x[t]), "h")
        return np.sum(h**2)

    measured = ut.flow.recorded(loss)
    measured(0.5, np.ones((150, 2)))
    names = [layer.name for layer in measured.flow.layers if layer.kind == "watched"]
    assert names == ["h"] + [f"h{k}" for k in range(2, 101)]


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_deep_loop_whose_weights_are_too_large_is_told_though_it_recovers(scale):
    """He et al. 2015, section 2.2: with weights twice as large a stack of relu doubles what passes at each layer."""
    rng = np.random.default_rng(0)
    sizes = [64, *8 * [24], 10]
    params = [scale * np.sqrt(2 / a) * rng.standard_normal((a, b)) for a, b in itertools.pairwise(sizes)]

    def loss(params, X, Y):
        for i, W in enumerate(params):
            z = ut.watch((np.maximum(z, 0) if i else X) @ W, f"z{i + 1}")  # noqa: F821 (it is there after the first)
        return -np.mean(np.sum(Y * ut.log_softmax(z, axis=1), axis=1))

    measured = ut.flow.recorded(loss)
    for step in range(100):
        rows = np.arange(32 * step, 32 * step + 32) % 300
        value, gradient = measured(params, X[rows], Y[rows])
        params = [W - (0.02 if scale == 1 else 5e-4) * g for W, g in zip(params, gradient, strict=True)]
    assert value < measured.flow.scalars["loss"][0] / (30 if scale > 1 else 1)
    assert [x.kind for x in measured.findings] == ["exploding"] * (scale > 1)
    if scale > 1:
        (factor,) = (x.value for x in measured.findings[0].evidence if x.text == "change of ‖δ‖ a layer")
        assert factor == pytest.approx(2.0, rel=0.15)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("offset", [0.0, 1.5])
def test_units_of_a_loop_that_are_off_because_examples_are_alike_are_no_dead_ones(seed, offset):
    """Of inputs in one direction from the origin a relu unit is off for all with a probability of up to one half."""
    rng = np.random.default_rng(seed)
    inputs = offset + 0.5 * rng.standard_normal((80, 6))
    wanted = np.sin(2 * inputs[:, :1])

    def loss(p, inputs, wanted):
        z = ut.watch(inputs @ p["W"] + p["b"], "z")
        return np.mean((np.maximum(z, 0) @ p["V"] - wanted) ** 2)

    measured = ut.flow.recorded(loss)
    p = {"W": rng.standard_normal((6, 24)) / np.sqrt(3), "b": np.zeros(24), "V": rng.standard_normal((24, 1)) / 5}
    for _ in range(80):
        _, gradient = measured(p, inputs, wanted)
        p = {name: x - 0.01 * gradient[name] for name, x in p.items()}
    assert "dead-units" not in {x.kind for x in measured.findings}
    assert (measured.flow.looks[0].layers[0]["dead"] > 0) == (offset > 0)


@pytest.mark.parametrize("columns", [slice(0, 3), slice(None)], ids=["three", "all"])
@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_columns_of_large_scale_are_told_and_not_the_rate_that_is_too_high_for_them(kind, columns):
    """Whatever follows from them; the same loop with columns that are scaled is told nothing."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 8))
    y = X @ rng.standard_normal(8) / 3
    y = (y > 0).astype(int) if kind == "classes" else y + 0.1 * rng.standard_normal(400)

    def loss(p, X, y):
        h = np.maximum(X @ p["V"] + p["a"], 0)
        z = ut.watch(h @ p["W"] + p["b"], "z")
        if kind == "numbers":
            return np.mean((z[:, 0] - y) ** 2)
        return -np.mean(ut.log_softmax(z, axis=1)[np.arange(len(y)), y])

    for scale, told in ((1.0, []), (2000.0, ["input-not-scaled"])):
        scaled = X.copy()
        scaled[:, columns] *= scale
        draw = np.random.default_rng(1)
        p = {"V": draw.standard_normal((8, 16)) / 2, "a": np.zeros(16), "b": np.zeros(2)}
        p["W"] = draw.standard_normal((16, 2)) / 4
        measured = ut.flow.recorded(loss)
        for _ in range(200):
            rows = draw.choice(400, 32, replace=False)
            _, gradient = measured(p, scaled[rows], y[rows])
            p = {name: x - 0.05 * gradient[name] for name, x in p.items()}
        assert [x.kind for x in measured.findings] == told


def test_the_first_gradient_for_scaled_data_is_that_of_the_formula():
    """Of the mean of (X w − y)² it is 2 Xᵀ (X w − y) / m; numbers to predict are scaled too."""
    rng = np.random.default_rng(0)
    X, y, w = rng.standard_normal((30, 3)) * [1, 50, 3000] + 7, rng.standard_normal(30), rng.standard_normal(3)
    measured = ut.flow.recorded(lambda w, X, y: np.mean((X @ w - y) ** 2))
    measured(w, X, y)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    wanted = np.sqrt(np.mean((2 * Z.T @ (Z @ w - (y - y.mean()) / y.std()) / 30) ** 2))
    assert measured.flow.facts["dW_if_scaled"][-1] == pytest.approx(wanted, rel=1e-10)
    np.testing.assert_allclose(measured.flow.facts["columns"]["std_range"], [X.std(axis=0).min(), X.std(axis=0).max()])


@pytest.mark.parametrize("axis", [0, 1], ids=["batch", "layer"])
def test_inputs_that_a_loop_normalises_behind_its_first_product_are_left_alone(axis):
    rng = np.random.default_rng(0)
    X = 500 * rng.standard_normal((400, 8))
    y = (X @ rng.standard_normal(8) > 0).astype(int)

    def loss(p, X, y):
        h = X @ p["V"]
        h = (h - np.mean(h, axis=axis, keepdims=True)) / np.sqrt(np.var(h, axis=axis, keepdims=True) + 1e-5)
        z = ut.watch(np.tanh(h) @ p["W"] + p["b"], "z")
        return -np.mean(ut.log_softmax(z, axis=1)[np.arange(len(y)), y])

    p = {"V": rng.standard_normal((8, 16)) / 3, "W": rng.standard_normal((16, 2)) / 4, "b": np.zeros(2)}
    measured = ut.flow.recorded(loss)
    for _ in range(200):
        rows = rng.choice(400, 32, replace=False)
        _, gradient = measured(p, X[rows], y[rows])
        p = {name: x - 0.1 * gradient[name] for name, x in p.items()}
    assert measured.findings == []
