"""`train`: the one function that most people need."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Never

from numpy.typing import DTypeLike

from undertow.errors import ArgumentError
from undertow.nn import Loss
from undertow.optim import Clip, Optimizer
from undertow.train.callbacks import Callback, EpochInfo, TrainInfo
from undertow.train.plan import HELD_OUT, make_plan
from undertow.train.run import Run
from undertow.train.stopping import EarlyStopping, ReduceOnPlateau, TimeBudget
from undertow.train.trainer import Trainer


def train(
    model: Any,
    data: Any,
    *more: Never,
    loss: str | Loss | Callable[[Any, Any], Any] | None = None,
    optimizer: Optimizer | str | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    batch_size: int = 64,
    accumulate: int = 1,
    validation: Any = HELD_OUT,
    clip: Clip | None = None,
    non_finite: str = "raise",
    l1: float = 0.0,
    l2: float = 0.0,
    max_norm: float | None = None,
    mixup: float = 0.0,
    class_weights: Any = None,
    average: float = 0.0,
    early_stopping: EarlyStopping | int | None = None,
    reduce_on_plateau: ReduceOnPlateau | int | None = None,
    metrics: Any = None,
    callbacks: Iterable[Any] | Callable[..., Any] | None = (),
    seed: int = 0,
    dtype: DTypeLike | None = None,
    progress: bool = True,
    checkpoint: Any = None,
    checkpoint_every: int | None = None,
    keep: int = 2,
    flow: bool = True,
    **others: Never,
) -> Run:
    """Train a model.

    Args:
        model: a model of `undertow.nn`, or any callable dataclass that is a parameter tree. Parameters
            that are None are initialised from ``seed``. The caller's model and arrays stay as they are.
        data: (X, y) or (X, y, weights): X (m, …), y (m,) or (m, K), integer labels or one-hot rows for
            classes, weights (m,); arrays, frames or lists. A table of `undertow.data.encode_table` is taken with the
            rows that it holds out, and the run then takes tables. Or what is larger than memory: a source of
            `undertow.data`, a function that makes batches anew for each epoch, or another iterable of them, such as a
            loader.
        loss: a name of ``undertow.nn.LOSSES``, one of them with settings such as ``nn.huber(delta=2.0)``, or a
            function (output, y) → one number. A cross-entropy takes logits unless the model ends in softmax or sigmoid.
        optimizer: an `Optimizer` or its name; adam unless told. Its rate may be a schedule.
        epochs: passes over the data, 1 or more; 20 unless steps or seconds are given.
        steps: the most steps to do in all.
        seconds: the most time to train for.
        batch_size: examples a step.
        accumulate: how many batches make an update: the mean of their gradients.
        validation: the share of data to hold out, or (X, y) or (X, y, weights), or None; or a source, or a function
            that makes batches. Where none is told, a tenth; of an encoded table the rows that it holds out itself; of
            data that are read in blocks nothing.
        clip: a clipping rule.
        non_finite: what becomes of a step whose gradient is not finite: ``"raise"``, ``"skip"`` or ``"zero"``.
        l1: the factor of Σ |W|, added to the loss of a step; biases and gains are left out.
        l2: the factor of ½ Σ W², added to the loss of a step, so that its gradient is l2 · W.
        max_norm: the largest norm of the weights that lead to one unit, held after each step.
        mixup: the α of the Beta(α, α) distribution from which the shares come in which pairs of examples, and their
            losses, are mixed; 0 mixes nothing.
        class_weights: ``"balanced"``, a dict or an array of a weight for each class, in the loss and in the validation
            loss, by which the best epoch is chosen; metrics count examples of all classes alike.
        average: above 0, the run holds a moving average of the parameters over the ends of the epochs, in which one
            counts this times as much as the next, below 1; what is measured of an epoch is measured of it.
        early_stopping: an `EarlyStopping`, or for how many epochs the validation loss (without validation, that of
            training) may fail to fall. The run then holds the best model.
        reduce_on_plateau: a `ReduceOnPlateau`, or for how many epochs that loss may fail to fall before the learning
            rate is halved.
        metrics: names of ``undertow.train.METRICS``, functions (y, prediction) → number, ``()``; None for accuracy
            wherever there are classes.
        callbacks: see `Callback`; one, or several.
        seed: 0 or more; decides initial parameters, the held-out part, the order of examples and all that is
            drawn within a step.
        dtype: float32 or float64; that of X unless told.
        progress: False prints nothing.
        checkpoint: a folder in which the training is kept as it goes, see `resume`.
        checkpoint_every: how many steps lie between two checkpoints; each epoch ends with one in any case.
        flow: whether to record how the gradient flows, see `Run.flow`; False trains a little faster.
        *more: nothing: X and y are a pair.
        **others: nothing: what is none of these gets an error that says what to write.
        keep: how many of the last checkpoints to keep; the best one stays too.

    Returns:
        The run. Ctrl-C ends training early with the best model so far, by the validation loss, or the last one where
        there is no validation; pressed again, it does nothing.

    Raises:
        Diverged: ``the loss became nan at epoch 3, step 41 …``; a `TrainingError` with the run so far.
        ShapeError: layers, inputs and targets that do not fit, found before the first step.
        DataError: labels out of range, values that are not finite.
        ArgumentError: an unknown name, a number out of range, a loss that does not depend on the parameters.
        RunError: the folder of checkpoints cannot be used.

    Source: Goodfellow et al., Deep Learning, 2016, section 8.1.3; mixup: Zhang et al., ICLR 2018; max-norm: Srivastava
        et al., JMLR 15, 2014, section 5.1.

    Example:
        >>> import numpy as np
        >>> from undertow.nn import Dense, Sequential
        >>> X = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
        >>> run = train(Sequential(Dense(1, 1)), (X, 3 * X), loss="mean_squared_error",
        ...             optimizer="momentum", epochs=100, batch_size=16, progress=False)
        >>> round(float(run.predict([[0.5]])[0, 0]), 2)
        1.5
    """
    settings = {name: value for name, value in locals().items() if name not in ("model", "data", "more", "others")}
    if more:
        raise ArgumentError("X and y are given as a pair. Write train(model, (X, y), loss=…), settings by name.")
    return Trainer(model, data, make_plan({**settings, **others})).fit()


# ``undertow.train`` is this function: what people write beside a call of it is found there, as in the package.
vars(train).update(
    Callback=Callback, EpochInfo=EpochInfo, TrainInfo=TrainInfo, EarlyStopping=EarlyStopping,
    ReduceOnPlateau=ReduceOnPlateau, TimeBudget=TimeBudget, Trainer=Trainer, Run=Run,
)  # fmt: skip
