"""Records of trainings that are out of the ordinary."""

import copy
import pickle
import threading

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim
from undertow.compile.statistics import Told
from undertow.flow import training
from undertow.flow.looks import histogram
from undertow.flow.own import recorded
from undertow.flow.record import SCALARS, STATS
from undertow.flow.store import load_flow
from undertow.flow.table import Rows

RNG = np.random.default_rng(1)
X = RNG.standard_normal((64, 4)).astype(np.float32)
LABELS = RNG.integers(0, 3, 64)
SETTINGS = {"loss": "categorical_cross_entropy", "progress": False, "validation": None, "epochs": 2, "batch_size": 16}


def build():
    return nn.initialize(nn.Sequential(nn.Dense(4, 6), "relu", nn.Dense(6, 3)), 0)


def test_a_frozen_layer_has_a_gradient_and_no_update():
    rule = optim.grouped(optim.sgd(0.1), {"layers[0]*": "frozen"})
    flow = ut.train(build(), (X, LABELS), optimizer=rule, max_norm=0.5, **SETTINGS).flow
    assert (flow.stat("update.rms")[:, 0] == 0).all() and (flow.stat("ratio")[:, 0] == 0).all()
    assert (flow.stat("dW.rms")[:, 0] > 0).all() and (flow.stat("update.rms")[:, 1] > 0).all()


def test_a_gradient_that_is_not_finite_in_one_layer_only_ends_no_training_of_the_patient():
    start = build()
    root = nn.Sequential(start.layers[0], lambda h: np.sqrt(np.maximum(h, 0)), start.layers[2])
    start.layers[0].W[:, 0] = 0
    run = ut.train(root, (X, LABELS), non_finite="skip", **SETTINGS)
    assert run.flow.stat("nonfinite")[0, 0] > 0 and np.isfinite(run.flow.stat("dW.rms")[:, 1]).all()
    assert run.gradient_history[0]["ratio"] is None


def test_a_fault_of_the_record_ends_no_training_and_is_told_once(monkeypatch, capsys, faults_of_records):
    def fail(*_, **__):
        raise ValueError("no such thing")

    monkeypatch.setattr(training, "take_look", fail)
    run = ut.train(build(), (X, LABELS), **SETTINGS)
    assert run.flow.facts["failed"] == "ValueError: no such thing" and len(run.flow) == 8
    faults_of_records.clear()


def test_a_training_that_an_error_breaks_off_is_not_called_finished(tmp_path):
    class Broken(ut.train.Callback if hasattr(ut.train, "Callback") else object):
        def on_step_end(self, epoch, step, loss, model):
            if step == 3:
                raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        ut.train(build(), (X, LABELS), checkpoint=tmp_path / "run", callbacks=[Broken()], **SETTINGS)
    assert load_flow(tmp_path / "run").stopped == "interrupted"
    trainer = ut.Trainer(build(), (X, LABELS), **SETTINGS)
    next(trainer)
    trainer.close()
    assert trainer.run.flow.stopped == "interrupted"
    assert ut.train(build(), (X, LABELS), **SETTINGS).flow.stopped == "finished"


def test_copies_hold_the_record():
    run = ut.train(build(), (X, LABELS), **SETTINGS)
    for made in (copy.deepcopy(run), pickle.loads(pickle.dumps(run))):
        assert np.array_equal(made.flow.values, run.flow.values, equal_nan=True) and made.findings == run.findings


def test_trainings_in_threads_keep_to_themselves():
    found = {}

    def train(width):
        model = nn.Sequential(nn.Dense(4, width), "relu", nn.Dense(width, 3))
        found[width] = ut.train(model, (X, LABELS), **SETTINGS).flow

    threads = [threading.Thread(target=train, args=(width,)) for width in (3, 5, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    there = dict(found)
    for width, flow in there.items():
        train(width)
        assert np.allclose(found[width].values, flow.values, rtol=1e-5, equal_nan=True)


def rows_of(steps):
    """What is added to a record for these steps; every number is that of the step."""
    n = len(steps)
    scalars, values = np.empty((n, len(SCALARS))), np.empty((n, len(STATS), 1), np.float32)
    scalars[:], values[:] = steps[:, None], steps[:, None, None]
    return steps, steps // 7, scalars, values


def test_a_long_record_is_thinned_evenly_and_goes_on_so_after_it_was_taken_up():
    rows = Rows(1)
    rows.most = 100
    for begin in range(1, 1001, 10):
        rows.add(*rows_of(np.arange(begin, begin + 10)))
        rows.thin()
    kept = rows.settle()
    assert rows.n <= 100 and rows.stride == 16
    assert np.array_equal(kept.steps, np.arange(1, 1001, 16))
    assert np.array_equal(kept.values[:, 3, 0], kept.steps.astype(np.float32))
    assert np.array_equal(kept.epochs, kept.steps // 7)
    again = Rows(1)
    again.put(*kept)
    again.add(*rows_of(np.arange(1001, 1101)))
    assert np.array_equal(again.settle().steps, np.arange(1, 1101, 16))


@pytest.mark.parametrize("sizes", [[3], [1] * 200, [2000, 1, 2000], [1, 0, 5, 1500, 0], [300] * 70])
def test_rows_after_a_step_are_the_same_wherever_they_lie(sizes):
    rows, ends = Rows(1), np.cumsum(sizes)
    for size, end in zip(sizes, ends, strict=True):
        rows.add(*rows_of(np.arange(end - size + 1, end + 1)))
        for step in {0, int(end) // 2, max(int(end) - 1, 0), int(end)}:
            found = rows.after(step)
            assert np.array_equal(found.steps, np.arange(step + 1, end + 1))
            assert np.array_equal(found.scalars[:, 0], found.steps) and np.array_equal(found.epochs, found.steps // 7)
            assert np.array_equal(found.values[:, -1, 0], found.steps.astype(np.float32))
    assert rows.n == ends[-1] and np.array_equal(rows.settle().steps, np.arange(1, ends[-1] + 1))


@pytest.mark.parametrize(
    "values", [[1e30, np.nextafter(1e30, 2e30)], [-1e308, 1e308], [0.0, 0.0], [5e-324, 0.0], [7.0]]
)
def test_a_histogram_counts_what_is_nearly_the_same_or_very_large(values):
    found = histogram(np.array(values))
    assert sum(found["counts"]) == len(values) and len(found["edges"]) == 41


def test_a_model_in_a_loop_of_ones_own_is_recorded_layer_by_layer():
    measured, model = recorded(lambda model, X, y: np.mean((model(X) - y[:, None]) ** 2)), build()
    for _ in range(3):
        measured(model, X, LABELS.astype(np.float32))
    found = [(x.path, x.kind, x.activation, x.weights, x.bias) for x in measured.flow.layers]
    assert found == [
        ("layers[0]", "Dense", "relu", "layers[0].W", "layers[0].b"),
        ("layers[2]", "Dense", None, "layers[2].W", "layers[2].b"),
    ]


def test_a_watched_value_may_have_the_name_of_a_parameter():
    measured = recorded(lambda p, x: np.sum(ut.watch(x @ p["W"], "W") ** 2))
    x, W = np.ones((5, 2)), np.full((2, 1), 0.5)
    measured({"W": W}, x)
    measured({"W": W}, x)
    flow = measured.flow
    assert [x.kind for x in flow.layers] == ["watched", "parameter"]
    assert flow.stat("z.rms")[0].tolist() == pytest.approx([1.0, np.nan], nan_ok=True)
    assert flow.stat("delta.rms")[0].tolist() == pytest.approx([2.0, np.nan], nan_ok=True)
    assert flow.stat("W.rms")[0].tolist() == pytest.approx([np.nan, 0.5], nan_ok=True)


def test_sizes_whose_squares_float32_does_not_hold_are_finite():
    """Gradients of 10¹⁴ are finite: so are their root mean squares, their norm, and there is no finding of NaN."""
    rng = np.random.default_rng(0)
    X, y = (rng.standard_normal((64, n)) * size for n, size in ((200, 1e6), (1, 1e9)))
    W = rng.standard_normal((200, 1))
    model = nn.Sequential(nn.Dense(200, 1, W=W.astype(np.float32), b=np.zeros(1, np.float32)))
    settings = {"loss": "mean_squared_error", "batch_size": 64, "steps": 3, "validation": None, "progress": False}
    run = ut.train(model, (X.astype(np.float32), y.astype(np.float32)), optimizer=optim.sgd(1e-20), **settings)
    flow, gradient = run.flow, 2 * X.T @ (X @ W - y) / 64
    assert flow.stat("dW.max")[0, 0] == pytest.approx(np.abs(gradient).max(), rel=1e-4)
    np.testing.assert_allclose(flow.stat("dW.rms")[:, 0], np.sqrt(np.mean(gradient**2)), rtol=0.2)
    db = abs(float(2 * np.mean(X @ W - y)))
    rms = float(flow.stat("dW.rms")[0, 0])
    assert flow.scalars["grad_norm"][0] == pytest.approx(np.hypot(rms * np.sqrt(200), db), rel=1e-3)
    assert not flow.stat("nonfinite").any() and "non-finite" not in [x.kind for x in run.findings]


def test_such_a_size_goes_on_from_the_step_before():
    """Where the share of the largest magnitude is known, it is kept; what is not finite stays so."""
    names = ("0.dW.ss", "0.dW.s", "0.dW.max")
    values = np.array([[4.0, 0.0, 2.0], [np.inf, 0.0, 2e20], [np.inf, 0.0, np.inf]])
    rows = Rows(1)
    found, sums = rows.read(Told(names, np.array([4, 4, 4]), values))
    np.testing.assert_allclose(found[:, STATS.index("dW.rms"), 0], [1.0, 1e20, np.inf])
    np.testing.assert_allclose(sums[:, 0], [2.0, 2e20, np.inf])
    assert found[:, STATS.index("nonfinite"), 0].tolist() == [0, 0, 1]
