"""The programs of many fields run in NumPy, their gradients are right, and the page's numbers follow from the times."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import undertow as ut

ROOT = Path(__file__).parents[1]
COMPLEX = {"spectrum of a signal"}  # complex numbers are out of scope; the page says so too
STEP = 1e-6


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    for name in ("program", "catalogue", "runner", "report", "worker", "__main__"):
        importlib.import_module(f"benchmarks.programs.{name}")
    return importlib.import_module("benchmarks.programs")


def slope_apart(program, arguments, gradients) -> float:
    """How far the gradients are from central differences along one direction, by the sum of what they add to it."""
    rng = np.random.default_rng(5)
    directions = [rng.standard_normal(arguments[i].shape) for i in program.wrt]

    def move(step: float):
        moved = list(arguments)
        for i, direction in zip(program.wrt, directions, strict=True):
            moved[i] = moved[i] + step * direction
        return program.function(*moved)

    wanted = (move(STEP) - move(-STEP)) / (2 * STEP)
    parts = [np.sum(g * d) for g, d in zip(gradients, directions, strict=True)]
    return float(abs(sum(parts) - wanted) / (sum(abs(part) for part in parts) + 1e-6))


def small(program):
    return program.make(small=True, dtype="float64")


def test_every_program_is_a_number_and_its_gradient_is_its_slope(programs: ModuleType) -> None:
    wrong = {}
    with np.errstate(all="raise", under="ignore"):
        for name, program in programs.program.PROGRAMS.items():
            arguments = small(program)
            value = program.function(*arguments)
            assert np.shape(value) == () and np.isfinite(value), name
            gradient = ut.value_and_grad(program.function, wrt=program.wrt)
            if name in COMPLEX:
                with pytest.raises(ut.UnsupportedError, match="complex numbers"):
                    gradient(*arguments)
                continue
            own, gradients = gradient(*arguments)
            np.testing.assert_allclose(own, value, rtol=1e-12, err_msg=name)
            if (apart := slope_apart(program, arguments, gradients)) > 1e-6:
                wrong[name] = apart
    assert not wrong


def test_compiled_programs_of_every_field_give_the_same(programs: ModuleType) -> None:
    """Every twentieth program; the benchmark itself compiles all of them, and compares them with JAX."""
    chosen = [p for p in programs.program.PROGRAMS.values() if p.name not in COMPLEX][::20]
    assert len({program.group for program in chosen}) == len(programs.catalogue.GROUPS)
    for program in chosen:
        arguments = small(program)
        value, gradients = ut.value_and_grad(program.function, wrt=program.wrt, compile=True)(*arguments)
        np.testing.assert_allclose(value, program.function(*arguments), rtol=1e-10, err_msg=program.name)
        assert slope_apart(program, arguments, gradients) < 1e-6, program.name


def test_arguments_have_the_sizes_that_stand_beside_the_program(programs: ModuleType) -> None:
    program = programs.program.PROGRAMS["LSTM, 30 steps"]
    assert [x.shape for x in program.make()] == [(30, 32, 16), (16, 256), (64, 256), (256,), (64, 5)]
    assert [x.shape for x in program.make(small=True)] == [(4, 8, 8), (8, 32), (8, 32), (32,), (8, 5)]
    assert {x.dtype for x in program.make()} == {np.dtype(np.float32)}
    assert all(np.array_equal(a, b) for a, b in zip(program.make(), program.make(), strict=True))
    words = programs.program.PROGRAMS["word vectors, negative samples"]
    assert words.wrt == (3, 4) and words.make()[2].dtype == np.int64
    with pytest.raises(ValueError, match="two programs named LSTM"):
        programs.program.program("LSTM, 30 steps")(program.function)


def test_programs_use_the_namespace_that_they_are_handed(programs: ModuleType) -> None:
    seen = []

    class Namespace:
        __name__ = "counted"

        def __getattr__(self, name: str):
            seen.append(name)
            return getattr(np, name)

    program = programs.program.PROGRAMS["Hopfield retrieval"]
    try:
        programs.catalogue.use(Namespace())
        program.function(*small(program))
    finally:
        programs.catalogue.use(np)
    assert {"max", "exp", "sum", "mean"} <= set(seen)


def test_what_differs_is_told(programs: ModuleType) -> None:
    program = programs.program.PROGRAMS["Hopfield retrieval"]
    value, x, patterns = np.float32(2.0), np.ones((3, 2), np.float32), np.ones((4, 2), np.float32)
    tell = programs.runner.disagreement
    same = {"undertow": [value, x, patterns], "jax": [value, x * np.float32(1.0005), patterns]}
    assert tell(program, same, 2.0) == ""
    assert tell(program, same, 2.1) == "the value, Undertow's and NumPy's: 0.048 apart"
    wrong = {**same, "jax": [value, x, -patterns]}
    assert tell(program, wrong, 2.0) == "the gradient by argument 1, Undertow's and JAX's: 2 apart"
    none = {**same, "jax": [value, x, patterns * np.nan]}
    assert "nan apart" in tell(program, none, 2.0)


def test_the_pages_numbers_follow_from_the_times(programs: ModuleType) -> None:
    report = programs.report
    from benchmarks.training.runner import Measured, Results

    times = {
        "Hopfield retrieval": (1e-5, 3e-5, 3.0),
        "linear attention": (2e-5, 2e-5, 3.0),
        "LSTM, 30 steps": (1e-4, 9e-5, 3.0),
        "gravity of 300 bodies": (1e-3, 5e-3, 0.5),
    }
    rows = []
    for name, (own, other, compiling) in times.items():
        rows.append(Measured("undertow", name, 1, [own, 9.0], start_seconds=1.0))
        rows.append(Measured("jax", name, 1, [9.0, other], start_seconds=compiling))
    rows.append(Measured("undertow", "spectrum of a signal", 1, note="UnsupportedError: complex"))
    rows.append(Measured("jax", "spectrum of a signal", 1, [1.0]))
    results = Results({"processor": "p", "cores": 1, "python": "3"}, rows)
    pairs = report.pairs_of(results, 1)
    assert sorted(pair.ratio for pair in pairs if not pair.failed) == pytest.approx([0.9, 1.0, 3.0, 5.0])
    assert report.summary(pairs) == (
        "5 programs, 4 of them measured: JAX takes 2.00 times Undertow's time in the median (quartiles 0.97 and 3.50); "
        "in 1 of them less than 0.95 times. It compiles 3.0 times as long in the median."
    )
    page = report.to_markdown(results)
    assert "Behind JAX: LSTM, 30 steps (× 0.90)." in page
    assert "Compiled in more than 1.5 times JAX's time: gravity of 300 bodies." in page
    assert "Not compared: spectrum of a signal. undertow: UnsupportedError: complex" in page
    assert "| Hopfield retrieval | 10 µs | 30 µs | × 3.00 | 1 s | 3 s |" in page


def test_the_command_line_refuses_what_it_does_not_know(programs: ModuleType, capsys: pytest.CaptureFixture) -> None:
    asked = programs.__main__.read_arguments(["attention", "LSTM", "--threads", "1", "2"])
    assert {"attention block", "peephole LSTM, 15 steps"} <= {program.name for program in asked.programs}
    assert asked.threads == [1, 2]
    with pytest.raises(SystemExit):
        programs.__main__.read_arguments(["no such program"])
    assert "there is no no such program" in capsys.readouterr().err


def test_the_readme_tells_what_the_page_tells(programs: ModuleType) -> None:
    page = (ROOT / "docs" / "programs.md").read_text(encoding="utf-8")
    assert page.startswith(programs.report.PAGE_HEAD)
    summary = r"(\d+)(?: programs| of them measured): JAX takes ([\d.]+) times .* in (\d+) of them less than 0.95 times"
    found = re.search(summary, page.partition("## 1 thread\n")[2])
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    sentence = r"Of (\d+) programs .{,60} JAX takes ([\d.]+) times Undertow's .{,30} less than 0.95 times in (\d+):"
    told = re.search(sentence, readme)
    assert found and told
    assert told.groups() == found.groups()
    rows = re.findall(r"^\| (.*?)(?:, float64)? \| [\d.]+ \S?s \|", page.partition("## 2 threads")[0], re.M)
    assert len(rows) == int(found[1])
    assert set(rows) <= set(programs.program.PROGRAMS)
