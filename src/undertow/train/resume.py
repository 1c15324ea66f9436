"""A training as a snapshot, and back: a resumed run goes on as if it had never stopped, to the last bit."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from undertow import trees
from undertow.errors import ArgumentError, RunError, UndertowError
from undertow.nn import Sequential, build_loss, build_model, describe_model
from undertow.optim import OPTIMIZERS, WRAPPERS, build_clip, build_optimizer, build_schedule, name_leaves
from undertow.train.average import Average
from undertow.train.derive import number_paths, numbers_of, put_numbers
from undertow.train.files import check_run_folder, read_path
from undertow.train.history import Row
from undertow.train.keeper import FOLDER, Keeper
from undertow.train.plan import SETTINGS, Plan
from undertow.train.run import Run
from undertow.train.setup import held_of, is_encoded
from undertow.train.snapshot import Snapshot
from undertow.train.stopping import EarlyStopping, ReduceOnPlateau
from undertow.train.store import CheckpointStore
from undertow.train.trainer import Trainer

COUNTS = ("epoch", "seen", "n_steps")

ALWAYS = ("epochs", "batch_size", "seed", "dtype")
LIMITS = ("epochs", "steps", "seconds")


def take_snapshot(trainer: Trainer) -> Snapshot:
    """Keep all that decides how a training goes on.

    Args:
        trainer: the training, between two steps.

    Returns:
        The snapshot; its arrays are not written to later.

    Source: derived here.
    """
    run = trainer.run
    arrays: dict[str, Any] = {}
    for path, value in zip(number_paths(run.model), numbers_of(trees.flatten(run.model)[0]), strict=True):
        arrays[f"model/{path}"] = np.asarray(value)
    for path, value in zip(name_leaves(trainer.state), trees.flatten(trainer.state)[0], strict=True):
        arrays[f"optimizer/{path}"] = np.asarray(value)
    if trainer.average is not None:
        arrays |= {f"average/{i}": total for i, total in enumerate(trainer.average.sums)}
    arrays["totals"] = np.array(trainer.totals, np.float64).reshape(-1, 2)
    arrays["clipped"] = np.array(trainer.clipped, bool)
    record = {
        **{name: getattr(trainer, name) for name in COUNTS},
        "over": trainer.over,
        "seconds": trainer.elapsed(),
        "stopped": run.stopped,
        **({} if trainer.average is None else {"averaged": trainer.average.n}),
        "settings": run.settings,
        "versions": run.versions,
        "extras": run.extras,
        "history": list(run.history),  # lists of their own: training goes on while they are written
        "gradient_history": list(run.gradient_history),
        "architecture": _describe(run.model),
        "alone": type(run.model) is not Sequential,  # one layer, which is described as a model of one
        "callbacks": _take_out(trainer.hooks.state(), "callbacks", arrays),
        "data": trainer.feed.fingerprint(),
    }
    return Snapshot(arrays, record)


def put_snapshot(trainer: Trainer, snapshot: Snapshot) -> None:
    """Bring a training that was set up alike to where a snapshot was taken.

    Args:
        trainer: the training, before its first step.
        snapshot: from `take_snapshot`.

    Raises:
        RunError: the snapshot is of other data, another network or another optimizer.

    Source: derived here.
    """
    record, run = snapshot.record, trainer.run
    found = trainer.feed.fingerprint()
    if record["data"] != found:
        raise RunError(
            f"the run was trained on other data ({_show(record['data'])}) than it is resumed with ({_show(found)}). "
            "Give the same arrays or files in the same order."
        )
    trainer.hooks.restore(_put_back(record["callbacks"], snapshot.arrays))
    leaves, rebuild = trees.flatten(run.model)
    wanted = [f"model/{path}" for path in number_paths(run.model)]
    run.model = rebuild(put_numbers(leaves, _pick(snapshot, wanted, numbers_of(leaves))))
    memory, restate = trees.flatten(trainer.state)
    wanted = [f"optimizer/{path}" for path in name_leaves(trainer.state)]
    trainer.state = restate(_pick(snapshot, wanted, memory))
    if more := sorted(name for name in snapshot.arrays.keys() - {*wanted} if name.startswith("optimizer/")):
        raise RunError(
            f"the checkpoint does not fit this training: it holds {more[0]}, of which this optimizer knows nothing. "
            "Give the optimizer it was made with."
        )
    _recall_average(trainer.average, snapshot, numbers_of(leaves))
    for name in COUNTS:
        setattr(trainer, name, int(record[name]))
    trainer.over, trainer.seconds = bool(record["over"]), float(record["seconds"])
    trainer.totals = [(float(a), float(b)) for a, b in snapshot.arrays["totals"]]
    trainer.clipped = snapshot.arrays["clipped"].tolist()
    trainer.good = run.model
    trainer.lowest = min((row[trainer.measure] for row in record["history"]), default=math.inf, key=_nan_last)
    run.history = [Row(row) for row in record["history"]]
    run.gradient_history, run.extras = record["gradient_history"], record["extras"]


def _recall_best(trainer: Trainer, snapshot: Snapshot, store: CheckpointStore) -> None:
    """Give a training back the model of its best epoch, which it is to end with where somebody ends it early."""
    history = trainer.run.history
    stopping = next((x for x in trainer.hooks.callbacks if isinstance(x, EarlyStopping)), None)
    lowest = next((row["epoch"] for row in history if row[trainer.measure] == trainer.lowest), None)
    epoch = lowest if stopping is None else stopping.best_epoch
    if epoch is None:
        return
    found: Snapshot | None = snapshot
    if (snapshot.record["epoch"], snapshot.record["over"]) != (epoch, True):
        found = store.best()
    if found is None or (found.record["epoch"], found.record["over"]) != (epoch, True):
        return  # it is damaged, of which the store tells
    leaves, rebuild = trees.flatten(trainer.run.model)
    wanted = [f"model/{path}" for path in number_paths(trainer.run.model)]
    model = rebuild(put_numbers(leaves, _pick(found, wanted, numbers_of(leaves))))
    if trainer.average is not None:
        average = Average(trainer.average.decay)
        _recall_average(average, found, numbers_of(leaves))
        model = average.model(model)
    trainer.best = epoch, model


def _recall_average(average: Average | None, snapshot: Snapshot, like: list[Any]) -> None:
    """Bring an average to where it was when a snapshot was taken."""
    if average is not None:
        average.n = int(snapshot.record["averaged"])
        names = [f"average/{i}" for i in range(len(like) if average.n else 0)]
        average.sums = [np.asarray(x) for x in _pick(snapshot, names, [np.asarray(x) for x in like[: len(names)]])]


def resume(
    path: str | Path,
    data: Any = None,
    *,
    model: Any = None,
    loss: Any = None,
    optimizer: Any = None,
    validation: Any = None,
    metrics: Any = None,
    callbacks: Any = (),
    epochs: int | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    progress: bool = True,
) -> Run:
    """Go on with a training that was kept by ``train(..., checkpoint=path)``, as if it had never stopped.

    One that early stopping ended is over; it goes on where another number of epochs, steps or seconds is given, with
    all of its patience.

    Args:
        path: the folder of the run.
        data: the data that it was trained on; those that came from a file are read again where it is None.
        model: the model, where it is not made of built-in layers.
        loss: the loss, where it is a function of your own.
        optimizer: the optimizer, where it is your own, or its schedule is a function of your own; those of
            `undertow.optim` are kept.
        validation: the validation data, where a pair was given.
        metrics: functions of your own among the metrics, with the others in the same order.
        callbacks: the callbacks that were given, in the same order; what they remembered comes back.
        epochs: another number of epochs, to train longer: that of all epochs, those done already included.
        steps: another number of steps, likewise of all.
        seconds: another number of seconds, likewise of all.
        progress: False prints nothing.

    Returns:
        The run; its history holds what came before.

    Raises:
        RunError: there is no checkpoint, or none that is whole; other data; other callbacks.
        ArgumentError: data, a model, a loss or a schedule that only you have is missing; ``runs/a: 5 epochs are done
            already. …``, where epochs, steps or seconds are less than were done.

    Source: derived here.

    Example:
        >>> import tempfile, undertow as ut
        >>> X = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     settings = {"loss": "mean_squared_error", "progress": False, "checkpoint": folder}
        ...     run = ut.train(ut.nn.Sequential(ut.nn.Dense(1, 1)), (X, 3 * X), epochs=2, **settings)
        ...     run = ut.resume(folder, (X, 3 * X), epochs=5, progress=False)
        >>> [row["epoch"] for row in run.history]
        [1, 2, 3, 4, 5]
    """
    trainer = open_training(
        path, data, model=model, loss=loss, optimizer=optimizer, validation=validation, metrics=metrics,
        callbacks=callbacks, epochs=epochs, steps=steps, seconds=seconds, progress=progress,
    )  # fmt: skip
    return trainer.fit()


def open_training(path: str | Path, data: Any, *, model: Any = None, **given: Any) -> Trainer:
    """Set a training up as it was when its last checkpoint was written; see `resume`."""
    folder = read_path(path, "the folder of a run")
    check_run_folder(folder)
    store = CheckpointStore(folder / FOLDER)
    snapshot = store.latest()
    if snapshot is None and (folder / FOLDER).is_dir() and not store.numbers():
        from undertow.train.table_folder import how_to_go_on

        raise RunError(f"{folder}: this training has not ended. {how_to_go_on(folder)}")
    if snapshot is None:
        raise RunError(
            f"{folder} holds no checkpoint that is whole. Give the folder of a run that was trained with checkpoint=."
        )
    try:
        record = snapshot.record
        if is_encoded(data) and record["settings"]["validation"] == "given" and given.get("validation") is None:
            given = {**given, "validation": held_of(data)}
        plan = read_plan(record["settings"], folder, given)
        _check_limits(folder, record, given)
        if model is None:
            model = _build(record["architecture"])
            model = model.layers[0] if record.get("alone") else model
        if data is None:
            raise ArgumentError("the run was trained on arrays, which are not kept. Give the same data again.")
        store.keep = plan.keep
        trainer = Trainer(model, data, plan, keeper=Keeper(plan, store))
        put_snapshot(trainer, snapshot)
        _recall_best(trainer, snapshot, store)
        watching = [callback for callback in trainer.hooks.callbacks if isinstance(callback, EarlyStopping)]
        ended = [callback for callback in watching if callback.waited >= callback.patience]
        if any(given.get(limit) for limit in LIMITS):
            for callback in ended:
                callback.waited = 0  # else it would end the training again after its next epoch
            if has_come_to_rest(trainer):
                trainer.progress.tell(
                    "The schedule of the learning rate has come down to 0 and stays there, so the steps that follow "
                    "change no weight. Train anew with as many epochs, or, in Python, resume with another rate: "
                    "ut.resume(…, optimizer=…)."
                )
        elif ended and record["stopped"] == "callback":
            trainer.run.stopped, trainer.reasons = "callback", [callback.explain() for callback in ended]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        if isinstance(error, UndertowError):
            raise
        raise RunError(f"{folder}: its last checkpoint cannot be used: {type(error).__name__}: {error}.") from None
    return trainer


def has_come_to_rest(trainer: Trainer) -> bool:
    """Whether the learning rate is 0 at the next update and at many that follow."""
    optimizer: Any = trainer.plan.optimizer
    described = optimizer.settings.get("rate")
    if not isinstance(described, dict) or _own_schedule(described) is not None:
        return False
    schedule, first = build_schedule(described), trainer.n_steps // trainer.plan.accumulate
    return all(float(schedule(float(first + ahead))) == 0 for ahead in (*range(10), 100, 1000, 10_000))


def _check_limits(folder: Path, record: dict[str, Any], given: dict[str, Any]) -> None:
    """ArgumentError where a limit of the whole training is below what was done of it."""
    for name, done in zip(LIMITS, (record["epoch"], record["n_steps"], record["seconds"]), strict=True):
        wanted = given.get(name)
        if isinstance(wanted, int | float) and wanted < done:
            were = f"1 {name[:-1]} is" if done == 1 else f"{round(done, 2)} {name} are"
            raise ArgumentError(
                f"{folder}: {were} done already. The number of {name} is that of the whole training, not of what is to "
                f"follow, so {wanted:g} is too small. Give a larger one."
            )


def read_plan(settings: dict[str, Any], folder: Path, given: dict[str, Any]) -> Plan:
    """Make the plan that a record of settings tells of, with what was given instead.

    Raises:
        ArgumentError: a loss, metrics or validation data that only the caller has are missing.
    """
    loss, validation = given.get("loss"), given.get("validation")
    if loss is None:
        if settings["task"] == "own":
            raise ArgumentError(
                f"the run was trained with a loss of your own ({settings['loss']}). Give it again: loss=."
            )
        loss = build_loss({"name": settings["loss"], **settings["loss_settings"]})
    if validation is None:
        validation = settings["validation"]
        if validation == "given":
            raise ArgumentError("the run was trained with validation data of your own. Give them again: validation=.")
    metrics = given.get("metrics")
    if metrics is None:
        metrics = settings["metrics"]
        if own := settings.get("own_metrics"):
            raise ArgumentError(
                f"the run was trained with metrics of your own ({', '.join(own)}). Give all of its metrics "
                f"again, in the same order ({', '.join(metrics)}): metrics=."
            )
    stopping, plateau = settings.get("early_stopping"), settings.get("reduce_on_plateau")
    weights = settings.get("class_weights")
    if isinstance(weights, dict):
        settings = {**settings, "class_weights": {int(label): weight for label, weight in weights.items()}}
    plan = Plan(
        loss=loss,
        optimizer=given.get("optimizer") or _build_optimizer(settings["optimizer"]),
        clip=build_clip(settings["clip"]),
        validation=validation,
        checkpoint=folder,
        progress=given["progress"],
        callbacks=given["callbacks"],
        metrics=metrics,
        early_stopping=EarlyStopping(**stopping) if isinstance(stopping, dict) else stopping,
        reduce_on_plateau=ReduceOnPlateau(**plateau) if isinstance(plateau, dict) else plateau,
        **{name: settings[name] for name in (*ALWAYS, *SETTINGS) if name in settings},
    )
    longer = {name: given[name] for name in LIMITS if given.get(name) is not None}
    return replace(plan, **longer)


def _build_optimizer(described: dict[str, Any]) -> Any:
    """The optimizer that a record tells of; ArgumentError where a function of the user's own is a part of it."""
    rule = _own_rule(described)
    if rule is not None:
        raise ArgumentError(
            f"the run was trained with an optimizer of your own ({rule}), which is not kept. Give it again: optimizer=."
        )
    own = _own_schedule(described)
    if own is not None:
        name = described.get("name")
        call = f"undertow.optim.{name}(…)" if name in OPTIMIZERS else "…"
        raise ArgumentError(
            f"the learning rate of this run is a function of your own, {own}, which is not kept. Give the optimizer "
            f"with it again, as it was given to train: optimizer={call}."
        )
    return build_optimizer(described)


def _own_rule(described: Any) -> str | None:
    """The name of the first optimizer of the user's own in a description."""
    if not isinstance(described, dict):
        return None
    if described.get("own") or described.get("name") not in (*OPTIMIZERS, *WRAPPERS):
        return str(described.get("name"))[:80]
    groups = described.get("groups")
    members = [x for pair in groups if isinstance(pair, list) for x in pair] if isinstance(groups, list) else []
    inner = [described.get("optimizer"), described.get("default"), *members]
    return next((found for part in inner if (found := _own_rule(part)) is not None), None)


def _own_schedule(described: Any) -> str | None:
    """The name of the first function of the user's own in a description."""
    if isinstance(described, dict):
        if described.get("schedule") == "function":
            return str(described.get("function"))[:80]
        described = list(described.values())
    if not isinstance(described, list | tuple):
        return None
    return next((found for part in described if (found := _own_schedule(part)) is not None), None)


def _nan_last(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _show(data: Any) -> str:
    shapes = data.get("arrays") if isinstance(data, dict) else None
    return " and ".join(f"{tuple(shape)} {dtype}" for shape, dtype in shapes) if shapes else str(data)[:200]


def _describe(model: Any) -> Any:
    try:
        return describe_model(model if type(model) is Sequential else Sequential(model))
    except UndertowError:
        return None


def _build(architecture: Any) -> Any:
    if architecture is None:
        raise ArgumentError(
            "the run's model has layers or functions of your own that were not registered. Give it again: model=."
        )
    return build_model(architecture)


def _pick(snapshot: Snapshot, names: list[str], like: list[Any]) -> list[Any]:
    """Arrays by their names, each of the shape and dtype that is needed; Python's numbers where those are."""
    found = []
    for name, old in zip(names, like, strict=True):
        value = snapshot.arrays.get(name)
        if value is None or value.shape != np.shape(old) or value.dtype != np.asarray(old).dtype:
            what = "is missing" if value is None else f"is {value.dtype} {value.shape}"
            part = "optimizer" if name.startswith("optimizer/") else "model"
            raise RunError(
                f"the checkpoint does not fit this training: {name} {what}. Give the {part} it was made with."
            )
        found.append(type(old)(value) if type(old) in (bool, int, float) else value)
    return found


def _take_out(value: Any, name: str, arrays: dict[str, Any]) -> Any:
    """Plain data with a mark in place of each array, which is put among the arrays."""
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    if isinstance(value, dict):
        return {key: _take_out(x, f"{name}/{key}", arrays) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [_take_out(x, f"{name}/{i}", arrays) for i, x in enumerate(value)]
    return value


def _put_back(value: Any, arrays: dict[str, Any]) -> Any:
    """Undo `_take_out`."""
    if isinstance(value, dict):
        if set(value) == {"array"}:
            return arrays[value["array"]]
        return {key: _put_back(x, arrays) for key, x in value.items()}
    return [_put_back(x, arrays) for x in value] if isinstance(value, list) else value
