"""scikit-learn's MLP with its defaults, on the table scaled and one-hot encoded, or as raw as it takes it."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import polars as pl
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def to_object(frame: pl.DataFrame) -> Any:
    import pandas as pd

    columns = {}
    for series in frame.drop("target"):
        if series.dtype == pl.String:
            columns[series.name] = pd.Series(series.fill_null("missing").to_list(), dtype=object)
        else:
            number = series.cast(pl.Int64) if series.dtype.is_temporal() else series
            columns[series.name] = number.cast(pl.Float64).to_numpy()
    return pd.DataFrame(columns)


def fit_peer(train: pl.DataFrame, test: pl.DataFrame, classifies: bool, seed: int, how: str) -> dict[str, float]:
    """Train scikit-learn's MLP and measure it: columns "scaled", the number to predict ("target") too, or "raw"."""
    texts = [series.name for series in train if series.dtype == pl.String and series.name != "target"]
    numbers = [name for name in train.columns if name not in (*texts, "target")]
    fill = SimpleImputer(strategy="median", keep_empty_features=True)
    number = [fill] if how == "raw" else [fill, StandardScaler()]
    encode = ColumnTransformer(
        [("numbers", make_pipeline(*number), numbers), ("texts", OneHotEncoder(handle_unknown="ignore"), texts)]
    )
    model: Any = make_pipeline(encode, (MLPClassifier if classifies else MLPRegressor)(random_state=seed))
    if how == "target":
        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    started, cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(to_object(train), train["target"].to_numpy())
    spent = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    y = test["target"].to_numpy()
    if classifies:
        p = model.predict_proba(to_object(test))
        classes = model.classes_
        return {
            "score": accuracy_score(y, classes[np.argmax(p, 1)]),
            "log_loss": log_loss(y, p, labels=classes),
            **spent,
        }
    return {"score": r2_score(y, model.predict(to_object(test))), **spent}
