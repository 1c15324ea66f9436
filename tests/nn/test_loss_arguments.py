"""What losses take: classes, weights of columns, integers, classes that are ruled out; and what they refuse."""

import numpy as np
import pytest

import undertow as ut
from undertow import nn
from undertow.errors import DataError, ShapeError

RNG = np.random.default_rng(3)
Z = RNG.standard_normal((6, 4)) * 2
P_ROWS = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
MANY = (RNG.random((6, 4)) < 0.4).astype(float)  # of several columns, each of which is 0 or 1


def test_wrong_classes_are_refused():
    """A class count, a label or a probability that does not fit is an error that says what would."""
    p = np.full((3, 4), 0.25)
    with pytest.raises(ShapeError, match=r"p is \(3, 4\), y is \(3, 5\)"):
        nn.categorical_cross_entropy(p, np.zeros((3, 5)))
    with pytest.raises(ShapeError, match="one label for each row"):
        nn.categorical_cross_entropy(p, np.array([0, 1]))
    for label in (4, -1):
        with pytest.raises(DataError, match=f"the label {label}, but z has 4 classes, 0 to 3"):
            nn.categorical_cross_entropy_with_logits(p, np.array([0, 1, label]))
    for labels, way in ((np.zeros(3), r"y\.astype\(int\)"), (np.zeros((3, 1), int), r"y\[:, 0\]\.")):
        with pytest.raises(ShapeError, match=rf"Give integer labels of one axis: {way}"):
            nn.categorical_cross_entropy(p, labels)
    with pytest.raises(DataError, match=r"y holds 'cat'\. Number the classes: np\.unique"):
        nn.categorical_cross_entropy(p, np.array(["cat", "dog", "cat"]))
    with pytest.raises(DataError, match=r"y holds 'no'\. Give numbers: .* two classes as 0 and 1"):
        nn.binary_cross_entropy(np.full(2, 0.5), np.array(["no", "yes"]))
    with pytest.raises(DataError, match="y holds numbers as objects"):
        nn.mean_squared_error(np.full(2, 0.5), np.array([1, 2.0], object))
    for name in ("categorical_cross_entropy", "kullback_leibler", "categorical_focal"):  # their values had no bound
        with pytest.raises(DataError, match="y holds -1, but rows are probabilities, of 0 or more"):
            getattr(nn, name)(p, np.where(np.eye(3, 4), 1, -1))
    with pytest.raises(DataError, match=r"y holds 0\.25, but rows are one-hot"):
        nn.categorical_hinge(p, p)
    ignored = r"the label -100, .* that is to be left out has the weight 0"  # PyTorch's ignore_index
    with pytest.raises(DataError, match=ignored):
        nn.categorical_cross_entropy_with_logits(p, np.array([0, 1, -100]))
    with pytest.raises(DataError, match="y holds 2"):
        nn.binary_cross_entropy(np.full(2, 0.5), np.array([0, 2]))
    with pytest.raises(ShapeError, match="a column a class"):
        nn.categorical_cross_entropy(np.full(3, 0.5), np.array([0, 1, 2]))


def test_weights_of_class_1_are_one_for_each_column():
    """An array is told as plain data; a list of another length would broadcast, or fail far from its cause."""
    loss = nn.binary_cross_entropy_with_logits(pos_weight=np.float32([3, 1, 0.5, 2]))
    assert loss.describe()["pos_weight"] == [3.0, 1.0, 0.5, 2.0]
    assert nn.build_loss(loss.describe())(Z, MANY) == loss(Z, MANY)
    assert loss(Z.astype(np.float32), MANY.astype(np.float32)).dtype == np.float32
    for name in ("binary_cross_entropy", "binary_cross_entropy_with_logits"):
        with pytest.raises(ShapeError, match=r"is \(6, 4\), but pos_weight has 1 numbers\. Give one for each column"):
            getattr(nn, name)(P_ROWS, MANY, pos_weight=[2.0])
        with pytest.raises(ShapeError, match=r"is \(6,\), but pos_weight has 4 numbers"):
            getattr(nn, name)(P_ROWS[:, 0], MANY[:, 0], pos_weight=[1.0, 2.0, 3.0, 4.0])


def test_a_class_that_is_ruled_out_has_a_logit_far_below_the_others():
    """The figures of optax's own test of its softmax_cross_entropy for logits of −∞, here of −1e9."""
    z = np.array([[10.0, 1.0, -2.0], [1.0, 4.0, 0.2], [-1e9, 0.0, 0.0], [-1e9, 0.0, -1e9]])
    y = np.array([[0, 1, 0], [1, 0, 0], [0, 0.5, 0.5], [0, 1, 0]])
    found = nn.LOSSES["categorical_cross_entropy_with_logits"].per_example(z, y)
    np.testing.assert_allclose(found, [9.00013, 3.0696733, 0.693147, 0.0], atol=1e-5)
    np.testing.assert_array_equal(ut.grad(nn.categorical_cross_entropy_with_logits)(z, y)[2:, 0], 0)


@pytest.mark.parametrize("name", sorted(nn.LOSSES))
def test_outputs_of_integers_are_numbers(name):
    """Bytes of images, or labels: differences of unsigned integers wrapped around, so that |1 − 2| was 255."""
    p, y = np.array([[1, 0], [0, 1]], np.uint8), np.array([[0, 1], [0, 1]], np.uint8)
    y = y[:, : 2 // nn.LOSSES[name].columns]
    assert getattr(nn, name)(p, y) == getattr(nn, name)(p.astype(float), y.astype(float))


def test_errors_of_bytes_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    p, y = np.array([1, 200], np.uint8), np.array([2, 100], np.uint8)
    assert nn.mean_absolute_error(p, y) == metrics.mean_absolute_error(y, p) == 50.5
    assert nn.mean_squared_error(p, y) == metrics.mean_squared_error(y, p) == 5000.5
    assert nn.quantile(p, y, q=0.9) == pytest.approx(metrics.mean_pinball_loss(y, p, alpha=0.9))
