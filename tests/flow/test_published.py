"""Published experiments on how trainings fail, rebuilt small: the record agrees with the published figures, and what is
found is what was found there, or nothing where the training was well."""

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim, trees
from undertow.data import load_digits

DIGITS = load_digits()
X, LABELS = DIGITS.X[:1000].astype(np.float32), DIGITS.y[:1000]


def kinds(run):
    return [finding.kind for finding in run.findings if finding.kind != "constant-columns"]


def train(model, data, loss="categorical_cross_entropy", **settings):
    usual = {"validation": None, "progress": False, "batch_size": len(data[0])}
    try:
        return ut.train(model, data, loss=loss, **{**usual, **settings})
    except ut.TrainingError as error:
        return error.run


def stack(n_in, width, depth, n_out, activation, init="he_normal", norm=False):
    items = []
    for i in range(depth):
        items += [
            nn.Dense(width if i else n_in, width, init=init),
            *([nn.BatchNorm(width)] if norm else []),
            activation,
        ]
    return nn.Sequential(*items, nn.Dense(width, n_out, init=init))


def test_how_often_a_narrow_network_is_born_dead():
    """Lu et al., Dying ReLU and initialization, 2020, theorem 3.3 and figure 3: wide in depth, narrow in width.

    On inputs of one direction a layer of N units gives nothing but 0 with a probability of 2⁻ᴺ, so that of L layers one
    does with 1 − (1 − 2⁻ᴺ)ᴸ: 0.76 for N = 2 and L = 5.
    """
    x = np.abs(np.random.default_rng(0).standard_normal((32, 1))).astype(np.float32)
    dead = 0
    for seed in range(30):
        run = train(
            stack(1, 2, 5, 1, "relu"), (x, x + 1), "mean_squared_error", optimizer=optim.sgd(1e-3), steps=1, seed=seed
        )
        born = any(row["dead"] == 2 for row in run.flow.looks[0].layers)
        assert ("born-dead-layer" in kinds(run)) == born
        if born:
            (found,) = [x for x in run.findings if x.kind == "born-dead-layer"]
            assert f"a probability of up to {1 - 0.75**5:.0%}" in found.cause
            assert found.remedies[0].change == {"least": 16}  # theorem 3.3: 16 units are dead with 2⁻¹⁶
        dead += born
    assert dead / 30 == pytest.approx(1 - 0.75**5, abs=0.23)  # three standard errors


def test_gradients_of_narrow_deep_networks_scatter():
    """Hanin and Nica, Products of many large random matrices and gradients in deep neural networks, 2020, theorem 1.

    With He's weights the logarithm of the squared gradient is near normal, of mean −β/2 and variance β = 5 Σ 1/n: its
    mean is 1 at any depth, and it is tiny nearly always where β is large.
    """
    n, depth, draws = 40, 32, 150
    rng = np.random.default_rng(0)

    def loss(weights, x):
        h = x
        for i, W in enumerate(weights):
            z = ut.watch(h @ W, f"z{i + 1}")
            h = np.maximum(z, 0)
        return np.sum(z)

    measured = ut.flow.recorded(loss)
    for _ in range(draws + 1):  # of each of which the last is recorded by the next
        weights = [rng.standard_normal((n, n)) * np.sqrt(2 / n) for _ in range(depth + 1)]
        measured(tuple(weights), rng.standard_normal((1, n)))
    delta = measured.flow.stat("delta.rms")[:, [0, depth]].astype(np.float64)
    found = 2 * np.log(delta[delta[:, 0] > 0, 0] / delta[delta[:, 0] > 0, 1])
    beta = 5 * depth / n
    assert len(found) > 0.9 * draws and np.mean(found) == pytest.approx(-beta / 2, abs=4 * np.sqrt(beta / draws))
    assert 0.6 * beta < np.var(found) < 1.5 * beta


@pytest.mark.parametrize("distance", [2.0, 0.7])
def test_the_noise_scale_of_a_linear_regression(distance):
    """McCandlish et al., An empirical model of large-batch training, 2018, eq. 2.8: tr Σ / |G|².

    For normal inputs of d columns, noise σ, and weights that are off by Δ: g = 2 x (xᵀΔ − σ ε), so that |G|² = 4 |Δ|²
    and tr Σ = 4 ((d + 1) |Δ|² + d σ²). It grows as the loss falls (section 2.3).
    """
    d, scales = 20, []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        inputs, w, off = rng.standard_normal((2000, d)), rng.standard_normal((d, 1)), rng.standard_normal((d, 1))
        off *= distance / np.linalg.norm(off)
        y = inputs @ w + rng.standard_normal((2000, 1))
        model = nn.Sequential(nn.Dense(d, 1, W=(w + off).astype(np.float32), bias=False))
        data = inputs.astype(np.float32), y.astype(np.float32)
        run = train(model, data, "mean_squared_error", optimizer=optim.sgd(1e-9), steps=1, batch_size=256)
        scales.append(run.flow.looks[0].noise_scale)
    assert np.median(scales) == pytest.approx(d + 1 + d / distance**2, rel=0.2)


@pytest.mark.parametrize("norm", [False, True])
def test_batch_normalisation_keeps_the_rank_and_lets_the_gradient_explode(norm):
    """Daneshmand et al., Batch normalization provably avoids rank collapse, NeurIPS 2020, figure 1: without it the rank
    falls to 1, with it it stays of the order of √d. Yang et al., A mean field theory of batch normalization, ICLR 2019,
    section 3: with it, and relu, the square of the gradient grows by π/(π − 1) a layer, which is its norm by 1.21.
    """
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((600, 32)).astype(np.float32)
    y = (inputs @ rng.standard_normal((32, 10))).argmax(axis=1)
    settings = {"optimizer": optim.sgd(1e-2), "epochs": 12, "batch_size": 50, "validation": 0.2}
    run = train(stack(32, 32, 40, 10, "relu", norm=norm), (inputs, y), **settings)
    rank = run.flow.looks[0].layers[-2]["rank"]
    if not norm:
        assert rank < 1.6 and kinds(run) == ["rank-collapse"]
    else:
        assert rank > np.sqrt(32) and kinds(run) == ["exploding"]
        (factor,) = (x.value for x in run.findings[0].evidence if x.text == "change of ‖δ‖ a layer")
        assert factor == pytest.approx(np.sqrt(np.pi / (np.pi - 1)), rel=0.04)
        assert "BatchNorm makes it grow" in run.findings[0].cause
        assert run.findings[0].remedies[0].name == "residual"  # section 4.3 there: with residual blocks it need not


def test_residual_blocks_that_nothing_scales_are_the_cause_of_what_grows():
    """Zhang et al., Fixup initialization, ICLR 2019, section 2: with He's weights in two layers a block adds twice the
    variance of what passes, so that the norm grows by √3; a last layer of zeros holds it."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((400, 32)).astype(np.float32)
    y = (inputs @ rng.standard_normal((32, 10))).argmax(axis=1)
    for last, grows in (("he_normal", True), ("zeros", False)):
        blocks = [
            nn.Residual(nn.Dense(32, 32, init="he_normal"), "relu", nn.Dense(32, 32, init=last)) for _ in range(20)
        ]
        model = nn.Sequential(nn.Dense(32, 32), *blocks, nn.Dense(32, 10))
        run = train(model, (inputs, y), optimizer=optim.sgd(1e-3), epochs=20, batch_size=50, validation=0.2)
        found = [x for x in run.findings if x.kind == "exploding"]
        assert bool(found) == grows
        if grows:
            (factor,) = (x.value for x in found[0].evidence if x.text == "change of ‖δ‖ a layer")
            assert factor == pytest.approx(np.sqrt(3), rel=0.1)
            assert "each of the 20 residual blocks adds to what passes" in found[0].cause


def test_values_that_explode_before_a_normalisation_are_told_though_it_hides_them_from_the_last_layer():
    """x + relu(W x), with weights of variance s²/n, has (1 + s²/2) times the mean square of x in each block: half of
    what W gives passes (He et al. 2015, eq. 9), and W is independent of x."""
    rng, s, n = np.random.default_rng(0), 3.0, 25
    inputs = rng.standard_normal((400, 40)).astype(np.float32)
    y = (inputs @ rng.standard_normal((40, 6))).argmax(axis=1)

    def large(shape, rng, dtype=np.float32):
        return (s / np.sqrt(shape[0]) * rng.standard_normal(shape)).astype(dtype)

    blocks = [nn.Residual(nn.Dense(40, 40, init=large), "relu") for _ in range(n)]
    model = nn.Sequential(nn.Dense(40, 40), *blocks, nn.LayerNorm(40), nn.Dense(40, 6))
    run = train(model, (inputs, y), optimizer=optim.sgd(0.01), epochs=15, batch_size=50, validation=0.2)
    (found,) = [x for x in run.findings if x.kind == "exploding"]
    (grown,) = (x.value for x in found.evidence if x.text == "RMS of z, the largest by that in the first layer")
    assert np.log(grown) == pytest.approx(n / 2 * np.log(1 + s**2 / 2), rel=0.15)
    assert f"the values z grow {grown:.3g} times" in found.cause


def test_a_stack_with_its_norms_behind_the_sums_loses_its_gradient_by_the_first_steps_and_not_by_smaller_ones():
    """Xiong et al., On layer normalization in the transformer architecture, ICML 2020, section 3: a rate that others
    begin with is too high for it, and what is small enough, as a warm-up begins, trains it."""
    rng = np.random.default_rng(0)
    centres, y = 2 * rng.standard_normal((6, 20)), rng.integers(0, 6, 500)
    inputs = (centres[y] + rng.standard_normal((500, 20))).astype(np.float32)
    blocks = [x for _ in range(24) for x in (nn.Residual(nn.Dense(32, 64), "relu", nn.Dense(64, 32)), nn.LayerNorm(32))]
    model = nn.Sequential(nn.Dense(20, 32), *blocks, nn.Dense(32, 6))
    settings = {"epochs": 6, "batch_size": 32, "validation": 0.2}
    run = train(model, (inputs, y), optimizer=optim.adam(1e-2), **settings)
    smaller = train(model, (inputs, y), optimizer=optim.adam(1e-3), **settings)
    assert run.history[-1]["validation_accuracy"] < 0.4 < 0.9 < smaller.history[-1]["validation_accuracy"]
    found = [x for x in run.findings if x.kind == "vanishing"]
    assert found[0].step > 0 and "the first steps made it so" in found[0].cause
    assert found[0].remedies[0].option == "--rate 0.001" and smaller.findings == []


def sharpness(loss, model, n=20):
    """The largest eigenvalue of the Hessian, by power iteration on differences of gradients."""
    leaves, rebuild = trees.flatten(model)
    places = [i for i, x in enumerate(leaves) if not callable(x)]

    def gradient(direction, step):
        moved = list(leaves)
        for i, v in zip(places, direction, strict=True):
            moved[i] = leaves[i].astype(np.float64) + step * v
        found = trees.flatten(ut.grad(loss)(rebuild(moved)))[0]
        return [found[i] for i in places]

    rng = np.random.default_rng(0)
    v = [rng.standard_normal(leaves[i].shape) for i in places]
    for _ in range(n):
        size = np.sqrt(sum(np.sum(x * x) for x in v))
        v = [x / size for x in v]
        Hv = [(a - b) / 2e-3 for a, b in zip(gradient(v, 1e-3), gradient(v, -1e-3), strict=True)]
        eigenvalue, v = sum(np.sum(a * b) for a, b in zip(v, Hv, strict=True)), Hv
    return float(eigenvalue)


def test_full_batches_at_the_edge_of_stability_are_well():
    """Cohen et al., Gradient descent on neural networks typically occurs at the edge of stability, ICLR 2021, section
    3: the sharpness stays at 2/η, the loss goes up and down from step to step, and falls over longer times.
    """
    inputs, rate = X[:300] - X[:300].mean(axis=0), 0.2
    y = np.eye(10, dtype=np.float32)[LABELS[:300]]
    model = nn.Sequential(nn.Dense(64, 32), "tanh", nn.Dense(32, 32), "tanh", nn.Dense(32, 10))
    run = train(model, (inputs, y), "mean_squared_error", optimizer=optim.sgd(rate), steps=1200)
    found = sharpness(lambda model: np.mean(np.sum((model(inputs) - y) ** 2, axis=1)), run.model)
    assert found == pytest.approx(2 / rate, rel=0.1)
    loss = run.flow.scalars["loss"]
    assert np.mean(np.diff(loss[400:]) > 0) > 0.1 and loss[-1] < 0.6 * loss[400]
    assert kinds(run) == []


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
def test_the_largest_stable_rate_with_momentum(beta):
    """Polyak, Some methods of speeding up the convergence of iteration methods, 1964; Goh, Why momentum really works,
    2017: on a quadratic with the largest curvature λ, descent with momentum β converges for rates below 2 (1 + β) / λ.
    """
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((200, 8)) * np.linspace(0.3, 1.5, 8)
    y = inputs @ rng.standard_normal((8, 1)) + 0.1 * rng.standard_normal((200, 1))
    limit = 2 * (1 + beta) / np.linalg.eigvalsh(2 * inputs.T @ inputs / 200).max()
    data = inputs.astype(np.float32), y.astype(np.float32)
    for part, wanted in ((0.97, []), (1.03, ["step-too-large"])):
        rule = optim.momentum(part * limit, beta) if beta else optim.sgd(part * limit)
        model = nn.Sequential(nn.Dense(8, 1, bias=False))
        run = train(model, data, "mean_squared_error", optimizer=rule, steps=400)
        assert kinds(run) == wanted


def test_random_labels_are_learned_by_heart():
    """Zhang et al., Understanding deep learning requires rethinking generalization, ICLR 2017, section 2.1: the
    training error is 0, and that on others is chance.
    """
    y = np.random.default_rng(0).integers(0, 10, 300)
    model = nn.Sequential(nn.Dense(64, 256), "relu", nn.Dense(256, 256), "relu", nn.Dense(256, 10))
    settings = {"optimizer": optim.adam(2e-3), "epochs": 50, "batch_size": 32, "validation": 0.2}
    run = train(model, (X[:300], y), **settings)
    assert run.history[-1]["accuracy"] == 1.0 and run.history[-1]["validation_accuracy"] < 0.25
    assert kinds(run) == ["over-fitting"]


@pytest.mark.parametrize(("name", "size"), [("sigmoid", 1.0), ("tanh", 0.8)])
def test_recurrences_forget_geometrically(name, size):
    """Bengio, Simard and Frasconi, Learning long-term dependencies with gradient descent is difficult, 1994, theorem 4:
    a gradient shrinks by |W| times the largest slope a step at least: ¼ for the logistic function, 1 for tanh.
    """
    rng = np.random.default_rng(0)
    inputs, y = rng.standard_normal((30, 25, 3)), rng.uniform(size=(30, 16))
    f, slope = {"sigmoid": (lambda z: 1 / (1 + np.exp(-z)), 0.25), "tanh": (np.tanh, 1.0)}[name]

    def loss(params, inputs, y):
        W, U = params
        h = np.zeros((30, 16))
        for step in range(25):
            h = ut.watch(f(h @ W + inputs[:, step] @ U), f"h{step + 1}")
        return 0.5 * np.mean(np.sum((h - y) ** 2, axis=1))

    params = (size * np.linalg.qr(rng.standard_normal((16, 16)))[0], 0.3 * rng.standard_normal((3, 16)))
    measured = ut.flow.recorded(loss)
    for _ in range(8):
        _, gradient = measured(params, inputs, y)
        params = tuple(p - 0.05 * g for p, g in zip(params, gradient, strict=True))
    delta = measured.flow.stat("delta.rms")[0, :25]
    assert (delta[:-1] / delta[1:] <= slope * size * 1.001).all()
    assert [finding.kind for finding in measured.findings] == ["vanishing"]


def test_the_last_hidden_layer_of_sigmoids_falls_to_0():
    """Glorot and Bengio 2010, section 3.1 and figure 2: with weights of U(±1/√n), the outputs of the last hidden layer
    fall towards 0 within the first updates, while those of the layers before stay about ½, and nothing is learned.
    """
    init = nn.uniform(limit=1 / 8)
    model = nn.Sequential(
        nn.Dense(64, 64, init=init), "sigmoid", nn.Dense(64, 64, init=init), "sigmoid",
        nn.Dense(64, 64, init=init), "sigmoid", nn.Dense(64, 64, init=init), "sigmoid", nn.Dense(64, 10, init=init),
    )  # fmt: skip
    settings = {"optimizer": optim.sgd(0.1), "epochs": 40, "batch_size": 10, "validation": 0.2}
    run = train(model, (X[:500], LABELS[:500]), **settings)
    begin, end = run.flow.stat("h.mean")[[0, -1], :4]
    np.testing.assert_allclose(begin, 0.5, atol=0.06)
    assert end[3] < 0.3 and (abs(end[:2] - 0.5) < 0.1).all()
    assert run.history[-1]["validation_accuracy"] < 0.3
    assert kinds(run)[0] == "vanishing"


def test_a_deep_linear_network_learns_its_modes_one_after_the_other():
    """Saxe et al., Exact solutions to the nonlinear dynamics of learning in deep linear neural networks, 2014, eq. 12.

    With inputs that are white and small weights along its modes, mode s has the strength s e^(2st) / (e^(2st) − 1 +
    s / u₀) after a time of t = steps · rate; the loss is half the sum of what is missing of each, squared.
    """
    rng = np.random.default_rng(0)
    turned = lambda n: np.linalg.qr(rng.normal(size=(n, 6)))[0]
    X, U, V, R = turned(600) * np.sqrt(600), turned(6), turned(6), turned(6)
    modes, begin, rate = np.array([3.0, 1.5, 0.7, 0, 0, 0]), 1e-3, 2e-3
    params = {"W1": np.sqrt(begin) * U @ R, "W2": np.sqrt(begin) * R.T @ V.T}

    def loss(p, X, Y):
        return 0.5 * np.mean(np.sum((ut.watch(X @ p["W1"], "h") @ p["W2"] - Y) ** 2, axis=1))

    measured = ut.flow.recorded(loss)
    for _ in range(3600):
        _, gradient = measured(params, X, X @ (U * modes @ V.T))
        params = {name: x - rate * gradient[name] for name, x in params.items()}
    t = rate * np.arange(len(measured.flow))[:, None]
    grown, some = np.exp(2 * modes * t), modes > 0
    there = 1 / (1 / begin + 2 * t) * np.ones(6)  # of a mode of 0, the limit
    there[:, some] = (modes * grown)[:, some] / (grown - 1 + modes / begin)[:, some]
    wanted = 0.5 * np.sum((there - modes) ** 2, axis=1)
    assert np.abs(measured.flow.scalars["loss"] - wanted).max() < 0.01 * wanted[0]  # a step is no instant
    assert wanted[-1] < 0.01 < 5.8 < wanted[0] and measured.findings == []


@pytest.mark.parametrize(("rate", "l2"), [(0.1, 0.01), (0.2, 0.005)])
def test_weights_before_a_normalisation_turn_by_the_root_of_twice_rate_and_decay(rate, l2):
    """Wan et al., Spherical motion dynamics, NeurIPS 2021, theorem 1: in equilibrium an update is √(2 η λ) of W.

    A loss that does not change with the size of W gives a gradient at right angles to it, which makes W grow; decay
    takes that back. Labels of other rows keep the gradient from dying away.
    """
    X, y = DIGITS.X.astype(np.float32), np.random.default_rng(0).permutation(DIGITS.y)
    model = nn.Sequential(nn.Dense(64, 32, bias=False), nn.LayerNorm(32), "relu", nn.Dense(32, 10))
    run = ut.train(model, (X, y), loss="categorical_cross_entropy", optimizer=optim.sgd(rate), l2=l2, epochs=60,
                   batch_size=16, progress=False, validation=None)  # fmt: skip
    ratio = run.flow.stat("ratio")[:, 0]
    assert ratio[0] < 0.9 * np.sqrt(2 * rate * l2)
    assert np.sqrt(np.mean(ratio[-2000:] ** 2)) == pytest.approx(np.sqrt(2 * rate * l2), rel=0.02)


def test_blocks_with_batch_normalisation_in_the_branch_add_one_each():
    """De and Smith, Batch normalization biases residual blocks towards the identity function, NeurIPS 2020, section 3.

    The branch of every block has a mean square of 1, so that of the stream is l + 1 behind l blocks, and a branch is
    1 / (l + 1) of it: measured before training, and by theory.
    """
    blocks = [nn.Residual(nn.BatchNorm(128), "relu", nn.Dense(128, 128, init="he_normal")) for _ in range(12)]
    model = nn.Sequential(nn.Dense(128, 128, init="lecun_normal"), *blocks, nn.Dense(128, 10))
    found = ut.flow.forecast(model, np.random.default_rng(0).normal(size=(256, 128)).astype(np.float32))
    stream = [x.h for x in found.layers if x.layer.kind == "Residual"]
    assert len(stream) == 12
    for number, h in enumerate(stream, 1):
        assert h.predicted**2 == pytest.approx(number + 1, rel=0.03)  # theory knows the weights that were drawn
        assert h.measured**2 == pytest.approx(number + 1, rel=0.15)
    assert found.findings == []


@pytest.mark.parametrize("blocks", [10, 50])
def test_fixup_trains_deep_residual_networks_without_normalisation_and_is_told_nothing(blocks):
    """Zhang et al., Fixup initialization, ICLR 2019, section 3: weights of the first layer of a branch of m = 2 layers
    times L^(−1/2), the last layer of each branch and the output 0."""
    rng = np.random.default_rng(0)
    W = lambda: (rng.normal(size=(32, 32)) * np.sqrt(2 / 32 / blocks)).astype(np.float32)
    branch = lambda: nn.Residual(nn.Dense(32, 32, W=W()), "relu", nn.Dense(32, 32, init="zeros"))
    model = nn.Sequential(nn.Dense(64, 32), "relu", *(branch() for _ in range(blocks)), nn.Dense(32, 10, init="zeros"))
    X = (2 * DIGITS.X - 1).astype(np.float32)
    run = ut.train(model, (X, DIGITS.y), loss="categorical_cross_entropy", optimizer=optim.sgd(0.05), epochs=12,
                   batch_size=32, validation=0.2, progress=False)  # fmt: skip
    assert run.history[-1]["validation_accuracy"] > 0.9
    assert [x.kind for x in run.findings if x.kind != "constant-columns"] == []
