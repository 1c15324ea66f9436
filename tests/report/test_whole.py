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
