"""Metrics give what scikit-learn gives, whole or in chunks, and what can be counted by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.errors import ArgumentError, DataError, ShapeError
from undertow.train.metric import Predictions, find_task, make_predictions
from undertow.train.metrics import METRICS, find_direction, find_metric, measure, own_metric, read_metrics
from undertow.train.metrics_labels import AVERAGES, f1, precision, recall, top_k_accuracy
from undertow.train.metrics_scores import expected_calibration_error

SCORED = ("binary", "categorical", "multilabel", "regression")


def example(task, seed=0, m=157, K=4, weighted=True, coarse=True):
    """Predictions with ties, a weight of 0 and every class."""
    rng = np.random.default_rng(seed)
    w = rng.integers(0, 4, m) / 3 if weighted else None
    shape = (m,) if task == "binary" else (m, K)
    z = rng.standard_normal(shape) * 2
    if coarse:
        z = np.round(z * 4) / 4  # ties
    if task == "regression":
        return make_predictions(task, z, 1e3 + z + rng.standard_normal(shape), w)
    y = rng.integers(0, K, m) if task == "categorical" else rng.integers(0, 2, shape)
    return make_predictions(task, z, y, w)


def sklearn_metrics():
    return pytest.importorskip("sklearn.metrics")


def same(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


# Against scikit-learn


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", ["binary", "categorical", "multilabel"])
@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_precision_recall_and_f1_are_those_of_scikit_learn(name, task, weighted):
    score = getattr(sklearn_metrics(), f"{name}_score")
    data = example(task, weighted=weighted)
    for average in AVERAGES:
        if average == "binary" and task != "binary":
            continue
        wanted = score(data.targets, data.labels, average=average, sample_weight=data.weights, zero_division=0)
        same(find_metric(f"{name}_{average}")(data), wanted)
    wanted = score(
        data.targets,
        data.labels,
        average="binary" if task == "binary" else "macro",
        sample_weight=data.weights,
        zero_division=0,
    )
    same(find_metric(name)(data), wanted)


@pytest.mark.parametrize(
    ("y", "labels"), [([0, 0, 0], [0, 0, 0]), ([0, 0, 0], [1, 1, 1]), ([1, 1], [0, 0]), ([0, 1], [0, 1])]
)
@pytest.mark.parametrize("average", AVERAGES)
def test_undefined_scores_are_0_as_in_scikit_learn(y, labels, average):
    """No positive targets, no positive labels, or neither; classes that did not come up are left out of means."""
    metrics = sklearn_metrics()
    data = Predictions("binary", np.array(y), labels=np.array(labels))
    for make in (precision, recall, f1):
        score = getattr(metrics, f"{make.__name__}_score")
        same(make(average)(data), score(y, labels, average=average, zero_division=0))
        if average != "binary":
            categorical = Predictions("categorical", 2 * np.array(y), labels=2 * np.array(labels))
            same(make(average)(categorical), score(y, labels, average=average, zero_division=0))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", ["binary", "categorical"])
def test_other_scores_of_classes_are_those_of_scikit_learn(task, weighted):
    metrics, data = sklearn_metrics(), example(task, weighted=weighted)
    w, y, p = data.weights, data.targets, data.probabilities
    same(METRICS["accuracy"](data), metrics.accuracy_score(y, data.labels, sample_weight=w))
    same(METRICS["balanced_accuracy"](data), metrics.balanced_accuracy_score(y, data.labels, sample_weight=w))
    same(METRICS["confusion_matrix"](data), metrics.confusion_matrix(y, data.labels, sample_weight=w))
    same(METRICS["matthews_correlation"](data), metrics.matthews_corrcoef(y, data.labels, sample_weight=w))
    same(METRICS["log_loss"](data), metrics.log_loss(y, p, sample_weight=w))
    same(METRICS["auc"](data), metrics.roc_auc_score(y, p, multi_class="ovr", sample_weight=w))
    same(METRICS["average_precision"](data), metrics.average_precision_score(y, p, sample_weight=w))
    same(METRICS["brier_score"](data), metrics.brier_score_loss(y, p, sample_weight=w))


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_of_several_labels_are_those_of_scikit_learn(weighted):
    metrics, data = sklearn_metrics(), example("multilabel", weighted=weighted)
    w, y = data.weights, data.targets
    same(METRICS["subset_accuracy"](data), metrics.accuracy_score(y, data.labels, sample_weight=w))
    same(METRICS["accuracy"](data), 1 - metrics.hamming_loss(y, data.labels, sample_weight=w))
    found = METRICS["confusion_matrix"](data)
    same(found, metrics.multilabel_confusion_matrix(y, data.labels, sample_weight=w))
    same(METRICS["auc"](data), metrics.roc_auc_score(y, data.probabilities, sample_weight=w))
    wanted = metrics.average_precision_score(y, data.probabilities, sample_weight=w)
    same(METRICS["average_precision"](data), wanted)


@pytest.mark.parametrize("k", [1, 2, 3, 9])
def test_top_k_accuracy_is_that_of_scikit_learn_where_there_are_no_ties(k):
    data = example("categorical", coarse=False)
    wanted = sklearn_metrics().top_k_accuracy_score(
        data.targets, data.probabilities, k=k, sample_weight=data.weights, labels=range(4)
    )
    same(top_k_accuracy(k)(data), wanted)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("K", [1, 3])
def test_scores_of_values_are_those_of_scikit_learn(K, weighted):
    metrics, data = sklearn_metrics(), example("regression", K=K, weighted=weighted)
    for name, score in {
        "r2": metrics.r2_score,
        "explained_variance": metrics.explained_variance_score,
        "mean_absolute_error": metrics.mean_absolute_error,
        "mean_squared_error": metrics.mean_squared_error,
        "root_mean_squared_error": metrics.root_mean_squared_error,
        "mean_absolute_percentage_error": metrics.mean_absolute_percentage_error,
    }.items():
        same(METRICS[name](data), score(data.targets, data.values, sample_weight=data.weights))


@pytest.mark.parametrize(("y", "values"), [([2.0, 2.0], [2.0, 2.0]), ([2.0, 2.0], [2.0, 3.0])])
def test_a_constant_target_is_explained_as_in_scikit_learn(y, values):
    metrics, data = sklearn_metrics(), make_predictions("regression", values, y)
    same(METRICS["r2"](data), metrics.r2_score(y, values))
    same(METRICS["explained_variance"](data), metrics.explained_variance_score(y, values))


@pytest.mark.parametrize(
    ("y", "labels"),
    [([0, 0, 0], [0, 0, 0]), ([0, 0, 1], [1, 1, 1]), ([1, 1], [0, 0]), ([0, 1], [0, 1]), ([0, 1, 2], [1, 2, 0])],
)
@pytest.mark.parametrize("w", [None, 0.1])
def test_correlations_of_one_class_are_0_as_in_scikit_learn(y, labels, w):
    """Also where the weights are no whole numbers, whose sums are rounded."""
    weights = None if w is None else w * np.arange(1.0, len(y) + 1)
    data = Predictions("categorical", np.array(y), labels=np.array(labels), weights=weights)
    same(find_metric("mcc")(data), sklearn_metrics().matthews_corrcoef(y, labels, sample_weight=weights))


def test_relative_errors_are_those_of_scikit_learns_pages():
    """The figures that its documentation gives, and a target of 0."""
    mape = find_metric("mape")
    assert mape(make_predictions("regression", [2.5, 0.0, 2, 8], [3, -0.5, 2, 7])) == pytest.approx(0.3273, abs=1e-4)
    rows = make_predictions("regression", [[0, 2], [-1, 2], [8, -5]], [[0.5, 1], [-1, 1], [7, -6]])
    assert mape(rows) == pytest.approx(0.5515, abs=1e-4)
    assert mape(make_predictions("regression", [0.9, 15, 1.2e6], [1.0, 10, 1e6])) == pytest.approx(0.2666, abs=1e-4)
    zero = make_predictions("regression", [0.5, 2.0], [0.0, 1.0])
    same(mape(zero), sklearn_metrics().mean_absolute_percentage_error([0.0, 1.0], [0.5, 2.0]))
    signs = Predictions("binary", np.array([1, 1, 1, 0]), labels=np.array([1, 0, 1, 1]))
    assert find_metric("mcc")(signs) == pytest.approx(-0.33, abs=5e-3)


def test_rows_of_weight_0_are_rows_to_r2_as_in_scikit_learn():
    y, values = np.array([1.0, 2.0]), np.array([1.0, 5.0])
    for w in ([1, 0], [0, 1]):
        wanted = sklearn_metrics().r2_score(y, values, sample_weight=w)
        same(METRICS["r2"](make_predictions("regression", values, y, w)), wanted)
    assert math.isnan(METRICS["r2"](make_predictions("regression", values[:1], y[:1])))


def test_the_calibration_error_is_that_of_the_reliability_curve():
    """In a binary task the bins are those of scikit-learn's calibration_curve."""
    calibration = pytest.importorskip("sklearn.calibration")
    data = example("binary", weighted=False, m=1000)
    rate, confidence = calibration.calibration_curve(data.targets, data.probabilities, n_bins=15)
    edges = np.linspace(0, 1, 16)
    counts = np.histogram(-data.probabilities, bins=-edges[::-1])[0][::-1]  # closed on the right
    wanted = np.sum(counts[counts > 0] * np.abs(rate - confidence)) / 1000
    same(METRICS["expected_calibration_error"](data), wanted)


# By hand


def test_areas_with_ties_are_counted_by_pairs():
    """The area under the ROC curve is the share of pairs in the right order, a tie counting a half."""
    for task in ("binary", "multilabel", "categorical"):
        data = example(task, seed=3, m=60)
        columns = data.probabilities.reshape(60, -1)
        if task == "categorical":
            y = data.targets[:, None] == np.arange(4)
        else:
            y = data.targets.reshape(60, -1).astype(bool)
        areas = []
        for k in range(columns.shape[1]):
            p, t, w = columns[:, k], y[:, k], data.weights
            pairs = np.outer(w[t], w[~t])
            order = np.sign(p[t][:, None] - p[~t]) / 2 + 0.5
            areas.append((pairs * order).sum() / pairs.sum())
        same(METRICS["auc"](data), np.mean(areas))


def test_figures_counted_by_hand():
    """Four true positives, one false positive, two false negatives, three true negatives."""
    y = np.array([1] * 4 + [0] + [1] * 2 + [0] * 3)
    labels = np.array([1] * 5 + [0] * 5)
    data = Predictions("binary", y, labels=labels, probabilities=np.where(labels == 1, 0.75, 0.25))
    assert METRICS["confusion_matrix"](data).tolist() == [[3, 1], [2, 4]]
    assert METRICS["accuracy"](data) == 0.7
    assert METRICS["precision"](data) == 4 / 5 and METRICS["recall"](data) == 4 / 6
    same(METRICS["f1"](data), 8 / 11)
    same(METRICS["precision_macro"](data), (4 / 5 + 3 / 5) / 2)
    same(METRICS["recall_weighted"](data), 0.7)
    same(METRICS["auc"](data), (4 * 3 + 0.5 * (4 * 1 + 2 * 3)) / 24)
    same(METRICS["average_precision"](data), 4 / 6 * 4 / 5 + 2 / 6 * 6 / 10)
    same(METRICS["brier_score"](data), (7 * 0.0625 + 3 * 0.5625) / 10)
    same(METRICS["log_loss"](data), -(7 * math.log(0.75) + 3 * math.log(0.25)) / 10)
    same(expected_calibration_error(2)(data), 0.5 * abs(0.8 - 0.75) + 0.5 * abs(0.4 - 0.25))


def test_values_counted_by_hand():
    data = make_predictions("regression", [1.0, 2.0, 6.0], [1.0, 3.0, 5.0])
    assert METRICS["mean_absolute_error"](data) == pytest.approx(2 / 3, rel=1e-15)
    assert METRICS["root_mean_squared_error"](data) == pytest.approx(math.sqrt(2 / 3), rel=1e-15)
    assert METRICS["r2"](data) == pytest.approx(1 - 2 / 8, rel=1e-15)


def test_confidence_of_several_classes_is_that_of_the_likeliest():
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.7, 0.2], [0.3, 0.3, 0.4]])
    data = make_predictions("categorical", p, [0, 2, 2], logits=False)
    same(expected_calibration_error(10)(data), (2 * abs(0.5 - 0.7) + abs(1 - 0.4)) / 3)


def test_of_equal_outputs_the_first_class_is_decided_for():
    """Also in top-1 accuracy, which is therefore the accuracy, of a network that gives the same for all."""
    data = make_predictions("categorical", np.zeros((4, 3)), [0, 1, 2, 0])
    assert METRICS["accuracy"](data) == top_k_accuracy(1)(data) == 0.5
    assert top_k_accuracy(2)(data) == 0.75


def test_logits_rank_where_probabilities_have_become_1():
    """sigmoid(40) and sigmoid(50) are both 1; the order of the logits is known all the same."""
    assert METRICS["auc"](make_predictions("binary", [50.0, 40.0], [1, 0])) == 1
    p = np.ones(2)
    assert METRICS["auc"](make_predictions("binary", p, [1, 0], logits=False)) == 0.5


def test_a_spread_far_from_0_keeps_its_digits():
    """R² of targets around 1e8 with a spread of 1: Σ y² − m ȳ² would have no digit left."""
    rng = np.random.default_rng(0)
    y = rng.standard_normal(1000)
    e = rng.standard_normal(1000) / 2
    data = make_predictions("regression", 1e8 + y + e, 1e8 + y)
    exact = make_predictions("regression", y + e, y)
    state = METRICS["r2"].init()
    for chunk in data.chunks(64):
        state = METRICS["r2"].add(state, chunk)
    np.testing.assert_allclose(METRICS["r2"].result(state), METRICS["r2"](exact), rtol=1e-6)


def test_soft_targets():
    """Rows of probabilities as targets: the loss is the cross-entropy, the label is the likeliest."""
    y = np.array([[0.75, 0.25], [0.5, 0.5]])
    p = np.array([[0.5, 0.5], [0.9, 0.1]])
    data = make_predictions("categorical", p, y, logits=False)
    same(METRICS["log_loss"](data), -np.mean(np.sum(y * np.log(p), axis=1)))
    same(METRICS["brier_score"](data), np.mean(np.sum((y - p) ** 2, axis=1)))
    assert METRICS["accuracy"](data) == 1


# Chunks and weights


def own_score(y, prediction, sample_weight):
    return np.sum(sample_weight * (y - prediction).reshape(len(y), -1).T)


@pytest.mark.parametrize("task", SCORED)
@settings(max_examples=25)
@given(seed=st.integers(0, 999), size=st.integers(1, 40), m=st.integers(1, 60))
def test_chunks_give_what_the_whole_gives(task, seed, size, m):
    data = example(task, seed, m)
    metrics = [metric for metric in METRICS.values() if task in metric.tasks]
    for metric in [*metrics, own_metric(own_score)]:
        state = metric.init()
        for chunk in data.chunks(size):
            state = metric.add(state, chunk)
        np.testing.assert_allclose(metric.result(state), metric(data), rtol=1e-12, atol=1e-12, err_msg=metric.name)


@pytest.mark.parametrize("task", SCORED)
@settings(max_examples=25)
@given(seed=st.integers(0, 999))
def test_a_weight_counts_how_often_an_example_is_there(task, seed):
    """Whole weights give what repeated examples give; a weight of 0 leaves an example out."""
    rng = np.random.default_rng(seed)
    data = example(task, seed, 40, weighted=False)
    times = rng.integers(0, 3, 40)
    times[:4] = 1
    rows = np.repeat(np.arange(40), times)
    weighted = make_predictions(task, data.values, data.targets, times)
    repeated = make_predictions(task, data.values[rows], data.targets[rows])
    kept = set(np.unique(data.targets[rows])) | set(() if data.labels is None else np.unique(data.labels[rows]))
    everywhere = set(np.unique(data.targets)) | set(() if data.labels is None else np.unique(data.labels))
    for metric in METRICS.values():
        if task in metric.tasks and (task in ("regression", "multilabel") or kept == everywhere):
            np.testing.assert_allclose(metric(weighted), metric(repeated), rtol=1e-11, atol=1e-11, err_msg=metric.name)


def test_no_data_give_nan():
    """No examples, weights that are all 0, and areas of a single class are not determined."""
    for name, metric in METRICS.items():
        if name != "confusion_matrix":
            assert math.isnan(metric.result(metric.init())), name
            task = metric.tasks[0]
            data = example(task)
            nothing = make_predictions(task, data.values, data.targets, np.zeros(157))
            assert math.isnan(metric(nothing)), name
    assert math.isnan(METRICS["auc"](make_predictions("binary", [1.0, 2.0], [1, 1])))
    assert METRICS["average_precision"](make_predictions("binary", [1.0, 2.0], [0, 0])) == 0


def test_outputs_that_are_nan_give_nan():
    """Where outputs are ranked or averaged; in top-k accuracy the example counts as wrong."""
    data = make_predictions("categorical", [[np.nan, np.nan], [0.0, 1.0]], [0, 1])
    assert math.isnan(METRICS["auc"](data)) and math.isnan(METRICS["log_loss"](data))
    assert top_k_accuracy(1)(data) == 0.5
    assert math.isnan(METRICS["r2"](make_predictions("regression", [np.nan, 1.0], [0.0, 1.0])))


# Names, tasks, functions


def test_names_find_metrics_and_their_direction():
    assert find_metric("rmse").name == "rmse" and find_metric("top_7_accuracy").name == "top_7_accuracy"
    directions = {
        "loss": "low", "validation_loss": "low", "validation_auc": "high", "rmse": "low", "validation_ece": "low",
        "top_2_accuracy": "high", "r2": "high", "seconds": None, "confusion_matrix": None,
    }  # fmt: skip
    assert {name: find_direction(name) for name in directions} == directions
    assert find_direction("validation_cost", [own_metric(own_score_of_two, "cost", "low")]) == "low"
    assert [find_task("binary", shape) for shape in ((), (1,), (2,))] == ["binary", "binary", "multilabel"]
    assert find_task("categorical", (3,)) == "categorical"


def own_score_of_two(y, prediction):
    return np.mean(y == prediction)


def test_functions_are_metrics():
    """A function gets labels where there are classes, values elsewhere, and weights if it takes them."""
    data = example("categorical")
    (metric,) = read_metrics(own_score_of_two, "categorical")
    assert metric.name == "own_score_of_two"
    unweighted = example("categorical", weighted=False)
    same(metric(unweighted), METRICS["accuracy"](unweighted))
    (wrong,) = read_metrics({"scores": lambda y, p: np.mean(np.argmax(p, axis=1) == y)}, "categorical")
    with pytest.raises(ArgumentError, match=r"scores ended with AxisError: .* \(y, prediction\), .* both labels of cl"):
        wrong(unweighted)
    with pytest.raises(ArgumentError, match="takes no sample_weight"):
        metric(data)
    found = measure(read_metrics({"bias": lambda y, p: np.mean(y - p)}, "own"), make_predictions("own", [1.0], [3.0]))
    assert found == {"bias": 2.0}


@pytest.mark.parametrize(
    ("metrics", "task", "message"),
    [
        ("acuracy", "binary", "Did you mean 'accuracy'"),
        ("r2", "binary", "r2 goes with regression and own tasks, but this one is binary"),
        ("auc", "regression", "auc goes with binary, categorical and multilabel tasks, but this one is regression"),
        ("precision_binary", "categorical", "goes with binary tasks"),
        ("top_0_accuracy", "categorical", "there is no metric 'top_0_accuracy'"),
        ("confusion_matrix", "binary", "a table"),
        (["f1", "f1"], "binary", "two metrics are named 'f1'"),
        (lambda y, p: 0, "binary", "a lambda, which has no name"),
        ({"loss": own_score_of_two}, "binary", "a column of its own"),
        (lambda y: 0, "binary", "lambda"),
        (3, "binary", "metrics is 3"),
        ([3], "binary", "a metric is 3"),
    ],
)
def test_metrics_that_do_not_fit_are_refused(metrics, task, message):
    with pytest.raises(ArgumentError, match=message):
        read_metrics(metrics, task)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("binray", [0.0], [0]), ArgumentError, "there is no task 'binray'"),
        (("binary", [0.0, 1.0], [0]), ShapeError, "not of the same examples"),
        (("binary", [[0.0, 1.0]], [0]), ShapeError, r"wants \(1,\) of both"),
        (("categorical", [[0.0, 1.0]], [2]), DataError, r"y\[0\] is 2, but the outputs are of the classes 0 to 1"),
        (("categorical", [0.0, 1.0], [0, 1]), ShapeError, "outputs \\(m, K\\)"),
        (("regression", [[0.0, 1.0]], [2.0]), ShapeError, "a regression task wants"),
        (("binary", [0.0], [0], [1.0, 2.0]), ShapeError, "one weight an example"),
        (("binary", [0.0, 1.0], [0, 1], [1.0, -1.0]), DataError, r"weights\[1\] is -1.0"),
    ],
)
def test_data_that_do_not_fit_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        make_predictions(*arguments)


def test_other_arguments_are_checked():
    for make, value in ((top_k_accuracy, 0), (top_k_accuracy, 1.5), (expected_calibration_error, True)):
        with pytest.raises(ArgumentError, match="whole number of 1 or more"):
            make(value)
    with pytest.raises(ArgumentError, match="no average 'mean'"):
        f1("mean")
    with pytest.raises(ArgumentError, match="better is 'up'"):
        own_metric(own_score_of_two, better="up")
    with pytest.raises(ArgumentError, match="gave an array of shape"):
        own_metric(lambda y, p: np.zeros(2), "two")(example("binary", weighted=False))
    with pytest.raises(ArgumentError, match="hold no labels"):
        METRICS["accuracy"](Predictions("binary", np.array([0])))
    with pytest.raises(ShapeError, match="they differ"):
        METRICS["r2"](make_predictions("own", [[1.0, 2.0]], [1.0]))


def test_a_lambda_stands_in_a_dict_beside_names():
    """As the error for a lambda without one says."""
    half = {"half": lambda y, p: float(np.mean(y == p)) / 2}
    accuracy, halved = read_metrics(["accuracy", half], "binary")
    found = make_predictions("binary", np.array([0.9, 0.2, 0.7]), np.array([1, 0, 0]), None, logits=False)
    assert (accuracy.name, halved.name) == ("accuracy", "half")
    assert halved(found) == accuracy(found) / 2 == pytest.approx(1 / 3)
    with pytest.raises(ArgumentError, match="two metrics are named 'half'"):
        read_metrics([half, half], "binary")
