"""Callbacks: when they are called, when they stop, what they remember, what they write."""

import importlib
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import undertow as ut
from undertow import nn, trees
from undertow.errors import ArgumentError, RunError
from undertow.train.callbacks import EpochInfo, TrainInfo, read_hooks
from undertow.train.logs import CsvLog, JsonLines
from undertow.train.stopping import EarlyStopping, ReduceOnPlateau, TimeBudget


def info(epoch, value, column="validation_loss", model=None, **more):
    return EpochInfo(epoch, None, {"epoch": epoch, column: value}, model, [], **more)


def stops_at(callback, values, column="validation_loss"):
    """The epoch after which a callback stops; None where it does not."""
    for epoch, value in enumerate(values, 1):
        if callback.on_epoch_end(info(epoch, value, column)):
            return epoch
    return None


# The protocol


def test_callbacks_are_told_of_what_they_have_methods_for():
    told = []

    class All:
        def on_train_begin(self, info):
            told.append("train begin")

        def on_epoch_begin(self, info):
            told.append("epoch begin")

        def on_step_end(self, epoch, step, loss, model):
            told.append("step end")

        def on_epoch_end(self, info):
            told.append("epoch end")

        def on_train_end(self, info):
            told.append("train end")
            return "a model"

    class End:
        def on_train_end(self, info):
            told.append("other end")

    hooks = read_hooks([All(), End(), lambda info: told.append("function")])
    for function in (*hooks.on_train_begin, *hooks.on_epoch_begin):
        function(None)
    hooks.on_step_end[0](1, 1, 0.5, None)
    assert hooks.end_epoch(info(1, 0.5)) is False
    assert hooks.end_training(TrainInfo(1, None)) == "a model"
    assert told == ["train begin", "epoch begin", "step end", "epoch end", "function", "train end", "other end"]


def test_all_are_told_before_training_stops():
    """True and info.stop both stop; what is merely true does not."""
    told = []
    assert not read_hooks([lambda info: 1, lambda info: "yes"]).end_epoch(info(1, 0.5))
    assert read_hooks([lambda info: True, lambda info: told.append(1)]).end_epoch(info(1, 0.5)) and told == [1]
    row = info(1, 0.5)
    assert read_hooks(lambda info: info.stop("enough")).end_epoch(row) and row.reasons == ["enough"]


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        (3, r"on_epoch_end\(info\) or is a function of info, got 3"),
        (ut.optim.reduce_on_plateau(), r"got Plateau\(.*\)\. Use train\(…, reduce_on_plateau=10\), or from undertow"),
        (EarlyStopping, "the callback EarlyStopping is a class"),
        (lambda: None, r"called with \(info\)"),
        (type("Steps", (), {"on_step_end": lambda self, loss: None})(), r"called with \(epoch, step, loss, model\)"),
    ],
)
def test_what_is_no_callback_is_refused(callbacks, message):
    with pytest.raises(ArgumentError, match=message):
        read_hooks(callbacks)


def test_states_go_back_to_the_callbacks_they_are_of():
    """Only callbacks that remember are saved; other kinds, or another order, are an error."""
    first = [EarlyStopping(), print, ReduceOnPlateau()]
    hooks = read_hooks(first)
    hooks.end_epoch(info(1, 0.5))
    state = hooks.state()
    assert state[1] is None and state[0]["callback"] == "EarlyStopping"
    second = [EarlyStopping(), ReduceOnPlateau()]
    read_hooks(second).restore(state)
    assert second[0].best == second[1].state()["best"] == 0.5
    for wrong in ([], [ReduceOnPlateau(), EarlyStopping()]):
        with pytest.raises(RunError, match="trained with the callbacks EarlyStopping, ReduceOnPlateau"):
            read_hooks(wrong).restore(state)


# Early stopping


@pytest.mark.parametrize(
    ("settings", "values", "epoch"),
    [
        ({"patience": 2}, [3, 2, 2, 2], 4),
        ({"patience": 2}, [3, 2, 2, 1, 1, 1], 6),
        ({"patience": 2}, [3, 2, math.nan, math.nan], 4),
        ({"patience": 2}, [math.nan, math.nan], 2),
        ({"patience": 2}, [3, None, None, None, 3, 3], 6),
        ({"patience": 2, "min_delta": 0.5}, [3, 2.6, 2.5, 2.4], 3),
        ({"patience": 2, "min_delta": 0.5}, [3, 2.6, 2.4, 2.0, 1.8], None),
        ({"patience": 2, "mode": "max"}, [1, 2, 3, 2, 3], 5),
        ({"patience": 2, "baseline": 1.0}, [5, 4, 3], 2),
        ({"patience": 2, "baseline": 4.5}, [5, 4, 3, 2], None),
        ({"patience": 1, "start_epoch": 3}, [1, 2, 3, 4], 4),
    ],
)
def test_early_stopping_waits_its_patience(settings, values, epoch):
    assert stops_at(EarlyStopping(**settings), values) == epoch


def test_early_stopping_knows_which_way_is_better():
    """Losses and errors are to fall, scores to rise; of a metric of one's own it is told, or must be."""
    rising, falling = [1, 2, 3, 4, 5], [5, 4, 3, 2, 1]
    for column, better, worse in (
        ("loss", falling, rising), ("validation_rmse", falling, rising), ("validation_f1", rising, falling),
        ("top_3_accuracy", rising, falling), ("r2", rising, falling),
    ):  # fmt: skip
        assert stops_at(EarlyStopping(column, patience=1), better, column) is None
        assert stops_at(EarlyStopping(column, patience=1), worse, column) == 2
    with pytest.raises(ArgumentError, match="not known whether validation_cost is to rise or to fall"):
        EarlyStopping("validation_cost").on_epoch_end(info(1, 1.0, "validation_cost"))
    known = info(1, 1.0, "validation_cost", directions={"cost": "low"})
    assert EarlyStopping("validation_cost").on_epoch_end(known) is False


def test_early_stopping_gives_back_the_best_model():
    """Of three epochs the second was best; its parameters are a copy, activations are those of the model."""
    model = nn.initialize(nn.Sequential(nn.Dense(2, 3), nn.relu))
    stop = EarlyStopping(patience=9)
    for epoch, loss in enumerate([3.0, 1.0, 2.0], 1):
        stop.on_epoch_end(
            info(epoch, loss, model=trees.map_leaves(lambda a, add=epoch: a if callable(a) else a + add, model))
        )
    best = stop.on_train_end(TrainInfo(None, model))
    assert (stop.best, stop.best_epoch) == (1.0, 2)
    np.testing.assert_array_equal(best.layers[0].W, model.layers[0].W + 2)
    assert best.layers[1] is model.layers[1]
    assert EarlyStopping(restore_best=False).on_train_end(TrainInfo(None, model)) is None


def test_early_stopping_says_why():
    for settings, values, reason in (
        ({"patience": 2}, [1, 1, 1], "validation_loss has not improved for 2 epochs; its best is 1, of epoch 1"),
        ({"patience": 1}, [math.nan], "validation_loss was no number for 1 epoch"),
        ({"patience": 1, "baseline": 0.5}, [1], "validation_loss was not better than 0.5 for 1 epoch; its best is 1"),
    ):
        stop = EarlyStopping(**settings)
        infos = [info(epoch, value) for epoch, value in enumerate(values, 1)]
        assert [stop.on_epoch_end(each) for each in infos][-1] and infos[-1].reasons[0].startswith(reason)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EarlyStopping(3), r"EarlyStopping: monitor is 3\. .* EarlyStopping\(patience=3\)"),
        (lambda: EarlyStopping(patience=0), "patience must be a whole number of 1 or more, got 0"),
        (lambda: EarlyStopping(min_delta=-1), "min_delta must be 0 or more and finite, got -1"),
        (lambda: EarlyStopping(mode="up"), "no mode 'up'"),
        (lambda: EarlyStopping(baseline=math.nan), "baseline must be a number and finite"),
        (lambda: ReduceOnPlateau(factor=1), "factor must be above 0 and below 1"),
        (lambda: ReduceOnPlateau(factor=0), "factor must be above 0"),
        (lambda: TimeBudget(-1), "seconds must be above 0 and finite, got -1"),
        (lambda: CsvLog(3), "the file of a log is 3"),
        (lambda: EarlyStopping("f1").on_epoch_end(info(1, 1.0)), "no column 'f1'. It has epoch, validation_loss"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


# What a resumed run remembers

VALUES = st.lists(st.sampled_from([1.0, 1.5, 2.0, 2.5, 3.0, math.nan, None]), min_size=1, max_size=12)


@pytest.mark.parametrize("name", ["Callback", "EarlyStopping", "ReduceOnPlateau", "TimeBudget", "Trainer", "Run"])
def test_what_stands_beside_a_call_of_train_is_found_there(name):
    """``undertow.train`` is the function, whatever is imported; the package of that name has the rest."""
    assert getattr(ut.train, name) is getattr(importlib.import_module("undertow.train"), name)


@pytest.mark.parametrize(
    "make", [lambda: EarlyStopping(patience=3, min_delta=0.5), lambda: ReduceOnPlateau(patience=2, cooldown=1)]
)
@given(values=VALUES, cut=st.integers(0, 12))
def test_a_restored_callback_goes_on_as_if_nothing_had_been(make, values, cut):
    whole, first, second = make(), make(), make()
    model = {"w": np.arange(3.0)}
    for epoch, value in enumerate(values[:cut], 1):
        whole.on_epoch_end(info(epoch, value, model=model))
        first.on_epoch_end(info(epoch, value, model=model))
    second.restore(first.state())
    second.on_train_begin(TrainInfo(None, model, history=[{"epoch": 1}]))
    for epoch, value in enumerate(values[cut:], cut + 1):
        assert whole.on_epoch_end(info(epoch, value)) == second.on_epoch_end(info(epoch, value))
    np.testing.assert_equal(second.state(), whole.state())
    second.on_train_begin(TrainInfo(None, model))
    np.testing.assert_equal(second.state(), make().state())


# The learning rate


@given(
    values=st.lists(st.sampled_from([1.0, 1.5, 2.0, 2.5]), max_size=30),
    patience=st.integers(1, 4),
    cooldown=st.integers(0, 3),
)
def test_a_plateau_lowers_the_rate_where_pytorch_does(values, patience, cooldown):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience - 1, threshold=0.25, threshold_mode="abs", cooldown=cooldown,
        min_lr=0.1, eps=0,
    )  # fmt: skip
    ours = ReduceOnPlateau(factor=0.5, patience=patience, min_delta=0.25, cooldown=cooldown, min_scale=0.1)
    for epoch, value in enumerate(values, 1):
        theirs.step(value)
        ours.on_epoch_end(info(epoch, value))
        assert ours.scale == optimizer.param_groups[0]["lr"]


def test_a_plateau_counted_by_hand():
    """Two epochs without improvement halve the rate; one epoch of rest; never below the least scale."""
    plateau = ReduceOnPlateau(factor=0.5, patience=2, cooldown=1, min_scale=0.2)
    scales = []
    for epoch in range(1, 11):
        plateau.on_epoch_end(info(epoch, 1.0))
        scales.append(plateau.scale)
    assert scales == [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2]


def test_a_time_budget_goes_on_counting():
    times = iter([0.0, 4.0, 100.0, 103.0, 107.0])
    first = TimeBudget(10, clock=lambda: next(times))
    first.on_train_begin(TrainInfo(None, None))
    assert not first.on_epoch_end(info(1, 0.5))
    second = TimeBudget(10, clock=lambda: next(times))
    second.restore(first.state())
    second.on_train_begin(TrainInfo(None, None, history=[{"epoch": 1}]))
    last = info(3, 0.5)
    assert not second.on_epoch_end(info(2, 0.5)) and second.on_epoch_end(last)
    assert last.reasons == ["the 10 seconds of training are used up"]


# Logs


def test_each_row_is_in_the_file_at_once(tmp_path):
    """What is read back is what was written, to the last digit."""
    rows = [{"epoch": 1, "loss": 0.1 + 0.2, "f1": np.float64(1 / 3)}, {"epoch": 2, "loss": 1e-17, "f1": None}]
    table, lines = CsvLog(tmp_path / "new" / "log.csv"), JsonLines(tmp_path / "log.jsonl")
    for number, row in enumerate(rows, 1):
        for log in (table, lines):
            log.on_epoch_end(EpochInfo(number, 2, row, None, []))
        assert [json.loads(line) for line in lines.path.read_text().splitlines()] == rows[:number]
    assert table.path.read_text().splitlines() == [
        "epoch,loss,f1",
        "1,0.30000000000000004,0.3333333333333333",
        "2,1e-17,",
    ]


def test_logs_take_what_numbers_cannot_say(tmp_path):
    row = {"loss": math.nan, "name": 'a "b", c', "sizes": [1, math.inf]}
    table, lines = CsvLog(tmp_path / "log.csv"), JsonLines(tmp_path / "log.jsonl")
    for log in (table, lines):
        log.on_epoch_end(EpochInfo(1, 1, row, None, []))
    assert json.loads(lines.path.read_text()) == {"loss": None, "name": 'a "b", c', "sizes": [1, None]}
    assert table.path.read_text() == 'loss,name,sizes\nnan,"a ""b"", c","[1, null]"\n'


def test_a_table_grows_by_columns_and_goes_on_after_a_resumption(tmp_path):
    path = tmp_path / "log.csv"
    CsvLog(path).on_epoch_end(EpochInfo(1, 3, {"epoch": 1, "loss": 0.5}, None, []))
    CsvLog(path).on_epoch_end(EpochInfo(2, 3, {"loss": 0.25, "epoch": 2, "f1": 0.75}, None, []))
    CsvLog(path).on_epoch_end(EpochInfo(3, 3, {"epoch": 3, "loss": 0.125}, None, []))
    assert path.read_text().splitlines() == ["epoch,loss,f1", "1,0.5,", "2,0.25,0.75", "3,0.125,"]


def test_a_torn_last_row_does_not_swallow_the_next(tmp_path):
    for make, name in ((CsvLog, "log.csv"), (JsonLines, "log.jsonl")):
        log = make(tmp_path / name)
        log.on_epoch_end(info(1, 0.5))
        log.path.write_bytes(log.path.read_bytes()[:-2])
        log.on_epoch_end(info(2, 0.25))
        lines = log.path.read_text().splitlines()
        assert lines[-1] in ("2,0.25", '{"epoch": 2, "validation_loss": 0.25}')


def test_a_log_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").touch()
    for make in (CsvLog, JsonLines):
        with pytest.raises(RunError, match="file is a file, not a folder"):
            make(tmp_path / "file" / "log").on_epoch_end(info(1, 0.5))
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(RunError, match=r"bad\.csv cannot be read: .*Give another file"):
        CsvLog(tmp_path / "bad.csv").on_epoch_end(info(1, 0.5))


@pytest.mark.parametrize(
    "mine",
    [lambda t: 0.05 if t < 5 else 0.01, lambda t: 0.05 * math.exp(-t / 9), lambda t: 0.05 * np.exp(-t / 9)],
    ids=["if", "math", "numpy"],
)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_rates_of_a_schedule_of_ones_own_are_recorded(mine, accumulate):
    """In the record of each step, in the history and for callbacks: what the function itself gives, called by hand."""
    X, seen = np.random.default_rng(0).normal(size=(32, 3)), []
    run = ut.train(
        nn.Dense(3, 1), (X, X[:, :1]), loss="mean_squared_error", optimizer=ut.optim.sgd(mine), epochs=3, batch_size=8,
        validation=None, accumulate=accumulate, progress=False, callbacks=lambda info: seen.append(info.rate),
    )  # fmt: skip
    wanted = [mine(float(step // accumulate)) for step in range(12)]
    np.testing.assert_allclose(run.flow.scalars["rate"], wanted, rtol=1e-6)
    np.testing.assert_allclose(seen, [mine(float(step // accumulate)) for step in (4, 8, 12)], rtol=1e-12)
    assert [row["rate"] for row in run.history] == seen
