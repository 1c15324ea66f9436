"""The benchmark measures what it says: its systems compute the same, and its numbers follow from what it timed."""

from __future__ import annotations

import importlib
import json
import math
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import undertow as ut
from undertow import trees
from undertow.train.derive import make_gradient, numbers_of

ROOT = Path(__file__).parents[1]


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    for name in ("workloads", "peers", "processes", "runner", "report", "worker", "__main__"):
        importlib.import_module(f"benchmarks.training.{name}")
    return importlib.import_module("benchmarks.training")


def small(training: ModuleType, name: str) -> object:
    """A workload's kind of network, small, in float32."""
    w = training.workloads
    block = ("residual", (("layer_norm", 6), ("dense", 6, 6), ("tanh",)))
    layers = {
        "relu": w.perceptron(6, 8, 3),
        "residual": (block, block, ("dense", 6, 3)),
        "gelu": (("dense", 6, 5), ("gelu",), ("layer_norm", 5), ("dense", 5, 3)),
    }[name]
    optimizer, clip = ("momentum", None) if name == "relu" else ("adam", 0.1)
    return w.Workload(name, name, layers, 8, 64, optimizer, 0.01, clip)


@pytest.mark.parametrize("name", ["relu", "residual", "gelu"])
def test_the_hand_written_backward_pass_is_the_gradient(training: ModuleType, name: str) -> None:
    if name == "gelu":
        pytest.importorskip("scipy")
    undertow_steps = importlib.import_module("benchmarks.training.peers.undertow_steps")
    workload = small(training, name)
    by_hand = training.peers.make_training("numpy", workload)
    X, y = next(workload.batches(workload.order(0)))
    model = ut.nn.Sequential(*undertow_steps.build(workload.layers, iter(workload.initial())))
    loss, grads = make_gradient(undertow_steps.loss_of)(model, X, y)
    by_hand.update = lambda: None
    np.testing.assert_allclose(by_hand.step(X, y), loss, rtol=1e-5)
    wanted = np.concatenate([g.ravel() for g in numbers_of(trees.flatten(grads)[0])])
    np.testing.assert_allclose(by_hand.g, wanted, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["relu", "residual"])
def test_numpy_and_undertow_train_alike(training: ModuleType, name: str) -> None:
    workload = small(training, name)
    losses = {}
    for system in ("numpy", "undertow"):
        made = training.peers.make_training(system, workload)
        losses[system] = made.epoch(workload.order(0))
        made.reset()
        assert made.epoch(workload.order(0)) == losses[system], "a reset begins anew"
    np.testing.assert_allclose(losses["numpy"], losses["undertow"], rtol=1e-4)


def test_flops_count_the_matrix_products(training: ModuleType) -> None:
    """Forward, dW and dx of each dense layer; no dx of the data."""
    m = training.workloads.WORKLOADS["M"]
    assert m.flops == 2 * 64 * (2 * 64 * 128 + 3 * 128 * 64 + 3 * 64 * 10)
    assert training.workloads.WORKLOADS["D"].flops == 2 * 64 * 3 * (30 * 64 * 64 + 64 * 10)
    assert small(training, "relu").widths == [6, 8, 3]


def test_a_worker_that_ends_at_once_is_told_by_its_own_words(training: ModuleType, tmp_path: Path) -> None:
    worker = training.processes.Worker("numpy", "S", "serve", 1, tmp_path, module="benchmarks.training.no_such")
    with pytest.raises(training.processes.WorkerFailed, match=r"numpy ended with 1:(.|\n)*No module named"):
        worker.ask(do="start")


def test_the_first_order_has_whole_batches_of_all_rows(training: ModuleType) -> None:
    workload = small(training, "relu")
    assert sorted(workload.order(0)) == list(range(64))
    assert [len(X) for X, _ in workload.batches(workload.order(1))] == [8] * 8


def test_losses_that_differ_end_the_run_with_the_numbers(training: ModuleType) -> None:
    row = training.runner.Measured
    same = [row("numpy", "S", 1, losses=[1.0, 0.5]), row("torch", "S", 1, losses=[1.00001, 0.5])]
    training.runner.check_losses(same)
    with pytest.raises(training.runner.LossesDiffer, match=r"(?s)jax and numpy differ.*0\.5010000"):
        training.runner.check_losses([*same, row("jax", "S", 1, losses=[1.0, 0.501])])


def test_numbers_follow_from_the_rounds(training: ModuleType) -> None:
    runner, report = training.runner, training.report
    rows = [
        runner.Measured("undertow", "M", 1, [2e-5, 1e-5, 3e-5]),
        runner.Measured("numpy", "M", 1, [9e-5]),
        runner.Measured("jax", "M", 1, [5e-5], note=""),
        runner.Measured("torch", "M", 1, note="no module named torch"),
    ]
    results = runner.Results({"processor": "p", "cores": 1, "python": "3"}, rows)
    results.products = [{"system": "numpy", "threads": 1, "size": 512, "rate": 1e12}]
    assert (rows[0].median, rows[0].best) == (2e-5, 1e-5)
    assert rows[0].spread == pytest.approx(1e-5)
    assert report.peer_ratio(rows) == ("jax", pytest.approx(2.5))
    assert report.limit_share(rows[0], results) == pytest.approx(training.workloads.WORKLOADS["M"].flops / 1e12 / 2e-5)
    assert math.isnan(results.best_rate(2))
    assert [line[0] for line in report.table_lines(rows, results)] == ["undertow", "jax", "numpy"]
    page = report.to_markdown(results)
    assert "jax, takes 2.50 times Undertow's time" in page
    told = "M: 64-128-64-10 ReLU, batch 64"
    assert report.glance_lines(results)[1:] == [[told, "1", "20 µs", "× 2.50", "", "", "× 4.50"]]
    assert f"| {told} | 1 | 20 µs | × 2.50 |  |  | × 4.50 |" in page


def test_a_worker_answers_and_the_results_are_written(training: ModuleType, tmp_path: Path) -> None:
    """The whole way at the smallest workload, with NumPy alone."""
    said: list[str] = []
    settings = training.runner.Settings(["S"], [1], ["numpy"], 2, 0.001, 0, 0.0, said.append)
    (row,) = training.runner.measure_steps(training.workloads.WORKLOADS["S"], 1, settings, tmp_path)
    assert 2 <= len(row.seconds) <= 4  # busy machines get more rounds
    assert row.median > 0
    assert row.peak > 2**20
    assert len(row.losses) == 10
    results = training.runner.Results({"processor": "p", "cores": 1, "python": "3"}, [row])
    training.report.write_json(results, tmp_path / "results" / "now.json")
    (written,) = json.loads((tmp_path / "results" / "now.json").read_text())["rows"]
    assert written["median"] == row.median
    assert training.report.read_json([tmp_path / "results" / "now.json"]).rows == [row]


def test_a_system_that_cannot_do_a_workload_says_why(training: ModuleType) -> None:
    pytest.importorskip("sklearn")
    with pytest.raises(training.peers.NotMeasured, match="no such layers"):
        training.peers.make_training("sklearn", training.workloads.WORKLOADS["D"])


def test_the_command_line_refuses_what_it_does_not_know(training: ModuleType, capsys: pytest.CaptureFixture) -> None:
    arguments = training.__main__.read_arguments(["--workloads", "S,M", "--threads", "1", "--systems", "numpy"])
    assert (arguments.workloads, arguments.threads, arguments.systems) == (["S", "M"], [1], ["numpy"])
    with pytest.raises(SystemExit):
        training.__main__.read_arguments(["--workloads", "Z"])
    assert "there is no Z" in capsys.readouterr().err


def test_times_on_a_line_lie_on_it(training: ModuleType) -> None:
    depth = importlib.import_module("benchmarks.depth")
    assert depth.beside_line([2, 4, 8], [0.5, 0.9, 1.7]) == pytest.approx([0, 0, 0], abs=1e-12)
    beside = depth.beside_line([2, 4, 8], [0.5, 0.9, 3.4])
    assert max(beside) > 0.3 > -0.1 > min(beside)
    found = {("undertow", 2): (1.0, 5e-4), ("undertow", 4): (1.5, 9e-4), ("jax_scan", 2): (4.0, 2e-3)}
    lines = depth.to_lines(found, ["undertow", "jax_scan"], [2, 4])
    assert lines[1] == ["2", "1 s", "4 s", "500 µs", "2 ms", "+0.0 %"]
    assert lines[2] == ["4", "1.5 s", "", "900 µs", "", "+0.0 %"]


def test_the_readme_tells_what_the_page_of_the_benchmarks_tells() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    told = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if "| × " in line]
    assert len(told) >= 7
    assert [line for line in told if f"\n{line}\n" not in page] == []
    deep = (ROOT / "docs" / "depth.md").read_text(encoding="utf-8").splitlines()[-1]
    found = [cell.strip() for cell in deep.split("|")[1:-2]]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert found[0] == "128" and set(found[1:]) <= set(re.findall(r"[\d.]+ m?s", readme))
