"""A forecast tells networks that learn from those that do not, and theory agrees with what is measured."""

import functools
import io
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import undertow as ut
from undertow import nn
from undertow.errors import ArgumentError, DataError, ShapeError
from undertow.flow.findings import Finding
from undertow.flow.forecast import forecast
from undertow.flow.verdicts import compared, scientific
from undertow.nn import Dense, Dropout, LayerNorm, Parallel, Residual, Sequential

ELEMENTWISE = [name for name in nn.ACTIVATIONS if name not in ("softmax", "log_softmax")]
X = np.random.default_rng(0).standard_normal((300, 64))


def plain(depth, activation, init="auto", width=64, into=64, out=10):
    sizes = [into, *[width] * (depth - 1)]
    hidden = [x for a, b in itertools.pairwise(sizes) for x in (Dense(a, b, init=init), activation)]
    return Sequential(*hidden, Dense(width, out, init=init))


def blocks(depth, block, width=32):
    return Sequential(Dense(64, width), *[item for _ in range(depth - 2) for item in block()], Dense(width, 10))


def normalised(depth, norm, activation="relu", width=64):
    hidden = [item for _ in range(depth - 1) for item in (Dense(64, width), norm(width), activation)]
    return Sequential(*hidden, Dense(width, 10))


HEALTHY = {
    "He's weights and relu, 30 deep": lambda: plain(30, "relu"),
    "Glorot's weights and tanh, 10 deep": lambda: plain(10, "tanh"),
    "orthogonal weights and tanh, 30 deep": lambda: plain(30, "tanh", init="orthogonal"),
    "orthogonal weights and tanh, 100 deep": lambda: plain(100, "tanh", init="orthogonal", width=32),
    "LeCun's weights and selu, 30 deep": lambda: plain(30, "selu", init="lecun_normal"),
    "residual blocks with LayerNorm, 100 deep": lambda: blocks(
        100, lambda: [Residual(LayerNorm(32), Dense(32, 32), "tanh")]
    ),
    "residual blocks of two layers, 30 deep": lambda: blocks(
        30, lambda: [Residual(LayerNorm(32), Dense(32, 32), "relu", Dense(32, 32))]
    ),
    "scaled residual blocks, 50 deep": lambda: blocks(50, lambda: [Residual(Dense(32, 32), "tanh", scale=0.1)]),
    "ReZero, 20 deep": lambda: blocks(20, lambda: [Residual(Dense(32, 32), "relu", nn.Scale(start=0.0))]),
    "LayerNorm, 20 deep": lambda: normalised(20, LayerNorm),
    "BatchNorm, 10 deep": lambda: normalised(10, nn.BatchNorm),
    "a last layer of zeros": lambda: Sequential(Dense(64, 32), "relu", Dense(32, 10, init="zeros")),
    "dropout": lambda: Sequential(Dense(64, 64), "relu", Dropout(0.5), Dense(64, 10)),
    "a single layer": lambda: Dense(64, 10),
    "very wide, then narrow": lambda: Sequential(Dense(64, 1024), "relu", Dense(1024, 2), "tanh", Dense(2, 1)),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_networks_raise_no_alarm(name):
    found = forecast(HEALTHY[name](), X)
    assert found.fine, found.verdicts[0].sentence
    assert found.findings == []


@pytest.mark.parametrize("activation", ELEMENTWISE)
def test_five_layers_of_any_activation_raise_no_alarm(activation):
    for depth, width in ((2, 8), (5, 32)):
        found = forecast(plain(depth, activation, width=width), X)
        assert found.fine, found.verdicts[0].sentence


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_scale_of_the_inputs_is_no_matter_of_depth(scale):
    for model in (plain(6, "relu"), normalised(6, nn.BatchNorm), normalised(6, LayerNorm)):
        assert forecast(model, X * scale).fine


BROKEN = {
    "sigmoid, 30 deep": (lambda: plain(30, "sigmoid"), "vanishes", "error"),
    "sigmoid, 100 deep": (lambda: plain(100, "sigmoid"), "vanishes", "error"),
    "sigmoid, 8 deep": (lambda: plain(8, "sigmoid"), "vanishes", "warning"),
    "Xavier's weights and relu, 30 deep": (lambda: plain(30, "relu", init="glorot_normal"), "vanishes", "warning"),
    "U(±1/√n) and tanh, 30 deep": (
        lambda: plain(30, "tanh", init=nn.uniform(limit=1 / 8)), "vanishes", "error",
    ),
    "large weights and relu, 10 deep": (lambda: plain(10, "relu", init=nn.normal(deviation=0.5)), "explodes", "error"),
    "chaotic tanh, 30 deep": (lambda: plain(30, "tanh", init=nn.lecun_normal(gain=3.0)), "explodes", "error"),
    "sums of relu, 50 deep": (lambda: blocks(50, lambda: [Residual(Dense(32, 32), "relu")]), "explodes", "error"),
    "BatchNorm and relu, 45 deep": (lambda: normalised(45, nn.BatchNorm), "explodes", "error"),
    "dead relu": (
        lambda: Sequential(Dense(64, 32), "relu", Dense(32, 8, b=np.full(8, -50.0, np.float32)), "relu", Dense(8, 4)),
        "vanishes", "error",
    ),
    "a hidden layer of zeros": (
        lambda: Sequential(Dense(64, 32), "tanh", Dense(32, 32, init="zeros"), "tanh", Dense(32, 4)),
        "vanishes", "error",
    ),
}  # fmt: skip


@functools.cache
def broken(name):
    return forecast(BROKEN[name][0](), X)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_networks_are_found(name):
    _, kind, severity = BROKEN[name]
    found = broken(name)
    assert (found.verdicts[0].kind, found.verdicts[0].severity) == (kind, severity), found.verdicts[0].sentence
    [finding] = found.findings
    assert finding.kind == {"vanishes": "vanishing", "explodes": "exploding"}[kind]
    assert finding.layers and finding.evidence and finding.remedies and finding.source
    assert Finding.read(finding.plain()) == finding


# Published figures


def test_he_and_xavier_at_depth_30():
    """He et al. 2015, section 2.2: the signal keeps its size with He's weights, with Xavier's it loses √½ a layer."""
    he, xavier = (forecast(plain(30, "relu", init=init, width=128), X) for init in ("he_normal", "glorot_normal"))
    for found, expected in ((he, 1.0), (xavier, 2.0**-14)):  # 28 layers of equal width between the first and the last
        ratio = found.layers[28].z.measured / found.layers[0].z.measured
        assert 0.4 < ratio / expected < 2.5
        assert found.layers[28].z.predicted / found.layers[0].z.predicted == pytest.approx(expected, rel=0.25)
    assert he.fine and xavier.verdicts[0].kind == "vanishes"


def test_five_layers_of_glorots_heuristic():
    """Glorot and Bengio 2010, section 4.2.2: δ's spread falls by some 10 from layer 5 to layer 1, √3 a layer."""
    found = forecast(plain(6, "tanh", init=nn.uniform(limit=1 / math.sqrt(1000)), width=1000), X)
    fell = found.layers[4].delta.measured / found.layers[0].delta.measured
    assert 8 < fell < 14
    assert found.layers[4].delta.predicted / found.layers[0].delta.predicted == pytest.approx(fell, rel=0.03)


def test_orthogonal_linear_networks_keep_lengths():
    """Saxe et al. 2014: a product of orthogonal matrices is orthogonal: lengths stay, forward and backward."""
    model = Sequential(*[Dense(64, 64, bias=False, init="orthogonal") for _ in range(50)])
    found = forecast(nn.initialize(model, 0, "float64"), X)
    for row in found.layers:
        assert row.length.measured == pytest.approx(1.0, rel=1e-10)
        assert row.length.predicted == pytest.approx(1.0, rel=1e-10)
        assert row.z.measured == pytest.approx(math.sqrt(np.mean(X[found_rows(300)] ** 2)), rel=1e-10)


def found_rows(n):
    return np.sort(np.random.default_rng([0, 1]).choice(n, 256, replace=False))


def test_batch_normalisation_makes_gradients_grow():
    """Yang et al., A mean field theory of batch normalization, ICLR 2019: whatever the weights.

    With relu and large batches by π/(π − 1) in the square: E[φ'²] = 1/2 by the variance of relu(z), (1 − 1/π)/2.
    """
    found = forecast(normalised(20, nn.BatchNorm, width=64), X)
    norms = [row for row in found.layers if row.layer.kind == "BatchNorm"]
    growth = (norms[0].length.predicted / norms[-1].length.predicted) ** (2 / (len(norms) - 1))
    assert growth == pytest.approx(math.pi / (math.pi - 1), rel=0.02)
    measured = (norms[0].length.measured / norms[-1].length.measured) ** (2 / (len(norms) - 1))
    assert measured == pytest.approx(math.pi / (math.pi - 1), rel=0.05)


def test_sigmoid_on_digits_says_by_which_factor():
    digits = ut.data.load_digits()
    found = forecast(plain(30, "sigmoid", width=32), digits.X, digits.y, "categorical_cross_entropy")
    verdict = found.verdicts[0]
    assert verdict.factor < 1e-17 and 0.1 < verdict.factor / verdict.expected < 10
    assert "Depth 30 of sigmoid will not learn" in verdict.sentence
    assert found.xi == pytest.approx(0.35, abs=0.02)


# Theory and measurement


DISTURBED = {
    "tanh with biases": lambda: [Dense(256, 256, b=np.full(256, 0.3, np.float32)), "tanh"],
    "leaky relu": lambda: [Dense(256, 256), nn.leaky_relu(slope=0.3)],
    "gelu": lambda: [Dense(256, 256, init=nn.lecun_normal(gain=1.4)), "gelu"],
    "PReLU": lambda: [Dense(256, 256), nn.PReLU()],
    "dropout": lambda: [Dense(256, 256), "relu", Dropout(0.3)],
    "noise": lambda: [Dense(256, 256), nn.Noise(0.5), "tanh"],
    "LayerNorm": lambda: [Dense(256, 256), LayerNorm(256), "relu"],
    "LayerNorm after": lambda: [Dense(256, 256), "relu", LayerNorm(256)],
    "RMSNorm": lambda: [Dense(256, 256), "relu", nn.RMSNorm(256)],
    "BatchNorm": lambda: [Dense(256, 256), nn.BatchNorm(256), "tanh"],
    "Scale": lambda: [Dense(256, 256), "tanh", nn.Scale(start=1.3)],
    "residual": lambda: [Residual(Dense(256, 256), "tanh", scale=0.7)],
    "residual of positive numbers": lambda: [Residual(Dense(256, 256), "relu", scale=0.5)],
    "projection": lambda: [Residual(Dense(256, 256), "tanh", projection=Dense(256, 256, bias=False))],
    "beside one another": lambda: [Parallel(Sequential(Dense(256, 128), "relu"), Sequential(Dense(256, 128), "tanh"))],
    "added": lambda: [
        Parallel(Dense(256, 256), Sequential(Dense(256, 256), "relu"), combine="add"),
        nn.Scale(start=0.6),
    ],
    "Concat": lambda: [nn.Concat(Dense(256, 256), "tanh"), Dense(512, 256)],
    "a function of one's own": lambda: [Dense(256, 256), lambda z: np.sin(z) + 0.1 * z],
}


@pytest.mark.parametrize("name", DISTURBED)
def test_theory_agrees_with_wide_networks(name):
    """Means over 2 networks, 256 wide and 4 blocks deep: z within 6 %, lengths of gradients within 10 %."""
    made = []
    for seed in range(2):
        model = Sequential(Dense(64, 256), *[item for _ in range(4) for item in DISTURBED[name]()], Dense(256, 256))
        made.append(forecast(model, X, seed=seed))
        assert made[-1].notes == []
    for rows in zip(*(found.layers for found in made), strict=True):
        for field, tolerance in (("z", 0.06), ("h", 0.06), ("length", 0.1)):
            pairs = [getattr(row, field) for row in rows]
            expected = math.sqrt(np.mean([pair.predicted**2 for pair in pairs]))
            measured = math.sqrt(np.mean([pair.measured**2 for pair in pairs]))
            assert measured == pytest.approx(expected, rel=tolerance), (field, rows[0].label)


def test_gradients_measured_are_those_of_the_chain_rule():
    """δ of a network of two layers, with a squared error, by hand."""
    rng = np.random.default_rng(3)
    W1, W2 = rng.standard_normal((4, 6)), rng.standard_normal((6, 2))
    inputs, targets = rng.standard_normal((20, 4)), rng.standard_normal((20, 2))
    model = Sequential(Dense(4, 6, bias=False, W=W1), "tanh", Dense(6, 2, bias=False, W=W2))
    found = forecast(model, inputs, targets, "mean_squared_error")
    h = np.tanh(inputs @ W1)
    delta2 = 2 * (h @ W2 - targets)
    delta1 = (delta2 @ W2.T) * (1 - h**2)
    rms = lambda x: math.sqrt(np.mean(x**2))
    first, last = found.layers
    assert first.z.measured == pytest.approx(rms(inputs @ W1)) and first.h.measured == pytest.approx(rms(h))
    assert first.delta.measured == pytest.approx(rms(delta1) / rms(delta2))
    assert first.length.measured == pytest.approx(np.linalg.norm(delta1) / np.linalg.norm(delta2))
    assert first.chi.measured == pytest.approx(np.sum(delta1**2) / np.sum(delta2**2))
    assert last.delta.measured == last.delta.predicted == 1.0


def test_what_float32_cannot_hold_is_told_by_theory():
    found = broken("sigmoid, 100 deep")
    assert found.layers[0].length.measured == 0.0
    assert 1e-65 < found.verdicts[0].factor < 1e-55


def test_one_layer_is_blamed_where_it_alone_is_to_blame():
    model = list(plain(8, "tanh", init="orthogonal").layers)
    model[8] = Dense(64, 64, init=nn.normal(deviation=1e-6))
    [finding] = forecast(Sequential(*model), X).findings
    assert finding.layers[0] == "layer 5, Dense(64, 64)" and finding.paths[0] == "layers[8]"


def test_the_dead_layer_is_the_cause():
    [finding] = broken("dead relu").findings
    assert finding.paths[0] == "layers[2]" and "gives nothing but zeros" in finding.cause


def test_compared_layers_are_those_whose_scale_means_something():
    rows = forecast(normalised(3, nn.BatchNorm), X).layers
    assert [row.layer.path for row in compared(rows)] == ["layers[1]", "layers[4]", "layers[6]"]


# What theory does not cover


@dataclass(eq=False)
class Gate:
    """A layer of one's own."""

    a: Any
    b: Any

    def __call__(self, x):
        return np.tanh(self.a(x)) * self.b(x)


@dataclass(eq=False)
class Asks:
    """A layer that asks for values."""

    def __call__(self, x):
        return x * 2 if np.mean(x) > 0 else x


def test_a_printed_forecast_lists_what_mends_it():
    """One that is well lists nothing."""
    deep = [item for _ in range(12) for item in (Dense(64, 64), "sigmoid")]
    found = forecast(Sequential(*deep, Dense(64, 4)), X)
    (finding,) = found.findings
    assert repr(found).splitlines()[-len(finding.remedies) :] == [
        f"  {number}. {remedy.sentence}" for number, remedy in enumerate(finding.remedies, 1)
    ]
    assert "  1. " not in repr(forecast(Sequential(Dense(64, 32), "tanh", Dense(32, 4)), X))


def test_a_layer_of_ones_own_is_measured_and_said_to_be():
    model = Sequential(Dense(64, 32), "tanh", Gate(Dense(32, 32), Dense(32, 32)), Dense(32, 4))
    found = forecast(model, X)
    by_path = {row.layer.path: row for row in found.layers}
    assert [path for path, row in by_path.items() if row.note == found.notes[0]] == ["layers[2]"]
    assert found.notes[0].endswith("there is no theory for it")
    gate = by_path["layers[2]"]
    assert gate.z.predicted == pytest.approx(gate.z.measured, rel=0.1)  # of 64 rows
    assert found.layers[0].length.predicted == pytest.approx(found.layers[0].length.measured, rel=0.3)
    assert "Not covered by theory, measured instead: Gate(" in repr(found)


def test_weights_that_are_not_random_are_measured():
    model = Sequential(Dense(64, 32, init=nn.constant(value=0.1)), "tanh", Dense(32, 4))
    assert "not random numbers of mean 0" in forecast(model, X).notes[0]


def test_without_a_trace_the_forward_pass_is_measured():
    found = forecast(Sequential(Dense(64, 32), "tanh", Asks(), Dense(32, 4)), X)
    assert found.layers[0].z.measured > 0 and math.isnan(found.layers[0].delta.measured)
    assert found.fine and "could not be measured" in found.verdicts[0].sentence


def test_numbers_beyond_float32_are_named():
    found = forecast(plain(30, "relu", init=nn.normal(deviation=1e4)), X)
    assert found.verdicts[0].kind == "explodes" and "not finite" in found.verdicts[0].sentence


# The call


def test_the_model_stays_as_it_is_and_the_seed_decides():
    model = plain(3, "tanh")
    first, second = forecast(model, X, seed=1), forecast(model, X, seed=1)
    assert model.layers[0].W is None
    assert repr(first) == repr(second) != repr(forecast(model, X, seed=2))


def test_filled_weights_are_those_that_count():
    model = nn.initialize(plain(3, "tanh"), 5, "float64")
    assert forecast(model, X).layers[0].sigma_w2 == pytest.approx(64 * np.mean(model.layers[0].W ** 2))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"y": np.zeros(300)}, ArgumentError, "y is given without loss. Give both, or neither."),
        ({"loss": "huber"}, ArgumentError, "loss is given without y. Give both, or neither."),
        ({"y": np.zeros(7), "loss": "huber"}, DataError, "X has 300 rows and y is (7,)"),
        ({"X": np.zeros((0, 64))}, DataError, "X holds no examples"),
        ({"X": [["a"] * 64]}, DataError, "X is no array of numbers"),
        ({"X": X * np.nan}, DataError, "X holds numbers that are not finite"),
        ({"X": X[:, :3]}, ShapeError, "layer 1, Dense(64, 64): x is (2, 3)"),
        ({"model": 3}, ArgumentError, "the model is int, not callable"),
        ({"model": Sequential("tanh")}, ArgumentError, "has no parameters"),
    ],
)
def test_what_cannot_be_forecast_is_said(arguments, error, message):
    with pytest.raises(error) as caught:
        forecast(**{"model": plain(3, "tanh"), "X": X, **arguments})
    assert message in str(caught.value)


# What people see


def test_it_prints_as_a_table_with_bars_and_words():
    text = repr(forecast(plain(10, "sigmoid"), X))
    lines = text.splitlines()
    assert any(line.startswith(" 10  Dense(64, 10)") and line.endswith("█" * 14) for line in lines)
    assert "will not learn" in text and "(ξ)" in text and "(ξ_c)" in text


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_a_narrow_terminal_gets_fewer_columns(activation):
    """Down to 60 characters each layer is one line, and no number is cut off."""
    from rich.console import Console

    found = forecast(plain(12, activation, width=128), X)
    shown = {}
    for width in (60, 66, 72, 80, 90, 120):
        console = Console(file=io.StringIO(), width=width, color_system=None)
        console.print(found)
        lines = console.file.getvalue().splitlines()
        assert max(map(len, lines)) <= width
        at = next(i for i, line in enumerate(lines) if line.startswith(" layer"))
        rows = lines[at + 2 : at + 14]
        for row, layer in zip(rows, found.layers, strict=True):
            assert row.startswith(f" {layer.layer.number}  {layer.layer.name}")
            assert (
                scientific(layer.length.measured) in row.split() and scientific(layer.length.predicted) in row.split()
            )
        assert rows[-1].rstrip().endswith("█")
        shown[width] = lines[at].replace("|δ|, log", "").split()
        assert ("χ: by how much" in " ".join(lines)) == ("χ" in shown[width])
    heads = list(shown.values())
    assert all(set(narrow) <= set(wide) for narrow, wide in itertools.pairwise(heads))
    assert "h" in heads[-1] and "χ" in shown[80] and "h" not in shown[80] and "χ" not in heads[0]


def test_html_is_escaped():
    model = Sequential(
        Dense(64, 8), nn.Lambda(lambda h: h - h.mean(axis=1, keepdims=True), "<b>centre</b>"), Dense(8, 2)
    )
    text = forecast(model, X)._repr_html_()
    assert "<b>" not in text and "&lt;b&gt;centre" in text and text.count("<tr>") == 3


@pytest.mark.parametrize(
    ("x", "text"), [(0.0, "0"), (math.inf, "∞"), (math.nan, "–"), (250.0, "250"), (3e-7, "3.0×10⁻⁷")]
)
def test_numbers_are_short(x, text):
    assert scientific(x) == text


@pytest.mark.parametrize(
    "name",
    [
        "sigmoid, 30 deep",
        "Xavier's weights and relu, 30 deep",
        "large weights and relu, 10 deep",
        "sums of relu, 50 deep",
    ],
)
def test_remedies_let_the_gradient_through(name):
    """The code of each remedy runs; the model that the first makes is healthy, and every other one can be called."""
    first, *others = [remedy for remedy in broken(name).findings[0].remedies if remedy.name != "clipping"]
    names = {"ut": ut, "model": BROKEN[name][0]()}
    for remedy in others:
        exec(remedy.code, names)
        assert nn.initialize(names["better"])(X[:2].astype(np.float32)).shape == (2, 10)
    exec(first.code, names)
    assert forecast(names["better"], X).fine
