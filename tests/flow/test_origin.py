"""What is not finite is traced to the operation that made it, forward before backward."""

import re

import numpy as np
import pytest

import undertow as ut
from undertow import nn
from undertow.flow.origin import find_origin

ONE = np.ones(1)


def origin(function, *params):
    return find_origin(lambda w, X, y: function(*w), tuple(np.asarray(x, float) for x in params), ONE, ONE)


def test_the_inner_square_root_is_to_blame():
    found = origin(lambda x: np.sum(np.sqrt(np.sqrt(x - 2))), 1.0)
    assert (found["where"], found["operation"], found["values"]) == ("forward", "sqrt", [-1.0])
    assert np.isnan(found["found"])


def test_a_nan_loss_is_reported_at_the_logarithm():
    found = origin(lambda x: np.mean(np.log(-x)), [0.5, 2.0])
    assert (found["operation"], found["values"], found["count"]) == ("log", [-0.5], 2)
    assert found["line"].startswith("test_origin.py:")


def test_a_forward_pass_that_is_finite_leaves_the_blame_to_the_backward_pass():
    found = origin(lambda x: np.sum(np.sqrt(x * 3)), [1.0, 0.0])
    assert (found["where"], found["operation"], found["place"]) == ("backward", "sqrt", [1])
    assert "the derivative of sqrt" in found["sentence"]


def test_of_several_the_first_is_told():
    found = origin(lambda x: np.sum(np.exp(x * 1000) / np.log(x)), [1.0])
    assert found["operation"] == "exp"


@pytest.mark.parametrize(("function", "operation"), [
    (lambda x: np.sum(1 / x), "divide"), (lambda x: np.sum(x / x), "divide"), (lambda x: np.sum(np.log(x)), "log"),
    (lambda x: np.sum(np.arccos(x + 2)), "arccos"), (lambda x: np.sum((x - 1) ** 0.5), "power"),
])  # fmt: skip
def test_each_operation_is_named(function, operation):
    assert origin(function, [0.0])["operation"] == operation


def test_what_comes_in_is_looked_at_first():
    X = np.ones((4, 3))
    X[2, 1] = np.nan
    found = find_origin(lambda w, X, y: np.sum(X @ w), np.ones(3), X, ONE)
    assert found["where"] == "data" and found["sentence"].startswith("X[2, 1] is nan before anything is computed")
    found = find_origin(lambda w, X, y: np.sum(w), np.array([1.0, np.inf]), ONE, ONE)
    assert found["where"] == "parameters" and "[1] is inf" in found["sentence"]


def test_all_finite_is_no_origin():
    assert origin(lambda x: np.sum(x * x), [1.0]) is None


def test_a_training_that_diverges_says_where():
    model = nn.Sequential(nn.Dense(4, 8), lambda z: np.log(z), nn.Dense(8, 2))
    X = np.random.default_rng(0).standard_normal((32, 4)).astype(np.float32)
    with pytest.raises(ut.TrainingError, match=r"log \(test_origin.py:\d+\).* gives nan for -") as caught:
        ut.train(model, (X, np.arange(32) % 2), loss="categorical_cross_entropy", progress=False)
    found = caught.value.run.flow.facts["non_finite"]
    assert (found["step"], found["where"], found["operation"], found["layer"]) == (1, "forward", "log", "layers[1]")
    assert len(caught.value.run.flow) == 1 and caught.value.run.flow.stopped == "diverged"


def test_a_branch_that_is_left_out_is_no_cause():
    def loss(w, X, y):
        clean = np.where(X > 0, np.log(X), 0.0)  # -inf, and never taken
        return np.sum(np.log(w * clean - 50))

    found = find_origin(loss, np.array([1.0, 1.0]), np.array([0.0, 2.0]), np.ones(2))
    assert (found["where"], found["operation"]) == ("forward", "log")
    assert found["values"] == [-50.0]


def test_what_the_loss_does_not_show_and_the_gradient_does():
    one = np.ones(1)
    capped = find_origin(lambda w, X, y: np.sum(np.minimum(np.exp(w), 5.0)), np.array([1000.0, 1.0]), one, one)
    assert (capped["where"], capped["operation"], capped["values"]) == ("forward", "exp", [1000.0])
    left_out = np.array([-1.0, 2.0])  # nothing flows back through it, and so nothing is wrong
    assert find_origin(lambda w, X, y: np.sum(np.where(w > 0, np.sqrt(w), w)), left_out, one, one) is None


def test_an_infinity_that_is_written_down_is_no_cause():
    mask = np.array([0.0, -np.inf])

    def loss(w, X, y):
        return np.sum(np.exp(w + mask)) + np.sum(np.log(X * w))

    found = find_origin(loss, np.array([1.0, 1.0]), np.array([1.0, -3.0]), np.ones(2))
    assert (found["operation"], found["values"]) == ("log", [-3.0])
    all_masked = find_origin(
        lambda w, X, y: np.sum((w - np.inf) - (w - np.inf)), np.array([1.0]), np.ones(1), np.ones(1)
    )
    assert all_masked["operation"] == "subtract" and np.isnan(all_masked["found"])


def test_a_gradient_that_is_not_finite_is_met_in_its_own_step():
    """The loss is finite there; only the step after it would be NaN, and its origin be gone."""

    def root(h):
        return np.sqrt(np.maximum(h, 0))  # its slope is infinite at 0

    model = nn.initialize(nn.Sequential(nn.Dense(4, 8), root, nn.Dense(8, 2)))
    model.layers[0].W[:, 0] = 0
    X = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)
    settings = {"loss": "categorical_cross_entropy", "progress": False, "batch_size": 16}
    with pytest.raises(ut.TrainingError, match=r"epoch 1, step 1: .*the derivative of sqrt") as caught:
        ut.train(model, (X, np.arange(64) % 2), **settings)
    found = caught.value.run.flow.facts["non_finite"]
    assert (found["where"], found["operation"], found["step"], found["layer"]) == ("backward", "sqrt", 1, "layers[1]")


def test_names_and_lines_of_this_package_are_left_out():
    def shifted_log(x):
        return np.log(x - 5)

    model = nn.initialize(nn.Sequential(nn.Dense(2, 3), nn.Lambda(shifted_log, "log"), nn.Dense(3, 1)))
    settings = {"loss": "mean_squared_error", "epochs": 1, "progress": False}
    X, y = np.ones((8, 2), np.float32), np.ones((8, 1), np.float32)
    with pytest.raises(ut.TrainingError, match=r"log \(test_origin.py:\d+\) gives nan"):  # no "which makes x"
        ut.train(model, (X, y), **settings)
    with pytest.raises(ut.TrainingError, match=r"multiply in the loss gives inf"):
        ut.train(nn.Sequential(nn.Dense(2, 1)), (X * 1e10, y * 1e30), **settings)


def test_weights_that_are_not_finite_are_to_be_replaced():
    model = nn.Sequential(nn.Dense(2, 1, W=np.array([[1.0], [np.nan]], np.float32), b=np.zeros(1, np.float32)))
    X, y = np.ones((8, 2), np.float32), np.ones((8, 1), np.float32)
    with pytest.raises(ut.TrainingError) as caught:
        ut.train(model, (X, y), loss="mean_squared_error", epochs=1, progress=False)
    assert "layers[0].W[1, 0] is nan before anything is computed" in str(caught.value)
    assert str(caught.value).endswith("Give numbers that are finite.")


def own_rule(gradients, state, params):
    return ut.trees.map(lambda w, g: w - 0.1 * g / np.sqrt(np.abs(g)), params, gradients), state


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (ut.optim.adam(1e-3, epsilon=1e-300), "epsilon=1e-300 is 0 in float32, so adam divides 0 by 0"),
        (ut.optim.Optimizer("own", lambda params: (), own_rule), "Look at what the update rule own divides by"),
    ],
    ids=["epsilon of 0", "a rule of one's own"],
)
def test_an_update_that_makes_nan_of_a_finite_gradient_is_not_put_down_to_the_rate(rule, told):
    """Behind weights of 0 the gradient of the first layer is 0, so both rules divide 0 by 0."""
    model = nn.Sequential(nn.Dense(2, 3), "relu", nn.Dense(3, 1, init="zeros"))
    X, y = np.ones((8, 2), np.float32), np.full((8, 1), 2, np.float32)
    with pytest.raises(ut.TrainingError) as caught:
        ut.train(model, (X, y), loss="mean_squared_error", epochs=3, optimizer=rule, validation=None, progress=False)
    assert "the update of step 1 took a gradient that is finite, but layers[0].W[0, 0] is nan" in str(caught.value)
    assert told in str(caught.value) and "learning rate" not in str(caught.value)
    (found,) = [x for x in caught.value.run.findings if x.kind == "non-finite"]
    assert told in found.remedies[0].sentence and found.paths[0] == "layers[0]"


def test_what_is_no_function_cannot_be_recorded():
    with pytest.raises(ut.errors.ArgumentError, match="the loss is int, not a function"):
        ut.flow.recorded(3)


def test_remedies_of_a_loop_of_ones_own_are_no_calls_of_train():
    def loss(params, X):
        h = X
        for i, W in enumerate(params):
            h = np.tanh(ut.watch(h @ W, f"z{i}"))
        return np.mean((h - 1) ** 2)

    rng = np.random.default_rng(0)
    params, X = tuple(0.1 * rng.normal(size=(8, 8)) for _ in range(12)), rng.normal(size=(64, 8))
    measured = ut.flow.recorded(loss)
    for _ in range(40):
        _, gradient = measured(params, X)
        params = tuple(W - 0.1 * g for W, g in zip(params, gradient, strict=True))
    found = measured.findings[0]
    assert found.kind == "vanishing" and found.remedies
    assert not any("model" in remedy.code or remedy.option for remedy in found.remedies)
    assert repr(measured) == "recorded(loss, 39 steps)"


@pytest.mark.parametrize("file", ["layers.py", "summary.py", "regression_losses.py", "loss_record.py"])
def test_a_file_of_ones_own_keeps_its_line_whatever_it_is_called(file, tmp_path):
    """The files of this package are known by its folder: people call theirs layers.py and the like."""
    path = tmp_path / file
    path.write_text("import numpy as np\n\n\ndef shifted(x):\n    return np.log(x - 5)\n")
    world = {}
    exec(compile(path.read_text(), str(path), "exec"), world)
    model = nn.Sequential(nn.Dense(2, 3), nn.Lambda(world["shifted"], "log"), nn.Dense(3, 1))
    X, y = np.ones((8, 2), np.float32), np.ones((8, 1), np.float32)
    with pytest.raises(ut.TrainingError) as caught:
        ut.train(model, (X, y), loss="mean_squared_error", epochs=1, progress=False)
    assert f"log ({file}:5) gives nan" in str(caught.value)
    assert caught.value.run.flow.facts["non_finite"]["line"] == f"{file}:5"


@ut.custom_vjp
def doubled(x):
    return 2.0 * x


@doubled.rule
def doubled_rule(ct, out, x):
    return ct * np.log(x)


@ut.custom_vjp
def both_ways(x):
    return 2.0 * x, -x


@both_ways.rule
def both_ways_rule(ct, out, x):
    return 2.0 * ct[0] - ct[1] + np.log(out[0])


@pytest.mark.parametrize("function", [doubled, lambda x: both_ways(x)[0]], ids=["one result", "two results"])
def test_a_derivative_of_ones_own_that_is_not_finite_is_named(function):
    """In a loop, in a training, and of a function with two results, whose rule reads both."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((16, 4)), np.ones((16, 3))
    name, rule = ("doubled", doubled_rule) if function is doubled else ("both_ways", both_ways_rule)
    told = rf"the derivative of {name} \(test_origin.py:{rule.__code__.co_firstlineno}\) gives nan"
    measured = ut.flow.recorded(lambda W, X, y: np.mean((function(ut.watch(X @ W, "z")) - y) ** 2))
    measured(rng.standard_normal((4, 3)), X, y)
    (found,) = measured.findings
    assert found.kind == "non-finite"
    assert re.match(told, found.cause)
    model = nn.Sequential(nn.Dense(4, 8), nn.Lambda(function, "own"), nn.Dense(8, 3))
    with pytest.raises(ut.TrainingError, match=told):
        ut.train(model, (X, y), loss="mean_squared_error", epochs=1, validation=None, progress=False)


def test_a_bias_that_becomes_infinite_behind_what_hides_it_is_put_down_to_the_update():
    """tanh makes 1 of it and its gradient 0, so that the loss and all gradients stay finite."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((16, 4)), np.ones((16, 1))

    def loss(p, X, y):
        return np.mean((np.tanh(ut.watch(X @ p["W"] + p["b"], "z")) @ p["V"] - y) ** 2)

    measured, p = ut.flow.recorded(loss), {"W": rng.standard_normal((4, 3)), "b": np.zeros(3), "V": np.ones((3, 1))}
    for step in range(6):
        value, gradient = measured(p, X, y)
        p = {name: x - 0.1 * gradient[name] for name, x in p.items()}
        p["b"][1] = np.inf if step == 2 else p["b"][1]
    (found,) = measured.findings
    assert np.isfinite(value) and found.kind == "non-finite"
    assert found.cause.startswith("the update of step 3 took a gradient that is finite, but b[1] is inf")
