"""The estimators against scikit-learn's own: its checks, its numbers for the same random_state, its tools."""

import contextlib
import inspect
import pickle
import warnings

import numpy as np
import pytest
from scipy.sparse import csc_array, csr_matrix
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import parametrize_with_checks

import undertow.sklearn as ours
from sklearn import neural_network as theirs
from undertow import nn, optim
from undertow.errors import ArgumentError
from undertow.sklearn import FitDiverged, MLPClassifier, MLPRegressor
from undertow.sklearn.precision import choose_dtype
from undertow.sklearn.targets import balanced_weights
from undertow.train import ReduceOnPlateau

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

IRIS = load_iris(return_X_y=True)
X, y = StandardScaler().fit_transform(IRIS[0]), IRIS[1]
DIABETES = load_diabetes(return_X_y=True)
V, v = DIABETES[0] * 20, DIABETES[1] / 50


@parametrize_with_checks([MLPClassifier(max_iter=60, n_threads=1), MLPRegressor(max_iter=60, n_threads=1)])
def test_scikit_learn_accepts_them(estimator, check):
    """None of its checks is expected to fail."""
    check(estimator)


# ---- scikit-learn's numbers ---------------------------------------------------------------------

SAME = [
    ("MLPClassifier", "classes", {}),
    ("MLPClassifier", "classes", {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1}),
    (
        "MLPClassifier",
        "classes",
        {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.2, "tol": 0.02, "n_iter_no_change": 2},
    ),
    ("MLPClassifier", "classes", {"solver": "sgd", "nesterovs_momentum": False, "momentum": 0.5, "shuffle": False}),
    ("MLPClassifier", "classes", {"early_stopping": True, "n_iter_no_change": 3}),
    ("MLPClassifier", "classes", {"activation": "tanh", "alpha": 0.5, "hidden_layer_sizes": (7, 5), "epsilon": 1e-3}),
    ("MLPClassifier", "two", {"activation": "logistic"}),
    ("MLPClassifier", "labels", {"activation": "identity"}),
    ("MLPRegressor", "values", {}),
    ("MLPRegressor", "values", {"early_stopping": True, "alpha": 1.0}),
    ("MLPRegressor", "values", {"loss": "poisson"}),
]
TARGETS = {"classes": (X, y), "two": (X, y == 1), "labels": (X, np.eye(3, dtype=int)[y]), "values": (V, v)}


@pytest.mark.parametrize(("name", "target", "settings"), SAME)
def test_the_same_random_state_gives_scikit_learns_numbers(name, target, settings):
    """Initial weights, orders, penalties, updates, stopping: all of it, to rounding."""
    A, b = TARGETS[target]
    settings = {"max_iter": 25, "batch_size": 32, "random_state": 3, **settings}
    mine = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}[name](**settings).fit(A, b)
    other = getattr(theirs, name)(**settings).fit(A, b)
    np.testing.assert_allclose(mine.loss_curve_, other.loss_curve_, rtol=1e-8)
    for found, wanted in zip(mine.coefs_ + mine.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(mine.predict(A), other.predict(A), rtol=1e-6)
    for attribute in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(mine, attribute) == getattr(other, attribute), attribute
    for attribute in ("best_loss_", "loss_", "best_validation_score_", "validation_scores_"):
        wanted = getattr(other, attribute)
        found = getattr(mine, attribute)
        assert (found is None) == (wanted is None), attribute
        if wanted is not None:
            np.testing.assert_allclose(found, wanted, rtol=1e-6)
    if name == "MLPClassifier":
        np.testing.assert_allclose(mine.predict_proba(A), other.predict_proba(A), rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(mine.classes_, other.classes_)


def test_lbfgs_finds_what_scikit_learns_finds():
    settings = {"solver": "lbfgs", "max_iter": 30, "random_state": 0}
    mine, other = MLPRegressor(**settings).fit(V, v), theirs.MLPRegressor(**settings).fit(V, v)
    assert mine.loss_ == pytest.approx(other.loss_, rel=1e-6)
    assert mine.n_iter_ == other.n_iter_
    assert len(mine.run_.history) == mine.n_iter_


def test_weights_of_examples_count_as_scikit_learns():
    """Both weigh the loss and divide the penalty by the sum of weights; scikit-learn has weights since 1.7."""
    if "sample_weight" not in inspect.signature(theirs.MLPRegressor.fit).parameters:
        pytest.skip("scikit-learn older than 1.7")
    w = np.random.default_rng(0).uniform(0, 2, len(v))
    settings = {"max_iter": 10, "random_state": 0, "alpha": 0.1}
    mine, other = MLPRegressor(**settings).fit(V, v, w), theirs.MLPRegressor(**settings).fit(V, v, w)
    np.testing.assert_allclose(mine.predict(V), other.predict(V), rtol=1e-8)


def test_several_outputs_are_fitted_as_scikit_learns_are():
    """It follows the gradient of the sum over outputs, though it reports their mean."""
    Y = np.stack([v, -v], axis=1)
    settings = {"max_iter": 10, "random_state": 0, "tol": 0.0}
    mine, other = MLPRegressor(**settings).fit(V, Y), theirs.MLPRegressor(**settings).fit(V, Y)
    np.testing.assert_allclose(mine.predict(V), other.predict(V), rtol=1e-8)


def test_partial_fit_and_warm_start_go_on_as_scikit_learns():
    for made in (MLPClassifier, theirs.MLPClassifier):
        model = made(random_state=0)
        for _ in range(3):
            model.partial_fit(X, y, classes=[0, 1, 2])
        warm = made(random_state=0, max_iter=2, warm_start=True).fit(X, y).fit(X, y)
        if made is MLPClassifier:
            mine, mine_warm = model, warm
    np.testing.assert_allclose(mine.predict_proba(X), model.predict_proba(X), rtol=1e-8)
    np.testing.assert_allclose(mine_warm.loss_curve_, warm.loss_curve_, rtol=1e-8)
    assert (mine_warm.t_, mine_warm.n_iter_) == (warm.t_, warm.n_iter_)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        MLPClassifier().partial_fit(X, y)
    with pytest.raises(AttributeError, match="has no attribute 'partial_fit'"):
        MLPClassifier(solver="lbfgs").partial_fit(X, y)


# ---- what scikit-learn's have not ---------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "lion", "learning_rate_init": 0.01},
        {"optimizer": optim.adamw(0.02)},
        {"solver": "adam", "schedule": optim.cosine(0.05, steps=150)},
        {"layers": [12, 12, 12], "residual": True, "norm": "layer", "activation": ["relu", "tanh", "gelu"]},
        {"norm": "batch", "dropout": 0.1, "initialiser": "he_normal"},
        {"layers": nn.Sequential(nn.Dense(4, 16), "tanh", nn.Dense(16, 3), "softmax")},
        {"layers": [nn.Dense(4, 16), "silu", nn.Dense(16, 3)], "clip": optim.clip_by_global_norm(1.0)},
        {"loss": nn.categorical_focal(gamma=1.0)},
        {"loss": "categorical_hinge"},
        {"class_weight": "balanced", "dtype": "float32"},
        {"early_stopping": True, "monitor": "validation_loss", "validation_fraction": 0.3},
        {"solver": "momentum", "callbacks": [ReduceOnPlateau("loss", patience=2)]},
    ],
)
def test_what_else_can_be_set_learns_too(settings):
    widths = {} if "layers" in settings else {"hidden_layer_sizes": [32]}
    model = MLPClassifier(
        random_state=0, max_iter=50, batch_size=50, **widths, **{"learning_rate_init": 0.02, **settings}
    )
    model = clone(model).fit(X, y)
    assert model.score(X, y) > 0.93
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(clone(model).fit(X, y).predict(X), model.predict(X))


def test_a_loss_of_the_users_own_and_others_fit_values():
    for loss in ("huber", nn.huber(delta=0.5), lambda output, y: np.mean(np.abs(output - y))):
        assert (
            MLPRegressor(loss, [16], learning_rate_init=0.01, max_iter=60, random_state=0).fit(V, v).score(V, v) > 0.4
        )


def test_the_dtype_of_X_is_kept():
    for dtype in (np.float32, np.float64):
        model = MLPClassifier(max_iter=2).fit(X.astype(dtype), y)
        assert {a.dtype for a in model.coefs_ + model.intercepts_} == {np.dtype(dtype)}
        assert model.predict_proba(X.astype(dtype)).dtype == dtype


def many_examples():
    """Two classes beside each other, which are as far apart in float32 as in float64."""
    rng = np.random.default_rng(0)
    labels = np.arange(1200) % 2
    return rng.normal(size=(1200, 3)) + labels[:, None], labels


def test_many_examples_are_computed_in_float32_and_learned_from_as_well():
    inputs, labels = many_examples()
    ours_, exact = (MLPClassifier(max_iter=20, random_state=0, dtype=d).fit(inputs, labels) for d in (None, "float64"))
    their = theirs.MLPClassifier(max_iter=20, random_state=0).fit(inputs, labels)
    assert ours_.coefs_[0].dtype == np.float32
    assert exact.coefs_[0].dtype == ours_.predict_proba(inputs).dtype == np.float64
    np.testing.assert_allclose(exact.predict_proba(inputs), their.predict_proba(inputs), atol=1e-9)
    np.testing.assert_allclose(ours_.predict_proba(inputs), their.predict_proba(inputs), atol=1e-4)
    few = MLPClassifier(max_iter=2).fit(inputs[:999], labels[:999])
    assert few.coefs_[0].dtype == MLPClassifier(max_iter=2, solver="lbfgs").fit(inputs, labels).coefs_[0].dtype == float


def test_what_float32_would_blur_stays_float64():
    inputs, labels = many_examples()
    for change in (lambda a: a * 1e-3 + 1.7e9, lambda a: a * 1e20):
        blurred = inputs.copy()
        blurred[:, 1] = change(blurred[:, 1])
        with np.errstate(all="ignore"), contextlib.suppress(FitDiverged):
            model = MLPClassifier(max_iter=1)
            model.fit(blurred, labels)
        assert model.coefs_[0].dtype == np.float64
        values = MLPRegressor(max_iter=1, solver="sgd", learning_rate_init=1e-30).fit(inputs, blurred[:, 1])
        assert values.coefs_[0].dtype == np.float64
    constant = np.column_stack([inputs, np.full(len(inputs), 1e9)])
    assert MLPClassifier(max_iter=1, learning_rate_init=1e-9).fit(constant, labels).coefs_[0].dtype == np.float32
    assert MLPClassifier(max_iter=1).fit(csr_matrix(inputs), labels).coefs_[0].dtype == np.float32


def test_class_weights_weigh_examples():
    weights = {0: 1.0, 1: 5.0, 2: 0.5}
    by_class = MLPClassifier(class_weight=weights, max_iter=5, random_state=0).fit(X, y)
    by_example = MLPClassifier(max_iter=5, random_state=0).fit(X, y, [weights[label] for label in y])
    np.testing.assert_array_equal(by_class.predict_proba(X), by_example.predict_proba(X))


def test_balanced_classes_count_rows_by_their_weight():
    """As in scikit-learn's check of sample weights: whole weights are rows that are there so often, 0 is none."""
    rows = np.r_[0:40, 50:70, 100:110]
    A, b = X[rows], y[rows]
    w = np.random.default_rng(0).integers(0, 4, len(rows))
    settings = {"class_weight": "balanced", "solver": "lbfgs", "max_iter": 20, "random_state": 0, "alpha": 0.1}
    weighed = MLPClassifier(**settings).fit(A, b, w)
    repeated = MLPClassifier(**settings).fit(np.repeat(A, w, axis=0), np.repeat(b, w))
    np.testing.assert_allclose(weighed.predict_proba(A), repeated.predict_proba(A), rtol=1e-6)


@pytest.mark.parametrize("columns", [1, 3])
def test_balanced_weights_are_those_of_scikit_learn(columns):
    labels = np.random.default_rng(1).integers(0, 2, (30, columns)).squeeze()
    np.testing.assert_allclose(balanced_weights(labels, None), compute_sample_weight("balanced", labels), rtol=1e-15)
    by_weight = balanced_weights(np.array([0, 0, 1, 2]), np.array([1.0, 2.0, 3.0, 0.0]))
    np.testing.assert_allclose(by_weight[:3], 1.0)  # both classes that count have 3 of 6


def test_widths_where_the_loss_stands():
    """scikit-learn's regressor before 1.7 had hidden_layer_sizes first."""
    for widths in ((8,), [16, 8], 32):
        with pytest.raises(ArgumentError, match=r"is no loss\. If these are widths, write hidden_layer_sizes=.*8|32"):
            MLPRegressor(widths).fit(V, v)


@pytest.mark.parametrize("form", [csr_matrix, csc_array])
@pytest.mark.parametrize(
    ("values", "full", "dtype"),
    [
        ((100.0, 100.001), False, "float32"),  # that far from 0, which they are not
        ((1.0, 1.0), False, "float32"),
        ((1.7e9, 1.7e9 + 60), False, "float32"),
        ((1.7e9, 1.7e9 + 60), True, "float64"),  # no zero beside them
        ((0.0, 1.0), True, "float32"),
        ((1.0, 1e20), False, "float64"),
    ],
)
def test_the_numbers_of_sparse_inputs_are_those_of_dense_ones(form, values, full, dtype):
    """Which zeros are stored makes no difference: each column is looked at by itself, its zeros among its numbers."""
    rng = np.random.default_rng(0)
    X = rng.uniform(*values, size=(1200, 3)) * (full | (rng.random((1200, 3)) < 0.3))
    y = rng.integers(0, 2, 1200)
    assert choose_dtype(form(X), y) == choose_dtype(X, y) == dtype


@pytest.mark.parametrize("form", [csr_matrix, csc_array])
@pytest.mark.parametrize("blocks", [False, True])
def test_sparse_inputs_give_what_dense_ones_give(form, blocks, monkeypatch):
    if blocks:  # as a matrix that is too large to be made dense as a whole
        for module in ("base", "learner"):
            monkeypatch.setattr(f"undertow.sklearn.{module}.DENSE_BYTES", 40 * X.shape[1] * 8)
    sparse = np.where(np.abs(X) > 0.5, X, 0)
    settings = {"max_iter": 4, "batch_size": 20, "random_state": 0}
    a, b = MLPClassifier(**settings).fit(form(sparse), y), MLPClassifier(**settings).fit(sparse, y)
    np.testing.assert_allclose(a.predict_proba(form(sparse)), b.predict_proba(sparse), rtol=1e-12)


def test_the_run_behind_a_fit_can_be_asked():
    model = MLPClassifier(max_iter=5, early_stopping=True, random_state=0).fit(X, y)
    assert [row["loss"] for row in model.run_.history] == model.loss_curve_
    assert [row["validation_loss"] for row in model.run_.history] == model.validation_loss_curve_
    np.testing.assert_array_equal(model.run_.predict(X), model.predict(X))
    np.testing.assert_allclose(model.run_.predict_probability(X), model.predict_proba(X))


def test_callbacks_are_told_of_epochs_and_can_stop():
    seen = []

    class Watch:
        def on_train_begin(self, info):
            seen.append("begin")

        def on_step_end(self, epoch, step, loss, model):
            seen.append((epoch, step))

        def on_epoch_end(self, info):
            return info.epoch == 2

        def on_train_end(self, info):
            seen.append(info.stopped)

    model = MLPClassifier(batch_size=75, callbacks=Watch(), random_state=0).fit(X, y)
    assert seen == ["begin", (1, 1), (1, 2), (2, 1), (2, 2), "callback"]
    assert (model.n_iter_, model.run_.stopped) == (2, "callback")


def test_weights_that_are_set_are_predicted_with():
    model = MLPClassifier(max_iter=1, random_state=0).fit(X, y)
    model.coefs_ = [np.zeros_like(W) for W in model.coefs_]
    model.intercepts_ = [model.intercepts_[0] * 0, np.array([0.0, 9.0, 0.0])]
    assert set(model.predict(X)) == {1}


def test_one_array_that_is_replaced_is_predicted_with_as_in_scikit_learn():
    """In its place in the list, or in the array itself; the list is one of arrays alone where it is copied."""
    found = []
    for kind in (MLPClassifier, theirs.MLPClassifier):
        model = kind((6,), max_iter=3, random_state=0).fit(X, y)
        model.coefs_[0] = np.abs(model.coefs_[0])
        model.coefs_[1][:2] = 0
        model.intercepts_[-1] = np.array([0.0, 0.5, -0.5])
        copied = pickle.loads(pickle.dumps(model.coefs_))
        assert type(copied) is list and np.array_equal(copied[0], model.coefs_[0]) and (copied[0] >= 0).all()
        found.append(model.predict_proba(X))
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_labels_of_a_sparse_matrix_are_predicted_as_one():
    """As scikit-learn's classifier does; with the same numbers as for an array."""
    labels = np.eye(3, dtype=int)[y]
    for kind in (MLPClassifier, theirs.MLPClassifier):
        model = kind((6,), max_iter=20, learning_rate_init=0.05, random_state=0)
        plain, found = model.fit(X, labels).predict(X), model.fit(X, csr_matrix(labels)).predict(X)
        assert isinstance(found, csr_matrix) and isinstance(plain, np.ndarray) and plain.any()
        np.testing.assert_array_equal(found.toarray(), plain)
        assert model.score(X, csr_matrix(labels)) == model.score(X, labels)


# ---- scikit-learn's tools -----------------------------------------------------------------------


def test_it_works_in_scikit_learns_tools():
    model = MLPClassifier([8], max_iter=30, learning_rate_init=0.02, random_state=0, n_threads=1)
    assert cross_val_score(make_pipeline(StandardScaler(), model), *IRIS, cv=2).min() > 0.8
    assert CalibratedClassifierCV(model, cv=2).fit(X, y).score(X, y) > 0.8
    assert permutation_importance(model.fit(X, y), X, y, n_repeats=2, random_state=0).importances_mean.max() > 0.1
    values = TransformedTargetRegressor(
        MLPRegressor(layers=[8], solver="lbfgs", random_state=0), func=np.log, inverse_func=np.exp
    )
    assert values.fit(V, v).score(V, v) > 0.3


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_search_in_parallel_finds_what_one_alone_finds(backend):
    import joblib

    model = MLPClassifier([8], max_iter=10, learning_rate_init=0.02, random_state=0, n_threads=1)
    alone = GridSearchCV(model, {"alpha": [1e-4, 1.0]}, cv=2).fit(X, y)
    with joblib.parallel_config(backend):
        parallel = GridSearchCV(model, {"alpha": [1e-4, 1.0]}, cv=2, n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(alone.cv_results_["mean_test_score"], parallel.cv_results_["mean_test_score"])


# ---- what goes wrong ----------------------------------------------------------------------------


def test_a_fit_that_diverges_says_where_and_what_to_try():
    with pytest.raises(FitDiverged, match=r"epoch \d+, step \d+.*Try a learning rate below 1e\+08") as caught:
        MLPRegressor(solver="sgd", learning_rate_init=1e8, random_state=0).fit(V * 1e3, v)
    assert isinstance(caught.value, ValueError)
    assert caught.value.run.stopped == "diverged"


def test_a_fit_that_does_not_settle_warns():
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        MLPClassifier(max_iter=2).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MLPClassifier(max_iter=50, tol=1.0).fit(X, y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": -1}, "MLPClassifier: alpha must be 0 or more, got -1"),
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes must be > 0"),
        ({"solver": "adamm"}, "there is no solver 'adamm'"),
        ({"activation": ["relu"], "layers": [3, 3]}, "activation has 1 entries, but there are 2 hidden layers"),
        ({"layers": [nn.Dense(4, 2)]}, r"layers gives \(m, 2\), but the targets need \(m, 3\)"),
        ({"layers": [nn.Dense(4, 3)], "dropout": 0.5}, "layers is a model, so dropout has no place"),
        ({"loss": "huber"}, "huber is no loss of classes"),
        ({"loss": "hinge"}, "hinge knows two classes"),
        ({"monitor": "validation_loss"}, "nothing is held out"),
        ({"solver": "lbfgs", "dropout": 0.5}, "lbfgs needs a loss without chance"),
        ({"norm": "batchh"}, "norm is 'batchh'"),
        ({"clip": 1.0}, "clip is 1.0"),
        ({"max_iter": 0}, "max_iter must be a whole number of 1 or more, got 0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings, message):
    with pytest.raises(ArgumentError, match=message):
        MLPClassifier(**settings).fit(X, y)


def test_poisson_takes_counts_alone():
    with pytest.raises(ValueError, match=r"poisson: y holds -1\.0, but counts are 0 or more"):
        MLPRegressor("poisson").fit(V, -np.ones(len(v)))


def test_remedies_of_a_fit_can_be_tried():
    """The run of a fit tells the size of its batches as a number, also where it was left to choose."""
    X = np.random.default_rng(0).normal(size=(80, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = MLPRegressor(hidden_layer_sizes=(8,), max_iter=20, flow=True, random_state=0).fit(X, 1e4 * X[:, 0] + 5e4)
    assert net.run_.settings["batch_size"] == 80
    assert "target-not-scaled" in {finding.kind for finding in net.run_.findings}
    assert net.run_.try_remedies(X, 1e4 * X[:, 0] + 5e4, epochs=2, progress=False).best.gain > 0.3


@pytest.mark.parametrize("activation", ["relu", "logistic", "identity"])
@pytest.mark.parametrize("widths", [(), []])
def test_without_a_hidden_layer_they_are_linear_as_scikit_learns(activation, widths):
    settings = {"hidden_layer_sizes": widths, "activation": activation, "max_iter": 15, "random_state": 3}
    for kind, data in (("MLPClassifier", (X, y)), ("MLPRegressor", (V, v))):
        mine, other = (getattr(module, kind)(**settings).fit(*data) for module in (ours, theirs))
        assert [W.shape for W in mine.coefs_] == [W.shape for W in other.coefs_]
        np.testing.assert_allclose(mine.coefs_[0], other.coefs_[0], rtol=1e-9)


@pytest.mark.parametrize("loss", ["gaussian", "mean_squared_logarithmic_error", "poisson"])
def test_a_regressor_predicts_in_the_unit_of_the_target_whatever_its_loss_takes(loss):
    """Where the network gives a logarithm, or two columns for one of the target; further columns are still refused."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (400, 2))
    y = np.exp(X[:, 0] + 1)
    fitted = MLPRegressor(loss=loss, hidden_layer_sizes=(16,), learning_rate_init=0.02, max_iter=150, random_state=0)
    fitted.fit(X, y)
    assert fitted.predict(X).shape == (400,) and fitted.score(X, y) > 0.9
    fitted.partial_fit(X, y)
    with pytest.raises(ValueError, match="y has 2 columns, but the estimator was fitted to 1"):
        fitted.partial_fit(X, np.c_[y, y])
    assert fitted.fit(X, np.c_[y, y + 1]).predict(X).shape == (400, 2)
    if loss != "gaussian":
        with pytest.raises(ValueError, match=f"{loss}: y holds -1"):
            fitted.fit(X, -np.ones(400))
