"""What the record of a loop of one's own tells beside its layers: rate, targets that move, a column for the bias."""

import numpy as np
import pytest

import undertow as ut

DIGITS = ut.data.load_digits()
X, Y = 2 * DIGITS.X[:300].astype(np.float64) - 1, ut.one_hot(DIGITS.y[:300], 10)


def network(params, X, Y):
    h = np.maximum(X @ params["W1"] + params["b1"], 0)
    return -np.mean(np.sum(Y * ut.log_softmax(h @ params["W2"] + params["b2"], axis=1), axis=1))


def begin():
    rng = np.random.default_rng(0)
    W1, W2 = rng.standard_normal((64, 24)) / 8, rng.standard_normal((24, 10)) / 5
    return {"W1": W1, "b1": np.zeros(24), "W2": W2, "b2": np.zeros(10)}


def test_the_rate_of_a_loop_is_read_from_its_steps():
    """w − rate · gradient, of a rate that changes; not of steps that remember others."""
    rates = [0.1 * 0.9**i for i in range(12)]
    for momentum in (0.0, 0.9):
        measured, params, v = ut.flow.recorded(network), begin(), {name: 0 * x for name, x in begin().items()}
        for rate in rates:
            _, gradient = measured(params, X, Y)
            v = {name: momentum * v[name] + gradient[name] for name in params}
            params = {name: x - rate * v[name] for name, x in params.items()}
        told = measured.flow.scalars["rate"]
        assert np.isnan(told).all() if momentum else np.allclose(told, rates[:-1], rtol=2e-6)


@pytest.mark.parametrize(("rate", "least", "most"), [(1e-6, 1e-3, 0.5), (40.0, 1e-3, 0.5)])
def test_a_loop_is_told_a_rate_to_take(rate, least, most):
    measured, params = ut.flow.recorded(network), begin()
    with np.errstate(all="ignore"):
        for _ in range(60):
            _, gradient = measured(params, X, Y)
            params = {name: x - rate * gradient[name] for name, x in params.items()}
    found = measured.findings[0]
    assert found.kind in ("step-too-small", "step-too-large") and f"a learning rate of {rate:g}" in found.cause.lower()
    names: dict[str, float] = {}
    exec(found.remedies[0].code, names)
    assert least <= names["rate"] <= most


def test_targets_that_move_by_themselves_are_no_order_of_rows():
    """As those that a network makes of what it predicts, which grow while inputs stay as they are."""
    rng = np.random.default_rng(0)
    inputs, w = rng.standard_normal((2000, 4)), rng.standard_normal(4)
    y = inputs @ w

    def loss(p, X, y):
        return np.mean((np.tanh(X @ p["W"]) @ p["v"] - y) ** 2)

    for ordered in (False, True):
        p, measured = {"W": rng.standard_normal((4, 16)), "v": np.zeros(16)}, ut.flow.recorded(loss)
        order = np.argsort(y)
        for i in range(120):
            rows = order[(40 * i) % 2000 :][:40] if ordered else rng.integers(0, 2000, 40)
            target = y[rows] if ordered else y[rows] + 0.1 * i
            _, gradient = measured(p, inputs[rows], target)
            p = {name: x - 0.05 * gradient[name] for name, x in p.items()}
        assert ("oscillation" in [x.kind for x in measured.findings]) == ordered


def test_a_column_of_ones_that_is_the_bias_is_left_alone():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 400)
    powers, y = np.stack([x**0, x, x**2], axis=1), 1 - x + 0.5 * x**2

    def line(w, X, y):
        return np.mean((X @ w - y) ** 2)

    def with_bias(p, X, y):
        return np.mean((X @ p["w"] + p["b"] - y) ** 2)

    for loss, p, told in (
        (line, np.zeros(3), []),
        (with_bias, {"w": np.zeros(3), "b": np.zeros(1)}, ["constant-columns"]),
    ):
        measured = ut.flow.recorded(loss)
        for _ in range(200):
            rows = rng.integers(0, 400, 64)
            _, gradient = measured(p, powers[rows], y[rows])
            p = ut.trees.map(lambda a, g: a - 0.2 * g, p, gradient)
        assert [x.kind for x in measured.findings] == told


def test_a_likelihood_of_data_without_targets_may_fall_by_little():
    """A mixture of two normal densities that are hardly apart: the loss cannot fall far, and nobody knows how far."""
    rng = np.random.default_rng(0)
    data = rng.standard_normal((1000, 2)) + np.where(rng.random((1000, 1)) < 0.5, 1.5, -1.5)

    def likelihood(p, X):
        d = np.sum((X[:, None] - p["mean"]) ** 2, axis=2)
        return -np.mean(np.log(np.sum(np.exp(-d / 2), axis=1) / 2)) + np.log(2 * np.pi)

    p, measured = {"mean": rng.standard_normal((2, 2))}, ut.flow.recorded(likelihood)
    for _ in range(200):
        rows = rng.integers(0, 1000, 64)
        _, gradient = measured(p, data[rows])
        p = {"mean": p["mean"] - 0.2 * gradient["mean"]}
    assert [x.kind for x in measured.findings] == []


def test_inputs_that_saturate_the_first_layer_are_told_and_no_normalisation():
    """Half of them give the same, as behind a normalisation; a thousandth does not."""
    rng = np.random.default_rng(3)
    parts = [rng.normal(50000, 12000, 600), rng.normal(40, 10, 600), rng.random(600)]
    raw = np.column_stack(parts)
    y = ((raw[:, 0] - 50000) / 12000 + (raw[:, 1] - 40) / 10)[:, None]

    def loss(p, X, y):
        return np.mean((np.tanh(X @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"] - y) ** 2)

    p = {"W1": 0.3 * rng.normal(size=(3, 16)), "b1": np.zeros(16), "W2": 0.3 * rng.normal(size=(16, 1)), "b2": 0.0}
    measured = ut.flow.recorded(loss)
    for step in range(100):
        rows = slice(step % 12 * 50, step % 12 * 50 + 50)
        _, gradient = measured(p, raw[rows], y[rows])
        p = {name: x - 0.01 * gradient[name] for name, x in p.items()}
    assert [x.kind for x in measured.findings] == ["input-not-scaled"]


def test_residual_blocks_of_a_loop_that_nothing_scales_explode():
    """Zhang et al., Fixup initialization, ICLR 2019, section 2: with He's weights in two layers a block adds twice the
    variance of what passes, so that the norm grows by √3; a last layer of zeros holds it."""
    for last, told in ((1.0, True), (0.0, False)):
        rng = np.random.default_rng(2)
        he = lambda a, b, rng=rng: rng.normal(size=(a, b)) * np.sqrt(2 / a)
        p = {"in": he(64, 48), "blocks": [(he(48, 48), last * he(48, 48)) for _ in range(16)], "out": he(48, 10) / 2}

        def loss(p, X, Y):
            h = X @ p["in"]
            for A, B in p["blocks"]:
                h = h + np.maximum(h @ A, 0) @ B
            return -np.mean(np.sum(Y * ut.log_softmax(h @ p["out"], axis=1), axis=1))

        measured = ut.flow.recorded(loss)
        for step in range(24):
            rows = slice(step % 6 * 50, step % 6 * 50 + 50)
            _, gradient = measured(p, X[rows], Y[rows])
            p = ut.trees.map(lambda w, g: w - 0.01 * g, p, gradient)
        found = [x for x in measured.findings if x.kind == "exploding"]
        assert bool(found) == told
        if told:
            (factor,) = (x.value for x in found[0].evidence if x.text == "change of ‖δ‖ a block")
            assert factor == pytest.approx(np.sqrt(3), rel=0.1)
            assert "each of the 16 residual blocks adds to what passes" in found[0].cause
            assert found[0].remedies[0].code.startswith("h = h + block(h) / np.sqrt(16)")


@pytest.mark.parametrize("names", [range(1, 13), "abcdefghijkl"], ids=["numbers", "letters"])
def test_residual_blocks_are_alike_whatever_their_parameters_are_called(names):
    """With He's weights h + relu(h W) has more than twice the mean square of h, in each of twelve blocks."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200, 16))
    targets = ut.one_hot((inputs @ rng.normal(size=(16, 4))).argmax(axis=1), 4)
    p = {f"W{name}": rng.normal(size=(16, 16)) * np.sqrt(2 / 16) for name in names}
    p["out"] = rng.normal(size=(16, 4)) / 4

    def loss(p, X, Y):
        h = X
        for name in names:
            h = h + np.maximum(h @ p[f"W{name}"], 0)
        return -np.mean(np.sum(Y * ut.log_softmax(h @ p["out"], axis=1), axis=1))

    measured = ut.flow.recorded(loss)
    for _ in range(25):
        _, gradient = measured(p, inputs, targets)
        p = ut.trees.map(lambda w, g: w - 0.01 * g, p, gradient)
    assert [x.kind for x in measured.findings] == ["exploding"]


@pytest.mark.parametrize(("beta", "told"), [(0.995, True), (0.5, False)])
@pytest.mark.parametrize("buffer", [False, True])
def test_a_loop_on_full_batches_swings_from_step_to_step(beta, told, buffer):
    """Of batches that are drawn, single steps tell nothing; all rows at each step do, with momentum too large."""
    rng = np.random.default_rng(3)
    rows, w, v = rng.normal(size=(300, 8)), np.zeros((8, 1)), np.zeros((8, 1))
    y = rows @ rng.normal(size=(8, 1))
    measured, held = ut.flow.recorded(lambda w, X, y: np.mean((X @ w - y) ** 2)), rows.copy()
    for step in range(200):
        if buffer:  # that is filled anew, with the same rows in another place
            held[:] = np.roll(rows, step, axis=0)
        _, gradient = measured(w, held, np.roll(y, step, axis=0) if buffer else y)
        v = beta * v - 0.2 * (1 - beta if beta < 0.9 else 1) * gradient
        w = w + v
    assert measured.flow.facts["same_batch"] != buffer
    assert buffer or [x.kind for x in measured.findings] == ["oscillation"] * told


@pytest.mark.filterwarnings("ignore:.*reads batch from outside")
@pytest.mark.parametrize("drawn", [True, False])
def test_batches_that_a_loss_reads_from_outside_are_none_of_all_rows(drawn):
    """Nor are those whose rows a generator draws, which is given beside them."""
    rng = np.random.default_rng(3)
    rows, batch = rng.normal(size=(400, 5)), []
    y = rows[:, 0] + 2 * rng.normal(size=400)

    def outside(w):
        return np.mean((batch[0] @ w - batch[1]) ** 2)

    def given(w, X, y, objects):
        return np.mean((X @ w - y) ** 2)

    measured, w = ut.flow.recorded(given if drawn else outside), np.zeros(5)
    for _ in range(3):
        part = rng.integers(0, 400, 16)
        batch[:] = rows[part], y[part]
        _, gradient = measured(w, rows, y, rng) if drawn else measured(w)
        w = w - 0.02 * gradient
    assert not measured.flow.facts["same_batch"]


def test_a_layer_of_one_input_has_not_collapsed():
    """What a recurrent network makes of a single number lies on a line, whatever its weights are."""
    rng, n_steps = np.random.default_rng(4), 6
    bits = rng.integers(0, 2, (400, n_steps)).astype(float)
    Y3 = np.eye(3)[bits.sum(axis=1).astype(int) % 3]
    p = {"W": rng.normal(size=(1, 24)), "U": np.linalg.qr(rng.normal(size=(24, 24)))[0], "out": np.zeros((24, 3))}

    def loss(p, X, Y):
        h = np.zeros((len(X), 24))
        for t in range(n_steps):
            h = np.tanh(X[:, t : t + 1] @ p["W"] + h @ p["U"])
        return -np.mean(np.sum(Y * ut.log_softmax(h @ p["out"], axis=1), axis=1))

    measured = ut.flow.recorded(loss)
    for step in range(80):
        part = slice(step % 8 * 50, step % 8 * 50 + 50)
        _, gradient = measured(p, bits[part], Y3[part])
        p = {name: x - 0.1 * gradient[name] for name, x in p.items()}
    assert "rank-collapse" not in [x.kind for x in measured.findings]


def test_targets_are_no_number_and_no_mask_of_units():
    """What meets hidden units is brought to weights with them; the strength of a penalty is a single number."""

    def loss(params, X, Y, mask, strength):
        h = np.maximum(X @ params["W1"] + params["b1"], 0) * mask
        data = -np.mean(np.sum(Y * ut.log_softmax(h @ params["W2"] + params["b2"], axis=1), axis=1))
        return data + strength * np.sum(params["W1"] ** 2)

    measured, params = ut.flow.recorded(loss), begin()
    for _ in range(2):
        measured(params, X[:50], Y[:50], np.ones((50, 24)), 1e-4)
    assert measured.flow.facts["target"]["kind"] == "classes" and measured.mixture.place == 1
