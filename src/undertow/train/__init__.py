"""Training: the step, the loop, callbacks, the run that is kept, and its files."""

from typing import TYPE_CHECKING

from undertow.lazy import attach

if TYPE_CHECKING:
    from undertow.train.callbacks import Callback, EpochInfo, TrainInfo
    from undertow.train.checkpoint import load
    from undertow.train.columns import frame
    from undertow.train.derive import make_gradient
    from undertow.train.diverged import Diverged
    from undertow.train.folds import CrossValidation, cross_validate
    from undertow.train.gradients import gradient_table, measure_gradients, print_gradient_table
    from undertow.train.history import HistoryFile
    from undertow.train.logs import CsvLog, JsonLines
    from undertow.train.loop import train
    from undertow.train.metric import Metric, Predictions, make_predictions
    from undertow.train.metrics import METRICS, find_metric, own_metric
    from undertow.train.plan import Plan
    from undertow.train.plot import plot_history, plot_text
    from undertow.train.range_test import find_learning_rate
    from undertow.train.rate import RateSuggestion, suggest_rate
    from undertow.train.resume import resume
    from undertow.train.run import Run
    from undertow.train.snapshot import Snapshot
    from undertow.train.step import make_step
    from undertow.train.stopping import EarlyStopping, ReduceOnPlateau, TimeBudget
    from undertow.train.store import CheckpointStore
    from undertow.train.trainer import Trainer

__all__ = [
    "train",
    "cross_validate",
    "CrossValidation",
    "Run",
    "Trainer",
    "Plan",
    "resume",
    "CheckpointStore",
    "HistoryFile",
    "Snapshot",
    "load",
    "Diverged",
    "Callback",
    "EpochInfo",
    "TrainInfo",
    "EarlyStopping",
    "ReduceOnPlateau",
    "TimeBudget",
    "CsvLog",
    "JsonLines",
    "METRICS",
    "Metric",
    "Predictions",
    "find_metric",
    "make_predictions",
    "own_metric",
    "frame",
    "plot_history",
    "plot_text",
    "RateSuggestion",
    "suggest_rate",
    "find_learning_rate",
    "gradient_table",
    "measure_gradients",
    "print_gradient_table",
    "make_gradient",
    "make_step",
]

attach(
    __name__,
    {
        "undertow.train.callbacks": "Callback EpochInfo TrainInfo",
        "undertow.train.checkpoint": "load",
        "undertow.train.columns": "frame",
        "undertow.train.derive": "make_gradient",
        "undertow.train.diverged": "Diverged",
        "undertow.train.folds": "CrossValidation cross_validate",
        "undertow.train.gradients": "gradient_table measure_gradients print_gradient_table",
        "undertow.train.history": "HistoryFile",
        "undertow.train.logs": "CsvLog JsonLines",
        "undertow.train.loop": "train",
        "undertow.train.metric": "Metric Predictions make_predictions",
        "undertow.train.metrics": "METRICS find_metric own_metric",
        "undertow.train.plan": "Plan",
        "undertow.train.plot": "plot_history plot_text",
        "undertow.train.range_test": "find_learning_rate",
        "undertow.train.rate": "RateSuggestion suggest_rate",
        "undertow.train.resume": "resume",
        "undertow.train.run": "Run",
        "undertow.train.snapshot": "Snapshot",
        "undertow.train.step": "make_step",
        "undertow.train.stopping": "EarlyStopping ReduceOnPlateau TimeBudget",
        "undertow.train.store": "CheckpointStore",
        "undertow.train.trainer": "Trainer",
    },
)
