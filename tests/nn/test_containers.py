"""Containers: how wide they are, which layer a message names, and what they refuse."""

import math

import numpy as np
import pytest

from undertow import nn
from undertow.errors import ArgumentError, ShapeError
from undertow.nn.layer import list_layers, walk_layers, widths


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        (nn.Parallel(nn.Dense(4, 8), nn.Dense(4, 3)), (4, 11)),
        (nn.Parallel(nn.Dense(4, 8), "relu"), (4, 12)),
        (nn.Parallel(nn.Dense(4, 8), nn.Dense(4, 8), combine="add"), (4, 8)),
        (nn.Parallel(nn.tanh, nn.relu), (None, None)),
        (nn.Parallel(nn.tanh, nn.relu, combine="add"), (None, None)),
        (nn.Concat(nn.Dense(4, 8)), (4, 12)),
        (nn.Residual(nn.Dense(4, 8), projection="auto"), (4, 8)),
        (nn.Residual("tanh"), (None, None)),
        (nn.Sequential(nn.Dropout(0.5), nn.BatchNorm(4), "relu"), (4, 4)),
        (nn.Sequential(nn.Dropout(0.5), nn.Scale(), nn.PReLU(), nn.Noise(1.0), nn.Dense(3, 2)), (3, 2)),
        (nn.Sequential(nn.Flatten(), nn.Dense(12, 5)), (None, 5)),
        (nn.Sequential(nn.Dense(2, 12), nn.Reshape((3, 4))), (2, 4)),
        (nn.Sequential(nn.Lambda(np.abs, "size", keeps_width=True), nn.Dense(3, 2)), (3, 2)),
        (nn.Sequential(nn.Lambda(lambda h: h[:, :2], fan_out=2), nn.Dense(2, 1)), (None, 1)),
        (nn.Sequential(nn.EmbedColumns(3, {0: (5, 4)}), nn.Dense(6, 2)), (3, 2)),
        (nn.Sequential(nn.Parallel(nn.Dense(4, 8), nn.Sequential("tanh", nn.Dense(4, 3))), nn.Dense(11, 2)), (4, 2)),
    ],
    ids=repr,
)
def test_widths_of_containers(model, wanted):
    """What a container takes and gives follows from its layers; None where any number will do."""
    assert widths(model) == wanted


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: nn.Sequential(nn.Parallel(nn.Dense(4, 8), nn.Dense(4, 3)), nn.Dense(8, 2)),
            "Sequential: layers 1 to 2, Parallel(Dense(4, 8), Dense(4, 3)), give 11 columns, but layer 3, Dense(8, 2), "
            "takes 8. Make it Dense(11, 2).",
        ),
        (
            lambda: nn.Sequential(
                nn.Dense(4, 6), nn.Dropout(0.5), nn.Parallel("tanh", nn.Sequential("relu", nn.Dense(5, 2)))
            ),
            "Sequential: layer 1, Dense(4, 6), gives 6 columns, but layer 2, Dense(5, 2), takes 5. Make it a "
            "block that takes 6 columns.",
        ),
        (
            lambda: nn.Sequential(nn.Dense(4, 6), nn.BatchNorm(6), nn.Dense(8, 2)),
            "Sequential: layer 2, BatchNorm(6), gives 6 columns, but layer 3, Dense(8, 2), takes 8. "
            "Make it Dense(6, 2).",
        ),
        (
            lambda: nn.Sequential(nn.Residual(nn.Dense(4, 8), "relu", nn.Dense(8, 4)), nn.Dense(8, 2)),
            "layer 2, Dense(8, 4), gives 4 columns, but layer 3, Dense(8, 2), takes 8. Make it Dense(4, 2).",
        ),
        (
            lambda: nn.Sequential(nn.Concat(nn.Dense(4, 8)), nn.Dense(8, 2)),
            "layer 1, Concat(Dense(4, 8)), gives 12 columns, but layer 2, Dense(8, 2), takes 8.",
        ),
        (
            lambda: nn.Parallel(nn.Dense(4, 8), nn.tanh, nn.Dense(5, 8)),
            "Parallel: branch 1, Dense(4, 8), takes 4 columns, but branch 3, Dense(5, 8), takes 5. Let it take 4.",
        ),
        (
            lambda: nn.Parallel(nn.Dense(4, 8), "tanh", combine="add"),
            "Parallel: branch 1, Dense(4, 8), gives 8 columns, but branch 2, tanh, gives 4. Let it give 8, or use "
            'combine="concat".',
        ),
        (lambda: nn.Residual(nn.Dense(8, 4)), 'Let its last layer give 8 columns, or use projection="auto".'),
        (lambda: nn.Residual(nn.Dense(8, 4), projection=nn.Dense(8, 5)), "its projection gives 5 columns and f(x) 4"),
    ],
)
def test_layers_that_do_not_fit_are_named_in_every_container(make, message):
    """The message names both sides by number, and the remedy."""
    with pytest.raises(ShapeError) as caught:
        make()
    assert message in str(caught.value)


def test_errors_number_layers_through_all_containers():
    """Layers that hold parameters count; a projection comes after its block; others are named by what is before."""
    crop = nn.Lambda(lambda h: h[:, :3])
    model = nn.initialize(
        nn.Sequential(
            nn.Parallel(nn.Dense(4, 4), nn.Sequential("tanh", nn.Dense(4, 4)), combine="add"),
            nn.Dropout(0.5),
            nn.Residual(nn.BatchNorm(4), nn.Dense(4, 6), projection="auto"),
            crop,
            nn.Parallel(nn.Concat(nn.LayerNorm(6))),
        )
    )
    assert [repr(x) for x in walk_layers(model)] == [
        "Dense(4, 4)", "Dense(4, 4)", "BatchNorm(4)", "Dense(4, 6)", "Dense(4, 6)", "LayerNorm(6)",
    ]  # fmt: skip
    assert [path for path, _ in list_layers(model)][3:] == [
        "layers[2].layers[1]", "layers[2].projection", "layers[4].layers[0].layers[0]",
    ]  # fmt: skip
    with pytest.raises(
        ShapeError, match=r"^layer 6, LayerNorm\(6\): x is \(2, 3\)\. Give x 6 columns, or use LayerNorm"
    ):
        model(np.ones((2, 4), np.float32))
    wrong = nn.initialize(nn.Sequential(nn.Dense(4, 4), nn.Parallel(nn.Reshape((3, 2)), "tanh")))
    with pytest.raises(
        ShapeError, match=r"^after layer 1, Dense\(4, 4\): Reshape\(shape=\(3, 2\)\): x is \(2, 4\): its"
    ):
        wrong(np.ones((2, 4), np.float32))


@pytest.mark.parametrize(
    ("model", "x", "message"),
    [
        (nn.Residual(lambda h: h[:, :1]), (3, 4), "it adds (3, 4) and (3, 1): the shapes differ"),
        (nn.Parallel(lambda h: h[:2], "tanh"), (3, 4), "only their columns may differ"),
        (nn.Parallel(lambda h: h[:, :1], nn.tanh, combine="add"), (3, 4), "the shapes differ"),
        (nn.Flatten(), (), "Keep the batch axis first"),
        (nn.EmbedColumns(3, {0: (2, 1)}), (3,), "Give x a batch axis"),
        (nn.Reshape((4, -1)), (3, 6), "6 numbers, not a multiple of 4"),
    ],
)
def test_values_that_do_not_fit_together_are_an_error_not_a_broadcast(model, x, message):
    """NumPy would broadcast or complain from the inside; the layer says what is wrong."""
    with pytest.raises(ShapeError) as caught:
        nn.initialize(model)(np.zeros(x, np.float32))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Dropout(1.0), r"Dropout\(rate=1.0\): rate is 1.0. Give a number from 0 to below 1"),
        (lambda: nn.Dropout(-0.1), "from 0 to below 1"),
        (lambda: nn.Dropout("0.5"), "from 0 to below 1"),
        (lambda: nn.Dropout(math.nan), "from 0 to below 1"),
        (lambda: nn.Noise(-1), "0 or more"),
        (lambda: nn.BatchNorm(0), "whole number of 1 or more"),
        (lambda: nn.BatchNorm(3, momentum=1.5), "from 0 to 1"),
        (lambda: nn.LayerNorm(3, epsilon=-1), "0 or more"),
        (lambda: nn.RMSNorm(2.0), "whole number"),
        (lambda: nn.Scale(0), "whole number"),
        (lambda: nn.Scale(start=math.inf), "Give a number"),
        (lambda: nn.Embedding(3, 0), "whole numbers"),
        (lambda: nn.EmbedColumns(3, {}), "columns must be like"),
        (lambda: nn.EmbedColumns(3, {3: (2, 2)}), "column 3 is not one of 0 to 2"),
        (lambda: nn.EmbedColumns(3, {1: 4}), "columns must be like"),
        (lambda: nn.EmbedColumns(3, [(1, 2, 2), (1, 3, 3)]), "stands there twice"),
        (lambda: nn.EmbedColumns(3, {1: (2, 2)}, embeddings=(nn.Embedding(9, 9),)), "not those of its columns"),
        (lambda: nn.Reshape((2, 0)), "sizes of 1 or more"),
        (lambda: nn.Reshape((-1, -1)), "of which one may be -1"),
        (lambda: nn.Reshape("ab"), "sizes of 1 or more"),
        (lambda: nn.Parallel(), "no branches"),
        (lambda: nn.Parallel("tanh", combine="sum"), "Give 'concat' or 'add'"),
        (lambda: nn.Residual(nn.tanh, projection="auto"), "needs to know how many columns"),
        (lambda: nn.Residual(nn.tanh, scale="big"), "scale is 'big'"),
        (lambda: nn.Residual(nn.tanh, projection=3), "is no layer"),
        (lambda: nn.Lambda(3), "is no function"),
        (lambda: nn.BatchNorm(3)(np.ones((2, 3))), "no gain yet"),
        (lambda: nn.Embedding(3, 2)(np.ones(2)), "no weights yet"),
    ],
)
def test_wrong_arguments_of_layers_are_refused(make, message):
    """Each is an ArgumentError that says which."""
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize(
    "block",
    [
        (nn.Dense(400, 300), nn.BatchNorm(300), nn.Dropout(0.5), "relu"),
        (nn.Dense(400, 300), nn.PReLU()),
        (nn.Sequential(nn.Dense(400, 300)), nn.Sequential(nn.LayerNorm(300), "relu")),
        (nn.Parallel(nn.Dense(400, 300), "identity", combine="concat"), "relu"),
    ],
)
def test_weights_before_relu_are_he_normal_whatever_lies_between(block):
    """The activation that decides is the next one that the value meets."""
    model = nn.initialize(nn.Sequential(*block))
    dense = next(iter(walk_layers(model)))
    assert np.var(dense.W, dtype=np.float64) == pytest.approx(2 / 400, rel=0.03)
