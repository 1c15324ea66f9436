"""How losses are weighted, told as plain data, paired with the end of a model, and made predictions of."""

import warnings

import numpy as np
import pytest

import undertow as ut
from undertow import nn
from undertow.differentiate import value_and_grad
from undertow.errors import ArgumentError, DataError, PairingWarning, ShapeError

M, K = 6, 4
RNG = np.random.default_rng(3)
Z = RNG.standard_normal((M, K)) * 2
Y = RNG.standard_normal((M, K))
WEIGHTS = np.array([0.5, 2, 0, 1, 3, 0.25])


# Weights


def test_weights_are_repetitions():
    """An example of weight 3 counts as three, one of weight 0 not at all; the gradient too."""
    counts = np.array([1, 0, 2, 3, 0, 1])
    rows = np.repeat(np.arange(M), counts)
    value, ct = value_and_grad(lambda z: nn.huber(z, Y, weights=counts))(Z)
    repeated, repeated_ct = value_and_grad(lambda z: nn.huber(z[rows], Y[rows]))(Z)
    assert value == pytest.approx(repeated, rel=1e-12)
    np.testing.assert_allclose(ct, repeated_ct, rtol=1e-12)


def test_weights_keep_the_dtype_and_must_fit():
    z, y = Z.astype(np.float32), Y.astype(np.float32)
    assert nn.huber(z, y, weights=WEIGHTS).dtype == np.float32
    assert nn.huber(z, y, weights=[1] * M) == pytest.approx(nn.huber(z, y))
    with pytest.raises(ShapeError, match=r"weights is \(6, 1\), but there are the losses \(6,\)"):
        nn.huber(z, y, weights=WEIGHTS[:, None])
    with pytest.raises(DataError, match=r"weights holds -1"):
        nn.huber(z, y, weights=-np.ones(M))
    with pytest.raises(DataError, match="weights holds nan"):
        nn.huber(z, y, weights=np.full(M, np.nan))
    with pytest.raises(DataError, match="all 0"):
        nn.huber(z, y, weights=np.zeros(M))


def test_class_weights():
    """Balanced: the classes that occur have the same sum."""
    y = np.array([0] * 6 + [2] * 2)
    weights = nn.class_weights(y, n_classes=3)
    np.testing.assert_allclose(weights, [8 / 12] * 6 + [2.0] * 2)
    np.testing.assert_allclose(nn.class_weights(np.eye(3)[y]), weights)
    np.testing.assert_allclose(nn.class_weights(y[:, None], {2: 4}), [1] * 6 + [4] * 2)
    np.testing.assert_allclose(nn.class_weights(y, [0.5, 9, 2]), [0.5] * 6 + [2] * 2)
    for arguments, message in (
        ((y, "balance"), "no rule 'balance'"),
        ((y, {3: 1.0}), "no class 3. They are 0 to 2"),
        ((y, {0: -1.0}), "Give numbers of 0 or more"),
    ):
        with pytest.raises(ArgumentError, match=message):
            nn.class_weights(*arguments)
    with pytest.raises(ShapeError, match=r"weights is \(2,\). Give one for each of the 3"):
        nn.class_weights(y, [1, 2])
    with pytest.raises(DataError, match="the label 2, but the 2 classes are 0 to 1"):
        nn.class_weights(y, n_classes=2)
    with pytest.raises(DataError, match=r"holds the label 0\.5"):
        nn.class_weights([0.5, 1])


# Settings as plain data


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *((name, {}) for name in nn.LOSSES),
        ("huber", {"delta": 2.0}),
        ("quantile", {"q": 0.9}),
        ("categorical_cross_entropy_with_logits", {"label_smoothing": 0.1}),
        ("binary_cross_entropy_with_logits", {"label_smoothing": 0.1, "pos_weight": 3.0}),
        ("binary_focal_with_logits", {"gamma": 1.0, "alpha": 0.25}),
    ],
)
def test_a_loss_is_described_and_built_again(name, settings):
    loss = getattr(nn, name)(**settings)
    assert isinstance(loss, nn.Loss) and loss.describe() == {"name": name, **settings}
    again = nn.build_loss(loss.describe())
    assert (again.name, again.settings, again.task, again.end) == (loss.name, loss.settings, loss.task, loss.end)
    model = nn.Sequential(nn.Dense(2, 3))
    assert nn.find_loss(loss, model).settings == nn.find_loss(loss.describe(), model).settings == settings
    assert repr(loss).startswith(f"{name}(") and all(f"{key}={value}" in repr(loss) for key, value in settings.items())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.huber(delta=0), r"huber: delta is 0. Give a number above 0"),
        (lambda: nn.huber(Z, Y, delta=-1), "delta is -1"),
        (lambda: nn.quantile(q=90), "q is 90. Give a number between 0 and 1"),
        (lambda: nn.categorical_cross_entropy(label_smoothing=1), "from 0 to below 1"),
        (lambda: nn.poisson(log_input="yes"), "Give True or False"),
        (lambda: nn.huber(d=1), "huber has no setting 'd'. It has delta"),
        (lambda: nn.cosine(d=1), "cosine has no setting 'd'. It has none"),
        (lambda: nn.huber(2.0), r"huber is called with one array alone\. .*given by name: huber\(delta=…\)\.$"),
        (lambda: nn.cosine(Z), r"cosine is called with one array alone\. Give the output and the target\.$"),
        (lambda: nn.binary_cross_entropy(pos_weight=[1.0, -1.0]), "Give a number above 0, or a list of one for each"),
        (lambda: nn.huber(beta=1.0), r"no setting 'beta'\. Use delta\."),
        (lambda: nn.huber(reduction="sum"), r"no setting 'reduction'\. .* LOSSES\[name\]\.per_example"),
        (lambda: nn.huber(Z, Y, sample_weight=[1.0]), r"no setting 'sample_weight'\. Give weights="),
        (lambda: nn.categorical_cross_entropy(ignore_index=-1), r"no setting 'ignore_index'\. .*the weight 0\."),
        (lambda: nn.build_loss({"name": "mse"}), r"there is no loss 'mse'. Did you mean 'mean_squared_error'\?"),
        (lambda: nn.build_loss({"name": "categorical_entropy"}), "Did you mean 'categorical_cross_entropy'"),
        (lambda: nn.build_loss({"delta": 1.0}), "there is no loss None"),
        (lambda: nn.build_loss("huber"), "a loss is described by a record"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        (nn.hinge, [2, 0], "hinge: y holds 2, but classes are 0 and 1, or -1 and 1"),
        (nn.poisson, [-1.0, 0], "poisson: y holds -1.0, but counts are 0 or more"),
        (nn.binary_focal, [2, 0], "targets are 0, 1 or a probability"),
    ],
)
def test_wrong_targets_are_refused(loss, y, message):
    with pytest.raises(DataError, match=message):
        loss(np.full(2, 0.5), np.array(y))


# Pairing and predicting


@pytest.mark.parametrize(
    ("loss", "end", "name"),
    [
        ("categorical_cross_entropy", (), "categorical_cross_entropy_with_logits"),
        ("categorical_cross_entropy", ("softmax",), "categorical_cross_entropy"),
        ("binary_cross_entropy", (), "binary_cross_entropy_with_logits"),
        (nn.binary_cross_entropy, ("sigmoid",), "binary_cross_entropy"),
        ("categorical_cross_entropy_with_logits", (), "categorical_cross_entropy_with_logits"),
        ("mean_squared_error", ("tanh",), "mean_squared_error"),
    ],
)
def test_a_loss_is_paired_with_the_end_of_the_model(loss, end, name):
    """Cross-entropies take probabilities after softmax or sigmoid, logits elsewhere."""
    assert nn.find_loss(loss, nn.Sequential(nn.Dense(4, 3), *end)).name == name


@pytest.mark.parametrize(
    ("loss", "end", "message"),
    [
        ("mse", (), "there is no loss 'mse'"),
        ("categorical_cross_entropy", ("sigmoid",), "ends in sigmoid"),
        ("binary_cross_entropy", ("softmax",), "ends in softmax"),
        ("categorical_cross_entropy", ("relu",), "ends in relu"),
        ("categorical_cross_entropy_with_logits", ("softmax",), "Remove the softmax"),
    ],
)
def test_a_loss_that_does_not_go_with_the_model_is_refused(loss, end, message):
    """A softmax counted twice, or the wrong activation, is found before training."""
    with pytest.raises(ArgumentError, match=message):
        nn.find_loss(loss, nn.Sequential(nn.Dense(4, 3), *end))


def test_a_function_of_the_users_own_is_taken_as_it_is():
    """A loss without a name in the table has no task of ours."""
    found = nn.find_loss(lambda output, y: np.sum(output), nn.Dense(2, 3))
    assert found.task == "own" and not found.logits


@pytest.mark.parametrize(
    ("loss", "end", "name", "settings"),
    [
        (nn.categorical_cross_entropy(label_smoothing=0.1), (), "categorical_cross_entropy_with_logits", True),
        (nn.categorical_cross_entropy(label_smoothing=0.1), ("softmax",), "categorical_cross_entropy", True),
        ({"name": "binary_focal", "gamma": 1.0}, (), "binary_focal_with_logits", True),
        ("kullback_leibler", (), "kullback_leibler_with_logits", False),
    ],
)
def test_settings_survive_the_pairing(loss, end, name, settings):
    found = nn.find_loss(loss, nn.Sequential(nn.Dense(4, 3), *end))
    assert found.name == name and bool(found.settings) is settings
    assert found.on_logits().name.endswith("_with_logits") and found.on_logits().settings == found.settings


@pytest.mark.parametrize(
    ("loss", "end", "message"),
    [
        ("mean_squared_error", "softmax", "ends in softmax: its gradient vanishes .* Use categorical_cross_entropy"),
        ("huber", "relu", "cannot predict a number below 0"),
        ("poisson", "softplus", "set log_input=False"),
        (nn.poisson(log_input=False), "identity", "no activation: with log_input=False it takes a rate above 0"),
        ("hinge", "sigmoid", "Remove the activation"),
    ],
)
def test_an_odd_pair_is_warned_of(loss, end, message):
    """The warning stands on the line of the caller."""
    with pytest.warns(PairingWarning, match=message) as found:
        nn.find_loss(loss, nn.Sequential(nn.Dense(4, 3), end))
    assert found[0].filename == __file__


@pytest.mark.parametrize(
    ("loss", "end"),
    [
        ("mean_squared_error", "sigmoid"),
        ("mean_squared_error", "identity"),
        ("poisson", "identity"),
        (nn.poisson(log_input=False), "softplus"),
        (nn.poisson(log_input=False), np.exp),
        ("hinge", "identity"),
        ("cosine", "relu"),
    ],
)
def test_a_fitting_pair_is_not(loss, end):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.find_loss(loss, nn.Sequential(nn.Dense(4, 3), end))


def test_predictions_follow_from_the_loss():
    """Counts of log rates, classes of scores, quantiles as they are."""
    outputs = np.array([[-1.0], [2.0]])
    np.testing.assert_allclose(nn.poisson().decide(outputs), np.exp(outputs))
    np.testing.assert_array_equal(nn.poisson(log_input=False).decide(outputs), outputs)
    np.testing.assert_array_equal(nn.quantile(q=0.1).decide(outputs), outputs)
    np.testing.assert_array_equal(nn.hinge().decide(outputs), [0, 1])
    np.testing.assert_array_equal(nn.binary_cross_entropy().decide(np.array([[0.4], [0.6]])), [0, 1])
    np.testing.assert_array_equal(nn.categorical_hinge().decide(np.array([[0.0, 1], [3, 2]])), [1, 0])


@pytest.mark.parametrize(
    ("loss", "y", "check"),
    [
        (nn.quantile(q=0.9), lambda x, e: x + e, lambda p, x, y: abs(np.mean(y < p[:, 0]) - 0.9) < 0.05),
        ("poisson", lambda x, e: np.round(np.exp(x)), lambda p, x, y: np.corrcoef(p[:, 0], y)[0, 1] > 0.9),
        ("hinge", lambda x, e: np.where(x > 0, 1, -1), lambda p, x, y: np.mean(p == (y > 0)) > 0.95),
        ("binary_focal", lambda x, e: (x > 0) * 1, lambda p, x, y: np.mean(p == y) > 0.95),
        ("mean_absolute_error", lambda x, e: 2 * x, lambda p, x, y: np.mean(abs(p[:, 0] - y)) < 0.1),
    ],
    ids=["quantile", "poisson", "hinge", "binary_focal", "mean_absolute_error"],
)
def test_training_with_a_loss_predicts_what_it_is_for(loss, y, check):
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (400, 1)).astype(np.float32)
    y = y(X[:, 0], rng.standard_normal(400))
    run = ut.train(
        nn.Sequential(nn.Dense(1, 1)), (X, y), loss=loss, optimizer=ut.optim.adam(0.05), epochs=60, batch_size=50,
        progress=False,
    )  # fmt: skip
    prediction = run.predict(X)
    assert check(prediction, X, y)
    if loss == "hinge":
        with pytest.raises(ArgumentError, match="hinge, which knows no probabilities"):
            run.predict_probability(X)


def test_a_saved_run_keeps_the_settings_of_its_loss(tmp_path):
    """With log_input=False the model gives the rate itself, also after loading: no exponential is taken."""
    X = np.random.default_rng(0).uniform(-1, 1, (60, 2)).astype(np.float32)
    model = nn.Sequential(nn.Dense(2, 1), "softplus")
    run = ut.train(model, (X, np.ones(60)), loss=nn.poisson(log_input=False), epochs=1, progress=False)
    loaded = ut.load(run.save(tmp_path / "run"))
    np.testing.assert_array_equal(loaded.predict(X), loaded.outputs(X))
    np.testing.assert_array_equal(loaded.predict(X), run.predict(X))
