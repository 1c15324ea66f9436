"""The bench judges fairly: its networks are as many and as different as it says, and are what they are meant to be."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from undertow import nn

pytest.importorskip("sklearn")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        names = (
            "data",
            "case",
            "truth",
            "judge",
            "healthy",
            "broken_signal",
            "broken_units",
            "broken_steps",
            "broken_restraints",
            "broken_sign",
            "broken_data",
        )
        for name in names:
            importlib.import_module(f"benchmarks.diagnosis.{name}")
        yield importlib.import_module("benchmarks.diagnosis")


@pytest.fixture(scope="module")
def cases(bench: ModuleType) -> list:
    return bench.case.make_cases(5)


def test_there_are_enough_networks_of_each_kind(bench: ModuleType, cases: list) -> None:
    kinds = [case.kind for case in cases]
    assert len(cases) >= 200 and kinds.count("healthy") >= 80
    assert all(kinds.count(kind) >= 6 for kind in bench.case.KINDS)
    assert all(case.must == ({case.kind} - {"healthy"}) for case in cases)
    assert all(not case.must & case.may and case.may <= set(bench.case.KINDS) for case in cases)


def test_networks_of_a_kind_differ(bench: ModuleType, cases: list) -> None:
    for kind in bench.case.KINDS:
        mine = [case for case in cases if case.kind == kind]
        assert len({(repr(case.model), case.name) for case in mine}) == len(mine), kind
        assert len({case.name.rsplit(", ", 1)[-1] for case in mine}) >= 2, kind  # data
        assert len({repr(case.settings["optimizer"]) for case in mine} | {repr(case.model) for case in mine}) >= 5, kind


def test_the_same_seed_makes_the_same_networks_and_another_seed_others(bench: ModuleType) -> None:
    make = lambda seed: bench.case.make_cases(seed, "saturation")
    first, again, other = make(5), make(5), make(6)
    for a, b in zip(first, again, strict=True):
        assert repr(a.settings) == repr(b.settings) and repr(a.model) == repr(b.model)
        np.testing.assert_array_equal(a.data[0], b.data[0])
    assert any(
        repr(a.model) != repr(b.model) or a.data[0].shape != b.data[0].shape for a, b in zip(first, other, strict=True)
    )
    alone = [case.name for case in make(5)]
    assert alone == [case.name for case in bench.case.make_cases(5) if case.kind == "saturation"]


def test_every_network_can_be_applied_to_its_data_and_causes_are_layers_of_it(cases: list) -> None:
    for case in cases:
        model = nn.initialize(case.model, 0)
        with np.errstate(all="ignore"):
            assert len(model(case.data[0][:3].astype(np.float32))) == 3
        for path in case.cause:
            assert path.startswith("layers[") and int(path[7:-1]) < len(case.model.layers), case.name


def test_tasks_are_scaled_and_have_no_row_twice(bench: ModuleType) -> None:
    for make in bench.data.ALL:
        task = make(np.random.default_rng(0))
        np.testing.assert_allclose(task.X.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(task.X.std(axis=0), 1, rtol=1e-3)
        assert len(np.unique(task.X, axis=0)) == len(task.X) and np.isfinite(task.X).all()
        if not task.classifies:
            np.testing.assert_allclose(task.y.std(axis=0), 1, rtol=1e-3)


@pytest.mark.parametrize("kind", ["born-dead-layer", "step-too-small", "identical-units"])
def test_broken_networks_are_worse_than_their_twins(bench: ModuleType, kind: str) -> None:
    case = bench.case.make_cases(5, kind)[0]
    run = bench.truth.fit(case.train_arguments())
    assert bench.truth.is_broken(case, run)
    case.twin = {}
    assert not bench.truth.is_broken(case, run), "a network is not worse than itself"


def test_a_dead_unit_is_seen_without_any_rule(bench: ModuleType) -> None:
    case = bench.case.make_cases(5, "dead-units")[0]
    clear, _ = bench.truth.observe(case, bench.truth.fit(case.train_arguments()))
    assert "dead-units" in clear
    healthy = bench.case.make_cases(5, "healthy")[0]
    assert bench.truth.observe(healthy, bench.truth.fit(healthy.train_arguments()))[0] == set()


def test_the_table_counts_hits_and_alarms(bench: ModuleType) -> None:
    Verdict = bench.judge.Verdict
    verdicts = [
        Verdict(
            "a", "vanishing", ["vanishing"], ["plateau"], ["layers[0]"], {"vanishing": "layers[0]", "plateau": None}
        ),
        Verdict("b", "vanishing", ["vanishing"], [], ["layers[2]"], {"vanishing": "layers[0]", "saturation": None}),
        Verdict("c", "vanishing", ["vanishing"], [], [], {}),
        Verdict("c", "vanishing", ["vanishing"], [], [], {"plateau": None}, ["vanishing"]),
        Verdict("d", "healthy", [], [], [], {"vanishing": None}),
        Verdict("e", "vanishing", ["vanishing"], [], [], {}, valid=False),
    ]
    lines = {line.kind: line for line in bench.judge.tally(verdicts)}
    vanishing = lines["vanishing"]
    assert (vanishing.recall, vanishing.precision, vanishing.cause) == (3 / 4, 3 / 4, 1 / 2)
    assert vanishing.own_recall == 1 / 2
    assert lines["plateau"].precision == 1 / 2 and lines["saturation"].precision == 0.0
    assert verdicts[1].alarms == ["saturation"] and verdicts[2].misses == ["vanishing"]
