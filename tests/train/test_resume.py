"""A resumed training: the same, to the last bit, as one that never stopped."""

import itertools
import signal
import threading
import warnings

import numpy as np
import pytest

import undertow as ut
from checkpoint_samples import Stop, StopAt
from undertow import nn, optim, trees
from undertow.errors import ArgumentError, RunError
from undertow.export import export_source
from undertow.train import CheckpointStore, EarlyStopping, ReduceOnPlateau, Run, Trainer
from undertow.train.resume import open_training

RNG = np.random.default_rng(0)
X = RNG.standard_normal((203, 4)).astype(np.float32)
LABELS = (X @ RNG.standard_normal((4, 3)).astype(np.float32)).argmax(axis=1)
WEIGHTS = RNG.uniform(0.5, 2.0, 203).astype(np.float32)
COLUMNS = ("epoch", "step", "loss", "accuracy", "validation_loss", "validation_accuracy", "clipped", "rate")


def build():
    return nn.Sequential(nn.Dense(4, 16), "tanh", nn.Dense(16, 3))


def settings(**more):
    return {
        "loss": nn.categorical_cross_entropy(label_smoothing=0.1),
        "optimizer": optim.adam(optim.cosine(0.01, 40)),
        "clip": optim.clip_by_global_norm(0.3),
        "mixup": 0.2,
        "l2": 1e-3,
        "batch_size": 16,
        "epochs": 6,
        "seed": 3,
        "progress": False,
        **more,
    }


def bits(run):
    return b"".join(np.asarray(x).tobytes() for x in trees.flatten(run.model)[0] if not callable(x))


def rows(run):
    return [{key: row[key] for key in COLUMNS if key in row} for row in run.history]


@pytest.mark.parametrize("every", [None, 1, 5])
@pytest.mark.parametrize("stop", [1, 12, 13, 40])
def test_a_training_that_crashed_goes_on_to_the_last_bit(tmp_path, every, stop):
    data = (X, LABELS, WEIGHTS)
    whole = ut.train(build(), data, **settings())
    with pytest.raises(Stop):
        ut.train(build(), data, checkpoint=tmp_path, checkpoint_every=every, callbacks=[StopAt(stop)], **settings())
    if not CheckpointStore(tmp_path / "checkpoints").numbers():
        with pytest.raises(RunError, match="No checkpoint was written, so there is nothing to go on with"):
            ut.resume(tmp_path, data, progress=False)
        return
    run = ut.resume(tmp_path, data, progress=False)
    assert bits(run) == bits(whole)
    assert rows(run) == rows(whole)
    assert run.gradient_history == whole.gradient_history


def test_early_stopping_and_the_scale_of_the_rate_go_on(tmp_path):
    def callbacks():
        return [ReduceOnPlateau("validation_loss", factor=0.5, patience=1)]

    def wanted(**more):
        stopping = EarlyStopping("validation_accuracy", 3, min_delta=0.01)
        return settings(optimizer="adam", epochs=30, early_stopping=stopping, callbacks=callbacks(), **more)

    whole = ut.train(build(), (X, LABELS), **wanted())
    assert whole.stopped == "callback"
    with Trainer(build(), (X, LABELS), **wanted(checkpoint=tmp_path)) as trainer:
        for _ in itertools.islice(trainer, 3):
            pass
    run = ut.resume(tmp_path, (X, LABELS), callbacks=callbacks(), progress=False)
    assert bits(run) == bits(whole) and rows(run) == rows(whole)


def test_what_early_stopping_ended_goes_on_with_its_patience_anew(tmp_path):
    """It is over, unless more is asked for: then so many epochs again may pass without a better one."""
    wanted = settings(optimizer=optim.sgd(optim.of_function(worse)), epochs=20, clip=None, early_stopping=3)
    run = ut.train(build(), (X, LABELS), checkpoint=tmp_path, **wanted)
    assert run.stopped == "callback" and len(run.history) == 5  # the second is the best
    same = ut.resume(tmp_path, (X, LABELS), optimizer=optim.sgd(optim.of_function(worse)), progress=False)
    assert len(same.history) == 5
    more = {"optimizer": optim.sgd(optim.of_function(worse)), "epochs": 12, "progress": False}
    longer = ut.resume(tmp_path, (X, LABELS), **more)
    assert longer.stopped == "callback" and len(longer.history) == 8 and bits(longer) == bits(run)


def test_ctrl_c_leaves_a_checkpoint_within_the_epoch(tmp_path):
    class Interrupt:
        def on_step_end(self, epoch, step, loss, model):
            if (epoch, step) == (2, 5):
                signal.raise_signal(signal.SIGINT)

    whole = ut.train(build(), (X, LABELS), **settings())
    run = ut.train(build(), (X, LABELS), checkpoint=tmp_path, callbacks=[Interrupt()], **settings())
    assert run.stopped == "interrupted" and run.history[-1]["step"] == 12 + 5
    run = ut.resume(tmp_path, (X, LABELS), progress=False)
    assert bits(run) == bits(whole) and rows(run) == rows(whole)


def test_ctrl_c_while_a_checkpoint_is_begun_loses_nothing(tmp_path, monkeypatch):
    """The signal comes as the thread that writes is to start: it is heard when the checkpoint is under way."""
    start = threading.Thread.start

    def signalled(thread):
        if thread.name == "undertow-checkpoint":
            signal.raise_signal(signal.SIGINT)
        start(thread)

    whole = ut.train(build(), (X, LABELS), **settings())
    monkeypatch.setattr(threading.Thread, "start", signalled)
    run = ut.train(build(), (X, LABELS), checkpoint=tmp_path, **settings())
    assert run.stopped == "interrupted" and len(run.history) == 1
    monkeypatch.undo()
    run = ut.resume(tmp_path, (X, LABELS), progress=False)
    assert bits(run) == bits(whole) and rows(run) == rows(whole)


def test_a_run_may_go_on_for_longer(tmp_path):
    whole = ut.train(build(), (X, LABELS), **settings(epochs=9))
    ut.train(build(), (X, LABELS), checkpoint=tmp_path, **settings())
    run = ut.resume(tmp_path, (X, LABELS), epochs=9, progress=False)
    assert bits(run) == bits(whole) and len(run.history) == 9
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert len(lines) == 9


def test_limits_are_of_the_whole_training(tmp_path):
    """What was done already counts: as much is nothing to do, less is an error, and the folder stays free."""
    run = ut.train(build(), (X, LABELS), checkpoint=tmp_path, **settings())
    n_steps = run.history[-1]["step"]
    for given, message in (
        ({"epochs": 5}, "6 epochs are done already. The number of epochs is that of the whole training"),
        ({"steps": n_steps - 1}, f"{n_steps} steps are done already. .* so {n_steps - 1} is too small. Give a larger"),
        ({"seconds": 1e-6}, "seconds are done already. .* so 1e-06 is too small"),
    ):
        with pytest.raises(ArgumentError, match=message):
            ut.resume(tmp_path, (X, LABELS), progress=False, **given)
    same = ut.resume(tmp_path, (X, LABELS), epochs=6, progress=False)
    assert bits(same) == bits(run) and len(same.history) == 6


@pytest.mark.parametrize("optimizer", sorted(optim.OPTIMIZERS))
def test_every_optimizer_goes_on(tmp_path, optimizer):
    whole = ut.train(build(), (X, LABELS), **settings(optimizer=optimizer, epochs=2))
    with pytest.raises(Stop):
        crash = settings(optimizer=optimizer, epochs=2, checkpoint_every=1, callbacks=[StopAt(7)])
        ut.train(build(), (X, LABELS), checkpoint=tmp_path, **crash)
    assert bits(ut.resume(tmp_path, (X, LABELS), progress=False)) == bits(whole)


def test_the_best_checkpoint_stays(tmp_path):
    run = ut.train(build(), (X, LABELS), checkpoint=tmp_path, keep=1, **settings(optimizer=optim.sgd(0.5), epochs=8))
    store = CheckpointStore(tmp_path / "checkpoints")
    losses = [row["validation_loss"] for row in run.history]
    assert len(store.best().record["history"]) == 1 + int(np.argmin(losses))
    assert len(store.latest().record["history"]) == 8 and len(store.numbers()) <= 2


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"data": None}, ArgumentError, "Give the same data again"),
        ({"data": (X + 1, LABELS)}, RunError, "trained on other data"),
        ({"data": (X[:50], LABELS[:50])}, RunError, r"trained on other data .*\(45, 4\)"),
        ({"model": nn.Sequential(nn.Dense(4, 8), "tanh", nn.Dense(8, 3))}, RunError, r"layers\[0\].W is float32"),
        ({"optimizer": "momentum"}, RunError, "optimizer/v.* is missing"),
        ({"callbacks": [ReduceOnPlateau()]}, RunError, "callbacks of the same kinds"),
    ],
)
def test_what_does_not_fit_is_told_and_nothing_is_lost(tmp_path, given, error, message):
    ut.train(build(), (X, LABELS), checkpoint=tmp_path, **settings(epochs=2))
    before = {file.name: file.read_bytes() for file in (tmp_path / "checkpoints").glob("*.safetensors")}
    given = {"data": (X, LABELS), "progress": False, **given}
    with pytest.raises(error, match=message):
        ut.resume(tmp_path, **given)
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "checkpoints").glob("*.safetensors")}


def test_a_folder_with_a_training_is_not_trained_over(tmp_path):
    ut.train(build(), (X, LABELS), checkpoint=tmp_path, **settings(epochs=2))
    with pytest.raises(RunError, match="holds a training already"):
        ut.train(build(), (X, LABELS), checkpoint=tmp_path, **settings(epochs=2))


def test_a_loss_and_validation_data_of_ones_own_are_given_again(tmp_path):
    def absolute(p, y):
        return np.mean(np.abs(p - y))

    model, data, held = nn.Sequential(nn.Dense(4, 1)), (X, X[:, :1]), (X[:9], X[:9, :1])
    wanted = {"loss": absolute, "validation": held, "progress": False}
    whole = ut.train(model, data, epochs=4, **wanted)
    ut.train(model, data, epochs=2, checkpoint=tmp_path, **wanted)
    with pytest.raises(ArgumentError, match=r"a loss of your own \(absolute\)"):
        ut.resume(tmp_path, data)
    with pytest.raises(ArgumentError, match="validation data of your own"):
        ut.resume(tmp_path, data, loss=absolute)
    run = ut.resume(tmp_path, data, epochs=4, **wanted)
    assert bits(run) == bits(whole)


def test_metrics_of_ones_own_are_given_again_whatever_their_names(tmp_path):
    """One that is called as a metric of Undertow would else be measured by that from the resumed epoch on."""

    def r2(y, prediction):
        return 42.0

    model, data = nn.Sequential(nn.Dense(4, 1)), (X, X[:, :1])
    wanted = {"loss": "mean_squared_error", "metrics": {"r2": r2, "mae": "mae"}, "progress": False}
    ut.train(model, data, epochs=2, checkpoint=tmp_path, **wanted)
    with pytest.raises(ArgumentError, match=r"metrics of your own \(r2\).*the same order \(r2, mae\): metrics="):
        ut.resume(tmp_path, data, epochs=3)
    run = ut.resume(tmp_path, data, epochs=3, metrics=wanted["metrics"], progress=False)
    assert [row["validation_r2"] for row in run.history] == [42.0] * 3
    known = tmp_path / "known"
    ut.train(model, data, epochs=1, checkpoint=known, **{**wanted, "metrics": ["r2", "mae"]})
    assert "mae" in ut.resume(known, data, epochs=2, progress=False).history[-1]


@pytest.mark.parametrize("name", ["signs", "adam"])
def test_an_optimizer_of_ones_own_is_given_again_whatever_its_name(tmp_path, name):
    """Its state comes back with Python's whole numbers as such: t ** -0.5 of NumPy's would be a float64."""

    def update(grads, state, params):
        t = state["t"] + 1
        return trees.map(lambda w, g: w - 0.01 * t**-0.5 * np.sign(g), params, grads), {"t": t}

    def rule():
        return optim.Optimizer(name, lambda params: {"t": 0}, update, {"rate": 0.01})

    wanted = settings(optimizer=rule(), epochs=4)
    whole = ut.train(build(), (X, LABELS), **wanted)
    begun = ut.train(build(), (X, LABELS), checkpoint=tmp_path, **{**wanted, "epochs": 2})
    with pytest.raises(ArgumentError, match=rf"an optimizer of your own \({name}\), .*Give it again: optimizer="):
        ut.resume(tmp_path, (X, LABELS), epochs=4)
    with pytest.raises(ArgumentError, match=f"'{name}' is one of your own"):
        export_source(begun, tmp_path / "model.py")
    with pytest.raises(ArgumentError, match=f"'{name}' is one of your own"):
        ut.find_learning_rate(build(), (X, LABELS), loss="categorical_cross_entropy", optimizer=rule())
    run = ut.resume(tmp_path, (X, LABELS), epochs=4, optimizer=rule(), progress=False)
    assert bits(run) == bits(whole)


@pytest.mark.parametrize("around", ["lookahead", "grouped", "default", "frozen"])
def test_an_optimizer_of_ones_own_is_known_inside_another(tmp_path, around):
    """Also where it has the name and the state of one of Undertow's."""
    update = lambda grads, state, params: (trees.map(lambda w, g: w - 0.01 * np.sign(g), params, grads), state)
    own = optim.Optimizer("sgd", lambda params: (), update, {"rate": 0.01})
    rule = {
        "lookahead": optim.lookahead(own),
        "grouped": optim.grouped(optim.adam(), {"layers[0].*": optim.averaged(own)}),
        "default": optim.grouped(own, {"layers[0].*": optim.adam()}),
        "frozen": optim.grouped(optim.sgd(0.01), {"layers[0].*": "frozen"}),
    }[around]
    ut.train(build(), (X, LABELS), checkpoint=tmp_path, **settings(optimizer=rule, epochs=1))
    if around == "frozen":
        ut.resume(tmp_path, (X, LABELS), epochs=2, progress=False)
    else:
        with pytest.raises(ArgumentError, match=r"an optimizer of your own \(sgd\), .*Give it again: optimizer="):
            ut.resume(tmp_path, (X, LABELS), epochs=2)


def test_a_schedule_that_has_come_to_rest_is_told_where_more_epochs_are_wanted(tmp_path):
    """A cosine of as many steps as there were: more of them change nothing, which another rate mends."""
    steps = 2 * -(-203 // 16)
    wanted = settings(optimizer=optim.adam(optim.cosine(0.01, steps)), epochs=2, validation=None)
    run = ut.train(build(), (X, LABELS), checkpoint=tmp_path, **wanted)
    with pytest.warns(UserWarning, match="has come down to 0 and stays there"):
        more = ut.resume(tmp_path, (X, LABELS), epochs=3, progress=False)
    assert bits(more) == bits(run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = optim.adam(optim.cosine(0.01, 2 * steps))
        assert bits(ut.resume(tmp_path, (X, LABELS), epochs=4, optimizer=again, progress=False)) != bits(run)


def test_a_resumed_training_can_be_looked_into(tmp_path):
    ut.train(build(), (X, LABELS), checkpoint=tmp_path, **settings(epochs=2))
    trainer = open_training(tmp_path, (X, LABELS), progress=False, callbacks=())
    assert (trainer.epoch, trainer.over, trainer.done) == (2, True, True)
    trainer.close()


def test_what_was_skipped_is_told(tmp_path, capsys):
    """A damaged checkpoint is passed over, in so many words, and the training ends at the same bits."""
    whole = ut.train(build(), (X, LABELS), **settings())
    ut.train(build(), (X, LABELS), checkpoint=tmp_path, checkpoint_every=10, **settings(epochs=4))
    last = max((tmp_path / "checkpoints").glob("*.safetensors"))
    last.write_bytes(last.read_bytes()[:-1])
    run = ut.resume(tmp_path, (X, LABELS), epochs=6)
    assert f"{last.name} is damaged" in capsys.readouterr().out
    assert bits(run) == bits(whole)


def test_the_best_epoch_is_known_after_a_resume(tmp_path):
    """Epochs before the resume count: one that is worse than those is not the best."""
    spoiled = settings(epochs=2, optimizer=optim.sgd(0.5), clip=None)
    ut.train(build(), (X, LABELS), checkpoint=tmp_path, **spoiled)
    trainer = open_training(tmp_path, (X, LABELS), progress=False, callbacks=(), epochs=4)
    with trainer:
        assert trainer.lowest == min(row["validation_loss"] for row in trainer.run.history)
        best = trainer.best[0]
        trainer.note_best({"validation_loss": trainer.lowest + 1.0})
        assert trainer.best[0] == best == min(trainer.run.history, key=lambda row: row["validation_loss"])["epoch"]
        trainer.note_best({"validation_loss": trainer.lowest - 1.0})
        assert trainer.best[0] == trainer.epoch


class InterruptAt:
    """Presses Ctrl-C at a step of an epoch."""

    def __init__(self, epoch, step):
        self.place = epoch, step

    def on_step_end(self, epoch, step, loss, model):
        if (epoch, step) == self.place:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("keep", [1, 2])
@pytest.mark.parametrize("stop", [(3, 2), (3, 12), (5, 7)])
def test_a_run_ended_early_after_a_resume_holds_the_best_model(tmp_path, stop, keep):
    """It is that of an epoch before the resume, where none after it was better: as if it had never stopped."""
    spoiled = settings(optimizer=optim.sgd(optim.of_function(worse)), epochs=9, clip=None, keep=keep)
    end = InterruptAt(7, 5)
    whole = ut.train(build(), (X, LABELS), checkpoint=tmp_path / "whole", callbacks=[end], **spoiled)
    losses = [row["validation_loss"] for row in whole.history]
    assert int(np.argmin(losses)) == 1
    first = InterruptAt(*stop)
    part = ut.train(build(), (X, LABELS), checkpoint=tmp_path / "part", callbacks=[first], **spoiled)
    assert bits(part) == bits(whole)
    more = {"optimizer": optim.sgd(optim.of_function(worse)), "progress": False}
    run = ut.resume(tmp_path / "part", (X, LABELS), callbacks=[end], **more)
    assert rows(run) == rows(whole) and bits(run) == bits(whole)
    run.save(tmp_path / "part", overwrite=True)
    assert bits(Run.load(tmp_path / "part")) == bits(whole)


def worse(t):
    return 0.05 if t < 24 else 100.0 if t == 24 else 1e-9


@pytest.mark.parametrize("stop", [12, 20, 36, 50])
def test_a_resumed_run_keeps_the_same_best_and_last_checkpoint(tmp_path, stop):
    """Killed at a step, without early stopping: both checkpoints hold the same bits as without the kill."""
    wanted = settings(optimizer=optim.sgd(0.5), epochs=8, clip=None, checkpoint_every=3, keep=1)
    with_callback = {"checkpoint": tmp_path / "whole", "callbacks": [StopAt(10**6)]}
    ut.train(build(), (X, LABELS), **with_callback, **wanted)
    with pytest.raises(Stop):
        ut.train(build(), (X, LABELS), checkpoint=tmp_path / "part", callbacks=[StopAt(stop)], **wanted)
    ut.resume(tmp_path / "part", (X, LABELS), progress=False, callbacks=[StopAt(10**6)])
    whole, part = (CheckpointStore(tmp_path / name / "checkpoints") for name in ("whole", "part"))
    for one, other in ((whole.latest(), part.latest()), (whole.best(), part.best())):
        assert one.record["epoch"] == other.record["epoch"] and one.arrays.keys() == other.arrays.keys()
        assert all(one.arrays[name].tobytes() == other.arrays[name].tobytes() for name in one.arrays)


def test_a_folder_that_is_none_is_named(tmp_path):
    (tmp_path / "a").write_text("")
    for name, what in (("no", "there is no such folder"), ("a", "this is a file, no folder")):
        with pytest.raises(RunError, match=f"{name}: {what}. Give the folder of a run."):
            ut.resume(tmp_path / name, (np.ones((4, 1)), np.ones((4, 1))))


def halving(t):
    return 0.1 if t < 9 else 0.05


@pytest.mark.parametrize(
    ("make", "call"),
    [
        (lambda: optim.sgd(halving), "undertow.optim.sgd(…)"),
        (lambda: optim.adam(optim.warmup(optim.of_function(lambda t: 0.1 / (1 + t)), 5)), "undertow.optim.adam(…)"),
        (lambda: optim.lookahead(optim.sgd(halving)), "…"),
        (lambda: optim.grouped(optim.sgd(0.1), {"layers[0].W": optim.momentum(halving)}), "…"),
    ],
    ids=["plain", "after a warm-up", "wrapped", "of a group"],
)
def test_a_schedule_of_ones_own_is_asked_for_and_nothing_else(tmp_path, make, call):
    """The message says what is needed; with it, the run goes on to the same bits."""
    whole = ut.train(build(), (X, LABELS), **settings(optimizer=make()))
    ut.train(build(), (X, LABELS), checkpoint=tmp_path, **settings(optimizer=make(), epochs=2))
    with pytest.raises(ArgumentError) as caught:
        ut.resume(tmp_path, (X, LABELS), epochs=6, progress=False)
    said = str(caught.value)
    assert said.startswith("the learning rate of this run is a function of your own, ") and "test_resume.py:" in said
    assert said.endswith(f"as it was given to train: optimizer={call}.")
    assert bits(ut.resume(tmp_path, (X, LABELS), optimizer=make(), epochs=6, progress=False)) == bits(whole)


def test_a_schedule_of_ours_needs_nothing(tmp_path):
    """Each of them, and a table of a function of one's own."""
    for number, rate in enumerate(
        (optim.cosine(0.1, 50), optim.warmup(optim.one_cycle(0.1, 40), 5), optim.tabulate(halving, 60), 0.05)
    ):
        more = settings(optimizer=optim.sgd(rate))
        ut.train(build(), (X, LABELS), checkpoint=tmp_path / f"{number}", **{**more, "epochs": 2})
        run = ut.resume(tmp_path / f"{number}", (X, LABELS), epochs=6, progress=False)
        assert bits(run) == bits(ut.train(build(), (X, LABELS), **more))


@pytest.mark.parametrize(("first", "second"), [("adam", "sgd"), ("sgd", "adam"), ("momentum", "adam")])
def test_another_optimizer_is_refused(tmp_path, first, second):
    """One that remembers less too: what the checkpoint holds beside is not dropped in silence."""
    ut.train(build(), (X, LABELS), checkpoint=tmp_path, **settings(optimizer=first, epochs=2))
    with pytest.raises(RunError, match=r"does not fit this training.* Give the optimizer it was made with"):
        ut.resume(tmp_path, (X, LABELS), optimizer=optim.find_optimizer(second), epochs=6, progress=False)


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("epoch", [2, 3, 4])
def test_an_error_in_a_callback_takes_the_epoch_from_nobody(tmp_path, error, first, epoch):
    """Early stopping, the scale of the rate and the average of the models have seen the epoch that is in the history.

    The fourth epoch is the best one; the rate falls after the third and the fifth.
    """

    def fail(info):
        if info.epoch == epoch:
            raise error

    def best_at_4(info):
        info.row["validation_loss"] = [5.0, 1.0, 2.0, 0.0, 3.0, 3.0][info.epoch - 1]

    def callbacks(fails):
        watching = [EarlyStopping("validation_loss", 50), ReduceOnPlateau("validation_loss", patience=1)]
        return [best_at_4, *[fail] * (fails and first), *watching, *[fail] * (fails and not first)]

    some = settings(validation=0.2, average=0.8, optimizer=optim.momentum(0.05))
    whole = ut.train(build(), (X, LABELS), callbacks=callbacks(False), **some)
    try:
        assert (
            ut.train(build(), (X, LABELS), checkpoint=tmp_path, callbacks=callbacks(True), **some).stopped != "finished"
        )
    except Stop:
        assert error is Stop
    resumed = ut.resume(tmp_path, (X, LABELS), callbacks=callbacks(False), progress=False)
    assert rows(resumed) == rows(whole) and bits(resumed) == bits(whole)
