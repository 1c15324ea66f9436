"""The whole report of a folder: read once, and never larger than a page may be."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import undertow as ut
from undertow import nn
from undertow.flow import store
from undertow.report import html, report_run, whole
from undertow.report.walks import page as pages
from undertow.train import checkpoint

X = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
y = (X[:, 0] > 0).astype(np.int64)


@pytest.fixture
def folder(tmp_path):
    model = nn.Sequential(nn.Dense(5, 6), "tanh", nn.Dense(6, 2))
    run = ut.train(
        model, (X, y), loss="categorical_cross_entropy", epochs=2, checkpoint=tmp_path / "run", progress=False
    )
    run.save(tmp_path / "run", overwrite=True)
    return tmp_path / "run"


def data_of(page):
    return json.loads(re.search(r'id="undertow-report-data">(.*?)</script>', page, re.DOTALL)[1])


def test_a_folder_is_read_once(folder, monkeypatch):
    """Each of its files, for the charts and for the walk together."""
    reads = []
    for module in (store, checkpoint):
        opened = module.open_file
        monkeypatch.setattr(module, "open_file", lambda path, opened=opened: (reads.append(path.name), opened(path))[1])
    page = report_run(folder, folder / "report.html").read_text()
    assert sorted(reads) == ["flow.json", "model.safetensors", "run.json", "steps.arrows"]
    assert 'class="uw"' in page and not data_of(page)["remarks"]


def test_a_walk_that_has_no_room_is_left_out_and_told(folder, monkeypatch):
    """The rest of the page stays."""
    whole = report_run(folder, folder / "report.html").stat().st_size
    monkeypatch.setattr(html, "MOST", whole - 1)
    page = report_run(folder, folder / "report.html").read_text()
    assert 'class="uw"' not in page and len(page.encode()) < whole
    assert data_of(page)["remarks"] == [html.TOO_LARGE] and data_of(page)["steps"] is not None
    monkeypatch.setattr(html, "MOST", whole + 1000)
    assert 'class="uw"' in report_run(folder, folder / "report.html").read_text()


@pytest.mark.parametrize("deep", [nn.Sequential(*[nn.Dense(5, 5) for _ in range(80)], nn.Dense(5, 2)),
                                  nn.Sequential(nn.Dense(5, 6), lambda x: _many_steps(x), nn.Dense(6, 2))])  # fmt: skip
def test_a_walk_of_too_many_steps_is_not_begun_and_told(deep, monkeypatch, tmp_path):
    """By its layers, before anything is traced, or by its operations, before they are told one by one."""
    run = ut.train(deep, (X, y), loss="categorical_cross_entropy", epochs=1, progress=False)
    if len(deep.layers) > 50:
        monkeypatch.setattr(whole, "walk_model", None)
    monkeypatch.setattr(pages.Walk, "section", None)
    page = report_run(run, tmp_path / "deep.html").read_text()
    assert 'class="uw"' not in page and data_of(page)["remarks"] == [whole.TOO_DEEP]


def _many_steps(x):
    """A layer of one's own that does much: 700 operations and as many in its gradient."""
    for _ in range(700):
        x = np.tanh(x)
    return x


def walk_of(page):
    return json.loads(re.search(r'class="uw-data">(.*?)</script>', page, re.DOTALL)[1])


def own_loss(params, X, y):
    z = ut.watch(X @ params[0] + params[1], "z")
    return np.mean((np.tanh(z) @ params[2] - y) ** 2)


def run_own(loss, n=40):
    rng = np.random.default_rng(0)
    params = [rng.normal(size=(5, 3)), np.zeros(3), rng.normal(size=(3, 1))]
    measured = ut.flow.recorded(loss)
    for _ in range(5):
        now = params
        _, gradient = measured(now, X[:n].astype(float), y[:n, None].astype(float))
        params = [p - 0.1 * g for p, g in zip(params, gradient, strict=True)]
    return measured, now


def test_a_loop_of_ones_own_is_walked_through(tmp_path):
    """With the parameters of the last call and six rows of its batch; the gradient is that of the engine for these."""
    measured, params = run_own(own_loss)
    walk = walk_of(measured.report(tmp_path / "loop.html").read_text())
    assert walk["batch"] == 6 and any("z = X @ W1 + b1" in line or "z = X @" in line for line in walk["source"])
    gradient = ut.grad(own_loss)(params, X[:6].astype(float), y[:6, None].astype(float))
    steps = walk["levels"][0]["steps"]
    shown = [walk["arrays"][step["panels"][0][1]]["v"] for step in steps if step["title"].startswith("Gradient by")]
    for expected in gradient:
        assert any(np.allclose(v, np.ravel(expected), rtol=1e-5) for v in shown if len(v) == expected.size)


def test_a_loss_that_takes_no_fewer_rows_is_walked_through_with_all(tmp_path):
    def fixed(params, X, y):
        return own_loss(params, X.reshape(10, 5), y.reshape(10, 1))

    measured, _ = run_own(fixed, n=10)
    assert walk_of(measured.report(tmp_path / "loop.html").read_text())["levels"]
