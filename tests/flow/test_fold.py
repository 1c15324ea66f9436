"""Code of remedies as a terminal shows it: pasted from there, it is the same program."""

from __future__ import annotations

import ast
import sys

import numpy as np
import pytest
from rich.console import Console

import undertow as ut
from undertow import nn, optim
from undertow.cli import main
from undertow.flow import show_findings
from undertow.flow.fold import fold_code

CODE = """def begin(item):
    return replace(item, init="he_normal, or so", W=None, b=None) if isinstance(item, ut.nn.Dense) else item
X = X[:, X.std(axis=0) > 0]  # the first layer then takes fewer columns
run = ut.train(better, (X, y), optimizer=ut.optim.adamw(ut.optim.cosine(0.003, steps=36), decay=0.05), epochs=2)"""


@pytest.mark.parametrize("width", [20, 40, 60, 75, 100, 200])
def test_folded_code_is_the_same_program_in_lines_that_fit(width: int) -> None:
    folded = fold_code(CODE, width)
    assert ast.dump(ast.parse(folded)) == ast.dump(ast.parse(CODE))
    if width >= 72:  # narrower than a piece that holds no place to go on
        assert max(map(len, folded.split("\n"))) <= width


def test_what_is_no_python_stays_as_it_is() -> None:
    assert fold_code("1. (read the data,\nagain", 10) == "1. (read the data,\nagain"


def test_the_remedies_that_a_terminal_of_80_columns_shows_can_be_pasted() -> None:
    X, y = np.random.default_rng(0).normal(size=(80, 6)), np.arange(80) % 2
    model = ut.nn.Sequential(ut.nn.Dense(6, 8, init="zeros"), "relu", ut.nn.Dense(8, 2))
    run = ut.train(model, (X, y), loss="categorical_cross_entropy", optimizer="sgd", epochs=2, progress=False)
    console = Console(width=80, color_system=None)
    with console.capture() as captured:
        console.print(show_findings(run.findings))
    lines = captured.get().split("\n")
    begin = next(i for i, line in enumerate(lines) if line.startswith("     from dataclasses"))
    end = next(i for i in range(begin, len(lines)) if not lines[i].startswith("     "))
    code = "\n".join(line[5:].rstrip() for line in lines[begin:end])
    names = {"ut": ut, "np": np, "model": model, "X": X, "y": y}
    exec(code, names)
    assert isinstance(names["run"], ut.Run) and names["run"].findings != run.findings


@pytest.mark.parametrize("width", range(30, 90, 7))
def test_an_option_is_never_broken(width: int) -> None:
    remedy = ut.flow.Remedy("Something that is told in a sentence of some length.", "", "--clip each=0.5 --rate 0.01")
    found = ut.flow.Finding("plateau", "warning", "It stands.", remedies=(remedy,))
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(show_findings([found]))
    lines = [line.rstrip() for line in captured.get().split("\n")]
    assert sum(line.endswith("--clip each=0.5 --rate 0.01") for line in lines) == 1
    assert " ".join(" ".join(lines).split()).count(remedy.sentence) == 1 and max(map(len, lines)) <= width


def test_a_finding_prints_as_undertow_diagnose_shows_it(capsys, monkeypatch, tmp_path):
    """Severity, place, numbers, cause, remedies as Python and as an option, source, as wide as the terminal."""
    X = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    deep = nn.Sequential(*[x for _ in range(9) for x in (nn.Dense(4, 4), "sigmoid")], nn.Dense(4, 2))
    settings = {"loss": "categorical_cross_entropy", "optimizer": optim.sgd(0.1), "epochs": 3, "progress": False}
    run = ut.train(deep, (X, (X[:, 0] > 0) * 1), checkpoint=str(tmp_path / "run"), **settings)
    finding = run.findings[0]
    for width in (70, 140):
        monkeypatch.setenv("COLUMNS", str(width))
        text = str(finding)
        print(finding)
        assert capsys.readouterr().out == f"{text}\n" and "\x1b" not in text
        assert max(len(line) for line in text.split("\n")) <= width
        said = " ".join(text.split())
        parts = [f"error: vanishing, {finding.layers[0]}", finding.cause[:40], "evidence", finding.remedies[0].sentence]
        parts += [finding.remedies[0].option, "better = with_normalisation(model", f"Source: {finding.source[:30]}"]
        assert [said.index(part) for part in parts] == sorted(said.index(part) for part in parts)
    monkeypatch.setattr(sys, "argv", ["undertow", "diagnose", str(tmp_path / "run"), "--quiet"])
    with pytest.raises(SystemExit):
        main()
    shown = [line.rstrip() for line in capsys.readouterr().out.split("\n")]
    shown = shown[: shown.index("")]  # of the first finding
    assert shown == text.split("\n")
    assert repr(finding) == f"Finding(vanishing, error, {finding.layers[0]}, step {finding.step})"
