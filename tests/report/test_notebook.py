"""What a notebook shows of runs, backward passes and findings: well-formed, escaped, and complete."""

from html.parser import HTMLParser

import numpy as np
import pytest

import undertow as ut
from undertow import nn
from undertow.flow import Evidence, Finding, Remedy
from undertow.train import Run

EVIL = "</pre></td><script>alert(1)</script><img src=x onerror=alert(1)> & \" '"
rng = np.random.default_rng(0)
X = rng.standard_normal((64, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
VOID = {"br", "hr", "img", "input", "meta", "link"}


class Parsed(HTMLParser):
    """The text and the elements of HTML whose tags all close in the right order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.text, self.tags, self.open = "", [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attributes)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def train(**options):
    model = nn.Sequential(nn.Dense(6, 8), "tanh", nn.Dense(8, 2))
    settings = {"loss": "categorical_cross_entropy", "epochs": 2, "progress": False, **options}
    return ut.train(model, (X, Y), **settings)


def make_finding(text):
    return Finding(
        "vanishing", "error", text, (f"layer 1, {text}", "layer 2"), ("layers[0]",), 7,
        (Evidence(text, 1e-7, "near 1"), Evidence("other", None, None)), (Remedy(text, text, text),), text,
    )  # fmt: skip


def test_a_run_tells_its_model_its_end_its_last_row_its_findings_and_its_flow():
    run = train()
    shown = Parsed(run._repr_html_())
    assert repr(run.model) in shown.text and "2 epochs, finished." in shown.text
    assert "examples_per_second" in shown.text and f"{run.history[-1]['loss']:.4g}" in shown.text
    assert "1  Dense(6, 8) tanh" in shown.text and "2  Dense(8, 2)" in shown.text
    assert all(finding.cause in shown.text for finding in run.findings)
    assert shown.tags.count("table") == 2 + sum(bool(finding.evidence) for finding in run.findings)


def test_a_run_without_a_record_says_so():
    shown = Parsed(train(flow=False)._repr_html_())
    assert "not recorded (flow=False)" in shown.text and shown.tags.count("table") == 1


def test_a_run_without_any_epoch_is_shown():
    shown = Parsed(Run(None)._repr_html_())
    assert "0 epochs, finished." in shown.text and "table" not in shown.tags


def test_a_run_whose_record_has_gone_is_shown(tmp_path):
    run = train()
    run.record = tmp_path / "gone"
    shown = Parsed(run._repr_html_())
    assert "there is no such folder" in shown.text and shown.tags.count("table") == 1


def test_a_run_that_diverged_names_the_operation():
    model = nn.Sequential(nn.Dense(6, 8), lambda z: np.log(z), nn.Dense(8, 2))
    with pytest.raises(ut.TrainingError) as caught:
        ut.train(model, (X, Y), loss="categorical_cross_entropy", progress=False)
    shown = Parsed(caught.value.run._repr_html_())
    assert "0 epochs, diverged." in shown.text
    assert "error: non-finite" in shown.text and "og (test_notebook.py:" in shown.text


def test_a_long_model_is_cut():
    layers = [nn.Dense(6, 6) for _ in range(200)]
    shown = Parsed(Run(nn.Sequential(*layers))._repr_html_())
    assert "…" in shown.text and len(shown.text) < 600


def test_names_of_the_user_are_texts():
    class Odd(nn.Dense):
        def __repr__(self):
            return EVIL

    settings = {"loss": "categorical_cross_entropy", "epochs": 1, "progress": False}
    run = ut.train(nn.Sequential(Odd(6, 4), "relu", nn.Dense(4, 2)), (X, Y), **settings)
    run.history[-1][EVIL] = 1.0
    shown = Parsed(run._repr_html_())
    assert not {"script", "img"} & set(shown.tags)
    assert shown.text.count(EVIL) >= 2  # in the model and in the row


def test_a_finding_shows_its_numbers_and_its_remedies_as_texts():
    shown = Parsed(make_finding(EVIL)._repr_html_())
    assert not {"script", "img"} & set(shown.tags)
    assert shown.text.count(EVIL) == 7
    for part in ("error: vanishing", "and 1 more, from step 7 on", "1e-07", "near 1", "Source: "):
        assert part in shown.text


def test_a_backward_pass_shows_its_source_and_its_derivation():
    def loss(w, X):
        return np.mean((X @ w - 1.0) ** 2)

    bp = ut.backprop(loss, np.ones(6), X)
    shown = Parsed(bp._repr_html_())
    assert shown.tags == ["div", "pre", "details", "summary", "pre"]
    assert bp.source in shown.text and bp.derivation() in shown.text


def test_a_backward_pass_is_escaped():
    def loss(w):
        return np.sum(np.where(w < 0, w, w * w) * (w > 1))

    shown = ut.backprop(loss, np.ones(3))._repr_html_()
    assert "w < 0" not in shown and "&lt; 0" in shown
    Parsed(shown)


def test_a_walk_without_a_path_is_shown_in_the_notebook(tmp_path):
    """The page that would be written, in a frame of its own that reaches nothing of the notebook."""
    bp = ut.backprop(lambda w, X: np.mean(np.tanh(X @ w) ** 2), np.ones(6), X)
    shown = bp.walk(example=2, update=ut.optim.sgd(0.5))
    frames = []

    class Frames(Parsed):
        def handle_starttag(self, tag, attributes):
            super().handle_starttag(tag, attributes)
            frames.append((tag, dict(attributes)))

    Frames(shown._repr_html_())
    [(tag, frame)] = frames
    page = bp.walk(tmp_path / "walk.html", example=2, update=ut.optim.sgd(0.5)).read_text()
    assert tag == "iframe" and frame["srcdoc"] == page and frame["sandbox"] == "allow-scripts"
    assert shown.data()["levels"] and "0.5" in page


def test_a_page_that_cannot_be_written_is_an_error_of_the_library(tmp_path):
    bp = ut.backprop(lambda w, x: np.sum(np.tanh(x * w)), np.ones(3), np.ones(3))
    (tmp_path / "a").write_text("")
    with pytest.raises(ut.errors.RunError, match="a is a file, not a folder"):
        bp.walk(tmp_path / "a" / "walk.html")
    assert bp.walk(tmp_path / "new" / "walk.html").stat().st_size > 1000


def test_text_is_whole_where_rich_takes_the_place_for_a_notebook(monkeypatch):
    """There rich shows what is printed to a string of ours, and leaves the string empty."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    model = nn.Sequential(nn.Dense(6, 8), "relu", nn.Dense(8, 2))
    assert "Dense(6, 8)" in str(model.summary()) and "Memory" in str(model.summary())
    assert "Dense(6, 8)" in str(ut.flow.forecast(model, X))
    assert "1. try it" in str(Finding("plateau", "warning", "It stands.", remedies=(Remedy("try it", "", ""),)))


def test_source_and_derivation_are_shown_line_by_line():
    class Printer:
        def text(self, told):
            self.told = told

    bp = ut.backprop(lambda w: np.sum(w * w), np.ones(3))
    for text in (bp.source, bp.derivation(), bp.derivation(format="latex")):
        printer = Printer()
        text._repr_pretty_(printer, False)
        assert printer.told == text and isinstance(text, str) and "\n" in text


def test_what_holds_arrays_is_short_as_the_value_of_a_cell():
    assert repr(ut.data.load_digits()) == (
        "Dataset(X (1797, 64) float32, y (1797,) int64, 64 feature names, source, licence)"
    )
    report = ut.check_gradient(lambda w: np.sum(w * w), np.ones(3))
    assert repr(report) == str(report) and "the gradient is right" in repr(report)


def test_a_loop_of_ones_own_shows_its_findings_and_its_flow():
    measured, w = ut.flow.recorded(lambda w: np.sum((w - 1) ** 2)), np.zeros(3)
    assert measured._repr_html_() == "<p>recorded(&lt;lambda&gt;, 0 steps)</p>"
    for _ in range(12):
        _, gradient = measured(w)
        w = w + 0.01 * gradient  # the wrong way
    shown = measured._repr_html_()
    assert "turned-sign" in shown and "<table>" in shown and "11 steps" in shown
