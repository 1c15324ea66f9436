"""What is to be expected of the network of a run folder, or of settings for a table, before it is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, RunError
from undertow.flow.forecast import Forecast, forecast
from undertow.nn.description import build_model, describe_model
from undertow.train.checkpoint import load
from undertow.train.table_data import load_table
from undertow.train.table_settings import TableSettings, read_config
from undertow.train.table_setup import prepare

CONFIG = "config.toml"


def forecast_table(settings: TableSettings) -> Forecast:
    """Say what is to be expected of the network that `undertow train` would make with these settings.

    Args:
        settings: with the data and the target; what is not told is chosen by the table, as in training.

    Returns:
        The forecast, of the loss of the training.

    Raises:
        DataError, ArgumentError: as training would.

    Source: derived here.
    """
    table = load_table(replace(settings, refit_epochs=None))
    _, _, set_up = prepare(table, settings)
    trainer = set_up(None, False)
    X, y, _ = trainer.feed.some(0, 256)
    return forecast(trainer.model, X, y, loss=trainer.task.loss)


def forecast_run(folder: Path) -> Forecast:
    """Say what was to be expected of the network of a run before its training.

    Args:
        folder: of the run.

    Returns:
        The forecast: on the data of the run where it came from a table, else on normal random numbers.

    Raises:
        RunError: it is no folder of a run.
    """
    if (folder / CONFIG).is_file():
        return forecast_table(read_config(folder / CONFIG))
    if not folder.is_dir():
        raise RunError(f"{folder}: there is no such folder. Give the folder of a run, config.toml, or a table.")
    run = load(folder)
    shape = run.settings.get("example_shape")
    if shape is None:
        raise RunError(f"{folder}: the run does not tell the shape of its examples. Train it again.")
    seed = int(run.settings.get("seed", 0))
    X = np.random.default_rng(seed).standard_normal((256, *shape)).astype(run.settings.get("dtype", "float32"))
    return forecast(build_model(describe_model(run.model)), X, seed=seed)


def forecast_subject(subject: Path, **told: Any) -> Forecast:
    """Say what is to be expected of a run folder, a file of settings, or a table with its target.

    Args:
        subject: the folder, ``config.toml``, or a CSV or Parquet file.
        told: further settings by name.

    Returns:
        The forecast.

    Raises:
        ArgumentError: a table without a target.
    """
    more = TableSettings(**told)
    if subject.is_dir() or not subject.exists():
        if more.given():
            config = subject / CONFIG
            if config.is_file():
                return forecast_table(more.over(read_config(config)))
            raise ArgumentError(f"{subject} is no table, so that --target, --hidden and the like mean nothing there.")
        return forecast_run(subject)
    if subject.suffix == ".toml":
        return forecast_table(more.over(read_config(subject)))
    if more.target is None:
        raise ArgumentError(f"which column of {subject.name} is to be predicted? Name it with --target.")
    return forecast_table(replace(more, data=str(subject)))
