"""Undertow and scikit-learn's MLP, both told nothing but the table and its target.

python -m benchmarks.tables [names …] [--set kinds] [--files FOLDER] [--seeds 5] [--out results.json]

Most choices were found on the set "first", the second training and the decay on "unseen", the rows up to which there
is one hidden layer and a second training on "development"; "fresh" judges them, and so do "kinds" and files of tables.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from benchmarks.tables.development import DEVELOPMENT
from benchmarks.tables.kinds import KINDS, Kind
from benchmarks.tables.peers import fit_peer
from benchmarks.tables.rows import read_task, split_rows
from benchmarks.tables.sets import SETS, Task
from benchmarks.tables.unseen import FRESH, UNSEEN

from undertow.train.predictions import read_encoder
from undertow.train.table import train_table
from undertow.train.table_settings import TableSettings

Rows = list[dict[str, float]]
_SETS: dict[str, Any] = {"first": SETS, "development": DEVELOPMENT, "unseen": UNSEEN, "fresh": FRESH, "kinds": KINDS}


def fit_undertow(
    train: pl.DataFrame, test: pl.DataFrame, classifies: bool, seed: int, told: dict[str, Any]
) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "train.csv")
        train.write_csv(file)
        started, cpu = time.perf_counter(), time.process_time()
        task = "classification" if classifies else "regression"  # whole numbers of few rows could be either
        settings = TableSettings(data=str(file), target="target", seed=seed, task=task, **told)
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


def draw(table: Task | Kind, name: str, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows to train on and those to judge by: of a table as it is, or of a kind drawn anew."""
    if isinstance(table, Kind):
        return table.make(seed, zlib.crc32(name.encode()))
    train, test = split_rows(table.frame, table.test, seed)
    return train, test.filter(pl.col("target").is_in(train["target"].unique().implode())) if table.classifies else test


def compare(table: Task | Kind, name: str, peers: list[str], seeds: range, told: dict[str, Any]) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for seed in seeds:
        train, test = draw(table, name, seed)
        for peer in peers:
            if peer != "target" or not table.classifies:
                found.setdefault(peer, []).append(fit_peer(train, test, table.classifies, seed, peer))
        found.setdefault("undertow", []).append(fit_undertow(train, test, table.classifies, seed, told))
    return found


def mean(rows: Rows, name: str) -> float:
    return float(np.mean([row[name] for row in rows])) if name in rows[0] else float("nan")


def paired(ours: Rows, theirs: Rows, name: str) -> tuple[float, float]:
    """By how much ours is higher, and the p of Student's t for that over the seeds."""
    from scipy.stats import ttest_1samp

    change = np.array([a[name] - b[name] for a, b in zip(ours, theirs, strict=True)])
    if len(change) < 2 or np.ptp(change) == 0:
        return float(change.mean()), 1.0 if change.mean() == 0 or len(change) < 2 else 0.0
    return float(change.mean()), float(ttest_1samp(change, 0).pvalue)


def show(name: str, found: dict[str, Rows], peer: str) -> str:
    """A line of the table; a difference has a star where its p is below 0.05."""
    ours, parts = found["undertow"], [f"| {name} "]
    for rows in (ours, *([found[peer]] if peer in found else [])):
        parts.append(f"| {mean(rows, 'score'):.4f} | {mean(rows, 'log_loss'):.3f} | {mean(rows, 'cpu'):.2f} ")
    for score in ("score", "log_loss") if peer in found else ():
        change, p = paired(ours, found[peer], score) if score in ours[0] else (math.nan, 1.0)
        parts.append(f"| {change:+.4f}{'*' if p < 0.05 else ''} ")
    return "".join(parts) + "|"


def make_tables(given: argparse.Namespace) -> dict[str, Callable[[], Task | Kind]]:
    """The tables that were asked for, each to be made when it is its turn."""
    if given.files:
        found: dict[str, Any] = {file.stem: lambda file=file: read_task(file) for file in sorted(given.files.glob("*"))}
    else:
        found = {
            name: (lambda made=made: made) if isinstance(made, Kind) else made
            for name, made in _SETS[given.set].items()
        }
    return {name: found[name] for name in given.names or found}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--peers", nargs="*", choices=("scaled", "target", "raw"), default=["scaled"])
    parser.add_argument("--set", choices=tuple(_SETS), default="first")
    parser.add_argument("--files", type=Path, help='a folder of CSV files with a column "target", texts for classes')
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--told", type=json.loads, default={}, help="settings of ours, as '{\"decay\": 0.1}'")
    given = parser.parse_args()
    results: dict[str, Any] = {}
    print("| table | Undertow | log loss | CPU s | MLP | log loss | CPU s | difference | of log loss |")
    print("|---|---|---|---|---|---|---|---|---|")
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    for name, make in make_tables(given).items():
        results[name] = compare(make(), name, given.peers, seeds, given.told)
        for peer in given.peers or ("none",):
            if peer != "target" or peer in results[name]:
                print(show(name if peer == "scaled" else f"{name}, {peer}", results[name], peer), flush=True)
        if given.out:
            given.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
