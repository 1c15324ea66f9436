"""Does Undertow learn as well as its peers? ``python benchmarks/accuracy.py --help``.

Six data sets, one network each, the same split, optimizer, batch size and number of epochs in Undertow, PyTorch and
scikit-learn. Each system draws its own initial weights (of the same distribution) and its own order of examples, so
scores differ by chance even where everything is right: the question is whether they differ by more.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import undertow as ut

Array = np.ndarray[Any, Any]
Split = tuple[Array, Array, Array, Array]  # X and y to train on, X and y to measure on


@dataclass(frozen=True)
class Problem:
    """A data set and how a network is trained on it."""

    name: str
    hidden: tuple[int, ...]
    epochs: int
    batch_size: int = 32
    rate: float = 1e-3
    score: str = "accuracy"


PROBLEMS = (
    Problem("iris", (16,), 200, 16),
    Problem("wine", (32,), 100, 16),
    Problem("breast_cancer", (32,), 60),
    Problem("digits", (64,), 40),
    Problem("mnist1d", (100, 100), 30, 64),
    Problem("diabetes", (32,), 60, score="R²"),
)


def load(name: str) -> tuple[Array, Array, int | None]:
    """X, y, and the number of examples to train on where the data set itself says which."""
    if name == "mnist1d":
        from mnist1d.data import make_dataset

        data = make_dataset()  # generated here, with the seed 42 of its authors
        X, y = np.concatenate([data["x"], data["x_test"]]), np.concatenate([data["y"], data["y_test"]])
        return X.astype(np.float32), y, len(data["x"])
    import sklearn.datasets

    X, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    return X.astype(np.float32), y, None


def make_split(problem: Problem, seed: int) -> Split:
    """A fifth held out, by classes; columns standardised by the part to train on."""
    X, y, n = load(problem.name)
    classes = problem.score == "accuracy"
    if n is None:
        rows, held = ut.data.split(len(X), 0.2, seed, stratify=y if classes else None)
    else:
        rows, held = np.arange(n), np.arange(n, len(X))
    mean, spread = X[rows].mean(axis=0), X[rows].std(axis=0)
    X = (X - mean) / np.where(spread > 0, spread, 1)
    if not classes:
        y = ((y - y[rows].mean()) / y[rows].std()).astype(np.float32)
    return X[rows], y[rows], X[held], y[held]


def score(problem: Problem, found: Array, y: Array) -> float:
    """The share of right labels, or the coefficient of determination."""
    if problem.score == "accuracy":
        return float(np.mean(found == y))
    return float(1 - np.sum((np.ravel(found) - y) ** 2) / np.sum((y - y.mean()) ** 2))


def train_undertow(problem: Problem, split: Split, seed: int) -> float:
    X, y, X_held, y_held = split
    classes = problem.score == "accuracy"
    sizes = [X.shape[1], *problem.hidden, int(y.max()) + 1 if classes else 1]
    layers: list[Any] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [ut.nn.Dense(fan_in, fan_out, init="glorot_uniform"), "relu"]
    run = ut.train(
        ut.nn.Sequential(*layers[:-1]),
        (X, y),
        loss="categorical_cross_entropy" if classes else "half_squared_error",
        optimizer=ut.optim.adam(problem.rate),
        epochs=problem.epochs,
        batch_size=problem.batch_size,
        validation=None,
        metrics=(),
        seed=seed,
        progress=False,
    )
    return score(problem, run.predict(X_held), y_held)


def train_torch(problem: Problem, split: Split, seed: int) -> float:
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    X, y, X_held = (torch.from_numpy(np.ascontiguousarray(part)) for part in split[:3])
    classes = problem.score == "accuracy"
    sizes = [X.shape[1], *problem.hidden, int(y.max()) + 1 if classes else 1]
    layers: list[torch.nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        dense = torch.nn.Linear(fan_in, fan_out)
        torch.nn.init.xavier_uniform_(dense.weight)
        torch.nn.init.zeros_(dense.bias)
        layers += [dense, torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    adam = torch.optim.Adam(net.parameters(), problem.rate)
    for _ in range(problem.epochs):
        order = torch.randperm(len(X))
        for rows in order.split(problem.batch_size):
            output = net(X[rows])
            if classes:
                loss = torch.nn.functional.cross_entropy(output, y[rows])
            else:
                loss = 0.5 * torch.nn.functional.mse_loss(output[:, 0], y[rows])
            adam.zero_grad()
            loss.backward()
            adam.step()
    with torch.no_grad():
        output = net(X_held).numpy()
    return score(problem, output.argmax(axis=1) if classes else output, split[3])


def train_sklearn(problem: Problem, split: Split, seed: int) -> float:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    X, y, X_held, y_held = split
    kind = MLPClassifier if problem.score == "accuracy" else MLPRegressor
    net = kind(
        hidden_layer_sizes=problem.hidden, activation="relu", solver="adam", alpha=0.0, batch_size=problem.batch_size,
        learning_rate_init=problem.rate, max_iter=problem.epochs, tol=0.0, n_iter_no_change=problem.epochs + 1,
        random_state=seed,
    )  # fmt: skip
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that max_iter was reached is what is wanted
        net.fit(X, y)
    return score(problem, net.predict(X_held), y_held)


SYSTEMS: dict[str, Callable[[Problem, Split, int], float]] = {
    "undertow": train_undertow,
    "torch": train_torch,
    "scikit-learn": train_sklearn,
}


def sign_flip_test(differences: Array) -> float:
    """The probability of a mean at least as far from 0 if each difference might as well have the other sign.

    Exact, over all 2ⁿ signs. Source: R. A. Fisher, The Design of Experiments, 1935, section 21.
    """
    signs = np.array(list(itertools.product((1, -1), repeat=len(differences))))
    means = np.abs(signs @ differences)
    return float(np.mean(means >= abs(differences.sum()) - 1e-12))


def compare(scores: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Undertow less each peer, seed by seed: the splits are the same, so chance that lies in them cancels."""
    found = {}
    for peer in scores.keys() - {"undertow"}:
        differences = np.array(scores["undertow"]) - np.array(scores[peer])
        found[peer] = {"difference": float(differences.mean()), "p": sign_flip_test(differences)}
    return {peer: found[peer] for peer in SYSTEMS if peer in found}


def measure(problems: list[Problem], n_seeds: int) -> dict[str, Any]:
    """Train everything, and tell how it goes."""
    results = []
    for problem in problems:
        scores: dict[str, list[float]] = {name: [] for name in SYSTEMS}
        started = time.perf_counter()
        for seed in range(n_seeds):
            split = make_split(problem, seed)
            for i, (name, train) in enumerate(SYSTEMS.items()):
                scores[name].append(train(problem, split, 1000 * i + seed))  # no system has another's seed
        results.append({**asdict(problem), "scores": scores, "compared": compare(scores)})
        shown = ", ".join(
            f"{name} {np.mean(found):.4f} ± {np.std(found, ddof=1):.4f}" for name, found in scores.items()
        )
        print(f"{problem.name}: {shown} ({time.perf_counter() - started:.0f} s)", file=sys.stderr, flush=True)
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "torch", "scikit-learn", "mnist1d")}
    versions |= {"undertow": ut.__version__, "python": platform.python_version()}
    return {"seeds": n_seeds, "versions": versions, "results": results}


def write_table(record: dict[str, Any]) -> str:
    """The results as a table of Markdown, and what follows from them."""
    lines = [
        "| data | network | " + " | ".join(SYSTEMS) + " | − torch | p | − scikit-learn | p |",
        "|---|---|" + "---|" * (len(SYSTEMS) + 4),
    ]
    small = total = 0
    for row in record["results"]:
        shares = row["score"] == "accuracy"
        factor, digits = (100, 2) if shares else (1, 3)
        cells = [f"{row['name']}, {'accuracy in %' if shares else row['score']}"]
        cells.append(f"{'-'.join(map(str, row['hidden']))}, {row['epochs']} epochs of {row['batch_size']}")
        for name in SYSTEMS:
            values = factor * np.array(row["scores"][name])
            cells.append(f"{values.mean():.{digits}f} ± {values.std(ddof=1):.{digits}f}")
        for found in row["compared"].values():
            cells += [f"{factor * found['difference']:+.{digits}f}", f"{found['p']:.3f}"]
            small, total = small + (found["p"] < 0.05), total + 1
        lines.append("| " + " | ".join(cells) + " |")
    least = min(found["p"] for row in record["results"] for found in row["compared"].values())
    bound = 0.05 / total
    verdict = "no difference is" if least >= bound else "at least one difference is"
    lines += [
        "",
        f"Of {total} comparisons, {small} have p < 0.05, where chance alone gives {0.05 * total:.1f}. The least p is "
        f"{least:.3f}; with a bound of 0.05 for all comparisons together (0.05 / {total} = {bound:.4f} for each), "
        f"{verdict} larger than seeds explain.",
    ]
    return "\n".join(lines)


BEGIN, END = "<!-- figures: written by benchmarks/accuracy.py -->", "<!-- end of figures -->"


def put_table(page: Path, record: dict[str, Any]) -> None:
    """Replace the figures of a page, and leave its words."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    if END not in rest:
        raise SystemExit(f"{page} has no place for the figures: two lines, {BEGIN} and {END}.")
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    text = f"{before}{BEGIN}\n\n{write_table(record)}\n\n{record['seeds']} seeds; {versions}.\n\n"
    page.write_text(text + END + rest.partition(END)[2], encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, metavar="N", help="how many seeds (10)")
    parser.add_argument("--data", nargs="+", choices=[p.name for p in PROBLEMS], help="which data sets (all)")
    parser.add_argument("--out", type=Path, help="write every score to this file, as JSON")
    parser.add_argument("--markdown", type=Path, help="write the table into this page")
    chosen = parser.parse_args()
    record = measure([p for p in PROBLEMS if chosen.data is None or p.name in chosen.data], chosen.seeds)
    if chosen.out:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if chosen.markdown:
        put_table(chosen.markdown, record)
    print(write_table(record))


if __name__ == "__main__":
    main()
