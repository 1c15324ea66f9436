"""A report is one HTML file that holds everything, keeps users' texts as texts, and copes with what a run lacks."""

import base64
import hashlib
import html
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import undertow as ut
from recorded_flows import make_flow
from undertow import nn
from undertow.errors import ArgumentError, RunError, ShapeError
from undertow.flow.findings import Evidence, Finding, Remedy
from undertow.flow.record import STATS, Flow
from undertow.report import html as page
from undertow.report import recorded, report_data, write_report
from undertow.report.html import ASSETS, SCRIPTS, VENDOR, render_page
from undertow.report.maps import decode
from undertow.train import Run
from undertow.train.table import train_table
from undertow.train.table_settings import TableSettings

EVIL = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(1)> \u2028 @@data@@ &"
SECTIONS = ["summary", "findings", "curves", "map", "profile", "distributions", "outcome", "walk", "settings"]


class Parsed(HTMLParser):
    """What an independent parser finds in a page."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.text, self.elements, self.scripts, self._script = "", [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "script":
            self._script = [dict(attributes), ""]

    def handle_data(self, data):
        self.text += data
        if self._script is not None:
            self._script[1] += data

    def handle_endtag(self, tag):
        if tag == "script":
            self.scripts.append(tuple(self._script))
            self._script = None

    def data(self, name="undertow-report-data"):
        return next(json.loads(text) for attributes, text in self.scripts if attributes.get("id") == name)


def parse(path):
    return Parsed(path.read_text(encoding="utf-8"))


def train(task="classes", **options):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4)).astype(np.float32)
    if task == "classes":
        y, loss, n_outputs = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0), "categorical_cross_entropy", 3
    else:
        y, loss, n_outputs = X @ rng.normal(size=(4, 2)).astype(np.float32), "mean_squared_error", 2
    model = ut.nn.Sequential(ut.nn.Dense(4, 8), ut.nn.relu, ut.nn.Dense(8, n_outputs))
    options = {"epochs": 2, "batch_size": 20, "seed": 0, "progress": False, **options}
    return ut.train(model, (X, y), loss=loss, optimizer=ut.optim.adam(1e-2), **options), X, y


@pytest.fixture(scope="module")
def trained():
    return train()


# The file


def test_the_file_holds_everything_and_asks_for_nothing(tmp_path):
    found = parse(write_report(make_flow(), tmp_path / "new" / "report.html"))
    assert [attributes["id"] for tag, attributes in found.elements if tag == "section"] == SECTIONS
    assert not [tag for tag, _ in found.elements if tag in ("iframe", "object", "embed", "base", "form")]
    sources = {(tag, attributes.get(key)) for tag, attributes in found.elements for key in ("src", "href", "data")}
    assert {value for _, value in sources if value} == {"#summary", "data:,"}
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]


def test_the_policy_forbids_the_network_and_names_every_script(tmp_path):
    found = parse(write_report(make_flow(30, 3), tmp_path / "report.html"))
    (policy,) = [a["content"] for t, a in found.elements if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["connect-src"] == rules["form-action"] == rules["base-uri"] == "'none'"
    assert "unsafe" not in rules["script-src"] and rules["img-src"] == "data:"
    run = [text for attributes, text in found.scripts if attributes.get("type") != "application/json"]
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in run]
    assert rules["script-src"].split() == hashes


def test_a_long_and_deep_record_stays_below_three_megabytes(tmp_path):
    path = write_report(make_flow(10_000, 100, 200, fade=0.8), tmp_path / "report.html")
    assert path.stat().st_size < 3_000_000
    shown = parse(path).data()["map"]
    assert len(shown["first"]) == 313 and len(shown["layers"]) == 100  # of 32 steps each
    assert shown["first"][0] == 1 and shown["last"][-1] == 10_000
    assert [a + 1 for a in shown["last"][:-1]] == shown["first"][1:]  # no step is left out, none counts twice


def test_a_very_deep_record_has_fewer_columns_and_stays_small():
    text = render_page(report_data(make_flow(100, 1000, 2)))
    assert len(text.encode()) < 3_000_000


def test_texts_of_users_stay_texts(tmp_path):
    flow = make_flow(20, 2, 1)
    flow.settings[EVIL] = {"name": EVIL, "list": [EVIL]}
    flow.settings["loss"] = EVIL
    run = Run(None, flow.history, settings=flow.settings, stopped=EVIL, versions={EVIL: EVIL})
    path = write_report(run, tmp_path / "report.html")
    found = parse(path)
    assert len(found.scripts) == 1 + len(VENDOR) + 1
    assert not [tag for tag, attributes in found.elements if tag == "img" or "onerror" in attributes]
    data = found.data()
    assert [EVIL.replace("_", " "), EVIL] in data["settings"]
    assert data["summary"]["state"] == EVIL
    block = re.search(r'id="undertow-report-data">(.*?)</script>', path.read_text(), re.DOTALL)[1]
    assert not re.search(r"[<>&\u2028]", block)


def test_the_title_is_escaped(tmp_path):
    folder = tmp_path / "<b>&"
    Run(ut.nn.initialize(ut.nn.Sequential(ut.nn.Dense(2, 1)))).save(folder)
    text = write_report(folder, tmp_path / "report.html").read_text()
    assert f"<title>{html.escape('<b>&')} · Undertow report</title>" in text


def test_our_scripts_can_stand_in_a_page():
    """A script ends at the first end tag, and `<!--` with `<script` after it changes how it is read."""
    for name in (*VENDOR, *SCRIPTS):
        text = (ASSETS / name).read_text(encoding="utf-8")
        assert "</script" not in text.lower() and "<!--" not in text
        if name not in VENDOR:
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|fetch\(", text)


def test_libraries_lie_here_with_licence_and_version():
    told = (ASSETS / "vendor" / "README.md").read_text()
    for name in VENDOR:
        version = re.search(r"v(\d+\.\d+\.\d+) Copyright", (ASSETS / name).read_text(encoding="utf-8")[:200])[1]
        licence = (ASSETS / "vendor" / f"{name.split('/')[1].split('.')[0]}.LICENSE").read_text()
        assert version in told and "Permission to use, copy, modify" in licence
        assert hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() in told


# What others put in


def test_a_section_of_another_module_is_put_in():
    piece = ("<h2>@@data@@</h2>", "#walk { color: red } </style>", "window.walk = '</script>';", {"x": "</script>"})
    found = Parsed(render_page(report_data(make_flow(20, 2)), sections={"walk": piece}))
    assert found.data("walk-data") == {"x": "</script>"}
    assert found.scripts[-1][1] == r"window.walk = '<\/script>';"
    assert [a.get("hidden", "no") for _, a in found.elements if a.get("id") == "walk"] == ["no"]
    assert found.text.count("@@data@@") == 1


def test_without_it_its_place_is_hidden():
    found = Parsed(render_page(report_data(make_flow(20, 2))))
    assert [a.get("hidden", "no") for _, a in found.elements if a.get("id") == "walk"] == [None]


def test_a_section_without_a_place_is_refused():
    with pytest.raises(ArgumentError, match=r"a report has no place 'wlak'. There are walk\."):
        render_page(report_data(make_flow(20, 2)), sections={"wlak": ("",)})


def test_a_live_page_may_connect_to_where_it_came_from():
    assert "connect-src &#x27;self&#x27;;" in render_page(report_data(make_flow(20, 2)), connect="'self'")


# The map


def test_the_map_holds_geometric_means_of_its_columns():
    flow = make_flow(1000, 4)
    shown = report_data(flow)["map"]
    delta = next(item for item in shown["quantities"] if item["name"] == "delta")
    found = decode(delta["values"]).reshape(len(shown["first"]), 4)
    largest = decode(delta["largest"]).reshape(found.shape)
    for column in (0, 7, len(found) - 1):
        rows = slice(shown["first"][column] - 1, shown["last"][column])
        expected = np.exp(np.log(flow.stat("delta.rms")[rows].astype(float)).mean(axis=0))
        np.testing.assert_allclose(found[column], expected, rtol=2e-3)
        np.testing.assert_allclose(largest[column], flow.stat("delta.max")[rows].max(axis=0), rtol=2e-3)


def test_theory_is_of_the_untrained_network_and_asked_only_where_wanted(trained):
    pytest.importorskip("undertow.flow.forecast")
    run, X, y = trained
    first, last = report_data(run, X=X, y=y)["theory"]["delta"]
    assert last == 1 and 0.1 < first < 10
    assert report_data(run, theory=False)["theory"] is None


def test_what_is_zero_missing_and_not_finite_can_be_told_apart():
    flow = make_flow(10, 4)
    rms = flow.values[:, STATS.index("delta.rms")]
    rms[:, 0], rms[:, 1], rms[3, 2], rms[:, 3] = 0, np.nan, np.inf, np.nan
    flow.values[:, STATS.index("nonfinite"), 1] = 2
    delta = report_data(flow)["map"]["quantities"][0]
    found = decode(delta["values"]).reshape(10, 4)
    assert (found[:, 0] == 0).all() and np.isinf(found[:, 1]).all() and np.isnan(found[:, 3]).all()
    assert np.isinf(found[:, 2]).tolist() == [i == 3 for i in range(10)]


def test_a_record_that_was_thinned_has_columns_by_step():
    """Every step up to 500, then every fourth: columns cover equal numbers of steps, not of rows."""
    flow = make_flow(1000, 2)
    flow.steps = np.concatenate([np.arange(1, 501), 500 + 4 * np.arange(1, 501)])
    shown = report_data(flow)["map"]
    widths = np.diff(shown["first"])
    assert widths.max() <= 11 and widths.min() >= 5 and len(shown["first"]) == 313

    longer = make_flow(1100, 2)
    longer.steps = np.concatenate([flow.steps, 2500 + 4 * np.arange(1, 101)])
    assert report_data(longer)["map"]["first"][:313] == shown["first"]  # a page that is fed keeps its columns


def test_extreme_sizes_survive():
    flow = make_flow(3, 2)
    flow.values[:, STATS.index("delta.rms")] = np.array([1e-38, 3e38], np.float32)
    found = decode(report_data(flow)["map"]["quantities"][0]["values"])
    np.testing.assert_allclose(found.reshape(3, 2)[0], [1e-38, 3e38], rtol=2e-3)


# Findings


def test_findings_come_with_everything_and_the_worst_first(monkeypatch):
    remedy = Remedy("Use relu.", 'ut.nn.Dense(4, 4, init="he")', "--activation relu", "activation", {"to": "relu"})
    evidence = (Evidence("delta", 1.234567e-7, "between 0.1 and 10"), Evidence("n", 3, math.inf))
    findings = [
        Finding("odd-thing", "note", "Nothing much."),
        Finding("vanishing", "error", "Why.", ("layer 1, <b>",), ("layers[0]",), 7, evidence, (remedy,), "A 2010"),
    ]
    monkeypatch.setattr(recorded, "_diagnose", lambda found: findings)
    first, second = report_data(make_flow(20, 2))["findings"]
    assert (first["title"], second["title"]) == ("Vanishing gradient", "Odd thing")
    assert first["evidence"][0] == {"text": "delta", "value": "1.23e-07", "expected": "between 0.1 and 10"}
    assert first["evidence"][1] == {"text": "n", "value": "3", "expected": "inf"}
    assert first["remedies"] == [{"sentence": "Use relu.", "code": remedy.code, "option": remedy.option}]
    assert (first["step"], first["layers"], first["source"]) == (7, ["layer 1, <b>"], "A 2010")


# Predictions


def test_the_confusion_matrix_is_counted(trained):
    run, X, y = trained
    found = report_data(run, X=X, y=y)["outcome"]
    expected = np.zeros((3, 3), int)
    for true, guess in zip(y, run.predict(X), strict=True):
        expected[true, guess] += 1
    assert found["matrix"] == expected.tolist() and found["right"] == np.trace(expected)
    assert sum(x["n"] for x in found["confusions"]) == expected.sum() - np.trace(expected)


def test_residuals_of_a_regression():
    run, X, y = train("numbers")
    found = report_data(run, X=X, y=y)["outcome"]
    residual = run.predict(X) - y
    for k, output in enumerate(found["outputs"]):
        assert output["rmse"] == pytest.approx(np.sqrt((residual[:, k] ** 2).mean()), rel=1e-4)
        assert output["bias"] == pytest.approx(residual[:, k].mean(), rel=1e-3, abs=1e-6)
        np.testing.assert_allclose(np.subtract(output["predicted"], output["target"]), residual[:, k], atol=1e-4)


def test_predictions_of_another_width_are_refused(trained, tmp_path):
    run, X, y = trained
    with pytest.raises(ShapeError):
        write_report(run, tmp_path / "report.html", X=X[:, :3], y=y)
    assert not (tmp_path / "report.html").exists()


def test_X_needs_y(trained, tmp_path):
    with pytest.raises(ArgumentError, match="compares predictions of X with y"):
        write_report(trained[0], tmp_path / "report.html", X=trained[1])


def test_a_loss_of_ones_own_compares_nothing():
    run = Run(ut.nn.initialize(ut.nn.Sequential(ut.nn.Dense(2, 1))), settings={"loss": "mine"})
    found = report_data(run, X=np.ones((3, 2)), y=np.ones((3, 1)))["outcome"]
    assert found["kind"] == "none" and "own" in found["why"]


# Runs that lack something


def plain(data):
    """Data that JSON can hold, as it comes back."""
    return json.loads(json.dumps(data, allow_nan=False))


def test_a_run_that_ended_on_all_rows_says_what_was_held_out_before(tmp_path):
    """Its own figures are of rows that it was trained on, and are called so; a run with validation names that."""
    x = np.random.default_rng(0).normal(size=200)
    np.savetxt(tmp_path / "t.csv", np.column_stack([x, x > 0.2]), delimiter=",", header="x,y", comments="", fmt="%g")
    settings = TableSettings(data=str(tmp_path / "t.csv"), target="y", epochs=2, refit=True, validation=0.2)
    told = []
    train_table(settings, tmp_path / "run", progress=False, say=told.append)
    summary = report_data(tmp_path / "run")["summary"]
    held_out = re.search(r"held-out accuracy [\d.]+% \(40 rows\); of class 1: .*? f1 0\.\d+", " ".join(told))[0]
    assert f" Before it was trained again on all rows: {held_out}. The best training loss is " in summary["sentence"]
    assert [tile["label"] for tile in summary["tiles"]][:2] == ["Best training loss", "Best training accuracy"]
    train_table(replace(settings, refit=False), tmp_path / "one", progress=False, say=told.append)
    summary = report_data(tmp_path / "one")["summary"]
    assert "all rows" not in summary["sentence"] and summary["tiles"][0]["label"] == "Best validation loss"


def test_a_run_without_a_record(tmp_path):
    run, _, _ = train(flow=False)
    data = plain(report_data(run.save(tmp_path / "run")))
    assert data["map"] is data["findings"] is None and data["summary"]["title"] == "run"
    assert data["summary"]["sentence"].startswith("A network of 2 layers and 67 parameters was trained on ")
    assert "It ran to its end. The best validation loss is " in data["summary"]["sentence"]
    assert [row["name"] for row in data["model"]] == ["Sequential", "Dense(4, 8)", "relu", "Dense(8, 3)"]
    assert ["batch size", "20"] in data["settings"]


@pytest.mark.parametrize("n_layers", [1, 2])
def test_one_step_of_one_epoch(n_layers):
    data = plain(report_data(make_flow(1, n_layers, 1)))
    assert data["map"]["first"] == data["map"]["last"] == [1]
    assert data["history"]["x"] == [1]


def test_a_run_and_its_folder_show_the_same(trained, tmp_path):
    run, _, _ = trained
    here, there = report_data(run), report_data(run.save(tmp_path / "run"))
    assert here["map"]["quantities"] and here["looks"]["looks"]
    for part in ("map", "looks", "steps", "history", "findings", "settings", "model"):
        assert there[part] == here[part], part


def test_a_damaged_record_is_told_and_the_rest_is_shown(trained, tmp_path):
    folder = trained[0].save(tmp_path / "run")
    (folder / "flow" / "flow.json").write_text("{")
    data = report_data(folder)
    assert data["map"] is None and "could not be read" in data["remarks"][0] and data["history"]["x"] == [1, 2]


def test_a_record_that_has_just_begun():
    data = plain(report_data(Flow.empty(make_flow(1, 3).layers)))
    assert data["map"] is data["steps"] is data["looks"] is None
    assert data["summary"]["sentence"] == "A network of 3 layers has been trained. It has not ended yet, or was killed."


def test_numbers_that_are_not_finite(tmp_path):
    flow = make_flow(50, 3, 2)
    flow.scalars["loss"][40:] = np.nan
    flow.scalars["loss"][39] = np.inf
    flow.scalars["grad_norm"][:] = np.nan
    flow.history[-1]["loss"], flow.stopped = math.inf, "diverged"
    flow.looks[-1].layers[0]["histograms"] = {"W": {"edges": [0, 1], "counts": [0]}}
    flow.looks[-1].layers[0]["rank"] = math.nan
    data = plain(report_data(flow))
    (loss, clip) = data["steps"]["curves"]
    assert (loss["name"], clip["name"]) == ("loss", "clip")
    assert loss["broken"] == list(range(39, 50)) and loss["mean"][39] is None
    assert data["history"]["panels"][0]["series"][0]["values"][-1] == "inf"
    assert data["looks"]["looks"][-1]["layers"][0] | {"histograms": {}} == {**data["looks"]["looks"][-1]["layers"][0]}
    assert "diverged" in data["summary"]["sentence"] and write_report(flow, tmp_path / "r.html").exists()


def test_no_validation_and_no_metric():
    flow = make_flow(20, 2, 3)
    for row in flow.history:
        for name in ("accuracy", "validation_loss", "validation_accuracy"):
            del row[name]
    (panel,) = report_data(flow)["history"]["panels"]
    assert [line["name"] for line in panel["series"]] == ["training"]


def test_a_rate_is_drawn_once_and_blocks_are_no_layers_beside_what_they_hold(tmp_path):
    X = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)
    model = nn.Sequential(nn.Dense(4, 8), nn.Residual(nn.Dense(8, 8), "tanh"), nn.Dense(8, 1))
    rule = ut.optim.sgd(ut.optim.cosine(0.1, 8))
    settings = {"loss": "mean_squared_error", "optimizer": rule, "epochs": 4, "progress": False}
    run = ut.train(model, (X, X[:, :1]), checkpoint=tmp_path / "run", **settings)
    data = report_data(run)
    assert [curve["name"] for curve in data["steps"]["curves"]].count("rate") == 1
    assert "Rate" not in [panel["title"] for panel in data["history"]["panels"]]
    (tmp_path / "run" / "model.safetensors").unlink(missing_ok=True)  # as while it is trained
    (tmp_path / "run" / "run.json").unlink(missing_ok=True)
    assert "A network of 3 layers" in report_data(tmp_path / "run")["summary"]["sentence"]
    plain = ut.train(model, (X, X[:, :1]), flow=False, **settings)
    assert "Rate" in [panel["title"] for panel in report_data(plain)["history"]["panels"]]


def test_a_long_setting_is_cut():
    found = dict(report_data(Run(None, settings={"class_weights": [0.123456789] * 1000}))["settings"])
    assert len(found["class weights"]) == 301


def test_a_long_history_keeps_its_ends():
    found = report_data(Run(None, [{"epoch": i, "loss": 1 / i} for i in range(1, 5001)]))["history"]
    assert len(found["x"]) == 1000 and (found["x"][0], found["x"][-1]) == (1, 5000)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="a report is made of a run or of its folder, not of a list"):
        report_data([1])
    with pytest.raises(RunError, match="no such folder"):
        report_data(tmp_path / "none")
    with pytest.raises(RunError, match="is a folder"):
        write_report(make_flow(2, 1), tmp_path)


def test_a_training_that_was_killed_in_an_epoch(tmp_path):
    """What is in the folder before the run is saved: the rows of the epochs that have ended."""
    (tmp_path / "history.jsonl").write_text('{"epoch": 1, "step": 3, "loss": 0.5}\n{"epoch": 2, "lo')
    data = report_data(tmp_path)
    assert data["summary"]["state"] == "not ended" and data["history"]["x"] == [1]
    assert data["outcome"]["why"].startswith("The run has no model yet")


def test_texts_of_the_page_are_read_once():
    assert page._library() is page._library()
