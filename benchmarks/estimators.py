"""undertow.sklearn beside sklearn.neural_network: time and score, in one process, fit after fit in turn.

    python benchmarks/estimators.py --out estimators.json
    python benchmarks/estimators.py --only digits iris --seeds 3 --rounds 3

Both use as many threads. A round fits one, then the other; which begins changes from round to round. The first fit of
each is timed apart: ours then compiles.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
import warnings
from pathlib import Path
from typing import Any


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="of timing")
    parser.add_argument("--seeds", type=int, default=10, help="of scores")
    parser.add_argument("--table-epochs", type=int, default=5, help="epochs on the table of 100,000 rows")
    parser.add_argument("--only", nargs="*", help="parts: time-digits, time-table, digits, wine, breast_cancer, …")
    return parser.parse_args()


def estimators(kind: str) -> dict[str, Any]:
    import sklearn.neural_network as theirs

    import undertow.sklearn as ours

    return {"undertow": getattr(ours, kind), "sklearn": getattr(theirs, kind)}


def measure_time(
    X: Any, y: Any, rounds: int, settings: dict[str, Any], our_own: dict[str, Any] | None = None
) -> dict[str, Any]:
    both = estimators("MLPClassifier")
    first: dict[str, float] = {}
    times: dict[str, list[float]] = {name: [] for name in both}
    epochs: dict[str, int] = {}
    for number in range(rounds + 1):
        for name in sorted(both, reverse=bool(number % 2)):
            started = time.perf_counter()
            more = settings | ((our_own or {}) if name == "undertow" else {})
            model = both[name](random_state=0, **more).fit(X, y)
            seconds = time.perf_counter() - started
            epochs[name] = model.n_iter_
            if number:
                times[name].append(seconds)
            else:
                first[name] = seconds
    ratios = [b / a for a, b in zip(times["undertow"], times["sklearn"], strict=True)]
    return {
        "seconds": {name: statistics.median(values) for name, values in times.items()},
        "first": first,
        "epochs": epochs,
        "times_faster": statistics.median(ratios),
        "load": os.getloadavg()[0],
    }


def measure_scores(name: str, seeds: int) -> dict[str, Any]:
    import numpy as np
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    regression = name == "diabetes"
    if regression:
        y = (y - y.mean()) / y.std()
    scores: dict[str, list[float]] = {}
    for seed in range(seeds):
        a, b, c, d = train_test_split(X, y, random_state=seed, stratify=None if regression else y)
        for who, made in estimators("MLPRegressor" if regression else "MLPClassifier").items():
            model = make_pipeline(StandardScaler(), made(random_state=seed)).fit(a, c)
            scores.setdefault(who, []).append(float(model.score(b, d)))
    summary = {who: {"mean": float(np.mean(x)), "deviation": float(np.std(x))} for who, x in scores.items()}
    differences = np.abs(np.subtract(*scores.values()))
    return {**summary, "largest_difference": float(differences.max())}


def main() -> None:
    arguments = read_arguments()
    os.environ.setdefault("OMP_NUM_THREADS", str(arguments.threads))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(arguments.threads))
    from sklearn.datasets import load_digits, make_classification

    import undertow as ut

    ut.set_threads(arguments.threads)
    warnings.simplefilter("ignore")
    parts: dict[str, Any] = {
        "time-digits": lambda: measure_time(*load_digits(return_X_y=True), arguments.rounds, {}),
        "time-digits-float64": lambda: measure_time(
            *load_digits(return_X_y=True), arguments.rounds, {}, {"dtype": "float64"}
        ),
        "time-table": lambda: measure_time(
            *make_classification(100_000, 50, n_informative=20, random_state=0),
            arguments.rounds,
            {"max_iter": arguments.table_epochs},
        ),
    }
    for name in ("digits", "wine", "breast_cancer", "iris", "diabetes"):
        parts[name] = lambda name=name: measure_scores(name, arguments.seeds)
    found = {}
    for name in arguments.only or parts:
        found[name] = parts[name]()
        print(name, json.dumps(found[name]), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
