"""What a report says and shows in small: numbers in one notation, what goes on out of sight, both themes."""

import os
import re
from dataclasses import replace

import numpy as np
import pytest

import undertow as ut
from recorded_flows import make_flow
from undertow import nn, optim
from undertow.flow.findings import Evidence, Finding
from undertow.report import report_data, walk_model
from undertow.report.distributions import pack_histogram
from undertow.report.html import render_page
from undertow.report.live.standing import read_status
from undertow.report.recorded import Recorded
from undertow.report.summary import summary_data
from undertow.train import Run

pytest.importorskip("playwright.sync_api")
COLOUR = "node => getComputedStyle(node).backgroundColor"


@pytest.fixture
def show(visit, tmp_path):
    """Open the page of some data, as a file."""

    def open_page(data, sections=None, **options):
        path = tmp_path / "report.html"
        path.write_text(render_page(data, sections=sections), encoding="utf-8")
        return visit(path.as_uri(), **options)

    return open_page


def with_error():
    finding = Finding("vanishing", "error", "It shrinks to 2.64e-07.", evidence=(Evidence("ratio", 2.64e-7, "near 1"),))
    return Recorded(findings=[finding], history=[{"epoch": 1, "loss": 2.3}], stopped="finished")


def test_the_head_tells_of_errors():
    found = with_error()
    told = summary_data(found)
    assert told["mark"] == "error" and told["state"] == "finished, with an error"
    assert "It ran to its end. An error was found: vanishing." in told["sentence"]
    well = summary_data(replace(found, findings=[]))
    assert well["mark"] == "" and well["state"] == "finished" and "error" not in well["sentence"]


def test_of_a_training_that_goes_on_it_is_said_how_far_it_is():
    found = Recorded(settings={"epochs": 400}, history=[{"epoch": 124, "loss": 0.5}], stopped="")
    assert "has been trained for 1 of 400 epochs." in summary_data(found)["sentence"]
    assert "was trained for 1 epoch." in summary_data(replace(found, stopped="finished"))["sentence"]


def test_the_live_page_says_of_how_many_epochs(tmp_path):
    flow = make_flow(40, 3, 2)
    flow.settings["epochs"], last = 400, int(flow.epochs[-1])
    told = read_status(tmp_path, os.getpid(), flow, []).sentence
    assert told == f"Training goes on: epoch {last} of 400, step {int(flow.steps[-1])}."
    flow.settings["epochs"] = None
    assert f"epoch {last}, step" in read_status(tmp_path, os.getpid(), flow, []).sentence


def test_numbers_in_sentences_are_written_as_elsewhere_and_never_broken(show):
    data = report_data(Run(None, [{"epoch": 1, "loss": 2.3}]))
    data["findings"] = [{
        "severity": "error", "title": "Vanishing", "layers": [], "step": 0,
        "cause": "It shrinks to 2.64e-07, not 1e+03.",
        "evidence": [{"text": "ratio", "value": "2.64e-07", "expected": "near 1"}], "remedies": [], "source": "",
    }]  # fmt: skip
    page = show(data)
    assert page.locator(".cause").inner_text() == "It shrinks to 2.64e−7, not 1e3."
    assert page.locator(".evidence td.n").first.inner_text() == "2.64e−7"


def test_an_axis_has_one_notation_and_ends_where_its_metric_does(show):
    losses = [2.0e6, 9.5e6, 1.04e7, 1.2e7]
    page = show(report_data(Run(None, [{"epoch": i + 1, "loss": x, "auc": 0.95} for i, x in enumerate(losses)])))
    figures = page.locator("#curves figure")
    ticks = {
        figure.locator("h3").inner_text(): [x for x in figure.locator("svg text").all_text_contents() if x]
        for figure in figures.all()
    }
    large = [x for x in ticks["Loss"] if re.match(r"[\d,.e]{3,}$", x)]
    assert len(large) > 2 and all(re.fullmatch(r"[\d.]+e\d+", x) for x in large), large
    shares = [float(x) for x in ticks["Auc"] if re.fullmatch(r"0?\.\d+|1(\.\d+)?", x)]
    assert max(x for x in shares) <= 1, shares


def test_numbers_that_are_all_0_have_a_range_of_0(show):
    data = report_data(make_flow(20, 3, 2))
    edges = np.linspace(-1e-306, 1e-306, 5)
    packed = pack_histogram({"edges": edges, "counts": [0, 0, 9, 0]})
    for look in data["looks"]["looks"]:
        for layer in look["layers"]:
            layer["histograms"] = dict.fromkeys(layer["histograms"], packed)
    page = show(data)
    assert set(page.locator("#histograms .range span").all_text_contents()) == {"0"}
    assert page.locator("#histograms svg").first.get_attribute("aria-label") == "all 0"


def test_what_goes_on_sideways_fades_where_it_does(show, settle):
    data = report_data(make_flow(20, 3, 2))
    labels = [f"class {k}" for k in range(10)]
    data["outcome"] = {"kind": "classes", "n": 100, "right": 10, "n_classes": 10, "labels": labels,
                       "matrix": np.ones((10, 10), int).tolist(), "confusions": []}  # fmt: skip
    page = show(data, viewport={"width": 390, "height": 844})
    for place in ("nav", "#outcome .scroll"):
        node = page.locator(place)
        settle(page)
        assert node.evaluate("node => node.scrollWidth > node.clientWidth")
        assert node.evaluate("node => node.className").endswith("more-right")
        node.evaluate("node => node.scrollTo({ left: 1e6, behavior: 'instant' })")
        settle(page)
        assert node.evaluate("node => node.className").endswith("more-left")
        assert "gradient" in node.evaluate("node => getComputedStyle(node).maskImage")
    assert "darker" not in page.inner_text("#outcome") and "stronger the colour" in page.inner_text("#outcome")
    wide = show(data, viewport={"width": 1280, "height": 844})
    settle(wide)
    assert "more" not in wide.locator("nav").evaluate("node => node.className")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_walk_stands_on_the_paper_of_the_page_and_folds_many_parameters(show, settle, scheme):
    model = nn.initialize(nn.Sequential(*[x for _ in range(4) for x in (nn.Dense(3, 3), "tanh")], nn.Dense(3, 2)), 0)
    X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    made = walk_model(model, X, np.array([0, 1, 1, 0, 1]), "categorical_cross_entropy")
    page = show(report_data(make_flow(20, 3, 2)), {"walk": made.section()}, color_scheme=scheme)
    assert page.locator("#walk").evaluate(COLOUR) == page.locator("#walk .uw").evaluate(COLOUR)
    button = page.locator("#theme")
    assert button.inner_text() == {"light": "Dark", "dark": "Light"}[scheme]
    button.click()
    assert button.inner_text() == {"light": "Light", "dark": "Dark"}[scheme]
    settle(page)
    folded = page.locator(".uw-told details")
    assert folded.get_attribute("open") is None and folded.locator("table").count() == 0  # W and b of five layers
    folded.locator("summary").click()
    page.wait_for_selector(".uw-told details table")
    page.evaluate("document.querySelector('#walk .uw').walk.go(1)")
    page.wait_for_selector(".uw-told details[open]")  # few are open, and so is what was opened


def test_a_remedy_names_rows_held_out_by_what_they_are():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 4)).astype(np.float32), rng.integers(0, 2, 200)
    deep = nn.Sequential(*[x for _ in range(10) for x in (nn.Dense(4, 4), "sigmoid")], nn.Dense(4, 2))
    settings = {"loss": "categorical_cross_entropy", "optimizer": optim.sgd(0.1), "epochs": 3, "progress": False}
    run = ut.train(deep, (X, y), validation=(X[:40], y[:40]), **settings)
    codes = [x.code for finding in run.findings for x in finding.remedies if "ut.train(" in x.code]
    assert codes and all("validation=(X_validation, y_validation)" in code.replace("\n    ", " ") for code in codes)
