"""What findings and trials say: numbers that can be told apart, calls that work, lists that show themselves."""

import math
import re

import numpy as np
import pytest
from rich.console import Console

import undertow as ut
from command_line import make_runner
from made_flows import made_flow
from undertow import nn, optim
from undertow.cli.diagnosing import _try
from undertow.flow import Finding, Findings, diagnose
from undertow.flow.rules.measures import show_times
from undertow.flow.trials import Trial, Trials
from undertow.train import Diverged

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 5)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(int)


def train(**settings):
    model = nn.Sequential(nn.Dense(5, 8), "relu", nn.Dense(8, 2))
    given = {"loss": "categorical_cross_entropy", "epochs": 2, "progress": False}
    try:
        return ut.train(model, (X, LABELS), **{**given, **settings})
    except Diverged as error:
        return error.run


def shown(item, width=90):
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(item)
    return captured.get()


@pytest.mark.parametrize("share", [0.0446, 0.0049, 0.0311])
def test_an_accuracy_is_held_against_the_share_of_a_class_to_as_many_digits(share):
    facts = {"target": {"kind": "classes", "priors": [1 - share, share], "labels": 2}}
    flow = made_flow(facts=facts)
    flow.history = [{"epoch": 1, "loss": 0.2, "accuracy": 1 - share}]
    (found,) = (x for x in diagnose(flow) if x.kind == "imbalanced-classes")
    (row,) = (x for x in found.evidence if x.text == "accuracy at the end")
    expected = float(re.findall(r"[0-9.]+", row.expected)[0])
    assert float(f"{row.value:.4g}") <= expected == pytest.approx(1 - share, abs=5e-5)


@pytest.mark.parametrize(
    ("value", "text"), [(0.25, "0.25 of"), (1.0, "1 times"), (47.31, "47.3 times"), (2447.0, "2,447 times"),
                        (3e9, "3e+09 times")],
)  # fmt: skip
def test_how_many_times_the_weights_a_step_is(value, text):
    assert show_times(value) == text


def test_a_step_that_ruins_all_is_told_without_a_median_of_nothing():
    run = train(optimizer=optim.sgd(1e5), epochs=6)
    (found,) = (x for x in run.findings if x.kind == "step-too-large")
    assert re.search(r"an update is up to [0-9,.e+]+ times the weights of a layer", found.cause)
    assert all(x.value != 0 for x in found.evidence)


def test_changes_that_are_made_together_are_told_apart_from_the_first_of_them():
    blocks, scaled = ("residual", {}), ("scaling", {})
    both = "Residual blocks around the hidden layers; Columns of mean 0 and deviation 1."
    rows = (
        Trial("vanishing", both, change=(blocks, scaled), share=0.9, gain=0.8, stopped="finished"),
        Trial("vanishing", "Residual blocks around the hidden layers: a way past.", change=(blocks,), share=0.8,
              gain=0.7, stopped="finished"),
    )  # fmt: skip
    trials = Trials(rows, Trial("", "unchanged", share=0.1, stopped="finished"), "validation accuracy")
    for width in (80, 160):
        lines = [line.strip() for line in shown(trials, width).split("\n")]
        begun = [line for line in lines if re.match(r"\d ", line)]
        assert begun[0].startswith("1 Together") and begun[1].startswith("2 Residual blocks"), lines
        assert f"1 Together: {both}" in " ".join(lines)
    assert f"<td>Together: {both}</td>" in trials._repr_html_()


def test_the_call_that_is_named_where_rows_are_missing_works(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "runs" / "made"
    train(checkpoint=folder)
    code, out, err = make_runner(capsys, monkeypatch)("diagnose", folder, "--try", "--epochs", "1")
    assert code == 2 and out == ""  # it fails before anything is said
    (call,) = re.findall(r"ut\.flow\.try_remedies\(.*\)", err.replace("\n", " "))
    trials = eval(call, {"ut": ut, "X": X, "y": LABELS})
    assert isinstance(trials, Trials)
    run = train()
    with pytest.raises(ut.UndertowError) as caught:
        run.try_remedies()
    (call,) = re.findall(r"run\.try_remedies\(.*\)", str(caught.value))
    assert isinstance(eval(call, {"run": run, "X": X, "y": LABELS}), Trials)


@pytest.mark.parametrize(("gain", "said"), [(0.0, True), (-0.2, True), (0.4, False), (math.nan, False)])
def test_the_command_says_where_no_remedy_helps(gain, said, tmp_path, capsys, monkeypatch):
    """Not where one helps, and not where none could be tried."""
    stopped = "" if math.isnan(gain) else "finished"
    row = Trial("vanishing", "relu instead of sigmoid.", loss=1.0, share=0.5 + gain, gain=gain, stopped=stopped)
    control = Trial("", "unchanged", loss=1.0, share=0.5, stopped="finished")
    made = Trials((row,), control, "validation accuracy")
    monkeypatch.setattr("undertow.flow.try_remedies", lambda *_, **__: made)
    _try(tmp_path, None, None, quiet=True)
    assert ("none gains more than chance does, judged by validation accuracy" in capsys.readouterr().out) == said


def test_findings_show_all_of_them():
    found = Findings([
        Finding("vanishing", "error", "The gradient <shrinks>.", layers=("layer 1, Dense(4, 3)",), step=0),
        Finding("plateau", "warning", "The loss stands.", step=7),
    ])  # fmt: skip
    assert repr(found).split("\n") == [
        "error: vanishing, layer 1, Dense(4, 3), from the beginning: The gradient <shrinks>.",
        "warning: plateau, from step 7 on: The loss stands.",
    ]
    html = found._repr_html_()
    assert html.count("<details>") == 2 and "&lt;shrinks&gt;" in html
    assert found == list(found) and repr(Findings()) == "[]" and "Nothing found" in Findings()._repr_html_()
    assert isinstance(train().findings, Findings)


def test_rich_prints_findings_as_print_does():
    finding = Finding("plateau", "warning", "The loss stands.", step=7)
    console = Console(width=60, color_system=None)
    for shown, wanted in ((finding, str(finding)), (Findings([finding]), str(finding)), (Findings(), "[]")):
        with console.capture() as captured:
            console.print(shown)
        assert captured.get().rstrip() == wanted
