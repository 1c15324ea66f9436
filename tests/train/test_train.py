"""Training: it learns, it repeats itself bit by bit, it ends cleanly, and it says early what cannot work."""

import io
import math
import signal

import numpy as np
import pytest
from rich.console import Console

from undertow import nn, optim, trees
from undertow.errors import ArgumentError, DataError, ShapeError, TrainingError
from undertow.train import Diverged, EarlyStopping, Run, load, make_gradient, make_step, measure_gradients, train
from undertow.train.diverged import explain_loss
from undertow.train.gradients import print_gradient_table
from undertow.train.interrupt import hold_interrupts, interrupt_once
from undertow.train.progress import Progress

RNG = np.random.default_rng(0)
X = RNG.standard_normal((203, 4)).astype(np.float32)
LABELS = (X @ RNG.standard_normal((4, 3)).astype(np.float32)).argmax(axis=1)
HALVES = (X[:, 0] > X[:, 1]).astype(np.int64)


def classifier(end=()):
    return nn.Sequential(nn.Dense(4, 16), nn.relu, nn.Dense(16, 3), *end)


def fit(model=None, data=None, **settings):
    settings = {"loss": "categorical_cross_entropy", "epochs": 4, "progress": False, **settings}
    return train(model or classifier(), data or (X, LABELS), **settings)


def arrays(model):
    return [leaf for leaf in trees.flatten(model)[0] if not callable(leaf)]


@pytest.mark.parametrize("end", [(), ("softmax",)])
def test_a_classifier_learns(end):
    """Three linearly separable classes are learnt to over 95 %, with logits and with probabilities."""
    run = fit(classifier(end), epochs=60, batch_size=16, optimizer=optim.adam(0.01))
    last = run.history[-1]
    assert last["accuracy"] > 0.95 and last["validation_accuracy"] > 0.8
    assert last["loss"] < run.history[0]["loss"] / 3
    np.testing.assert_array_equal(run.predict(X) == LABELS, run.predict_probability(X).argmax(1) == LABELS)
    np.testing.assert_allclose(run.predict_probability(X).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("end", [(), ("sigmoid",)])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_a_binary_classifier_learns(end, shape):
    """Targets (m,) and (m, 1) serve alike; the labels predicted are (m,) of 0 and 1."""
    run = fit(
        nn.Sequential(nn.Dense(4, 1), *end),
        (X, HALVES.reshape(shape)),
        loss="binary_cross_entropy",
        epochs=60,
        batch_size=16,
        optimizer=optim.adam(0.05),
    )
    assert run.history[-1]["accuracy"] > 0.95
    assert np.mean(run.predict(X) == HALVES) > 0.95
    p = run.predict_probability(X)
    assert p.shape == (203, 1) and ((p >= 0) & (p <= 1)).all()


def test_linear_regression_arrives_at_the_least_squares_solution():
    """Gradient descent on a linear layer ends at what numpy.linalg.lstsq computes in one step."""
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((64, 3))
    y = rng.standard_normal(64)
    run = fit(
        nn.Dense(3, 1), (inputs, y), loss="mean_squared_error", validation=None, batch_size=64, epochs=400,
        optimizer=optim.sgd(0.1),
    )  # fmt: skip
    wanted = np.linalg.lstsq(np.c_[inputs, np.ones(64)], y, rcond=None)[0]
    assert run.model.W.dtype == np.float64
    np.testing.assert_allclose(np.r_[run.model.W[:, 0], run.model.b], wanted, atol=1e-8)
    assert "accuracy" not in run.history[0] and "validation_loss" not in run.history[0]


def test_training_is_what_torch_does():
    """From the same parameters, in the same order, PyTorch arrives at the same parameters after two "
    "epochs."""
    torch = pytest.importorskip("torch")
    from undertow.data import Batches

    start = nn.initialize(classifier(), 3, np.float64)
    run = fit(
        start, (X.astype(np.float64), LABELS), epochs=2, batch_size=50, validation=None, seed=9,
        optimizer=optim.adam(0.01), clip=optim.clip_by_global_norm(0.5),
    )  # fmt: skip
    net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3)).double()
    with torch.no_grad():
        for ours, theirs in ((start.layers[0], net[0]), (start.layers[2], net[2])):
            theirs.weight.copy_(torch.tensor(ours.W.T.copy()))
            theirs.bias.copy_(torch.tensor(ours.b))
    reference = torch.optim.Adam(net.parameters(), lr=0.01)
    for epoch in range(2):
        for rows, labels in Batches(X.astype(np.float64), LABELS, 50, 9).epoch(epoch):
            reference.zero_grad()
            torch.nn.functional.cross_entropy(net(torch.tensor(rows)), torch.tensor(labels)).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            reference.step()
    np.testing.assert_allclose(run.model.layers[0].W, net[0].weight.detach().numpy().T, atol=1e-6)
    np.testing.assert_allclose(run.model.layers[2].b, net[2].bias.detach().numpy(), atol=1e-6)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    """Parameters, losses and gradient sizes repeat exactly; the seed decides them."""
    runs = [fit(seed=seed, clip=optim.clip_by_global_norm(1.0)) for seed in (1, 1, 2)]
    a, b, c = [b"".join(x.tobytes() for x in arrays(run.model)) for run in runs]
    assert a == b != c
    keys = ("loss", "accuracy", "validation_loss", "validation_accuracy")
    assert [[row[key] for key in keys] for row in runs[0].history] == [
        [row[key] for key in keys] for row in runs[1].history
    ]
    assert runs[0].gradient_history == runs[1].gradient_history


def test_the_callers_model_and_arrays_stay_as_they_are():
    """Training reads what it is given: all of it may be read-only, and nothing of it changes."""
    model = nn.initialize(classifier(), 0)
    before = [x.copy() for x in arrays(model)]
    inputs, labels = X.copy(), LABELS.copy()
    for x in (*arrays(model), inputs, labels):
        x.flags.writeable = False
    run = fit(model, (inputs, labels))
    for old, now, new in zip(before, arrays(model), arrays(run.model), strict=True):
        np.testing.assert_array_equal(old, now)
        assert new.dtype == np.float32 and not np.array_equal(new, old)


def test_the_history_has_a_row_an_epoch():
    """Rows count epochs and steps, the short last batch included, and measure time."""
    run = fit(batch_size=50, validation=(X[:20], LABELS[:20]))
    columns = "epoch step loss accuracy validation_loss validation_accuracy seconds examples_per_second"
    assert list(run.history[0]) == columns.split()
    assert [row["step"] for row in run.history] == [5, 10, 15, 20]
    assert run.settings["n_validation"] == 20 and run.settings["n_examples"] == 203
    assert run.history[0]["seconds"] < run.history[3]["seconds"]
    logits = run.outputs(X[:20])
    wanted = nn.categorical_cross_entropy_with_logits(logits, LABELS[:20])
    assert run.history[-1]["validation_loss"] == pytest.approx(float(wanted), rel=1e-5)


def test_the_step_of_a_short_batch_is_right():
    """A program traced for one batch size gives, for another, the gradient of a fresh one."""
    model = nn.initialize(classifier(), 0, np.float64)

    def loss(model, X, y):
        return nn.categorical_cross_entropy_with_logits(model(X), y)

    y = np.eye(3)[LABELS]
    gradient = make_gradient(loss)
    for rows in (64, 11, 1, 64):
        value, grads = gradient(model, X[:rows].astype(float), y[:rows])
        wanted, fresh = make_gradient(loss)(model, X[:rows].astype(float), y[:rows])
        assert value == pytest.approx(wanted)
        for a, b in zip(arrays(grads), arrays(fresh), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def test_probabilities_and_logits_give_the_same_gradient():
    """The simplified gradient through softmax is (p − y)/m for the last bias too, as with logits."""
    model = nn.initialize(classifier(), 0, np.float64)
    ending = nn.Sequential(*model.layers, "softmax")
    y, inputs = np.eye(3)[LABELS], X.astype(float)
    _, a = make_gradient(lambda model, X, y: nn.categorical_cross_entropy(model(X), y))(ending, inputs, y)
    p = ending(inputs)
    np.testing.assert_allclose(a.layers[2].b, (p - y).mean(axis=0), rtol=1e-9, atol=1e-12)


def test_a_hinge_loss_of_the_users_own_is_trained():
    """max(0, 1 − y p), where the model's output is subtracted inside the maximum, separates two classes."""
    signs = (2 * HALVES - 1).astype(np.float32)[:, None]

    def hinge(p, y):
        return np.mean(np.maximum(1 - y * p, 0))

    run = fit(nn.Dense(4, 1), (X, signs), loss=hinge, epochs=40, optimizer=optim.adam(0.05))
    assert np.mean((run.outputs(X) > 0) == (signs > 0)) > 0.95


def test_a_loss_that_looks_at_values_is_trained_too():
    """Python's own `if` on an array's value cannot be traced without values; the step then differentiates "
    "anew."""

    def huber(p, y):
        e = np.mean((p - y) ** 2)
        return e if e < 1 else np.mean(np.abs(p - y))

    run = fit(nn.Dense(4, 1), (X, X[:, :1]), loss=huber, epochs=40, optimizer=optim.adam(0.05))
    assert run.history[-1]["loss"] < 0.1
    assert run.predict(X).shape == (203, 1)


def test_one_step_is_gradient_descent():
    """The step returns the loss before it, the model after it, and leaves its arguments alone."""
    step = make_step(lambda w, X, y: np.sum((X * w - y) ** 2), optim.sgd(0.1), optim.clip_by_value(1.0))
    w = np.array([1.0])
    loss, new, _ = step(w, (), np.array([1.0]), np.array([3.0]))
    assert loss == 4 and new[0] == pytest.approx(1.1) and w[0] == 1


def test_a_loss_that_is_not_finite_ends_with_the_place_the_remedy_and_the_run():
    """The error names epoch and step, says what to try, and carries a run whose parameters are finite."""
    with np.errstate(all="ignore"), pytest.raises(TrainingError) as caught:
        fit(nn.Dense(4, 1), (X * 1e6, X[:, :1]), loss="mean_squared_error", optimizer=optim.sgd(1e3), epochs=9)
    message = str(caught.value)
    assert "at epoch 1, step" in message and "a learning rate below 1000" in message and "clip=" in message
    assert isinstance(caught.value, Diverged)
    run = caught.value.run
    assert run.stopped == "diverged" and all(np.isfinite(x).all() for x in arrays(run.model))


def test_before_the_first_update_no_rate_is_blamed():
    """The first loss is that of the parameters that were drawn: a smaller rate would change nothing of it."""
    model = nn.Sequential(nn.Dense(4, 8), np.log, nn.Dense(8, 1))
    with np.errstate(all="ignore"), pytest.raises(Diverged, match=r"at epoch 1, step 1: log .*gives nan") as caught:
        fit(model, (X, X[:, :1]), loss="mean_squared_error", optimizer=optim.sgd(1e-3), epochs=1)
    assert "the learning rate is not the cause" in str(caught.value)
    assert "Try" not in str(caught.value) and "clip" not in str(caught.value)
    told = explain_loss(np.inf, 1, 1, {}), explain_loss(np.inf, 1, 1, {}, "exp (model.py:3) gives inf")
    assert "Look at the initial weights, or" in told[0]
    assert "Look at what that operation is given and at the initial weights, or" in told[1]


def test_a_gradient_that_is_not_finite_names_the_parameter():
    """With clipping, the parameter whose gradient is not finite stands in the message."""

    def root(p, y):
        return np.mean(y * np.sqrt(np.exp(p - 1e9)))  # 0, and its slope is 0 · ∞

    with (
        np.errstate(all="ignore"),
        pytest.raises(TrainingError, match=r"epoch 1, step 1: .*gradient of W is not"),
    ):
        fit(nn.Dense(4, 1), (X, X[:, :1]), loss=root, clip=optim.clip_by_value(1.0))


def test_ctrl_c_ends_cleanly_with_what_was_trained():
    """An interruption in the middle of an epoch gives a run with a row for what was done of it."""

    class Interrupt:
        def on_step_end(self, epoch, step, loss, model):
            self.model = model
            if (epoch, step) == (2, 2):
                raise KeyboardInterrupt

    callback = Interrupt()
    run = fit(callbacks=[callback], epochs=9, validation=None)
    assert run.stopped == "interrupted" and [row["step"] for row in run.history] == [4, 6]
    assert run.model is callback.model


def test_ctrl_c_ends_with_the_best_model_so_far(capsys):
    """By the validation loss: a rate that grows spoils the model after the third epoch."""
    models = []

    def watch(info):
        models.append(info.model)
        if info.epoch == 7:
            raise KeyboardInterrupt

    rate = optim.piecewise([0.1, 30.0], [9])
    run = fit(
        callbacks=[watch], epochs=20, optimizer=optim.sgd(rate), clip=optim.clip_by_global_norm(1.0), progress=True
    )
    losses = [row["validation_loss"] for row in run.history]
    assert run.stopped == "interrupted" and len(losses) == 7 and int(np.argmin(losses)) < 6
    assert run.model is models[int(np.argmin(losses))]
    assert f"the model of epoch {int(np.argmin(losses)) + 1}, the best so far" in capsys.readouterr().out


def test_callbacks_are_told_of_epochs_and_may_stop():
    """Functions and objects are called with each row; True ends training; early stopping waits its "
    "patience."""
    rows = []
    run = fit(callbacks=[lambda info: rows.append(info.row), lambda info: info.epoch == 3], epochs=9)
    assert rows == run.history and len(rows) == 3 and run.stopped == "callback"
    run = fit(optimizer=optim.sgd(1e-30), callbacks=[EarlyStopping(patience=2)], epochs=9)
    assert len(run.history) == 3
    with pytest.raises(ArgumentError, match="no column 'validation_loss'"):
        fit(validation=None, callbacks=[EarlyStopping()])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"data": (X, LABELS + 1)}, DataError, r"is 3, but the model has 3 outputs"),
        ({"data": (X, LABELS - 0.5)}, DataError, r"the labels 0 to 2"),
        ({"data": (X, np.zeros((203, 4)))}, ShapeError, r"y is \(m, 4\), but the model has 3 outputs"),
        ({"data": (X, np.ones((203, 3)))}, DataError, "no one-hot row"),
        ({"data": (X[:, :3], LABELS)}, ShapeError, r"layer 1, Dense\(4, 16\): x is \(m, 3\)"),
        ({"model": nn.Dense(4, 1)}, ArgumentError, "binary_cross_entropy"),
        ({"loss": "binary_cross_entropy", "model": nn.Dense(4, 1)}, DataError, "takes 0, 1"),
        ({"loss": "mean_squared_error"}, ShapeError, "the last layer give 1 column,"),
        ({"loss": "mse"}, ArgumentError, "no loss 'mse'"),
        ({"optimizer": "adamm"}, ArgumentError, "no optimizer"),
        ({"epochs": 0}, ArgumentError, "epochs"),
        ({"batch_size": 0}, ArgumentError, "batch_size"),
        ({"clip": 1.0}, ArgumentError, "clip is 1.0"),
        ({"validation": 1.5}, ArgumentError, "fraction"),
        ({"validation": "some"}, ArgumentError, "validation is 'some'"),
        ({"validation": (X[:, :2], LABELS)}, ShapeError, "the validation X"),
        ({"validation": (X, LABELS + 9)}, DataError, "the validation y"),
        ({"metrics": ("f2",)}, ArgumentError, "no metric 'f2'"),
        ({"callbacks": [3]}, ArgumentError, "callback"),
    ],
)
def test_what_cannot_work_is_said_before_training(settings, error, message):
    """Every mismatch of model, data and settings is an error of ours with the remedy, before the first "
    "step."""
    with pytest.raises(error, match=message):
        fit(**settings)


def test_gradient_sizes_are_those_of_the_formulas():
    """dW, db and δ of a two-layer network equal the backward pass written out by hand."""
    model = nn.initialize(nn.Sequential(nn.Dense(4, 5), nn.tanh, nn.Dense(5, 3)), 0, np.float64)
    x, y = X[:32].astype(float), np.eye(3)[LABELS[:32]]
    gradient = make_gradient(lambda model, X, y: nn.categorical_cross_entropy_with_logits(model(X), y))
    first, last = measure_gradients(gradient, model, x, y)
    h = np.tanh(x @ model.layers[0].W + model.layers[0].b)
    p = nn.softmax(h @ model.layers[2].W + model.layers[2].b)
    d2 = (p - y) / 32
    d1 = (d2 @ model.layers[2].W.T) * (1 - h * h)

    def rms(x):
        return math.sqrt(np.mean(x**2))

    for row, inputs, delta in ((first, x, d1), (last, h, d2)):
        assert row["delta"] == pytest.approx(rms(delta))
        assert row["dW"] == pytest.approx(rms(inputs.T @ delta))
        assert row["db"] == pytest.approx(rms(delta.sum(axis=0)))
    assert first["ratio"] == pytest.approx(first["dW"] / last["dW"]) and last["ratio"] == 1
    assert [row["path"] for row in (first, last)] == ["layers[0]", "layers[2]"]


def test_a_deep_sigmoid_network_shows_its_vanishing_gradient():
    """In ten sigmoid layers the first gradient is far smaller than the last, and the table draws it so."""
    layers = [part for _ in range(10) for part in (nn.Dense(4, 4), nn.sigmoid)]
    run = fit(nn.Sequential(*layers, nn.Dense(4, 3)), epochs=1)
    sizes = run.gradient_sizes
    assert len(sizes) == 11 and sizes[0]["ratio"] < 1e-3
    stream = io.StringIO()
    print_gradient_table(run, Console(file=stream, width=110))
    lines = [line for line in stream.getvalue().splitlines() if "Dense(4," in line]
    assert len(lines) == 11
    assert lines[0].count("█") < lines[-1].count("█") / 1.5


def test_progress_prints_a_line_an_epoch(capsys):
    """Away from a terminal there is one plain line an epoch, without control characters; False prints "
    "nothing."""
    fit(progress=True, epochs=3)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and "\x1b" not in "".join(lines)
    assert lines[2].startswith("epoch 3/3   loss ") and "validation loss" in lines[2] and "examples/s" in lines[2]
    fit()
    assert not capsys.readouterr().out


def test_progress_in_a_terminal_updates_one_line():
    """In a terminal the line of an epoch holds the time left and is replaced by the one that stays."""
    stream = io.StringIO()
    with Progress(True, 2, 100, Console(file=stream, force_terminal=True, width=100)) as progress:
        progress.shown -= 1
        progress.after_step(1, 50, 0.5)
        progress.after_epoch({"epoch": 1, "loss": 0.25})
    assert "left" in stream.getvalue() and "loss 0.2500" in stream.getvalue()


def test_a_run_says_what_it_is():
    """The text of a run holds its model, its epochs and its loss; predicting wants rows."""
    run = fit(epochs=1)
    assert repr(run).startswith("Run(Sequential(Dense(4, 16), relu, Dense(16, 3)), 1 epoch, finished, loss ")
    with pytest.raises(ShapeError, match=r"X\[None\]"):
        run.predict(X[0])
    with pytest.raises(ArgumentError, match="knows no classes"):
        Run(run.model, settings={"loss": "mean_squared_error"}).predict_probability(X)


def test_an_interrupt_that_was_held_is_the_one_that_counts():
    """A second Ctrl-C right after an epoch's measurements must not break off what saves the run."""
    with interrupt_once():
        with hold_interrupts() as held:
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # ignored
        assert len(held) == 1
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("loss", ["poisson", "mean_squared_logarithmic_error", "gaussian"])
def test_metrics_measure_what_is_predicted(loss):
    """Not the logarithm that a loss takes, nor a variance beside the mean: in training, in validation and later."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)).astype(np.float32)
    y = rng.poisson(np.exp(X[:, 0] + 1)).astype(np.float32)
    held = X[200:], y[200:]
    model = nn.Sequential(nn.Dense(2, nn.LOSSES[loss].columns))
    run = train(model, (X[:200], y[:200]), validation=held, loss=loss, epochs=3, metrics=["mae", "r2"], progress=False)
    for name, rows, target in (("mae", X[:200], y[:200]), ("validation_mae", *held)):
        wanted = np.abs(run.predict(rows)[:, 0] - target).mean(dtype=float)
        assert run.history[-1][name] == pytest.approx(wanted, rel=1e-5)
    found = run.evaluate(*held, metrics=["mae"])["mae"]
    assert found == pytest.approx(np.abs(run.predict(held[0])[:, 0] - held[1]).mean(dtype=float), rel=1e-5)
    residual = ((run.predict(held[0])[:, 0] - held[1]) ** 2).sum(dtype=float)
    wanted = 1 - residual / ((held[1] - held[1].mean(dtype=float)) ** 2).sum(dtype=float)
    assert run.history[-1]["validation_r2"] == pytest.approx(wanted, rel=1e-5)


def test_a_loss_of_two_columns_for_one_of_the_target_is_trained(tmp_path):
    """As the sum of both by hand; predictions are the means, and go through a folder; wrong widths are named."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(64, 3)).astype(np.float32)
    Y = rng.normal(size=(64, 2)).astype(np.float32)

    def by_hand(z, y):
        v = 1e-6 + np.exp(z[:, 2:])
        return np.mean(np.sum(0.5 * (np.log(v) + (y - z[:, :2]) ** 2 / v), axis=1))

    told = {"epochs": 3, "batch_size": 16, "progress": False, "seed": 1}
    run = train(nn.Dense(3, 4), (X, Y), loss="gaussian", **told)
    other = train(nn.Dense(3, 4), (X, Y), loss=by_hand, **told)
    np.testing.assert_allclose(run.outputs(X), other.outputs(X), rtol=1e-4, atol=1e-5)
    run.save(tmp_path / "run")
    np.testing.assert_array_equal(load(tmp_path / "run").predict(X), run.outputs(X)[:, :2])
    with pytest.raises(ShapeError, match=r"gaussian takes 2 columns .* the output is \(m, 3\)"):
        train(nn.Dense(3, 3), (X, Y), loss="gaussian", **told)
    with pytest.raises(ShapeError, match=r"y is \(m, 2\), .* is \(m, 6\), for a target of \(m, 3\): .* 4 columns"):
        train(nn.Dense(3, 6), (X, Y), loss="gaussian", **told)
