"""The comparison of accuracies: its test of significance is right, and the page shows what was measured."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def accuracy():
    spec = importlib.util.spec_from_file_location("accuracy", ROOT / "benchmarks" / "accuracy.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "accuracy", module)  # dataclasses look their module up
        spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0])
def test_the_sign_flip_test_is_scipys(accuracy, shift):
    stats = pytest.importorskip("scipy.stats")
    differences = np.random.default_rng(0).normal(shift, 1, 10)
    wanted = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert accuracy.sign_flip_test(differences) == pytest.approx(wanted.pvalue)


def test_a_worse_system_is_found(accuracy):
    good = np.linspace(0.9, 0.99, 10)
    scores = {"undertow": list(good - 0.02), "torch": list(good), "scikit-learn": list(good[::-1])}
    found = accuracy.compare(scores)
    assert found["torch"] == {"difference": pytest.approx(-0.02), "p": 2 / 1024}
    assert found["scikit-learn"]["p"] > 0.05


def test_the_page_shows_what_was_measured(accuracy):
    record = json.loads((ROOT / "docs" / "accuracy.json").read_text(encoding="utf-8"))
    for row in record["results"]:
        assert row["compared"] == accuracy.compare(row["scores"])
        assert {len(scores) for scores in row["scores"].values()} == {record["seeds"]}
    assert accuracy.write_table(record) in (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
