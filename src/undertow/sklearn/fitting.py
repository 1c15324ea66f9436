"""A fit, epoch after epoch: what is kept of each, and what ends it, as in scikit-learn."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from undertow.errors import TrainingError
from undertow.sklearn.diverged import FitDiverged, name_layer
from undertow.sklearn.learner import Learner, NotFinite, dense
from undertow.sklearn.programs import FORWARD
from undertow.sklearn.targets import Target, constant_loss
from undertow.train.callbacks import EpochInfo, Hooks, TrainInfo
from undertow.train.diverged import explain_loss, is_finite, remedies
from undertow.train.run import Run

Array = NDArray[Any]
WORSE = 10  # times the loss of a constant output, from which on a fit is of no use
SMALLEST_RATE = 1e-6  # below it an adaptive rate is not lowered any more


@dataclass
class Held:
    """What is held out: inputs, targets as they are scored, as the loss takes them, and weights."""

    X: Any
    y: Array
    encoded: Array
    weights: Array | None


class Fitting:
    """The epochs of one call of ``fit`` or ``partial_fit``; what they tell is kept on the estimator.

    Args:
        estimator: the estimator, whose curves go on.
        learner: does the steps.
        target: the loss and what goes with it.
        held: what is held out, or None.
        hooks: the callbacks.
        rng: gives the order of the examples.
        settings: of the run, as plain data.
    """

    def __init__(
        self, estimator: Any, learner: Learner, target: Target, held: Held | None, hooks: Hooks, rng: Any, settings: Any
    ) -> None:
        self.estimator, self.learner, self.target, self.held = estimator, learner, target, held
        self.hooks, self.rng, self.settings = hooks, rng, settings
        self.scales = [callback for callback in hooks.callbacks if hasattr(callback, "scale")]
        self.order = np.arange(len(learner.target.y))
        self.started = time.perf_counter()
        self.reason = ""

    # ---- the epochs ---------------------------------------------------------------------------

    def run(self, epochs: int, incremental: bool) -> None:
        """Train until something ends it.

        Raises:
            FitDiverged: ``the loss became inf at epoch 3, step 2. …``
        """
        estimator, stopped = self.estimator, "finished"
        self._tell(self.hooks.on_train_begin, "")
        estimator.n_iter_ = 0
        try:
            for _ in range(epochs):
                stopped = self._epoch()
                if stopped != "finished":
                    break
            else:
                if not incremental:
                    self._warn_unconverged(epochs)
        except KeyboardInterrupt:
            stopped = "interrupted"
            estimator.n_iter_ = max(estimator.n_iter_, 1)
            warnings.warn("Training interrupted by user.", stacklevel=4)
        except NotFinite as error:
            stopped = "diverged"
            self._diverge(error)
        if stopped != "diverged" and not is_finite(self.learner.values()):  # after the last step: no loss tells of it
            stopped = "diverged"
            self._diverge(NotFinite(np.empty(0), math.nan, self.learner.some(self.learner.batch_size), None, {}))
        self.model = self.learner.values()
        self._end_record(stopped)
        if not incremental and self.held is None and stopped in ("converged", "finished"):
            self._warn_worse_than_constant()
        if self.held is not None:
            self.model = estimator._best
        kept = self._tell(self.hooks.on_train_end, stopped)
        self.model = self.model if kept is None else kept
        self.stopped = stopped

    def _end_record(self, stopped: str) -> None:
        recorder = self.learner.rule.recorder
        if recorder is not None:
            recorder.end(self.learner, self.estimator._history, stopped)

    def _epoch(self) -> str:
        estimator = self.estimator
        if estimator.shuffle:
            turn = np.arange(len(self.order))
            self.rng.shuffle(turn)
            self.order = self.order[turn]
        for function in self.hooks.on_epoch_begin:
            function(self._info({}))
        loss = self.learner.epoch(self.order, self._after_step if self.hooks.on_step_end else None)
        estimator.n_iter_ += 1
        estimator.t_ += len(self.order)
        estimator.loss_ = loss + self.target.offset
        estimator.loss_curve_.append(estimator.loss_)
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
        row = {"epoch": len(estimator.loss_curve_), "step": self.learner.n_steps, "loss": estimator.loss_}
        if self.held is not None:
            row |= self._look_at_held(self.held)
        row["seconds"] = time.perf_counter() - self.started
        estimator._history.append(row)
        if self.learner.rule.recorder is not None:
            self.learner.rule.recorder.end_epoch(self.learner)
        self._count(row)
        stops = self._end_epoch(row)
        if estimator.learning_rate == "invscaling" and self._is_plain_sgd():
            estimator._scale = 1 / (estimator.t_ + 1) ** estimator.power_t
            self._put_scale()
        if stops:
            return "callback"
        return "converged" if self._is_converged() else "finished"

    def _end_epoch(self, row: dict[str, Any]) -> bool:
        """Tell callbacks of an epoch; whether one of them wants to stop."""
        if not self.hooks.callbacks:
            return False
        stops = self.hooks.end_epoch(self._info(row))
        if self.scales:
            self._put_scale()
        return stops

    def _look_at_held(self, held: Held) -> dict[str, float]:
        """The loss and the score of what is held out."""
        estimator = self.estimator
        outputs = FORWARD(self.learner.values(), dense(held.X))
        score = self.target.score(held.y, outputs, held.weights)
        with np.errstate(all="ignore"):
            loss = float(self.target.loss(outputs, held.encoded, *([] if held.weights is None else [held.weights])))
        estimator.validation_scores_.append(score)
        estimator.validation_loss_curve_.append(loss + self.target.offset)
        if estimator.verbose:
            print(f"Validation score: {score:f}")
        return {"validation_loss": loss + self.target.offset, "validation_score": score}

    def _count(self, row: dict[str, Any]) -> None:
        """Count the epochs that brought nothing, and keep the best model of what is held out."""
        estimator, tol = self.estimator, self.estimator.tol
        if self.held is None:
            estimator._no_improvement_count = (
                estimator._no_improvement_count + 1 if estimator.loss_ > estimator.best_loss_ - tol else 0
            )
            estimator.best_loss_ = min(estimator.best_loss_, estimator.loss_)
            return
        by_loss = estimator.monitor == "validation_loss"
        value = -row["validation_loss"] if by_loss else row["validation_score"]
        estimator._no_improvement_count = (
            estimator._no_improvement_count + 1 if value < estimator._best_value + tol else 0
        )
        if value > estimator._best_value:
            estimator._best_value, estimator._best = value, self.learner.values()
            estimator.best_validation_score_ = row["validation_score"]

    def _is_converged(self) -> bool:
        """Whether to stop; an adaptive rate is lowered first."""
        estimator = self.estimator
        if estimator._no_improvement_count <= estimator.n_iter_no_change:
            return False
        what = "Training loss" if self.held is None else "Validation score"
        self.reason = (
            f"{what} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change} consecutive "
            "epochs."
        )
        adaptive = estimator.learning_rate == "adaptive" and self._is_plain_sgd()
        rate = estimator.learning_rate_init * estimator._scale
        if adaptive and rate > SMALLEST_RATE:
            estimator._no_improvement_count = 0
            estimator._scale /= 5
            self._put_scale()
            self._say(f"{self.reason} Setting learning rate to {rate / 5:f}")
            return False
        self._say(f"{self.reason}{' Learning rate too small.' if adaptive else ''} Stopping.")
        return True

    def _is_plain_sgd(self) -> bool:
        return bool(self.estimator._lowers_rate())

    def _put_scale(self) -> None:
        self.learner.set_scale(self.estimator._scale * math.prod(callback.scale for callback in self.scales))

    def _say(self, text: str) -> None:
        if self.estimator.verbose:
            print(text)

    # ---- callbacks ----------------------------------------------------------------------------

    def _after_step(self, step: int, loss: float, model: Any) -> None:
        for function in self.hooks.on_step_end:
            function(len(self.estimator.loss_curve_) + 1, step, loss, model)

    def _info(self, row: dict[str, Any]) -> EpochInfo:
        number = len(self.estimator.loss_curve_) + (not row)
        return EpochInfo(
            number, self.estimator.max_iter, row, self.learner.values(), [], self.learner.n_steps,
            directions={"score": "high", "validation_score": "high"},
        )  # fmt: skip

    def _tell(self, functions: list[Any], stopped: str) -> Any:
        """Tell callbacks of the whole fit; one of them may give the model to keep."""
        if not functions:
            return None
        model = self.learner.values()
        info = TrainInfo(self.estimator.max_iter, model, self.estimator._history, self.settings, stopped)
        found = [function(info) for function in functions]
        return next((model for model in reversed(found) if model is not None), None)

    # ---- its end ------------------------------------------------------------------------------

    def _warn_unconverged(self, epochs: int) -> None:
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({epochs}) reached and the optimization hasn't converged yet. "
            "Give a larger max_iter or tol.",
            ConvergenceWarning,
            stacklevel=6,
        )

    def _warn_worse_than_constant(self) -> None:
        """Warn of a loss that settled far above that of a constant output, as it does where steps are too large."""
        constant, loss = constant_loss(self.target, self.learner.target.y), self.estimator.loss_ - self.target.offset
        if constant is not None and loss > WORSE * constant:
            warnings.warn(
                f"The loss is {loss:.3g} at the end, where that of a constant output is {constant:.3g}: the steps were "
                "too large, and the predictions are of no use. Give a smaller learning_rate_init, and scale X and y.",
                ConvergenceWarning,
                stacklevel=6,
            )

    def _diverge(self, error: NotFinite) -> None:
        """Raise the error, or where a best model is held, warn and keep that."""
        estimator, recorder = self.estimator, self.learner.rule.recorder
        self.learner.values()  # those before the step, which the record is asked about
        origin = "" if recorder is None else recorder.fail(self.learner, error)
        self._end_record("diverged")
        layer = name_layer(self.learner.values(), error.X)  # before the learner goes back to where all was finite
        message = self._explain(error, origin)
        model = self.learner.values()
        if "gradient" in message:  # which is where it began
            layer = ""
        message = f"{layer} {message[:1].upper()}{message[1:]}".strip()
        estimator.n_iter_ = max(estimator.n_iter_, 1)
        if self.held is None or not np.isfinite(estimator._best_value):
            run = Run(
                model if is_finite(model) else estimator.model_, estimator._history, [], self.settings, "diverged"
            )
            run.record = None if recorder is None else recorder.current()
            raise FitDiverged(f"the fit stopped being finite. {message}", run) from None
        if error.y is not None:  # else the epoch had ended, and has its score
            estimator.validation_scores_.append(math.nan)
        warnings.warn(f"{message} The model is that of the best epoch before.", ConvergenceWarning, stacklevel=6)

    def _explain(self, error: NotFinite, origin: str) -> str:
        """Say what is not finite in which step; where the gradient before it was, the learner goes back to there."""
        epoch, step = len(self.estimator.loss_curve_) + 1, len(error.losses) + 1
        told = explain_loss(error.loss, epoch, step, self.settings, origin)
        batch: Any = (error.X, error.y)
        if math.isfinite(error.loss):
            told = f"epoch {epoch}, step {step}: the gradient is not finite. {remedies(self.settings)}"
        elif self.learner.rule.recorder is not None or (batch := self.learner.before_spoiled()) is None:
            return told
        else:
            epoch, step = (epoch, step - 1) if step > 1 else (epoch - 1, len(self.learner.losses))
        try:
            self.learner.step.check(self.learner.values(), *batch)
        except TrainingError as found:
            return f"epoch {epoch}, step {step}: {found}"
        return told
