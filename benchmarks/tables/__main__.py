"""Undertow and scikit-learn's MLP, both told nothing but the table and its target.

python -m benchmarks.tables [names …] [--set unseen] [--seeds 5] [--out results.json]

Most choices were found on the set "first", the second training and the decay on "unseen", the rows up to which there
is one hidden layer and a second training on "development"; "fresh" judges them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from benchmarks.tables.development import DEVELOPMENT
from benchmarks.tables.peers import fit_peer
from benchmarks.tables.rows import split_rows
from benchmarks.tables.sets import SETS, Task
from benchmarks.tables.unseen import FRESH, UNSEEN

from undertow.train.predictions import read_encoder
from undertow.train.table import train_table
from undertow.train.table_settings import TableSettings


def fit_undertow(train: pl.DataFrame, test: pl.DataFrame, classifies: bool, seed: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "train.csv")
        train.write_csv(file)
        started, cpu = time.perf_counter(), time.process_time()
        task = "classification" if classifies else "regression"  # whole numbers of few rows could be either
        settings = TableSettings(data=str(file), target="target", seed=seed, task=task)
        run, _ = train_table(settings, Path(folder, "run"), progress=False, say=lambda sentence: None)
        spent = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    encoder = read_encoder(run)
    X, y = encoder.transform(test, report=[]), test["target"].to_numpy()
    epochs = float(len(run.history))
    if not classifies:
        found = np.ravel(encoder.decode(run.predict(X)))
        return {"score": float(1 - np.mean((y - found) ** 2) / np.var(y)), "epochs": epochs, **spent}
    p = np.clip(run.predict_probability(X).astype(float), 1e-15, 1)
    labels = [encoder.classes.index(label) if label in encoder.classes else 0 for label in y.tolist()]
    right = np.mean(p.argmax(1) == labels)
    loss = -np.mean(np.log(p[np.arange(len(y)), labels]))
    return {"score": float(right), "log_loss": float(loss), "epochs": epochs, **spent}


def compare(task: Task, peers: bool, seeds: int) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(seeds):
        train, test = split_rows(task.frame, task.test, seed)
        found.setdefault("undertow", []).append(fit_undertow(train, test, task.classifies, seed))
        for scaled in (True, False) if peers else ():
            name = "scaled" if scaled else "raw"
            found.setdefault(name, []).append(fit_peer(train, test, task.classifies, seed, scaled))
    return found


def mean(rows: list[dict[str, float]], name: str) -> float:
    return float(np.mean([row[name] for row in rows])) if name in rows[0] else float("nan")


def show(name: str, found: dict[str, list[dict[str, float]]]) -> str:
    parts = [f"| {name} "]
    for who in ("undertow", "scaled", "raw"):
        if who in found:
            rows = found[who]
            parts.append(f"| {mean(rows, 'score'):.4f} | {mean(rows, 'log_loss'):.3f} | {mean(rows, 'cpu'):.2f} ")
    return "".join(parts) + "|"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--set", choices=("first", "development", "unseen", "fresh"), default="first")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    tables = {"first": SETS, "development": DEVELOPMENT, "unseen": UNSEEN, "fresh": FRESH}[given.set]
    results: dict[str, Any] = {}
    print("| table | Undertow | log loss | CPU s | MLP, scaled | log loss | CPU s | MLP, raw | log loss | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in given.names or tables:
        results[name] = compare(tables[name](), not given.no_peers, given.seeds)
        print(show(name, results[name]), flush=True)
        if given.out:
            given.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
